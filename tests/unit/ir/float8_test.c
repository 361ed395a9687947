// float8: every code of both 8-bit formats, and rounding to them, against the definition.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/float8_oracle.h"
#include "tests/support/random_module.h"

typedef struct conversion {
    const float8_oracle *oracle;
    float (*decode)(uint8_t bits);
    uint8_t (*encode)(float value);
    uint8_t nan;
} conversion;

static const conversion conversions[] = {
    {&oracle_e4m3, ir_f8e4m3_to_f32, ir_f32_to_f8e4m3, 0x7f},
    {&oracle_e5m2, ir_f8e5m2_to_f32, ir_f32_to_f8e5m2, 0x7e},
};

static void check(const conversion *c, float value) {
    const uint8_t expected = oracle_code(c->oracle, value), got = c->encode(value);
    if (got != expected) fail_msg("%a: expected %02x, got %02x", (double)value, expected, got);
}

static void check_around(const conversion *c, float value) {
    check(c, value);
    check(c, nextafterf(value, INFINITY));
    check(c, nextafterf(value, -INFINITY));
}

static void every_code_decodes(void **state) {
    (void)state;
    for (int32_t i = 0; i < COUNT(conversions); i++) {
        const conversion *c = &conversions[i];
        for (int code = 0; code < 256; code++) {
            const double expected = oracle_value(c->oracle, (uint8_t)code);
            const float got = c->decode((uint8_t)code);
            assert_int_equal(signbit(got) != 0, code >> 7);
            if (isnan(expected)) {
                assert_true(isnan(got));
                assert_int_equal(c->encode(got), c->nan | (code & 0x80));
                continue;
            }
            assert_true((double)got == expected);
            if (isfinite(got)) assert_int_equal(c->encode(got), code);
        }
    }
    // The numbers that everybody quotes.
    assert_true(ir_f8e4m3_to_f32(0x7e) == 448.0f && ir_f8e4m3_to_f32(0x01) == 0x1p-9f);
    assert_true(ir_f8e5m2_to_f32(0x7b) == 57344.0f && ir_f8e5m2_to_f32(0x01) == 0x1p-16f);
    assert_true(isnan(ir_f8e4m3_to_f32(0xff)) && isinf(ir_f8e5m2_to_f32(0x7c)));
    assert_true(isnan(ir_f8e5m2_to_f32(0x7d)));
}

static void rounding_at_codes_and_midpoints(void **state) {
    (void)state;
    for (int32_t i = 0; i < COUNT(conversions); i++) {
        const conversion *c = &conversions[i];
        for (uint8_t code = 0; code < c->oracle->largest; code++) {
            const double a = oracle_value(c->oracle, code);
            const double b = oracle_value(c->oracle, (uint8_t)(code + 1));
            for (float sign = -1; sign <= 1; sign += 2) {
                check_around(c, sign * (float)a);
                check_around(c, sign * (float)((a + b) / 2));
                check(c, sign * (float)((3 * a + b) / 4));
            }
        }
    }
}

static void the_ends_of_the_range(void **state) {
    (void)state;
    static const float values[] = {0.0f,     -0.0f,    0x1p-149f, -0x1p-149f, 0x1p-126f, 0x1p-10f,
                                   0x1p-17f, 448.0f,   463.9f,    464.0f,     480.0f,    57344.0f,
                                   61440.0f, 65504.0f, 65536.0f,  3.4e38f,    INFINITY,  -INFINITY};
    for (int32_t i = 0; i < COUNT(conversions); i++) {
        for (int32_t j = 0; j < COUNT(values); j++) check_around(&conversions[i], values[j]);
        assert_int_equal(conversions[i].encode(NAN), conversions[i].nan);
        assert_int_equal(conversions[i].encode(-NAN), conversions[i].nan | 0x80);
    }
    assert_int_equal(ir_f32_to_f8e4m3(0.0f), 0x00);
    assert_int_equal(ir_f32_to_f8e4m3(-0.0f), 0x80);
    assert_int_equal(ir_f32_to_f8e4m3(1e30f), 0x7e);
    assert_int_equal(ir_f32_to_f8e5m2(-INFINITY), 0xfb);
}

static void every_half(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000u; bits++) {
        const float value = ir_f16_to_f32((uint16_t)bits);
        if (isnan(value)) continue;
        for (int32_t i = 0; i < COUNT(conversions); i++) check(&conversions[i], value);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_decodes),
        cmocka_unit_test(rounding_at_codes_and_midpoints),
        cmocka_unit_test(the_ends_of_the_range),
        cmocka_unit_test(every_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
