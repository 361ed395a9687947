// tile16: weights of every dtype, encoded by quantization/format.h, through the prepare function into tile16 form, read back element by element
// by the layout's description; odd shapes, tails, sizes.
#include "codegen/cpu/kernels/portable/prepare_tile16.c"
#include "codegen/cuda/cuda_kernels.h"
#include "ir/eval.h"
#include "quantization/format.h"
#include "tests/support/integer_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

// ---- hooks of the prepare function ----------------------------------------------------------------------

static ir_type prepared_type;

int64_t kernel_dim_0_0(const kernel_env *env) {
    (void)env;
    return prepared_type.dims[0].value;
}

int64_t kernel_dim_0_1(const kernel_env *env) {
    (void)env;
    return prepared_type.dims[1].value;
}

int32_t kernel_dtype_0(const kernel_env *env) {
    (void)env;
    return (int32_t)prepared_type.dtype;
}

// ---- a weight stored and prepared -----------------------------------------------------------------------

typedef struct weight {
    ir_type type;
    int64_t n, k;
    void *pieces[QUANT_MAX_PIECES];
    int32_t n_pieces;
    float *values; // [n, k], as the format decodes them
    char *prepared;
    int64_t prepared_bytes;
} weight;

static void prepare(weight *w) {
    int64_t n_items = 0;
    assert_true(cuda_layout_measure("tile16", &w->type, &w->prepared_bytes, &n_items));
    assert_int_equal(w->prepared_bytes % 256, 0);
    free(w->prepared);
    w->prepared = malloc((size_t)w->prepared_bytes);
    assert_non_null(w->prepared);
    memset(w->prepared, 0xff, (size_t)w->prepared_bytes);
    prepared_type = w->type;
    // Items in two pieces, the later one first.
    kernel_prepare_tile16(NULL, (const void *const *)w->pieces, w->prepared, n_items / 2, n_items);
    kernel_prepare_tile16(NULL, (const void *const *)w->pieces, w->prepared, 0, n_items / 2);
}

static void decode(weight *w) {
    const quant_range all = quant_range_all(w->n, w->k);
    quant_format_of(w->type.dtype)->decode((const void *const *)w->pieces, &all, w->values);
}

// NULL when the format cannot hold the shape.
static weight *make_weight(ir_dtype dtype, int64_t n, int64_t k) {
    const quant_format *format = quant_format_of(dtype);
    const ir_type type = {.dtype = dtype, .rank = 2, .dims = {{NULL, n}, {NULL, k}}};
    if (!quant_format_accepts(format, &type)) return NULL;
    weight *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->type = type;
    w->n = n;
    w->k = k;
    quant_piece pieces[QUANT_MAX_PIECES];
    assert_null(format->pieces(&type, pieces, &w->n_pieces));
    for (int32_t i = 0; i < w->n_pieces; i++) {
        w->pieces[i] = calloc(1, pieces[i].size_bytes);
        assert_non_null(w->pieces[i]);
    }
    w->values = malloc((size_t)(n * k) * sizeof w->values[0]);
    assert_non_null(w->values);
    uint64_t seed = (uint64_t)(n * 1000 + k) * 64 + (uint64_t)dtype;
    for (int64_t i = 0; i < n * k; i++)
        w->values[i] = (float)((int32_t)oracle_random(&seed)) * 0x1p-31f;
    const float largest = format->measure != NULL ? format->measure(w->values, IR_F32, n, k) : 0.0f;
    const quant_range all = quant_range_all(n, k);
    format->encode(w->values, IR_F32, &all, largest, w->pieces);
    decode(w);
    prepare(w);
    return w;
}

static void free_weight(weight *w) {
    for (int32_t i = 0; i < w->n_pieces; i++) free(w->pieces[i]);
    free(w->values);
    free(w->prepared);
    free(w);
}

// ---- reading the layout ---------------------------------------------------------------------------------

static float load_as(int dtype, const char *from) {
    return oracle_load((ir_dtype)dtype, from, 0);
}

// The element at `slot` of a row of a tile, or what stands in its place.
static float element_at(tile16_format f, const char *tile, int r, int64_t slot) {
    const char *unit = tile + slot / tile16_unit_slots(f) * tile16_unit_bytes(f);
    const int inside = (int)(slot % tile16_unit_slots(f)), at = tile16_code_at(f, r, inside);
    if (f.code == TILE16_PLAIN) return load_as(f.scale, unit + at / 8);
    const int group = tile16_slot_group(f, inside);
    const float scale = load_as(f.scale, unit + tile16_scale_at(f, r, group));
    const uint8_t byte = (uint8_t)unit[at / 8];
    if (f.code == TILE16_E4M3) return ir_f8e4m3_to_f32(byte) / 256.0f * scale;
    if (f.code == TILE16_E5M2) return ir_f8e5m2_to_f32(byte) * scale;
    int zero = f.zero;
    if (zero == TILE16_ZERO_STORED) {
        uint16_t stored;
        memcpy(&stored, unit + tile16_zero_at(f, r, group), sizeof stored);
        zero = stored;
    }
    const int code = f.code == TILE16_INT8 ? byte : byte >> (at % 8) & 15;
    return (float)(code - zero) * scale;
}

static void check_weight(const weight *w) {
    const tile16_format f = tile16_format_of((int)w->type.dtype);
    const int64_t n_slots = tile16_units(f, w->k) * tile16_unit_slots(f);
    int64_t n_found = 0;
    for (int64_t row = 0; row < tile16_tiles(w->n) * 16; row++) {
        const char *tile = w->prepared + row / 16 * tile16_tile_bytes(f, w->k);
        for (int64_t slot = 0; slot < n_slots; slot++) {
            const int64_t k = tile16_slot_k(f, slot);
            const float found = element_at(f, tile, (int)(row % 16), slot);
            if (row >= w->n || k < 0 || k >= w->k) {
                // A started group keeps its scale and its zero.
                const bool is_started = row < w->n && k >= 0 && k / f.group * f.group < w->k;
                assert_true(isfinite(found));
                assert_true(found == 0.0f || (is_started && f.zero == TILE16_ZERO_STORED));
                continue;
            }
            assert_int_equal(tile16_slot_of(f, k), slot);
            const float expected = w->values[row * w->k + k];
            assert_true(found == expected || (isnan(found) && isnan(expected)));
            n_found++;
        }
    }
    assert_int_equal(n_found, w->n * w->k);
}

// ---- tests ----------------------------------------------------------------------------------------------

static void every_dtype(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{16, 128}, {1, 1},    {17, 33},  {8, 40},  {24, 200},
                                        {64, 64},  {64, 192}, {130, 72}, {3, 129}, {40, 384}};
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        if (tile16_format_of(dtype).code == TILE16_NONE) continue;
        int n_held = 0;
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            weight *w = make_weight((ir_dtype)dtype, shapes[s][0], shapes[s][1]);
            if (w == NULL) continue;
            check_weight(w);
            free_weight(w);
            n_held++;
        }
        assert_true(n_held >= 2);
    }
}

// Every dtype that a param may have has a form.
static void no_dtype_is_missing(void **state) {
    (void)state;
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        const ir_dtype_kind kind = ir_dtype_get((ir_dtype)dtype)->kind;
        const bool wanted = kind == IR_KIND_FLOAT || kind == IR_KIND_GROUPED;
        assert_int_equal(tile16_format_of(dtype).code != TILE16_NONE, wanted);
    }
}

// No two elements share bits, every unit is whole 16-byte pieces, and headers and lines do not overlap.
static void places_are_disjoint(void **state) {
    (void)state;
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        const tile16_format f = tile16_format_of(dtype);
        if (f.code == TILE16_NONE) continue;
        const int unit_bytes = tile16_unit_bytes(f);
        assert_int_equal(unit_bytes % 16, 0);
        assert_true(tile16_unit_lines(f) >= 1 && tile16_unit_lines(f) <= TILE16_MAX_LINES);
        assert_true(tile16_unit_slots(f) % 32 == 0 && f.group_slots % 16 == 0);
        static uint8_t taken[4096 * 8]; // one for every bit of a unit
        assert_true(unit_bytes <= 4096);
        memset(taken, 0, sizeof taken);
        const int code_bits = f.code == TILE16_PLAIN  ? tile16_scale_bytes(f) * 8
                              : f.code == TILE16_INT4 ? 4
                                                      : 8;
        for (int r = 0; r < 16; r++) {
            for (int slot = 0; slot < tile16_unit_slots(f); slot++) {
                const int at = tile16_code_at(f, r, slot);
                assert_true(at >= tile16_header_bytes(f) * 8 && at + code_bits <= unit_bytes * 8);
                for (int bit = at; bit < at + code_bits; bit++) assert_int_equal(taken[bit]++, 0);
            }
            for (int group = 0; f.code != TILE16_PLAIN && group < f.unit_groups; group++) {
                const int at = tile16_scale_at(f, r, group);
                assert_true(at + tile16_scale_bytes(f) <= tile16_header_bytes(f));
                for (int i = 0; i < tile16_scale_bytes(f); i++)
                    assert_int_equal(taken[(at + i) * 8]++, 0);
                if (f.zero != TILE16_ZERO_STORED) continue;
                const int zero_at = tile16_zero_at(f, r, group);
                for (int i = 0; i < 2; i++) assert_int_equal(taken[(zero_at + i) * 8]++, 0);
            }
        }
    }
}

static void nan_of_e4m3(void **state) {
    (void)state;
    weight *w = make_weight(IR_E4M3_F32, 20, 200);
    ((uint8_t *)w->pieces[0])[17 * 200 + 199] = 0xff;
    prepare(w);
    const tile16_format f = tile16_format_of(IR_E4M3_F32);
    const char *tile = w->prepared + tile16_tile_bytes(f, 200);
    for (int64_t k = 0; k < 200; k++) {
        assert_true(isnan(element_at(f, tile, 1, k)));
        assert_true(element_at(f, tile, 2, k) == w->values[18 * 200 + k]);
    }
    free_weight(w);
}

static void sizes(void **state) {
    (void)state;
    assert_int_equal(tile16_size(KERNEL_Q4G32_F16, 16, 128), 1280);
    assert_int_equal(tile16_size(KERNEL_Q4G32_F16, 17, 129), 4608);
    assert_int_equal(tile16_size(KERNEL_U4G128_F16, 32, 256), 4352);
    assert_int_equal(tile16_size(KERNEL_F16, 0, 64), 0);
    assert_int_equal(tile16_size(KERNEL_I8, 16, 64), -1);
    assert_int_equal(tile16_size(KERNEL_F16, -1, 64), -1);
    assert_int_equal(tile16_size(KERNEL_F16, INT64_MAX, INT64_MAX), -1);
    assert_int_equal(tile16_size(KERNEL_F32, INT64_MAX / 64, 2), -1);
    ir_type type = {.dtype = IR_F16, .rank = 2, .dims = {{NULL, 32}, {NULL, 64}}};
    assert_string_equal(cuda_layout_choose(IR_OP_LINEAR, 1, &type), "tile16");
    assert_string_equal(cuda_layout_choose(IR_OP_EMBEDDING, 1, &type), "tile16");
    assert_string_equal(cuda_layout_choose(IR_OP_LINEAR, 2, &type), "rows");
    assert_string_equal(cuda_layout_choose(IR_OP_RMS_NORM, 1, &type), "rows");
    int64_t size_bytes = 0, n_items = 0;
    assert_false(cuda_layout_measure("rows", &type, &size_bytes, &n_items));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype),
        cmocka_unit_test(no_dtype_is_missing),
        cmocka_unit_test(places_are_disjoint),
        cmocka_unit_test(nan_of_e4m3),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
