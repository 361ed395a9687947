// latent_size: tiles of the kernels of latent attention and the shared memory that follows from them. Only numbers, so that the kernels and
// cuda_grid_latent.c read the same file.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_LATENT_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_LATENT_SIZE_H

#define LATENT_PAGE      16 // positions of a cache page
#define LATENT_HEADS     8  // of a token that share what a block reads; a warp each
#define LATENT_MAX_WIDTH 1024

// A row in shared memory: an odd number of floats, so that the rows of a page begin in different banks.
#define LATENT_STRIDE(width) ((width) | 1)
#define LATENT_SHARED(width) (4 * (LATENT_PAGE * LATENT_STRIDE(width) + LATENT_HEADS * (width)))

// Few tokens: contexts are cut into splits, as many as fill a device with one token; a lane joins each.
#define LATENT_FEW_TOKENS        8
#define LATENT_SPLIT_BLOCKS      256
#define LATENT_MAX_SPLITS        32
// What a split leaves of a head: maximum, total, sums.
#define LATENT_PART_FLOATS(rank) (2 + (rank))

// linear_heads: rows of x that share what a block reads, its outputs.
#define HEADS_TOKENS    8
#define HEADS_OUTPUTS   32
#define HEADS_MAX_K     2048
#define HEADS_SHARED(k) (4 * HEADS_TOKENS * (k))

#endif
