// layouts: the rows of foreign.c's table; each is drawn and defined in the file of its family.
#ifndef MLCC_QUANTIZATION_FOREIGN_LAYOUTS_H
#define MLCC_QUANTIZATION_FOREIGN_LAYOUTS_H

#include "quantization/foreign/foreign.h"

extern const quant_foreign_layout quant_foreign_awq_gemm;      // layout_awq_gemm.c
extern const quant_foreign_layout quant_foreign_awq_gemv;      // layout_awq_gemv.c
extern const quant_foreign_layout quant_foreign_awq_gemv_fast; // layout_awq_gemv_fast.c
extern const quant_foreign_layout quant_foreign_awq_marlin;    // layout_marlin.c
extern const quant_foreign_layout quant_foreign_gptq;          // layout_gptq.c
extern const quant_foreign_layout quant_foreign_gptq_v2;
extern const quant_foreign_layout quant_foreign_ct_packed; // layout_compressed.c
extern const quant_foreign_layout quant_foreign_ct_int;
extern const quant_foreign_layout quant_foreign_fp8_tensor; // layout_fp8.c
extern const quant_foreign_layout quant_foreign_fp8_channel;
extern const quant_foreign_layout quant_foreign_fp8_block;

#endif
