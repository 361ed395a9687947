// FasterTransformer's int4: the reference's vector, the order derived step by step, the recipe,
// ranges, hostile numbers, shapes.
#include "quantization/formats/ft.h"
#include "quantization/formats/vector.h"
#include "runtime/base/hash.h"
#include "tests/support/integer_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed = 1;

static ir_type matrix(int64_t rows, int64_t columns) {
    return (ir_type){.dtype = IR_Q4FT_F16, .rank = 2, .dims = {{NULL, rows}, {NULL, columns}}};
}

// Codes -8 … 7 of [K, N] as row-major nibbles.
static void plain_of(const int8_t *codes, int k, int n, uint8_t *plain) {
    for (int i = 0; i < k * n; i += 2)
        plain[i / 2] = (uint8_t)((codes[i] & 15) | (codes[i + 1] & 15) << 4);
}

// CUTLASS's steps one after the other, on one code an element (the reference's a to d).
static void oracle_order(const int8_t *codes, int k, int n, uint8_t *stored) {
    int8_t *permuted = malloc((size_t)(k * n));
    uint32_t *words = malloc((size_t)(k * n / 8) * sizeof words[0]);
    assert_non_null(permuted);
    assert_non_null(words);
    for (int row = 0; row < k; row++) {
        const int t = row % 32, from = 8 * (t % 8 / 2) + t % 2 + 2 * (t / 8);
        memcpy(permuted + row * n, codes + (row - t + from) * n, (size_t)n);
    }
    const int per_column = k / 8, per_tile = 8;
    for (int column = 0; column < n; column++) {
        for (int r = 0; r < per_column; r++) {
            static const int order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
            uint32_t word = 0;
            for (int i = 0; i < 8; i++) {
                const int code = permuted[(8 * r + order[i]) * n + column];
                word |= (uint32_t)((code + 8) & 15) << (4 * i);
            }
            const int base = r / per_tile * per_tile;
            words
                [column / 4 * (4 * per_column) + 4 * base + per_tile * (column % 4) +
                 r % per_tile] = word;
        }
    }
    memcpy(stored, words, (size_t)(k * n / 2));
    free(permuted);
    free(words);
}

static void reference_vector(void **state) {
    (void)state;
    enum { K = 64, N = 64 };
    static int8_t codes[K * N];
    static uint8_t plain[K * N / 2], back[K * N / 2];
    static uint32_t stored[K * N / 8];
    for (int k = 0; k < K; k++) {
        for (int n = 0; n < N; n++) codes[k * N + n] = (int8_t)((3 * n + 5 * k + n * k) % 15 - 7);
    }
    plain_of(codes, K, N, plain);
    quant_ft_stored_from_plain(plain, K, N, (uint8_t *)stored);
    static const uint32_t first[] = {0x6b1616b1, 0x16b1b16b, 0xb16b6b16, 0x6b1616b1, 0x16b1b16b,
                                     0xb16b6b16, 0x6b1616b1, 0x16b1b16b, 0x41dada74, 0x1da7a741};
    assert_memory_equal(stored, first, sizeof first);
    mlcc_md5 md5;
    char text[33];
    mlcc_md5_init(&md5);
    mlcc_md5_update(&md5, stored, sizeof stored);
    mlcc_md5_hex(&md5, text);
    assert_string_equal(text, "016d21caf79b3b2ad25e09a4798accea");
    quant_ft_plain_from_stored((const uint8_t *)stored, K, N, back);
    assert_memory_equal(back, plain, sizeof plain);

    // The format reads what such a store holds.
    uint16_t scales[N];
    static float values[N * K];
    for (int n = 0; n < N; n++) oracle_store(IR_F16, 0.125f * (float)(n + 1), &scales[n]);
    const quant_range all = quant_range_all(N, K);
    quant_format_Q4FT_F16.decode((const void *[]){stored, scales}, &all, values);
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < K; k++) {
            assert_true(values[n * K + k] == (float)codes[k * N + n] * (0.125f * (float)(n + 1)));
        }
    }
}

static void order_both_ways(void **state) {
    (void)state;
    static const int shapes[][2] = {{64, 64}, {128, 64}, {64, 192}, {192, 128}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int k = shapes[i][0], n = shapes[i][1];
        const size_t size = (size_t)(k * n / 2);
        int8_t *codes = malloc(2 * size);
        uint8_t *plain = malloc(size), *stored = malloc(size), *expected = malloc(size);
        for (int e = 0; e < k * n; e++) codes[e] = (int8_t)((int)(oracle_random(&seed) % 16) - 8);
        plain_of(codes, k, n, plain);
        oracle_order(codes, k, n, expected);
        quant_ft_stored_from_plain(plain, k, n, stored);
        assert_memory_equal(stored, expected, size);
        memset(expected, 0, size);
        quant_ft_plain_from_stored(stored, k, n, expected);
        assert_memory_equal(expected, plain, size);
        free(codes);
        free(plain);
        free(stored);
        free(expected);
    }
}

static void equals_recipe(ir_dtype source_dtype, int wild) {
    enum { N = 128, K = 192 };
    static float source[N * K];
    static int8_t codes[K * N];
    static uint8_t expected[K * N / 2], stored[K * N / 2];
    uint16_t expected_scales[N], scales[N];
    oracle_fill(source_dtype, N * K, wild, &seed, source);
    for (int n = 0; n < N; n++) {
        double largest = 0;
        float weights[K];
        for (int k = 0; k < K; k++) {
            weights[k] = oracle_round(IR_F16, (double)oracle_load(source_dtype, source, n * K + k));
            const double magnitude = fabs((double)weights[k]);
            if (magnitude > largest) largest = magnitude;
        }
        const float scale = oracle_round(IR_F16, largest / 7);
        oracle_store(IR_F16, scale, &expected_scales[n]);
        for (int k = 0; k < K; k++) {
            const float quotient = oracle_round(IR_F16, (double)weights[k] / (double)scale);
            codes[k * N + n] = (int8_t)oracle_code((double)quotient, -8, 7, 0);
        }
    }
    oracle_order(codes, K, N, expected);
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        for (int64_t step = 4; step <= N; step *= 4) {
            memset(stored, 0xff, sizeof stored);
            memset(scales, 0xff, sizeof scales);
            for (int64_t row = 0; row < N; row += step) {
                const quant_range range = {row, N - row < step ? N - row : step, N, K};
                // Streamed: piece 0 begins with the range, the scales with the param.
                void *const pieces[] = {stored + row * (K / 2), scales};
                quant_format_Q4FT_F16.encode(
                    (const char *)source + (size_t)(row * K) * ir_dtype_bytes(source_dtype),
                    source_dtype, &range, 0, pieces);
            }
            assert_memory_equal(stored, expected, sizeof stored);
            assert_memory_equal(scales, expected_scales, sizeof scales);
        }
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    static float values[N * K];
    const quant_range part = {64, 32, N, K};
    quant_format_Q4FT_F16.decode((const void *[]){stored + 64 * (K / 2), scales}, &part, values);
    for (int n = 64; n < 96; n++) {
        for (int k = 0; k < K; k++) {
            const float wanted = (float)codes[k * N + n] * oracle_load(IR_F16, scales, n);
            const float got = values[(n - 64) * K + k];
            assert_true(got == wanted || (isnan(got) && isnan(wanted)));
        }
    }
}

static void random_rows_equal_the_recipe(void **state) {
    (void)state;
    for (int repeat = 0; repeat < 12; repeat++) {
        equals_recipe(IR_F16, repeat % 2);
        equals_recipe(IR_BF16, repeat % 2);
        equals_recipe(IR_F32, repeat % 2);
    }
}

static void hostile_numbers(void **state) {
    (void)state;
    enum { N = 64, K = 64 };
    static float source[N * K], values[N * K];
    static uint8_t stored[K * N / 2];
    uint16_t scales[N];
    for (int k = 0; k < K; k++) source[1 * K + k] = nanf("");
    source[2 * K] = INFINITY;
    source[3 * K + 5] = -0x1p-24f; // its seventh is nothing: the quotient is infinite
    source[4 * K] = 1.0f;
    source[4 * K + 1] = nanf("");
    const quant_range all = quant_range_all(N, K);
    quant_format_Q4FT_F16.encode(source, IR_F32, &all, 0, (void *[]){stored, scales});
    quant_format_Q4FT_F16.decode((const void *[]){stored, scales}, &all, values);
    assert_int_equal(scales[0], 0);
    assert_int_equal(scales[1], 0);
    assert_int_equal(scales[2], 0x7c00);
    assert_int_equal(scales[3], 0);
    for (int k = 0; k < K; k++) {
        assert_true(values[k] == 0.0f && values[K + k] == 0.0f && values[3 * K + k] == 0.0f);
        assert_true(isnan(values[2 * K + k]));
    }
    assert_true(values[4 * K] > 0.99f && values[4 * K] < 1.01f && values[4 * K + 1] == 0.0f);
}

static void shapes(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    const quant_format *format = quant_format_of(IR_Q4FT_F16);
    assert_ptr_equal(format, &quant_format_Q4FT_F16);
    ir_type type = matrix(128, 192);
    assert_true(quant_format_accepts(format, &type));
    assert_null(format->pieces(&type, pieces, &n));
    assert_int_equal(n, 2);
    assert_string_equal(pieces[0].suffix, "q_weight");
    assert_int_equal(pieces[0].dtype, IR_I8);
    assert_int_equal(pieces[0].dims[0], 192);
    assert_int_equal(pieces[0].dims[1], 64);
    assert_int_equal(pieces[0].size_bytes, 192 * 64);
    assert_int_equal(pieces[0].row_bytes * 128, pieces[0].size_bytes);
    assert_string_equal(pieces[1].suffix, "q_scale");
    assert_int_equal(pieces[1].dtype, IR_F16);
    assert_int_equal(pieces[1].dims[0], 1);
    assert_int_equal(pieces[1].dims[1], 128);
    ir_type refused[] = {matrix(96, 64), matrix(64, 172), matrix(64, 64)};
    refused[2].rank = 3;
    refused[2].dims[2] = (ir_dim){NULL, 64};
    for (int i = 0; i < 3; i++) {
        assert_false(quant_format_accepts(format, &refused[i]));
        mlcc_status *status = format->pieces(&refused[i], pieces, &n);
        assert_non_null(status);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        assert_non_null(strstr(mlcc_status_message(status), "multiples of 64"));
        mlcc_status_free(status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_vector),
        cmocka_unit_test(order_both_ways),
        cmocka_unit_test(random_rows_equal_the_recipe),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
