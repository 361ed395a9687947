// latent_attention, any machine: 16 registers of four floats (SSE) hold a tile of two sums, the 32 of AArch64 one of four.
#if defined(__aarch64__)
#    define LATENT_TILE_ROWS    2
#    define LATENT_TILE_VECTORS 2
#else
#    define LATENT_TILE_ROWS    2
#    define LATENT_TILE_VECTORS 1
#endif
#include "codegen/cpu/kernels/latent_attention_body.h"
