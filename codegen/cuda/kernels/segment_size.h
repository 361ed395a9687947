// segment_size: tiles of segment_attention and the shared memory that follows from them. Only numbers, so that the kernel and cuda_grid_attention.c
// read the same file.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_SEGMENT_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_SEGMENT_SIZE_H

#define SEGMENT_TOKENS \
    8 // neighbours that share the keys and values that a block reads; a warp each
#define SEGMENT_KEYS         32 // of a step: one a lane
#define SEGMENT_MAX_HEAD_DIM 256

// A row of keys in shared memory: an odd number of floats, so that lanes read different banks.
#define SEGMENT_STRIDE(head_dim) ((head_dim) | 1)
#define SEGMENT_SHARED(head_dim) \
    (4 * (SEGMENT_KEYS * (SEGMENT_STRIDE(head_dim) + (head_dim)) + SEGMENT_TOKENS * (head_dim)))

#endif
