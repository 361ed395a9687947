// Bulk copies between global and shared memory: cp.async.bulk.
//
// A copy into shared memory is performed when somebody looks at the mbarrier that it completes on, one out of shared memory when its group is waited
// for: until then its bytes are missing there, or may not be overwritten here.
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_space.h"
#include "tests/support/ptx/ptx_sync.h"
#include "tests/support/ptx/ptx_tensor.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT     16u
#define BOX_ALIGNMENT 128u

typedef struct transfer {
    ptx_warp *warp;
    const ptx_insn *insn;
    uint8_t *global;
    uint8_t *bytes; // of a copy out of shared memory that has been read but not written
    uint32_t lane, offset, n_bytes;
    uint32_t mbarrier;
    uint32_t group; // of a copy out of shared memory
    bool is_out;
    bool is_box; // of a tensor
    ptx_box box;
    ptx_clock clock;
} transfer;

struct ptx_transfers {
    transfer *items;
    size_t n_items, capacity;
    uint32_t *open_groups; // per thread: number of the group that the next commit closes
};

static ptx_transfers *transfers_of(ptx_block *block) {
    if (block->transfers != NULL) return block->transfers;
    block->transfers = calloc(1, sizeof *block->transfers);
    if (block->transfers == NULL) abort();
    block->transfers->open_groups = calloc(PTX_MAX_WARPS * PTX_LANES, sizeof(uint32_t));
    if (block->transfers->open_groups == NULL) abort();
    return block->transfers;
}

void ptx_transfers_free(ptx_block *block) {
    if (block->transfers == NULL) return;
    for (size_t i = 0; i < block->transfers->n_items; i++) free(block->transfers->items[i].bytes);
    free(block->transfers->items);
    free(block->transfers->open_groups);
    free(block->transfers);
    block->transfers = NULL;
}

static transfer *add_transfer(ptx_block *block) {
    ptx_transfers *all = transfers_of(block);
    all->items = ptx_grow(all->items, all->n_items, &all->capacity, sizeof *all->items);
    all->items[all->n_items] = (transfer){0};
    return &all->items[all->n_items++];
}

static uint32_t *open_group_of(ptx_warp *warp, int lane) {
    return &transfers_of(warp->block)->open_groups[warp->first_thread + (uint32_t)lane];
}

// ---- beginning ---------------------------------------------------------------------------------------------------------------------------------

static uint64_t address_at(const ptx_warp *warp, const ptx_insn *insn, int source, int lane) {
    return ptx_lane_value(warp, insn, source, lane) + ptx_lane_value(warp, insn, source + 1, lane);
}

// The copy's shared memory is checked and marked, its mbarrier found, and it is under way. `mbarrier` is the number of its source.
static void begin(
    ptx_warp *warp, transfer *at, uint64_t shared_start, uint32_t alignment, int mbarrier) {
    const ptx_insn *insn = at->insn;
    const int lane = (int)at->lane;
    ptx_block *block = warp->block;
    ptx_location shared;
    if (!ptx_locate_range(
            warp, insn, lane, PTX_SPACE_SHARED, shared_start, at->n_bytes, alignment,
            at->is_out ? PTX_READS : PTX_WRITES, &shared))
        return;
    if (at->is_out) {
        ptx_shadow_async_begin(warp, insn, lane, shared.offset, at->n_bytes);
        at->group = *open_group_of(warp, lane);
    } else {
        const uint64_t place = address_at(warp, insn, mbarrier, lane);
        if (!ptx_mbarrier_find_fenced(warp, insn, lane, place, &at->mbarrier)) return;
        ptx_shadow_copying(warp, insn, lane, shared.offset, at->n_bytes, true);
    }
    at->offset = shared.offset;
    ptx_clock_release(warp, &at->clock);
    *add_transfer(block) = *at;
    block->n_events++;
    block->counters->global_requests++;
    block->counters->global_sectors += (at->n_bytes + 31) / 32;
    block->counters->global_bytes += at->n_bytes;
}

// Sources 0-3: addresses of target and source with their offsets; 4: bytes; 5, 6: mbarrier. PTX_EXTRA: out of shared memory
static void start_lane(ptx_warp *warp, const ptx_insn *insn, int lane) {
    const bool is_out = (insn->flags & PTX_EXTRA) != 0;
    const uint64_t n_bytes = ptx_lane_value(warp, insn, 4, lane);
    const uint64_t target = address_at(warp, insn, 0, lane);
    const uint64_t source = address_at(warp, insn, 2, lane);
    ptx_location global;
    if (n_bytes == 0 || n_bytes % ALIGNMENT != 0 || n_bytes > PTX_MAX_SHARED_BYTES) {
        ptx_fail(
            warp, insn, 1u << lane, "copies %llu bytes, which is no multiple of 16",
            (unsigned long long)n_bytes);
        return;
    }
    if (!ptx_locate_range(
            warp, insn, lane, PTX_SPACE_GLOBAL, is_out ? target : source, (uint32_t)n_bytes,
            ALIGNMENT, is_out ? PTX_WRITES : PTX_READS, &global))
        return;
    transfer at = {
        .warp = warp,
        .insn = insn,
        .global = global.data,
        .lane = (uint32_t)lane,
        .n_bytes = (uint32_t)n_bytes,
        .is_out = is_out};
    begin(warp, &at, is_out ? source : target, ALIGNMENT, 5);
}

// Sources 0-1: shared memory; 2-3: the map; 4, 5: column and row; 6, 7: mbarrier.
static void start_box(ptx_warp *warp, const ptx_insn *insn, int lane) {
    const bool is_out = (insn->flags & PTX_EXTRA) != 0;
    const uint64_t shared_start = address_at(warp, insn, 0, lane);
    transfer at = {
        .warp = warp,
        .insn = insn,
        .lane = (uint32_t)lane,
        .is_out = is_out,
        .is_box = true,
        .box = {
            .column = (int32_t)ptx_lane_value(warp, insn, 4, lane),
            .row = (int32_t)ptx_lane_value(warp, insn, 5, lane),
            .shared_start = (uint32_t)shared_start}};
    if (!ptx_box_take(warp, insn, lane, address_at(warp, insn, 2, lane), &at.box) ||
        !ptx_box_check(warp, insn, lane, &at.box, is_out ? PTX_WRITES : PTX_READS))
        return;
    at.n_bytes = ptx_box_bytes(&at.box);
    begin(warp, &at, shared_start, BOX_ALIGNMENT, 6);
}

static void start(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    for (int lane = 0; lane < PTX_LANES && warp->block->failure == NULL; lane++)
        if ((mask >> lane & 1u) != 0) start_lane(warp, insn, lane);
}

static void start_boxes(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    for (int lane = 0; lane < PTX_LANES && warp->block->failure == NULL; lane++)
        if ((mask >> lane & 1u) != 0) start_box(warp, insn, lane);
}

// ---- ending ------------------------------------------------------------------------------------------------------------------------------------

void ptx_transfers_complete(ptx_block *block, uint32_t mbarrier) {
    ptx_transfers *all = block->transfers;
    if (all == NULL) return;
    size_t n_left = 0;
    for (size_t i = 0; i < all->n_items; i++) {
        transfer *due = &all->items[i];
        if (due->is_out || due->mbarrier != mbarrier) {
            all->items[n_left++] = *due;
            continue;
        }
        if (due->is_box)
            ptx_box_load(&due->box, block->shared + due->offset);
        else
            memcpy(block->shared + due->offset, due->global, due->n_bytes);
        memset(block->shadow.state + due->offset, PTX_BYTE_WRITTEN, due->n_bytes);
        ptx_mbarrier_complete(
            due->warp, due->insn, (int)due->lane, mbarrier, due->n_bytes, &due->clock);
    }
    all->n_items = n_left;
}

static void read_shared(transfer *due) {
    ptx_block *block = due->warp->block;
    if (due->bytes != NULL) return;
    due->bytes = malloc(due->n_bytes);
    if (due->bytes == NULL) abort();
    memcpy(due->bytes, block->shared + due->offset, due->n_bytes);
    ptx_shadow_async_end(due->warp, due->insn, (int)due->lane, due->offset, due->n_bytes);
}

static void write_global(transfer *due) {
    read_shared(due);
    if (due->is_box)
        ptx_box_store(&due->box, due->bytes);
    else
        memcpy(due->global, due->bytes, due->n_bytes);
    free(due->bytes);
}

static void commit(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    PTX_EACH_LANE *open_group_of(warp, lane) += mask >> lane & 1u;
}

// detail[0]: groups that may stay under way; PTX_EXTRA: it is enough that shared memory was read
static void wait(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_transfers *all = transfers_of(warp->block);
    size_t n_left = 0;
    for (size_t i = 0; i < all->n_items; i++) {
        transfer *due = &all->items[i];
        const bool is_due = due->is_out && due->warp == warp && (mask >> due->lane & 1u) != 0 &&
                            due->group + insn->detail[0] < *open_group_of(warp, (int)due->lane);
        if (is_due && (insn->flags & PTX_EXTRA) == 0) {
            write_global(due);
            continue;
        }
        if (is_due) read_shared(due);
        all->items[n_left++] = *due;
    }
    all->n_items = n_left;
}

bool ptx_transfers_end(ptx_block *block) {
    ptx_transfers *all = block->transfers;
    if (all == NULL) return true;
    for (size_t i = 0; i < all->n_items && block->failure == NULL; i++) {
        transfer *due = &all->items[i];
        if (due->bytes == NULL)
            ptx_fail(
                due->warp, due->insn, 1u << due->lane,
                "the block ends before this copy was waited for");
        else
            write_global(due);
    }
    if (block->failure != NULL) return false;
    all->n_items = 0;
    memset(all->open_groups, 0, PTX_MAX_WARPS * PTX_LANES * sizeof(uint32_t));
    return true;
}

// ---- decoding ----------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *decode_wait(ptx_decoder *decoder) {
    if (decoder->n_parts == 5 && strcmp(decoder->parts[4], "read") == 0)
        decoder->insn.flags |= PTX_EXTRA;
    else if (decoder->n_parts != 4)
        return ptx_unsupported(decoder);
    decoder->insn.run = wait;
    return ptx_take_groups(decoder);
}

static void prefetch(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    PTX_EACH_LANE {
        const uint64_t n_bytes = ptx_lane_value(warp, insn, 1, lane);
        const uint64_t address = ptx_lane_value(warp, insn, 0, lane) + (uint64_t)insn->offset;
        if ((mask >> lane & 1u) == 0 || (n_bytes % ALIGNMENT == 0 && address % ALIGNMENT == 0))
            continue;
        ptx_fail(
            warp, insn, 1u << lane, "fetches %llu bytes at 0x%llx: no multiples of 16",
            (unsigned long long)n_bytes, (unsigned long long)address);
        return;
    }
}

static mlcc_status *decode_prefetch(ptx_decoder *decoder) {
    const bool has_policy = ptx_has_part(decoder, "L2::cache_hint");
    MLCC_TRY(ptx_expect_args(decoder, has_policy ? 3 : 2, has_policy ? 3 : 2));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[0]));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], 32));
    decoder->insn.run = prefetch;
    return has_policy ? ptx_add_source(decoder, &decoder->args[2], 64) : NULL;
}

typedef struct direction {
    const char *target, *source, *completion;
    bool is_out;
} direction;

static const direction directions[] = {
    {"shared::cluster", "global", "mbarrier::complete_tx::bytes", false},
    {"shared::cta", "global", "mbarrier::complete_tx::bytes", false},
    {"global", "shared::cta", "bulk_group", true},
};

static const direction *find_direction(const ptx_decoder *decoder, size_t first) {
    for (size_t i = 0; i < sizeof directions / sizeof directions[0]; i++)
        if (strcmp(decoder->parts[first], directions[i].target) == 0 &&
            strcmp(decoder->parts[first + 1], directions[i].source) == 0 &&
            strcmp(decoder->parts[first + 2], directions[i].completion) == 0)
            return &directions[i];
    return NULL;
}

// cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [d], [map, {x, y}], [bar];  .global.shared::cta.bulk_group [map, {x, y}], [s]
static mlcc_status *decode_box(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    if (decoder->n_parts < 8 || strcmp(decoder->parts[4], "2d") != 0)
        return ptx_unsupported(decoder);
    // ".tile" stands before the completion and says nothing.
    for (size_t i = 7; i < decoder->n_parts; i++)
        if (strcmp(decoder->parts[i], "tile") == 0) {
            memmove(
                &decoder->parts[i], &decoder->parts[i + 1],
                (decoder->n_parts - i - 1) * sizeof decoder->parts[0]);
            decoder->n_parts--;
        }
    if (decoder->n_parts < 8) return ptx_unsupported(decoder);
    const direction *found = find_direction(decoder, 5);
    const bool has_policy =
        decoder->n_parts == 9 && strcmp(decoder->parts[8], "L2::cache_hint") == 0;
    if (found == NULL || (decoder->n_parts > 8 && !has_policy)) return ptx_unsupported(decoder);
    const size_t n_args = (found->is_out ? 2u : 3u) + has_policy;
    MLCC_TRY(ptx_expect_args(decoder, n_args, n_args));
    MLCC_TRY(ptx_add_place(decoder, &decoder->args[found->is_out ? 1 : 0], 0));
    MLCC_TRY(ptx_add_place(decoder, &decoder->args[found->is_out ? 0 : 1], 2));
    if (!found->is_out) MLCC_TRY(ptx_add_place(decoder, &decoder->args[2], 0));
    insn->space = PTX_SPACE_SHARED; // of the mbarrier
    if (found->is_out) insn->flags |= PTX_EXTRA;
    insn->run = start_boxes;
    return has_policy ? ptx_add_source(decoder, &decoder->args[n_args - 1], 64) : NULL;
}

// cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [d], [s], n, [bar];  .global.shared::cta.bulk_group [d], [s], n;
// .commit_group;  .wait_group{.read} N;  .prefetch.L2.global [s], n
mlcc_status *ptx_decode_bulk(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    if (decoder->n_parts < 4) return ptx_unsupported(decoder);
    if (strcmp(decoder->opcode, "cp.async.bulk.commit_group") == 0) {
        insn->run = commit;
        return ptx_expect_args(decoder, 0, 0);
    }
    if (strcmp(decoder->parts[3], "wait_group") == 0) return decode_wait(decoder);
    if (strcmp(decoder->parts[3], "prefetch") == 0) return decode_prefetch(decoder);
    if (strcmp(decoder->parts[3], "tensor") == 0) return decode_box(decoder);
    if (decoder->n_parts < 6) return ptx_unsupported(decoder);
    const direction *found = find_direction(decoder, 3);
    const bool has_policy =
        decoder->n_parts == 7 && strcmp(decoder->parts[6], "L2::cache_hint") == 0;
    if (found == NULL || (decoder->n_parts > 6 && !has_policy)) return ptx_unsupported(decoder);
    const size_t n_args = (found->is_out ? 3u : 4u) + has_policy;
    MLCC_TRY(ptx_expect_args(decoder, n_args, n_args));
    for (size_t i = 0; i < 4; i++) {
        if (i == 2) MLCC_TRY(ptx_add_source(decoder, &decoder->args[2], 32));
        if (i == 2 || (i == 3 && found->is_out)) continue;
        MLCC_TRY(ptx_add_place(decoder, &decoder->args[i], 0));
    }
    insn->space = PTX_SPACE_SHARED; // of the mbarrier
    if (found->is_out) insn->flags |= PTX_EXTRA;
    insn->run = start;
    return has_policy ? ptx_add_source(decoder, &decoder->args[n_args - 1], 64) : NULL;
}
