// linear_heads with AVX2, FMA and F16C: tiles of four sums are eight of 16 registers.
#define HEADS_TILE_ROWS   4
#define HEADS_TILE_PANELS 1
#include "codegen/cpu/kernels/linear_heads_body.h"
