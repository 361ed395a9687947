// ft: int4 with one scale for an output feature, in the order that FasterTransformer's CUTLASS
// kernels read on NVIDIA architectures 80 to 109 (MLC's q4f16_ft, converted on such a device). It is
// the same on 75 to 79; architectures 70 to 74 have another order, which is not stored here.
//
//   weight [N, K], N and K multiples of 64
//
//   q_scale   f16[1, N]     s = max |w| over the row / 7
//   q_weight  i8[K, N/2]    codes -8 … 7, but the shape is all that is left of [K, N]: the bytes are
//                           one tile of 64 input features after the other,
//
//     n 0-3, k 0-63 | n 0-3, k 64-127 | … | n 4-7, k 0-63 | …
//        \__ n 0: 8 words | n 1: 8 words | n 2: 8 words | n 3: 8 words
//                 \__ word 4 b + j, b = 0, 1, j = 0 … 3: eight codes + 8, k = 32 b + 2 j +
//                     bit 31  | 25 | 17 | 9 | 1 | 24 | 16 | 8 | 0 |  bit 0
//
// That is what CUTLASS's preprocessing makes of row-major [K, N]: rows permuted within 32, columns
// made contiguous, four of them interleaved, 8 added, nibbles even before odd. Four output features
// are a contiguous stretch of 2 K bytes, so the piece may be written as a stream of them.
//
// Encoding, every operation rounded to float16, nearest even: q = clamp(rne(w / s), -8, 7). A row of
// zeros, NaN elements and infinite scales give code 0. Decoding: q * s. Sources: mlc-llm
// python/mlc_llm/quantization/ft_quantization.py; TVM/FasterTransformer
// cutlass_kernels/cutlass_preprocessors.cc, `preprocess_weights_for_mixed_gemm`.
//
// `takes`: integers with one scale for a row, code - zero in -8 … 7, scales exact in float16.
#ifndef MLCC_QUANTIZATION_FORMATS_FT_H
#define MLCC_QUANTIZATION_FORMATS_FT_H

#include "quantization/format.h"

extern const quant_format quant_format_Q4FT_F16;

// The order alone, both ways. `plain` is row-major [K, N/2]: byte [k][n / 2] holds the two's
// complement nibbles of n (low, even) and n + 1; `stored` has the same K * N / 2 bytes. K and N are
// multiples of 64; the buffers do not overlap.
void quant_ft_stored_from_plain(const uint8_t *plain, int64_t k, int64_t n, uint8_t *stored);
void quant_ft_plain_from_stored(const uint8_t *stored, int64_t k, int64_t n, uint8_t *plain);

#endif
