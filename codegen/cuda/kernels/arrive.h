// arrive: blocks of one launch that hand something on. All threads of a block must call.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_ARRIVE_H
#define MLCC_CODEGEN_CUDA_KERNELS_ARRIVE_H

// Whether this block is the last of n_blocks that get here; then it sees what all of them wrote before. `counter` is 0 before and after.
DEVICE bool arrive_last(u32 *counter, u32 n_blocks, u32 *shared) {
    device_fence();
    block_sync(); // all threads' writes are out
    if (thread_index() == 0) *shared = atomic_add_u32(counter, 1) + 1;
    block_sync();
    if (*shared != n_blocks) return false;
    device_fence();
    if (thread_index() == 0) *counter = 0;
    return true;
}

#endif
