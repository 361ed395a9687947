// ptx_sync: what orders threads and what goes on beside them: barriers of the block, mbarriers, bulk copies, wgmma.
//
// ptx_run.c calls these around instructions and blocks. What is asynchronous on a GPU is done here as late as the kernel allows: a bulk copy when
// somebody looks at its mbarrier, a wgmma when its group is waited for.
#ifndef MLCC_TESTS_PTX_PTX_SYNC_H
#define MLCC_TESTS_PTX_PTX_SYNC_H

#include "tests/support/ptx/program.h"

// ---- barriers of the block: ptx_barrier.c ------------------------------------------------------------------------------------------------------

// The lanes `mask` of a split come to a barrier; unless the instruction is bar.arrive they wait there (the rest goes on as a split of its own).
void ptx_barrier_arrive(ptx_warp *warp, ptx_split *split, const ptx_insn *insn, uint32_t mask);
// Lets go who waits at a barrier that has all it expects, now that threads may have returned. True: some go on.
bool ptx_barriers_release(ptx_block *block);
void ptx_barriers_start(ptx_block *block);

// ---- mbarriers: ptx_mbarrier.c -----------------------------------------------------------------------------------------------------------------

// False, and the launch failed, when no mbarrier that this lane knows of lies at a shared address.
bool ptx_mbarrier_find(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t *index);
// As ptx_mbarrier_find for a bulk copy: the async proxy must have seen the mbarrier's init.
bool ptx_mbarrier_find_fenced(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t *index);
// Bytes of a bulk copy that `by` knew to be ordered have come.
void ptx_mbarrier_complete(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t index, uint32_t n_bytes,
    const ptx_clock *by);
// fence.proxy.async or fence.mbarrier_init by this warp.
void ptx_mbarriers_fence(ptx_warp *warp);
// Adds what the mbarriers wait for, for a report on a block that cannot go on.
void ptx_mbarriers_describe(const ptx_block *block, mlcc_str *text);
void ptx_mbarriers_start(ptx_block *block);
void ptx_mbarriers_free(ptx_block *block);

// ---- bulk copies: ptx_bulk.c -------------------------------------------------------------------------------------------------------------------

// Performs the copies to shared memory that complete on this mbarrier.
void ptx_transfers_complete(ptx_block *block, uint32_t mbarrier);
// False, and the launch failed, when copies are under way that nobody waited for; copies to global memory that only need time are performed.
bool ptx_transfers_end(ptx_block *block);
void ptx_transfers_free(ptx_block *block);

// ---- cp.async: ptx_access.c --------------------------------------------------------------------------------------------------------------------

// Performs the lane's copies with numbers below `end`.
void ptx_copies_complete(ptx_warp *warp, const ptx_insn *insn, uint32_t lane, uint32_t end);

// ---- warpgroups: ptx_wgmma.c -------------------------------------------------------------------------------------------------------------------

// Called for instructions that are PTX_WATCHED; false, and the launch failed, when they touch registers of a wgmma under way.
bool ptx_wgmma_watch(ptx_warp *warp, const ptx_insn *insn, uint32_t mask);
// Marks the instructions of a decoded function that share registers with a wgmma; `scratch` of any lifetime.
void ptx_wgmma_mark(ptx_function *function, mlcc_arena *scratch);
// The warp comes to an instruction that all four warps of its group execute alike. False: the launch failed.
bool ptx_warpgroup_step(
    ptx_warp *warp, const ptx_insn *insn, uint32_t mask, uint64_t first, uint64_t second);
void ptx_wgmma_prepare(ptx_block *block, mlcc_arena *arena);
void ptx_wgmma_start(ptx_block *block);
// False, and the launch failed, when a wgmma was not waited for or the warps of a group differ.
bool ptx_wgmma_end(ptx_block *block);
void ptx_wgmma_free(ptx_block *block);

#endif
