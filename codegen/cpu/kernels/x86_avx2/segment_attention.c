// segment_attention with AVX2 and FMA: tiles of four sums are eight of 16 registers.
#define SEGMENT_TILE_QUERIES 4
#define SEGMENT_TILE_VECTORS 1
#include "codegen/cpu/kernels/segment_attention_body.h"
