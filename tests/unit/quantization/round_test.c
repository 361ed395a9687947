// Branch-free conversions against the compiler's own _Float16, over every half and around every
// rounding boundary.
#include "quantization/round.h"

#include "ir/eval.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

__extension__ typedef _Float16 half;

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

static void check_f32_to_f16(uint32_t bits) {
    const float value = quant_float(bits);
    const uint16_t got = quant_f32_to_f16(value);
    if (isnan(value)) {
        assert_true((got & 0x7c00u) == 0x7c00u && (got & 0x3ffu) != 0 && (got & 0x200u) != 0);
        assert_int_equal(got >> 15, bits >> 31);
        return;
    }
    if (got != bits_of((half)value) || got != ir_f32_to_f16(value)) {
        fail_msg(
            "f32 %08x: got %04x, _Float16 %04x, ir %04x", bits, got, bits_of((half)value),
            ir_f32_to_f16(value));
    }
    assert_int_equal(quant_bits(quant_round_f16(value)), quant_bits(quant_f16_to_f32(got)));
}

static void every_half_widens_exactly(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000u; bits++) {
        const float got = quant_f16_to_f32((uint16_t)bits);
        const float expected = (float)half_of((uint16_t)bits);
        if (isnan(expected)) {
            assert_true(isnan(got));
        } else {
            assert_int_equal(quant_bits(got), quant_bits(expected));
            assert_int_equal(quant_f32_to_f16(got), bits);
        }
    }
}

static void rounding_around_every_boundary(void **state) {
    (void)state;
    for (uint32_t low = 0; low < 0x7c00u; low++) {
        // The number half way between two neighbours is exact in float32.
        const float a = quant_f16_to_f32((uint16_t)low);
        const float b = low == 0x7bffu ? 65536.0f : quant_f16_to_f32((uint16_t)(low + 1));
        const uint32_t middle = quant_bits(0.5f * (a + b));
        for (uint32_t step = 0; step < 3; step++) {
            check_f32_to_f16(middle - 1u + step);
            check_f32_to_f16((middle - 1u + step) | 0x80000000u);
        }
    }
}

static void rounding_over_the_whole_range(void **state) {
    (void)state;
    for (uint64_t bits = 0; bits < (1ull << 32); bits += 1021) check_f32_to_f16((uint32_t)bits);
    static const uint32_t special[] = {0,           0x80000000u, 1,           0x7f800000u,
                                       0xff800000u, 0x7f800001u, 0x7fffffffu, 0xffffffffu,
                                       0x7fc00000u, 0x477fefffu, 0x477ff000u};
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) check_f32_to_f16(special[i]);
}

static void bfloat16(void **state) {
    (void)state;
    for (uint64_t wide = 0; wide < (1ull << 32); wide += 1021) {
        const uint32_t bits = (uint32_t)wide;
        const float value = quant_float(bits);
        const uint16_t got = quant_f32_to_bf16(value);
        if (isnan(value)) {
            assert_true(isnan(quant_bf16_to_f32(got)));
        } else {
            assert_int_equal(got, ir_f32_to_bf16(value));
            assert_int_equal(quant_bits(quant_round_bf16(value)), (uint32_t)got << 16);
        }
    }
    assert_int_equal(quant_f32_to_bf16(1.0f), 0x3f80);
    assert_int_equal(quant_f32_to_bf16(1.00390625f), 0x3f80);
    assert_int_equal(quant_f32_to_bf16(1.01171875f), 0x3f82);
    assert_int_equal(quant_f32_to_bf16(-2.71828f), 0xc02e);
}

// The claim in round.h: dividing in float32 and rounding to float16 is the correctly rounded
// quotient. Checked against the exact comparison |a/b - q| <= half a unit, done in integers through
// double (a - q b is exact there).
static void rounded_quotient_is_correct(void **state) {
    (void)state;
    uint64_t seed = 12345;
    for (int i = 0; i < 2000000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        const uint16_t a = (uint16_t)(seed >> 20) & 0x7fffu, b = (uint16_t)(seed >> 40) & 0x7fffu;
        if (a >= 0x7c00u || b >= 0x7c00u || b == 0) continue;
        const double x = (double)quant_f16_to_f32(a), y = (double)quant_f16_to_f32(b);
        const uint16_t quotient = quant_f32_to_f16((float)x / (float)y);
        if (quotient == 0 || quotient >= 0x7bffu) continue;
        const double q = (double)quant_f16_to_f32(quotient);
        const double below = (double)quant_f16_to_f32((uint16_t)(quotient - 1)),
                     above = (double)quant_f16_to_f32((uint16_t)(quotient + 1));
        const double low_tie = 0.5 * (below + q) * y, high_tie = 0.5 * (q + above) * y;
        const int is_even = (quotient & 1u) == 0;
        if (!(x > low_tie || (x >= low_tie && is_even)) ||
            !(x < high_tie || (x <= high_tie && is_even)))
            fail_msg("%04x / %04x gave %04x", a, b, quotient);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(rounding_around_every_boundary),
        cmocka_unit_test(rounding_over_the_whole_range),
        cmocka_unit_test(bfloat16),
        cmocka_unit_test(rounded_quotient_is_correct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
