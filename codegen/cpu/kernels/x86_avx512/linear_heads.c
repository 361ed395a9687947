// linear_heads with AVX-512: tiles of 16 sums of 32 registers.
#define HEADS_TILE_ROWS   4
#define HEADS_TILE_PANELS 4
#include "codegen/cpu/kernels/linear_heads_body.h"
