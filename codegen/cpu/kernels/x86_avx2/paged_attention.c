// paged_attention with AVX2, FMA and F16C: tiles of four sums are eight of 16 registers.
#define ATTENTION_TILE_QUERIES   4
#define ATTENTION_TILE_PAGES     1
#define ATTENTION_SUM_VECTORS    4
#define ATTENTION_DIRECT_QUERIES 8
#include "codegen/cpu/kernels/paged_attention_body.h"
