// linear_panel16, any machine: four registers to 16 floats. SSE has 16 registers, AArch64 32.
#if defined(__aarch64__)
#    define LINEAR_TILE_ROWS        6
#    define LINEAR_STREAM_ROWS      6
#    define LINEAR_STREAM_PANELS(R) ((R) == 1 ? 4 : (R) <= 3 ? 2 : 1)
#else
#    define LINEAR_TILE_ROWS        3
#    define LINEAR_STREAM_ROWS      3
#    define LINEAR_STREAM_PANELS(R) ((R) == 1 ? 2 : 1)
#endif
#define LINEAR_TILE_PANELS 1
#include "codegen/cpu/kernels/linear_panel16_body.h"
