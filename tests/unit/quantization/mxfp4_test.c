// mxfp4: every code under every scale against the definition of the format, and the order of a block's halves.
#include "quantization/foreign/mxfp4.h"

#include "quantization/round.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// OCP MX 1.0, table of e2m1: exponent bias 1; exponent 0 is subnormal.
static double number_of(unsigned code) {
    const unsigned exponent = code >> 1 & 3, fraction = code & 1;
    const double magnitude =
        exponent == 0 ? 0.5 * fraction : (1 + 0.5 * fraction) * ldexp(1, (int)exponent - 1);
    return code >> 3 != 0 ? -magnitude : magnitude;
}

static void test_all_products(void **state) {
    (void)state;
    for (int scale = 0; scale < 256; scale++) {
        const uint8_t scales[2] = {(uint8_t)scale, 127};
        uint8_t blocks[2][QUANT_MXFP4_BLOCK_BYTES] = {{0}};
        uint16_t out[2][QUANT_MXFP4_BLOCK];
        for (unsigned code = 0; code < 16; code++) blocks[0][code] = (uint8_t)(code | 3u << 4);
        quant_mxfp4_decode(blocks[0], scales, 2, out[0]);
        for (unsigned code = 0; code < 16; code++) {
            const float found = quant_bf16_to_f32(out[0][2 * code]);
            const double expected = ldexp(number_of(code), scale - 127);
            if (scale == 255) {
                assert_true(isnan(found));
                continue;
            }
            // Only 2^127 times 2 and more leave the range.
            assert_true((double)found == expected || (isinf(found) && fabs(expected) >= 0x1p128));
            assert_int_equal(signbit(found) != 0, code >> 3);
            assert_true((double)quant_bf16_to_f32(out[0][2 * code + 1]) == ldexp(1.5, scale - 127));
        }
        // The second block has the scale 1 and zeros.
        for (int i = 0; i < QUANT_MXFP4_BLOCK; i++) assert_int_equal(out[1][i], 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
