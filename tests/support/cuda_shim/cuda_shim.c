// The scheduler: fibers of a block run until they wait for their warp or their block; what is waited for, and by whom, is known at every
// moment, so nothing can hang.
#include "tests/support/cuda_shim/cuda_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_THREADS = 1024,
    MAX_ARRAYS = 16,
    GUARD_BYTES = 64,
    GUARD_BYTE = 0xa5,
    // Frames under the sanitizers are several times as large.
    STACK_BYTES = 256 * 1024
};

typedef enum lane_state { READY, AT_WARP, AT_BARRIER, AT_BLOCK, DONE } lane_state;

// One 16-byte copy that is on its way.
typedef struct pending_copy {
    void *shared;
    const void *global;
    bool is_valid;
} pending_copy;

typedef struct lane {
    cuda_shim_fiber fiber;
    lane_state state;
    cuda_shim_warp_op op; // AT_WARP
    uint32_t words[CUDA_SHIM_WARP_WORDS];
    const void *barrier; // AT_BARRIER
    uint32_t parity;
    pending_copy *copies;
    size_t n_copies, copies_capacity;
    size_t *groups; // number of copies when the group was committed
    size_t n_groups, groups_capacity;
} lane;

typedef struct shared_array {
    const void *key;
    void *memory;
    size_t size_bytes;
} shared_array;

static struct {
    const cuda_shim_launch *launch;
    lane lanes[MAX_THREADS];
    int32_t n_arrived[MAX_THREADS / 32];
    cuda_shim_fiber scheduler;
    shared_array arrays[MAX_ARRAYS];
    size_t n_arrays;
    uint64_t random; // 0: everything in order
    // The warp whose turn it is: its lanes in the order in which they run, each until it waits.
    int32_t turn[32], n_turns;
    bool has_failed;
    char *message;
} run;

static cuda_shim shim;

static const char *const op_names[CUDA_SHIM_N_WARP_OPS] = {
    [CUDA_SHIM_SYNC] = "warp_sync",
    [CUDA_SHIM_SHUFFLE] = "a shuffle",
    [CUDA_SHIM_BALLOT] = "ballot",
    [CUDA_SHIM_MMA_F16] = "mma_f16_16x8x16",
    [CUDA_SHIM_MMA_BF16] = "mma_bf16_16x8x16",
    [CUDA_SHIM_MMA_E4M3] = "mma_e4m3_16x8x32",
    [CUDA_SHIM_MMA_E5M2] = "mma_e5m2_16x8x32",
    [CUDA_SHIM_LDMATRIX] = "ldmatrix_x4",
    [CUDA_SHIM_LDMATRIX_TRANS] = "ldmatrix_x4_trans",
    [CUDA_SHIM_REGISTERS] = "registers_give or registers_take",
    [CUDA_SHIM_WGMMA_FENCE] = "wgmma_fence",
    [CUDA_SHIM_WGMMA_COMMIT] = "wgmma_commit",
    [CUDA_SHIM_WGMMA_WAIT] = "wgmma_wait",
};

// ---- failing ------------------------------------------------------------------------------------------

static void describe(int32_t thread, char text[64]) {
    const lane *l = &run.lanes[thread];
    const char *where = l->state == DONE         ? "has ended"
                        : l->state == AT_BLOCK   ? "waits in block_sync"
                        : l->state == AT_BARRIER ? "waits in barrier_wait"
                        : l->state == AT_WARP    ? "waits in"
                                                 : "runs";
    snprintf(
        text, 64, "thread %d (lane %d) %s%s%s", thread, thread % 32, where,
        l->state == AT_WARP ? " " : "", l->state == AT_WARP ? op_names[l->op] : "");
}

static void fail_in_block(const char *what) {
    if (!run.has_failed) {
        snprintf(
            run.message, 256, "block (%d, %d, %d): %s", shim.block[0], shim.block[1], shim.block[2],
            what);
    }
    run.has_failed = true;
}

static bool has_ended(const void *p, uint32_t parity);

// The next lane of the warp's turn that can run, which then is the thread that runs; NULL: the turn is over.
static lane *next_lane(void) {
    while (run.n_turns < 32 && !run.has_failed) {
        const int32_t thread = run.turn[run.n_turns++];
        lane *l = &run.lanes[thread];
        if (l->state == AT_BARRIER && has_ended(l->barrier, l->parity)) l->state = READY;
        if (l->state != READY) continue;
        shim.thread = thread;
        return l;
    }
    return NULL;
}

// To the next lane, or to the scheduler when there is none; for ever or until it comes back.
static void leave(lane_state state) {
    lane *self = &run.lanes[shim.thread];
    self->state = state;
    lane *next = next_lane();
    cuda_shim_fiber *to = next != NULL ? &next->fiber : &run.scheduler;
    cuda_shim_fiber_switch(&self->fiber, to, state == DONE);
}

// A mistake of the fiber that runs: it is not continued.
static void fail_here(const char *what) {
    char text[192];
    snprintf(text, sizeof text, "thread %d (lane %d): %s", shim.thread, shim.thread % 32, what);
    fail_in_block(text);
    leave(DONE);
}

// ---- what kernels call --------------------------------------------------------------------------------

static void block_sync(void) {
    leave(AT_BLOCK);
}

static uint64_t next_random(void);

static bool compute_warp(
    cuda_shim_warp_op op, int32_t first, uint32_t (*all[32])[CUDA_SHIM_WARP_WORDS],
    char message[128]) {
    if (op < CUDA_SHIM_WGMMA_FENCE) return cuda_shim_warp_compute(op, all, message);
    const bool early = run.random != 0 && next_random() % 2 == 0;
    return cuda_shim_wgmma_warp(op, first, (*all[0])[0], early, message);
}

// The last lane to arrive computes for all.
static void warp(cuda_shim_warp_op op, uint32_t words[CUDA_SHIM_WARP_WORDS]) {
    const int32_t first = shim.thread / 32 * 32;
    lane *self = &run.lanes[shim.thread], *lanes = &run.lanes[first];
    memcpy(self->words, words, sizeof self->words);
    self->op = op;
    if (++run.n_arrived[first / 32] < 32) {
        leave(AT_WARP);
    } else {
        uint32_t(*all[32])[CUDA_SHIM_WARP_WORDS];
        for (int32_t i = 0; i < 32; i++) {
            all[i] = &lanes[i].words;
            if (lanes[i].op == op) continue;
            char text[128];
            snprintf(
                text, sizeof text, "is in %s while lane %d is in %s", op_names[op], i,
                op_names[lanes[i].op]);
            fail_here(text);
        }
        char text[128];
        if (!compute_warp(op, first, all, text)) fail_here(text);
        run.n_arrived[first / 32] = 0;
        for (int32_t i = 0; i < 32; i++) lanes[i].state = READY;
    }
    memcpy(words, self->words, sizeof self->words);
}

static void *shared_array_of(const void *key, size_t size_bytes) {
    for (size_t i = 0; i < run.n_arrays; i++) {
        if (run.arrays[i].key == key) return run.arrays[i].memory;
    }
    if (run.n_arrays == MAX_ARRAYS) fail_here("too many static shared arrays for the shim");
    shared_array *array = &run.arrays[run.n_arrays++];
    *array = (shared_array){.key = key, .size_bytes = size_bytes};
    if (posix_memalign(&array->memory, 128, size_bytes) != 0) abort();
    memset(array->memory, 0xff, size_bytes);
    return array->memory;
}

static void require_aligned(const void *address, size_t alignment, const char *what) {
    if ((uintptr_t)address % alignment == 0) return;
    char text[128];
    snprintf(text, sizeof text, "%s of an address that is no multiple of %zu", what, alignment);
    fail_here(text);
}

// xorshift64
static uint64_t next_random(void) {
    run.random ^= run.random << 13;
    run.random ^= run.random >> 7;
    run.random ^= run.random << 17;
    return run.random;
}

static void *grow(void *array, size_t n, size_t *capacity, size_t element_bytes) {
    if (n < *capacity) return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    array = realloc(array, *capacity * element_bytes);
    if (array == NULL) abort();
    return array;
}

static void copy_now(const pending_copy *copy) {
    if (copy->is_valid)
        memcpy(copy->shared, copy->global, 16);
    else
        memset(copy->shared, 0, 16);
}

static void copy_async16(void *shared, const void *global, bool is_valid) {
    lane *self = &run.lanes[shim.thread];
    require_aligned(shared, 16, "copy_async16 to");
    require_aligned(global, 16, "copy_async16 from");
    const pending_copy copy = {shared, global, is_valid};
    // As late as allowed; with a seed some as early as possible, which finds what still reads the place.
    if (run.random != 0 && next_random() % 2 == 0) {
        copy_now(&copy);
        return;
    }
    self->copies = grow(self->copies, self->n_copies, &self->copies_capacity, sizeof *self->copies);
    self->copies[self->n_copies++] = copy;
}

static void copy_async_commit(void) {
    lane *self = &run.lanes[shim.thread];
    self->groups = grow(self->groups, self->n_groups, &self->groups_capacity, sizeof *self->groups);
    self->groups[self->n_groups++] = self->n_copies;
}

static void copy_async_wait(int32_t n_pending) {
    lane *self = &run.lanes[shim.thread];
    if (self->n_groups <= (size_t)n_pending) return;
    const size_t n_groups = self->n_groups - (size_t)n_pending;
    const size_t n_copies = self->groups[n_groups - 1];
    for (size_t i = 0; i < n_copies; i++) copy_now(&self->copies[i]);
    self->n_copies -= n_copies;
    // Where every copy came at once there is no list.
    if (self->n_copies > 0) {
        memmove(self->copies, self->copies + n_copies, self->n_copies * sizeof *self->copies);
    }
    self->n_groups -= n_groups;
    for (size_t i = 0; i < self->n_groups; i++) {
        self->groups[i] = self->groups[i + n_groups] - n_copies;
    }
}

// ---- barriers in shared memory ------------------------------------------------------------------------

// The eight bytes. Poison is no barrier.
typedef struct shared_barrier {
    uint16_t magic, n, n_missing, phase;
} shared_barrier;

enum { BARRIER_MAGIC = 0x4242 };

static void barrier_init(void *p, uint32_t n) {
    require_aligned(p, 8, "barrier_init");
    if (n < 1 || n > MAX_THREADS) fail_here("barrier_init with a number that no block has");
    const shared_barrier fresh = {BARRIER_MAGIC, (uint16_t)n, (uint16_t)n, 0};
    memcpy(p, &fresh, sizeof fresh);
}

static shared_barrier barrier_at(const void *p) {
    shared_barrier barrier;
    memcpy(&barrier, p, sizeof barrier);
    return barrier;
}

static void barrier_arrive(void *p) {
    shared_barrier barrier = barrier_at(p);
    if (barrier.magic != BARRIER_MAGIC) fail_here("barrier_arrive before barrier_init");
    if (--barrier.n_missing == 0) {
        barrier.n_missing = barrier.n;
        barrier.phase++;
    }
    memcpy(p, &barrier, sizeof barrier);
}

static bool has_ended(const void *p, uint32_t parity) {
    return (barrier_at(p).phase & 1u) != (parity & 1u);
}

static void barrier_wait(void *p, uint32_t parity) {
    lane *self = &run.lanes[shim.thread];
    if (barrier_at(p).magic != BARRIER_MAGIC) fail_here("barrier_wait before barrier_init");
    self->barrier = p;
    self->parity = parity;
    while (!has_ended(p, parity)) leave(AT_BARRIER);
}

static void wgmma(float *d, int32_t n, const uint32_t a[4], uint64_t b, cuda_shim_element element) {
    const char *mistake = cuda_shim_wgmma_issue(d, n, a, b, element);
    if (mistake != NULL) fail_here(mistake);
}

static cuda_shim shim = {
    .shared_array = shared_array_of,
    .block_sync = block_sync,
    .warp = warp,
    .copy_async16 = copy_async16,
    .copy_async_commit = copy_async_commit,
    .copy_async_wait = copy_async_wait,
    .require_aligned = require_aligned,
    .barrier_init = barrier_init,
    .barrier_arrive = barrier_arrive,
    .barrier_wait = barrier_wait,
    .wgmma_store_u32 = cuda_shim_wgmma_store_u32,
    .wgmma_store_fence = cuda_shim_wgmma_store_fence,
    .wgmma = wgmma,
};

cuda_shim *cuda_shim_table(void) {
    return &shim;
}

// ---- the scheduler ------------------------------------------------------------------------------------

static void run_thread(void) {
    cuda_shim_fiber_entered();
    run.launch->entry(run.launch->words);
    run.lanes[shim.thread].fiber.is_empty = true;
    leave(DONE);
    abort();
}

// first … first + n-1, in order or shuffled.
static void make_order(int32_t *order, int32_t first, int32_t n) {
    for (int32_t i = 0; i < n; i++) order[i] = first + i;
    for (int32_t i = n - 1; i > 0 && run.random != 0; i--) {
        const int32_t j = (int32_t)((uint32_t)next_random() % (uint32_t)(i + 1));
        const int32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

// Every lane of a warp that can runs until it waits; whether any could. They hand over to each other: the last one comes back here.
static bool run_warp(int32_t first) {
    bool can_run = false;
    for (int32_t i = 0; i < 32 && !can_run; i++) {
        const lane *l = &run.lanes[first + i];
        can_run = l->state == READY || (l->state == AT_BARRIER && has_ended(l->barrier, l->parity));
    }
    if (!can_run) return false;
    make_order(run.turn, first, 32);
    run.n_turns = 0;
    lane *next = next_lane();
    if (next == NULL) return false;
    cuda_shim_fiber_switch(&run.scheduler, &next->fiber, false);
    return true;
}

// A warp runs until it waits for the block, with a seed for a random number of its operations: warps far apart are what a missing barrier
// needs to be seen.
static bool run_stretch(int32_t first) {
    bool has_run = false;
    while (!run.has_failed && run_warp(first)) {
        has_run = true;
        if (run.random != 0 && next_random() % 64 == 0) break;
    }
    return has_run;
}

// All waiting: at the same barrier, or something is wrong. Threads that have ended count as arrived.
static bool release_barrier(void) {
    int32_t at_warp = -1, other = -1;
    bool has_waiting = false;
    for (int32_t i = 0; i < shim.n_threads; i++) {
        if (run.lanes[i].state == AT_WARP && at_warp < 0) at_warp = i;
    }
    for (int32_t i = 0; at_warp >= 0 && i < 32; i++) {
        const int32_t thread = at_warp / 32 * 32 + i;
        if (run.lanes[thread].state != AT_WARP && other < 0) other = thread;
    }
    if (at_warp >= 0) {
        char text[160], here[64] = "", there[64] = "";
        describe(at_warp, here);
        describe(other < 0 ? at_warp : other, there);
        snprintf(text, sizeof text, "the warp has parted: %s, %s", here, there);
        fail_in_block(text);
        return false;
    }
    for (int32_t i = 0; i < shim.n_threads; i++) {
        if (run.lanes[i].state != AT_BARRIER) continue;
        char text[160], here[64] = "";
        describe(i, here);
        snprintf(text, sizeof text, "%s for a phase that does not end", here);
        fail_in_block(text);
        return false;
    }
    for (int32_t i = 0; i < shim.n_threads; i++) {
        if (run.lanes[i].state != AT_BLOCK) continue;
        run.lanes[i].state = READY;
        has_waiting = true;
    }
    return has_waiting;
}

static void start_block(const int32_t index[3], unsigned char *shared) {
    memcpy(shim.block, index, sizeof shim.block);
    memset(run.n_arrived, 0, sizeof run.n_arrived);
    memset(shared, 0xff, (size_t)run.launch->shared_bytes);
    cuda_shim_wgmma_start(shared, (size_t)run.launch->shared_bytes);
    for (size_t i = 0; i < run.n_arrays; i++)
        memset(run.arrays[i].memory, 0xff, run.arrays[i].size_bytes);
    for (int32_t i = 0; i < shim.n_threads; i++) {
        lane *l = &run.lanes[i];
        l->state = READY;
        l->n_copies = l->n_groups = 0;
        if (l->fiber.stack == NULL) {
            l->fiber.size_bytes = STACK_BYTES;
            l->fiber.stack = malloc(STACK_BYTES);
            if (l->fiber.stack == NULL) abort();
        }
        cuda_shim_fiber_start(&l->fiber, run_thread);
    }
}

static void run_block(void) {
    int32_t order[MAX_THREADS / 32];
    const int32_t n_warps = shim.n_threads / 32;
    do {
        bool has_run = true;
        while (has_run && !run.has_failed) {
            has_run = false;
            make_order(order, 0, n_warps);
            for (int32_t i = 0; i < n_warps; i++) has_run = run_stretch(order[i] * 32) || has_run;
        }
    } while (!run.has_failed && release_barrier());
}

static void run_grid(unsigned char *shared, const unsigned char *guard, size_t guard_bytes) {
    const int32_t *n = shim.n_blocks;
    const int32_t n_all = n[0] * n[1] * n[2];
    int32_t *order = malloc(sizeof *order * (size_t)n_all);
    if (order == NULL) abort();
    make_order(order, 0, n_all);
    for (int32_t b = 0; b < n_all && !run.has_failed; b++) {
        start_block(
            (int32_t[]){order[b] % n[0], order[b] / n[0] % n[1], order[b] / n[0] / n[1]}, shared);
        run_block();
        for (size_t i = 0; i < guard_bytes && !run.has_failed; i++) {
            if (guard[i] != GUARD_BYTE) fail_in_block("wrote behind its shared memory");
        }
    }
    free(order);
}

// Lanes keep their stacks and lists for the next launch: getting them costs more than most launches.
static void end_launch(void) {
    for (size_t i = 0; i < run.n_arrays; i++) free(run.arrays[i].memory);
    run.n_arrays = 0;
}

#if CUDA_SHIM_HAS_ASAN
enum { SHARED_GUARD_BYTES = 0 }; // the sanitizer's own guard begins at the very next byte
#else
enum { SHARED_GUARD_BYTES = GUARD_BYTES };
#endif

bool cuda_shim_run(const cuda_shim_launch *launch, char message[256]) {
    if (launch->n_threads < 32 || launch->n_threads % 32 != 0 || launch->n_threads > MAX_THREADS) {
        snprintf(message, 256, "%d threads are no whole number of warps", launch->n_threads);
        return false;
    }
    run.launch = launch;
    run.message = message;
    run.has_failed = false;
    run.random = launch->seed;
    memset(&run.scheduler, 0, sizeof run.scheduler);
    shim.n_threads = launch->n_threads;
    memcpy(shim.n_blocks, launch->grid, sizeof shim.n_blocks);
    void *shared = NULL;
    const size_t shared_bytes = (size_t)launch->shared_bytes;
    if (posix_memalign(&shared, 1024, shared_bytes + SHARED_GUARD_BYTES) != 0) abort();
    unsigned char *guard = (unsigned char *)shared + shared_bytes;
    memset(guard, GUARD_BYTE, SHARED_GUARD_BYTES);
    shim.shared = shared;
    run_grid(shared, guard, SHARED_GUARD_BYTES);
    free(shared);
    cuda_shim_wgmma_end();
    end_launch();
    return !run.has_failed;
}
