// ptx_descriptor: the 64-bit shared memory matrix descriptor of wgmma. PTX ISA, "Matrix descriptor format" and "Strides" of wgmma.
//
// Bits 0-13 start address, 16-29 leading and 32-45 stride dimension byte offset, each >> 4; 49-51 base offset; 62-63 swizzle: 0 none, 1 128 B, 2 64 B,
// 3 32 B. In units of 16-byte chunks, W = 1, 2, 4, 8 of them in a row of the swizzle:
//   K-major:  row r, chunk c of K lies at (r % 8) W + (r / 8) stride + c (without swizzle c leading);
//   MN-major: chunk c of M or N, k lies at c % W + (c / W) leading + (k % 8) W + (k / 8) stride (without swizzle leading and stride change places).
// The swizzle then turns address bits 4-6 by bits 7-9 (as many as log2 W), counted from the base offset.
#ifndef MLCC_TESTS_PTX_PTX_DESCRIPTOR_H
#define MLCC_TESTS_PTX_PTX_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ptx_descriptor {
    uint32_t start, leading, stride; // bytes
    uint32_t base_offset;            // 128-byte rows
    uint32_t row_chunks;             // W
} ptx_descriptor;

static inline ptx_descriptor ptx_read_descriptor(uint64_t bits) {
    static const uint8_t row_chunks[] = {1, 8, 4, 2};
    return (ptx_descriptor){.start = (uint32_t)(bits & 0x3fffu) << 4,
                            .leading = (uint32_t)(bits >> 16 & 0x3fffu) << 4,
                            .stride = (uint32_t)(bits >> 32 & 0x3fffu) << 4,
                            .base_offset = (uint32_t)(bits >> 49 & 7u),
                            .row_chunks = row_chunks[bits >> 62]};
}

// Bits that must be zero.
static inline bool ptx_is_descriptor(uint64_t bits) {
    return (bits & 0x3ff1c000c000c000u) == 0;
}

static inline uint32_t ptx_swizzle(const ptx_descriptor *from, uint32_t address) {
    const uint32_t row = (address >> 7) - from->base_offset;
    return address ^ (row & (from->row_chunks - 1)) << 4;
}

// Address of 16 bytes: eight 16-bit or sixteen 8-bit elements of row `row` along K, the chunk-th of them.
static inline uint32_t ptx_chunk_of_k_major(
    const ptx_descriptor *from, uint32_t row, uint32_t chunk) {
    const uint32_t step = from->row_chunks == 1 ? from->leading : 16;
    const uint32_t within = row % 8 * from->row_chunks * 16;
    return ptx_swizzle(from, from->start + within + row / 8 * from->stride + chunk * step);
}

// Address of eight 16-bit elements along M or N, the chunk-th of them, of one k.
static inline uint32_t ptx_chunk_of_mn_major(
    const ptx_descriptor *from, uint32_t chunk, uint32_t k) {
    const bool is_plain = from->row_chunks == 1;
    const uint32_t along = is_plain ? from->stride : from->leading;
    const uint32_t across = is_plain ? from->leading : from->stride;
    const uint32_t within = chunk % from->row_chunks * 16 + k % 8 * from->row_chunks * 16;
    return ptx_swizzle(
        from, from->start + within + chunk / from->row_chunks * along + k / 8 * across);
}

#endif
