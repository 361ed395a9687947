// linear_panel16 with AVX2, FMA and F16C: two registers to 16 floats; a tile of six rows by one panel fills 12 of 16 registers.
#define LINEAR_TILE_ROWS        6
#define LINEAR_TILE_PANELS      1
#define LINEAR_STREAM_ROWS      6
#define LINEAR_STREAM_PANELS(R) ((R) == 1 ? 4 : (R) == 2 ? 2 : 1)
#include "codegen/cpu/kernels/linear_panel16_body.h"
