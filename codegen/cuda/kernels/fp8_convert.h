// fp8_convert: tells fp8_halves, which follows it, to make f16 of e4m3 with the instruction of sm_89 and newer.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_FP8_CONVERT_H
#define MLCC_CODEGEN_CUDA_KERNELS_FP8_CONVERT_H

#define FP8_CONVERTS 1

#endif
