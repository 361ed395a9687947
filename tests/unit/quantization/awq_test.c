// AWQ formats: bit order, AutoAWQ's recipe with both of its ways to the integer, tails, hostile
// numbers, shapes.
#include "quantization/formats/awq.h"
#include "quantization/formats/vector.h"
#include "tests/support/integer_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed = 1;

typedef struct awq_case {
    const quant_format *format;
    int group;
} awq_case;

static const awq_case cases[] = {
    {&quant_format_U4G32_F16, 32}, {&quant_format_U4G64_F16, 64}, {&quant_format_U4G128_F16, 128}};
enum { N_CASES = 3, N = 72, MOST = 300, MOST_GROUPS = 10 };

typedef struct awq_memory {
    uint32_t codes[MOST * N / 8];
    uint32_t zeros[MOST_GROUPS * N / 8];
    uint16_t scales[MOST_GROUPS * N];
} awq_memory;

#define PIECES(m) ((void *[]){(m)->codes, (m)->zeros, (m)->scales})

static ir_type matrix(ir_dtype dtype, int64_t rows, int64_t columns) {
    return (ir_type){.dtype = dtype, .rank = 2, .dims = {{NULL, rows}, {NULL, columns}}};
}

static float half_of(double value) {
    return oracle_round(IR_F16, value);
}

// Nibble of column n (0 … 7) in a word, as the reference lists them from bit 0.
static int nibble_of(int n) {
    static const int columns[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    for (int i = 0; i < 8; i++) {
        if (columns[i] == n) return i;
    }
    return -1;
}

static int read_nibble(const uint32_t *words, int row, int n) {
    return (int)(words[row * (N / 8) + n / 8] >> (4 * nibble_of(n % 8)) & 15u);
}

// AutoAWQ's steps for one group of numbers: scale, zero, codes; and that its packer, which starts
// from the dequantized weights, finds the same integers again.
static void recipe(
    const float *weights, int count, bool repacks, float *scale_out, int *zero_out, int *codes) {
    double most = -(double)INFINITY, least = (double)INFINITY;
    for (int k = 0; k < count; k++) {
        if (isnan(weights[k])) continue;
        most = (double)weights[k] > most ? (double)weights[k] : most;
        least = (double)weights[k] < least ? (double)weights[k] : least;
    }
    if (most < least) most = least = 0;
    const double least_range = (double)half_of(1e-5);
    double range = (double)half_of(most - least);
    if (isnan(range)) range = (double)INFINITY;
    if (range < least_range) range = least_range;
    const float scale = half_of(range / 15);
    const int zero = oracle_code(-nearbyint((double)half_of(least / (double)scale)), 0, 15, 0);
    for (int k = 0; k < count; k++) {
        const double rounded = nearbyint((double)half_of((double)weights[k] / (double)scale));
        const int code = oracle_code((double)half_of(rounded + zero), 0, 15, zero);
        codes[k] = code;
        if (!repacks) continue;
        const float value = half_of((code - zero) * (double)scale);
        const float shift = half_of(zero * (double)scale);
        const float sum = half_of((double)value + (double)shift);
        const int packed = (int)nearbyint((double)half_of((double)sum / (double)scale));
        if (packed != code)
            fail_msg("weight %d, zero %d: code %d, packed %d", k, zero, code, packed);
    }
    *scale_out = scale;
    *zero_out = zero;
}

static void bit_order(void **state) {
    (void)state;
    // One group whose codes are 0 … 15 with zero 0: weights 0, 1, … 15 steps of 2^-4.
    enum { K = 32 };
    float source[8 * K];
    uint32_t codes[K], zeros[1];
    uint16_t scales[8];
    for (int n = 0; n < 8; n++) {
        for (int k = 0; k < K; k++)
            source[n * K + k] = (float)(k == 0   ? n
                                        : k == 1 ? 15
                                        : k == 2 ? 0
                                                 : (n + k) % 16) /
                                16.0f;
    }
    const quant_range all = quant_range_all(8, K);
    quant_format_U4G32_F16.encode(source, IR_F32, &all, 0, (void *[]){codes, zeros, scales});
    assert_int_equal(codes[0], 0x75316420); // column r holds r
    assert_int_equal(codes[1], 0xffffffff);
    assert_int_equal(codes[2], 0);
    assert_int_equal(zeros[0], 0);
    for (int n = 0; n < 8; n++) assert_int_equal(scales[n], 0x2c00); // 2^-4
}

static void equals_recipe(const awq_case *of, ir_dtype source_dtype, int columns, int wild) {
    static float source[N * MOST], weights[MOST];
    static awq_memory whole, parts;
    static float values[N * MOST];
    oracle_fill(source_dtype, N * columns, wild, &seed, source);
    const quant_range all = quant_range_all(N, columns);
    const int n_groups = (columns + of->group - 1) / of->group;
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        memset(&whole, 0xff, sizeof whole);
        of->format->encode(source, source_dtype, &all, 0, PIECES(&whole));
        for (int n = 0; n < N; n++) {
            for (int j = 0; j < n_groups; j++) {
                const int first = j * of->group;
                const int count = columns - first < of->group ? columns - first : of->group;
                int codes[128], zero = 0;
                float scale = 0;
                for (int k = 0; k < count; k++) {
                    weights[k] =
                        half_of((double)oracle_load(source_dtype, source, n * columns + first + k));
                }
                recipe(weights, count, !wild, &scale, &zero, codes);
                uint16_t bits;
                oracle_store(IR_F16, scale, &bits);
                assert_int_equal(whole.scales[j * N + n], bits);
                assert_int_equal(read_nibble(whole.zeros, j, n), zero);
                for (int k = 0; k < count; k++)
                    assert_int_equal(read_nibble(whole.codes, first + k, n), codes[k]);
            }
        }
        // In ranges.
        memset(&parts, 0xff, sizeof parts);
        for (int64_t row = 0; row < N; row += of->format->row_multiple) {
            const int64_t left = N - row;
            const quant_range range = {
                row, left < of->format->row_multiple ? left : of->format->row_multiple, N, columns};
            of->format->encode(
                (const char *)source + (size_t)(row * columns) * ir_dtype_bytes(source_dtype),
                source_dtype, &range, 0, PIECES(&parts));
        }
        assert_memory_equal(&parts, &whole, sizeof whole);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    // Decoding, from an odd row on.
    const quant_range range = {3, N - 3, N, columns};
    of->format->decode((const void *[]){whole.codes, whole.zeros, whole.scales}, &range, values);
    for (int n = 3; n < N; n++) {
        for (int k = 0; k < columns; k++) {
            const int j = k / of->group;
            const float expected =
                (float)(read_nibble(whole.codes, k, n) - read_nibble(whole.zeros, j, n)) *
                oracle_load(IR_F16, whole.scales, j * N + n);
            const float got = values[(n - 3) * columns + k];
            assert_true(got == expected || (isnan(got) && isnan(expected)));
        }
    }
}

static void random_rows_equal_the_recipe(void **state) {
    (void)state;
    static const int columns[] = {1, 31, 32, 64, 128, 172, 300};
    static const ir_dtype sources[] = {IR_F16, IR_BF16, IR_F32};
    for (int c = 0; c < N_CASES; c++) {
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            for (int s = 0; s < 3; s++) {
                equals_recipe(&cases[c], sources[s], columns[i], 0);
                equals_recipe(&cases[c], sources[s], columns[i], 1);
            }
        }
    }
}

static void hostile_numbers(void **state) {
    (void)state;
    enum { K = 32 };
    float source[8 * K] = {0};
    uint32_t codes[K], zeros[1];
    uint16_t scales[8];
    float values[8 * K];
    for (int k = 0; k < K; k++) {
        source[1 * K + k] = nanf("");
        source[3 * K + k] = 0.5f;
        source[4 * K + k] = -0.5f;
        source[5 * K + k] = (float)(k - 8) * 0x1p-24f; // subnormal
    }
    source[2 * K + 1] = INFINITY;
    source[6 * K] = 60000.0f;
    source[6 * K + 1] = -60000.0f;
    source[7 * K] = nanf("");
    source[7 * K + 1] = 1.5f;
    const quant_range all = quant_range_all(8, K);
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        quant_format_U4G32_F16.encode(source, IR_F32, &all, 0, (void *[]){codes, zeros, scales});
        quant_format_U4G32_F16.decode((const void *[]){codes, zeros, scales}, &all, values);
        assert_int_equal(scales[0], 0x000b); // 1e-5 / 15
        assert_int_equal(scales[1], 0x000b);
        assert_int_equal(scales[2], 0x7c00);
        assert_int_equal(scales[6], 0x7c00);
        for (int k = 0; k < K; k++) {
            assert_true(values[0 * K + k] == 0.0f && values[1 * K + k] == 0.0f);
            assert_true(isnan(values[2 * K + k]) && isnan(values[6 * K + k]));
            assert_true(fabsf(values[5 * K + k] - source[5 * K + k]) <= 6 * 0x1p-24f);
        }
        // A group of one value cannot be told from its limits: zero and code clamp.
        assert_int_equal(zeros[0] >> (4 * nibble_of(3)) & 15u, 0);
        assert_int_equal(zeros[0] >> (4 * nibble_of(4)) & 15u, 15);
        // NaN beside numbers decodes to 0.
        assert_true(values[7 * K] == 0.0f && fabsf(values[7 * K + 1] - 1.5f) < 0.01f);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
}

static void shapes(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    const quant_format *format = quant_format_of(IR_U4G64_F16);
    assert_ptr_equal(format, &quant_format_U4G64_F16);
    ir_type type = matrix(IR_U4G64_F16, 24, 172);
    assert_true(quant_format_accepts(format, &type));
    assert_null(format->pieces(&type, pieces, &n));
    assert_int_equal(n, 3);
    static const char *const suffixes[] = {"qweight", "qzeros", "scales"};
    static const int64_t dims[][2] = {{172, 3}, {3, 3}, {3, 24}};
    for (int i = 0; i < 3; i++) {
        assert_string_equal(pieces[i].suffix, suffixes[i]);
        assert_int_equal(pieces[i].rank, 2);
        assert_int_equal(pieces[i].dims[0], dims[i][0]);
        assert_int_equal(pieces[i].dims[1], dims[i][1]);
        assert_int_equal(pieces[i].dtype, i < 2 ? IR_U32 : IR_F16);
        assert_int_equal(pieces[i].size_bytes, (size_t)(dims[i][0] * dims[i][1]) * (i < 2 ? 4 : 2));
    }
    const ir_symbol symbol = {"vocab", 4, 0};
    ir_type refused[] = {
        matrix(IR_U4G64_F16, 20, 64), matrix(IR_U4G64_F16, 16, 64), matrix(IR_U4G64_F16, 16, 64),
        matrix(IR_U4G64_F16, 16, 64)};
    refused[1].rank = 3;
    refused[1].dims[2] = (ir_dim){NULL, 8};
    refused[2].rank = 1;
    refused[3].dims[0] = (ir_dim){&symbol, 0};
    for (int i = 0; i < 4; i++) {
        assert_false(quant_format_accepts(format, &refused[i]));
        mlcc_status *status = format->pieces(&refused[i], pieces, &n);
        assert_non_null(status);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        assert_int_equal(n, 0);
        mlcc_status_free(status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bit_order),
        cmocka_unit_test(random_rows_equal_the_recipe),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
