#include "dist/artifact/convert_stream.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 4 * 1024 * 1024, CHUNK_BYTES = 256 * 1024 };

typedef struct stream_buffer {
    void *data;
    size_t capacity_bytes;
} stream_buffer;

// Rows that come from one source tensor and are encoded together.
typedef struct block {
    const hf_tensor *tensor; // NULL: no block
    int64_t first_source_row, first_row, n_rows;
    bool is_last_of_tensor;
} block;

struct convert_stream {
    hf_weight_source *source;
    artifact_store *store;
    mlcc_pool *pool;
    convert_stream_progress *progress;
    void *user;
    stream_buffer inputs[2], outputs[2], rest[QUANT_MAX_PIECES];

    // The param at work.
    const convert_param *param;
    size_t piece_row_bytes[QUANT_MAX_PIECES];
    block reading, encoding, writing;
    int turn; // `encoding` uses inputs[turn] and outputs[turn]; reading and writing use the others
    int64_t rows_per_chunk;
    mlcc_status *read_status, *write_status;
    atomic_ullong n_special;
};

convert_stream *convert_stream_create(
    hf_weight_source *source, artifact_store *store, mlcc_pool *pool,
    convert_stream_progress *progress, void *user) {
    convert_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->source = source;
    stream->store = store;
    stream->pool = pool;
    stream->progress = progress;
    stream->user = user;
    return stream;
}

void convert_stream_free(convert_stream *stream) {
    if (stream == NULL) return;
    for (int i = 0; i < 2; i++) {
        free(stream->inputs[i].data);
        free(stream->outputs[i].data);
    }
    for (int i = 0; i < QUANT_MAX_PIECES; i++) free(stream->rest[i].data);
    free(stream);
}

static mlcc_status *reserve(stream_buffer *buffer, size_t size_bytes) {
    if (size_bytes <= buffer->capacity_bytes) return NULL;
    free(buffer->data);
    *buffer = (stream_buffer){.data = malloc(size_bytes)};
    if (buffer->data == NULL)
        return MLCC_ERROR(
            NO_MEMORY, "host memory ended: a buffer of %zu bytes is needed", size_bytes);
    buffer->capacity_bytes = size_bytes;
    return NULL;
}

static size_t source_row_bytes(const convert_param *param, const hf_tensor *tensor) {
    return (size_t)param->columns * ir_dtype_bytes(tensor->dtype);
}

static int64_t source_rows(const convert_param *param, const hf_tensor *tensor) {
    return (int64_t)(tensor->size_bytes / source_row_bytes(param, tensor));
}

// The block after `last`: at most BLOCK_BYTES of one tensor, at least one row.
static block block_after(const convert_param *param, const block *last) {
    block next = {0};
    int32_t index = 0;
    int64_t source_row = 0;
    if (last->tensor != NULL) {
        next.first_row = last->first_row + last->n_rows;
        while (param->sources[index] != last->tensor) index++;
        source_row = last->first_source_row + last->n_rows;
        if (last->is_last_of_tensor) {
            index++;
            source_row = 0;
        }
    }
    if (index >= param->param->n_sources) return (block){0};
    next.tensor = param->sources[index];
    next.first_source_row = source_row;
    const int64_t n_left = source_rows(param, next.tensor) - source_row;
    int64_t n_rows = BLOCK_BYTES / (int64_t)source_row_bytes(param, next.tensor);
    if (n_rows < 1) n_rows = 1;
    next.is_last_of_tensor = n_left <= n_rows;
    next.n_rows = next.is_last_of_tensor ? n_left : n_rows;
    return next;
}

static mlcc_status *read_block(convert_stream *stream) {
    const block *b = &stream->reading;
    const size_t row_bytes = source_row_bytes(stream->param, b->tensor);
    const uint64_t offset = (uint64_t)b->first_source_row * row_bytes,
                   size_bytes = (uint64_t)b->n_rows * row_bytes;
    MLCC_TRY(stream->source->read(
        stream->source, b->tensor, offset, size_bytes, stream->inputs[stream->turn ^ 1].data,
        NULL));
    if (b->is_last_of_tensor && stream->source->release != NULL)
        stream->source->release(stream->source, b->tensor);
    return NULL;
}

static mlcc_status *write_block(convert_stream *stream) {
    return artifact_store_append(
        stream->store, stream->outputs[stream->turn ^ 1].data,
        (size_t)stream->writing.n_rows * stream->piece_row_bytes[0]);
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

static void encode_chunk(convert_stream *stream, int64_t chunk) {
    const block *b = &stream->encoding;
    const convert_param *param = stream->param;
    const int64_t begin = chunk * stream->rows_per_chunk;
    const int64_t n_rows =
        b->n_rows - begin < stream->rows_per_chunk ? b->n_rows - begin : stream->rows_per_chunk;
    const char *input = (const char *)stream->inputs[stream->turn].data +
                        (size_t)begin * source_row_bytes(param, b->tensor);
    void *outputs[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < param->n_pieces; i++) {
        char *first = i == 0 ? stream->outputs[stream->turn].data : stream->rest[i].data;
        outputs[i] =
            first + (size_t)(i == 0 ? begin : b->first_row + begin) * stream->piece_row_bytes[i];
    }
    param->format->encode(input, b->tensor->dtype, n_rows, param->columns, outputs);
    uint64_t n_special = 0;
    for (int32_t i = 0; i < param->n_pieces; i++)
        n_special += count_special(
            param->pieces[i].dtype, outputs[i], (size_t)n_rows * stream->piece_row_bytes[i]);
    if (n_special != 0)
        atomic_fetch_add_explicit(&stream->n_special, n_special, memory_order_relaxed);
}

// Items 0 and 1 are the write and the read, which one thread each does; they come first because
// they take longest.
static void run_items(void *arg, int64_t begin, int64_t end, int32_t thread) {
    convert_stream *stream = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        if (item == 0) {
            if (stream->writing.tensor != NULL) stream->write_status = write_block(stream);
        } else if (item == 1) {
            if (stream->reading.tensor != NULL) stream->read_status = read_block(stream);
        } else {
            encode_chunk(stream, item - 2);
        }
    }
}

static mlcc_status *step(convert_stream *stream) {
    int64_t n_chunks = 0;
    if (stream->encoding.tensor != NULL) {
        const size_t row_bytes = source_row_bytes(stream->param, stream->encoding.tensor);
        stream->rows_per_chunk = row_bytes >= CHUNK_BYTES ? 1 : (int64_t)(CHUNK_BYTES / row_bytes);
        n_chunks = (stream->encoding.n_rows + stream->rows_per_chunk - 1) / stream->rows_per_chunk;
    }
    mlcc_pool_for(stream->pool, 2 + n_chunks, 1, run_items, stream);
    mlcc_status *status = stream->write_status != NULL ? stream->write_status : stream->read_status;
    if (status == stream->write_status) mlcc_status_free(stream->read_status);
    stream->write_status = stream->read_status = NULL;
    MLCC_TRY(status);
    if (stream->encoding.tensor != NULL && stream->progress != NULL) {
        stream->progress(
            stream->user, (uint64_t)stream->encoding.n_rows *
                              source_row_bytes(stream->param, stream->encoding.tensor));
    }
    return NULL;
}

static mlcc_status *reserve_buffers(convert_stream *stream, const convert_param *param) {
    size_t input_bytes = 0, output_bytes = 0;
    for (block b = block_after(param, &(block){0}); b.tensor != NULL; b = block_after(param, &b)) {
        const size_t in = (size_t)b.n_rows * source_row_bytes(param, b.tensor),
                     out = (size_t)b.n_rows * stream->piece_row_bytes[0];
        if (in > input_bytes) input_bytes = in;
        if (out > output_bytes) output_bytes = out;
    }
    for (int i = 0; i < 2; i++) {
        MLCC_TRY(reserve(&stream->inputs[i], input_bytes));
        MLCC_TRY(reserve(&stream->outputs[i], output_bytes));
    }
    for (int32_t i = 1; i < param->n_pieces; i++)
        MLCC_TRY(reserve(&stream->rest[i], param->pieces[i].size_bytes));
    return NULL;
}

static mlcc_status *begin_piece(
    convert_stream *stream, const convert_param *param, int32_t index, mlcc_arena *scratch) {
    const quant_piece *piece = &param->pieces[index];
    return artifact_store_begin(
        stream->store, quant_piece_name(scratch, param->param->value.name, piece), piece->dtype,
        piece->rank, piece->dims);
}

static mlcc_status *write_param(
    convert_stream *stream, const convert_param *param, mlcc_arena *scratch) {
    for (int32_t i = 0; i < param->n_pieces; i++)
        stream->piece_row_bytes[i] = param->pieces[i].size_bytes / (size_t)param->n_rows;
    MLCC_TRY(reserve_buffers(stream, param));
    MLCC_TRY(begin_piece(stream, param, 0, scratch));
    stream->param = param;
    stream->encoding = stream->writing = (block){0};
    stream->reading = block_after(param, &(block){0});
    stream->turn = 0;
    while (stream->reading.tensor != NULL || stream->encoding.tensor != NULL ||
           stream->writing.tensor != NULL) {
        MLCC_TRY(step(stream));
        stream->writing = stream->encoding;
        stream->encoding = stream->reading;
        if (stream->reading.tensor != NULL) stream->reading = block_after(param, &stream->reading);
        stream->turn ^= 1;
    }
    for (int32_t i = 1; i < param->n_pieces; i++) {
        MLCC_TRY(begin_piece(stream, param, i, scratch));
        MLCC_TRY(artifact_store_append(
            stream->store, stream->rest[i].data, param->pieces[i].size_bytes));
    }
    return NULL;
}

mlcc_status *convert_stream_param(
    convert_stream *stream, const convert_param *param, uint64_t *n_special) {
    mlcc_arena *scratch = mlcc_arena_create();
    atomic_store(&stream->n_special, 0);
    mlcc_status *status = write_param(stream, param, scratch);
    *n_special = atomic_load(&stream->n_special);
    mlcc_arena_free(scratch);
    return mlcc_status_note(status, "converting '%s'", param->param->value.name);
}
