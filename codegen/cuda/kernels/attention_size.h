// attention_size: tiles of the attention kernels and the shared memory that follows from them. Only numbers, so that the kernels and
// cuda_grid_attention.c read the same file.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_ATTENTION_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_ATTENTION_SIZE_H

#define ATTENTION_PAGE 16 // positions of a cache page
#define ATTENTION_HEADS \
    8 // query heads of one kv head that a warp takes at a time: columns of a matrix instruction
#define ATTENTION_QUERIES      64 // rows of a prefill tile
#define ATTENTION_KEYS         64 // positions of a prefill step
#define ATTENTION_MAX_HEAD_DIM 256
#define ATTENTION_ANY_HEAD_DIM 512 // of the generic kernel

#define ATTENTION_GENERIC_WARPS 4
#define ATTENTION_DECODE_WARPS  8
#define ATTENTION_PREFILL_WARPS 4 // 16 rows each

// Chunks of 32 and blocks of 64 head columns, columns beyond the head being zero.
#define ATTENTION_CHUNKS(head_dim) (((head_dim) + 31) / 32)
#define ATTENTION_BLOCKS(head_dim) (((head_dim) + 63) / 64)

// Queries of ATTENTION_HEADS heads as 16-bit floats.
#define ATTENTION_QUERY_BYTES(head_dim) (ATTENTION_HEADS * 64 * ATTENTION_CHUNKS(head_dim))
// What one warp leaves for the combination: maxima, totals and sums of its heads, floats.
#define ATTENTION_PART_FLOATS(head_dim) (ATTENTION_HEADS * (2 + 64 * ATTENTION_BLOCKS(head_dim)))
#define ATTENTION_PART_BYTES(head_dim)  (4 * ATTENTION_PART_FLOATS(head_dim))

// A row of a prefill tile: its columns, and 16 bytes that make the row an odd number of 16-byte places, so that the eight rows which a
// matrix load reads together lie in different banks.
#define ATTENTION_PADDED(head_dim)     (((head_dim) + 15) / 16 * 16)
#define ATTENTION_ROW_BYTES(head_dim)  (2 * ATTENTION_PADDED(head_dim) + 16)
#define ATTENTION_TILE_BYTES(head_dim) (64 * ATTENTION_ROW_BYTES(head_dim))
// Keys, values and, where registers do not hold them, queries.
#define ATTENTION_TILES(head_dim)      ((head_dim) > 128 ? 3 : 2)

#define ATTENTION_GENERIC_SHARED(head_dim) (4 * ATTENTION_GENERIC_WARPS * (head_dim))
#define ATTENTION_DECODE_SHARED(head_dim) \
    (ATTENTION_QUERY_BYTES(head_dim) + ATTENTION_DECODE_WARPS * ATTENTION_PART_BYTES(head_dim))
// One warp that attends alone.
#define ATTENTION_WARP_SHARED(head_dim) \
    (ATTENTION_QUERY_BYTES(head_dim) + ATTENTION_PART_BYTES(head_dim))
#define ATTENTION_TILED_SHARED(head_dim) \
    (ATTENTION_TILES(head_dim) * ATTENTION_TILE_BYTES(head_dim))
#define ATTENTION_PREFILL_SHARED(head_dim) \
    (ATTENTION_TILED_SHARED(head_dim) > ATTENTION_PREFILL_WARPS * ATTENTION_WARP_SHARED(head_dim) \
         ? ATTENTION_TILED_SHARED(head_dim) \
         : ATTENTION_PREFILL_WARPS * ATTENTION_WARP_SHARED(head_dim))

#endif
