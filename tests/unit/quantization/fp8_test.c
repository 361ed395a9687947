// fp8 formats: the reference's scale rule, every encoder against a scalar one that follows the
// definition, blocks with tails, hostile numbers, codes that others chose.
#include "quantization/formats/fp8.h"

#include "quantization/formats/vector.h"
#include "quantization/round.h"
#include "tests/support/float8_oracle.h"
#include "tests/support/random_module.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

__extension__ typedef _Float16 half;

enum { N = 150, K = 172, COUNT = N * K, BLOCK_ROWS = 2, BLOCK_COLUMNS = 2 };
enum { JOINED_ROWS = 328 }; // of a weight that several tensors make

static float f32[COUNT];
static uint16_t f16[COUNT], bf16[COUNT];

// Normal-looking weights with a few of every hostile size, the same numbers in three types as far
// as they hold them.
static void make_source(void) {
    random_state random = {88};
    for (int i = 0; i < COUNT; i++) {
        double value = random_unit(&random) * random_unit(&random) * 0.2;
        if (i % 97 == 0) value *= 1e-4;
        if (i % 89 == 0) value = 0;
        f32[i] = (float)value;
        f16[i] = quant_f32_to_f16(f32[i]);
        bf16[i] = quant_f32_to_bf16(f32[i]);
    }
}

static float source_as_f32(ir_dtype dtype, int i) {
    if (dtype == IR_F16) return quant_f16_to_f32(f16[i]);
    return dtype == IR_BF16 ? quant_bf16_to_f32(bf16[i]) : f32[i];
}

static const void *source_of(ir_dtype dtype, int64_t first) {
    if (dtype == IR_F16) return f16 + first;
    return dtype == IR_BF16 ? (const void *)(bf16 + first) : (const void *)(f32 + first);
}

static const ir_dtype source_dtypes[] = {IR_F32, IR_F16, IR_BF16};

static ir_type matrix(ir_dtype dtype, int64_t rows, int64_t columns) {
    return ir_type_matrix(dtype, ir_dim_const(rows), ir_dim_const(columns));
}

// ---- scales ----------------------------------------------------------------------------------

// The reference's lines with the compiler's own float16.
static float reference_scale(float largest, double limit) {
    const half scale = (half)((half)largest / (half)limit);
    const half least = (half)(1.0 / (512 * limit));
    return scale > least ? (float)scale : (float)least;
}

static void the_scale_rule_is_float16(void **state) {
    (void)state;
    assert_int_equal(quant_f32_to_f16(quant_fp8_scale(0, IR_F8E4M3)), 0x0049);
    assert_int_equal(quant_f32_to_f16(quant_fp8_scale(NAN, IR_F8E4M3)), 0x0049);
    assert_true(quant_fp8_scale(448.0f, IR_F8E4M3) == 1.0f);
    assert_true(quant_fp8_scale(1.0f, IR_F8E4M3) == 0x1.248p-9f);
    assert_true(isinf(quant_fp8_scale(INFINITY, IR_F8E4M3)));
    for (uint32_t bits = 0; bits < 0x7c00u; bits++) {
        const float largest = quant_f16_to_f32((uint16_t)bits);
        assert_true(quant_fp8_scale(largest, IR_F8E4M3) == reference_scale(largest, 448));
        assert_true(quant_fp8_scale(largest, IR_F8E5M2) == reference_scale(largest, 57344));
    }
}

static void pieces_are_named_as_the_reference_does(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    ir_type type = matrix(IR_E4M3_F32, 172, 200);
    assert_null(quant_format_E4M3_F32.pieces(&type, pieces, &n_pieces));
    assert_int_equal(n_pieces, 2);
    assert_string_equal(pieces[0].suffix, "q_weight");
    assert_int_equal(pieces[0].dtype, IR_F8E4M3);
    assert_int_equal(pieces[0].size_bytes, 172 * 200);
    assert_int_equal(pieces[0].row_bytes, 200);
    assert_string_equal(pieces[1].suffix, "q_scale");
    assert_int_equal(pieces[1].rank, 1);
    assert_int_equal(pieces[1].size_bytes, 4);
    type.dtype = IR_E5M2;
    assert_null(quant_format_E5M2.pieces(&type, pieces, &n_pieces));
    assert_int_equal(n_pieces, 1);
    assert_int_equal(pieces[0].dtype, IR_F8E5M2);
    type.dtype = IR_E4M3B128_F32;
    assert_null(quant_format_E4M3B128_F32.pieces(&type, pieces, &n_pieces));
    assert_int_equal(n_pieces, 2);
    assert_null(pieces[0].suffix);
    assert_string_equal(pieces[1].suffix, "weight_scale_inv");
    assert_int_equal(pieces[1].dims[0], 2);
    assert_int_equal(pieces[1].dims[1], 2);
    const ir_type vector = ir_type_vector(IR_E4M3_F32, ir_dim_const(3));
    const quant_format *const formats[] = {
        &quant_format_E4M3_F32, &quant_format_E5M2, &quant_format_E4M3B128_F32};
    for (int i = 0; i < 3; i++) {
        mlcc_status *status = formats[i]->pieces(&vector, pieces, &n_pieces);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        mlcc_status_free(status);
        assert_int_equal(n_pieces, 0);
        assert_false(quant_format_accepts(formats[i], &vector));
    }
    ir_type stack = {.dtype = IR_E4M3B128_F32, .rank = 3};
    for (int i = 0; i < 3; i++) stack.dims[i] = ir_dim_const(4);
    assert_false(quant_format_accepts(&quant_format_E4M3B128_F32, &stack));
    mlcc_status *status = quant_format_E4M3B128_F32.pieces(&stack, pieces, &n_pieces);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    mlcc_status_free(status);
    // Whole blocks to a matrix: MLC's three dimensions.
    stack.dims[1] = ir_dim_const(256);
    stack.dims[2] = ir_dim_const(130);
    assert_true(quant_format_accepts(&quant_format_E4M3B128_F32, &stack));
    assert_null(quant_format_E4M3B128_F32.pieces(&stack, pieces, &n_pieces));
    assert_int_equal(pieces[1].rank, 3);
    assert_int_equal(pieces[1].dims[0], 4);
    assert_int_equal(pieces[1].dims[1], 2);
    assert_int_equal(pieces[1].dims[2], 2);
    assert_int_equal(pieces[1].size_bytes, 4 * 2 * 2 * 4);
}

// ---- encoding floats -------------------------------------------------------------------------

static float largest_f16(ir_dtype dtype) {
    float largest = 0;
    for (int i = 0; i < COUNT; i++)
        largest = fmaxf(largest, fabsf((float)(half)source_as_f32(dtype, i)));
    return largest;
}

static void one_scale_for_the_tensor(void **state) {
    (void)state;
    static uint8_t expected[COUNT], codes[COUNT];
    static float back[COUNT];
    for (int d = 0; d < 3; d++) {
        const ir_dtype dtype = source_dtypes[d];
        const float largest = largest_f16(dtype), scale = reference_scale(largest, 448);
        for (int i = 0; i < COUNT; i++)
            expected[i] = oracle_code(&oracle_e4m3, (float)(half)source_as_f32(dtype, i) / scale);
        for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
            quant_vector_set(level);
            // As a converter does: measured and encoded in ranges of uneven sizes.
            float found = 0, stored = -1;
            for (int64_t row = 0; row < N; row += 37) {
                const int64_t n_rows = row + 37 < N ? 37 : N - row;
                found = fmaxf(
                    found,
                    quant_format_E4M3_F32.measure(source_of(dtype, row * K), dtype, n_rows, K));
            }
            assert_true(found == largest);
            memset(codes, 0xaa, sizeof codes);
            for (int64_t row = 0; row < N; row += 37) {
                const quant_range range = {row, row + 37 < N ? 37 : N - row, N, K};
                quant_format_E4M3_F32.encode(
                    source_of(dtype, row * K), dtype, &range, found,
                    (void *[]){codes + row * K, &stored});
            }
            assert_true(stored == scale);
            assert_memory_equal(codes, expected, sizeof codes);
            const quant_range part = {5, 7, N, K};
            quant_format_E4M3_F32.decode((const void *[]){codes + 5 * K, &stored}, &part, back);
            for (int i = 0; i < 7 * K; i++) {
                const float value = (float)oracle_value(&oracle_e4m3, codes[5 * K + i]);
                assert_int_equal(quant_bits(back[i]), quant_bits(value * scale));
            }
        }
    }
}

static void no_scale(void **state) {
    (void)state;
    static uint8_t codes[COUNT];
    static float back[COUNT];
    for (int d = 0; d < 3; d++) {
        const ir_dtype dtype = source_dtypes[d];
        const quant_range all = quant_range_all(N, K);
        for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
            quant_vector_set(level);
            quant_format_E5M2.encode(source_of(dtype, 0), dtype, &all, 0, (void *[]){codes});
            quant_format_E5M2.decode((const void *[]){codes}, &all, back);
            for (int i = 0; i < COUNT; i++) {
                const float value = (float)(half)source_as_f32(dtype, i);
                const uint8_t expected = oracle_code(&oracle_e5m2, value);
                assert_int_equal(codes[i], expected);
                assert_int_equal(
                    quant_bits(back[i]), quant_bits((float)oracle_value(&oracle_e5m2, expected)));
            }
        }
    }
    assert_null(quant_format_E5M2.measure);
}

static void one_scale_for_a_block(void **state) {
    (void)state;
    static uint8_t codes[COUNT];
    static float back[COUNT];
    float scales[BLOCK_ROWS * BLOCK_COLUMNS];
    for (int d = 0; d < 3; d++) {
        const ir_dtype dtype = source_dtypes[d];
        for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
            quant_vector_set(level);
            memset(codes, 0xaa, sizeof codes);
            // Two ranges, the later first.
            const quant_range ranges[] = {{128, N - 128, N, K}, {0, 128, N, K}};
            for (int r = 0; r < 2; r++) {
                const int64_t first = ranges[r].first_row * K;
                quant_format_E4M3B128_F32.encode(
                    source_of(dtype, first), dtype, &ranges[r], 0,
                    (void *[]){codes + first, scales});
            }
            const quant_range all = quant_range_all(N, K);
            quant_format_E4M3B128_F32.decode((const void *[]){codes, scales}, &all, back);
            for (int i = 0; i < COUNT; i++) {
                const int block_row = i / K / 128, block_column = i % K / 128;
                float largest = 0;
                if (i / K % 128 == 0 && i % K % 128 == 0) {
                    for (int j = 0; j < COUNT; j++) {
                        if (j / K / 128 != block_row || j % K / 128 != block_column) continue;
                        const float value = quant_round_bf16(source_as_f32(dtype, j));
                        largest = fmaxf(largest, fabsf(value));
                    }
                    assert_true(
                        scales[block_row * BLOCK_COLUMNS + block_column] == largest / 448.0f);
                }
                const float scale = scales[block_row * BLOCK_COLUMNS + block_column];
                const float value = quant_round_bf16(source_as_f32(dtype, i));
                assert_int_equal(codes[i], oracle_code(&oracle_e4m3, value / scale));
                const float decoded = (float)oracle_value(&oracle_e4m3, codes[i]) * scale;
                assert_int_equal(quant_bits(back[i]), quant_bits(decoded));
            }
        }
    }
}

static void hostile_numbers(void **state) {
    (void)state;
    float source[200] = {0}, scales[2], back[200];
    uint8_t codes[200];
    const quant_range row = quant_range_all(1, 200);
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        memset(source, 0, sizeof source);
        // Zeros: the least scale, scale 1 in blocks; all codes zero.
        assert_true(quant_format_E4M3_F32.measure(source, IR_F32, 1, 200) == 0);
        quant_format_E4M3_F32.encode(source, IR_F32, &row, 0, (void *[]){codes, scales});
        assert_int_equal(quant_f32_to_f16(scales[0]), 0x0049);
        for (int i = 0; i < 200; i++) assert_int_equal(codes[i], 0);
        quant_format_E4M3B128_F32.encode(source, IR_F32, &row, 0, (void *[]){codes, scales});
        assert_true(scales[0] == 1.0f && scales[1] == 1.0f);
        // A block whose scale would be subnormal is a block of zeros.
        source[3] = -0x1p-130f;
        quant_format_E4M3B128_F32.encode(source, IR_F32, &row, 0, (void *[]){codes, scales});
        assert_true(scales[0] == 1.0f);
        assert_int_equal(codes[3], 0x80);
        // NaN takes no part in the maximum and stays NaN.
        source[3] = 2.0f;
        source[4] = NAN;
        assert_true(quant_format_E4M3_F32.measure(source, IR_F32, 1, 200) == 2.0f);
        quant_format_E4M3_F32.encode(source, IR_F32, &row, 2.0f, (void *[]){codes, scales});
        assert_int_equal(codes[4] & 0x7f, 0x7f);
        assert_int_equal(codes[5], 0);
        quant_format_E4M3B128_F32.encode(source, IR_F32, &row, 0, (void *[]){codes, scales});
        assert_true(scales[0] == 2.0f / 448.0f);
        assert_int_equal(codes[3], 0x7e);
        assert_int_equal(codes[4] & 0x7f, 0x7f);
        // float16 overflows; e5m2 saturates.
        source[4] = 70000.0f;
        assert_true(isinf(quant_format_E4M3_F32.measure(source, IR_F32, 1, 200)));
        quant_format_E5M2.encode(source, IR_F32, &row, 0, (void *[]){codes});
        quant_format_E5M2.decode((const void *[]){codes}, &row, back);
        assert_true(back[4] == 57344.0f);
        // bfloat16 holds it.
        quant_format_E4M3B128_F32.encode(source, IR_F32, &row, 0, (void *[]){codes, scales});
        assert_true(scales[0] == quant_round_bf16(70000.0f) / 448.0f);
        // An infinite weight: an infinite scale, nothing undefined.
        source[4] = -INFINITY;
        quant_format_E4M3_F32.encode(source, IR_F32, &row, INFINITY, (void *[]){codes, scales});
        assert_true(isinf(scales[0]));
        assert_int_equal(codes[3], 0);
        assert_int_equal(codes[4] & 0x7f, 0x7f);
    }
}

// ---- codes that others chose -------------------------------------------------------------------

typedef struct foreign {
    quant_canon canon;
    quant_canon_rows rows;
    uint8_t codes[COUNT];
    int16_t zeros[1];
    float scales[COUNT];
} foreign;

static foreign *make_foreign(quant_canon_kind kind, int64_t n_rows, int64_t group, float scale) {
    foreign *f = calloc(1, sizeof *f);
    random_state random = {5};
    f->canon = (quant_canon){.kind = kind, .n_rows = n_rows, .columns = K, .bits = 8};
    f->canon.group = group;
    f->canon.n_groups = (K + group - 1) / group;
    for (int i = 0; i < COUNT; i++) f->codes[i] = (uint8_t)random_below(&random, 256);
    for (int i = 0; i < COUNT; i++) f->scales[i] = scale;
    f->rows = (quant_canon_rows){0, n_rows, f->codes, f->zeros, f->scales};
    return f;
}

static bool takes(const quant_format *format, foreign *f, int64_t first_row, float *memory) {
    const quant_range range = {first_row, f->rows.n_rows, JOINED_ROWS, K};
    return format->takes(&f->canon, &f->rows, &range, memory);
}

static void a_common_scale_is_kept(void **state) {
    (void)state;
    foreign *f = make_foreign(QUANT_CANON_E4M3, 100, 7, 0.3f);
    float memory = 0, stored = -1;
    uint8_t codes[100 * K];
    assert_true(takes(&quant_format_E4M3_F32, f, 0, &memory));
    assert_true(takes(&quant_format_E4M3_F32, f, 100, &memory));
    const quant_range ranges[] = {{100, 100, JOINED_ROWS, K}, {0, 100, JOINED_ROWS, K}};
    for (int r = 0; r < 2; r++)
        quant_format_E4M3_F32.pack(
            &f->canon, &f->rows, &ranges[r], memory, (void *[]){codes, &stored});
    assert_true(stored == 0.3f);
    assert_memory_equal(codes, f->codes, sizeof codes);
    // A later tensor of a joined weight with another scale.
    f->scales[0] = 0.4f;
    assert_false(takes(&quant_format_E4M3_F32, f, 200, &memory));
    memory = 0;
    assert_false(takes(&quant_format_E4M3_F32, f, 0, &memory));
    for (int i = 0; i < COUNT; i++) f->scales[i] = 0.4f;
    memory = 0.3f;
    assert_false(takes(&quant_format_E4M3_F32, f, 200, &memory));
    // Scales that mean nothing.
    static const float wrong[] = {0, -1, INFINITY, NAN};
    for (int w = 0; w < 4; w++) {
        for (int i = 0; i < COUNT; i++) f->scales[i] = wrong[w];
        memory = 0;
        assert_false(takes(&quant_format_E4M3_F32, f, 0, &memory));
    }
    f->canon.kind = QUANT_CANON_E5M2;
    assert_false(takes(&quant_format_E4M3_F32, f, 0, &memory));
    free(f);
}

static void e5m2_takes_scales_of_one(void **state) {
    (void)state;
    foreign *f = make_foreign(QUANT_CANON_E5M2, 100, K, 1.0f);
    float memory = 0;
    uint8_t codes[100 * K];
    const quant_range range = {0, 100, JOINED_ROWS, K};
    assert_true(takes(&quant_format_E5M2, f, 0, &memory));
    quant_format_E5M2.pack(&f->canon, &f->rows, &range, memory, (void *[]){codes});
    assert_memory_equal(codes, f->codes, sizeof codes);
    f->scales[99] = 0.5f;
    assert_false(takes(&quant_format_E5M2, f, 0, &memory));
    f->scales[99] = 1.0f;
    f->canon.kind = QUANT_CANON_INT;
    assert_false(takes(&quant_format_E5M2, f, 0, &memory));
    free(f);
}

// A scale of its own for every block, given per row and `group` columns.
static void set_block_scales(foreign *f) {
    const int64_t n_groups = f->canon.n_groups;
    for (int64_t row = 0; row < f->rows.n_rows; row++) {
        for (int64_t j = 0; j < n_groups; j++)
            f->scales[row * n_groups + j] =
                (float)(1 + row / 128 * BLOCK_COLUMNS + j * f->canon.group / 128);
    }
}

static void constant_blocks_are_kept(void **state) {
    (void)state;
    static const int64_t groups[] = {128, 64, 32};
    for (int g = 0; g < 3; g++) {
        foreign *f = make_foreign(QUANT_CANON_E4M3, N, groups[g], 0);
        float memory = 0, scales[BLOCK_ROWS * BLOCK_COLUMNS];
        uint8_t *codes = malloc(COUNT);
        set_block_scales(f);
        assert_true(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
        const quant_range all = quant_range_all(N, K);
        quant_format_E4M3B128_F32.pack(
            &f->canon, &f->rows, &all, memory, (void *[]){codes, scales});
        for (int i = 0; i < BLOCK_ROWS * BLOCK_COLUMNS; i++)
            assert_true(scales[i] == (float)(1 + i));
        assert_memory_equal(codes, f->codes, COUNT);
        // Another scale in the last row of a block.
        f->scales[127 * f->canon.n_groups] = 77;
        memory = 0;
        assert_false(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
        // NaN everywhere, a map of columns, integers.
        for (int i = 0; i < COUNT; i++) f->scales[i] = NAN;
        assert_false(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
        set_block_scales(f);
        const int32_t map[K] = {0};
        f->canon.group_of_column = map;
        assert_false(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
        f->canon.group_of_column = NULL;
        f->canon.kind = QUANT_CANON_INT;
        assert_false(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
        free(codes);
        free(f);
    }
    // Groups that cross blocks.
    foreign *f = make_foreign(QUANT_CANON_E4M3, N, 100, 0.5f);
    float memory = 0;
    assert_true(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
    assert_true(memory == 0.5f);
    f->scales[1] = 0.25f;
    memory = 0;
    assert_false(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
    free(f);
}

static void rows_off_the_grid_need_the_scale_before(void **state) {
    (void)state;
    foreign *f = make_foreign(QUANT_CANON_E4M3, 100, K, 0.5f);
    float memory = 0, scales[2 * BLOCK_COLUMNS] = {0};
    uint8_t codes[100 * K];
    assert_true(takes(&quant_format_E4M3B128_F32, f, 0, &memory));
    assert_true(takes(&quant_format_E4M3B128_F32, f, 100, &memory));
    const quant_range ranges[] = {{0, 100, JOINED_ROWS, K}, {100, 100, JOINED_ROWS, K}};
    for (int r = 0; r < 2; r++)
        quant_format_E4M3B128_F32.pack(
            &f->canon, &f->rows, &ranges[r], memory, (void *[]){codes, scales});
    for (int i = 0; i < 2 * BLOCK_COLUMNS; i++) assert_true(scales[i] == 0.5f);
    for (int i = 0; i < COUNT; i++) f->scales[i] = 0.25f;
    assert_false(takes(&quant_format_E4M3B128_F32, f, 100, &memory));
    // On the grid another scale is welcome; then there is no common one any more.
    memory = 0.5f;
    assert_true(takes(&quant_format_E4M3B128_F32, f, 128, &memory));
    assert_true(memory < 0);
    assert_false(takes(&quant_format_E4M3B128_F32, f, 228, &memory));
    free(f);
}

int main(void) {
    make_source();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scale_rule_is_float16),
        cmocka_unit_test(pieces_are_named_as_the_reference_does),
        cmocka_unit_test(one_scale_for_the_tensor),
        cmocka_unit_test(no_scale),
        cmocka_unit_test(one_scale_for_a_block),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(a_common_scale_is_kept),
        cmocka_unit_test(e5m2_takes_scales_of_one),
        cmocka_unit_test(constant_blocks_are_kept),
        cmocka_unit_test(rows_off_the_grid_need_the_scale_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
