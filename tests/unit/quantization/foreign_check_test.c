// What only the data tells: scales, act-order maps, scaled zeros, padding, and LLMC's missing zeros.
#include "quantization/foreign/layouts.h"
#include "quantization/round.h"
#include "runtime/base/log.h"
#include "tests/support/foreign_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static mlcc_arena *keep;
static char warning[512];

static void remember(void *user, mlcc_log_level level, const char *area, const char *message) {
    (void)user, (void)area;
    if (level == MLCC_LOG_WARN) snprintf(warning, sizeof warning, "%s", message);
}

static int set_up(void **state) {
    (void)state;
    keep = mlcc_arena_create();
    mlcc_log_set(remember, NULL, MLCC_LOG_WARN);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mlcc_log_set(NULL, NULL, MLCC_LOG_WARN);
    mlcc_arena_free(keep);
    return 0;
}

static const quant_foreign_hints nothing = {0};

static quant_foreign_weight packed(const foreign_fixture *weight, const char *layout_name) {
    quant_foreign_weight stored = {.name = "model.x"};
    assert_null(
        quant_foreign_find(layout_name)->pack(&weight->canon, &weight->rows, keep, &stored));
    return stored;
}

// The data of a part, writable: it lies in `keep`.
static void *data_of(quant_foreign_weight *weight, int32_t part) {
    void *data = NULL;
    memcpy(&data, &weight->parts[part].data, sizeof data);
    return data;
}

static mlcc_status *checked(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    assert_null(weight->layout->describe(weight, hints, canon));
    return weight->layout->check(weight, hints, canon, keep);
}

static void scales_must_be_finite(void **state) {
    (void)state;
    static const struct {
        const char *layout, *part;
        int32_t index;
    } cases[] = {{"awq-gemm", "scales[", 2},      {"awq-gemv", "scales[", 2},
                 {"awq-gemv-fast", "scales[", 2}, {"awq-gemv-fast", "qzeros[", 1},
                 {"awq-marlin", "scales[", 1},    {"gptq", "scales[", 2},
                 {"gptq-v2", "scales[", 2},       {"ct-pack-quantized", "weight_scale[", 1}};
    static const struct {
        uint16_t bits;
        const char *text;
    } bad[] = {{0x7e01, "nan"}, {0x7c00, " inf"}, {0xfc00, "-inf"}};
    const foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = 64, .columns = 256, .group = 32, .is_symmetric = true});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < 3; k++) {
            quant_foreign_weight stored = packed(&weight, cases[i].layout);
            const quant_foreign_tensor *part = &stored.parts[cases[i].index];
            const int64_t row = part->dims[0] - 1, column = part->dims[1] / 2 + 1;
            uint16_t *data = data_of(&stored, cases[i].index);
            data[row * part->dims[1] + column] = bad[k].bits;
            char place[64];
            snprintf(place, sizeof place, "%lld, %lld] is", (long long)row, (long long)column);
            quant_canon canon;
            foreign_fixture_assert_error(
                checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.", cases[i].part, place,
                bad[k].text, NULL);
            // Without data there is nothing to find.
            for (int32_t p = 0; p < 3; p++) stored.parts[p].data = NULL;
            assert_null(checked(&stored, &nothing, &canon));
        }
    }
}

static void float8_scales(void **state) {
    (void)state;
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 5, .columns = 7, .bits = 8});
    memset(weight.rows.zeros, 0, 5 * sizeof(int16_t));
    weight.canon.kind = QUANT_CANON_E4M3;
    weight.rows.scales[3] = NAN;
    quant_foreign_weight stored = packed(&weight, "fp8-channel");
    quant_canon canon;
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.weight_scale[3, 0] is nan",
        NULL);
    const float scale = -INFINITY;
    stored.layout = &quant_foreign_fp8_tensor;
    stored.parts[1] = (quant_foreign_tensor){&scale, IR_F32, 0, {0}};
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.weight_scale is -inf", NULL);
}

static void maps(void **state) {
    (void)state;
    const foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = 64, .columns = 128, .group = 32, .is_symmetric = true});
    quant_canon canon;
    quant_foreign_weight stored = packed(&weight, "gptq");
    int32_t *map = data_of(&stored, 3);
    assert_null(checked(&stored, &nothing, &canon));
    assert_null(canon.group_of_column); // k div group: none
    map[70] = 4;
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID,
        "model.x.g_idx[70] is 4, expected a group from 0 to 3", NULL);
    map[70] = -1;
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.g_idx[70] is -1", NULL);
    map[70] = 0;
    assert_null(checked(&stored, &nothing, &canon));
    assert_ptr_equal(canon.group_of_column, map);

    stored = packed(&weight, "ct-pack-quantized");
    int32_t unset[128];
    for (int i = 0; i < 128; i++) unset[i] = -1;
    stored.parts[3] = (quant_foreign_tensor){unset, IR_I32, 1, {128}};
    assert_null(checked(&stored, &nothing, &canon));
    assert_null(canon.group_of_column);
    unset[127] = 3;
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.weight_g_idx[0] is -1", NULL);
}

// 160 columns in two groups: 80 and 80, or 128 and 32.
static void open_groups(void **state) {
    (void)state;
    const foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){
                  .n_rows = 16, .columns = 160, .group = 128, .is_symmetric = true});
    quant_foreign_weight stored = packed(&weight, "gptq");
    quant_canon canon;
    // With the map it is read right whatever the group is taken for.
    const foreign_fixture read = foreign_fixture_read(keep, &stored, &nothing, 0);
    assert_non_null(read.canon.group_of_column);
    float expected[16 * 160], found[16 * 160];
    quant_canon_decode(&weight.canon, &weight.rows, expected);
    quant_canon_decode(&read.canon, &read.rows, found);
    assert_memory_equal(expected, found, sizeof expected);
    stored.parts[3].rank = -1;
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.scales",
        "groups of 80 or of 128", "group_size", NULL);
    assert_null(checked(&stored, &(quant_foreign_hints){.group_size = 128}, &canon));
}

static void scaled_zeros(void **state) {
    (void)state;
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 8, .columns = 128, .group = 64, .seed = 8});
    weight.rows.zeros[0] = 0;
    quant_foreign_weight stored = packed(&weight, "awq-gemv-fast");
    uint16_t *zeros = data_of(&stored, 1), *scales = data_of(&stored, 2);
    quant_canon canon;
    assert_int_equal(zeros[0] & 0x7fff, 0);
    zeros[0] = 0; // 0 or -0: both are - scale * 0
    assert_null(checked(&stored, &nothing, &canon));
    zeros[0] = 0x8000;
    assert_null(checked(&stored, &nothing, &canon));
    const uint16_t kept = zeros[11];
    zeros[11] = (uint16_t)(kept ^ 1u);
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.qzeros[1, 3] is ",
        "expected - scale * zero with scale ", NULL);
    // 16 times the scale is no zero of four bits.
    zeros[11] = quant_f32_to_f16(-16.0f * quant_f16_to_f32(scales[11]));
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.qzeros[1, 3]", "0 to 15", NULL);
    zeros[11] = kept;
    // A scale of zero: only a zero that gives zero is consistent.
    scales[11] = 0;
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "model.x.qzeros[1, 3]", "scale 0", NULL);
    zeros[11] = 0;
    const foreign_fixture read = foreign_fixture_read(keep, &stored, &nothing, 3);
    assert_int_equal(read.rows.zeros[3 * 2 + 1], 0);
    assert_true(read.rows.scales[3 * 2 + 1] == 0.0f);
}

// Without a configured group size the padding tells it.
static void padding_tells_the_group(void **state) {
    (void)state;
    static const char *const names[] = {"awq-gemv", "awq-gemv-fast"};
    for (int64_t group = 128; group <= 1024; group *= 2) {
        const foreign_fixture weight = foreign_fixture_make(
            keep, &(foreign_fixture_options){
                      .n_rows = 8, .columns = 1024, .group = group, .seed = (uint64_t)group});
        for (size_t i = 0; i < 2; i++) {
            quant_foreign_weight stored = packed(&weight, names[i]);
            const foreign_fixture read = foreign_fixture_read(keep, &stored, &nothing, 0);
            foreign_fixture_assert_equal(&weight, &read);
            if (group == 1024) continue;
            quant_canon canon;
            const quant_foreign_hints wrong = {.group_size = 2 * group};
            foreign_fixture_assert_error(
                checked(&stored, &wrong, &canon), MLCC_INVALID, "model.x.scales: group ",
                "has scales, expected zeros from group ", NULL);
        }
    }
}

// As LLMC's gemv_pack writes: the word of the last G mod 8 groups stays zero.
static quant_foreign_weight without_last_zeros(const foreign_fixture *weight) {
    quant_foreign_weight stored = packed(weight, "awq-gemv");
    const int64_t zero_words = stored.parts[1].dims[1];
    uint32_t *words = data_of(&stored, 1);
    for (int64_t n = 0; n < weight->canon.n_rows; n++)
        words[n * zero_words + weight->canon.n_groups / 8] = 0;
    return stored;
}

static void missing_zeros(void **state) {
    (void)state;
    foreign_fixture_options options = {
        .n_rows = 16, .columns = 1408, .group = 128, .is_symmetric = true}; // 11 groups
    quant_canon canon;
    foreign_fixture weight = foreign_fixture_make(keep, &options);
    quant_foreign_weight stored = without_last_zeros(&weight);
    const void *before = stored.parts[1].data;
    warning[0] = '\0';
    const foreign_fixture read = foreign_fixture_read(keep, &stored, &nothing, 0);
    foreign_fixture_assert_equal(&weight, &read); // repaired: all other zeros are 8
    assert_ptr_not_equal(stored.parts[1].data, before);
    assert_non_null(strstr(warning, "model.x.qzeros: zeros of the last 3 of 11 groups"));
    assert_non_null(strstr(warning, "all others are"));

    options.is_symmetric = false;
    options.min_zero = 1;
    weight = foreign_fixture_make(keep, &options);
    stored = without_last_zeros(&weight);
    const quant_foreign_hints llmc = {.bits = 4, .group_size = 128, .is_llmc_gemv = true};
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID,
        "model.x.qzeros: zeros of the last 3 of 11 groups are missing", "gemm_pack", NULL);
    foreign_fixture_assert_error(
        checked(&stored, &llmc, &canon), MLCC_INVALID, "model.x.qzeros", NULL);
    // One row that has them: they were stored.
    uint32_t *words = data_of(&stored, 1);
    words[5 * 2 + 1] = 0x123;
    assert_null(checked(&stored, &llmc, &canon));

    // No full word to judge by: only the configuration can say it.
    options =
        (foreign_fixture_options){.n_rows = 16, .columns = 512, .group = 128, .is_symmetric = true};
    weight = foreign_fixture_make(keep, &options);
    stored = without_last_zeros(&weight);
    foreign_fixture_assert_error(
        checked(&stored, &nothing, &canon), MLCC_INVALID, "zeros of the last 4 of 4 groups", NULL);
    const quant_foreign_hints symmetric = {.group_size = 128, .is_symmetric = true};
    const foreign_fixture again = foreign_fixture_read(keep, &stored, &symmetric, 0);
    foreign_fixture_assert_equal(&weight, &again);
    assert_non_null(strstr(warning, "the configuration says symmetric"));

    // Zeros that are 0 everywhere are no omission, unless the writer is known for it.
    options.columns = 1408;
    weight = foreign_fixture_make(keep, &options);
    memset(weight.rows.zeros, 0, 16 * 11 * sizeof(int16_t));
    stored = packed(&weight, "awq-gemv");
    assert_null(checked(&stored, &nothing, &canon));
    foreign_fixture_assert_error(checked(&stored, &llmc, &canon), MLCC_INVALID, "missing", NULL);
    // Groups without scales need no zeros.
    for (int64_t n = 0; n < 16; n++) memset(weight.rows.scales + n * 11 + 8, 0, 3 * sizeof(float));
    stored = without_last_zeros(&weight);
    assert_null(checked(&stored, &llmc, &canon));
}

static void writers_refuse(void **state) {
    (void)state;
    foreign_fixture weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 12, .columns = 96, .group = 48});
    quant_foreign_weight stored = {.name = "kept"};
    const quant_canon *canon = &weight.canon;
    const quant_canon_rows *rows = &weight.rows;
    foreign_fixture_assert_error(
        quant_foreign_awq_gemm.pack(canon, rows, keep, &stored), MLCC_UNSUPPORTED, "N = 12",
        "a multiple of 8", NULL);
    foreign_fixture_assert_error(
        quant_foreign_awq_gemv.pack(canon, rows, keep, &stored), MLCC_UNSUPPORTED, "groups of 48",
        "32, 64, or 128", NULL);
    foreign_fixture_assert_error(
        quant_foreign_awq_gemv_fast.pack(canon, rows, keep, &stored), MLCC_UNSUPPORTED, "K = 96",
        "a multiple of 64", NULL);
    foreign_fixture_assert_error(
        quant_foreign_ct_int.pack(canon, rows, keep, &stored), MLCC_UNSUPPORTED, "4-bit codes",
        NULL);
    foreign_fixture_assert_error(
        quant_foreign_fp8_tensor.pack(canon, rows, keep, &stored), MLCC_UNSUPPORTED,
        "integer codes", NULL);
    foreign_fixture_assert_error(
        quant_foreign_awq_marlin.pack(canon, rows, keep, &stored), MLCC_UNSUPPORTED, "N = 12",
        NULL);
    weight = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 64, .columns = 64, .group = 32, .seed = 1});
    foreign_fixture_assert_error(
        quant_foreign_awq_marlin.pack(&weight.canon, &weight.rows, keep, &stored), MLCC_UNSUPPORTED,
        "zero ", "8 to 8", NULL);
    weight.rows.codes[65] = 16;
    foreign_fixture_assert_error(
        quant_foreign_awq_gemm.pack(&weight.canon, &weight.rows, keep, &stored), MLCC_INVALID,
        "code [1, 1] is 16, expected 0 to 15 for 4 bits", NULL);
    weight.canon.kind = QUANT_CANON_E4M3;
    weight.canon.bits = 8;
    foreign_fixture_assert_error(
        quant_foreign_gptq.pack(&weight.canon, &weight.rows, keep, &stored), MLCC_UNSUPPORTED,
        "e4m3 codes", NULL);
    foreign_fixture_assert_error(
        quant_foreign_fp8_channel.pack(&weight.canon, &weight.rows, keep, &stored),
        MLCC_UNSUPPORTED, "2 scales a row", NULL);
    foreign_fixture_assert_error(
        quant_foreign_fp8_block.pack(&weight.canon, &weight.rows, keep, &stored), MLCC_UNSUPPORTED,
        "scales that differ within 32 output features", NULL);
    assert_string_equal(stored.name, "kept");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_must_be_finite),
        cmocka_unit_test(float8_scales),
        cmocka_unit_test(maps),
        cmocka_unit_test(open_groups),
        cmocka_unit_test(scaled_zeros),
        cmocka_unit_test(padding_tells_the_group),
        cmocka_unit_test(missing_zeros),
        cmocka_unit_test(writers_refuse),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
