// linear_panel16 with AVX-512: a tile of six rows by four panels is 24 of 32 registers and loads 10 times for 24 multiply-adds.
#define LINEAR_TILE_ROWS        6
#define LINEAR_TILE_PANELS      4
#define LINEAR_STREAM_ROWS      8
#define LINEAR_STREAM_PANELS(R) ((R) <= 4 ? 4 : 2)
#include "codegen/cpu/kernels/linear_panel16_body.h"
