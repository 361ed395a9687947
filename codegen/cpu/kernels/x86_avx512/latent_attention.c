// latent_attention with AVX-512: tiles of 16 sums of 32 registers; eight items share each row.
#define LATENT_TILE_ROWS    8
#define LATENT_TILE_VECTORS 2
#include "codegen/cpu/kernels/latent_attention_body.h"
