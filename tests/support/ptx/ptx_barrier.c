// Barriers of the block (bar.sync, bar.arrive), of the warp, fences, setmaxnreg and griddepcontrol.
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_space.h"
#include "tests/support/ptx/ptx_sync.h"

#include <string.h>

// ---- bar.sync, bar.arrive ----------------------------------------------------------------------------------------------------------------------

void ptx_barriers_start(ptx_block *block) {
    memset(block->barriers, 0, sizeof block->barriers);
}

static void release(ptx_block *block, uint32_t number) {
    ptx_barrier *barrier = &block->barriers[number];
    for (uint32_t w = 0; w < block->n_warps; w++) {
        ptx_warp *warp = &block->warps[w];
        for (uint32_t i = 0; i < warp->n_splits; i++) {
            ptx_split *split = &warp->splits[i];
            if (!split->waits_at_barrier || split->barrier != number) continue;
            split->waits_at_barrier = false;
            ptx_clock_acquire(warp, &barrier->clock);
        }
    }
    *barrier = (ptx_barrier){0};
    block->counters->barriers++;
    block->n_events++;
}

static uint32_t n_living(const ptx_block *block) {
    uint32_t n_threads = 0;
    for (uint32_t w = 0; w < block->n_warps; w++)
        for (uint32_t i = 0; i < block->warps[w].n_splits; i++)
            n_threads += (uint32_t)__builtin_popcount(block->warps[w].splits[i].mask);
    return n_threads;
}

static bool has_all(const ptx_block *block, const ptx_barrier *barrier) {
    if (!barrier->is_used) return false;
    if (barrier->n_expected != 0) return barrier->n_arrived >= barrier->n_expected;
    if (barrier->n_arrived >= block->n_threads) return true;
    return (block->checks & PTX_CHECK_PARTIAL_EXITS) == 0 && barrier->n_arrived >= n_living(block);
}

bool ptx_barriers_release(ptx_block *block) {
    bool has_released = false;
    for (uint32_t i = 0; i < PTX_N_BARRIERS; i++) {
        if (!has_all(block, &block->barriers[i])) continue;
        release(block, i);
        has_released = true;
    }
    return has_released;
}

static void keep_expected(
    ptx_warp *warp, const ptx_insn *insn, uint32_t mask, ptx_barrier *barrier,
    uint32_t n_expected) {
    if (n_expected % PTX_LANES != 0)
        ptx_fail(warp, insn, mask, "%u threads are no whole number of warps", n_expected);
    else if (barrier->is_used && barrier->n_expected != n_expected)
        ptx_fail(
            warp, insn, mask,
            "expects %u threads at a barrier where others expect %u (0: all of the block)",
            n_expected, barrier->n_expected);
    else if (n_expected != 0 && barrier->n_arrived > n_expected)
        ptx_fail(
            warp, insn, mask, "%u threads come to a barrier of %u", barrier->n_arrived, n_expected);
    barrier->n_expected = n_expected;
}

// PTX_EXTRA: bar.arrive
void ptx_barrier_arrive(ptx_warp *warp, ptx_split *split, const ptx_insn *insn, uint32_t mask) {
    ptx_block *block = warp->block;
    const int lane = __builtin_ctz(mask);
    const uint64_t number = ptx_lane_value(warp, insn, 0, lane);
    split->pc++;
    if (number >= PTX_N_BARRIERS) {
        ptx_fail(warp, insn, split->mask, "barrier %llu of 16", (unsigned long long)number);
        return;
    }
    ptx_barrier *barrier = &block->barriers[number];
    barrier->n_arrived += (uint32_t)__builtin_popcount(mask);
    keep_expected(
        warp, insn, mask, barrier,
        insn->n_sources > 1 ? (uint32_t)ptx_lane_value(warp, insn, 1, lane) : 0);
    barrier->is_used = true;
    ptx_clock_release(warp, &barrier->clock);
    if ((insn->flags & PTX_EXTRA) == 0) {
        // A guard kept some lanes away: they go on.
        if (mask != split->mask)
            warp->splits[warp->n_splits++] =
                (ptx_split){.pc = split->pc, .mask = split->mask & ~mask};
        split->mask = mask;
        split->barrier = (uint32_t)number;
        split->waits_at_barrier = true;
    }
    if (has_all(block, barrier)) release(block, (uint32_t)number);
}

static void warp_barrier(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    (void)mask;
    warp->sync_epoch++;
}

// bar.sync 0; bar.sync 1, 64; bar.arrive 1, 64; barrier.sync; bar.warp.sync mask
mlcc_status *ptx_decode_barrier(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    bool is_known = false;
    if (ptx_has_part(decoder, "warp")) {
        MLCC_TRY(ptx_expect_args(decoder, 1, 1));
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[0], 32));
        ptx_need_members(decoder, 0);
        insn->run = warp_barrier;
        return NULL;
    }
    for (size_t i = 1; i < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        if (strcmp(part, "arrive") == 0) insn->flags |= PTX_EXTRA;
        if (strcmp(part, "sync") == 0 || strcmp(part, "arrive") == 0)
            is_known = true;
        else if (strcmp(part, "aligned") != 0 && strcmp(part, "cta") != 0)
            return ptx_unsupported(decoder);
    }
    if (!is_known) return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, (insn->flags & PTX_EXTRA) != 0 ? 2 : 1, 2));
    insn->flow = PTX_FLOW_BARRIER;
    for (size_t i = 0; i < decoder->n_args; i++)
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[i], 32));
    return NULL;
}

// ---- fences ------------------------------------------------------------------------------------------------------------------------------------

static void order_memory(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    // One block runs at a time and warps in turns: memory is in order anyway.
    (void)warp;
    (void)insn;
    (void)mask;
}

static void fence_proxy(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    (void)mask;
    ptx_clock_fence(warp);
    ptx_mbarriers_fence(warp);
}

static void fence_init(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    (void)mask;
    ptx_mbarriers_fence(warp);
}

typedef struct fence_form {
    const char *opcode;
    ptx_handler *run;
} fence_form;

static const fence_form fence_forms[] = {
    {"fence.proxy.async", fence_proxy},
    {"fence.proxy.async.shared::cta", fence_proxy},
    {"fence.proxy.async.shared::cluster", fence_proxy},
    {"fence.proxy.async.global", order_memory},
    {"fence.proxy.alias", order_memory},
    {"fence.mbarrier_init.release.cluster", fence_init},
    {"membar.cta", order_memory},
    {"membar.gl", order_memory},
    {"membar.sys", order_memory},
};

// membar.cta; fence.acq_rel.gpu; fence.sc.cta; fence.acquire.cluster; fence.proxy.async.shared::cta; fence.mbarrier_init.release.cluster
mlcc_status *ptx_decode_fence(ptx_decoder *decoder) {
    static const char *const words[] = {"sc",  "acq_rel", "acquire", "release",
                                        "cta", "cluster", "gpu",     "sys"};
    MLCC_TRY(ptx_expect_args(decoder, 0, 0));
    for (size_t i = 0; i < sizeof fence_forms / sizeof fence_forms[0]; i++)
        if (strcmp(decoder->opcode, fence_forms[i].opcode) == 0)
            decoder->insn.run = fence_forms[i].run;
    if (decoder->insn.run != NULL) return NULL;
    for (size_t i = 1; i < decoder->n_parts; i++) {
        bool is_known = false;
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
            is_known |= strcmp(decoder->parts[i], words[k]) == 0;
        if (!is_known) return ptx_unsupported(decoder);
    }
    if (decoder->n_parts < 2 || strcmp(decoder->parts[0], "fence") != 0)
        return ptx_unsupported(decoder);
    decoder->insn.run = order_memory;
    return NULL;
}

// ---- nanosleep, griddepcontrol, setmaxnreg, elect ----------------------------------------------------------------------------------------------

static void sleep_a_turn(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    (void)mask;
    warp->has_polled = true;
}

mlcc_status *ptx_decode_nanosleep(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 1, 1));
    decoder->insn.flow = PTX_FLOW_POLL;
    decoder->insn.run = sleep_a_turn;
    return ptx_add_source(decoder, &decoder->args[0], 32);
}

static void wait_for_grids(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    warp->released_lanes |= mask;
}

mlcc_status *ptx_decode_griddepcontrol(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 0, 0));
    if (strcmp(decoder->opcode, "griddepcontrol.wait") == 0)
        decoder->insn.run = wait_for_grids;
    else if (strcmp(decoder->opcode, "griddepcontrol.launch_dependents") == 0)
        decoder->insn.run = order_memory;
    else
        return ptx_unsupported(decoder);
    return NULL;
}

// Source 0: registers of each thread from now on.
static void set_registers(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint64_t n_registers = ptx_lane_value(warp, insn, 0, 0);
    ptx_warpgroup_step(warp, insn, mask, n_registers, 0);
}

// setmaxnreg.inc.sync.aligned.u32 n
mlcc_status *ptx_decode_setmaxnreg(ptx_decoder *decoder) {
    if (strcmp(decoder->opcode, "setmaxnreg.inc.sync.aligned.u32") != 0 &&
        strcmp(decoder->opcode, "setmaxnreg.dec.sync.aligned.u32") != 0)
        return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, 1, 1));
    const ptx_arg *arg = &decoder->args[0];
    if (arg->kind != PTX_ARG_INTEGER || arg->value < 24 || arg->value > 256 || arg->value % 8 != 0)
        return ptx_bad_arg(decoder, 0, "a multiple of 8 from 24 to 256");
    decoder->insn.run = set_registers;
    MLCC_TRY(ptx_add_source(decoder, arg, 32));
    return ptx_need_whole_warp(decoder);
}

// Results: the leader's lane; whether this lane is it. The lowest of the members leads.
static void elect(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t *members = ptx_source(warp, insn, 0);
    const uint32_t able = mask & members[__builtin_ctz(mask)];
    uint32_t result[PTX_LANES];
    if (able != mask) {
        ptx_fail(warp, insn, mask & ~able, "is not among the members");
        return;
    }
    const uint32_t leader = (uint32_t)__builtin_ctz(able);
    PTX_EACH_LANE result[lane] = leader;
    ptx_keep32(warp, insn, 0, result, mask);
    ptx_keep_predicate(warp, insn, 1, 1u << leader, mask);
}

// elect.sync d|p, members
mlcc_status *ptx_decode_elect(ptx_decoder *decoder) {
    if (strcmp(decoder->opcode, "elect.sync") != 0) return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    if (!decoder->args[0].has_pair) return ptx_bad_arg(decoder, 0, "a register and a predicate");
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 32));
    MLCC_TRY(ptx_add_pair(decoder, &decoder->args[0]));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], 32));
    ptx_need_members(decoder, 0);
    decoder->insn.run = elect;
    return NULL;
}
