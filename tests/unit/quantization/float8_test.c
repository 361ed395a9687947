// Branch-free 8-bit conversions against the definition and against ir/float8.c.
#include "quantization/float8.h"

#include "ir/eval.h"
#include "tests/support/float8_oracle.h"
#include "tests/support/random_module.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint8_t encode_e4m3(float value) {
    return quant_f32_to_f8e4m3(value);
}
static float decode_e4m3(uint8_t code) {
    return quant_f8e4m3_to_f32(code);
}
static uint8_t encode_e5m2(float value) {
    return quant_f32_to_f8e5m2(value);
}
static float decode_e5m2(uint8_t code) {
    return quant_f8e5m2_to_f32(code);
}

typedef struct conversion {
    const float8_oracle *oracle;
    uint8_t (*encode)(float value), (*ir_encode)(float value);
    float (*decode)(uint8_t code), (*ir_decode)(uint8_t code);
} conversion;

static const conversion conversions[] = {
    {&oracle_e4m3, encode_e4m3, ir_f32_to_f8e4m3, decode_e4m3, ir_f8e4m3_to_f32},
    {&oracle_e5m2, encode_e5m2, ir_f32_to_f8e5m2, decode_e5m2, ir_f8e5m2_to_f32},
};
enum { N_CONVERSIONS = sizeof conversions / sizeof conversions[0] };

static void check(const conversion *c, uint32_t bits) {
    const float value = quant_float(bits);
    const uint8_t got = c->encode(value), ir = c->ir_encode(value);
    const bool is_wrong = !isnan(value) && got != oracle_code(c->oracle, value);
    if (got != ir || is_wrong) {
        fail_msg(
            "f32 %08x: got %02x, ir %02x, definition %02x", bits, got, ir,
            oracle_code(c->oracle, value));
    }
}

static void every_code_decodes(void **state) {
    (void)state;
    for (int i = 0; i < N_CONVERSIONS; i++) {
        const conversion *c = &conversions[i];
        for (int code = 0; code < 256; code++) {
            const float got = c->decode((uint8_t)code);
            const double expected = oracle_value(c->oracle, (uint8_t)code);
            if (isnan(expected)) {
                assert_true(isnan(got));
            } else {
                assert_int_equal(quant_bits(got), quant_bits((float)expected));
            }
            assert_int_equal(quant_bits(got), quant_bits(c->ir_decode((uint8_t)code)));
        }
    }
}

static void rounding_around_every_boundary(void **state) {
    (void)state;
    for (int i = 0; i < N_CONVERSIONS; i++) {
        const conversion *c = &conversions[i];
        for (int code = 0; code <= c->oracle->largest; code++) {
            const double a = oracle_value(c->oracle, (uint8_t)code);
            const double b =
                code == c->oracle->largest ? 1.5 * a : oracle_value(c->oracle, (uint8_t)(code + 1));
            const uint32_t places[] = {quant_bits((float)a), quant_bits((float)((a + b) / 2))};
            for (int p = 0; p < 2; p++) {
                for (uint32_t step = 0; step < 5; step++) {
                    const uint32_t bits = places[p] + step - 2;
                    check(c, bits);
                    check(c, bits ^ 0x80000000u);
                }
            }
        }
    }
}

static void every_half_and_bfloat16(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000u; bits++) {
        for (int i = 0; i < N_CONVERSIONS; i++) {
            check(&conversions[i], quant_bits(quant_f16_to_f32((uint16_t)bits)));
            check(&conversions[i], bits << 16);
        }
    }
}

static void random_bit_patterns(void **state) {
    (void)state;
    random_state random = {8};
    for (int n = 0; n < 4000000; n++) {
        uint32_t bits = (uint32_t)random_u64(&random);
        // Half of them where the formats have their numbers: exponents -20 … 17.
        if (n % 2 == 0) bits = (bits & 0x807fffffu) | (uint32_t)(107 + bits % 38) << 23;
        const float value = quant_float(bits);
        for (int i = 0; i < N_CONVERSIONS; i++) {
            const uint8_t got = conversions[i].encode(value);
            const uint8_t ir = conversions[i].ir_encode(value);
            if (got != ir) fail_msg("f32 %08x: got %02x, ir %02x", bits, got, ir);
        }
        if (n % 64 == 0) {
            for (int i = 0; i < N_CONVERSIONS; i++) check(&conversions[i], bits);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_decodes),
        cmocka_unit_test(rounding_around_every_boundary),
        cmocka_unit_test(every_half_and_bfloat16),
        cmocka_unit_test(random_bit_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
