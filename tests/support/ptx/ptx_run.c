// Launches: blocks one after another, warps in turns, within a warp the lanes at the lowest instruction first.
//
// Lanes of a warp that stand at the same instruction form a split and run together. A branch that lanes take differently makes two; two that meet at
// an instruction become one. Lowest first makes them meet where the paths of structured code join. A split that needs lanes which are elsewhere
// (shuffle, mma, a barrier) waits for them; when nobody can go on, the launch ends with a report.
#include "tests/support/ptx/ptx_history.h"
#include "tests/support/ptx/ptx_space.h"
#include "tests/support/ptx/ptx_sync.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_INSTRUCTIONS \
    20000 // of a warp before the next one gets its turn, so that waiting for another warp ends
#define MAX_IDLE_ROUNDS 100000 // in which all warps only look for what does not come

// ---- failures ----------------------------------------------------------------------------------------------------------------------------------

// "3, 5-7"
static void put_lanes(mlcc_str *text, uint32_t first_thread, uint32_t lanes) {
    const char *separator = "";
    for (uint32_t lane = 0; lane < PTX_LANES; lane++) {
        if ((lanes >> lane & 1u) == 0) continue;
        uint32_t last = lane;
        while (last + 1 < PTX_LANES && (lanes >> (last + 1) & 1u) != 0) last++;
        mlcc_str_printf(text, "%s%u", separator, first_thread + lane);
        if (last > lane) mlcc_str_printf(text, "-%u", first_thread + last);
        separator = ", ";
        lane = last;
    }
}

void ptx_fail(ptx_warp *warp, const ptx_insn *insn, uint32_t lanes, const char *format, ...) {
    ptx_block *block = warp->block;
    if (block->failure != NULL) return;
    mlcc_str threads = {0};
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    put_lanes(&threads, warp->first_thread, lanes);
    block->failure = MLCC_ERROR(
        DEVICE, "kernel '%s', PTX line %u, '%s', block (%u, %u, %u), thread %s: %s",
        block->function->name, insn->line, insn->text, block->at[0], block->at[1], block->at[2],
        mlcc_str_text(&threads), text);
    mlcc_str_free(&threads);
}

// ---- one warp ----------------------------------------------------------------------------------------------------------------------------------

// The split to go on with: the lowest that does not wait. NULL: none.
static ptx_split *next_split(ptx_warp *warp) {
    ptx_split *lowest = NULL;
    for (uint32_t i = 0; i < warp->n_splits; i++) {
        ptx_split *split = &warp->splits[i];
        if (split->waits_at_barrier || split->waits_for_warp || split->has_polled) continue;
        if (lowest == NULL || split->pc < lowest->pc) lowest = split;
    }
    return lowest;
}

// Splits that stand at the same instruction become one; the others' waiting for lanes may be over then.
static void merge_splits(ptx_warp *warp) {
    for (uint32_t i = 0; i < warp->n_splits; i++) {
        for (uint32_t k = i + 1; k < warp->n_splits;) {
            ptx_split *first = &warp->splits[i], *second = &warp->splits[k];
            if (first->pc != second->pc || first->waits_at_barrier || second->waits_at_barrier) {
                k++;
                continue;
            }
            first->mask |= second->mask;
            first->waits_for_warp = first->has_polled = false;
            *second = warp->splits[--warp->n_splits];
        }
    }
}

static uint32_t live_lanes(const ptx_warp *warp) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < warp->n_splits; i++) live |= warp->splits[i].mask;
    return live;
}

// The next instruction at which another split stands: there the two may become one.
static uint32_t stop_of(const ptx_warp *warp, const ptx_split *split) {
    uint32_t stop = UINT32_MAX;
    for (uint32_t i = 0; i < warp->n_splits; i++) {
        const ptx_split *other = &warp->splits[i];
        if (other != split && !other->waits_at_barrier && other->pc > split->pc && other->pc < stop)
            stop = other->pc;
    }
    return stop;
}

static void fail_unwritten(ptx_warp *warp, const ptx_insn *insn, int source, uint32_t lanes) {
    ptx_fail(warp, insn, lanes, "source %d is a register that has not been written", source + 1);
}

// Every source must have been written for the active lanes, and results are written from now on. False: failed.
static bool check_registers(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint32_t *defined = warp->defined;
    const ptx_operand *operands = insn->operands;
    if ((insn->flags & PTX_WATCHED) != 0) {
        if (!ptx_wgmma_watch(warp, insn, mask)) return false;
        if ((insn->flags & PTX_ASYNC) != 0) return true;
    }
    if ((insn->flags & PTX_COPIES) != 0) {
        if (operands[0].is_unset != 0) return true;
        const uint32_t known = defined[operands[1].number] & mask;
        defined[operands[0].number] = (defined[operands[0].number] & ~mask) | known;
        return true;
    }
    const int n_results = insn->n_results, n_operands = n_results + insn->n_sources;
    for (int i = n_results; i < n_operands; i++) {
        const uint32_t missing = mask & ~defined[operands[i].number];
        if (missing == 0) continue;
        fail_unwritten(warp, insn, i - n_results, missing);
        return false;
    }
    for (int i = 0; i < n_results; i++) defined[operands[i].number] |= mask;
    return true;
}

static uint32_t guarded_mask(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    if ((insn->flags & PTX_GUARDED) == 0) return mask;
    const uint32_t value = *(const uint32_t *)(const void *)(warp->file + insn->guard.place);
    const uint32_t missing = mask & ~warp->defined[insn->guard.number];
    if (missing != 0 && (warp->block->checks & PTX_CHECK_REGISTERS) != 0)
        ptx_fail(warp, insn, missing, "the guard is a predicate that has not been written");
    return mask & ((insn->flags & PTX_GUARD_NEGATED) != 0 ? ~value : value);
}

// A branch of `taken` lanes of the split. False: the splits may have to be looked at again.
static bool branch(ptx_warp *warp, ptx_split *split, const ptx_insn *insn, uint32_t taken) {
    if (taken == split->mask) {
        split->pc = insn->target;
        return warp->n_splits == 1;
    }
    split->pc++;
    if (taken == 0) return true;
    split->mask &= ~taken;
    warp->splits[warp->n_splits++] = (ptx_split){.pc = insn->target, .mask = taken};
    return false;
}

static void exit_lanes(ptx_warp *warp, ptx_split *split, uint32_t lanes) {
    split->mask &= ~lanes;
    split->pc++;
    warp->block->n_events++;
    if (split->mask == 0) *split = warp->splits[--warp->n_splits];
    // Who waited for these lanes need not any more.
    for (uint32_t i = 0; i < warp->n_splits; i++) warp->splits[i].waits_for_warp = false;
}

// True when all living lanes that the instruction needs are in the split; otherwise the split waits.
static bool has_members(ptx_warp *warp, ptx_split *split, const ptx_insn *insn) {
    uint32_t needed = PTX_ALL_LANES;
    if (insn->member != PTX_NO_MEMBER) {
        const uint32_t *masks = ptx_source(warp, insn, insn->member);
        needed = masks[__builtin_ctz(split->mask)];
    }
    if (warp->n_splits == 1 || (needed & live_lanes(warp) & ~split->mask) == 0) return true;
    split->waits_for_warp = true;
    return false;
}

// Runs a split until it waits, ends, branches or meets another. True: now it is other warps' turn.
static bool run_split(ptx_warp *warp, ptx_split *split, uint32_t *budget) {
    ptx_block *block = warp->block;
    const ptx_insn *code = block->function->code;
    const uint32_t stop = stop_of(warp, split);
    const bool checks = (block->checks & PTX_CHECK_REGISTERS) != 0;
    const uint32_t first_budget = *budget;
    uint64_t n_lanes = 0;
    bool ends_turn = false;
    while (*budget > 0 && block->failure == NULL) {
        const ptx_insn *insn = &code[split->pc];
        const uint32_t mask = guarded_mask(warp, insn, split->mask);
        --*budget;
        n_lanes += (uint32_t)__builtin_popcount(mask);
        if (insn->flow == PTX_FLOW_NEXT) {
            if (mask != 0 && (!checks || check_registers(warp, insn, mask)))
                insn->run(warp, insn, mask);
            split->pc++;
        } else if (insn->flow == PTX_FLOW_BRANCH) {
            if (!branch(warp, split, insn, mask)) break;
        } else if (insn->flow == PTX_FLOW_EXIT) {
            const bool goes_on = mask == 0;
            exit_lanes(warp, split, mask);
            if (!goes_on) break;
        } else if (mask == 0) {
            split->pc++;
        } else if (insn->flow == PTX_FLOW_POLL) {
            warp->has_polled = false;
            if (!checks || check_registers(warp, insn, mask)) insn->run(warp, insn, mask);
            split->pc++;
            if (warp->has_polled) {
                split->has_polled = true;
                break;
            }
        } else if (!has_members(warp, split, insn)) {
            break;
        } else if (insn->flow == PTX_FLOW_WARP) {
            if (!checks || check_registers(warp, insn, mask)) insn->run(warp, insn, mask);
            split->pc++;
        } else {
            ptx_barrier_arrive(warp, split, insn, mask);
            ends_turn = (insn->flags & PTX_EXTRA) == 0;
            break;
        }
        if (split->pc >= stop) break;
    }
    block->n_instructions += first_budget - *budget;
    block->counters->warp_instructions += first_budget - *budget;
    block->counters->lane_instructions += n_lanes;
    return ends_turn;
}

// Gives a warp its turn. True: something ran.
static bool run_warp(ptx_warp *warp) {
    uint32_t budget = TURN_INSTRUCTIONS;
    bool has_run = false;
    while (budget > 0 && warp->block->failure == NULL) {
        if (warp->n_splits > 1) merge_splits(warp);
        ptx_split *split = next_split(warp);
        if (split == NULL) break;
        has_run = true;
        if (run_split(warp, split, &budget)) break;
    }
    for (uint32_t i = 0; i < warp->n_splits; i++) warp->splits[i].has_polled = false;
    return has_run;
}

// ---- barriers ----------------------------------------------------------------------------------------------------------------------------------

static const ptx_insn *barrier_insn(const ptx_block *block, const ptx_split *split) {
    return &block->function->code[split->pc - 1];
}

// Nobody can go on: says who waits where.
static void fail_stuck(ptx_block *block) {
    mlcc_str others = {0};
    ptx_warp *first_warp = NULL;
    const ptx_insn *first = NULL;
    uint32_t first_mask = 0;
    for (uint32_t w = 0; w < block->n_warps; w++) {
        ptx_warp *warp = &block->warps[w];
        for (uint32_t i = 0; i < warp->n_splits; i++) {
            const ptx_split *split = &warp->splits[i];
            const ptx_insn *insn = split->waits_at_barrier ? barrier_insn(block, split)
                                                           : &block->function->code[split->pc];
            if (first == NULL) {
                first = insn;
                first_warp = warp;
                first_mask = split->mask;
            } else if (insn != first && others.length < 200) {
                mlcc_str_puts(&others, "; thread ");
                put_lanes(&others, warp->first_thread, split->mask);
                mlcc_str_printf(&others, " waits at line %u ('%s')", insn->line, insn->text);
            }
        }
        const uint32_t gone = warp->members & ~live_lanes(warp);
        if (gone != 0 && others.length < 200) {
            mlcc_str_puts(&others, "; thread ");
            put_lanes(&others, warp->first_thread, gone);
            mlcc_str_puts(&others, " has returned");
        }
    }
    ptx_mbarriers_describe(block, &others);
    if (first != NULL)
        ptx_fail(
            first_warp, first, first_mask, "waits for threads that never come%s",
            mlcc_str_text(&others));
    mlcc_str_free(&others);
}

// ---- blocks ------------------------------------------------------------------------------------------------------------------------------------

static void fill_lanes(ptx_warp *warp, uint32_t place, uint32_t bits, const uint64_t *values) {
    uint8_t *at = warp->file + place;
    PTX_EACH_LANE {
        const uint64_t value = values[lane];
        if (bits == 16)
            ((uint16_t *)(void *)at)[lane] = (uint16_t)value;
        else if (bits == 32)
            ((uint32_t *)(void *)at)[lane] = (uint32_t)value;
        else
            ((uint64_t *)(void *)at)[lane] = value;
    }
}

static void fill_constants(ptx_warp *warp) {
    const ptx_function *function = warp->block->function;
    for (size_t i = 0; i < function->n_constants; i++) {
        const ptx_constant *constant = &function->constants[i];
        uint64_t values[PTX_LANES];
        PTX_EACH_LANE values[lane] = constant->value;
        if (constant->bits == 1)
            *(uint32_t *)(void *)(warp->file + constant->place) = (uint32_t)constant->value;
        else
            fill_lanes(warp, constant->place, constant->bits, values);
    }
}

// In the order of ptx_special_names.
static uint64_t special_value(const ptx_warp *warp, uint32_t which, int lane) {
    const ptx_block *block = warp->block;
    const uint32_t thread = warp->first_thread + (uint32_t)lane;
    const uint32_t bit = 1u << lane;
    switch (which) {
    case 0: return thread % block->block[0];
    case 1: return thread / block->block[0] % block->block[1];
    case 2: return thread / block->block[0] / block->block[1];
    case 3:
    case 4:
    case 5: return block->block[which - 3];
    case 6:
    case 7:
    case 8: return block->at[which - 6];
    case 9:
    case 10:
    case 11: return block->grid[which - 9];
    case 12: return (uint64_t)lane;
    case 13: return warp->index;
    case 14: return block->n_warps;
    case 15: return bit;
    case 16: return bit - 1;
    case 17: return (uint64_t)bit | (bit - 1);
    case 18: return ~(bit | (bit - 1));
    case 19: return ~(bit - 1);
    case 21: return 1; // nsmid
    case 22: return block->shared_bytes - ptx_dynamic_start(block->function);
    case 23: return block->shared_bytes;
    default: return 0; // smid, clocks
    }
}

static void start_block(ptx_block *block) {
    const ptx_function *function = block->function;
    block->n_instructions = 0;
    ptx_clocks_start(block);
    ptx_barriers_start(block);
    ptx_mbarriers_start(block);
    ptx_wgmma_start(block);
    // Bytes that nothing writes read as NaN when the check is off.
    memset(block->shared, 0xff, block->shared_bytes);
    memset(block->shadow.state, 0, block->shared_bytes);
    for (uint32_t w = 0; w < block->n_warps; w++) {
        ptx_warp *warp = &block->warps[w];
        memset(warp->defined, 0, (function->n_registers + 1u) * sizeof *warp->defined);
        warp->defined[0] = PTX_ALL_LANES;
        memset(warp->open_group, 0, sizeof warp->open_group);
        memset(warp->local, 0xff, (size_t)function->local_bytes * PTX_LANES);
        warp->n_copies = 0;
        warp->n_copies_issued = 0;
        warp->released_lanes = 0;
        warp->sync_epoch = 0;
        warp->n_splits = 1;
        warp->splits[0] = (ptx_split){.mask = warp->members};
        for (size_t i = 0; i < function->n_specials; i++) {
            const ptx_special *special = &function->specials[i];
            uint64_t values[PTX_LANES];
            PTX_EACH_LANE values[lane] = special_value(warp, special->which, lane);
            fill_lanes(warp, special->place, special->bits, values);
        }
    }
}

static void fail_endless(ptx_block *block) {
    ptx_warp *warp = block->warps;
    while (warp->n_splits == 0) warp++;
    ptx_fail(
        warp, &block->function->code[warp->splits[0].pc], warp->splits[0].mask,
        "the block does not end: %llu instructions so far",
        (unsigned long long)block->n_instructions);
}

// Gives every warp a turn. False: all have returned.
static bool run_round(ptx_block *block, bool *has_run) {
    bool is_alive = false;
    *has_run = false;
    for (uint32_t w = 0; w < block->n_warps && block->failure == NULL; w++) {
        *has_run |= run_warp(&block->warps[w]);
        is_alive |= block->warps[w].n_splits > 0;
    }
    return is_alive;
}

static void run_block(ptx_block *block) {
    uint32_t n_idle_rounds = 0;
    start_block(block);
    block->counters->blocks++;
    while (block->failure == NULL) {
        bool has_run = false;
        const uint64_t n_events = block->n_events, n_before = block->n_instructions;
        if (!run_round(block, &has_run)) break;
        const bool has_released = ptx_barriers_release(block);
        const bool is_idle = n_events == block->n_events &&
                             block->n_instructions - n_before < (uint64_t)64 * block->n_warps;
        n_idle_rounds = is_idle ? n_idle_rounds + 1 : 0;
        if (block->n_instructions > block->max_instructions)
            fail_endless(block);
        else if ((!has_run && !has_released) || n_idle_rounds > MAX_IDLE_ROUNDS)
            fail_stuck(block);
    }
    if (block->failure == NULL && ptx_wgmma_end(block)) ptx_transfers_end(block);
}

// ---- launches ----------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *check_shape(
    const ptx_function *function, const ptx_shape *shape, const void *params, size_t params_bytes) {
    uint64_t n_threads = 1, n_blocks = 1;
    for (int i = 0; i < 3; i++) {
        if (shape->grid[i] == 0 || shape->block[i] == 0)
            return MLCC_ERROR(INVALID, "kernel '%s': an extent of the launch is 0", function->name);
        n_blocks *= shape->grid[i];
        n_threads *= shape->block[i];
        if (n_threads > 1024 || n_blocks > INT32_MAX)
            return MLCC_ERROR(INVALID, "kernel '%s': the launch is too large", function->name);
    }
    if (n_threads > function->max_threads)
        return MLCC_ERROR(
            INVALID, "kernel '%s': %llu threads, compiled for at most %u", function->name,
            (unsigned long long)n_threads, function->max_threads);
    if (shape->dynamic_shared_bytes > PTX_MAX_SHARED_BYTES - function->static_shared_bytes)
        return MLCC_ERROR(
            INVALID, "kernel '%s': %u static and %u dynamic shared bytes, at most %u",
            function->name, function->static_shared_bytes, shape->dynamic_shared_bytes,
            PTX_MAX_SHARED_BYTES);
    if (params_bytes != function->param_bytes || (params == NULL && params_bytes > 0))
        return MLCC_ERROR(
            INVALID, "kernel '%s': %zu param bytes, expected %u", function->name, params_bytes,
            function->param_bytes);
    return NULL;
}

static void *allocate(mlcc_arena *arena, size_t size_bytes) {
    return mlcc_arena_alloc_aligned(arena, size_bytes, 64);
}

static void prepare_block(ptx_block *block, mlcc_arena *arena) {
    const ptx_function *function = block->function;
    const size_t n_words = block->shared_bytes / 4u + 1u;
    block->shared = mlcc_arena_alloc_aligned(arena, block->shared_bytes, 128);
    block->shadow.state = allocate(arena, block->shared_bytes);
    block->shadow.reads = allocate(arena, n_words * sizeof(uint64_t));
    block->shadow.writes = allocate(arena, n_words * sizeof(uint64_t));
    block->shadow.read_pcs = allocate(arena, n_words * sizeof(uint32_t));
    block->shadow.write_pcs = allocate(arena, n_words * sizeof(uint32_t));
    block->shadow.readers = allocate(arena, n_words * sizeof(uint32_t));
    block->shadow.first_reads = allocate(arena, n_words * sizeof(uint32_t));
    block->shadow.under_way = allocate(arena, n_words * sizeof(uint16_t));
    block->warps = MLCC_NEW_ARRAY(arena, ptx_warp, block->n_warps);
    for (uint32_t w = 0; w < block->n_warps; w++) {
        ptx_warp *warp = &block->warps[w];
        warp->block = block;
        warp->index = w;
        warp->first_thread = w * PTX_LANES;
        const uint32_t n_left = block->n_threads - warp->first_thread;
        warp->members = n_left >= PTX_LANES ? PTX_ALL_LANES : (1u << n_left) - 1;
        warp->file = allocate(arena, function->file_bytes);
        warp->defined = allocate(arena, (function->n_registers + 1u) * sizeof(uint32_t));
        warp->local = allocate(arena, (size_t)function->local_bytes * PTX_LANES);
        fill_constants(warp);
    }
    ptx_wgmma_prepare(block, arena);
}

static mlcc_status *run_grid(ptx_block *block) {
    for (uint32_t z = 0; z < block->grid[2]; z++)
        for (uint32_t y = 0; y < block->grid[1]; y++)
            for (uint32_t x = 0; x < block->grid[0]; x++) {
                const uint32_t at[3] = {x, y, z};
                memcpy(block->at, at, sizeof at);
                run_block(block);
                if (block->failure != NULL) return block->failure;
            }
    return NULL;
}

mlcc_status *ptx_launch(
    const ptx_function *function, const ptx_shape *shape, const void *params, size_t params_bytes,
    const ptx_memory *memory, const ptx_options *options) {
    static const ptx_options defaults = {.checks = PTX_CHECK_ALL};
    if (options == NULL) options = &defaults;
    MLCC_TRY(check_shape(function, shape, params, params_bytes));
    ptx_counters unused = {0};
    ptx_block block = {
        .function = function,
        .memory = memory,
        .params = params,
        .counters = options->counters != NULL ? options->counters : &unused,
        .counts = options->counters != NULL,
        .checks = options->checks,
        .before = options->is_dependent ? options->history : NULL,
        .touches = options->history != NULL ? ptx_history_create() : NULL,
        .max_instructions = options->max_block_instructions != 0 ? options->max_block_instructions
                                                                 : (uint64_t)1 << 32,
        .range_start = 1, // empty
        .n_threads = shape->block[0] * shape->block[1] * shape->block[2],
        .shared_bytes = ptx_dynamic_start(function) + shape->dynamic_shared_bytes};
    memcpy(block.grid, shape->grid, sizeof block.grid);
    memcpy(block.block, shape->block, sizeof block.block);
    block.n_warps = (block.n_threads + PTX_LANES - 1) / PTX_LANES;
    mlcc_arena *arena = mlcc_arena_create();
    prepare_block(&block, arena);
    block.counters->launches++;
    mlcc_status *status = run_grid(&block);
    if (block.touches != NULL) {
        if (!options->is_dependent) ptx_history_clear(options->history);
        ptx_history_merge(options->history, block.touches);
        ptx_history_free(block.touches);
    }
    for (uint32_t w = 0; w < block.n_warps; w++) free(block.warps[w].copies);
    ptx_wgmma_free(&block);
    ptx_mbarriers_free(&block);
    ptx_transfers_free(&block);
    mlcc_arena_free(arena);
    return status;
}
