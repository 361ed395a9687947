// cuda_shim: CUDA threads on the host. Every thread of a block is a fiber; blocks run one after another. The host side of
// codegen/cuda/kernels/device.h (device_host.h) calls the functions of `cuda_shim`, which a compiled kernel gets as a table, so that this file
// is compiled once, with the test.
//
// What a kernel may rely on is exactly what CUDA promises, and less comes true than usually does on a GPU:
//   - shared memory is 0xFF (NaN) at the start of a block, and of exact size: with the address sanitizer every overrun is a report, without it a
//     guard behind it is checked;
//   - copy_async16 copies at the wait, so a wrong count, a missing barrier or a stage off by one reads NaN; with a seed some copies come at
//     once, so that a place which is still read is seen;
//   - a warp runs on until it waits for the block, so warps are as far apart as barriers let them;
//   - an operation of a warp needs all 32 lanes at the same one; when nothing can run any more, block, lane and operation are named;
//   - a wgmma runs when it is waited for, with a seed some when their group is committed: until then its accumulator is NaN, and it reads fragments and tiles as
//     they are then; what it sees of tiles are the stores that a wgmma_store_fence followed;
//   - with a seed other than 0, blocks run in random order, and so do warps and lanes, another one at every step, warps for stretches of random
//     length.
//
// One launch at a time in a process.
#ifndef MLCC_TESTS_SUPPORT_CUDA_SHIM_CUDA_SHIM_H
#define MLCC_TESTS_SUPPORT_CUDA_SHIM_CUDA_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#    define CUDA_SHIM_HAS_ASAN 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define CUDA_SHIM_HAS_ASAN 1
#    endif
#endif
#ifndef CUDA_SHIM_HAS_ASAN
#    define CUDA_SHIM_HAS_ASAN 0
#endif

// What 32 lanes do together. Words in and out, per lane:
//   SYNC      -
//   SHUFFLE   value, source lane                      -> value
//   BALLOT    condition                               -> bits
//   MMA_*     d[4] as float bits, a[4], b[2]          -> d[4]
//   LDMATRIX* address, low and high half              -> r[4]
//   REGISTERS number of registers from here on
//   WGMMA_WAIT groups that may be under way
typedef enum cuda_shim_warp_op {
    CUDA_SHIM_SYNC,
    CUDA_SHIM_SHUFFLE,
    CUDA_SHIM_BALLOT,
    CUDA_SHIM_MMA_F16,
    CUDA_SHIM_MMA_BF16,
    CUDA_SHIM_MMA_E4M3,
    CUDA_SHIM_MMA_E5M2,
    CUDA_SHIM_LDMATRIX,
    CUDA_SHIM_LDMATRIX_TRANS,
    CUDA_SHIM_REGISTERS,
    CUDA_SHIM_WGMMA_FENCE,
    CUDA_SHIM_WGMMA_COMMIT,
    CUDA_SHIM_WGMMA_WAIT,
    CUDA_SHIM_N_WARP_OPS
} cuda_shim_warp_op;

#define CUDA_SHIM_WARP_WORDS 10

// Arithmetic on arrays of the shim's own, which is most of what it does: the sanitizers watch kernels.
#define CUDA_SHIM_OWN_ARRAYS __attribute__((no_sanitize("address", "undefined")))

// What wgmma multiplies.
typedef enum cuda_shim_element {
    CUDA_SHIM_F16,
    CUDA_SHIM_BF16,
    CUDA_SHIM_E4M3,
    CUDA_SHIM_E5M2
} cuda_shim_element;

// What a compiled kernel sees.
typedef struct cuda_shim {
    int32_t thread, n_threads; // of the fiber that runs now
    int32_t block[3], n_blocks[3];
    unsigned char *shared;
    // Static shared memory: the same key gives the same bytes throughout a block.
    void *(*shared_array)(const void *key, size_t size_bytes);
    void (*block_sync)(void);
    void (*warp)(cuda_shim_warp_op op, uint32_t words[CUDA_SHIM_WARP_WORDS]);
    void (*copy_async16)(void *shared, const void *global, bool is_valid);
    void (*copy_async_commit)(void);
    void (*copy_async_wait)(int32_t n_pending);
    void (*require_aligned)(const void *address, size_t alignment, const char *what);
    // Hopper: a barrier is 8 bytes of shared memory.
    void (*barrier_init)(void *barrier, uint32_t n);
    void (*barrier_arrive)(void *barrier);
    void (*barrier_wait)(void *barrier, uint32_t parity);
    void (*wgmma_store_u32)(void *p, uint32_t value);
    void (*wgmma_store_fence)(void);
    void (*wgmma)(float *d, int32_t n, const uint32_t a[4], uint64_t b, cuda_shim_element element);
} cuda_shim;

typedef void cuda_shim_entry(const void *words);

typedef struct cuda_shim_launch {
    cuda_shim_entry *entry;
    const void *words; // the kernel's argument
    int32_t grid[3];
    int32_t n_threads; // of a block, a multiple of 32
    int64_t shared_bytes;
    uint64_t seed; // 0: in order
} cuda_shim_launch;

// The table, the same at every call.
cuda_shim *cuda_shim_table(void);
// False: `message` says what the kernel did wrong, with block and thread.
bool cuda_shim_run(const cuda_shim_launch *launch, char message[256]);

// ---- between the files of the shim

// Runs an operation for a warp whose lanes have all arrived: words[lane][…] in place. False: a lane's source is wrong, named in message.
bool cuda_shim_warp_compute(
    cuda_shim_warp_op op, uint32_t (*words[32])[CUDA_SHIM_WARP_WORDS], char message[128]);

// What the codes of an element stand for, by code; NULL for bf16, whose codes are the upper halves of numbers.
const float *cuda_shim_values(cuda_shim_element element);
// The elements of a word, lowest first, with the table of cuda_shim_values; their number.
int cuda_shim_elements(
    cuda_shim_element element, const float *table, uint32_t word, float values[4]);

// cuda_shim_wgmma.c. A block begins; a launch has ended.
void cuda_shim_wgmma_start(unsigned char *shared, size_t shared_bytes);
void cuda_shim_wgmma_end(void);
void cuda_shim_wgmma_store_u32(void *p, uint32_t value);
void cuda_shim_wgmma_store_fence(void);
// NULL, or what is wrong.
const char *cuda_shim_wgmma_issue(
    float *d, int32_t n, const uint32_t a[4], uint64_t b, cuda_shim_element element);
// A WGMMA_ operation of the warp that begins at `first_thread`. early: a group runs when it is committed.
bool cuda_shim_wgmma_warp(
    cuda_shim_warp_op op, int32_t first_thread, uint32_t word, bool early, char message[128]);

// A stack that can be left and entered again.
typedef struct cuda_shim_fiber {
    void *stack_pointer;
    char *stack; // size_bytes, own memory
    size_t size_bytes;
    void *sanitizer_stack;
    bool is_empty; // whoever ran on the stack has come back from all calls
} cuda_shim_fiber;
// Prepares `fiber` so that the first switch to it calls function(), which must not return.
void cuda_shim_fiber_start(cuda_shim_fiber *fiber, void (*function)(void));
// Leaves `from` (a fiber, or the scheduler's record of itself) and continues `to`. `ends`: `from` is never entered again.
void cuda_shim_fiber_switch(cuda_shim_fiber *from, cuda_shim_fiber *to, bool ends);
// Must be the first thing that a started function does.
void cuda_shim_fiber_entered(void);

#endif
