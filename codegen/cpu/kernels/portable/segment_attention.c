// segment_attention, any machine: 16 registers of four floats (SSE) hold one query's tile, the 32 of AArch64 two.
#if defined(__aarch64__)
#    define SEGMENT_TILE_QUERIES 2
#else
#    define SEGMENT_TILE_QUERIES 1
#endif
#define SEGMENT_TILE_VECTORS 2
#include "codegen/cpu/kernels/segment_attention_body.h"
