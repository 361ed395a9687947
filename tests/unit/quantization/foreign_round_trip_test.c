// Layouts into each other and back: every code, zero and scale survives, in row blocks of any size;
// and every layout is found again from the names and shapes of its parts.
#include "quantization/foreign/layouts.h"
#include "quantization/round.h"
#include "tests/support/foreign_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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

// Packs what `from` read, reads that back with and without what a configuration would say.
static foreign_fixture through(
    const foreign_fixture *from, const char *layout_name, int64_t block) {
    const quant_foreign_layout *layout = quant_foreign_find(layout_name);
    quant_foreign_weight stored = {.name = "model.layers.0.mlp.down_proj"};
    assert_non_null(layout);
    assert_null(layout->pack(&from->canon, &from->rows, keep, &stored));
    assert_ptr_equal(foreign_fixture_detect(&stored, layout->formats[0]), layout);
    if (layout != &quant_foreign_gptq_v2)
        assert_ptr_equal(foreign_fixture_detect(&stored, NULL), layout);
    foreign_fixture read = foreign_fixture_read(keep, &stored, &(quant_foreign_hints){0}, block);
    foreign_fixture_assert_equal(from, &read);
    const quant_foreign_hints hints = {
        .bits = from->canon.kind == QUANT_CANON_INT ? from->canon.bits : 8,
        .group_size = from->canon.group == from->canon.columns ? -1 : from->canon.group};
    read = foreign_fixture_read(keep, &stored, &hints, 0);
    foreign_fixture_assert_equal(from, &read);
    return read;
}

static void chain(const foreign_fixture_options *options, const char *const *names) {
    const foreign_fixture first = foreign_fixture_make(keep, options);
    foreign_fixture now = first;
    const int64_t blocks[] = {0, 1, 3, 8, 61, 64, 100};
    for (size_t i = 0; names[i] != NULL; i++)
        now = through(&now, names[i], blocks[(i + (size_t)options->seed) % 7]);
    foreign_fixture_assert_equal(&first, &now);
    mlcc_arena_reset(keep);
}

static void four_bits(void **state) {
    (void)state;
    static const int64_t groups[] = {32, 64, 128, 0};
    static const int64_t sizes[][2] = {{64, 128}, {128, 128}, {64, 512}, {192, 384}, {320, 256}};
    static const char *const asymmetric[] = {
        "awq-gemm", "awq-gemv", "awq-gemv-fast", "gptq-v2", "ct-pack-quantized", "awq-gemm", NULL};
    static const char *const middle[] = {"awq-gemm", "awq-gemv", "awq-gemv-fast",     "awq-marlin",
                                         "gptq",     "gptq-v2",  "ct-pack-quantized", "awq-marlin",
                                         "awq-gemm", NULL};
    static const char *const from_one[] = {"gptq", "awq-gemv-fast", "gptq-v2", "gptq", NULL};
    uint64_t seed = 1;
    for (size_t g = 0; g < 4; g++) {
        for (size_t i = 0; i < 5; i++) {
            foreign_fixture_options options = {
                .n_rows = sizes[i][0], .columns = sizes[i][1], .group = groups[g], .seed = seed++};
            chain(&options, asymmetric);
            options.is_symmetric = true;
            chain(&options, middle);
            options.is_symmetric = false;
            options.min_zero = 1;
            chain(&options, from_one);
        }
    }
}

// Any group that divides, and any number of outputs that the layout can hold.
static void odd_sizes(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{8, 40, 8}, {24, 172, 43}, {8, 17, 17}, {40, 96, 24}};
    for (size_t i = 0; i < 4; i++) {
        chain(
            &(foreign_fixture_options){.n_rows = sizes[i][0],
                                       .columns = sizes[i][1],
                                       .group = sizes[i][2],
                                       .seed = 70 + i},
            (const char *const[]){"awq-gemm", "ct-pack-quantized", "awq-gemm", NULL});
    }
    chain(
        &(foreign_fixture_options){.n_rows = 13, .columns = 256, .group = 32, .seed = 80},
        (const char *const[]){"awq-gemv", "ct-pack-quantized", "awq-gemv", NULL});
}

static void other_widths(void **state) {
    (void)state;
    static const int32_t widths[] = {2, 3, 8};
    for (size_t i = 0; i < 3; i++) {
        foreign_fixture_options options = {
            .n_rows = 96,
            .columns = 160,
            .group = 32,
            .bits = widths[i],
            .min_zero = 1,
            .seed = 90 + i};
        chain(&options, (const char *const[]){"gptq", "gptq-v2", NULL});
        options.group = 0;
        options.has_map = false;
        chain(&options, (const char *const[]){"gptq-v2", "gptq", NULL});
    }
    foreign_fixture_options bytes = {
        .n_rows = 33, .columns = 50, .group = 0, .bits = 8, .seed = 93};
    chain(&bytes, (const char *const[]){"ct-int-quantized", "ct-pack-quantized", NULL});
    bytes.is_symmetric = true;
    chain(&bytes, (const char *const[]){"ct-int-quantized", "ct-pack-quantized", NULL});
    bytes.group = 10;
    chain(&bytes, (const char *const[]){"ct-int-quantized", NULL});
}

static void act_order(void **state) {
    (void)state;
    static const char *const names[] = {"gptq", "ct-pack-quantized", "gptq-v2", "gptq", NULL};
    for (uint64_t seed = 0; seed < 4; seed++) {
        chain(
            &(foreign_fixture_options){.n_rows = 64,
                                       .columns = 256,
                                       .group = seed % 2 == 0 ? 64 : 32,
                                       .min_zero = 1,
                                       .has_map = true,
                                       .seed = seed},
            names);
    }
    const foreign_fixture weight = foreign_fixture_make(
        keep,
        &(foreign_fixture_options){
            .n_rows = 64, .columns = 256, .group = 64, .is_symmetric = true, .has_map = true});
    static const char *const refusing[] = {"awq-gemm", "awq-gemv", "awq-gemv-fast", "awq-marlin"};
    for (size_t i = 0; i < 4; i++) {
        quant_foreign_weight stored = {0};
        foreign_fixture_assert_error(
            quant_foreign_find(refusing[i])->pack(&weight.canon, &weight.rows, keep, &stored),
            MLCC_UNSUPPORTED, refusing[i], "act-order", NULL);
    }
}

// A last group that is short: GPTQ and compressed-tensors have it, AWQ has not.
static void short_last_group(void **state) {
    (void)state;
    const foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = 16, .columns = 160, .group = 128, .is_symmetric = true});
    const quant_foreign_hints hints = {.bits = 4, .group_size = 128};
    static const char *const names[] = {"gptq", "gptq-v2", "ct-pack-quantized"};
    for (size_t i = 0; i < 3; i++) {
        quant_foreign_weight stored = {0};
        const quant_foreign_layout *layout = quant_foreign_find(names[i]);
        assert_null(layout->pack(&weight.canon, &weight.rows, keep, &stored));
        const foreign_fixture read = foreign_fixture_read(keep, &stored, &hints, 5);
        foreign_fixture_assert_equal(&weight, &read);
    }
    quant_foreign_weight stored = {0};
    foreign_fixture_assert_error(
        quant_foreign_awq_gemm.pack(&weight.canon, &weight.rows, keep, &stored), MLCC_UNSUPPORTED,
        "awq-gemm", "groups of 128 that do not divide K = 160", NULL);
}

static void float8(void **state) {
    (void)state;
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = 200, .columns = 300, .group = 128, .bits = 8, .seed = 4});
    memset(weight.rows.zeros, 0, 200 * 3 * sizeof(int16_t));
    weight.canon.kind = QUANT_CANON_E4M3;
    for (int64_t n = 0; n < 200; n++) {
        for (int64_t j = 0; j < 3; j++)
            weight.rows.scales[n * 3 + j] = weight.rows.scales[n / 128 * 128 * 3 + j];
    }
    quant_foreign_weight stored = {.name = "w"};
    assert_null(quant_foreign_fp8_block.pack(&weight.canon, &weight.rows, keep, &stored));
    assert_int_equal(stored.parts[1].dims[0], 2);
    assert_int_equal(stored.parts[1].dims[1], 3);
    assert_ptr_equal(foreign_fixture_detect(&stored, NULL), &quant_foreign_fp8_block);
    foreign_fixture read = foreign_fixture_read(keep, &stored, &(quant_foreign_hints){0}, 37);
    foreign_fixture_assert_equal(&weight, &read);
    const quant_foreign_hints hints = {.bits = 8, .block_rows = 128, .block_columns = 128};
    read = foreign_fixture_read(keep, &stored, &hints, 0);
    foreign_fixture_assert_equal(&weight, &read);

    foreign_fixture rows = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 7, .columns = 13, .bits = 8, .seed = 6});
    memset(rows.rows.zeros, 0, 7 * sizeof(int16_t));
    rows.canon.kind = QUANT_CANON_E5M2;
    (void)through(&rows, "fp8-channel", 2);
    for (int64_t n = 0; n < 7; n++) rows.rows.scales[n] = 0.25f;
    (void)through(&rows, "fp8-tensor", 3);
    (void)through(&rows, "fp8-channel", 3);
}

// Square matrices look alike by qweight; scales and zeros tell.
static void square_matrices(void **state) {
    (void)state;
    static const char *const names[] = {"awq-gemm", "awq-gemv",   "awq-gemv-fast",
                                        "gptq",     "awq-marlin", "ct-pack-quantized"};
    for (int64_t size = 64; size <= 1024; size *= 2) {
        const foreign_fixture weight = foreign_fixture_make(
            keep, &(foreign_fixture_options){
                      .n_rows = size, .columns = size, .group = 64, .is_symmetric = true});
        for (size_t i = 0; i < 6; i++) {
            quant_foreign_weight stored = {0};
            const quant_foreign_layout *layout = quant_foreign_find(names[i]);
            assert_null(layout->pack(&weight.canon, &weight.rows, keep, &stored));
            assert_ptr_equal(foreign_fixture_detect(&stored, NULL), layout);
        }
        mlcc_arena_reset(keep);
    }
}

static void alternative_names(void **state) {
    (void)state;
    const foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = 64, .columns = 128, .group = 64, .is_symmetric = true});
    quant_foreign_weight stored = {.name = "w"};
    assert_null(quant_foreign_awq_marlin.pack(&weight.canon, &weight.rows, keep, &stored));
    const char *const marlin[] = {"workspace", "B", "s"};
    const quant_foreign_tensor words[] = {
        {NULL, IR_I32, 1, {16}}, stored.parts[0], stored.parts[1]};
    assert_ptr_equal(quant_foreign_detect(marlin, words, 3, NULL), &quant_foreign_awq_marlin);
    quant_foreign_weight named;
    quant_foreign_weight_init(&named, &quant_foreign_awq_marlin, "w", marlin, words, 3);
    foreign_fixture read = foreign_fixture_read(keep, &named, &(quant_foreign_hints){0}, 0);
    foreign_fixture_assert_equal(&weight, &read);

    assert_null(quant_foreign_awq_gemv_fast.pack(&weight.canon, &weight.rows, keep, &stored));
    const char *const fast[] = {"scaled_zeros", "scales", "qweight"};
    const quant_foreign_tensor parts[] = {stored.parts[1], stored.parts[2], stored.parts[0]};
    assert_ptr_equal(quant_foreign_detect(fast, parts, 3, NULL), &quant_foreign_awq_gemv_fast);
    quant_foreign_weight_init(&named, &quant_foreign_awq_gemv_fast, "w", fast, parts, 3);
    assert_true(named.uses_alternative[1]);
    read = foreign_fixture_read(keep, &named, &(quant_foreign_hints){0}, 0);
    foreign_fixture_assert_equal(&weight, &read);
}

// bfloat16 scales, as llm-awq writes them since 2025, and float32 ones.
static void other_scale_types(void **state) {
    (void)state;
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 64, .columns = 128, .group = 64, .seed = 2});
    for (int64_t i = 0; i < 128; i++)
        weight.rows.scales[i] = quant_round_bf16(weight.rows.scales[i]) * 0x1p-20f;
    static const char *const names[] = {
        "awq-gemm", "awq-gemv", "awq-gemv-fast", "ct-pack-quantized", NULL};
    for (size_t i = 0; names[i] != NULL; i++) {
        foreign_fixture read = through(&weight, names[i], 9);
        assert_int_equal(quant_bits(read.rows.scales[0]), quant_bits(weight.rows.scales[0]));
    }
    for (int64_t i = 0; i < 128; i++) weight.rows.scales[i] *= 1.0f + 0x1p-20f;
    for (size_t i = 0; names[i] != NULL; i++) (void)through(&weight, names[i], 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_bits),         cmocka_unit_test(odd_sizes),
        cmocka_unit_test(other_widths),      cmocka_unit_test(act_order),
        cmocka_unit_test(short_last_group),  cmocka_unit_test(float8),
        cmocka_unit_test(square_matrices),   cmocka_unit_test(alternative_names),
        cmocka_unit_test(other_scale_types),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
