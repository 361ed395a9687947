// foreign_fixture: see the header.
#include "tests/support/foreign_fixture.h"

#include "quantization/round.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

uint32_t foreign_fixture_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 33);
}

static void allocate_rows(mlcc_arena *keep, const quant_canon *canon, quant_canon_rows *rows) {
    const size_t n_elements = (size_t)(canon->n_rows * canon->columns);
    const size_t n_scales = (size_t)(canon->n_rows * canon->n_groups);
    *rows = (quant_canon_rows){.n_rows = canon->n_rows,
                               .codes = MLCC_NEW_ARRAY(keep, uint8_t, n_elements),
                               .zeros = MLCC_NEW_ARRAY(keep, int16_t, n_scales),
                               .scales = MLCC_NEW_ARRAY(keep, float, n_scales)};
}

// Columns dealt to groups of the right size in random order.
static const int32_t *random_map(mlcc_arena *keep, const quant_canon *canon, uint64_t *seed) {
    int32_t *map = MLCC_NEW_ARRAY(keep, int32_t, (size_t)canon->columns);
    for (int64_t k = 0; k < canon->columns; k++) map[k] = (int32_t)(k / canon->group);
    for (int64_t k = canon->columns - 1; k > 0; k--) {
        const int64_t other = foreign_fixture_random(seed) % (k + 1);
        const int32_t entry = map[k];
        map[k] = map[other];
        map[other] = entry;
    }
    return map;
}

foreign_fixture foreign_fixture_make(mlcc_arena *keep, const foreign_fixture_options *options) {
    uint64_t seed = options->seed * 2654435761u + 12345;
    const int32_t bits = options->bits != 0 ? options->bits : 4;
    const int64_t group = options->group != 0 ? options->group : options->columns;
    foreign_fixture made = {
        .canon = {
            QUANT_CANON_INT, options->n_rows, options->columns, bits, group,
            (options->columns + group - 1) / group, NULL}};
    allocate_rows(keep, &made.canon, &made.rows);
    for (int64_t i = 0; i < options->n_rows * options->columns; i++)
        made.rows.codes[i] = (uint8_t)(foreign_fixture_random(&seed) >> 8 & ((1u << bits) - 1u));
    for (int64_t i = 0; i < options->n_rows * made.canon.n_groups; i++) {
        const int32_t n_zeros = (1 << bits) - options->min_zero;
        const int32_t zero =
            options->min_zero + (int32_t)(foreign_fixture_random(&seed) >> 8) % n_zeros;
        made.rows.zeros[i] = (int16_t)(options->is_symmetric ? 1 << (bits - 1) : zero);
        const float scale = (float)(1 + foreign_fixture_random(&seed) % 4000) / 65536.0f;
        made.rows.scales[i] =
            quant_round_f16(foreign_fixture_random(&seed) % 16 == 0 ? -scale : scale);
    }
    if (options->has_map) made.canon.group_of_column = random_map(keep, &made.canon, &seed);
    return made;
}

static void assert_success(mlcc_status *status) {
    if (status == NULL) return;
    print_error("%s\n", mlcc_status_message(status));
    mlcc_status_free(status);
    fail();
}

foreign_fixture foreign_fixture_read(
    mlcc_arena *keep, quant_foreign_weight *weight, const quant_foreign_hints *hints,
    int64_t block) {
    foreign_fixture read = {0};
    const quant_foreign_layout *layout = weight->layout;
    assert_success(layout->describe(weight, hints, &read.canon));
    assert_success(layout->check(weight, hints, &read.canon, keep));
    allocate_rows(keep, &read.canon, &read.rows);
    const int64_t step = block != 0 ? block : read.canon.n_rows;
    for (int64_t first = 0; first < read.canon.n_rows; first += step) {
        const int64_t left = read.canon.n_rows - first;
        quant_canon_rows part = {
            .first_row = first,
            .n_rows = left < step ? left : step,
            .codes = read.rows.codes + first * read.canon.columns,
            .zeros = read.rows.zeros + first * read.canon.n_groups,
            .scales = read.rows.scales + first * read.canon.n_groups};
        layout->unpack(weight, hints, &read.canon, &part);
    }
    return read;
}

void foreign_fixture_assert_equal(const foreign_fixture *a, const foreign_fixture *b) {
    const quant_canon *canon = &a->canon;
    assert_int_equal(canon->kind, b->canon.kind);
    assert_int_equal(canon->n_rows, b->canon.n_rows);
    assert_int_equal(canon->columns, b->canon.columns);
    assert_int_equal(canon->bits, b->canon.bits);
    assert_int_equal(canon->group, b->canon.group);
    assert_int_equal(canon->n_groups, b->canon.n_groups);
    assert_int_equal(canon->group_of_column != NULL, b->canon.group_of_column != NULL);
    if (canon->group_of_column != NULL) {
        assert_memory_equal(
            canon->group_of_column, b->canon.group_of_column,
            (size_t)canon->columns * sizeof(int32_t));
    }
    const size_t n_scales = (size_t)(canon->n_rows * canon->n_groups);
    assert_memory_equal(a->rows.codes, b->rows.codes, (size_t)(canon->n_rows * canon->columns));
    assert_memory_equal(a->rows.zeros, b->rows.zeros, n_scales * sizeof(int16_t));
    assert_memory_equal(a->rows.scales, b->rows.scales, n_scales * sizeof(float));
}

const quant_foreign_layout *foreign_fixture_detect(
    const quant_foreign_weight *weight, const char *format_hint) {
    const char *suffixes[QUANT_FOREIGN_MAX_PARTS + 2] = {"bias", "input_scale"};
    quant_foreign_tensor tensors[QUANT_FOREIGN_MAX_PARTS + 2] = {
        {NULL, IR_F16, 1, {7}}, {NULL, IR_F32, 1, {1}}};
    size_t n = 2;
    for (int32_t p = QUANT_FOREIGN_MAX_PARTS; p-- > 0;) {
        const quant_foreign_part *part = &weight->layout->parts[p];
        if (part->suffix == NULL || weight->parts[p].rank < 0) continue;
        suffixes[n] = weight->uses_alternative[p] ? part->alternative : part->suffix;
        tensors[n] = weight->parts[p];
        tensors[n++].data = NULL;
    }
    return quant_foreign_detect(suffixes, tensors, n, format_hint);
}

void foreign_fixture_assert_error(mlcc_status *status, mlcc_code code, ...) {
    assert_non_null(status);
    va_list texts;
    va_start(texts, code);
    for (const char *text = va_arg(texts, const char *); text != NULL;
         text = va_arg(texts, const char *)) {
        if (strstr(mlcc_status_message(status), text) != NULL) continue;
        print_error("'%s' is not in '%s'\n", text, mlcc_status_message(status));
        va_end(texts);
        mlcc_status_free(status);
        fail();
    }
    va_end(texts);
    if (mlcc_status_code(status) != code) print_error("%s\n", mlcc_status_message(status));
    assert_int_equal(mlcc_status_code(status), code);
    mlcc_status_free(status);
}
