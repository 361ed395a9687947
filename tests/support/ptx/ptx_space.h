// ptx_space: where an address of a lane lies, and what is known of shared bytes.
#ifndef MLCC_TESTS_PTX_PTX_SPACE_H
#define MLCC_TESTS_PTX_PTX_SPACE_H

#include "tests/support/ptx/program.h"

typedef struct ptx_location {
    uint8_t *data;
    bool is_shared;
    uint32_t offset; // in the block's shared bytes
} ptx_location;

typedef enum ptx_use { PTX_READS, PTX_WRITES } ptx_use;

enum ptx_byte_state {
    PTX_BYTE_UNWRITTEN,
    PTX_BYTE_WRITTEN,
    PTX_BYTE_COPYING, // by a cp.async that was not waited for
    PTX_BYTE_OBJECT   // of an mbarrier
};

// False, and the launch failed, when the bytes are not all there or the address is not a multiple of n_bytes (a power of two).
bool ptx_locate(
    ptx_warp *warp, const ptx_insn *insn, int lane, ptx_space space, uint64_t address,
    uint32_t n_bytes, ptx_use use, ptx_location *out);

// The same for any size, with an alignment of its own.
bool ptx_locate_range(
    ptx_warp *warp, const ptx_insn *insn, int lane, ptx_space space, uint64_t address,
    uint32_t n_bytes, uint32_t alignment, ptx_use use, ptx_location *out);

// A lane reads or writes bytes: unwritten ones, copies under way and races are reported. `data`: what it writes (the same value again is no race);
// NULL when unknown.
void ptx_shadow_read(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes);
void ptx_shadow_write(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    const uint8_t *data);
void ptx_shadow_atomic(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes);
// The bytes are filled from now on by a copy: reading them is an error until ptx_shadow_copied. `is_bulk`: by the async proxy.
void ptx_shadow_copying(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    bool is_bulk);
void ptx_shadow_copied(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes);
// The async proxy reads bytes between these two: they must be written, ordered and fenced, and nobody may write them meanwhile. Words are whole.
void ptx_shadow_async_begin(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes);
void ptx_shadow_async_end(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes);

// All warps of a block that begins know that what came before is over.
void ptx_clocks_start(ptx_block *block);
// What the warp did and knows is known to whoever acquires `into`.
void ptx_clock_release(ptx_warp *warp, ptx_clock *into);
void ptx_clock_acquire(ptx_warp *warp, const ptx_clock *from);
void ptx_clock_join(const ptx_block *block, ptx_clock *into, const ptx_clock *from);
// fence.proxy.async
void ptx_clock_fence(ptx_warp *warp);

// `items`, moved to where there is room for one more; stops the program when memory ends. The caller frees them.
void *ptx_grow(void *items, size_t n_items, size_t *capacity, size_t item_bytes);

// Counts the requests of one instruction; `addresses` of the lanes of `mask`, each of n_bytes.
void ptx_count_global(ptx_block *block, const uint64_t *addresses, uint32_t mask, uint32_t n_bytes);
void ptx_count_shared(ptx_block *block, const uint64_t *addresses, uint32_t mask, uint32_t n_bytes);

#endif
