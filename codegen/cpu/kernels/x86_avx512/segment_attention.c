// segment_attention with AVX-512: tiles of 16 sums of 32 registers.
#define SEGMENT_TILE_QUERIES 8
#define SEGMENT_TILE_VECTORS 2
#include "codegen/cpu/kernels/segment_attention_body.h"
