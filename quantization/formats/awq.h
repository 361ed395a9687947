// awq: 4-bit codes with a 4-bit zero and a float16 scale for every group of input features, stored
// as AutoAWQ's "GEMM" checkpoints and MLC's q4f16_autoawq do: transposed, eight output features to
// a word.
//
//   weight [N, K], N a multiple of 8, g = 32, 64 or 128 elements in a group, G = ceil(K / g)
//
//   qweight  u32[K, N/8]   word i of row k holds q[8i … 8i+7][k] in the nibbles
//                          bit 31  | 8i+7 | 8i+5 | 8i+3 | 8i+1 | 8i+6 | 8i+4 | 8i+2 | 8i |  bit 0
//                          column 8i+r: nibble (r mod 2) * 4 + r div 2; values 0 … 7: 0x75316420
//   qzeros   u32[G, N/8]   the zeros z[n][j], the same order
//   scales   f16[G, N]
//
//   w[n][k] = (q[n][k] - z[n][k div g]) * s[n][k div g]
//
// Encoding is AutoAWQ's round-to-nearest recipe, every operation rounded to float16, nearest even:
//
//   s = max(max w - min w, 1e-5) / 15     z = clamp(-rne(min w / s), 0, 15)
//   q = clamp(rne(w / s) + z, 0, 15)
//
// AutoAWQ dequantizes and packs rne((w' + z s) / s), which is q again. A short last group takes what
// elements it has. NaN elements take no part in the limits and get code z. Infinite limits, or
// limits further apart than 65504, make an infinite scale, with code and zero 0. Sources:
// AutoAWQ awq/quantize/quantizer.py `pseudo_quantize_tensor`, awq/modules/linear/gemm.py
// `WQLinear_GEMM.from_linear`; mlc-llm python/mlc_llm/quantization/awq_quantization.py.
//
// `takes`: integers whose groups are made of groups of g, where a common shift brings zero and codes
// of every group to 0 … 15, scales exact in float16.
#ifndef MLCC_QUANTIZATION_FORMATS_AWQ_H
#define MLCC_QUANTIZATION_FORMATS_AWQ_H

#include "quantization/format.h"

extern const quant_format quant_format_U4G32_F16, quant_format_U4G64_F16, quant_format_U4G128_F16;

#endif
