// mxfp4: the 4-bit floats of OCP's Microscaling Formats, as gpt-oss stores its experts: blocks of 32 numbers share a scale that is a power of two.
//
//   block    16 bytes; byte b holds number 2b in its low and number 2b + 1 in its high half
//   number   e2m1: sign, two bits of exponent, one of fraction: ±0, 0.5, 1, 1.5, 2, 3, 4, 6
//   scale    e8m0: 2^(byte - 127); 255 is NaN
//
// Every product is a bfloat16 without rounding; beyond its largest number it is infinity.
// Source: OCP Microscaling Formats (MX) Specification 1.0, 2023; convert_moe_packed_tensors of Hugging Face transformers for the order of halves.
#ifndef MLCC_QUANTIZATION_FOREIGN_MXFP4_H
#define MLCC_QUANTIZATION_FOREIGN_MXFP4_H

#include <stdint.h>

#define QUANT_MXFP4_BLOCK       32
#define QUANT_MXFP4_BLOCK_BYTES 16

// blocks: [n_blocks, 16], scales: [n_blocks], out: bfloat16 [n_blocks, 32].
void quant_mxfp4_decode(
    const uint8_t *blocks, const uint8_t *scales, int64_t n_blocks, uint16_t *out);

#endif
