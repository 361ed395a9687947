// The canonical form: decode against its definition, groups, and sizes.
#include "quantization/canon.h"

#include "ir/eval.h"
#include "quantization/round.h"
#include "tests/support/foreign_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_decodes(const foreign_fixture *weight) {
    const quant_canon *canon = &weight->canon;
    float values[40 * 300];
    assert_true(canon->n_rows * canon->columns <= 40 * 300);
    quant_canon_decode(canon, &weight->rows, values);
    for (int64_t n = 0; n < canon->n_rows; n++) {
        for (int64_t k = 0; k < canon->columns; k++) {
            const int64_t j =
                canon->group_of_column != NULL ? canon->group_of_column[k] : k / canon->group;
            const uint8_t code = weight->rows.codes[n * canon->columns + k];
            const double zero = weight->rows.zeros[n * canon->n_groups + j];
            const double scale = (double)weight->rows.scales[n * canon->n_groups + j];
            const double whole = canon->kind == QUANT_CANON_INT    ? code - zero
                                 : canon->kind == QUANT_CANON_E4M3 ? (double)ir_f8e4m3_to_f32(code)
                                                                   : (double)ir_f8e5m2_to_f32(code);
            const float value = values[n * canon->columns + k];
            if (isnan(whole)) {
                assert_true(isnan(value));
            } else {
                assert_int_equal(quant_bits(value) << 1, quant_bits((float)(whole * scale)) << 1);
            }
        }
    }
}

static void decode_is_the_definition(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    static const int32_t widths[] = {2, 3, 4, 8};
    static const int64_t groups[] = {1, 32, 128, 0};
    for (size_t i = 0; i < 16; i++) {
        foreign_fixture_options options = {
            .n_rows = 7, .columns = 300, .group = groups[i % 4], .bits = widths[i / 4], .seed = i};
        const foreign_fixture plain = foreign_fixture_make(keep, &options);
        assert_decodes(&plain);
        options.has_map = true;
        const foreign_fixture mapped = foreign_fixture_make(keep, &options);
        assert_decodes(&mapped);
    }
    foreign_fixture bytes = foreign_fixture_make(
        keep, &(foreign_fixture_options){.n_rows = 40, .columns = 300, .group = 128, .bits = 8});
    bytes.canon.kind = QUANT_CANON_E4M3;
    assert_decodes(&bytes);
    bytes.canon.kind = QUANT_CANON_E5M2;
    assert_decodes(&bytes);
    bytes.canon.kind = QUANT_CANON_INT;
    bytes.rows.zeros[0] = 256; // GPTQ v1's field 255
    assert_decodes(&bytes);
    mlcc_arena_free(keep);
}

static void groups_within_groups(void **state) {
    (void)state;
    quant_canon canon = {QUANT_CANON_INT, 8, 256, 4, 64, 4, NULL};
    assert_true(quant_canon_has_groups_of(&canon, 32));
    assert_true(quant_canon_has_groups_of(&canon, 64));
    assert_false(quant_canon_has_groups_of(&canon, 128));
    assert_false(quant_canon_has_groups_of(&canon, 40));
    canon.group = 256;
    canon.n_groups = 1;
    assert_true(quant_canon_has_groups_of(&canon, 40)); // one group covers all columns
    assert_true(quant_canon_has_groups_of(&canon, 512));
    int32_t map[256];
    for (int32_t k = 0; k < 256; k++) map[k] = k / 64;
    canon = (quant_canon){QUANT_CANON_INT, 8, 256, 4, 64, 4, map};
    assert_true(quant_canon_has_groups_of(&canon, 32));
    map[255] = 0;
    assert_false(quant_canon_has_groups_of(&canon, 32));
}

static void sizes(void **state) {
    (void)state;
    size_t codes = 0, zeros = 0, scales = 0;
    quant_canon canon = {QUANT_CANON_INT, 512, 172, 4, 32, 6, NULL};
    assert_true(quant_canon_bytes(&canon, 10, &codes, &zeros, &scales));
    assert_int_equal(codes, 1720);
    assert_int_equal(zeros, 120);
    assert_int_equal(scales, 240);
    assert_false(quant_canon_bytes(&canon, -1, &codes, &zeros, &scales));
    canon.columns = INT64_MAX;
    assert_false(quant_canon_bytes(&canon, 3, &codes, &zeros, &scales));
    canon.columns = 1;
    canon.n_groups = INT64_MAX;
    assert_false(quant_canon_bytes(&canon, 1, &codes, &zeros, &scales));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_is_the_definition),
        cmocka_unit_test(groups_within_groups),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
