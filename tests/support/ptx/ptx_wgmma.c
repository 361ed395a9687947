// wgmma: products of a warpgroup, four warps of which each has 16 rows of the result. Layouts: PTX ISA, "Register fragments … for wgmma".
//
// A wgmma only begins where it stands. Its shared memory is read, and its registers get their values, at the wait that covers its group; until then
// nobody may touch either. Each warp does its 16 rows when it gets there: only its own lanes wait for each other, as the instruction says. That the
// four warps execute the same instructions with the same descriptors is checked by a log of the warpgroup.
#include "ir/eval.h"
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_descriptor.h"
#include "tests/support/ptx/ptx_space.h"
#include "tests/support/ptx/ptx_sync.h"

#include <stdio.h>
#include <stdlib.h>

#define M_ROWS     16 // of a warp
#define MAX_N      256
#define MAX_K      32
#define N_CHUNKS   2 // 16-byte chunks of K of one instruction
#define CHUNK      16
#define GROUP_SIZE 4 // warps

// detail[0]: element type of A; detail[1]: enum form_flag; detail[2]: element type of B
enum element { ELEMENT_F16, ELEMENT_BF16, ELEMENT_E4M3, ELEMENT_E5M2 };
enum form_flag {
    A_IN_SHARED = 1,
    TRANSPOSE_A = 2,
    TRANSPOSE_B = 4,
    NEGATE = 8, // one of A and B
    F16_RESULT = 16
};

// A product that has begun.
typedef struct product {
    const ptx_insn *insn;
    uint64_t a, b;                // descriptors
    uint32_t words[4][PTX_LANES]; // of A in registers
    uint32_t group;
    bool adds; // to the accumulators
} product;

typedef struct watched {
    uint16_t n_products; // under way that use the register
    uint16_t shape;      // of accumulators: N, and above it the type
    bool is_accumulator; // of the products under way
    bool is_changed;     // by another instruction since the last wgmma.fence
} watched;

struct ptx_wgmma {
    watched *registers; // by number
    product *products;  // in order
    size_t n_products, capacity;
    uint32_t open_group;
    bool has_fence;
    size_t n_steps; // in the warpgroup's log
};

// What the warps of a group executed, to be compared.
typedef struct group_step {
    const ptx_insn *insn;
    uint64_t first, second;
} group_step;

struct ptx_warpgroup {
    group_step *steps;
    size_t n_steps, capacity;
    size_t reached[GROUP_SIZE];
    uint32_t n_registers; // of each thread by setmaxnreg; 0: not set
};

static float element_table[2][256]; // of e4m3 and e5m2
static bool has_element_table;

// ---- the warps of a group ----------------------------------------------------------------------------------------------------------------------

static ptx_warpgroup *group_of(const ptx_warp *warp) {
    return &warp->block->warpgroups[warp->index / GROUP_SIZE];
}

bool ptx_warpgroup_step(
    ptx_warp *warp, const ptx_insn *insn, uint32_t mask, uint64_t first, uint64_t second) {
    ptx_block *block = warp->block;
    ptx_warpgroup *group = group_of(warp);
    size_t *reached = &group->reached[warp->index % GROUP_SIZE];
    if (mask != PTX_ALL_LANES || block->n_threads < (warp->index / GROUP_SIZE + 1) * 128) {
        ptx_fail(warp, insn, mask, "needs all 128 threads of the warpgroup");
        return false;
    }
    if (*reached == group->n_steps) {
        group->steps =
            ptx_grow(group->steps, group->n_steps, &group->capacity, sizeof *group->steps);
        group->steps[group->n_steps++] = (group_step){insn, first, second};
    }
    const group_step *expected = &group->steps[(*reached)++];
    if (expected->insn != insn) {
        ptx_fail(
            warp, insn, mask,
            "another warp of the warpgroup executes PTX line %u ('%s') at this point",
            expected->insn->line, expected->insn->text);
        return false;
    }
    if (expected->first != first || expected->second != second) {
        ptx_fail(
            warp, insn, mask, "the warps of the warpgroup give 0x%llx, 0x%llx and 0x%llx, 0x%llx",
            (unsigned long long)expected->first, (unsigned long long)expected->second,
            (unsigned long long)first, (unsigned long long)second);
        return false;
    }
    return true;
}

// ---- life of a block ---------------------------------------------------------------------------------------------------------------------------

void ptx_wgmma_prepare(ptx_block *block, mlcc_arena *arena) {
    const ptx_function *function = block->function;
    block->warpgroups =
        MLCC_NEW_ARRAY(arena, ptx_warpgroup, (block->n_warps + GROUP_SIZE - 1) / GROUP_SIZE);
    if (!function->has_wgmma) return;
    for (uint32_t w = 0; w < block->n_warps; w++) {
        block->warps[w].wgmma = MLCC_NEW(arena, ptx_wgmma);
        block->warps[w].wgmma->registers =
            MLCC_NEW_ARRAY(arena, watched, function->n_registers + 1u);
    }
    for (int i = 0; i < 256 && !has_element_table; i++) {
        element_table[0][i] = ir_f8e4m3_to_f32((uint8_t)i);
        element_table[1][i] = ir_f8e5m2_to_f32((uint8_t)i);
    }
    has_element_table = true;
}

void ptx_wgmma_start(ptx_block *block) {
    for (uint32_t w = 0; w < block->n_warps; w++) {
        ptx_wgmma *state = block->warps[w].wgmma;
        ptx_warpgroup *group = group_of(&block->warps[w]);
        group->n_steps = 0;
        memset(group->reached, 0, sizeof group->reached);
        if (state == NULL) continue;
        memset(state->registers, 0, (block->function->n_registers + 1u) * sizeof *state->registers);
        state->n_products = 0;
        state->open_group = 0;
        state->has_fence = false;
    }
}

bool ptx_wgmma_end(ptx_block *block) {
    for (uint32_t w = 0; w < block->n_warps && block->failure == NULL; w++) {
        ptx_warp *warp = &block->warps[w];
        const ptx_warpgroup *group = group_of(warp);
        const size_t reached = group->reached[w % GROUP_SIZE];
        if (warp->wgmma != NULL && warp->wgmma->n_products > 0)
            ptx_fail(
                warp, warp->wgmma->products[0].insn, PTX_ALL_LANES,
                "the warp returns before this was waited for");
        else if (reached < group->n_steps)
            ptx_fail(
                warp, group->steps[reached].insn, warp->members,
                "the warp returns without executing this, which others of its warpgroup do");
    }
    return block->failure == NULL;
}

void ptx_wgmma_free(ptx_block *block) {
    for (uint32_t w = 0; w < block->n_warps; w++) {
        if (block->warps[w].wgmma != NULL) free(block->warps[w].wgmma->products);
        if (w % GROUP_SIZE == 0) free(group_of(&block->warps[w])->steps);
    }
}

// ---- registers ---------------------------------------------------------------------------------------------------------------------------------

void ptx_wgmma_mark(ptx_function *function, mlcc_arena *scratch) {
    if (!function->has_wgmma) return;
    bool *is_used = MLCC_NEW_ARRAY(scratch, bool, function->n_registers + 1u);
    for (size_t i = 0; i < function->n_code; i++) {
        const ptx_insn *insn = &function->code[i];
        if ((insn->flags & PTX_ASYNC) == 0) continue;
        for (int k = 0; k < insn->n_results + insn->n_sources; k++)
            if (insn->operands[k].bits == 32) is_used[insn->operands[k].number] = true;
    }
    is_used[0] = false;
    for (size_t i = 0; i < function->n_code; i++) {
        ptx_insn *insn = &function->code[i];
        for (int k = 0; k < insn->n_results + insn->n_sources; k++)
            if (is_used[insn->operands[k].number]) insn->flags |= PTX_WATCHED;
    }
}

static const product *product_with(const ptx_wgmma *state, uint32_t number) {
    for (size_t i = 0; i < state->n_products; i++)
        for (int k = 0; k < state->products[i].insn->n_results + state->products[i].insn->n_sources;
             k++)
            if (state->products[i].insn->operands[k].number == number) return &state->products[i];
    return state->products;
}

static bool fail_under_way(ptx_warp *warp, const ptx_insn *insn, uint32_t mask, uint32_t number) {
    const ptx_insn *before = product_with(warp->wgmma, number)->insn;
    ptx_fail(
        warp, insn, mask,
        "touches a register of the wgmma at PTX line %u, which has not been waited for",
        before->line);
    return false;
}

// Registers of a product: A's must be left alone since the fence, accumulators may be in use by products of the same shape.
static bool check_product_registers(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const ptx_wgmma *state = warp->wgmma;
    const uint32_t *scales = ptx_source(warp, insn, insn->n_sources - 2);
    const bool adds = *scales != 0;
    for (int i = 0; i < insn->n_results + insn->n_sources; i++) {
        const ptx_operand *operand = &insn->operands[i];
        const bool is_accumulator = i < insn->n_results;
        const watched *use = &state->registers[operand->number];
        if (operand->number == 0) continue;
        if ((!is_accumulator || adds) && (warp->defined[operand->number] & mask) != mask) {
            ptx_fail(
                warp, insn, mask & ~warp->defined[operand->number],
                "operand %d is a register that has not been written", i + 1);
            return false;
        }
        warp->defined[operand->number] |= is_accumulator ? mask : 0;
        if (use->is_changed) {
            ptx_fail(
                warp, insn, mask,
                "operand %d is a register that was written since the last wgmma.fence", i + 1);
            return false;
        }
        const uint16_t shape = (uint16_t)(insn->target | (uint32_t)insn->detail[1] << 9);
        if (use->n_products > 0 &&
            (use->is_accumulator != is_accumulator || (is_accumulator && use->shape != shape)))
            return fail_under_way(warp, insn, mask, operand->number);
    }
    if (state->has_fence) return true;
    ptx_fail(warp, insn, mask, "there was no wgmma.fence before the first wgmma");
    return false;
}

bool ptx_wgmma_watch(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_wgmma *state = warp->wgmma;
    if ((insn->flags & PTX_ASYNC) != 0) return check_product_registers(warp, insn, mask);
    for (int i = 0; i < insn->n_results + insn->n_sources; i++) {
        const uint32_t number = insn->operands[i].number;
        if (number == 0) continue;
        if (state->registers[number].n_products > 0)
            return fail_under_way(warp, insn, mask, number);
        if (i < insn->n_results) state->registers[number].is_changed = true;
    }
    return true;
}

static void use_registers(ptx_wgmma *state, const ptx_insn *insn, int by) {
    for (int i = 0; i < insn->n_results + insn->n_sources; i++) {
        const ptx_operand *operand = &insn->operands[i];
        if (operand->number == 0 || operand->bits != 32) continue;
        watched *use = &state->registers[operand->number];
        use->n_products = (uint16_t)(use->n_products + by);
        use->is_accumulator = i < insn->n_results;
        use->shape = (uint16_t)(insn->target | (uint32_t)insn->detail[1] << 9);
    }
}

// ---- shared memory -----------------------------------------------------------------------------------------------------------------------------

static bool is_8_bit(uint8_t type) {
    return type >= ELEMENT_E4M3;
}

// The 16 bytes at an address of a descriptor. Offsets in the block's bytes; false: not there.
static bool locate_chunk(ptx_warp *warp, const ptx_insn *insn, uint32_t address, uint32_t *offset) {
    ptx_location location;
    // 18 bits go round: what lies beyond is static memory.
    address &= 0x3ffffu;
    if (!ptx_locate(warp, insn, 0, PTX_SPACE_SHARED, address, CHUNK, PTX_READS, &location))
        return false;
    *offset = location.offset;
    return true;
}

typedef void chunk_visitor(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes);

// Rows first … first + n of a matrix.
static void visit_matrix(
    ptx_warp *warp, const ptx_insn *insn, uint64_t bits, bool is_transposed, uint32_t first,
    uint32_t n, chunk_visitor *visit) {
    const ptx_descriptor matrix = ptx_read_descriptor(bits);
    uint32_t offset = 0;
    if (is_transposed) {
        for (uint32_t chunk = first / 8; chunk < (first + n) / 8; chunk++)
            for (uint32_t k = 0; k < 16; k++) {
                if (!locate_chunk(warp, insn, ptx_chunk_of_mn_major(&matrix, chunk, k), &offset))
                    return;
                visit(warp, insn, 0, offset, CHUNK);
                if (warp->block->failure != NULL) return;
            }
        return;
    }
    for (uint32_t row = first; row < first + n; row++)
        for (uint32_t chunk = 0; chunk < N_CHUNKS; chunk++) {
            if (!locate_chunk(warp, insn, ptx_chunk_of_k_major(&matrix, row, chunk), &offset))
                return;
            visit(warp, insn, 0, offset, CHUNK);
            if (warp->block->failure != NULL) return;
        }
}

static void visit_product(ptx_warp *warp, const product *at, chunk_visitor *visit) {
    const ptx_insn *insn = at->insn;
    const uint32_t first = warp->index % GROUP_SIZE * M_ROWS;
    if ((insn->detail[1] & A_IN_SHARED) != 0)
        visit_matrix(warp, insn, at->a, (insn->detail[1] & TRANSPOSE_A) != 0, first, M_ROWS, visit);
    if (warp->block->failure == NULL)
        visit_matrix(
            warp, insn, at->b, (insn->detail[1] & TRANSPOSE_B) != 0, 0, insn->target, visit);
}

// ---- the product -------------------------------------------------------------------------------------------------------------------------------

static void read_elements(uint8_t type, const uint8_t *bytes, float *out, size_t step) {
    uint16_t halves[8];
    if (is_8_bit(type)) {
        const float *table = element_table[type - ELEMENT_E4M3];
        for (size_t i = 0; i < 16; i++) out[i * step] = table[bytes[i]];
        return;
    }
    memcpy(halves, bytes, sizeof halves);
    if (type == ELEMENT_F16)
        for (size_t i = 0; i < 8; i++) out[i * step] = ptx_from_f16(halves[i]);
    else
        for (size_t i = 0; i < 8; i++) out[i * step] = ptx_from_bf16(halves[i]);
}

// Rows first … first + n of a matrix in shared memory: out[k * k_step + row * row_step].
static void read_matrix(
    ptx_warp *warp, const ptx_insn *insn, uint8_t type, uint64_t bits, bool is_transposed,
    uint32_t first, uint32_t n, float *out, size_t k_step, size_t row_step) {
    const ptx_descriptor matrix = ptx_read_descriptor(bits);
    const uint8_t *shared = warp->block->shared;
    const uint32_t per_chunk = is_8_bit(type) ? 16 : 8;
    uint32_t offset = 0;
    if (is_transposed) {
        for (uint32_t chunk = 0; chunk < n / 8; chunk++)
            for (uint32_t k = 0; k < 16; k++) {
                const uint32_t at = ptx_chunk_of_mn_major(&matrix, first / 8 + chunk, k);
                if (!locate_chunk(warp, insn, at, &offset)) return;
                read_elements(
                    type, shared + offset, out + k * k_step + chunk * 8 * row_step, row_step);
            }
        return;
    }
    for (uint32_t row = 0; row < n; row++)
        for (uint32_t chunk = 0; chunk < N_CHUNKS; chunk++) {
            const uint32_t at = ptx_chunk_of_k_major(&matrix, first + row, chunk);
            if (!locate_chunk(warp, insn, at, &offset)) return;
            read_elements(
                type, shared + offset, out + chunk * per_chunk * k_step + row * row_step, k_step);
        }
}

static void read_a_registers(const product *at, float a[M_ROWS][MAX_K]) {
    const uint8_t type = at->insn->detail[0];
    const int per_word = is_8_bit(type) ? 4 : 2, half_k = 4 * per_word;
    for (int r = 0; r < 4; r++) PTX_EACH_LANE {
            float *row = a[8 * (r & 1) + lane / 4] + half_k * (r >> 1) + per_word * (lane % 4);
            const uint32_t word = at->words[r][lane];
            for (int i = 0; i < per_word; i++) {
                const uint8_t byte = (uint8_t)(word >> 8 * i);
                row[i] = is_8_bit(type)        ? element_table[type - ELEMENT_E4M3][byte]
                         : type == ELEMENT_F16 ? ptx_from_f16((uint16_t)(word >> 16 * i))
                                               : ptx_from_bf16((uint16_t)(word >> 16 * i));
            }
        }
}

// Accumulators to rows, and back. f32: register r holds row g + 8 (r >> 1 & 1), column 8 (r >> 2) + 2t + (r & 1); f16: two columns in one register.
static void load_sums(const ptx_warp *warp, const ptx_insn *insn, float (*sums)[MAX_N]) {
    const bool is_f16 = (insn->detail[1] & F16_RESULT) != 0;
    for (int r = 0; r < insn->n_results; r++) {
        const uint32_t *words = ptx_result(warp, insn, r);
        if (is_f16) PTX_EACH_LANE {
                float *row = sums[8 * (r & 1) + lane / 4] + 8 * (r >> 1) + 2 * (lane % 4);
                row[0] = ptx_from_f16((uint16_t)words[lane]);
                row[1] = ptx_from_f16((uint16_t)(words[lane] >> 16));
            }
        else
            PTX_EACH_LANE sums[8 * (r >> 1 & 1) + lane / 4]
                              [8 * (r >> 2) + 2 * (lane % 4) + (r & 1)] = ptx_float(words[lane]);
    }
}

static void keep_sums(const ptx_warp *warp, const ptx_insn *insn, float (*sums)[MAX_N]) {
    const bool is_f16 = (insn->detail[1] & F16_RESULT) != 0;
    for (int r = 0; r < insn->n_results; r++) {
        uint32_t words[PTX_LANES];
        if (is_f16) PTX_EACH_LANE {
                const float *row = sums[8 * (r & 1) + lane / 4] + 8 * (r >> 1) + 2 * (lane % 4);
                words[lane] = ptx_to_f16(row[0]) | (uint32_t)ptx_to_f16(row[1]) << 16;
            }
        else
            PTX_EACH_LANE words[lane] = ptx_bits(
                sums[8 * (r >> 1 & 1) + lane / 4][8 * (r >> 2) + 2 * (lane % 4) + (r & 1)]);
        ptx_keep32(warp, insn, r, words, PTX_ALL_LANES);
    }
}

static void multiply(ptx_warp *warp, const product *at) {
    static _Thread_local float a[M_ROWS][MAX_K], b[MAX_K][MAX_N], sums[M_ROWS][MAX_N];
    const ptx_insn *insn = at->insn;
    const uint8_t flags = insn->detail[1];
    const uint32_t n = insn->target, n_k = is_8_bit(insn->detail[0]) ? 32 : 16;
    if ((flags & A_IN_SHARED) != 0)
        read_matrix(
            warp, insn, insn->detail[0], at->a, (flags & TRANSPOSE_A) != 0,
            warp->index % GROUP_SIZE * M_ROWS, M_ROWS, a[0], 1, MAX_K);
    else
        read_a_registers(at, a);
    read_matrix(
        warp, insn, insn->detail[2], at->b, (flags & TRANSPOSE_B) != 0, 0, n, b[0], MAX_N, 1);
    if (at->adds)
        load_sums(warp, insn, sums);
    else
        memset(sums, 0, sizeof sums);
    for (uint32_t m = 0; m < M_ROWS; m++)
        for (uint32_t k = 0; k < n_k; k++) {
            const float factor = (flags & NEGATE) != 0 ? -a[m][k] : a[m][k];
            float *sum = sums[m];
            const float *row = b[k];
            for (uint32_t i = 0; i < n; i++) sum[i] += factor * row[i];
        }
    keep_sums(warp, insn, sums);
}

// ---- instructions ------------------------------------------------------------------------------------------------------------------------------

static bool is_uniform(
    ptx_warp *warp, const ptx_insn *insn, int source, const char *what, uint64_t *value) {
    *value = ptx_lane_value(warp, insn, source, 0);
    PTX_EACH_LANE {
        if (ptx_lane_value(warp, insn, source, lane) == *value) continue;
        ptx_fail(warp, insn, 1u << lane, "%s differs between the lanes", what);
        return false;
    }
    return true;
}

static bool check_descriptor(
    ptx_warp *warp, const ptx_insn *insn, const char *name, uint64_t bits) {
    if (ptx_is_descriptor(bits)) return true;
    ptx_fail(
        warp, insn, PTX_ALL_LANES, "the descriptor of %s, 0x%llx, has bits where none may be", name,
        (unsigned long long)bits);
    return false;
}

// Sources: A (a descriptor or 4 registers), the descriptor of B, whether to add.
static void begin(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_wgmma *state = warp->wgmma;
    const bool is_shared = (insn->detail[1] & A_IN_SHARED) != 0;
    const int b = is_shared ? 1 : 4;
    product at = {.insn = insn, .group = state->open_group};
    uint64_t adds = 0;
    if (mask == PTX_ALL_LANES) {
        if (is_shared && (!is_uniform(warp, insn, 0, "the descriptor of A", &at.a) ||
                          !check_descriptor(warp, insn, "A", at.a)))
            return;
        if (!is_uniform(warp, insn, b, "the descriptor of B", &at.b) ||
            !check_descriptor(warp, insn, "B", at.b) ||
            !is_uniform(warp, insn, b + 1, "whether to add", &adds))
            return;
    }
    if (!ptx_warpgroup_step(warp, insn, mask, at.a, at.b)) return;
    at.adds = adds != 0;
    for (int i = 0; i < 4 && !is_shared; i++)
        memcpy(at.words[i], ptx_source(warp, insn, i), sizeof at.words[i]);
    state->products =
        ptx_grow(state->products, state->n_products, &state->capacity, sizeof *state->products);
    visit_product(warp, &at, ptx_shadow_async_begin);
    state->products[state->n_products++] = at;
    use_registers(state, insn, 1);
    warp->block->counters->matrix_instructions++;
}

static void fence(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_wgmma *state = warp->wgmma;
    if (!ptx_warpgroup_step(warp, insn, mask, 0, 0)) return;
    state->has_fence = true;
    for (uint32_t i = 0; i <= warp->block->function->n_registers; i++)
        state->registers[i].is_changed = false;
}

static void commit(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    if (ptx_warpgroup_step(warp, insn, mask, 0, 0)) warp->wgmma->open_group++;
}

// detail[0]: groups that may stay under way
static void wait(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_wgmma *state = warp->wgmma;
    if (!ptx_warpgroup_step(warp, insn, mask, 0, 0)) return;
    size_t n_done = 0;
    while (n_done < state->n_products && warp->block->failure == NULL &&
           state->products[n_done].group + insn->detail[0] < state->open_group) {
        const product *at = &state->products[n_done++];
        visit_product(warp, at, ptx_shadow_async_end);
        multiply(warp, at);
        use_registers(state, at->insn, -1);
    }
    state->n_products -= n_done;
    memmove(state->products, state->products + n_done, state->n_products * sizeof(product));
}

// ---- decoding ----------------------------------------------------------------------------------------------------------------------------------

typedef struct wgmma_types {
    const char *result, *a, *b;
    uint8_t a_type, b_type;
    bool is_f16, has_transpose;
    uint8_t k;
} wgmma_types;

static const wgmma_types types[] = {
    {"f32", "f16", "f16", ELEMENT_F16, ELEMENT_F16, false, true, 16},
    {"f16", "f16", "f16", ELEMENT_F16, ELEMENT_F16, true, true, 16},
    {"f32", "bf16", "bf16", ELEMENT_BF16, ELEMENT_BF16, false, true, 16},
    {"f32", "e4m3", "e4m3", ELEMENT_E4M3, ELEMENT_E4M3, false, false, 32},
    {"f32", "e4m3", "e5m2", ELEMENT_E4M3, ELEMENT_E5M2, false, false, 32},
    {"f32", "e5m2", "e4m3", ELEMENT_E5M2, ELEMENT_E4M3, false, false, 32},
    {"f32", "e5m2", "e5m2", ELEMENT_E5M2, ELEMENT_E5M2, false, false, 32},
    {"f16", "e4m3", "e4m3", ELEMENT_E4M3, ELEMENT_E4M3, true, false, 32},
    {"f16", "e4m3", "e5m2", ELEMENT_E4M3, ELEMENT_E5M2, true, false, 32},
    {"f16", "e5m2", "e4m3", ELEMENT_E5M2, ELEMENT_E4M3, true, false, 32},
    {"f16", "e5m2", "e5m2", ELEMENT_E5M2, ELEMENT_E5M2, true, false, 32},
};

// "m64n128k16": the columns, or 0.
static uint32_t columns_of(const char *shape, uint32_t k) {
    uint32_t n = 0;
    char expected[24];
    const char *at = shape + 4;
    if (strncmp(shape, "m64n", 4) != 0) return 0;
    while (*at >= '0' && *at <= '9' && n <= MAX_N) n = n * 10 + (uint32_t)(*at++ - '0');
    snprintf(expected, sizeof expected, "k%u", k);
    return strcmp(at, expected) == 0 && n >= 8 && n <= MAX_N && n % 8 == 0 ? n : 0;
}

// An immediate behind the operands.
static mlcc_status *read_immediate(
    const ptx_decoder *decoder, size_t index, int64_t least, int64_t *value) {
    const ptx_arg *arg = &decoder->args[index];
    *value = (int64_t)arg->value;
    if (arg->kind == PTX_ARG_INTEGER && (*value == 1 || *value == least)) return NULL;
    return ptx_bad_arg(decoder, index, least == 0 ? "0 or 1" : "1 or -1");
}

static mlcc_status *read_immediates(
    ptx_decoder *decoder, const wgmma_types *found, bool is_shared, uint8_t *flags) {
    int64_t value[4] = {1, 1, 0, 0}; // factors of A and B, transposes of A and B
    size_t index = 4;
    MLCC_TRY(read_immediate(decoder, index++, -1, &value[0]));
    MLCC_TRY(read_immediate(decoder, index++, -1, &value[1]));
    if (found->has_transpose) {
        if (is_shared) MLCC_TRY(read_immediate(decoder, index++, 0, &value[2]));
        MLCC_TRY(read_immediate(decoder, index++, 0, &value[3]));
    }
    if (value[0] * value[1] < 0) *flags |= NEGATE;
    if (value[2] != 0) *flags |= TRANSPOSE_A;
    if (value[3] != 0) *flags |= TRANSPOSE_B;
    return NULL;
}

// wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {…}, a, b, adds, 1, 1{, 0}{, 0}
static mlcc_status *decode_product(ptx_decoder *decoder) {
    const wgmma_types *found = NULL;
    ptx_insn *insn = &decoder->insn;
    if (decoder->n_parts != 8) return ptx_unsupported(decoder);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(decoder->parts[5], types[i].result) == 0 &&
            strcmp(decoder->parts[6], types[i].a) == 0 &&
            strcmp(decoder->parts[7], types[i].b) == 0)
            found = &types[i];
    const uint32_t n = found == NULL ? 0 : columns_of(decoder->parts[4], found->k);
    if (n == 0) return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, 6, 8));
    const bool is_shared = decoder->args[1].kind != PTX_ARG_VECTOR;
    const size_t n_args = 6u + (found->has_transpose ? 1u + is_shared : 0);
    MLCC_TRY(ptx_expect_args(decoder, n_args, n_args));
    uint8_t flags = (uint8_t)((is_shared ? A_IN_SHARED : 0) | (found->is_f16 ? F16_RESULT : 0));
    MLCC_TRY(read_immediates(decoder, found, is_shared, &flags));
    insn->detail[0] = found->a_type;
    insn->detail[1] = flags;
    insn->detail[2] = found->b_type;
    insn->target = n;
    insn->run = begin;
    insn->flags |= PTX_ASYNC | PTX_WATCHED;
    MLCC_TRY(ptx_add_results(decoder, &decoder->args[0], found->is_f16 ? n / 4 : n / 2, 32));
    MLCC_TRY(ptx_add_sources(decoder, &decoder->args[1], is_shared ? 1 : 4, is_shared ? 64 : 32));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[2], 64));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[3], 1));
    return ptx_need_whole_warp(decoder);
}

mlcc_status *ptx_decode_wgmma(ptx_decoder *decoder) {
    const char *form = decoder->n_parts > 1 ? decoder->parts[1] : "";
    ptx_insn *insn = &decoder->insn;
    decoder->function->has_wgmma = true;
    if (decoder->n_parts < 4 || strcmp(decoder->parts[2], "sync") != 0 ||
        strcmp(decoder->parts[3], "aligned") != 0)
        return ptx_unsupported(decoder);
    if (strcmp(form, "mma_async") == 0) return decode_product(decoder);
    if (decoder->n_parts != 4) return ptx_unsupported(decoder);
    insn->run = strcmp(form, "fence") == 0          ? fence
                : strcmp(form, "commit_group") == 0 ? commit
                : strcmp(form, "wait_group") == 0   ? wait
                                                    : NULL;
    if (insn->run == NULL) return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, insn->run == wait, insn->run == wait));
    if (insn->run == wait) {
        if (decoder->args[0].kind != PTX_ARG_INTEGER || decoder->args[0].value > 7)
            return ptx_bad_arg(decoder, 0, "a number of groups up to 7");
        insn->detail[0] = (uint8_t)decoder->args[0].value;
    }
    return ptx_need_whole_warp(decoder);
}
