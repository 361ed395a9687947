// Address spaces: registered host memory, the windows of shared, local and param memory, request counts.
#include "tests/support/ptx/ptx_space.h"

#include "tests/support/ptx/ptx_history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct range {
    uint64_t start, end;
    char *name;
} range;

struct ptx_memory {
    mlcc_arena *arena;
    range *ranges;
    size_t n_ranges, capacity;
};

ptx_memory *ptx_memory_create(void) {
    mlcc_arena *arena = mlcc_arena_create();
    ptx_memory *memory = MLCC_NEW(arena, ptx_memory);
    memory->arena = arena;
    return memory;
}

void ptx_memory_free(ptx_memory *memory) {
    if (memory == NULL) return;
    for (size_t i = 0; i < memory->n_ranges; i++) free(memory->ranges[i].name);
    mlcc_arena_free(memory->arena);
}

void ptx_memory_add(ptx_memory *memory, const void *start, size_t size_bytes, const char *name) {
    MLCC_ARENA_GROW(memory->arena, memory->ranges, memory->n_ranges, memory->capacity);
    memory->ranges[memory->n_ranges++] = (range){.start = (uint64_t)(uintptr_t)start,
                                                 .end = (uint64_t)(uintptr_t)start + size_bytes,
                                                 .name = strdup(name)};
}

bool ptx_memory_remove(ptx_memory *memory, const void *start) {
    for (size_t i = 0; i < memory->n_ranges; i++) {
        if (memory->ranges[i].start != (uint64_t)(uintptr_t)start) continue;
        free(memory->ranges[i].name);
        memory->ranges[i] = memory->ranges[--memory->n_ranges];
        return true;
    }
    return false;
}

static bool is_within(uint64_t address, uint32_t n_bytes, uint64_t start, uint64_t end) {
    return address >= start && address <= end && n_bytes <= end - address;
}

// Registered memory, or a variable of the module.
static bool find_range(ptx_block *block, uint64_t address, uint32_t n_bytes) {
    const ptx_memory *memory = block->memory;
    const ptx_module *module = block->function->module;
    for (size_t i = 0; i < memory->n_ranges; i++) {
        if (!is_within(address, n_bytes, memory->ranges[i].start, memory->ranges[i].end)) continue;
        block->range_start = memory->ranges[i].start;
        block->range_end = memory->ranges[i].end;
        return true;
    }
    for (size_t i = 0; i < module->n_variables; i++) {
        const uint64_t start = (uint64_t)(uintptr_t)module->variables[i].data;
        const uint64_t end = start + module->variables[i].size_bytes;
        if (!is_within(address, n_bytes, start, end)) continue;
        block->range_start = start;
        block->range_end = end;
        return true;
    }
    return false;
}

static void fail_global(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t n_bytes,
    const char *verb) {
    const ptx_memory *memory = warp->block->memory;
    const range *nearest = NULL;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < memory->n_ranges; i++) {
        const range *at = &memory->ranges[i];
        const uint64_t distance = address < at->start  ? at->start - address
                                  : address >= at->end ? address - at->end
                                                       : 0;
        if (distance >= least) continue;
        least = distance;
        nearest = at;
    }
    const uint32_t lanes = 1u << lane;
    if (nearest == NULL || least > (1u << 30))
        ptx_fail(
            warp, insn, lanes, "%s %u bytes at address 0x%" PRIx64 ", which is no global memory",
            verb, n_bytes, address);
    else
        ptx_fail(
            warp, insn, lanes,
            "%s %u bytes at offset %" PRId64 " of '%s', which has %" PRIu64 " bytes", verb, n_bytes,
            (int64_t)(address - nearest->start), nearest->name, nearest->end - nearest->start);
}

// The window of shared addresses: dynamic memory, a gap, static variables. The block's bytes hold the static ones first.
static bool locate_shared(
    const ptx_block *block, uint64_t address, uint32_t n_bytes, uint32_t *offset) {
    const uint32_t n_static = block->function->static_shared_bytes;
    if (address >= PTX_STATIC_ADDRESS) {
        if (address - PTX_STATIC_ADDRESS + n_bytes > n_static) return false;
        *offset = (uint32_t)address - PTX_STATIC_ADDRESS;
        return true;
    }
    if (address < PTX_FIRST_ADDRESS) return false;
    const uint64_t at = address - PTX_FIRST_ADDRESS + ptx_dynamic_start(block->function);
    if (at + n_bytes > block->shared_bytes) return false;
    *offset = (uint32_t)at;
    return true;
}

// A launch that may begin before the ones before it have ended, and a thread that has not waited for them.
static bool check_history(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t address, uint32_t n_bytes,
    ptx_use use) {
    const ptx_history *before = warp->block->before;
    const bool is_written = ptx_history_has(before, address, n_bytes, true);
    if (!is_written && (use == PTX_READS || !ptx_history_has(before, address, n_bytes, false)))
        return true;
    ptx_fail(
        warp, insn, 1u << lane,
        "%s %u bytes at address 0x%" PRIx64 ", which a launch before %s: griddepcontrol.wait must "
        "come first",
        use == PTX_READS ? "reads" : "writes", n_bytes, address, is_written ? "writes" : "reads");
    return false;
}

bool ptx_locate(
    ptx_warp *warp, const ptx_insn *insn, int lane, ptx_space space, uint64_t address,
    uint32_t n_bytes, ptx_use use, ptx_location *out) {
    return ptx_locate_range(warp, insn, lane, space, address, n_bytes, n_bytes, use, out);
}

bool ptx_locate_range(
    ptx_warp *warp, const ptx_insn *insn, int lane, ptx_space space, uint64_t address,
    uint32_t n_bytes, uint32_t alignment, ptx_use use, ptx_location *out) {
    ptx_block *block = warp->block;
    const char *verb = use == PTX_READS ? "reads" : "writes";
    if (space == PTX_SPACE_GENERIC) {
        switch (address >> 56) {
        case PTX_SHARED_WINDOW >> 56: space = PTX_SPACE_SHARED; break;
        case PTX_LOCAL_WINDOW >> 56: space = PTX_SPACE_LOCAL; break;
        case PTX_PARAM_WINDOW >> 56: space = PTX_SPACE_PARAM; break;
        default: space = PTX_SPACE_GLOBAL; break;
        }
        if (space != PTX_SPACE_GLOBAL) address &= PTX_SHARED_WINDOW - 1;
    }
    out->is_shared = space == PTX_SPACE_SHARED;
    if ((address & (alignment - 1)) != 0) {
        ptx_fail(
            warp, insn, 1u << lane, "%s %u bytes at the misaligned address 0x%" PRIx64, verb,
            n_bytes, address);
        return false;
    }
    switch (space) {
    case PTX_SPACE_SHARED:
        if (!locate_shared(block, address, n_bytes, &out->offset)) {
            ptx_fail(
                warp, insn, 1u << lane,
                "%s %u bytes at shared address %" PRIu64 ": static memory is %u … %u, dynamic "
                "memory %u … %u",
                verb, n_bytes, address, PTX_STATIC_ADDRESS,
                PTX_STATIC_ADDRESS + block->function->static_shared_bytes, PTX_FIRST_ADDRESS,
                PTX_FIRST_ADDRESS + block->shared_bytes - ptx_dynamic_start(block->function));
            return false;
        }
        out->data = block->shared + out->offset;
        return true;
    case PTX_SPACE_LOCAL: {
        const uint32_t local_bytes = block->function->local_bytes;
        if (address < PTX_FIRST_ADDRESS || address - PTX_FIRST_ADDRESS + n_bytes > local_bytes) {
            ptx_fail(
                warp, insn, 1u << lane, "%s %u bytes at offset %" PRId64 " of %u local bytes", verb,
                n_bytes, (int64_t)address - (int64_t)PTX_FIRST_ADDRESS, local_bytes);
            return false;
        }
        out->data = warp->local + (size_t)lane * local_bytes + (address - PTX_FIRST_ADDRESS);
        return true;
    }
    case PTX_SPACE_PARAM:
        if (use == PTX_WRITES || !is_within(address, n_bytes, 0, block->function->param_bytes)) {
            ptx_fail(
                warp, insn, 1u << lane, "%s %u bytes at offset %" PRIu64 " of %u param bytes", verb,
                n_bytes, address, block->function->param_bytes);
            return false;
        }
        out->data = (uint8_t *)(uintptr_t)(block->params + address);
        return true;
    default:
        if (!is_within(address, n_bytes, block->range_start, block->range_end) &&
            !find_range(block, address, n_bytes)) {
            fail_global(warp, insn, lane, address, n_bytes, verb);
            return false;
        }
        if (block->before != NULL && (warp->released_lanes >> lane & 1u) == 0 &&
            !check_history(warp, insn, lane, address, n_bytes, use))
            return false;
        if (block->touches != NULL)
            ptx_history_add(block->touches, address, n_bytes, use == PTX_WRITES);
        out->data = (uint8_t *)(uintptr_t)address;
        return true;
    }
}

void *ptx_grow(void *items, size_t n_items, size_t *capacity, size_t item_bytes) {
    if (n_items < *capacity) return items;
    *capacity = 2 * *capacity + 16;
    void *grown = realloc(items, *capacity * item_bytes);
    if (grown == NULL) abort();
    return grown;
}

// ---- counts ------------------------------------------------------------------------------------------------------------------------------------

void ptx_count_global(
    ptx_block *block, const uint64_t *addresses, uint32_t mask, uint32_t n_bytes) {
    uint64_t sectors[PTX_LANES];
    uint32_t n_sectors = 0;
    if (!block->counts) return;
    PTX_EACH_LANE {
        if ((mask >> lane & 1u) == 0) continue;
        const uint64_t sector = addresses[lane] >> 5;
        uint32_t i = n_sectors;
        while (i > 0 && sectors[i - 1] != sector) i--;
        if (i == 0) sectors[n_sectors++] = sector;
    }
    block->counters->global_requests++;
    block->counters->global_sectors += n_sectors;
    block->counters->global_bytes += (uint64_t)__builtin_popcount(mask) * n_bytes;
}

// 32 banks of 4 bytes; accesses of 8 and 16 bytes go in two and four rounds of lanes.
void ptx_count_shared(
    ptx_block *block, const uint64_t *addresses, uint32_t mask, uint32_t n_bytes) {
    if (!block->counts) return;
    const int lanes_per_round = n_bytes <= 4 ? 32 : n_bytes == 8 ? 16 : 8;
    block->counters->shared_requests++;
    for (int first = 0; first < PTX_LANES; first += lanes_per_round) {
        uint64_t words[PTX_LANES][4];
        uint8_t depth[PTX_LANES] = {0};
        uint32_t most = 0;
        for (int lane = first; lane < first + lanes_per_round; lane++) {
            if ((mask >> lane & 1u) == 0) continue;
            for (uint32_t at = 0; at < n_bytes; at += 4) {
                const uint64_t word = (addresses[lane] + at) >> 2;
                const uint32_t bank = (uint32_t)word & 31u;
                uint32_t i = depth[bank];
                while (i > 0 && words[bank][(i - 1) & 3u] != word) i--;
                if (i > 0) continue;
                words[bank][depth[bank] & 3u] = word;
                depth[bank]++;
                if (depth[bank] > most) most = depth[bank];
            }
        }
        block->counters->shared_wavefronts += most;
    }
}
