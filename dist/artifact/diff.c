#include "dist/artifact/diff.h"

#include "runtime/base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Sums over the elements of one chunk, or of more.
typedef struct diff_sums {
    double difference, a, b, product; // squares of a - b, of a, of b; a b
    double max_abs;
    uint64_t n_elements, n_not_finite;
} diff_sums;

typedef struct comparison {
    const artifact_diff_options *options;
    artifact_diff_result *result;
    mlcc_arena *keep;
    diff_side *a, *b;
    mlcc_pool *pool;
    int32_t n_threads;
    size_t rows_capacity, only_a_capacity, only_b_capacity, shapes_capacity;
    diff_sums total;
    uint64_t done_bytes, total_bytes;

    // The param at work.
    const diff_param *param;
    int64_t block_row, block_rows;
    convert_row_counts counts;
    int32_t n_codes_a, n_codes_b;
    diff_sums *sums; // [chunks of the block]
    size_t sums_capacity;
    float **buffers; // [n_threads], two chunks each
    size_t buffer_bytes;
    uint64_t *histograms; // [n_threads, 2, DIFF_MAX_CODES]
} comparison;

// ---- one chunk ----------------------------------------------------------------------------------

// Branch-free, so that it becomes vector code; special elements are counted and leave the sums alone.
static diff_sums sum_rows(const float *a, const float *b, int64_t count) {
    enum { LANES = 8 };
    double difference[LANES] = {0}, squares_a[LANES] = {0}, squares_b[LANES] = {0},
           product[LANES] = {0}, largest[LANES] = {0};
    diff_sums sums = {.n_elements = (uint64_t)count};
    for (int64_t first = 0; first < count; first += LANES) {
        const int64_t n = count - first < LANES ? count - first : LANES;
        for (int64_t i = 0; i < n; i++) {
            const double x = (double)a[first + i], y = (double)b[first + i];
            const bool is_finite = isfinite(a[first + i]) && isfinite(b[first + i]);
            const double u = is_finite ? x : 0.0, v = is_finite ? y : 0.0, d = u - v;
            difference[i] += d * d;
            squares_a[i] += u * u;
            squares_b[i] += v * v;
            product[i] += u * v;
            largest[i] = fabs(d) > largest[i] ? fabs(d) : largest[i];
            // The same infinity on both sides is no difference, and neither are two NaN.
            const bool is_alike = a[first + i] == b[first + i] || (isnan(x) && isnan(y));
            sums.n_not_finite += !is_finite && !is_alike;
        }
    }
    for (int i = 0; i < LANES; i++) {
        sums.difference += difference[i];
        sums.a += squares_a[i];
        sums.b += squares_b[i];
        sums.product += product[i];
        sums.max_abs = largest[i] > sums.max_abs ? largest[i] : sums.max_abs;
    }
    return sums;
}

static void add_sums(diff_sums *to, const diff_sums *more) {
    to->difference += more->difference;
    to->a += more->a;
    to->b += more->b;
    to->product += more->product;
    to->max_abs = more->max_abs > to->max_abs ? more->max_abs : to->max_abs;
    to->n_elements += more->n_elements;
    to->n_not_finite += more->n_not_finite;
}

static void compare_chunks(void *arg, int64_t begin, int64_t end, int32_t thread) {
    comparison *c = arg;
    uint64_t *histograms = c->histograms + (size_t)thread * 2 * DIFF_MAX_CODES;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t first = chunk * c->counts.of_chunk, left = c->block_rows - first;
        const quant_range range = {
            c->block_row + first, left < c->counts.of_chunk ? left : c->counts.of_chunk,
            c->param->n_rows, c->param->columns};
        float *a = c->buffers[thread], *b = a + c->counts.of_chunk * c->param->columns;
        diff_side_rows(c->a, thread, &range, a);
        diff_side_rows(c->b, thread, &range, b);
        c->sums[chunk] = sum_rows(a, b, range.n_rows * range.columns);
        if (c->n_codes_a > 0) diff_side_count_codes(c->a, thread, &range, histograms);
        if (c->n_codes_b > 0)
            diff_side_count_codes(c->b, thread, &range, histograms + DIFF_MAX_CODES);
    }
}

// ---- one param ----------------------------------------------------------------------------------

static int64_t greatest_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static convert_row_counts choose_counts(
    const comparison *c, const diff_param *a, const diff_param *b) {
    const int64_t multiple =
        a->row_multiple / greatest_divisor(a->row_multiple, b->row_multiple) * b->row_multiple;
    // As if both were sources of float32.
    const hf_tensor tensor = {.dtype = IR_F32};
    convert_source source = {.tensor = &tensor};
    const convert_param as_floats = {
        .sources = &source, .n_sources = 1, .n_rows = a->n_rows, .columns = a->columns};
    return convert_rows_choose(&as_floats, multiple, c->n_threads);
}

static mlcc_status *reserve(comparison *c) {
    const size_t n_chunks =
        (size_t)((c->counts.of_block + c->counts.of_chunk - 1) / c->counts.of_chunk);
    const size_t size_bytes =
        2 * (size_t)c->counts.of_chunk * (size_t)c->param->columns * sizeof(float);
    if (n_chunks > c->sums_capacity) {
        free(c->sums);
        c->sums = malloc(n_chunks * sizeof *c->sums);
        c->sums_capacity = c->sums == NULL ? 0 : n_chunks;
    }
    bool is_short = c->sums == NULL;
    for (int32_t i = 0; size_bytes > c->buffer_bytes && i < c->n_threads; i++) {
        free(c->buffers[i]);
        c->buffers[i] = malloc(size_bytes);
        is_short |= c->buffers[i] == NULL;
    }
    if (size_bytes > c->buffer_bytes) c->buffer_bytes = size_bytes;
    if (is_short)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while '%s' was compared", c->param->name);
    return NULL;
}

static mlcc_status *sum_param(comparison *c, diff_sums *sums) {
    const uint64_t size_bytes = c->param->size_bytes;
    for (int64_t row = 0; row < c->param->n_rows; row += c->counts.of_block) {
        const int64_t left = c->param->n_rows - row;
        c->block_row = row;
        c->block_rows = left < c->counts.of_block ? left : c->counts.of_block;
        MLCC_TRY(diff_side_load(c->a, c->block_row, c->block_rows));
        MLCC_TRY(diff_side_load(c->b, c->block_row, c->block_rows));
        const int64_t n_chunks = (c->block_rows + c->counts.of_chunk - 1) / c->counts.of_chunk;
        mlcc_pool_for(c->pool, n_chunks, 1, compare_chunks, c);
        for (int64_t i = 0; i < n_chunks; i++) add_sums(sums, &c->sums[i]);
        if (c->options->progress != NULL) {
            const double done = (double)(row + c->block_rows) / (double)c->param->n_rows;
            c->options->progress(
                c->options->progress_user, "compare",
                c->done_bytes + (uint64_t)(done * (double)size_bytes), c->total_bytes);
        }
    }
    c->done_bytes += size_bytes;
    return NULL;
}

static double relative_error(const diff_sums *sums) {
    const double of = sums->b > 0 ? sums->b : sums->a;
    return of > 0 ? sqrt(sums->difference / of) : 0.0;
}

static double cosine(const diff_sums *sums) {
    if (sums->difference <= 0) return 1.0; // not 1 - 1e-16
    if (sums->a <= 0 || sums->b <= 0) return sums->a <= 0 && sums->b <= 0 ? 1.0 : 0.0;
    // Both roots first: their product does not overflow.
    const double value = sums->product / (sqrt(sums->a) * sqrt(sums->b));
    return value > 1.0 ? 1.0 : value;
}

static double mean_square(const diff_sums *sums) {
    return sums->n_elements > 0 ? sums->difference / (double)sums->n_elements : 0.0;
}

static uint64_t *histogram_of(const comparison *c, int side) {
    uint64_t *counts = MLCC_NEW_ARRAY(c->keep, uint64_t, DIFF_MAX_CODES);
    for (int32_t thread = 0; thread < c->n_threads; thread++) {
        const uint64_t *more = c->histograms + ((size_t)thread * 2 + (size_t)side) * DIFF_MAX_CODES;
        for (int i = 0; i < DIFF_MAX_CODES; i++) counts[i] += more[i];
    }
    return counts;
}

static mlcc_status *compare_param(comparison *c, const diff_param *a, const diff_param *b) {
    artifact_diff_result *result = c->result;
    c->param = a;
    c->counts = choose_counts(c, a, b);
    MLCC_TRY(reserve(c));
    MLCC_TRY(diff_side_begin(c->a, a, c->counts, c->n_threads));
    MLCC_TRY(diff_side_begin(c->b, b, c->counts, c->n_threads));
    c->n_codes_a = diff_side_n_codes(c->a);
    c->n_codes_b = diff_side_n_codes(c->b);
    memset(c->histograms, 0, (size_t)c->n_threads * 2 * DIFF_MAX_CODES * sizeof *c->histograms);
    diff_sums sums = {0};
    MLCC_TRY(sum_param(c, &sums));
    add_sums(&c->total, &sums);
    MLCC_ARENA_GROW(c->keep, result->rows, result->n_rows, c->rows_capacity);
    result->rows[result->n_rows++] =
        (diff_row){.name = mlcc_arena_strdup(c->keep, a->name),
                   .format_a = mlcc_arena_strdup(c->keep, diff_side_format(c->a)),
                   .format_b = mlcc_arena_strdup(c->keep, diff_side_format(c->b)),
                   .n_rows = a->n_rows,
                   .columns = a->columns,
                   .max_abs = sums.max_abs,
                   .mean_square_error = mean_square(&sums),
                   .relative_error = relative_error(&sums),
                   .cosine = cosine(&sums),
                   .n_not_finite = sums.n_not_finite,
                   .n_codes_a = c->n_codes_a,
                   .n_codes_b = c->n_codes_b,
                   .codes_a = c->n_codes_a > 0 ? histogram_of(c, 0) : NULL,
                   .codes_b = c->n_codes_b > 0 ? histogram_of(c, 1) : NULL};
    diff_side_end(c->a);
    diff_side_end(c->b);
    return NULL;
}

// ---- all of them --------------------------------------------------------------------------------

static mlcc_map *names_of(const diff_side *side) {
    size_t n_params = 0;
    const diff_param *params = diff_side_params(side, &n_params);
    mlcc_map *names = mlcc_map_create(n_params);
    for (size_t i = 0; i < n_params; i++) mlcc_map_add_text(names, params[i].name, i);
    return names;
}

static void note_only(
    comparison *c, const diff_param *param, const char ***names, size_t *n_names,
    size_t *capacity) {
    *names = mlcc_arena_grow(c->keep, *names, *n_names, capacity, sizeof **names);
    (*names)[(*n_names)++] = mlcc_arena_strdup(c->keep, param->name);
    c->result->lacks_weights |= !param->is_optional;
}

static void note_shape(comparison *c, const diff_param *a, const diff_param *b) {
    artifact_diff_result *result = c->result;
    MLCC_ARENA_GROW(c->keep, result->shapes, result->n_shapes, c->shapes_capacity);
    result->shapes[result->n_shapes++] = mlcc_arena_printf(
        c->keep, "%s [%lld, %lld] [%lld, %lld]", a->name, (long long)a->n_rows,
        (long long)a->columns, (long long)b->n_rows, (long long)b->columns);
}

static mlcc_status *compare_params(
    comparison *c, const mlcc_map *names_a, const mlcc_map *names_b) {
    artifact_diff_result *result = c->result;
    size_t n_a = 0, n_b = 0;
    const diff_param *a = diff_side_params(c->a, &n_a), *b = diff_side_params(c->b, &n_b);
    for (size_t i = 0; i < n_a; i++) c->total_bytes += a[i].size_bytes;
    for (size_t i = 0; i < n_a; i++) {
        uint64_t index = 0;
        if (!mlcc_map_get_text(names_b, a[i].name, &index)) {
            note_only(c, &a[i], &result->only_a, &result->n_only_a, &c->only_a_capacity);
        } else if (a[i].n_rows != b[index].n_rows || a[i].columns != b[index].columns) {
            note_shape(c, &a[i], &b[index]);
        } else {
            MLCC_TRY_NOTE(compare_param(c, &a[i], &b[index]), "comparing '%s'", a[i].name);
            continue;
        }
        c->done_bytes += a[i].size_bytes;
    }
    for (size_t i = 0; i < n_b; i++) {
        uint64_t unused = 0;
        if (!mlcc_map_get_text(names_a, b[i].name, &unused))
            note_only(c, &b[i], &result->only_b, &result->n_only_b, &c->only_b_capacity);
    }
    return NULL;
}

static int worst_first(const void *x, const void *y) {
    const diff_row *a = x, *b = y;
    if (a->n_not_finite != b->n_not_finite) return a->n_not_finite > b->n_not_finite ? -1 : 1;
    if (a->relative_error > b->relative_error) return -1;
    if (a->relative_error < b->relative_error) return 1;
    return strcmp(a->name, b->name);
}

// Stores first: they know their mode, and a folder is seen as the other side's mode sees it.
static mlcc_status *open_sides(comparison *c) {
    MLCC_TRY(diff_side_open(c->options->a, &c->a));
    MLCC_TRY(diff_side_open(c->options->b, &c->b));
    const quant_mode *plain = NULL;
    MLCC_TRY(quant_mode_find("q0f32", &plain));
    diff_side *const sides[2] = {c->a, c->b};
    for (int i = 0; i < 2; i++) {
        if (diff_side_is_store(sides[i]) && diff_side_mode(sides[i]) == NULL)
            MLCC_TRY(diff_side_find_mode(sides[i], sides[1 - i]));
    }
    for (int i = 0; i < 2; i++) {
        if (diff_side_is_store(sides[i])) continue;
        const diff_side *other = sides[1 - i];
        MLCC_TRY(diff_side_open_source(
            sides[i], diff_side_is_store(other) ? diff_side_mode(other) : plain,
            c->options->source_format));
    }
    return NULL;
}

static mlcc_status *compare(comparison *c) {
    MLCC_TRY(open_sides(c));
    MLCC_TRY(mlcc_pool_create(c->options->n_threads, &c->pool));
    c->n_threads = mlcc_pool_size(c->pool);
    c->buffers = calloc((size_t)c->n_threads, sizeof *c->buffers);
    c->histograms = calloc((size_t)c->n_threads * 2 * DIFF_MAX_CODES, sizeof *c->histograms);
    if (c->buffers == NULL || c->histograms == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended before the first param");
    mlcc_map *names_a = names_of(c->a), *names_b = names_of(c->b);
    mlcc_status *status = compare_params(c, names_a, names_b);
    mlcc_map_free(names_a);
    mlcc_map_free(names_b);
    MLCC_TRY(status);
    artifact_diff_result *result = c->result;
    if (result->n_rows > 1) qsort(result->rows, result->n_rows, sizeof *result->rows, worst_first);
    result->n_elements = c->total.n_elements;
    result->max_abs = c->total.max_abs;
    result->mean_square_error = mean_square(&c->total);
    result->relative_error = relative_error(&c->total);
    result->cosine = cosine(&c->total);
    result->n_not_finite = c->total.n_not_finite;
    return NULL;
}

mlcc_status *artifact_diff(
    const artifact_diff_options *options, mlcc_arena *keep, artifact_diff_result *result) {
    *result = (artifact_diff_result){0};
    const double start_s = mlcc_clock_s();
    comparison c = {.options = options, .result = result, .keep = keep};
    mlcc_status *status = compare(&c);
    diff_side_close(c.a);
    diff_side_close(c.b);
    mlcc_pool_free(c.pool);
    for (int32_t i = 0; c.buffers != NULL && i < c.n_threads; i++) free(c.buffers[i]);
    free(c.buffers);
    free(c.histograms);
    free(c.sums);
    result->seconds = mlcc_clock_s() - start_s;
    return mlcc_status_note(status, "comparing '%s' with '%s'", options->a, options->b);
}

bool artifact_diff_is_within(const artifact_diff_result *result, double tolerance) {
    return result->max_abs <= tolerance && result->n_not_finite == 0 && result->n_shapes == 0 &&
           !result->lacks_weights;
}
