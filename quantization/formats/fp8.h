// fp8: weights in 8-bit floating point (MLC's per-tensor-quant and block-scale-quant modes).
//
//   E4M3_F32       q_weight          f8e4m3[…, K]   element (r, c) at byte r * K + c
//                  q_scale           f32[1]         one for the tensor
//   E5M2           q_weight          f8e5m2[…, K]   no scale
//   E4M3B128_F32   the param's name  f8e4m3[N, K]
//                  weight_scale_inv  f32[ceil(N / 128), ceil(K / 128)]; entry (r div 128, c div 128)
//
// Decoding is fp8 * scale in float32 ("inv" or not, scales multiply).
//
// Encoding; fp8() rounds to nearest even and saturates (float8.h), NaN counts as 0 in a maximum:
//
//   E4M3_F32       w = source cast to float16; s = max(max |w| / 448, 1 / (512 * 448)) with every
//                  operation rounded to float16 (the second is 0x0049); q = fp8(w / s) in float32
//   E5M2           w = source cast to float16; q = fp8(w)
//   E4M3B128_F32   w = source cast to bfloat16; s = max |w| over the block / 448 in float32, or 1
//                  where that is no normal number (a block of zeros); q = fp8(w / s)
//
// An infinite weight makes an infinite scale, and NaN of everything that has it. Sources: mlc-llm
// python/mlc_llm/quantization/per_tensor_quantization.py, `quantize_weight`, and
// fp8_quantization.py; the block recipe is that of the checkpoints that MLC passes through
// (DeepSeek-V3, `weight_block_size` [128, 128]).
#ifndef MLCC_QUANTIZATION_FORMATS_FP8_H
#define MLCC_QUANTIZATION_FORMATS_FP8_H

#include "quantization/format.h"

#define QUANT_FP8_BLOCK 128 // rows and columns of a block

extern const quant_format quant_format_E4M3_F32, quant_format_E5M2, quant_format_E4M3B128_F32;

// The scale of a tensor whose largest magnitude is `largest`: MLC's rule above, with 448 or 57344
// as `f8` is F8E4M3 or F8E5M2. Activation scales that calibration records follow it too. Never 0;
// NaN counts as 0.
float quant_fp8_scale(float largest, ir_dtype f8);

#endif
