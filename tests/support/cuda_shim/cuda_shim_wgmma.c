// The asynchronous matrix instruction of warpgroups, sm_90a: what a warp has under way, and shared memory as its tensor cores see it. Layouts: PTX ISA,
// "Register Fragments for wgmma.mma_async.m64nNk16", "Matrix Descriptor" and the 128-byte swizzle.
//
// A warp's 16 rows depend on no other warp, so every warp has a queue of its own.
#include "tests/support/cuda_shim/cuda_shim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WARPS = 32, MAX_PENDING = 64, MAX_SUMS = 128 };

// One instruction that some lane has issued; its operands stay where they are until it runs.
typedef struct pending {
    float *d;
    const uint32_t *a;
    uint64_t b;
    int32_t n;
    cuda_shim_element element;
    bool has_run;
} pending;

typedef struct lane_queue {
    pending all[MAX_PENDING];
    int32_t n_all;
    int32_t groups[MAX_PENDING]; // instructions in each committed group
    int32_t n_groups, n_open;    // instructions since the last commit
    bool has_fence;              // since the last commit
    float sums[MAX_SUMS];        // of the accumulator, which holds NaN while anything is under way
    // Stores that the tensor cores do not see yet.
    unsigned char **stores;
    size_t n_stores, stores_capacity;
} lane_queue;

static struct {
    lane_queue *lanes; // [threads]
    unsigned char *shared, *seen;
    size_t shared_bytes;
} state;

void cuda_shim_wgmma_start(unsigned char *shared, size_t shared_bytes) {
    for (int32_t i = 0; state.lanes != NULL && i < MAX_WARPS * 32; i++) {
        lane_queue *q = &state.lanes[i];
        q->n_all = q->n_groups = q->n_open = 0;
        q->n_stores = 0;
        q->has_fence = false;
    }
    free(state.seen);
    state.seen = NULL;
    state.shared = shared;
    state.shared_bytes = shared_bytes;
}

void cuda_shim_wgmma_end(void) {
    for (int32_t i = 0; state.lanes != NULL && i < MAX_WARPS * 32; i++) free(state.lanes[i].stores);
    free(state.lanes);
    free(state.seen);
    memset(&state, 0, sizeof state);
}

// Made when a kernel has a use for them; most have none.
static lane_queue *queue_of(int32_t thread) {
    if (state.lanes == NULL) {
        state.lanes = calloc(MAX_WARPS * 32, sizeof *state.lanes);
        if (state.lanes == NULL) abort();
    }
    return &state.lanes[thread];
}

static lane_queue *own_queue(void) {
    return queue_of(cuda_shim_table()->thread);
}

// ---- shared memory --------------------------------------------------------------------------------------

static unsigned char *seen(void) {
    if (state.seen == NULL) {
        state.seen = malloc(state.shared_bytes + 1);
        if (state.seen == NULL) abort();
        memset(state.seen, 0xff, state.shared_bytes);
    }
    return state.seen;
}

void cuda_shim_wgmma_store_u32(void *p, uint32_t value) {
    lane_queue *q = own_queue();
    memcpy(p, &value, sizeof value);
    if (q->n_stores == q->stores_capacity) {
        q->stores_capacity = q->stores_capacity == 0 ? 256 : q->stores_capacity * 2;
        q->stores = realloc(q->stores, q->stores_capacity * sizeof *q->stores);
        if (q->stores == NULL) abort();
    }
    q->stores[q->n_stores++] = p;
}

void cuda_shim_wgmma_store_fence(void) {
    lane_queue *q = own_queue();
    for (size_t i = 0; i < q->n_stores; i++)
        memcpy(seen() + (q->stores[i] - state.shared), q->stores[i], 4);
    q->n_stores = 0;
}

// ---- issuing --------------------------------------------------------------------------------------------

const char *cuda_shim_wgmma_issue(
    float *d, int32_t n, const uint32_t a[4], uint64_t b, cuda_shim_element element) {
    lane_queue *q = own_queue();
    if (!q->has_fence) return "a group of wgmma begins without wgmma_fence";
    if (q->n_all == MAX_PENDING) return "too many wgmma under way for the shim";
    if (q->n_all > 0 && q->all[0].d != d) return "wgmma of two accumulators for the shim";
    if (q->n_all == 0) {
        memcpy(q->sums, d, (size_t)n / 2 * sizeof *d);
        for (int32_t i = 0; i < n / 2; i++) d[i] = NAN;
    }
    q->all[q->n_all++] = (pending){.d = d, .a = a, .b = b, .n = n, .element = element};
    q->n_open++;
    return NULL;
}

// ---- computing ------------------------------------------------------------------------------------------

// Column `column` of the instruction: 32 bytes of a row of the tile.
static bool read_column(
    const pending *op, const float *table, int32_t column, float values[32], char message[128]) {
    const uint64_t start = (op->b & 0x3fff) << 4, stride = (op->b >> 32 & 0x3fff) << 4;
    if (op->b >> 62 != 1 || (op->b >> 49 & 7) != 0) {
        snprintf(message, 128, "wgmma of a tile without the swizzle of 128 bytes");
        return false;
    }
    for (int i = 0, n = 0; i < 8; i++) {
        uint64_t at =
            start + (uint64_t)(column / 8) * stride + (uint64_t)(column % 8 * 128 + i * 4);
        at ^= (at >> 7 & 7) << 4;
        if (at + 4 > state.shared_bytes) {
            snprintf(message, 128, "wgmma of a tile beyond the shared memory");
            return false;
        }
        uint32_t word;
        memcpy(&word, seen() + at, sizeof word);
        n += cuda_shim_elements(op->element, table, word, values + n);
    }
    return true;
}

// A column of the warp's accumulator: its 16 rows side by side.
typedef float sixteen __attribute__((vector_size(64)));

// Instruction `index` of the warp whose queues begin at `lanes`.
static bool run_one(lane_queue *lanes, int32_t index, char message[128]) {
    const pending *op = &lanes[0].all[index];
    const float *table = cuda_shim_values(op->element);
    sixteen a[32];  // [k]
    int n_word = 2; // elements of a word
    for (int lane = 0; lane < 32; lane++) {
        const pending *own = &lanes[lane].all[index];
        const int g = lane / 4, t = lane % 4;
        if (own->b != op->b || own->n != op->n || own->element != op->element) {
            snprintf(message, 128, "wgmma that differs between lanes");
            return false;
        }
        for (int r = 0; r < 4; r++) {
            float values[4];
            n_word = cuda_shim_elements(op->element, table, own->a[r], values);
            for (int i = 0; i < n_word; i++)
                a[n_word * (t + r / 2 * 4) + i][g + r % 2 * 8] = values[i];
        }
    }
    for (int32_t column = 0; column < op->n; column++) {
        float b[32];
        if (!read_column(op, table, column, b, message)) return false;
        sixteen sum = {0};
        for (int k = 0; k < 8 * n_word; k++) sum += a[k] * b[k];
        for (int row = 0; row < 16; row++) {
            lane_queue *q = &lanes[row % 8 * 4 + column % 8 / 2];
            q->sums[column / 8 * 4 + row / 8 * 2 + column % 2] += sum[row];
        }
    }
    return true;
}

// The first `n` instructions, those that have not run yet.
static bool run_first(lane_queue *lanes, int32_t n, char message[128]) {
    for (int32_t i = 0; i < n; i++) {
        if (lanes[0].all[i].has_run) continue;
        if (!run_one(lanes, i, message)) return false;
        for (int lane = 0; lane < 32; lane++) lanes[lane].all[i].has_run = true;
    }
    return true;
}

static bool commit(lane_queue *lanes, bool early, char message[128]) {
    const int32_t n_open = lanes[0].n_open;
    for (int lane = 0; lane < 32; lane++) {
        lane_queue *q = &lanes[lane];
        if (q->n_open != n_open) {
            snprintf(message, 128, "wgmma that only some lanes issued");
            return false;
        }
        q->groups[q->n_groups++] = n_open;
        q->n_open = 0;
        q->has_fence = false;
    }
    return !early || run_first(lanes, lanes[0].n_all, message);
}

static bool wait(lane_queue *lanes, int32_t n_pending, char message[128]) {
    const int32_t n_done = lanes[0].n_groups - n_pending;
    int32_t n = 0;
    for (int32_t i = 0; i < n_done; i++) n += lanes[0].groups[i];
    if (!run_first(lanes, n, message)) return false;
    for (int lane = 0; lane < 32 && n_done > 0; lane++) {
        lane_queue *q = &lanes[lane];
        q->n_groups -= n_done;
        memmove(q->groups, q->groups + n_done, (size_t)q->n_groups * sizeof *q->groups);
        const pending last = q->all[0];
        q->n_all -= n;
        memmove(q->all, q->all + n, (size_t)q->n_all * sizeof *q->all);
        if (q->n_all == 0 && n > 0) memcpy(last.d, q->sums, (size_t)last.n / 2 * sizeof *last.d);
    }
    return true;
}

bool cuda_shim_wgmma_warp(
    cuda_shim_warp_op op, int32_t first_thread, uint32_t word, bool early, char message[128]) {
    lane_queue *lanes = queue_of(first_thread);
    if (op == CUDA_SHIM_WGMMA_COMMIT) return commit(lanes, early, message);
    if (op == CUDA_SHIM_WGMMA_WAIT) return wait(lanes, (int32_t)word, message);
    for (int lane = 0; lane < 32; lane++) lanes[lane].has_fence = true;
    return true;
}
