// Group formats: the reference's golden vectors, an independent encoder in _Float16 arithmetic,
// tails, hostile numbers, vector instances.
#include "quantization/formats/group_int.h"
#include "quantization/formats/vector.h"
#include "quantization/round.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

__extension__ typedef _Float16 half;

static uint64_t seed = 1;

static uint32_t random_bits(void) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed >> 32);
}

static half half_of(uint16_t bits) {
    half value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t bits_of(half value) {
    uint16_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// The rules of the header, one operation at a time, for float16 scales.
static void oracle_encode(
    int bits, int group, const half *weights, int columns, uint32_t *words, uint16_t *scales) {
    const int per_word = 32 / bits, n_words = (group + per_word - 1) / per_word,
              max_code = (1 << (bits - 1)) - 1;
    for (int begin = 0, j = 0; begin < columns; begin += group, j++) {
        const int end = begin + group < columns ? begin + group : columns;
        half largest = 0;
        for (int k = begin; k < end; k++) {
            const half magnitude = (half)fabsf((float)weights[k]);
            if (magnitude > largest) largest = magnitude;
        }
        const half scale = (half)((float)largest / (float)max_code);
        scales[j] = bits_of(scale);
        for (int i = 0; i < n_words; i++) words[j * n_words + i] = 0;
        for (int k = begin; k < end; k++) {
            const half quotient = (half)((float)weights[k] / (float)scale);
            const half shifted = (half)((float)quotient + (float)max_code);
            double code = nearbyint((double)(float)shifted);
            if (isnan(code)) code = max_code;
            if (code < 0) code = 0;
            if (code > 2 * max_code) code = 2 * max_code;
            words[j * n_words + (k - begin) / per_word] |= (uint32_t)code
                                                           << ((k - begin) % per_word * bits);
        }
    }
}

static void golden_vectors(void **state) {
    (void)state;
    half weights[50];
    uint16_t source[50];
    for (int k = 0; k < 50; k++) {
        weights[k] = (half)((float)(37 * k % 64 - 31) / 32.0f);
        source[k] = bits_of(weights[k]);
    }
    static const uint32_t q4[8] = {0x17d5a280, 0xa27d5b39, 0x4a28e6c4, 0xd5b3917c,
                                   0x8e6c3917, 0x2906c4a2, 0,          0};
    static const uint32_t q3[8] = {0x0c0ea860, 0x33aa1795, 0x2981d50b, 0x1e5542f2,
                                   0x15303aa1, 0,          0,          0};
    uint32_t words[8];
    uint16_t scales[2];
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        memset(words, 0xff, sizeof words);
        quant_format_Q4G32_F16.encode(source, IR_F16, 1, 48, (void *[]){words, scales});
        assert_memory_equal(words, q4, sizeof q4);
        assert_int_equal(scales[0], 0x3092);
        assert_int_equal(scales[1], 0x306e);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    memset(words, 0xff, sizeof words);
    quant_group_int_encode(3, 40, IR_F16, source, IR_F16, 1, 50, words, scales);
    assert_memory_equal(words, q3, sizeof q3);
    assert_int_equal(scales[0], 0x3555);
    assert_int_equal(scales[1], 0x3500);
    // The oracle of this file gives the same.
    uint32_t oracle_words[8];
    uint16_t oracle_scales[2];
    oracle_encode(4, 32, weights, 48, oracle_words, oracle_scales);
    assert_memory_equal(oracle_words, q4, sizeof q4);
}

enum { ROWS = 37, MOST = 200, GROUPS = 7 };

// A row whose magnitudes wander over the whole range of float16, with groups of zeros and subnormal
// numbers among them.
static void random_row(uint16_t *row, int columns) {
    for (int begin = 0; begin < columns; begin += 16) {
        const uint32_t kind = random_bits() % 8;
        const uint32_t exponent = random_bits() % 28;
        for (int k = begin; k < columns && k < begin + 16; k++) {
            const uint32_t bits = random_bits();
            if (kind == 0) {
                row[k] = (uint16_t)(bits & 0x8000u);
            } else if (kind == 1) {
                row[k] = (uint16_t)(bits & 0x800fu);
            } else {
                row[k] = (uint16_t)((bits & 0x83ffu) | (exponent + bits % 3) << 10);
            }
        }
    }
}

static void equals_oracle(int columns) {
    static uint16_t source[ROWS * MOST];
    static float wide[ROWS * MOST];
    static uint32_t words[ROWS * GROUPS * 4], expected_words[ROWS * GROUPS * 4];
    static uint16_t scales[ROWS * GROUPS], expected_scales[ROWS * GROUPS];
    static half weights[MOST];
    const int n_groups = (columns + 31) / 32;
    for (int row = 0; row < ROWS; row++) {
        random_row(source + row * columns, columns);
        for (int k = 0; k < columns; k++) {
            weights[k] = half_of(source[row * columns + k]);
            wide[row * columns + k] = (float)weights[k];
        }
        oracle_encode(
            4, 32, weights, columns, expected_words + row * n_groups * 4,
            expected_scales + row * n_groups);
    }
    const size_t word_bytes = (size_t)(ROWS * n_groups * 4) * sizeof(uint32_t),
                 scale_bytes = (size_t)(ROWS * n_groups) * sizeof(uint16_t);
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        for (int dtype = 0; dtype < 2; dtype++) {
            memset(words, 0xff, sizeof words);
            quant_format_Q4G32_F16.encode(
                dtype ? (const void *)wide : source, dtype ? IR_F32 : IR_F16, ROWS, columns,
                (void *[]){words, scales});
            assert_memory_equal(words, expected_words, word_bytes);
            assert_memory_equal(scales, expected_scales, scale_bytes);
        }
        // Row ranges one by one give what all at once gives.
        memset(words, 0xff, sizeof words);
        for (int row = 0; row < ROWS; row++) {
            quant_format_Q4G32_F16.encode(
                source + row * columns, IR_F16, 1, columns,
                (void *[]){words + row * n_groups * 4, scales + row * n_groups});
        }
        assert_memory_equal(words, expected_words, word_bytes);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    quant_group_int_encode(4, 32, IR_F16, source, IR_F16, ROWS, columns, words, scales);
    assert_memory_equal(words, expected_words, word_bytes);

    // int3 in groups of 40 and int8 in groups of 32 obey the same rules.
    for (int row = 0; row < ROWS; row++) {
        for (int k = 0; k < columns; k++) weights[k] = half_of(source[row * columns + k]);
        quant_group_int_encode(
            3, 40, IR_F16, source + row * columns, IR_F16, 1, columns, words, scales);
        oracle_encode(3, 40, weights, columns, expected_words, expected_scales);
        assert_memory_equal(
            words, expected_words, (size_t)((columns + 39) / 40 * 4) * sizeof(uint32_t));
        assert_memory_equal(
            scales, expected_scales, (size_t)((columns + 39) / 40) * sizeof(uint16_t));
        quant_group_int_encode(
            8, 32, IR_F16, source + row * columns, IR_F16, 1, columns, words, scales);
        oracle_encode(8, 32, weights, columns, expected_words, expected_scales);
        assert_memory_equal(words, expected_words, (size_t)(n_groups * 8) * sizeof(uint32_t));
    }
}

static void random_rows_equal_the_oracle(void **state) {
    (void)state;
    static const int columns[] = {1, 7, 31, 32, 33, 64, 172, 199};
    for (int repeat = 0; repeat < 20; repeat++) {
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) equals_oracle(columns[i]);
    }
}

// A float32 source is cast first: its float16 image and itself give the same bytes.
static void source_is_cast_first(void **state) {
    (void)state;
    enum { COLUMNS = 172 };
    float f32[COLUMNS];
    uint16_t f16[COLUMNS], bf16[COLUMNS], f16_of_bf16[COLUMNS];
    for (int k = 0; k < COLUMNS; k++) {
        f32[k] = ((float)(random_bits() >> 8) / 8388608.0f - 1.0f) * (k % 5 == 0 ? 1e-6f : 0.3f);
        f16[k] = quant_f32_to_f16(f32[k]);
        bf16[k] = quant_f32_to_bf16(f32[k]);
        f16_of_bf16[k] = quant_f32_to_f16(quant_bf16_to_f32(bf16[k]));
    }
    uint32_t words[24], expected[24];
    uint16_t scales[6], expected_scales[6];
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        quant_format_Q4G32_F16.encode(
            f16, IR_F16, 1, COLUMNS, (void *[]){expected, expected_scales});
        quant_format_Q4G32_F16.encode(f32, IR_F32, 1, COLUMNS, (void *[]){words, scales});
        assert_memory_equal(words, expected, sizeof words);
        assert_memory_equal(scales, expected_scales, sizeof scales);
        quant_format_Q4G32_F16.encode(
            f16_of_bf16, IR_F16, 1, COLUMNS, (void *[]){expected, expected_scales});
        quant_format_Q4G32_F16.encode(bf16, IR_BF16, 1, COLUMNS, (void *[]){words, scales});
        assert_memory_equal(words, expected, sizeof words);
        assert_memory_equal(scales, expected_scales, sizeof scales);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
}

static void hostile_numbers(void **state) {
    (void)state;
    float source[32];
    uint32_t words[4];
    uint16_t scale;
    void *outputs[] = {words, &scale};
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        // All zero: scale 0, code 7 everywhere, decodes to zero.
        memset(source, 0, sizeof source);
        quant_format_Q4G32_F16.encode(source, IR_F32, 1, 32, outputs);
        assert_int_equal(scale, 0);
        for (int i = 0; i < 4; i++) assert_int_equal(words[i], 0x77777777);
        // The scale underflows to zero: infinite quotients clamp.
        source[0] = 0x1p-24f;
        source[1] = -0x1p-24f;
        quant_format_Q4G32_F16.encode(source, IR_F32, 1, 32, outputs);
        assert_int_equal(scale, 0);
        assert_int_equal(words[0], 0x7777770e);
        // NaN takes no part in the maximum and gets the middle code.
        source[0] = 0.7f;
        source[1] = -0.7f;
        source[2] = nanf("");
        quant_format_Q4G32_F16.encode(source, IR_F32, 1, 32, outputs);
        assert_int_equal(scale, quant_f32_to_f16(quant_f16_to_f32(quant_f32_to_f16(0.7f)) / 7.0f));
        assert_int_equal(words[0], 0x7777770e);
        // An infinite weight makes an infinite scale; everything gets the middle code.
        source[2] = INFINITY;
        quant_format_Q4G32_F16.encode(source, IR_F32, 1, 32, outputs);
        assert_int_equal(scale, 0x7c00);
        assert_int_equal(words[0], 0x77777777);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
}

static void decode_inverts(void **state) {
    (void)state;
    enum { N = 5, K = 172 };
    float source[N * K], back[N * K], again[N * K];
    for (int i = 0; i < N * K; i++)
        source[i] = quant_round_f16(((float)(random_bits() >> 8) / 8388608.0f - 1.0f) * 0.25f);
    uint32_t words[N * 24];
    uint16_t scales[N * 6];
    quant_format_Q4G32_F16.encode(source, IR_F32, N, K, (void *[]){words, scales});
    quant_format_Q4G32_F16.decode((const void *[]){words, scales}, N, K, back);
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < K; k++) {
            const float scale = quant_f16_to_f32(scales[n * 6 + k / 32]);
            const int code = (int)(words[n * 24 + k / 8] >> (k % 8 * 4) & 15u);
            assert_int_equal(quant_bits(back[n * K + k]), quant_bits((float)(code - 7) * scale));
            assert_true(fabsf(back[n * K + k] - source[n * K + k]) <= 0.51f * scale);
        }
    }
    quant_group_int_encode(3, 40, IR_F32, source, IR_F32, N, K, words, again);
    float scales3[N * 5];
    memcpy(scales3, again, sizeof scales3);
    quant_group_int_decode(3, 40, IR_F32, words, scales3, N, K, back);
    for (int i = 0; i < N * K; i++)
        assert_true(fabsf(back[i] - source[i]) <= 0.5001f * scales3[i / K * 5 + i % K / 40]);
}

static ir_type matrix(ir_dtype dtype, int64_t rows, int64_t columns) {
    return (ir_type){.dtype = dtype, .rank = 2, .dims = {{NULL, rows}, {NULL, columns}}};
}

static void expect_invalid(mlcc_status *status, const char *part) {
    assert_non_null(status);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    assert_non_null(strstr(mlcc_status_message(status), part));
    mlcc_status_free(status);
}

static void stored_pieces(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    ir_type type = matrix(IR_Q4G32_F16, 64, 172);
    const quant_format *format = quant_format_of(IR_Q4G32_F16);
    assert_null(format->pieces(&type, pieces, &n));
    assert_int_equal(n, 2);
    assert_string_equal(pieces[0].suffix, "q_weight");
    assert_int_equal(pieces[0].dtype, IR_U32);
    assert_int_equal(pieces[0].dims[0], 64);
    assert_int_equal(pieces[0].dims[1], 24);
    assert_int_equal(pieces[0].size_bytes, 64 * 24 * 4);
    assert_int_equal(pieces[0].row_bytes, 24 * 4);
    assert_string_equal(pieces[1].suffix, "q_scale");
    assert_int_equal(pieces[1].dtype, IR_F16);
    assert_int_equal(pieces[1].dims[1], 6);
    assert_int_equal(pieces[1].size_bytes, 64 * 6 * 2);
    // Expert stacks keep their leading dimension.
    type.rank = 3;
    type.dims[2] = (ir_dim){NULL, 40};
    assert_null(format->pieces(&type, pieces, &n));
    assert_int_equal(pieces[0].rank, 3);
    assert_int_equal(pieces[0].dims[1], 172);
    assert_int_equal(pieces[0].dims[2], 8);
    assert_int_equal(pieces[0].row_bytes, 172 * 8 * 4);

    mlcc_arena *keep = mlcc_arena_create();
    assert_string_equal(quant_piece_name(keep, "a.b.weight", &pieces[0]), "a.b.q_weight");
    assert_string_equal(quant_piece_name(keep, "a.b", &pieces[1]), "a.b.q_scale");
    mlcc_arena_free(keep);
}

static void refused_shapes(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    const quant_format *format = quant_format_of(IR_Q4G32_F16);
    ir_type type = matrix(IR_Q4G32_F16, 64, 172);
    type.rank = 1;
    expect_invalid(format->pieces(&type, pieces, &n), "1 dimension");
    type = matrix(IR_Q4G32_F16, INT64_MAX / 2, INT64_MAX / 2);
    expect_invalid(format->pieces(&type, pieces, &n), "63 bits");
    type = matrix(IR_Q4G32_F16, 0, 32);
    expect_invalid(format->pieces(&type, pieces, &n), "at least 1");
    const ir_symbol symbol = {"n_tokens", 4, 0};
    type.dims[0] = (ir_dim){&symbol, 0};
    expect_invalid(format->pieces(&type, pieces, &n), "'n_tokens'");
    assert_null(quant_format_of(IR_I32));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),       cmocka_unit_test(random_rows_equal_the_oracle),
        cmocka_unit_test(source_is_cast_first), cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(decode_inverts),       cmocka_unit_test(stored_pieces),
        cmocka_unit_test(refused_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
