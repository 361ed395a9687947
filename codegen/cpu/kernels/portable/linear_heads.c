// linear_heads, any machine: 16 registers of four floats (SSE) hold a tile of two sums, the 32 of AArch64 one of four.
#if defined(__aarch64__)
#    define HEADS_TILE_ROWS   2
#    define HEADS_TILE_PANELS 2
#else
#    define HEADS_TILE_ROWS   2
#    define HEADS_TILE_PANELS 1
#endif
#include "codegen/cpu/kernels/linear_heads_body.h"
