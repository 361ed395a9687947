// scratch: bytes of thread scratch (kernel_scratch) and of shared memory (kernel_shared) that each kernel uses, and what a kernel
// refuses because of it. Host code reads these when it measures an instance.
#ifndef MLCC_CODEGEN_CPU_KERNELS_SCRATCH_H
#define MLCC_CODEGEN_CPU_KERNELS_SCRATCH_H

enum {
    // linear_panel16: one k block of up to 192 rows of x, decoded weights, and the accumulators of 16 panels.
    KERNEL_LINEAR_BLOCK_ROWS = 192,
    KERNEL_LINEAR_BLOCK_PANELS = 16,
    KERNEL_LINEAR_BLOCK_K = 128,
    KERNEL_LINEAR_SCRATCH_BYTES =
        KERNEL_LINEAR_BLOCK_ROWS * KERNEL_LINEAR_BLOCK_K * 4          // x
        + 4 * KERNEL_LINEAR_BLOCK_K * 64                              // weights of 4 panels
        + 2 * 4 * (KERNEL_LINEAR_BLOCK_K / 32) * 64                   // their scales and zeros
        + KERNEL_LINEAR_BLOCK_ROWS * (KERNEL_LINEAR_BLOCK_K / 32) * 4 // starts of groups
        + KERNEL_LINEAR_BLOCK_ROWS * KERNEL_LINEAR_BLOCK_PANELS * 64, // accumulators

    // linear_scaled_panel16: packed x of one block of rows, and the sums of four panels. Longer rows of x are refused.
    KERNEL_LINEAR_SCALED_ROWS = 192,
    KERNEL_LINEAR_SCALED_X_BYTES = 448 * 1024,
    KERNEL_LINEAR_SCALED_MAX_K = 131072,
    KERNEL_LINEAR_SCALED_SCRATCH_BYTES =
        KERNEL_LINEAR_SCALED_X_BYTES + 4 * KERNEL_LINEAR_SCALED_ROWS * 64,

    // linear_bf16_panel16: shapes of tile registers, packed x of one block of rows and room behind it for what packing writes and
    // tiles read too much, the sums of four panels. Longer rows of x are refused.
    KERNEL_LINEAR_BF16_ROWS = 192,
    KERNEL_LINEAR_BF16_X_BYTES = 768 * 1024,
    KERNEL_LINEAR_BF16_MAX_K = 131072,
    KERNEL_LINEAR_BF16_SCRATCH_BYTES =
        64 + KERNEL_LINEAR_BF16_X_BYTES + 1024 + 4 * KERNEL_LINEAR_BF16_ROWS * 64,

    // linear_scaled_panel16 with tile registers: packed x of one block of rows in groups of a tile, decoded weights of two blocks,
    // whole sums of two batches, the values of two panels. Where one tile of x does not fit, the launch needs what is above.
    KERNEL_LINEAR_AMX_GROUPS = 1408,
    KERNEL_LINEAR_AMX_SCRATCH_BYTES = 64                                   // shapes
                                      + 2 * 8 * (2 * 8 * 64 + 2 * 64)      // weights
                                      + 2 * 4 * 2 * 16 * 64                // whole sums
                                      + 2 * KERNEL_LINEAR_SCALED_ROWS * 64 // values
                                      + KERNEL_LINEAR_AMX_GROUPS * 640,    // x

    // rms_norm, layer_norm, quantize_activation: one row as float32; wider rows are refused.
    KERNEL_ROW_MAX_COLUMNS = 65536,

    // route_experts: scores, keys and marks of one row, and of its groups.
    KERNEL_ROUTE_MAX_EXPERTS = 4096,
    KERNEL_ROUTE_SCRATCH_BYTES = KERNEL_ROUTE_MAX_EXPERTS * (3 * 4 + 2),

    // latent_attention: queries and sums of a block of items, one step of rows, as they are and transposed; wider rows are refused.
    KERNEL_LATENT_MAX_WIDTH = 2048,
    KERNEL_LATENT_ROWS = 32,
    KERNEL_LATENT_STEP = 32, // positions of one softmax step: two pages

    // linear_heads: x of a block of rows.
    KERNEL_HEADS_ROWS = 32,

    // paged_attention: queries and sums of one slice, one step of keys and values; larger heads are refused.
    KERNEL_ATTENTION_MAX_HEAD_DIM = 512,
    KERNEL_ATTENTION_PAGE = 16,        // tokens of a cache page; others are refused
    KERNEL_ATTENTION_STEP = 32,        // keys of one softmax step: two pages
    KERNEL_ATTENTION_MAX_QUERIES = 64, // queries of a slice; fewer when heads are large
    KERNEL_ATTENTION_QUERY_FLOATS = 16384,
    KERNEL_ATTENTION_SCRATCH_BYTES =
        3 * KERNEL_ATTENTION_QUERY_FLOATS * 4                           // q, sums, whole sums
        + 2 * KERNEL_ATTENTION_STEP * KERNEL_ATTENTION_MAX_HEAD_DIM * 4 // keys, values
        + KERNEL_ATTENTION_MAX_QUERIES * (KERNEL_ATTENTION_STEP + 16 + 16 + 17) *
              4, // p, maxima, sums of p, and those two of the whole

    // paged_attention: one softmax a stretch of positions. Stretches of one head may go to several threads, which share their
    // results: of so many tokens at most, and in memory of this many bytes at most.
    KERNEL_ATTENTION_STRETCH = 512,
    KERNEL_ATTENTION_SHARED_TOKENS = 4,
    KERNEL_ATTENTION_SHARED_BYTES = 16 << 20,

    // segment_attention: queries and sums of one block, one step of keys and values; larger heads are refused.
    KERNEL_SEGMENT_MAX_HEAD_DIM = 512,
    KERNEL_SEGMENT_ROWS = 64, // queries of a block, and keys of a softmax step
    KERNEL_SEGMENT_SCRATCH_BYTES =
        4 * KERNEL_SEGMENT_ROWS * KERNEL_SEGMENT_MAX_HEAD_DIM * 4 // queries, sums, keys, values
        + 16 * KERNEL_SEGMENT_MAX_HEAD_DIM * 4                    // keys before they are transposed
        + KERNEL_SEGMENT_ROWS * (KERNEL_SEGMENT_ROWS + 16 + 2) * 4, // p, totals, maxima, factors
};

#endif
