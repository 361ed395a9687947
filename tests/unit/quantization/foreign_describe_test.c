// Shapes that do not fit: every layout refuses them by tensor, with what was expected and found; and
// what describe makes of shapes that leave something open.
#include "quantization/foreign/layouts.h"
#include "tests/support/foreign_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define I32(a, b) ((quant_foreign_tensor){NULL, IR_I32, 2, {(a), (b)}})
#define F16(a, b) ((quant_foreign_tensor){NULL, IR_F16, 2, {(a), (b)}})
#define ABSENT    ((quant_foreign_tensor){.rank = -1})

static quant_foreign_weight weight_of(
    const quant_foreign_layout *layout, quant_foreign_tensor a, quant_foreign_tensor b,
    quant_foreign_tensor c) {
    return (quant_foreign_weight){.layout = layout,
                                  .name = "model.layers.3.mlp.down_proj",
                                  .parts = {a, b, c, ABSENT, ABSENT, ABSENT}};
}

static quant_canon described(const quant_foreign_weight *weight, const quant_foreign_hints *hints) {
    quant_canon canon;
    mlcc_status *status = weight->layout->describe(weight, hints, &canon);
    if (status != NULL) print_error("%s\n", mlcc_status_message(status));
    assert_null(status);
    return canon;
}

static const quant_foreign_hints nothing = {0};

static void expect_refusal(
    quant_foreign_weight weight, quant_foreign_hints hints, const char *part, const char *text,
    const char *other) {
    quant_canon canon;
    mlcc_status *status = weight.layout->describe(&weight, &hints, &canon);
    assert_int_equal(canon.n_rows, 0);
    foreign_fixture_assert_error(
        status, MLCC_MISMATCH, "model.layers.3.mlp.down_proj.", part, text, other, NULL);
}

static void wrong_nibble_counts(void **state) {
    (void)state;
    const quant_foreign_layout *gemm = &quant_foreign_awq_gemm, *gemv = &quant_foreign_awq_gemv;
    const quant_foreign_layout *gptq = &quant_foreign_gptq;
    expect_refusal(
        weight_of(gemm, I32(64, 8), I32(2, 16), F16(2, 64)), nothing,
        "qzeros: ", "expected i32 or u32[2, 8] = [groups, N / 8] for layout awq-gemm",
        "found i32[2, 16]");
    expect_refusal(
        weight_of(gemm, I32(64, 8), I32(2, 8), F16(2, 60)), nothing,
        "scales: ", "[any, 64] = [groups, N]", "found f16[2, 60]");
    expect_refusal(
        weight_of(gemv, I32(64, 16), I32(64, 1), F16(64, 16)), nothing,
        "scales: ", "[64, 8] = [N, 8 * zero words]", "found f16[64, 16]");
    expect_refusal(
        weight_of(gptq, I32(16, 64), I32(1, 7), F16(1, 64)), nothing,
        "qzeros: ", "expected i32[1, 8] = [groups, N * bits / 32] for 4 bits", "found i32[1, 7]");
    expect_refusal(
        weight_of(gptq, I32(16, 63), I32(1, 8), F16(1, 64)), nothing,
        "qweight: ", "[any, 64] = [K * bits / 32, N]", "found i32[16, 63]");
    expect_refusal(
        weight_of(gptq, I32(16, 64), I32(1, 6), F16(1, 64)), nothing,
        "qweight: ", "16 rows of words", "a multiple of 3");
    expect_refusal(
        weight_of(&quant_foreign_awq_marlin, I32(8, 120), F16(1, 64), ABSENT), nothing,
        "qweight: ", "[any, 128] = [K / 16, 2 * N]", "found i32[8, 120]");
    expect_refusal(
        weight_of(&quant_foreign_awq_marlin, I32(8, 64), F16(1, 32), ABSENT), nothing,
        "scales: ", "N = 32", "a multiple of 64");
    expect_refusal(
        weight_of(
            &quant_foreign_awq_gemv_fast, (quant_foreign_tensor){NULL, IR_I16, 2, {16, 96}},
            F16(8, 64), F16(8, 64)),
        nothing, "qweight: ", "K = 96", "a multiple of 64");
    expect_refusal(
        weight_of(&quant_foreign_ct_packed, I32(64, 8), F16(32, 1), ABSENT), nothing,
        "weight_scale: ", "[64, any] = [N, groups]", "found f16[32, 1]");
}

static void wrong_types_and_ranks(void **state) {
    (void)state;
    quant_foreign_tensor qweight = I32(64, 8);
    qweight.dtype = IR_I16;
    expect_refusal(
        weight_of(&quant_foreign_awq_gemm, qweight, I32(2, 8), F16(2, 64)), nothing,
        "qweight: ", "expected i32 or u32[any, any] = [K, N / 8]", "found i16[64, 8]");
    quant_foreign_tensor scales = F16(2, 64);
    scales.dtype = IR_I32;
    expect_refusal(
        weight_of(&quant_foreign_awq_gemm, I32(64, 8), I32(2, 8), scales), nothing,
        "scales: ", "f32 or f16 or bf16", "found i32[2, 64]");
    scales = (quant_foreign_tensor){NULL, IR_F16, 1, {64}};
    expect_refusal(
        weight_of(&quant_foreign_gptq, I32(8, 64), I32(1, 8), scales), nothing,
        "scales: ", "[any, any]", "found f16[64]");
    scales = (quant_foreign_tensor){NULL, IR_F16, 4, {1, 1, 1, 64}};
    expect_refusal(
        weight_of(&quant_foreign_gptq, I32(8, 64), I32(1, 8), scales), nothing,
        "scales: ", "at most 2 dimensions", "found 4");
    quant_foreign_weight map = weight_of(&quant_foreign_gptq, I32(8, 64), I32(1, 8), F16(1, 64));
    map.parts[3] = (quant_foreign_tensor){NULL, IR_I32, 1, {63}};
    expect_refusal(map, nothing, "g_idx: ", "expected i32[64] = [K]", "found i32[63]");
}

static void impossible_dimensions(void **state) {
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const int64_t bad = i == 0 ? 0 : i == 1 ? -4 : INT64_MAX;
        expect_refusal(
            weight_of(&quant_foreign_awq_gemm, I32(64, bad), I32(2, 8), F16(2, 64)), nothing,
            "qweight: ", "dimension 1 is ", "expected 1 to 2147483647");
        expect_refusal(
            weight_of(&quant_foreign_gptq, I32(8, 64), I32(1, 8), F16(bad, 64)), nothing,
            "scales: ", "dimension 0 is ", "expected 1 to 2147483647");
    }
    // Each dimension of the words is fine, but K is not.
    quant_foreign_weight large =
        weight_of(&quant_foreign_ct_packed, I32(4, INT32_MAX / 4), F16(4, 1), ABSENT);
    quant_canon canon;
    foreign_fixture_assert_error(
        large.layout->describe(&large, &(quant_foreign_hints){.bits = 4}, &canon), MLCC_MISMATCH,
        "4 x 4294967288 elements", "at most 2147483647", NULL);
}

static void missing_parts(void **state) {
    (void)state;
    expect_refusal(
        weight_of(&quant_foreign_awq_gemm, I32(64, 8), ABSENT, F16(2, 64)), nothing,
        "qzeros: ", "missing", "awq-gemm needs it");
    expect_refusal(
        weight_of(&quant_foreign_gptq, I32(8, 64), ABSENT, F16(2, 64)), nothing,
        "qzeros: ", "missing", "gptq needs it");
    expect_refusal(
        weight_of(&quant_foreign_ct_packed, I32(8, 64), ABSENT, ABSENT), nothing,
        "weight_scale: ", "missing", "ct-pack-quantized needs it");
    expect_refusal(
        weight_of(
            &quant_foreign_fp8_block, (quant_foreign_tensor){NULL, IR_F8E4M3, 2, {64, 64}}, ABSENT,
            ABSENT),
        nothing, "weight_scale_inv: ", "missing", "fp8-block needs it");
}

static void groups(void **state) {
    (void)state;
    const quant_foreign_weight gemm =
        weight_of(&quant_foreign_awq_gemm, I32(128, 8), I32(4, 8), F16(4, 64));
    assert_int_equal(described(&gemm, &nothing).group, 32);
    assert_int_equal(described(&gemm, &(quant_foreign_hints){.group_size = 32}).n_groups, 4);
    expect_refusal(
        gemm, (quant_foreign_hints){.group_size = 64}, "scales: ", "f16[4, 64] holds 4 groups",
        "group size 64 of the configuration makes 2");
    expect_refusal(
        gemm, (quant_foreign_hints){.group_size = -1}, "scales: ", "holds 4 groups",
        "group size -1 of the configuration makes 1");
    expect_refusal(
        gemm, (quant_foreign_hints){.group_size = 48},
        "scales: ", "group size 48 of the configuration does not divide K = 128",
        "found f16[4, 64]");
    expect_refusal(
        weight_of(&quant_foreign_awq_gemm, I32(128, 8), I32(3, 8), F16(3, 64)), nothing,
        "scales: ", "holds 3 groups", "do not divide K = 128");
    const quant_foreign_weight row =
        weight_of(&quant_foreign_awq_gemm, I32(172, 8), I32(1, 8), F16(1, 64));
    assert_int_equal(described(&row, &(quant_foreign_hints){.group_size = -1}).group, 172);
    // GPTQ rounds the number of groups up, also where the group is longer than the row.
    const quant_foreign_weight tail =
        weight_of(&quant_foreign_gptq, I32(20, 64), I32(2, 8), F16(2, 64));
    assert_int_equal(described(&tail, &(quant_foreign_hints){.group_size = 128}).group, 128);
    assert_int_equal(described(&tail, &nothing).group, 80);
    const quant_foreign_weight odd =
        weight_of(&quant_foreign_gptq, I32(21, 64), I32(3, 8), F16(3, 64)); // K = 168
    assert_int_equal(described(&odd, &(quant_foreign_hints){.group_size = 64}).group, 64);
    const quant_foreign_weight uneven =
        weight_of(&quant_foreign_gptq, I32(20, 64), I32(3, 8), F16(3, 64)); // K = 160
    assert_int_equal(described(&uneven, &nothing).group, 64);
    const quant_foreign_weight shorter =
        weight_of(&quant_foreign_gptq, I32(8, 64), I32(1, 8), F16(1, 64));
    assert_int_equal(described(&shorter, &(quant_foreign_hints){.group_size = 128}).group, 64);
    expect_refusal(
        tail, (quant_foreign_hints){.group_size = 32}, "scales: ", "holds 2 groups of K = 160",
        "makes 5");
}

static void padded_groups(void **state) {
    (void)state;
    const quant_foreign_layout *gemv = &quant_foreign_awq_gemv;
    const quant_foreign_weight wide = weight_of(gemv, I32(16, 1376), I32(16, 11), F16(16, 88));
    quant_canon canon = described(&wide, &nothing);
    assert_int_equal(canon.group, 128);
    assert_int_equal(canon.n_groups, 86);
    expect_refusal(
        wide, (quant_foreign_hints){.group_size = 64}, "scales: ", "f16[16, 88] is padded to 88",
        "group size 64 of the configuration needs 176");
    expect_refusal(
        wide, (quant_foreign_hints){.group_size = 43}, "scales: ", "group size 43",
        "groups of 32, 64, or 128 and more");
    expect_refusal(
        wide, (quant_foreign_hints){.group_size = 100}, "scales: ", "group size 100",
        "does not divide K = 11008");
    expect_refusal(
        weight_of(gemv, I32(16, 16), I32(16, 3), F16(16, 24)), nothing,
        "scales: ", "f16[16, 24] is padded to 24 groups", "K = 128");
    // Several groups of 128 and more share the number of words.
    const quant_foreign_weight open = weight_of(gemv, I32(16, 128), I32(16, 1), F16(16, 8));
    assert_int_equal(described(&open, &nothing).group, 128);
    assert_int_equal(described(&open, &(quant_foreign_hints){.group_size = 512}).n_groups, 2);
    assert_int_equal(described(&open, &(quant_foreign_hints){.group_size = -1}).group, 1024);
}

static void bits(void **state) {
    (void)state;
    expect_refusal(
        weight_of(&quant_foreign_awq_gemm, I32(128, 8), I32(4, 8), F16(4, 64)),
        (quant_foreign_hints){.bits = 3}, "qweight: ", "holds 4-bit codes",
        "configuration says 3 bits");
    expect_refusal(
        weight_of(&quant_foreign_gptq, I32(32, 64), I32(4, 16), F16(4, 64)),
        (quant_foreign_hints){.bits = 4}, "qzeros: ", "holds 8-bit codes",
        "configuration says 4 bits");
    const quant_foreign_layout *packed = &quant_foreign_ct_packed;
    expect_refusal(
        weight_of(packed, I32(64, 16), F16(64, 1), ABSENT), (quant_foreign_hints){.bits = 3},
        "weight_packed: ", "says 3 bits", "4 or 8");
    // Zero points tell the bits of compressed-tensors, and so does the group size.
    const quant_foreign_weight zeros = weight_of(packed, I32(64, 16), F16(64, 1), I32(16, 1));
    assert_int_equal(described(&zeros, &nothing).bits, 8);
    expect_refusal(
        zeros, (quant_foreign_hints){.bits = 4}, "weight_packed: ", "holds 8-bit codes",
        "says 4 bits");
    const quant_foreign_weight scales = weight_of(packed, I32(64, 16), F16(64, 2), ABSENT);
    assert_int_equal(described(&scales, &(quant_foreign_hints){.group_size = 32}).bits, 8);
    assert_int_equal(described(&scales, &(quant_foreign_hints){.group_size = 64}).bits, 4);
    const int64_t shape[2] = {64, 61};
    quant_foreign_weight shaped = scales;
    shaped.parts[4] = (quant_foreign_tensor){shape, IR_I64, 1, {2}};
    expect_refusal(
        shaped, (quant_foreign_hints){.bits = 4}, "weight_packed: ", "holds 8-bit codes",
        "says 4 bits");
    assert_int_equal(described(&shaped, &(quant_foreign_hints){.group_size = 32}).columns, 61);
    const int64_t other[2] = {63, 128};
    shaped.parts[4].data = other;
    expect_refusal(
        shaped, nothing, "weight_shape: ", "says [63, 128]",
        "weight_packed i32[64, 16] holds 64 rows");
}

static void float8_blocks(void **state) {
    (void)state;
    const quant_foreign_tensor codes = {NULL, IR_F8E4M3, 2, {200, 300}};
    quant_foreign_tensor scale = {NULL, IR_F32, 2, {2, 3}};
    quant_foreign_weight weight = weight_of(&quant_foreign_fp8_block, codes, scale, ABSENT);
    assert_int_equal(described(&weight, &nothing).group, 128);
    weight.parts[1].dims[1] = 2;
    expect_refusal(
        weight, nothing, "weight_scale_inv: ",
        "expected [2, 3] for blocks of 128 x 128 (the usual size) of weight f8e4m3[200, 300]",
        "found f32[2, 2]");
    expect_refusal(
        weight, (quant_foreign_hints){.block_rows = 64, .block_columns = 150},
        "weight_scale_inv: ", "expected [4, 2] for blocks of 64 x 150 (weight_block_size",
        "found f32[2, 2]");
    const quant_foreign_hints named = {.block_rows = 100, .block_columns = 150};
    assert_int_equal(described(&weight, &named).group, 150);
    weight = weight_of(&quant_foreign_fp8_tensor, codes, scale, ABSENT);
    expect_refusal(weight, nothing, "weight_scale: ", "one number", "found f32[2, 3]");
    weight.parts[1] = (quant_foreign_tensor){NULL, IR_BF16, 0, {0}};
    assert_int_equal(described(&weight, &nothing).n_groups, 1);
    weight.layout = &quant_foreign_fp8_channel;
    weight.parts[1] = (quant_foreign_tensor){NULL, IR_BF16, 2, {200, 2}};
    expect_refusal(weight, nothing, "weight_scale: ", "[200, 1]", "found bf16[200, 2]");
    weight.parts[0].dtype = IR_F16;
    expect_refusal(weight, nothing, "weight: ", "expected f8e4m3 or f8e5m2", "found f16[200, 300]");
}

static const quant_foreign_layout *detected(
    const char *const *suffixes, const quant_foreign_tensor *tensors, size_t n, const char *hint) {
    return quant_foreign_detect(suffixes, tensors, n, hint);
}

static void detection(void **state) {
    (void)state;
    const char *const words[] = {"qweight", "scales", "qzeros", "g_idx"};
    const quant_foreign_tensor gptq[] = {
        I32(16, 128), F16(1, 128), I32(1, 16), {NULL, IR_I32, 1, {128}}};
    assert_ptr_equal(detected(words, gptq, 4, NULL), &quant_foreign_gptq);
    assert_ptr_equal(detected(words, gptq, 4, "gptq_v2"), &quant_foreign_gptq_v2);
    assert_ptr_equal(detected(words, gptq, 3, "gemm"), &quant_foreign_gptq); // shapes win
    // gemm's shapes, but with an act-order map: of no layout.
    const quant_foreign_tensor gemm[] = {I32(128, 16), F16(1, 128), I32(1, 16), gptq[3]};
    assert_ptr_equal(detected(words, gemm, 3, "gptq"), &quant_foreign_awq_gemm);
    assert_null(detected(words, gemm, 4, NULL));
    const quant_foreign_tensor gemv[] = {I32(128, 16), F16(128, 8), I32(128, 1)};
    assert_ptr_equal(detected(words, gemv, 3, NULL), &quant_foreign_awq_gemv);
    // Tiny: as gptq these would be groups of 8, as gemm groups of one.
    const quant_foreign_tensor tiny[] = {I32(64, 32), F16(64, 32), I32(64, 4)};
    assert_ptr_equal(detected(words, tiny, 3, NULL), &quant_foreign_awq_gemv);
    const quant_foreign_tensor single[] = {I32(64, 4), F16(64, 32), I32(64, 4)};
    assert_ptr_equal(detected(words, single, 3, NULL), &quant_foreign_awq_gemv);
    // Marlin has no zeros: with zeros it is something else, or nothing.
    const quant_foreign_tensor marlin[] = {I32(8, 128), F16(1, 64), I32(1, 8)};
    assert_ptr_equal(detected(words, marlin, 2, NULL), &quant_foreign_awq_marlin);
    assert_null(detected(words, marlin, 3, NULL));

    const char *const float8[] = {"weight", "weight_scale", "bias", "input_scale"};
    quant_foreign_tensor parts[] = {
        {NULL, IR_F8E4M3, 2, {64, 256}},
        {NULL, IR_F32, 1, {1}},
        {NULL, IR_F16, 1, {64}},
        {NULL, IR_F32, 1, {1}}};
    assert_ptr_equal(detected(float8, parts, 4, NULL), &quant_foreign_fp8_tensor);
    parts[1] = (quant_foreign_tensor){NULL, IR_F32, 2, {64, 1}};
    assert_ptr_equal(detected(float8, parts, 4, NULL), &quant_foreign_fp8_channel);
    parts[1] = (quant_foreign_tensor){NULL, IR_F32, 2, {1, 2}};
    assert_ptr_equal(detected(float8, parts, 4, "float-quantized"), &quant_foreign_fp8_block);
    parts[0].dtype = IR_I8;
    parts[1] = (quant_foreign_tensor){NULL, IR_F32, 2, {64, 1}};
    assert_ptr_equal(detected(float8, parts, 4, NULL), &quant_foreign_ct_int);
    parts[0].dtype = IR_F16;
    assert_null(detected(float8, parts, 4, NULL));
    assert_null(detected(float8, parts, 1, NULL)); // a plain weight
    assert_null(detected(NULL, NULL, 0, NULL));
}

static void the_table(void **state) {
    (void)state;
    size_t n = 0;
    const quant_foreign_layout *const *layouts = quant_foreign_layouts(&n);
    assert_int_equal(n, 11);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(quant_foreign_find(layouts[i]->name), layouts[i]);
        assert_non_null(layouts[i]->describe);
        assert_non_null(layouts[i]->check);
        assert_non_null(layouts[i]->unpack);
        assert_non_null(layouts[i]->pack);
        assert_true(quant_foreign_is_of(layouts[i], layouts[i]->family));
        for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS && layouts[i]->parts[p].suffix != NULL; p++)
            assert_true(quant_foreign_knows(layouts[i]->parts[p].suffix));
    }
    assert_null(quant_foreign_find("awq"));
    assert_true(quant_foreign_is_of(&quant_foreign_awq_marlin, "gptq"));
    assert_true(quant_foreign_is_of(&quant_foreign_fp8_channel, "compressed-tensors"));
    assert_false(quant_foreign_is_of(&quant_foreign_gptq, "awq"));
    assert_true(quant_foreign_knows("scaled_zeros"));
    assert_true(quant_foreign_knows("B"));
    assert_false(quant_foreign_knows("bias"));
}

static void explanations(void **state) {
    (void)state;
    const char *const words[] = {"bias", "qweight", "scales"};
    const quant_foreign_tensor gemm[] = {{NULL, IR_F16, 1, {128}}, I32(256, 16), F16(2, 128)};
    foreign_fixture_assert_error(
        quant_foreign_explain("model.x", words, gemm, 3, NULL, "gemm", &nothing), MLCC_MISMATCH,
        "model.x: no layout of quantized weights fits qweight i32[256, 16], scales f16[2, 128]",
        "nearest is awq-gemm: model.x.qzeros: missing", NULL);
    foreign_fixture_assert_error(
        quant_foreign_explain("model.x", words, gemm, 3, "gptq", NULL, &nothing), MLCC_MISMATCH,
        "no gptq layout", "nearest is ", NULL);
    const char *const mixed[] = {"qweight", "scales", "qzeros", "g_idx"};
    const quant_foreign_tensor parts[] = {
        I32(256, 16), F16(2, 128), I32(2, 16), {NULL, IR_I32, 1, {256}}};
    foreign_fixture_assert_error(
        quant_foreign_explain("model.x", mixed, parts, 4, "awq", NULL, &nothing), MLCC_MISMATCH,
        "g_idx i32[256]", "parts of another layout", NULL);
    foreign_fixture_assert_error(
        quant_foreign_explain("model.x", mixed, parts, 0, "none", NULL, &nothing), MLCC_MISMATCH,
        "model.x", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_nibble_counts),
        cmocka_unit_test(wrong_types_and_ranks),
        cmocka_unit_test(impossible_dimensions),
        cmocka_unit_test(missing_parts),
        cmocka_unit_test(groups),
        cmocka_unit_test(padded_groups),
        cmocka_unit_test(bits),
        cmocka_unit_test(float8_blocks),
        cmocka_unit_test(detection),
        cmocka_unit_test(the_table),
        cmocka_unit_test(explanations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
