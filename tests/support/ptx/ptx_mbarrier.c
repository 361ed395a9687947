// mbarrier objects: counts of arrivals and bytes, phases, and what a wait orders.
//
// The 8 bytes in shared memory are opaque to a kernel; here they only mark the place, the counts lie in a table of the block. A phase ends when no
// arrival and no byte is missing. Whoever waits for a phase knows what those did who arrived in it (ptx_clock).
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_space.h"
#include "tests/support/ptx/ptx_sync.h"

#include <stdlib.h>
#include <string.h>

#define MAX_COUNT    ((1u << 20) - 1) // of arrivals and of bytes
#define OBJECT_BYTES 8

typedef struct mbarrier {
    uint32_t offset; // in the block's shared bytes
    bool is_alive, is_fenced;
    uint32_t maker;                 // warp
    uint32_t made;                  // time of its init
    uint32_t n_expected, n_missing; // arrivals of a phase
    int32_t n_bytes;                // that are missing
    uint32_t phase;                 // phases that are over
    ptx_clock open, done;           // of the phase under way; of those that are over
} mbarrier;

// An arrival that happens when a lane's cp.async are through.
typedef struct arrival {
    ptx_warp *warp;
    const ptx_insn *insn;
    uint32_t lane, mbarrier, end;
} arrival;

struct ptx_mbarriers {
    mbarrier *items;
    size_t n_items, capacity;
    arrival *arrivals;
    size_t n_arrivals, arrivals_capacity;
};

void ptx_mbarriers_start(ptx_block *block) {
    if (block->mbarriers == NULL) {
        block->mbarriers = calloc(1, sizeof *block->mbarriers);
        if (block->mbarriers == NULL) abort();
    }
    block->mbarriers->n_items = block->mbarriers->n_arrivals = 0;
    block->shadow.n_objects = 0;
}

void ptx_mbarriers_free(ptx_block *block) {
    if (block->mbarriers == NULL) return;
    free(block->mbarriers->items);
    free(block->mbarriers->arrivals);
    free(block->mbarriers);
    block->mbarriers = NULL;
}

void ptx_mbarriers_fence(ptx_warp *warp) {
    ptx_mbarriers *all = warp->block->mbarriers;
    for (size_t i = 0; i < all->n_items; i++)
        if (all->items[i].made <= warp->clock.seen[all->items[i].maker] ||
            all->items[i].maker == warp->index)
            all->items[i].is_fenced = true;
}

void ptx_mbarriers_describe(const ptx_block *block, mlcc_str *text) {
    const ptx_mbarriers *all = block->mbarriers;
    for (size_t i = 0; i < all->n_items && text->length < 300; i++) {
        const mbarrier *at = &all->items[i];
        if (!at->is_alive) continue;
        mlcc_str_printf(
            text, "; mbarrier %zu in phase %u lacks %u of %u arrivals and %d bytes", i, at->phase,
            at->n_missing, at->n_expected, at->n_bytes);
    }
}

// ---- finding -----------------------------------------------------------------------------------------------------------------------------------

static bool locate(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t *offset) {
    ptx_location location;
    const ptx_space space = (ptx_space)insn->space;
    if (!ptx_locate(warp, insn, lane, space, address, OBJECT_BYTES, PTX_WRITES, &location))
        return false;
    if (!location.is_shared) {
        ptx_fail(warp, insn, 1u << lane, "the mbarrier's address is not in shared memory");
        return false;
    }
    *offset = location.offset;
    return true;
}

static bool find(ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t *index) {
    const ptx_mbarriers *all = warp->block->mbarriers;
    for (size_t i = 0; i < all->n_items; i++) {
        const mbarrier *at = &all->items[i];
        if (!at->is_alive || at->offset != offset) continue;
        if (at->maker != warp->index && at->made > warp->clock.seen[at->maker] &&
            (warp->block->checks & PTX_CHECK_RACES) != 0) {
            ptx_fail(
                warp, insn, 1u << lane,
                "race: the mbarrier at shared byte %u was made by warp %u without a barrier "
                "between",
                offset, at->maker);
            return false;
        }
        *index = (uint32_t)i;
        return true;
    }
    ptx_fail(warp, insn, 1u << lane, "no mbarrier was made at shared byte %u", offset);
    return false;
}

bool ptx_mbarrier_find(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t *index) {
    uint32_t offset = 0;
    return locate(warp, insn, lane, address, &offset) && find(warp, insn, lane, offset, index);
}

bool ptx_mbarrier_find_fenced(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t *index) {
    if (!ptx_mbarrier_find(warp, insn, lane, address, index)) return false;
    if (warp->block->mbarriers->items[*index].is_fenced ||
        (warp->block->checks & PTX_CHECK_RACES) == 0)
        return true;
    ptx_fail(
        warp, insn, 1u << lane,
        "the mbarrier's init was not followed by fence.mbarrier_init or fence.proxy.async");
    return false;
}

// ---- counting ----------------------------------------------------------------------------------------------------------------------------------

static void end_phase(ptx_block *block, mbarrier *at) {
    block->n_events++;
    if (at->n_missing != 0 || at->n_bytes != 0) return;
    at->phase++;
    at->n_missing = at->n_expected;
    ptx_clock_join(block, &at->done, &at->open);
    memset(&at->open, 0, sizeof at->open);
}

static bool add_bytes(
    ptx_warp *warp, const ptx_insn *insn, int lane, mbarrier *at, int64_t n_bytes) {
    const int64_t sum = at->n_bytes + n_bytes;
    if (sum > (int64_t)MAX_COUNT || sum < -(int64_t)MAX_COUNT) {
        ptx_fail(
            warp, insn, 1u << lane, "%lld bytes are more than an mbarrier counts", (long long)sum);
        return false;
    }
    at->n_bytes = (int32_t)sum;
    return true;
}

static bool arrive(ptx_warp *warp, const ptx_insn *insn, int lane, mbarrier *at, uint64_t n) {
    if (n == 0 || n > at->n_missing) {
        ptx_fail(
            warp, insn, 1u << lane,
            "%llu arrivals at an mbarrier whose phase %u lacks %u of %u and %d bytes",
            (unsigned long long)n, at->phase, at->n_missing, at->n_expected, at->n_bytes);
        return false;
    }
    at->n_missing -= (uint32_t)n;
    ptx_clock_release(warp, &at->open);
    return true;
}

void ptx_mbarrier_complete(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t index, uint32_t n_bytes,
    const ptx_clock *by) {
    mbarrier *at = &warp->block->mbarriers->items[index];
    if (!add_bytes(warp, insn, lane, at, -(int64_t)n_bytes)) return;
    ptx_clock_join(warp->block, &at->open, by);
    end_phase(warp->block, at);
}

// cp.async that an arrival waits for have had their time.
static void complete_arrivals(ptx_block *block, uint32_t index) {
    ptx_mbarriers *all = block->mbarriers;
    size_t n_left = 0;
    for (size_t i = 0; i < all->n_arrivals && block->failure == NULL; i++) {
        const arrival *due = &all->arrivals[i];
        if (due->mbarrier != index) {
            all->arrivals[n_left++] = *due;
            continue;
        }
        ptx_copies_complete(due->warp, due->insn, due->lane, due->end);
        mbarrier *at = &all->items[index];
        if (arrive(due->warp, due->insn, (int)due->lane, at, 1)) end_phase(block, at);
    }
    all->n_arrivals = n_left;
}

// ---- instructions ------------------------------------------------------------------------------------------------------------------------------

enum operation { // detail[0]
    INIT,
    INVAL,
    ARRIVE,
    ARRIVE_EXPECT,
    EXPECT,
    COMPLETE,
    COPIES_ARRIVE,
    COPIES_ARRIVE_NOINC
};

#define DROPS 1 // detail[1]: arrive_drop

static void make(ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint64_t count) {
    ptx_block *block = warp->block;
    ptx_mbarriers *all = block->mbarriers;
    if (count == 0 || count > MAX_COUNT) {
        ptx_fail(warp, insn, 1u << lane, "an mbarrier of %llu arrivals", (unsigned long long)count);
        return;
    }
    size_t place = all->n_items;
    for (size_t i = 0; i < all->n_items; i++) {
        if (all->items[i].offset != offset) continue;
        if (all->items[i].is_alive) {
            ptx_fail(warp, insn, 1u << lane, "an mbarrier lies at shared byte %u already", offset);
            return;
        }
        place = i;
    }
    ptx_shadow_write(warp, insn, lane, offset, OBJECT_BYTES, NULL);
    memset(block->shadow.state + offset, PTX_BYTE_OBJECT, OBJECT_BYTES);
    block->shadow.n_objects++;
    all->items = ptx_grow(all->items, place, &all->capacity, sizeof *all->items);
    all->items[place] = (mbarrier){.offset = offset,
                                   .is_alive = true,
                                   .maker = warp->index,
                                   .made = block->shadow.time,
                                   .n_expected = (uint32_t)count,
                                   .n_missing = (uint32_t)count};
    if (place == all->n_items) all->n_items++;
}

static void invalidate(ptx_warp *warp, mbarrier *at) {
    memset(warp->block->shadow.state + at->offset, PTX_BYTE_UNWRITTEN, OBJECT_BYTES);
    warp->block->shadow.n_objects--;
    at->is_alive = false;
}

static void await_copies(ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t index) {
    ptx_mbarriers *all = warp->block->mbarriers;
    mbarrier *at = &all->items[index];
    if (insn->detail[0] == COPIES_ARRIVE) at->n_missing++;
    all->arrivals =
        ptx_grow(all->arrivals, all->n_arrivals, &all->arrivals_capacity, sizeof *all->arrivals);
    all->arrivals[all->n_arrivals++] = (arrival){.warp = warp,
                                                 .insn = insn,
                                                 .lane = (uint32_t)lane,
                                                 .mbarrier = index,
                                                 .end = warp->n_copies_issued};
    warp->block->n_events++;
}

static void count_at(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t index, uint64_t value) {
    mbarrier *at = &warp->block->mbarriers->items[index];
    switch (insn->detail[0]) {
    case INVAL: invalidate(warp, at); return;
    case COPIES_ARRIVE:
    case COPIES_ARRIVE_NOINC: await_copies(warp, insn, lane, index); return;
    case ARRIVE:
        if (!arrive(warp, insn, lane, at, value)) return;
        break;
    case ARRIVE_EXPECT:
        if (!add_bytes(warp, insn, lane, at, (int64_t)value) || !arrive(warp, insn, lane, at, 1))
            return;
        break;
    default: {
        const bool is_expect = insn->detail[0] == EXPECT;
        if (!add_bytes(warp, insn, lane, at, is_expect ? (int64_t)value : -(int64_t)value)) return;
        ptx_clock_release(warp, &at->open);
        break;
    }
    }
    if (insn->detail[1] == DROPS) at->n_expected -= (uint32_t)value;
    end_phase(warp->block, at);
}

// Sources: address, count or bytes. A state of 64 bits: the phase above the arrivals that were missing.
static void count_lanes(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint64_t states[PTX_LANES] = {0};
    for (int lane = 0; lane < PTX_LANES && warp->block->failure == NULL; lane++) {
        uint32_t offset = 0, index = 0;
        if ((mask >> lane & 1u) == 0) continue;
        const uint64_t address = ptx_lane_value(warp, insn, 0, lane) + (uint64_t)insn->offset;
        const uint64_t value = ptx_lane_value(warp, insn, 1, lane);
        if (!locate(warp, insn, lane, address, &offset)) return;
        if (insn->detail[0] == INIT) {
            make(warp, insn, lane, offset, value);
            continue;
        }
        if (!find(warp, insn, lane, offset, &index)) return;
        const mbarrier *at = &warp->block->mbarriers->items[index];
        states[lane] = (uint64_t)at->phase << 32 | at->n_missing;
        count_at(warp, insn, lane, index, value);
    }
    if (insn->n_results > 0) ptx_keep64(warp, insn, 0, states, mask);
}

// Sources: address, state or parity. PTX_EXTRA: parity
static void look(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_block *block = warp->block;
    uint32_t result = 0;
    for (int lane = 0; lane < PTX_LANES; lane++) {
        uint32_t index = 0;
        if ((mask >> lane & 1u) == 0) continue;
        const uint64_t address = ptx_lane_value(warp, insn, 0, lane) + (uint64_t)insn->offset;
        const uint64_t value = ptx_lane_value(warp, insn, 1, lane);
        if (!ptx_mbarrier_find(warp, insn, lane, address, &index)) return;
        ptx_transfers_complete(block, index);
        complete_arrivals(block, index);
        if (block->failure != NULL) return;
        const mbarrier *at = &block->mbarriers->items[index];
        const bool is_parity = (insn->flags & PTX_EXTRA) != 0;
        const uint32_t phase = (uint32_t)(value >> 32);
        if (is_parity ? value > 1 : (at->phase != phase && at->phase != phase + 1)) {
            ptx_fail(
                warp, insn, 1u << lane, "waits for phase %llu of an mbarrier in phase %u",
                (unsigned long long)(is_parity ? value : phase), at->phase);
            return;
        }
        if (is_parity ? (at->phase & 1u) != value : at->phase != phase) {
            result |= 1u << lane;
            ptx_clock_acquire(warp, &at->done);
        }
    }
    ptx_keep_predicate(warp, insn, 0, result, mask);
    if (result != mask) warp->has_polled = true;
}

static void pending_count(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint32_t counts[PTX_LANES];
    PTX_EACH_LANE counts[lane] = (uint32_t)ptx_lane_value(warp, insn, 0, lane);
    ptx_keep32(warp, insn, 0, counts, mask);
}

// ---- decoding ----------------------------------------------------------------------------------------------------------------------------------

static bool read_parts(ptx_decoder *decoder, size_t first) {
    static const char *const words[] = {"b64",     "release", "acquire", "relaxed",  "cta",
                                        "cluster", "parity",  "noinc",   "expect_tx"};
    decoder->insn.space = PTX_SPACE_GENERIC;
    for (size_t i = first; i < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        bool is_known = false;
        if (strcmp(part, "shared") == 0 || strcmp(part, "shared::cta") == 0 ||
            strcmp(part, "shared::cluster") == 0) {
            decoder->insn.space = PTX_SPACE_SHARED;
            is_known = true;
        }
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
            is_known |= strcmp(part, words[k]) == 0;
        if (!is_known) return false;
    }
    return true;
}

// A count behind the address; when there is none: `count`, or one must be there (0).
static mlcc_status *add_count(ptx_decoder *decoder, size_t index, uint64_t count) {
    if (index < decoder->n_args) return ptx_add_source(decoder, &decoder->args[index], 32);
    if (count == 0) return ptx_expect_args(decoder, index + 1, index + 1);
    return ptx_add_constant(decoder, count, 32);
}

static mlcc_status *decode_look(ptx_decoder *decoder) {
    const bool is_parity = ptx_has_part(decoder, "parity");
    if (is_parity) decoder->insn.flags |= PTX_EXTRA;
    decoder->insn.flow = PTX_FLOW_POLL;
    decoder->insn.run = look;
    // try_wait may say for how long.
    MLCC_TRY(ptx_expect_args(decoder, 3, decoder->parts[1][1] == 'r' ? 4 : 3));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 1));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[1]));
    return ptx_add_source(decoder, &decoder->args[2], is_parity ? 32 : 64);
}

static mlcc_status *decode_arrive(ptx_decoder *decoder) {
    const bool expects = ptx_has_part(decoder, "expect_tx");
    decoder->insn.detail[0] = expects ? ARRIVE_EXPECT : ARRIVE;
    decoder->insn.detail[1] = strcmp(decoder->parts[1], "arrive_drop") == 0 ? DROPS : 0;
    if (expects && decoder->insn.detail[1] != 0) return ptx_unsupported(decoder);
    const bool has_state = decoder->n_args > 0 && decoder->args[0].kind != PTX_ARG_MEMORY;
    const size_t address = has_state ? 1 : 0;
    MLCC_TRY(ptx_expect_args(decoder, address + 1, address + 2));
    if (has_state) MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 64));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[address]));
    return add_count(decoder, address + 1, expects ? 0 : 1);
}

typedef struct plain_form {
    const char *part;
    uint8_t operation;
    bool has_count;
} plain_form;

static const plain_form plain_forms[] = {
    {"init", INIT, true},
    {"inval", INVAL, false},
    {"expect_tx", EXPECT, true},
    {"complete_tx", COMPLETE, true},
};

// mbarrier.init.shared.b64 [a], n;  .arrive{.expect_tx} s, [a]{, n};  .test_wait{.parity} p, [a], s;  …
mlcc_status *ptx_decode_mbarrier(ptx_decoder *decoder) {
    const char *form = decoder->n_parts > 1 ? decoder->parts[1] : "";
    if (strcmp(decoder->opcode, "mbarrier.pending_count.b64") == 0) {
        decoder->insn.run = pending_count;
        MLCC_TRY(ptx_expect_args(decoder, 2, 2));
        MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 32));
        return ptx_add_source(decoder, &decoder->args[1], 64);
    }
    if (!read_parts(decoder, 2)) return ptx_unsupported(decoder);
    if (strcmp(form, "test_wait") == 0 || strcmp(form, "try_wait") == 0)
        return decode_look(decoder);
    decoder->insn.run = count_lanes;
    if (strcmp(form, "arrive") == 0 || strcmp(form, "arrive_drop") == 0)
        return decode_arrive(decoder);
    for (size_t i = 0; i < sizeof plain_forms / sizeof plain_forms[0]; i++) {
        if (strcmp(form, plain_forms[i].part) != 0) continue;
        const size_t n_args = plain_forms[i].has_count ? 2 : 1;
        decoder->insn.detail[0] = plain_forms[i].operation;
        MLCC_TRY(ptx_expect_args(decoder, n_args, n_args));
        MLCC_TRY(ptx_add_address(decoder, &decoder->args[0]));
        return add_count(decoder, 1, plain_forms[i].has_count ? 0 : 1);
    }
    return ptx_unsupported(decoder);
}

// cp.async.mbarrier.arrive{.noinc}{.shared}.b64 [a]
mlcc_status *ptx_decode_copies_arrive(ptx_decoder *decoder) {
    if (decoder->n_parts < 4 || strcmp(decoder->parts[3], "arrive") != 0 || !read_parts(decoder, 4))
        return ptx_unsupported(decoder);
    decoder->insn.detail[0] = ptx_has_part(decoder, "noinc") ? COPIES_ARRIVE_NOINC : COPIES_ARRIVE;
    decoder->insn.run = count_lanes;
    MLCC_TRY(ptx_expect_args(decoder, 1, 1));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[0]));
    return ptx_add_constant(decoder, 1, 32);
}
