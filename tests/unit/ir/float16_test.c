// float16: every 16-bit code there and back; rounding against an oracle that looks for the nearest
// code by exact arithmetic in double.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/random_module.h"

// The value of a 16-bit float by definition: sign, exponent and fraction fields, in double (exact).
// Infinity counts as the next power of two, as IEEE 754 rounding does.
static double value_of_code(uint32_t code, int exponent_bits, int fraction_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(code >> fraction_bits) & ((1 << exponent_bits) - 1);
    double fraction = (double)(code & ((1u << fraction_bits) - 1));
    double unit = ldexp(1.0, -fraction_bits);
    if (exponent == 0) return ldexp(fraction * unit, 1 - bias);
    return ldexp(1.0 + fraction * unit, exponent - bias);
}

// Nearest non-negative code by bisection over the ordered codes, ties to the even one.
static uint32_t nearest_code(double magnitude, int exponent_bits, int fraction_bits) {
    uint32_t low = 0;
    uint32_t high = ((1u << exponent_bits) - 1) << fraction_bits; // infinity
    if (magnitude >= value_of_code(high, exponent_bits, fraction_bits)) return high;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (value_of_code(middle, exponent_bits, fraction_bits) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    double below = magnitude - value_of_code(low, exponent_bits, fraction_bits);
    double above = value_of_code(high, exponent_bits, fraction_bits) - magnitude;
    if (below != above) return below < above ? low : high;
    return (low & 1) == 0 ? low : high;
}

static float float_of(uint32_t bits) {
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void check_rounding(uint32_t bits) {
    float value = float_of(bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (isnan(value)) {
        assert_true(isnan(ir_f16_to_f32(ir_f32_to_f16(value))));
        assert_true(isnan(ir_bf16_to_f32(ir_f32_to_bf16(value))));
        assert_int_equal(ir_f32_to_f16(value) & 0x8000, sign);
        assert_int_equal(ir_f32_to_bf16(value) & 0x8000, sign);
        return;
    }
    double magnitude = fabs((double)value);
    assert_int_equal(ir_f32_to_f16(value), sign | nearest_code(magnitude, 5, 10));
    assert_int_equal(ir_f32_to_bf16(value), sign | nearest_code(magnitude, 8, 7));
}

static void every_f16_code(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0xffff; code++) {
        float value = ir_f16_to_f32((uint16_t)code);
        uint32_t magnitude = code & 0x7fff;
        if (magnitude > 0x7c00) {
            assert_true(isnan(value));
            // Quiet NaNs keep their bits, signalling ones become quiet.
            assert_int_equal(ir_f32_to_f16(value), code | 0x200);
            continue;
        }
        double expected = magnitude == 0x7c00 ? HUGE_VAL : value_of_code(magnitude, 5, 10);
        assert_true(fabs((double)value) == expected);
        assert_int_equal(signbit(value) != 0, code >> 15);
        assert_int_equal(ir_f32_to_f16(value), code);
    }
}

static void every_bf16_code(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0xffff; code++) {
        float value = ir_bf16_to_f32((uint16_t)code);
        assert_int_equal(bits_of(value), code << 16);
        bool nan = (code & 0x7fff) > 0x7f80;
        assert_int_equal(ir_f32_to_bf16(value), nan ? code | 0x40 : code);
    }
}

// Every tie and both its neighbours in binary32, for both formats.
static void ties_go_to_even(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x7c00; code++) {
        double low = value_of_code(code, 5, 10);
        double high = value_of_code(code + 1, 5, 10);
        uint32_t tie = bits_of((float)((low + high) / 2));
        for (uint32_t sign = 0; sign <= 1; sign++) {
            uint32_t bits = tie | sign << 31;
            check_rounding(bits);
            check_rounding(bits - 1);
            check_rounding(bits + 1);
        }
    }
    for (uint32_t code = 0; code < 0x7f80; code++) {
        uint32_t tie = code << 16 | 0x8000;
        check_rounding(tie);
        check_rounding(tie - 1);
        check_rounding(tie + 1);
        check_rounding(tie | 0x80000000);
    }
}

static void random_bits(void **state) {
    (void)state;
    random_state random = {42};
    for (int i = 0; i < 300000; i++) check_rounding((uint32_t)random_u64(&random));
}

static void known_codes(void **state) {
    (void)state;
    assert_int_equal(ir_f32_to_f16(1.0f), 0x3c00);
    assert_int_equal(ir_f32_to_f16(65504.0f), 0x7bff);
    assert_int_equal(ir_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(ir_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(ir_f32_to_f16(0x1p-24f), 0x0001);
    assert_int_equal(ir_f32_to_f16(0x1p-25f), 0x0000);
    assert_int_equal(ir_f32_to_f16(0x1.000002p-25f), 0x0001);
    assert_int_equal(ir_f32_to_bf16(3.14159274f), 0x4049);
    assert_true(ir_round_to(IR_F16, 0.1f) == 0.0999755859375f);
    assert_true(ir_round_to(IR_BF16, 0.1f) == 0.10009765625f);
    assert_true(ir_round_to(IR_F32, 0.1f) == 0.1f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_code),  cmocka_unit_test(every_bf16_code),
        cmocka_unit_test(ties_go_to_even), cmocka_unit_test(random_bits),
        cmocka_unit_test(known_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
