// paged_attention, any machine: 16 registers of four floats (SSE) hold one query's tile, the 32 of AArch64 two.
#if defined(__aarch64__)
#    define ATTENTION_TILE_QUERIES 2
#    define ATTENTION_SUM_VECTORS  4
#else
#    define ATTENTION_TILE_QUERIES 1
#    define ATTENTION_SUM_VECTORS  2
#endif
#define ATTENTION_TILE_PAGES     2
#define ATTENTION_DIRECT_QUERIES 1
#include "codegen/cpu/kernels/paged_attention_body.h"
