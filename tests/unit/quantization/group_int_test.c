// Group formats in NK layout: the reference's golden vectors, an independent encoder, tails, hostile
// numbers, all vector instances.
#include "quantization/formats/group_int.h"
#include "quantization/formats/vector.h"
#include "quantization/round.h"
#include "tests/support/integer_oracle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALL(rows, columns) (&(quant_range){0, rows, rows, columns})

static uint64_t seed = 1;

// The rules of the header, one operation at a time, every one rounded from double.
static void oracle_encode(
    int bits, int group, ir_dtype scale_dtype, const void *source, ir_dtype source_dtype,
    int64_t first, int columns, uint32_t *words, void *scales) {
    const int per_word = 32 / bits, n_words = (group + per_word - 1) / per_word,
              max_code = (1 << (bits - 1)) - 1;
    for (int begin = 0, j = 0; begin < columns; begin += group, j++) {
        const int end = begin + group < columns ? begin + group : columns;
        float weights[256];
        double largest = 0;
        for (int k = begin; k < end; k++) {
            weights[k - begin] =
                oracle_round(scale_dtype, (double)oracle_load(source_dtype, source, first + k));
            const double magnitude = fabs((double)weights[k - begin]);
            if (magnitude > largest) largest = magnitude;
        }
        const float scale = oracle_round(scale_dtype, largest / max_code);
        oracle_store(scale_dtype, scale, (char *)scales + (size_t)j * ir_dtype_bytes(scale_dtype));
        for (int i = 0; i < n_words; i++) words[j * n_words + i] = 0;
        for (int k = 0; k < end - begin; k++) {
            const float quotient = oracle_round(scale_dtype, (double)weights[k] / (double)scale);
            const float shifted = oracle_round(scale_dtype, (double)quotient + max_code);
            const int32_t code = oracle_code((double)shifted, 0, 2 * max_code, max_code);
            words[j * n_words + k / per_word] |= (uint32_t)code << (k % per_word * bits);
        }
    }
}

static void golden_vectors(void **state) {
    (void)state;
    uint16_t source[50];
    for (int k = 0; k < 50; k++) source[k] = quant_f32_to_f16((float)(37 * k % 64 - 31) / 32.0f);
    static const uint32_t q4[8] = {0x17d5a280, 0xa27d5b39, 0x4a28e6c4, 0xd5b3917c,
                                   0x8e6c3917, 0x2906c4a2, 0,          0};
    static const uint32_t q3[8] = {0x0c0ea860, 0x33aa1795, 0x2981d50b, 0x1e5542f2,
                                   0x15303aa1, 0,          0,          0};
    uint32_t words[8];
    uint16_t scales[2];
    void *const pieces[] = {words, scales};
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        memset(words, 0xff, sizeof words);
        quant_format_Q4G32_F16.encode(source, IR_F16, ALL(1, 48), 0, pieces);
        assert_memory_equal(words, q4, sizeof q4);
        assert_int_equal(scales[0], 0x3092);
        assert_int_equal(scales[1], 0x306e);
        memset(words, 0xff, sizeof words);
        quant_format_Q3G40_F16.encode(source, IR_F16, ALL(1, 50), 0, pieces);
        assert_memory_equal(words, q3, sizeof q3);
        assert_int_equal(scales[0], 0x3555);
        assert_int_equal(scales[1], 0x3500);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    memset(words, 0xff, sizeof words);
    quant_group_int_encode(3, 40, IR_F16, source, IR_F16, 1, 50, words, scales);
    assert_memory_equal(words, q3, sizeof q3);
    // The oracle of this file gives the same.
    oracle_encode(4, 32, IR_F16, source, IR_F16, 0, 48, words, scales);
    assert_memory_equal(words, q4, sizeof q4);
}

enum { ROWS = 5, MOST = 330, MOST_WORDS = 11 * 8, MOST_GROUPS = 11 };

typedef struct group_case {
    const quant_format *format;
    int bits, group;
    ir_dtype scale;
} group_case;

#define CASE(id, bits, group, scale) {&quant_format_##id, bits, group, IR_##scale},
static const group_case cases[] = {QUANT_GROUP_INT_FORMATS(CASE)};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static void equals_oracle(const group_case *of, ir_dtype source_dtype, int columns, int wild) {
    static float source[ROWS * MOST]; // elements of any type
    static uint32_t words[ROWS * MOST_WORDS], expected_words[ROWS * MOST_WORDS];
    static float scales[ROWS * MOST_GROUPS], expected_scales[ROWS * MOST_GROUPS];
    const int per_word = 32 / of->bits, n_groups = (columns + of->group - 1) / of->group;
    const int n_words = n_groups * ((of->group + per_word - 1) / per_word);
    const size_t scale_bytes = ir_dtype_bytes(of->scale);
    oracle_fill(source_dtype, ROWS * columns, wild, &seed, source);
    for (int row = 0; row < ROWS; row++) {
        oracle_encode(
            of->bits, of->group, of->scale, source, source_dtype, row * columns, columns,
            expected_words + row * n_words,
            (char *)expected_scales + (size_t)(row * n_groups) * scale_bytes);
    }
    const size_t words_size = (size_t)(ROWS * n_words) * sizeof words[0],
                 scales_size = (size_t)(ROWS * n_groups) * scale_bytes;
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        memset(words, 0xff, sizeof words);
        memset(scales, 0xff, sizeof scales);
        of->format->encode(source, source_dtype, ALL(ROWS, columns), 0, (void *[]){words, scales});
        assert_memory_equal(words, expected_words, words_size);
        assert_memory_equal(scales, expected_scales, scales_size);
        // Row by row: words where the range begins, scales where the param does.
        memset(words, 0xff, sizeof words);
        memset(scales, 0xff, sizeof scales);
        for (int row = 0; row < ROWS; row++) {
            const quant_range range = {row, 1, ROWS, columns};
            of->format->encode(
                (const char *)source + (size_t)(row * columns) * ir_dtype_bytes(source_dtype),
                source_dtype, &range, 0, (void *[]){words + row * n_words, scales});
        }
        assert_memory_equal(words, expected_words, words_size);
        assert_memory_equal(scales, expected_scales, scales_size);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    quant_group_int_encode(
        of->bits, of->group, of->scale, source, source_dtype, ROWS, columns, words, scales);
    assert_memory_equal(words, expected_words, words_size);
    assert_memory_equal(scales, expected_scales, scales_size);
}

static void random_rows_equal_the_oracle(void **state) {
    (void)state;
    static const int columns[] = {1, 7, 31, 32, 33, 40, 41, 64, 128, 160, 172, 199, 330};
    static const ir_dtype sources[] = {IR_F16, IR_BF16, IR_F32};
    for (int repeat = 0; repeat < 12; repeat++) {
        for (int c = 0; c < N_CASES; c++) {
            for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
                for (int s = 0; s < 3; s++)
                    equals_oracle(&cases[c], sources[s], columns[i], repeat % 2);
            }
        }
    }
}

// Multiplying by 1 / s instead of dividing by s: every pair of significands, at exponents that make
// quotients of 2^-14 and more.
static void factor_is_division(void **state) {
    (void)state;
    for (uint32_t b = 1024; b < 2048; b++) {
        const float scale = (float)b * 0x1p-14f, factor = 1.0f / scale;
        for (uint32_t a = 1024; a < 2048; a++) {
            const float weight = (float)a * 0x1p-12f;
            const float got = quant_round_f16(weight * factor),
                        expected = quant_round_f16(weight / scale);
            if (quant_bits(got) != quant_bits(expected))
                fail_msg(
                    "%u / %u: got %08x, expected %08x", a, b, quant_bits(got),
                    quant_bits(expected));
        }
    }
}

// A float32 source is cast first: its float16 image and itself give the same bytes.
static void source_is_cast_first(void **state) {
    (void)state;
    enum { COLUMNS = 172 };
    float f32[COLUMNS];
    uint16_t f16[COLUMNS], bf16[COLUMNS], f16_of_bf16[COLUMNS];
    for (int k = 0; k < COLUMNS; k++) {
        f32[k] =
            ((float)(oracle_random(&seed) >> 8) / 8388608.0f - 1.0f) * (k % 5 == 0 ? 1e-6f : 0.3f);
        f16[k] = quant_f32_to_f16(f32[k]);
        bf16[k] = quant_f32_to_bf16(f32[k]);
        f16_of_bf16[k] = quant_f32_to_f16(quant_bf16_to_f32(bf16[k]));
    }
    uint32_t words[24], expected[24];
    uint16_t scales[6], expected_scales[6];
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        quant_format_Q4G32_F16.encode(
            f16, IR_F16, ALL(1, COLUMNS), 0, (void *[]){expected, expected_scales});
        quant_format_Q4G32_F16.encode(f32, IR_F32, ALL(1, COLUMNS), 0, (void *[]){words, scales});
        assert_memory_equal(words, expected, sizeof words);
        assert_memory_equal(scales, expected_scales, sizeof scales);
        quant_format_Q4G32_F16.encode(
            f16_of_bf16, IR_F16, ALL(1, COLUMNS), 0, (void *[]){expected, expected_scales});
        quant_format_Q4G32_F16.encode(bf16, IR_BF16, ALL(1, COLUMNS), 0, (void *[]){words, scales});
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
        quant_format_Q4G32_F16.encode(source, IR_F32, ALL(1, 32), 0, outputs);
        assert_int_equal(scale, 0);
        for (int i = 0; i < 4; i++) assert_int_equal(words[i], 0x77777777);
        // The scale underflows to zero: infinite quotients clamp.
        source[0] = 0x1p-24f;
        source[1] = -0x1p-24f;
        quant_format_Q4G32_F16.encode(source, IR_F32, ALL(1, 32), 0, outputs);
        assert_int_equal(scale, 0);
        assert_int_equal(words[0], 0x7777770e);
        // NaN takes no part in the maximum and gets the middle code.
        source[0] = 0.7f;
        source[1] = -0.7f;
        source[2] = nanf("");
        quant_format_Q4G32_F16.encode(source, IR_F32, ALL(1, 32), 0, outputs);
        assert_int_equal(scale, quant_f32_to_f16(quant_f16_to_f32(quant_f32_to_f16(0.7f)) / 7.0f));
        assert_int_equal(words[0], 0x7777770e);
        // An infinite weight makes an infinite scale; everything gets the middle code.
        source[2] = INFINITY;
        quant_format_Q4G32_F16.encode(source, IR_F32, ALL(1, 32), 0, outputs);
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
        source[i] =
            quant_round_f16(((float)(oracle_random(&seed) >> 8) / 8388608.0f - 1.0f) * 0.25f);
    uint32_t words[N * 24];
    uint16_t scales[N * 6];
    quant_format_Q4G32_F16.encode(source, IR_F32, ALL(N, K), 0, (void *[]){words, scales});
    quant_format_Q4G32_F16.decode((const void *[]){words, scales}, ALL(N, K), back);
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
        cmocka_unit_test(golden_vectors),     cmocka_unit_test(random_rows_equal_the_oracle),
        cmocka_unit_test(factor_is_division), cmocka_unit_test(source_is_cast_first),
        cmocka_unit_test(hostile_numbers),    cmocka_unit_test(decode_inverts),
        cmocka_unit_test(stored_pieces),      cmocka_unit_test(refused_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
