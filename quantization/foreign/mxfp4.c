#include "quantization/foreign/mxfp4.h"

#include "quantization/round.h"

// 2^(scale - 127) from its bits; 2^-127 is subnormal, 255 is NaN.
static float power_of(uint8_t scale) {
    if (scale == 0) return quant_float(0x00400000u);
    return quant_float(scale == 255 ? 0x7fc00000u : (uint32_t)scale << 23);
}

// The upper half of a float32: what is cut off is zero for every product (see the header).
static uint16_t to_bf16(float value) {
    return (uint16_t)(quant_bits(value) >> 16);
}

static void list_products(uint8_t scale, uint16_t products[16]) {
    static const float magnitudes[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
    const float power = power_of(scale);
    for (int code = 0; code < 8; code++) {
        products[code] = to_bf16(magnitudes[code] * power);
        products[code + 8] = products[code] | 0x8000u;
    }
}

void quant_mxfp4_decode(
    const uint8_t *blocks, const uint8_t *scales, int64_t n_blocks, uint16_t *out) {
    uint16_t products[16];
    for (int64_t block = 0; block < n_blocks; block++) {
        list_products(scales[block], products);
        for (int b = 0; b < QUANT_MXFP4_BLOCK_BYTES; b++) {
            *out++ = products[*blocks & 15];
            *out++ = products[*blocks++ >> 4];
        }
    }
}
