// paged_attention with AVX-512: tiles of 16 sums of 32 registers; eight queries share each key and value.
#define ATTENTION_TILE_QUERIES   8
#define ATTENTION_TILE_PAGES     2
#define ATTENTION_SUM_VECTORS    16
#define ATTENTION_DIRECT_QUERIES 8
#include "codegen/cpu/kernels/paged_attention_body.h"
