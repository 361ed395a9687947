// paged_attention with AVX2, FMA and F16C: two queries by two chunks of sums are eight of 16 registers.
#define ATTENTION_TILE_QUERIES 2
#define ATTENTION_TILE_CHUNKS  2
#include "codegen/cpu/kernels/paged_attention_body.h"
