// latent_attention with AVX2, FMA and F16C: tiles of four sums are eight of 16 registers.
#define LATENT_TILE_ROWS    4
#define LATENT_TILE_VECTORS 1
#include "codegen/cpu/kernels/latent_attention_body.h"
