// attention_size: tiles of the attention kernels and the shared memory that follows from them. Only numbers, so that the kernels and
// cuda_grid_attention.c read the same file.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_ATTENTION_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_ATTENTION_SIZE_H

#define ATTENTION_PAGE 16 // positions of a cache page
#define ATTENTION_HEADS \
    8 // query heads of one kv head that a warp takes at a time: columns of a matrix instruction
#define ATTENTION_MAX_HEAD_DIM 256
#define ATTENTION_ANY_HEAD_DIM 512 // of the generic kernel

#define ATTENTION_GENERIC_WARPS       4
#define ATTENTION_DECODE_WARPS        4
#define ATTENTION_PREFILL_WARPS       4
// Rows of a warp, in sixteens: two share every key and value that the warp reads, where registers hold the sums of both.
#define ATTENTION_ROW_TILES(head_dim) ((head_dim) > 128 ? 1 : 2)
#define ATTENTION_QUERIES(head_dim)   (16 * ATTENTION_PREFILL_WARPS * ATTENTION_ROW_TILES(head_dim))
#define ATTENTION_KEYS(head_dim)      ((head_dim) > 64 ? 32 : 64) // positions of a step

// Chunks of 32 and blocks of 64 head columns, columns beyond the head being zero.
#define ATTENTION_CHUNKS(head_dim) (((head_dim) + 31) / 32)
#define ATTENTION_BLOCKS(head_dim) (((head_dim) + 63) / 64)

// Queries of ATTENTION_HEADS heads as 16-bit floats.
#define ATTENTION_QUERY_BYTES(head_dim) (ATTENTION_HEADS * 64 * ATTENTION_CHUNKS(head_dim))
// What a warp, then a block leaves for others to join: maxima and totals of ATTENTION_HEADS heads, sums of those that are there; floats.
#define ATTENTION_SET_HEADS(group)      ((group) < ATTENTION_HEADS ? (group) : ATTENTION_HEADS)
#define ATTENTION_PART_FLOATS(head_dim, group) \
    (2 * ATTENTION_HEADS + ATTENTION_SET_HEADS(group) * 64 * ATTENTION_BLOCKS(head_dim))
#define ATTENTION_PART_BYTES(head_dim, group) (4 * ATTENTION_PART_FLOATS(head_dim, group))

// Decode: a context is cut into splits, each a block's work, whose parts meet in scratch memory. Launches of few tokens cut into as many
// as fill a large device with one token, those of more tokens into a quarter of that.
#define ATTENTION_FEW_TOKENS   8
#define ATTENTION_MANY_TOKENS  32
#define ATTENTION_SPLIT_BLOCKS 256 // of one token; two for each multiprocessor of a large device
#define ATTENTION_MAX_SPLITS   64

// A row of a prefill tile: its columns, and 16 bytes that make the row an odd number of 16-byte places, so that the eight rows which a
// matrix load reads together lie in different banks.
#define ATTENTION_PADDED(head_dim)     (((head_dim) + 15) / 16 * 16)
#define ATTENTION_ROW_BYTES(head_dim)  (2 * ATTENTION_PADDED(head_dim) + 16)
#define ATTENTION_TILE_BYTES(head_dim) (ATTENTION_KEYS(head_dim) * ATTENTION_ROW_BYTES(head_dim))

#define ATTENTION_GENERIC_SHARED(head_dim) (4 * ATTENTION_GENERIC_WARPS * (head_dim))
#define ATTENTION_DECODE_SHARED(head_dim, group) \
    (ATTENTION_QUERY_BYTES(head_dim) + \
     ATTENTION_DECODE_WARPS * ATTENTION_PART_BYTES(head_dim, group))
// One warp that attends alone.
#define ATTENTION_WARP_SHARED(head_dim, group) \
    (ATTENTION_QUERY_BYTES(head_dim) + ATTENTION_PART_BYTES(head_dim, group))
// Keys and values of two steps, queries.
#define ATTENTION_TILED_SHARED(head_dim) \
    (4 * ATTENTION_TILE_BYTES(head_dim) + \
     ATTENTION_QUERIES(head_dim) * ATTENTION_ROW_BYTES(head_dim))
#define ATTENTION_SINGLE_SHARED(head_dim, group) \
    (ATTENTION_PREFILL_WARPS * ATTENTION_WARP_SHARED(head_dim, group))
#define ATTENTION_PREFILL_SHARED(head_dim, group) \
    (ATTENTION_TILED_SHARED(head_dim) > ATTENTION_SINGLE_SHARED(head_dim, group) \
         ? ATTENTION_TILED_SHARED(head_dim) \
         : ATTENTION_SINGLE_SHARED(head_dim, group))

#endif
