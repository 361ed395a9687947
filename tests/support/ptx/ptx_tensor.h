// ptx_tensor: boxes of tensors for cp.async.bulk.tensor, described by the maps of ptx.h.
#ifndef MLCC_TESTS_PTX_PTX_TENSOR_H
#define MLCC_TESTS_PTX_PTX_TENSOR_H

#include "tests/support/ptx/ptx_space.h"

// A map and a place in it.
typedef struct ptx_box {
    ptx_tensor_map map;
    int32_t column, row;   // of its first element
    uint32_t shared_start; // address in shared memory
} ptx_box;

// Reads the map at a generic address. False, and the launch failed, when there is none or what it says cannot be copied.
bool ptx_box_take(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t map_address, ptx_box *out);
// Whether the global memory of the box's elements that exist may be used.
bool ptx_box_check(ptx_warp *warp, const ptx_insn *insn, int lane, const ptx_box *box, ptx_use use);
uint32_t ptx_box_bytes(const ptx_box *box);
// Between global memory and the box's bytes in shared memory; what lies outside the tensor is zero, or left out.
void ptx_box_load(const ptx_box *box, uint8_t *shared);
void ptx_box_store(const ptx_box *box, const uint8_t *shared);

#endif
