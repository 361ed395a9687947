// Words of every layout: golden ones, and packers written as the upstream projects chain their
// reshapes and index lists, which know nothing of the formulas in quantization/foreign.
#include "quantization/foreign/layouts.h"
#include "tests/support/foreign_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mlcc_arena *keep;

static int set_up(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mlcc_arena_free(keep);
    return 0;
}

static quant_foreign_weight packed(const foreign_fixture *weight, const char *layout_name) {
    quant_foreign_weight stored = {.name = "w"};
    const quant_foreign_layout *layout = quant_foreign_find(layout_name);
    assert_non_null(layout);
    assert_null(layout->pack(&weight->canon, &weight->rows, keep, &stored));
    assert_ptr_equal(stored.layout, layout);
    return stored;
}

static const uint32_t *words_of(const quant_foreign_weight *weight, int32_t part) {
    return weight->parts[part].data;
}

static foreign_fixture symmetric(int64_t n_rows, int64_t columns, int32_t bits) {
    return foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = n_rows, .columns = columns, .bits = bits, .is_symmetric = true});
}

static void golden_nibbles(void **state) {
    (void)state;
    foreign_fixture weight = symmetric(8, 128, 4);
    for (int64_t n = 0; n < 8; n++) weight.rows.codes[n * 128] = (uint8_t)n;
    for (int64_t k = 0; k < 8; k++) weight.rows.codes[k] = (uint8_t)k;
    // Row 0 counts along K, column 0 along N.
    quant_foreign_weight gemm = packed(&weight, "awq-gemm"), gemv = packed(&weight, "awq-gemv");
    quant_foreign_weight v1 = packed(&weight, "gptq"), v2 = packed(&weight, "gptq-v2");
    quant_foreign_weight compressed = packed(&weight, "ct-pack-quantized");
    assert_int_equal(words_of(&gemm, 0)[0], 0x75316420u);
    assert_int_equal(words_of(&gemv, 0)[0], 0x76543210u);
    assert_int_equal(words_of(&v1, 0)[0], 0x76543210u);
    assert_int_equal(words_of(&v2, 0)[0], 0x76543210u);
    assert_int_equal(words_of(&compressed, 0)[0], 0x76543210u);
    assert_int_equal(words_of(&gemm, 1)[0], 0x88888888u);
    assert_int_equal(words_of(&v1, 1)[0], 0x77777777u);
    assert_int_equal(words_of(&v2, 1)[0], 0x88888888u);
    assert_int_equal(words_of(&gemv, 1)[0], 0x00000008u); // one group of eight is in use
    assert_int_equal(gemv.parts[2].dims[1], 8);
    assert_int_equal(compressed.parts[2].rank, -1); // symmetric: no zero points
}

static void golden_gemv_fast(void **state) {
    (void)state;
    foreign_fixture weight = symmetric(4, 64, 4);
    for (int64_t n = 0; n < 4; n++) {
        for (int64_t k = 0; k < 64; k++)
            weight.rows.codes[n * 64 + k] = (uint8_t)((5 * n + 3 * k + k / 16) & 15);
    }
    quant_foreign_weight fast = packed(&weight, "awq-gemv-fast");
    const uint16_t *words = fast.parts[0].data;
    assert_int_equal(fast.parts[0].dtype, IR_I16);
    assert_int_equal(fast.parts[0].dims[0], 1);
    assert_int_equal(fast.parts[0].dims[1], 64);
    static const uint16_t first[4] = {0x9180, 0xc4b3, 0xf7e6, 0x2a19};
    assert_memory_equal(words, first, sizeof first);
    assert_int_equal(words[16], 0xe6d5);
    assert_int_equal(words[63], 0xf7e6);
}

static void golden_marlin(void **state) {
    (void)state;
    foreign_fixture weight = symmetric(64, 16, 4);
    for (int64_t n = 0; n < 64; n++) {
        for (int64_t k = 0; k < 16; k++)
            weight.rows.codes[n * 16 + k] = (uint8_t)((k * k + 5 * n + n / 16) & 15);
    }
    quant_foreign_weight marlin = packed(&weight, "awq-marlin");
    static const uint32_t first[6] = {0x99118800, 0xaa229911, 0xbb33aa22,
                                      0xcc44bb33, 0x1199cc44, 0x22aadd55};
    assert_int_equal(marlin.parts[0].dims[0], 1);
    assert_int_equal(marlin.parts[0].dims[1], 128);
    assert_memory_equal(words_of(&marlin, 0), first, sizeof first);
    assert_int_equal(words_of(&marlin, 0)[127], 0xff7722aau);
}

// C order array of rank 5 with its axes in another order.
static void transpose(uint8_t *values, const int64_t dims[5], const int32_t order[5]) {
    int64_t strides[5], out[5];
    int64_t total = 1;
    for (int32_t i = 5; i-- > 0;) strides[i] = total, total *= dims[i];
    uint8_t *copy = malloc((size_t)total);
    assert_non_null(copy);
    memcpy(copy, values, (size_t)total);
    for (int32_t i = 0; i < 5; i++) out[i] = dims[order[i]];
    for (int64_t flat = 0; flat < total; flat++) {
        int64_t rest = flat, from = 0;
        for (int32_t i = 5; i-- > 0;) from += rest % out[i] * strides[order[i]], rest /= out[i];
        values[flat] = copy[from];
    }
    free(copy);
}

// llm-awq: interleave pairs of 32 columns, reorder each eight, interleave four rows in runs of 64.
static void gemv_fast_is_the_reshape_chain(void **state) {
    (void)state;
    enum { N = 12, K = 192 };
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = N, .columns = K, .group = 64, .seed = 5});
    uint8_t codes[N * K];
    memcpy(codes, weight.rows.codes, sizeof codes);
    transpose(codes, (int64_t[]){N * K / 32, 1, 4, 4, 2}, (int32_t[]){0, 1, 3, 2, 4});
    transpose(codes, (int64_t[]){N * K / 32, 4, 1, 4, 2}, (int32_t[]){0, 1, 2, 4, 3});
    transpose(codes, (int64_t[]){N / 4, 4, K / 64, 64, 1}, (int32_t[]){0, 2, 1, 3, 4});
    quant_foreign_weight fast = packed(&weight, "awq-gemv-fast");
    const uint16_t *words = fast.parts[0].data;
    for (int64_t i = 0; i < N * K / 4; i++) {
        const uint8_t *four = codes + 4 * i;
        assert_int_equal(words[i], four[0] | four[1] << 4 | four[2] << 8 | four[3] << 12);
    }
}

// IST's permutation list of 1024 values, and its two lists for scales.
static void marlin_is_the_permutation_list(void **state) {
    (void)state;
    enum { N = 128, K = 48 };
    static const int32_t order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    int32_t list[1024], n_list = 0;
    for (int32_t lane = 0; lane < 32; lane++) {
        const int32_t row = lane % 4;
        const int32_t rows[4] = {2 * row, 2 * row + 1, 2 * (row + 4), 2 * (row + 4) + 1};
        for (int32_t tile = 0; tile < 4; tile++) {
            int32_t eight[8];
            for (int32_t i = 0; i < 8; i++)
                eight[i] = 16 * rows[i % 4] + lane / 4 + 8 * (i / 4) + 256 * tile;
            for (int32_t i = 0; i < 8; i++) list[n_list++] = eight[order[i]];
        }
    }
    for (int64_t group = 16; group <= K; group += K - 16) {
        foreign_fixture weight = foreign_fixture_make(
            keep, &(foreign_fixture_options){
                      .n_rows = N, .columns = K, .group = group, .is_symmetric = true, .seed = 9});
        quant_foreign_weight marlin = packed(&weight, "awq-marlin");
        for (int64_t kt = 0; kt < K / 16; kt++) {
            uint8_t line[16 * N]; // tiles of 16 x 16, one after another
            for (int64_t i = 0; i < 16 * N; i++) {
                const int64_t n = i / 256 * 16 + i % 16, k = 16 * kt + i % 256 / 16;
                line[i] = weight.rows.codes[n * K + k];
            }
            for (int64_t i = 0; i < 16 * N; i++) {
                const uint32_t word = words_of(&marlin, 0)[kt * 2 * N + i / 8];
                assert_int_equal(
                    word >> (4 * (i % 8)) & 15, line[i / 1024 * 1024 + list[i % 1024]]);
            }
        }
        int32_t columns[64], n_columns = 0;
        static const int32_t steps[8] = {0, 1, 8, 9, 16, 17, 24, 25};
        for (int32_t a = 0; a < 8 && group < K; a++) {
            for (int32_t b = 0; b < 8; b++) columns[n_columns++] = a + 8 * b;
        }
        for (int32_t a = 0; a < 4 && group == K; a++) {
            for (int32_t b = 0; b < 8; b++) columns[n_columns++] = 2 * a + steps[b];
        }
        const quant_foreign_tensor *scales = &marlin.parts[1];
        assert_int_equal(scales->dtype, IR_F16);
        for (int64_t j = 0; j < weight.canon.n_groups; j++) {
            for (int64_t n = 0; n < N; n++) {
                const int64_t from = n / n_columns * n_columns + columns[n % n_columns];
                uint16_t expected = 0;
                quant_foreign_weight gemm = packed(&weight, "awq-gemm");
                memcpy(
                    &expected, (const uint16_t *)gemm.parts[2].data + j * N + from,
                    sizeof expected);
                assert_int_equal(((const uint16_t *)scales->data)[j * N + n], expected);
            }
        }
    }
}

static void gptq_versions_differ_by_one(void **state) {
    (void)state;
    static const struct {
        int32_t bits;
        uint32_t step;
    } cases[] = {{2, 0x55555555u}, {4, 0x11111111u}, {8, 0x01010101u}};
    for (size_t i = 0; i < 3; i++) {
        foreign_fixture weight = foreign_fixture_make(
            keep,
            &(foreign_fixture_options){
                .n_rows = 32, .columns = 64, .group = 32, .bits = cases[i].bits, .min_zero = 1});
        quant_foreign_weight v1 = packed(&weight, "gptq"), v2 = packed(&weight, "gptq-v2");
        const int64_t n_words = v1.parts[1].dims[0] * v1.parts[1].dims[1];
        assert_int_equal(n_words, 2 * cases[i].bits);
        for (int64_t w = 0; w < n_words; w++)
            assert_int_equal(words_of(&v1, 1)[w] + cases[i].step, words_of(&v2, 1)[w]);
    }
}

static void gptq_three_bits_are_one_stream(void **state) {
    (void)state;
    enum { N = 32, K = 96 };
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = N, .columns = K, .group = 32, .bits = 3, .min_zero = 1, .seed = 3});
    quant_foreign_weight stored = packed(&weight, "gptq");
    assert_int_equal(stored.parts[0].dims[0], 9);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t bit = 0; bit < 3 * K; bit++) {
            const uint32_t word = words_of(&stored, 0)[bit / 32 * N + n];
            assert_int_equal(
                word >> (bit % 32) & 1, weight.rows.codes[n * K + bit / 3] >> (bit % 3) & 1);
        }
    }
    for (int64_t bit = 0; bit < 3 * N; bit++) {
        const uint32_t word = words_of(&stored, 1)[3 * 1 + bit / 32];
        assert_int_equal(
            word >> (bit % 32) & 1, (weight.rows.zeros[bit / 3 * 3 + 1] - 1) >> (bit % 3) & 1);
    }
}

// AutoGPTQ adds one without a mask: field 15 is zero 16.
static void gptq_v1_reaches_sixteen(void **state) {
    (void)state;
    foreign_fixture weight = symmetric(8, 32, 4);
    for (int64_t n = 0; n < 8; n++) weight.rows.zeros[n] = 16;
    quant_foreign_weight stored = packed(&weight, "gptq");
    assert_int_equal(words_of(&stored, 1)[0], 0xffffffffu);
    const foreign_fixture read = foreign_fixture_read(keep, &stored, &(quant_foreign_hints){0}, 0);
    foreign_fixture_assert_equal(&weight, &read);
    quant_foreign_weight other = {0};
    foreign_fixture_assert_error(
        quant_foreign_gptq_v2.pack(&weight.canon, &weight.rows, keep, &other), MLCC_UNSUPPORTED,
        "gptq-v2", "zero 16", "0 to 15", NULL);
}

static void compressed_tensors_words(void **state) {
    (void)state;
    enum { N = 11, K = 20 };
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = N, .columns = K, .group = 10, .seed = 11});
    quant_foreign_weight stored = packed(&weight, "ct-pack-quantized");
    assert_int_equal(stored.parts[0].dims[1], 3); // ceil(20 * 4 / 32)
    assert_int_equal(stored.parts[2].dims[0], 2); // ceil(11 * 4 / 32)
    assert_int_equal(stored.parts[2].dims[1], 2);
    assert_memory_equal(stored.parts[4].data, ((const int64_t[]){N, K}), 16);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t j = 0; j < 2; j++) {
            const uint32_t word = words_of(&stored, 2)[n / 8 * 2 + j];
            assert_int_equal(word >> (4 * (n % 8)) & 15, weight.rows.zeros[n * 2 + j]);
        }
    }
    foreign_fixture bytes = symmetric(2, 3, 8);
    memcpy(bytes.rows.codes, ((const uint8_t[]){0, 127, 128, 129, 255, 1}), 6);
    quant_foreign_weight plain = packed(&bytes, "ct-int-quantized");
    assert_memory_equal(plain.parts[0].data, ((const int8_t[]){-128, -1, 0, 1, 127, -127}), 6);
    assert_int_equal(plain.parts[0].dtype, IR_I8);
}

static void widths_of_zeros(void **state) {
    (void)state;
    // K, group, padded groups
    static const int64_t cases[][3] = {{4096, 128, 32}, {11008, 128, 88}, {11008, 64, 176},
                                       {4096, 32, 128}, {64, 64, 16},     {32, 32, 32},
                                       {1024, 1024, 8}, {1024, 256, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        foreign_fixture weight = foreign_fixture_make(
            keep, &(foreign_fixture_options){
                      .n_rows = 4, .columns = cases[i][0], .group = cases[i][1], .seed = i});
        quant_foreign_weight gemv = packed(&weight, "awq-gemv");
        assert_int_equal(gemv.parts[2].dims[1], cases[i][2]);
        assert_int_equal(gemv.parts[1].dims[1], cases[i][2] / 8);
        if (cases[i][0] % 64 != 0) continue;
        quant_foreign_weight fast = packed(&weight, "awq-gemv-fast");
        assert_int_equal(fast.parts[1].dims[0], cases[i][2]);
        assert_int_equal(fast.parts[2].dims[0], cases[i][2]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_nibbles),
        cmocka_unit_test(golden_gemv_fast),
        cmocka_unit_test(golden_marlin),
        cmocka_unit_test(gemv_fast_is_the_reshape_chain),
        cmocka_unit_test(marlin_is_the_permutation_list),
        cmocka_unit_test(gptq_versions_differ_by_one),
        cmocka_unit_test(gptq_three_bits_are_one_stream),
        cmocka_unit_test(gptq_v1_reaches_sixteen),
        cmocka_unit_test(compressed_tensors_words),
        cmocka_unit_test(widths_of_zeros),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
