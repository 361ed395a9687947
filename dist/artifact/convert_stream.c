#include "dist/artifact/convert_stream.h"

#include "dist/artifact/convert_queue.h"
#include "dist/artifact/convert_reason.h"
#include "dist/artifact/convert_rows.h"
#include "quantization/formats/plain.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct row_block {
    int64_t first_row, n_rows; // n_rows 0: no block
    int32_t slot;
} row_block;

// What is done with every chunk of a pass. `index` counts the chunks of the block.
typedef void chunk_function(
    convert_stream *stream, int32_t thread, int64_t index, const quant_range *range);

typedef struct chunk_result {
    float largest;
    double error_squares, value_squares;
} chunk_result;

struct convert_stream {
    hf_weight_source *source;
    artifact_store *store;
    mlcc_pool *pool;
    convert_stream_progress *progress;
    void *user;
    convert_rows *rows;
    convert_queue *queue;
    float **decoded; // [threads], a chunk each
    size_t *decoded_bytes;

    // The param at work.
    const convert_param *param;
    convert_outcome *outcome;
    convert_row_counts counts;
    int32_t n_passes, pass;
    void *pieces[QUANT_MAX_PIECES]; // whole ones
    char *block_piece;              // rows of piece 0 of the block, when it is streamed
    float largest;
    atomic_ullong n_special;

    // The block at work.
    row_block block, next;
    chunk_function *chunk;
    chunk_result *results;
    size_t results_capacity;
    bool writes;
    mlcc_status *load_status, *write_status;

    // The pass that asks whether the format takes the rows.
    atomic_llong turn;
    float memory;
    bool is_refused;
};

convert_stream *convert_stream_create(
    hf_weight_source *source, artifact_store *store, mlcc_pool *pool,
    convert_stream_progress *progress, void *user) {
    convert_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    const size_t n_threads = (size_t)mlcc_pool_size(pool);
    stream->source = source;
    stream->store = store;
    stream->pool = pool;
    stream->progress = progress;
    stream->user = user;
    stream->rows = convert_rows_create(source, (int32_t)n_threads);
    stream->queue = convert_queue_create(store);
    stream->decoded = calloc(n_threads, sizeof *stream->decoded);
    stream->decoded_bytes = calloc(n_threads, sizeof *stream->decoded_bytes);
    if (stream->rows != NULL && stream->queue != NULL && stream->decoded != NULL &&
        stream->decoded_bytes != NULL)
        return stream;
    convert_stream_free(stream);
    return NULL;
}

void convert_stream_free(convert_stream *stream) {
    if (stream == NULL) return;
    for (int32_t i = 0; stream->decoded != NULL && i < mlcc_pool_size(stream->pool); i++)
        free(stream->decoded[i]);
    free(stream->decoded);
    free(stream->decoded_bytes);
    convert_rows_free(stream->rows);
    convert_queue_free(stream->queue);
    free(stream->results);
    free(stream);
}

static mlcc_status *memory_error(const convert_stream *stream) {
    return MLCC_ERROR(
        NO_MEMORY, "host memory ended while '%s' was converted", stream->param->param->value.name);
}

// ---- a pass over all rows -----------------------------------------------------------------------

static quant_range chunk_range(const convert_stream *stream, int64_t index) {
    const int64_t per_chunk = stream->counts.of_chunk, begin = index * per_chunk,
                  left = stream->block.n_rows - begin;
    return (quant_range){stream->block.first_row + begin, left < per_chunk ? left : per_chunk,
                         stream->param->n_rows, stream->param->columns};
}

// Items 0 and 1 are writing and loading, which one thread each does; they come first because they
// take longest.
static void run_items(void *arg, int64_t begin, int64_t end, int32_t thread) {
    convert_stream *stream = arg;
    for (int64_t item = begin; item < end; item++) {
        if (item == 0) {
            if (stream->writes) stream->write_status = convert_queue_write_some(stream->queue);
        } else if (item == 1) {
            if (stream->next.n_rows > 0)
                stream->load_status = convert_rows_load(
                    stream->rows, stream->next.slot, stream->next.first_row, stream->next.n_rows);
        } else {
            const quant_range range = chunk_range(stream, item - 2);
            stream->chunk(stream, thread, item - 2, &range);
        }
    }
}

static row_block block_after(const convert_stream *stream, const row_block *last) {
    const int64_t first_row = last->first_row + last->n_rows,
                  left = stream->param->n_rows - first_row, n = stream->counts.of_block;
    return (row_block){first_row, left < n ? left : n, last->slot ^ 1};
}

static int64_t n_chunks_of(const convert_stream *stream) {
    const int64_t per_chunk = stream->counts.of_chunk;
    return (stream->block.n_rows + per_chunk - 1) / per_chunk;
}

static mlcc_status *reserve_results(convert_stream *stream) {
    const size_t n = (size_t)n_chunks_of(stream);
    if (n > stream->results_capacity) {
        free(stream->results);
        stream->results = malloc(n * sizeof *stream->results);
        stream->results_capacity = stream->results == NULL ? 0 : n;
        if (stream->results == NULL) return memory_error(stream);
    }
    memset(stream->results, 0, n * sizeof *stream->results);
    return NULL;
}

// The block through the pool, beside it the write of what is ready and the load of the next block.
static mlcc_status *run_block(convert_stream *stream) {
    MLCC_TRY(reserve_results(stream));
    stream->writes = !convert_queue_is_empty(stream->queue);
    mlcc_pool_for(stream->pool, 2 + n_chunks_of(stream), 1, run_items, stream);
    mlcc_status *status = stream->write_status;
    if (status == NULL) {
        status = stream->load_status;
    } else {
        mlcc_status_free(stream->load_status);
    }
    stream->write_status = stream->load_status = NULL;
    return status;
}

static void report_progress(convert_stream *stream) {
    if (stream->progress == NULL) return;
    const double of_pass =
        (double)(stream->block.first_row + stream->block.n_rows) / (double)stream->param->n_rows;
    stream->progress(stream->user, (stream->pass + of_pass) / stream->n_passes);
}

typedef struct pass_steps {
    chunk_function *chunk;
    mlcc_status *(*before)(convert_stream *stream); // every block; may be NULL
    mlcc_status *(*after)(convert_stream *stream);
} pass_steps;

static mlcc_status *run_pass(convert_stream *stream, const pass_steps *steps) {
    const row_block none = {0, 0, 1};
    stream->block = block_after(stream, &none);
    MLCC_TRY(convert_rows_load(
        stream->rows, stream->block.slot, stream->block.first_row, stream->block.n_rows));
    while (stream->block.n_rows > 0 && !stream->is_refused) {
        stream->next = block_after(stream, &stream->block);
        if (steps->before != NULL) MLCC_TRY(steps->before(stream));
        stream->chunk = steps->chunk;
        MLCC_TRY(run_block(stream));
        if (steps->after != NULL) MLCC_TRY(steps->after(stream));
        convert_rows_release(stream->rows, stream->next.first_row);
        report_progress(stream);
        stream->block = stream->next;
    }
    stream->pass++;
    return NULL;
}

// ---- the largest magnitude ----------------------------------------------------------------------

static void measure_chunk(
    convert_stream *stream, int32_t thread, int64_t index, const quant_range *range) {
    ir_dtype dtype = IR_F32;
    const void *data = convert_rows_floats(
        stream->rows, stream->block.slot, thread, range->first_row, range->n_rows, &dtype);
    stream->results[index].largest =
        stream->param->format->measure(data, dtype, range->n_rows, range->columns);
}

static mlcc_status *after_measure(convert_stream *stream) {
    for (int64_t i = 0; i < n_chunks_of(stream); i++)
        stream->largest = fmaxf(stream->largest, stream->results[i].largest);
    return NULL;
}

// ---- encoding and packing -----------------------------------------------------------------------

static mlcc_status *take_pieces(convert_stream *stream) {
    const convert_param *param = stream->param;
    for (int32_t i = param->format->is_streamed ? 1 : 0; i < param->n_pieces; i++) {
        stream->pieces[i] = convert_queue_take(stream->queue, param->pieces[i].size_bytes);
        if (stream->pieces[i] == NULL) return memory_error(stream);
        memset(stream->pieces[i], 0, param->pieces[i].size_bytes);
    }
    return NULL;
}

// Bytes of a row of piece 0, when it is streamed.
static size_t piece_row_bytes(const convert_param *param) {
    return param->pieces[0].size_bytes / (size_t)param->n_rows;
}

static mlcc_status *before_store(convert_stream *stream) {
    if (!stream->param->format->is_streamed) return NULL;
    stream->block_piece = convert_queue_take(
        stream->queue, (size_t)stream->block.n_rows * piece_row_bytes(stream->param));
    return stream->block_piece == NULL ? memory_error(stream) : NULL;
}

static mlcc_status *after_store(convert_stream *stream) {
    if (!stream->param->format->is_streamed) return NULL;
    char *data = stream->block_piece;
    stream->block_piece = NULL;
    return convert_queue_push(
        stream->queue, stream->param, 0, stream->block.first_row == 0, data,
        (size_t)stream->block.n_rows * piece_row_bytes(stream->param));
}

// Where the pieces of a chunk lie, by the rule of quant_format.
static void chunk_pieces(
    const convert_stream *stream, const quant_range *range, void *pieces[QUANT_MAX_PIECES]) {
    for (int32_t i = 0; i < stream->param->n_pieces; i++) pieces[i] = stream->pieces[i];
    if (stream->param->format->is_streamed)
        pieces[0] = stream->block_piece + (size_t)(range->first_row - stream->block.first_row) *
                                              piece_row_bytes(stream->param);
}

static uint64_t count_special16(const uint16_t *values, size_t count, uint32_t exponent) {
    uint32_t n = 0;
    for (size_t i = 0; i < count; i++) n += (values[i] & exponent) == exponent;
    return n;
}

static uint64_t count_special32(const uint32_t *values, size_t count) {
    uint32_t n = 0;
    for (size_t i = 0; i < count; i++) n += (values[i] & 0x7f800000u) == 0x7f800000u;
    return n;
}

static uint64_t count_special(ir_dtype dtype, const void *values, size_t size_bytes) {
    switch (dtype) {
    case IR_F32: return count_special32(values, size_bytes / sizeof(uint32_t));
    case IR_F16: return count_special16(values, size_bytes / sizeof(uint16_t), 0x7c00u);
    case IR_BF16: return count_special16(values, size_bytes / sizeof(uint16_t), 0x7f80u);
    default: return 0;
    }
}

// Of a streamed piece while it is hot; of whole ones at the end of the param.
static void count_special_rows(convert_stream *stream, const void *rows, const quant_range *range) {
    if (!stream->param->format->is_streamed) return;
    const uint64_t n = count_special(
        stream->param->pieces[0].dtype, rows,
        (size_t)range->n_rows * piece_row_bytes(stream->param));
    if (n != 0) atomic_fetch_add_explicit(&stream->n_special, n, memory_order_relaxed);
}

static void encode_chunk(
    convert_stream *stream, int32_t thread, int64_t index, const quant_range *range) {
    (void)index;
    ir_dtype dtype = IR_F32;
    const void *data = convert_rows_floats(
        stream->rows, stream->block.slot, thread, range->first_row, range->n_rows, &dtype);
    void *pieces[QUANT_MAX_PIECES];
    chunk_pieces(stream, range, pieces);
    stream->param->format->encode(data, dtype, range, stream->largest, pieces);
    count_special_rows(stream, pieces[0], range);
}

static void pack_chunk(
    convert_stream *stream, int32_t thread, int64_t index, const quant_range *range) {
    (void)index;
    quant_canon canon;
    quant_canon_rows rows;
    (void)convert_rows_canon(stream->rows, thread, range->first_row, range->n_rows, &canon, &rows);
    void *pieces[QUANT_MAX_PIECES];
    chunk_pieces(stream, range, pieces);
    stream->param->format->pack(&canon, &rows, range, stream->memory, pieces);
}

static mlcc_status *push_pieces(convert_stream *stream) {
    const convert_param *param = stream->param;
    uint64_t n_special = atomic_load(&stream->n_special);
    for (int32_t i = 0; i < param->n_pieces; i++) {
        if (stream->pieces[i] == NULL) continue;
        n_special +=
            count_special(param->pieces[i].dtype, stream->pieces[i], param->pieces[i].size_bytes);
        void *data = stream->pieces[i];
        stream->pieces[i] = NULL;
        MLCC_TRY(
            convert_queue_push(stream->queue, param, i, true, data, param->pieces[i].size_bytes));
    }
    stream->outcome->n_special = n_special;
    return NULL;
}

// ---- what requantizing costs --------------------------------------------------------------------

static void compare_chunk(
    convert_stream *stream, int32_t thread, int64_t index, const quant_range *range) {
    ir_dtype dtype = IR_F32;
    const float *old = convert_rows_floats(
        stream->rows, stream->block.slot, thread, range->first_row, range->n_rows, &dtype);
    if (dtype != IR_F32) return; // a part that was float all along
    float *new = stream->decoded[thread];
    void *pieces[QUANT_MAX_PIECES];
    const void *stored[QUANT_MAX_PIECES];
    chunk_pieces(stream, range, pieces);
    for (int32_t i = 0; i < stream->param->n_pieces; i++) stored[i] = pieces[i];
    stream->param->format->decode(stored, range, new);
    double errors = 0, squares = 0;
    for (int64_t i = 0; i < range->n_rows * range->columns; i++) {
        const double difference = (double)new[i] - (double)old[i];
        errors += difference * difference;
        squares += (double)old[i] * (double)old[i];
    }
    stream->results[index].error_squares = errors;
    stream->results[index].value_squares = squares;
}

static mlcc_status *reserve_decoded(convert_stream *stream) {
    const size_t size_bytes =
        (size_t)stream->counts.of_chunk * (size_t)stream->param->columns * sizeof(float);
    for (int32_t i = 0; i < mlcc_pool_size(stream->pool); i++) {
        if (stream->decoded_bytes[i] >= size_bytes) continue;
        free(stream->decoded[i]);
        stream->decoded[i] = malloc(size_bytes);
        stream->decoded_bytes[i] = stream->decoded[i] == NULL ? 0 : size_bytes;
        if (stream->decoded[i] == NULL) return memory_error(stream);
    }
    return NULL;
}

static void run_compare(void *arg, int64_t begin, int64_t end, int32_t thread) {
    convert_stream *stream = arg;
    for (int64_t i = begin; i < end; i++) {
        const quant_range range = chunk_range(stream, i);
        compare_chunk(stream, thread, i, &range);
    }
}

// A step of its own: a scale of the whole tensor must be there before its rows are decoded.
static mlcc_status *after_requantize(convert_stream *stream) {
    mlcc_pool_for(stream->pool, n_chunks_of(stream), 1, run_compare, stream);
    for (int64_t i = 0; i < n_chunks_of(stream); i++) {
        stream->outcome->error_squares += stream->results[i].error_squares;
        stream->outcome->value_squares += stream->results[i].value_squares;
    }
    return after_store(stream);
}

// ---- whether the codes can stay -----------------------------------------------------------------

// Chunks are unpacked side by side and judged in order, because formats with a shared scale remember
// it from the rows before. The pool hands chunks out in order, so the one that is waited for is
// always at work.
static void judge_chunk(
    convert_stream *stream, int32_t thread, int64_t index, const quant_range *range) {
    const quant_format *format = stream->param->format;
    quant_canon canon;
    quant_canon_rows rows;
    const bool is_joined =
        convert_rows_canon(stream->rows, thread, range->first_row, range->n_rows, &canon, &rows);
    while (atomic_load_explicit(&stream->turn, memory_order_acquire) != index) sched_yield();
    if (!stream->is_refused &&
        (!is_joined || !format->takes(&canon, &rows, range, &stream->memory))) {
        stream->is_refused = true;
        stream->outcome->reason = convert_reason(format, &canon, is_joined ? &rows : NULL);
    }
    atomic_store_explicit(&stream->turn, index + 1, memory_order_release);
}

static mlcc_status *before_judge(convert_stream *stream) {
    atomic_store(&stream->turn, 0);
    return NULL;
}

// ---- params -------------------------------------------------------------------------------------

static mlcc_status *convert_floats(convert_stream *stream) {
    static const pass_steps measure = {measure_chunk, NULL, after_measure},
                            encode = {encode_chunk, before_store, after_store},
                            requantize = {encode_chunk, before_store, after_requantize};
    const bool is_anew = stream->outcome->way == CONVERT_REQUANTIZED;
    if (stream->param->format->measure != NULL) MLCC_TRY(run_pass(stream, &measure));
    if (is_anew) MLCC_TRY(reserve_decoded(stream));
    MLCC_TRY(take_pieces(stream));
    MLCC_TRY(run_pass(stream, is_anew ? &requantize : &encode));
    return push_pieces(stream);
}

static mlcc_status *convert_dequantized(convert_stream *stream) {
    const bool is_float = ir_dtype_get(stream->param->format->dtype)->kind == IR_KIND_FLOAT;
    stream->outcome->way = is_float ? CONVERT_DEQUANTIZED : CONVERT_REQUANTIZED;
    return convert_floats(stream);
}

static mlcc_status *convert_quantized(convert_stream *stream) {
    static const pass_steps judge = {judge_chunk, before_judge, NULL},
                            pack = {pack_chunk, before_store, after_store};
    const quant_format *format = stream->param->format;
    stream->memory = 0;
    if (format->takes != NULL && format->pack != NULL) {
        stream->n_passes++;
        MLCC_TRY(run_pass(stream, &judge));
        if (!stream->is_refused) {
            stream->outcome->way = CONVERT_UNCHANGED;
            MLCC_TRY(take_pieces(stream));
            MLCC_TRY(run_pass(stream, &pack));
            return push_pieces(stream);
        }
        stream->is_refused = false;
    } else {
        stream->outcome->reason =
            convert_reason(format, convert_rows_canon_of(stream->rows, 0), NULL);
    }
    return convert_dequantized(stream);
}

static mlcc_status *convert_optional(convert_stream *stream) {
    const convert_param *param = stream->param;
    const int64_t count = param->n_rows * param->columns;
    float *values = malloc((size_t)count * sizeof *values);
    if (values == NULL) return memory_error(stream);
    mlcc_status *status = convert_optional_values(stream->source, param, values);
    for (int32_t i = 0; i < param->n_pieces && status == NULL; i++) {
        stream->pieces[i] = convert_queue_take(stream->queue, param->pieces[i].size_bytes);
        if (stream->pieces[i] == NULL) status = memory_error(stream);
    }
    if (status == NULL) {
        const quant_range all = quant_range_all(param->n_rows, param->columns);
        param->format->encode(values, IR_F32, &all, 0.0f, stream->pieces);
        status = push_pieces(stream);
    }
    free(values);
    return status;
}

static mlcc_status *convert_param_rows(convert_stream *stream) {
    const convert_param *param = stream->param;
    stream->counts = convert_rows_choose(
        param, param->format->row_multiple, (int32_t)mlcc_pool_size(stream->pool));
    MLCC_TRY(convert_rows_open(stream->rows, param, stream->counts));
    stream->n_passes = param->format->measure != NULL ? 2 : 1;
    mlcc_status *status = NULL;
    if (convert_rows_are_quantized(stream->rows)) {
        status = convert_quantized(stream);
    } else if (convert_rows_some_are_quantized(stream->rows)) {
        stream->outcome->reason = "it is joined with a float weight";
        status = convert_dequantized(stream);
    } else {
        status = convert_floats(stream);
    }
    convert_rows_close(stream->rows);
    return status;
}

mlcc_status *convert_stream_param(
    convert_stream *stream, const convert_param *param, convert_outcome *outcome) {
    *outcome = (convert_outcome){0};
    stream->param = param;
    stream->outcome = outcome;
    stream->pass = 0;
    stream->largest = 0;
    stream->is_refused = false;
    atomic_store(&stream->n_special, 0);
    mlcc_status *status =
        param->param->has_fallback ? convert_optional(stream) : convert_param_rows(stream);
    return mlcc_status_note(status, "converting '%s'", param->param->value.name);
}

mlcc_status *convert_stream_flush(convert_stream *stream) {
    return convert_queue_write_all(stream->queue);
}
