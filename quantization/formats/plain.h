// plain: weights as they are, cast to one float type (MLC's no-quant modes, and norms and biases in
// all modes).
//
//   one piece, name and shape of the param:
//   element (r, c) of [rows, columns] lies at (r * columns + c) * element bytes
//
// A cast rounds to nearest even; float16 and bfloat16 overflow to infinity, float16 has subnormal
// numbers. f32 keeps every bit. Source: mlc-llm `NoQuantize`; IEEE 754-2019, 5.4.2.
#ifndef MLCC_QUANTIZATION_FORMATS_PLAIN_H
#define MLCC_QUANTIZATION_FORMATS_PLAIN_H

#include "quantization/format.h"

extern const quant_format quant_format_F32, quant_format_F16, quant_format_BF16;

// Casts `count` elements; for `decode` and for whoever needs source tensors as float32.
void quant_cast_to_f32(const void *source, ir_dtype source_dtype, int64_t count, float *output);

#endif
