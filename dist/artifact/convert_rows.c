#include "dist/artifact/convert_rows.h"

#include "quantization/formats/plain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 4 * 1024 * 1024, CHUNK_BYTES = 256 * 1024, N_SLOTS = 2 };

typedef struct rows_buffer {
    void *data;
    size_t capacity_bytes;
} rows_buffer;

// What a thread puts a chunk together in.
typedef struct rows_scratch {
    rows_buffer floats, codes, zeros, scales;
} rows_scratch;

typedef struct rows_source {
    const hf_quantized *quantized; // NULL: floats
    bool is_released;
    // First loaded row of each slot, counted in the source, and where it lies.
    int64_t loaded_row[N_SLOTS];
    const char *loaded[N_SLOTS];
} rows_source;

struct convert_rows {
    hf_weight_source *source;
    int32_t n_threads;
    rows_scratch *scratch; // [n_threads]
    rows_buffer buffers[N_SLOTS];
    rows_source *sources;
    size_t sources_capacity;

    const convert_param *param;
    convert_row_counts counts;
    bool is_quantized, has_quantized; // all, any
};

convert_rows *convert_rows_create(hf_weight_source *source, int32_t n_threads) {
    convert_rows *rows = calloc(1, sizeof *rows);
    if (rows == NULL) return NULL;
    rows->source = source;
    rows->n_threads = n_threads;
    rows->scratch = calloc((size_t)n_threads, sizeof *rows->scratch);
    if (rows->scratch != NULL) return rows;
    free(rows);
    return NULL;
}

void convert_rows_free(convert_rows *rows) {
    if (rows == NULL) return;
    convert_rows_close(rows);
    for (int32_t i = 0; i < rows->n_threads; i++) {
        free(rows->scratch[i].floats.data);
        free(rows->scratch[i].codes.data);
        free(rows->scratch[i].zeros.data);
        free(rows->scratch[i].scales.data);
    }
    for (int32_t i = 0; i < N_SLOTS; i++) free(rows->buffers[i].data);
    free(rows->scratch);
    free(rows->sources);
    free(rows);
}

// Memory that nobody writes costs nothing, so buffers are reserved for the worst case.
static mlcc_status *reserve(rows_buffer *buffer, int64_t n_rows, int64_t columns, size_t element) {
    size_t size_bytes = 0;
    if (!mlcc_size_mul((size_t)n_rows, (size_t)columns, &size_bytes) ||
        !mlcc_size_mul(size_bytes, element, &size_bytes))
        return MLCC_ERROR(INVALID, "%lld rows of a tensor do not fit memory", (long long)n_rows);
    if (size_bytes <= buffer->capacity_bytes) return NULL;
    free(buffer->data);
    *buffer = (rows_buffer){.data = malloc(size_bytes)};
    if (buffer->data == NULL)
        return MLCC_ERROR(
            NO_MEMORY, "host memory ended: a buffer of %zu bytes is needed", size_bytes);
    buffer->capacity_bytes = size_bytes;
    return NULL;
}

static int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

convert_row_counts convert_rows_choose(
    const convert_param *param, int64_t row_multiple, int32_t n_threads) {
    int64_t row_bytes = 1;
    for (size_t i = 0; i < param->n_sources; i++) {
        const int64_t n = param->columns * (int64_t)ir_dtype_bytes(param->sources[i].tensor->dtype);
        if (n > row_bytes) row_bytes = n;
    }
    const int64_t all = round_up(param->n_rows, row_multiple);
    int64_t of_chunk = round_up(CHUNK_BYTES / row_bytes + 1, row_multiple);
    if (of_chunk > all) of_chunk = all;
    // At least a chunk for every thread, however large the format makes chunks.
    int64_t n_chunks = BLOCK_BYTES / row_bytes / of_chunk;
    if (n_chunks < n_threads) n_chunks = n_threads;
    return (convert_row_counts){of_chunk * n_chunks < all ? of_chunk * n_chunks : all, of_chunk};
}

uint64_t convert_stored_bytes(const hf_quantized *quantized) {
    uint64_t size_bytes = 0;
    for (int32_t i = 0; i < QUANT_FOREIGN_MAX_PARTS; i++) {
        const quant_foreign_tensor *part = &quantized->weight.parts[i];
        if (quantized->weight.layout->parts[i].suffix == NULL) break;
        if (part->rank < 0) continue;
        uint64_t n = ir_dtype_bytes(part->dtype);
        for (int32_t d = 0; d < part->rank; d++) n *= (uint64_t)part->dims[d];
        size_bytes += n;
    }
    return size_bytes;
}

static mlcc_status *open_sources(convert_rows *rows) {
    const convert_param *param = rows->param;
    if (param->n_sources > rows->sources_capacity) {
        free(rows->sources);
        rows->sources = calloc(param->n_sources, sizeof *rows->sources);
        rows->sources_capacity = rows->sources == NULL ? 0 : param->n_sources;
        if (rows->sources == NULL)
            return MLCC_ERROR(NO_MEMORY, "host memory ended: %zu sources", param->n_sources);
    }
    rows->is_quantized = rows->source->quantized != NULL;
    rows->has_quantized = false;
    for (size_t i = 0; i < param->n_sources; i++) {
        rows_source *source = &rows->sources[i];
        const hf_tensor *tensor = param->sources[i].tensor;
        *source = (rows_source){0};
        if (rows->source->quantized != NULL)
            MLCC_TRY(rows->source->quantized(rows->source, tensor, &source->quantized));
        rows->is_quantized &= source->quantized != NULL;
        rows->has_quantized |= source->quantized != NULL;
    }
    return NULL;
}

static mlcc_status *reserve_scratch(convert_rows *rows) {
    const convert_param *param = rows->param;
    int64_t n_groups = 0;
    bool is_any_quantized = false;
    for (size_t i = 0; i < param->n_sources; i++) {
        const hf_quantized *quantized = rows->sources[i].quantized;
        if (quantized == NULL) continue;
        is_any_quantized = true;
        if (quantized->canon.n_groups > n_groups) n_groups = quantized->canon.n_groups;
    }
    if (param->n_sources == 1 && !is_any_quantized) return NULL;
    for (int32_t i = 0; i < rows->n_threads; i++) {
        rows_scratch *scratch = &rows->scratch[i];
        MLCC_TRY(reserve(&scratch->floats, rows->counts.of_chunk, param->columns, sizeof(float)));
        if (!is_any_quantized) continue;
        MLCC_TRY(reserve(&scratch->codes, rows->counts.of_chunk, param->columns, 1));
        MLCC_TRY(reserve(&scratch->zeros, rows->counts.of_chunk, n_groups, sizeof(int16_t)));
        MLCC_TRY(reserve(&scratch->scales, rows->counts.of_chunk, n_groups, sizeof(float)));
    }
    return NULL;
}

mlcc_status *convert_rows_open(
    convert_rows *rows, const convert_param *param, convert_row_counts counts) {
    convert_rows_close(rows);
    rows->param = param;
    rows->counts = counts;
    MLCC_TRY(open_sources(rows));
    for (int32_t i = 0; i < N_SLOTS && !rows->is_quantized; i++)
        MLCC_TRY(reserve(&rows->buffers[i], rows->counts.of_block, param->columns, sizeof(float)));
    return reserve_scratch(rows);
}

static void release_source(convert_rows *rows, size_t index) {
    rows_source *source = &rows->sources[index];
    if (source->is_released || rows->source->release == NULL) return;
    rows->source->release(rows->source, rows->param->sources[index].tensor);
    source->is_released = true;
}

void convert_rows_close(convert_rows *rows) {
    if (rows->param == NULL) return;
    for (size_t i = 0; i < rows->param->n_sources && i < rows->sources_capacity; i++)
        release_source(rows, i);
    rows->param = NULL;
}

bool convert_rows_are_quantized(const convert_rows *rows) {
    return rows->is_quantized;
}

bool convert_rows_some_are_quantized(const convert_rows *rows) {
    return rows->has_quantized;
}

// The source that a row of the param lies in.
static size_t source_of(const convert_param *param, int64_t row) {
    size_t i = 0;
    while (i + 1 < param->n_sources && row >= param->sources[i + 1].first_row) i++;
    return i;
}

const quant_canon *convert_rows_canon_of(const convert_rows *rows, int64_t row) {
    return &rows->sources[source_of(rows->param, row)].quantized->canon;
}

const char *convert_rows_layout_of(const convert_rows *rows, int64_t row) {
    return rows->sources[source_of(rows->param, row)].quantized->weight.layout->name;
}

// A part of a row range that lies in one source.
typedef struct rows_part {
    size_t source;
    int64_t first_row, n_rows; // in the param
    int64_t source_row;
} rows_part;

static rows_part part_at(const convert_param *param, int64_t row, int64_t end) {
    const size_t index = source_of(param, row);
    const convert_source *source = &param->sources[index];
    const int64_t source_end = source->first_row + source->n_rows;
    return (rows_part){index, row, (source_end < end ? source_end : end) - row,
                       row - source->first_row};
}

mlcc_status *convert_rows_load(
    convert_rows *rows, int32_t slot, int64_t first_row, int64_t n_rows) {
    char *buffer = rows->buffers[slot].data;
    for (int64_t row = first_row; row < first_row + n_rows;) {
        const rows_part part = part_at(rows->param, row, first_row + n_rows);
        rows_source *source = &rows->sources[part.source];
        row += part.n_rows;
        if (source->quantized != NULL) continue;
        const hf_tensor *tensor = rows->param->sources[part.source].tensor;
        const size_t row_bytes = (size_t)rows->param->columns * ir_dtype_bytes(tensor->dtype);
        const size_t size_bytes = (size_t)part.n_rows * row_bytes;
        const void *view = NULL;
        source->is_released = false;
        MLCC_TRY(rows->source->read(
            rows->source, tensor, (uint64_t)part.source_row * row_bytes, size_bytes, buffer,
            &view));
        source->loaded_row[slot] = part.source_row;
        source->loaded[slot] = view != NULL ? view : buffer;
        buffer += size_bytes;
    }
    return NULL;
}

void convert_rows_release(convert_rows *rows, int64_t row) {
    for (size_t i = 0; i < rows->param->n_sources; i++) {
        const convert_source *source = &rows->param->sources[i];
        if (source->first_row + source->n_rows > row) break;
        if (rows->sources[i].quantized == NULL) release_source(rows, i);
    }
}

// ---- params with a fallback ---------------------------------------------------------------------

static mlcc_status *read_optional(
    hf_weight_source *source, const hf_tensor *tensor, float *values, int64_t count) {
    const int64_t n_found = (int64_t)(tensor->size_bytes / ir_dtype_bytes(tensor->dtype));
    float *found = malloc((size_t)n_found * 2 * sizeof(float));
    if (found == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while '%s' was read", tensor->name);
    const void *view = NULL;
    mlcc_status *status =
        source->read(source, tensor, 0, tensor->size_bytes, found + n_found, &view);
    if (status == NULL)
        quant_cast_to_f32(view != NULL ? view : found + n_found, tensor->dtype, n_found, found);
    for (int64_t i = 0; i < count && status == NULL; i++) {
        const float value = found[n_found == 1 ? 0 : i];
        if (!isfinite(value) || value < 0) {
            status = MLCC_ERROR(
                INVALID,
                "scale %lld of tensor '%s' in %s is %g; expected a finite number, 0 or greater",
                (long long)i, tensor->name, source->description, (double)value);
        } else if (value > values[i]) {
            values[i] = value;
        }
    }
    free(found);
    if (source->release != NULL) source->release(source, tensor);
    return status;
}

mlcc_status *convert_optional_values(
    hf_weight_source *source, const convert_param *param, float *values) {
    const int64_t count = param->n_rows * param->columns;
    for (int64_t i = 0; i < count; i++)
        values[i] = param->n_sources == 0 ? (float)param->param->fallback : 0.0f;
    for (size_t i = 0; i < param->n_sources; i++)
        MLCC_TRY(read_optional(source, param->sources[i].tensor, values, count));
    return NULL;
}

// ---- chunks -------------------------------------------------------------------------------------

static void unpack(
    const hf_quantized *quantized, const rows_part *part, int64_t offset, quant_canon_rows *out) {
    const quant_canon *canon = &quantized->canon;
    quant_canon_rows rows = {
        .first_row = part->source_row,
        .n_rows = part->n_rows,
        .codes = out->codes + offset * canon->columns,
        .zeros = out->zeros + offset * canon->n_groups,
        .scales = out->scales + offset * canon->n_groups};
    quantized->weight.layout->unpack(&quantized->weight, &quantized->hints, canon, &rows);
}

static quant_canon_rows canon_memory(const rows_scratch *scratch, int64_t first, int64_t n) {
    return (quant_canon_rows){.first_row = first,
                              .n_rows = n,
                              .codes = scratch->codes.data,
                              .zeros = scratch->zeros.data,
                              .scales = scratch->scales.data};
}

// Rows of one source as float32 in `output`.
static void widen(
    const convert_rows *rows, int32_t slot, int32_t thread, const rows_part *part, float *output) {
    const rows_source *source = &rows->sources[part->source];
    const int64_t columns = rows->param->columns;
    if (source->quantized != NULL) {
        quant_canon_rows canon_rows =
            canon_memory(&rows->scratch[thread], part->source_row, part->n_rows);
        unpack(source->quantized, part, 0, &canon_rows);
        quant_canon_decode(&source->quantized->canon, &canon_rows, output);
        return;
    }
    const ir_dtype dtype = rows->param->sources[part->source].tensor->dtype;
    const size_t row_bytes = (size_t)columns * ir_dtype_bytes(dtype);
    const char *data =
        source->loaded[slot] + (size_t)(part->source_row - source->loaded_row[slot]) * row_bytes;
    quant_cast_to_f32(data, dtype, part->n_rows * columns, output);
}

const void *convert_rows_floats(
    const convert_rows *rows, int32_t slot, int32_t thread, int64_t first_row, int64_t n_rows,
    ir_dtype *dtype) {
    const int64_t end = first_row + n_rows;
    rows_part part = part_at(rows->param, first_row, end);
    const rows_source *source = &rows->sources[part.source];
    if (part.n_rows == n_rows && source->quantized == NULL) {
        *dtype = rows->param->sources[part.source].tensor->dtype;
        return source->loaded[slot] + (size_t)(part.source_row - source->loaded_row[slot]) *
                                          (size_t)rows->param->columns * ir_dtype_bytes(*dtype);
    }
    float *floats = rows->scratch[thread].floats.data;
    *dtype = IR_F32;
    for (int64_t row = first_row; row < end; row += part.n_rows) {
        part = part_at(rows->param, row, end);
        widen(rows, slot, thread, &part, floats + (row - first_row) * rows->param->columns);
    }
    return floats;
}

// Two sources whose rows may stand below each other as one: act-order maps belong to one source.
static bool can_join(const quant_canon *a, const quant_canon *b) {
    return a->kind == b->kind && a->bits == b->bits && a->group == b->group &&
           a->n_groups == b->n_groups && a->group_of_column == NULL && b->group_of_column == NULL;
}

bool convert_rows_canon(
    const convert_rows *rows, int32_t thread, int64_t first_row, int64_t n_rows, quant_canon *canon,
    quant_canon_rows *out) {
    const int64_t end = first_row + n_rows;
    *out = canon_memory(&rows->scratch[thread], first_row, n_rows);
    rows_part part = part_at(rows->param, first_row, end);
    *canon = rows->sources[part.source].quantized->canon;
    canon->n_rows = rows->param->n_rows;
    for (int64_t row = first_row; row < end; row += part.n_rows) {
        part = part_at(rows->param, row, end);
        const hf_quantized *quantized = rows->sources[part.source].quantized;
        if (row != first_row && !can_join(canon, &quantized->canon)) return false;
        unpack(quantized, &part, row - first_row, out);
    }
    return true;
}
