// paged_attention with AVX-512: four queries by four chunks of sums are 16 of 32 registers.

#define ATTENTION_TILE_QUERIES 4
#define ATTENTION_TILE_CHUNKS  4
#include "codegen/cpu/kernels/paged_attention_body.h"
