// Loads, stores, atomics and asynchronous copies.
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_space.h"
#include "tests/support/ptx/ptx_sync.h"

#include <stdlib.h>

#define MAX_ACCESS_BYTES 32 // v8.b32, v4.b64
#define LINE_BYTES       128

static void take_addresses(const ptx_warp *warp, const ptx_insn *insn, uint64_t *addresses) {
    const ptx_operand *operand = &insn->operands[insn->n_results];
    const void *place = warp->file + operand->place;
    if (operand->bits == 64) {
        const uint64_t *wide = place;
        PTX_EACH_LANE addresses[lane] = wide[lane] + (uint64_t)insn->offset;
    } else {
        const uint32_t *narrow = place;
        PTX_EACH_LANE addresses[lane] = narrow[lane] + (uint64_t)insn->offset;
    }
}

static void count(
    ptx_warp *warp, const uint64_t *addresses, uint32_t shared_lanes, uint32_t global_lanes,
    uint32_t n_bytes) {
    if (shared_lanes != 0) ptx_count_shared(warp->block, addresses, shared_lanes, n_bytes);
    if (global_lanes != 0) ptx_count_global(warp->block, addresses, global_lanes, n_bytes);
}

// ---- ld ----------------------------------------------------------------------------------------------------------------------------------------

// Element `index` of every lane's bytes into a result, extended to its width.
static void keep_element(
    const ptx_warp *warp, const ptx_insn *insn, int index, uint8_t (*bytes)[MAX_ACCESS_BYTES],
    uint32_t mask) {
    const size_t at = (size_t)index * insn->element_bits / 8;
    const uint32_t width = insn->operands[index].bits;
    if (insn->element_bits == 32 && width == 32) {
        uint32_t words[PTX_LANES];
        PTX_EACH_LANE memcpy(&words[lane], bytes[lane] + at, sizeof words[0]);
        ptx_keep32(warp, insn, index, words, mask);
        return;
    }
    uint64_t wide[PTX_LANES] = {0};
    PTX_EACH_LANE memcpy(&wide[lane], bytes[lane] + at, insn->element_bits / 8u);
    if (insn->is_signed != 0) {
        const uint64_t sign = (uint64_t)1 << (insn->element_bits - 1);
        PTX_EACH_LANE wide[lane] = (wide[lane] ^ sign) - sign;
    }
    if (width == 64) {
        ptx_keep64(warp, insn, index, wide, mask);
    } else if (width == 32) {
        uint32_t words[PTX_LANES];
        PTX_EACH_LANE words[lane] = (uint32_t)wide[lane];
        ptx_keep32(warp, insn, index, words, mask);
    } else {
        uint16_t halves[PTX_LANES];
        PTX_EACH_LANE halves[lane] = (uint16_t)wide[lane];
        ptx_keep16(warp, insn, index, halves, mask);
    }
}

static void load(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t n_bytes = (uint32_t)insn->n_elements * insn->element_bits / 8;
    uint64_t addresses[PTX_LANES];
    uint8_t bytes[PTX_LANES][MAX_ACCESS_BYTES];
    uint32_t shared_lanes = 0;
    const bool is_counted = insn->space != PTX_SPACE_PARAM && insn->space != PTX_SPACE_LOCAL;
    take_addresses(warp, insn, addresses);
    PTX_EACH_LANE {
        ptx_location location;
        if ((mask >> lane & 1u) == 0) continue;
        if (!ptx_locate(
                warp, insn, lane, insn->space, addresses[lane], n_bytes, PTX_READS, &location))
            return;
        if (location.is_shared) {
            ptx_shadow_read(warp, insn, lane, location.offset, n_bytes);
            shared_lanes |= 1u << lane;
        }
        switch (n_bytes) {
        case 2: memcpy(bytes[lane], location.data, 2); break;
        case 4: memcpy(bytes[lane], location.data, 4); break;
        case 8: memcpy(bytes[lane], location.data, 8); break;
        case 16: memcpy(bytes[lane], location.data, 16); break;
        default: memcpy(bytes[lane], location.data, n_bytes); break;
        }
    }
    for (int i = 0; i < insn->n_elements; i++) keep_element(warp, insn, i, bytes, mask);
    if (is_counted) count(warp, addresses, shared_lanes, mask & ~shared_lanes, n_bytes);
}

static void store(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t element_bytes = insn->element_bits / 8u;
    const uint32_t n_bytes = insn->n_elements * element_bytes;
    uint64_t addresses[PTX_LANES];
    uint32_t shared_lanes = 0;
    take_addresses(warp, insn, addresses);
    PTX_EACH_LANE {
        ptx_location location;
        uint8_t bytes[MAX_ACCESS_BYTES];
        if ((mask >> lane & 1u) == 0) continue;
        if (!ptx_locate(
                warp, insn, lane, insn->space, addresses[lane], n_bytes, PTX_WRITES, &location))
            return;
        for (int i = 0; i < insn->n_elements; i++) {
            const uint64_t value = ptx_lane_value(warp, insn, 1 + i, lane);
            memcpy(bytes + (uint32_t)i * element_bytes, &value, element_bytes);
        }
        if (location.is_shared) {
            ptx_shadow_write(warp, insn, lane, location.offset, n_bytes, bytes);
            shared_lanes |= 1u << lane;
        }
        memcpy(location.data, bytes, n_bytes);
    }
    if (insn->space != PTX_SPACE_LOCAL)
        count(warp, addresses, shared_lanes, mask & ~shared_lanes, n_bytes);
}

typedef struct space_name {
    const char *part;
    ptx_space space;
} space_name;

static const space_name space_names[] = {
    {"global", PTX_SPACE_GLOBAL},      {"const", PTX_SPACE_GLOBAL},
    {"shared", PTX_SPACE_SHARED},      {"shared::cta", PTX_SPACE_SHARED},
    {"local", PTX_SPACE_LOCAL},        {"param", PTX_SPACE_PARAM},
    {"param::entry", PTX_SPACE_PARAM}, {"shared::cluster", PTX_SPACE_SHARED},
};

static bool is_cache_hint(const char *part) {
    static const char *const hints[] = {
        "nc",      "ca",   "cg",      "cs",      "lu",      "cv",  "wb",      "wt",  "volatile",
        "relaxed", "weak", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys"};
    if (strncmp(part, "L1::", 4) == 0) return true;
    if (strncmp(part, "L2::", 4) == 0) return true;
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (strcmp(part, hints[i]) == 0) return true;
    return false;
}

static bool read_space(const char *part, uint8_t *space) {
    for (size_t i = 0; i < sizeof space_names / sizeof space_names[0]; i++) {
        if (strcmp(part, space_names[i].part) != 0) continue;
        *space = (uint8_t)space_names[i].space;
        return true;
    }
    return false;
}

// .space.hints.v4.type
static mlcc_status *read_access(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    const ptx_type *type = ptx_type_find(ptx_last_part(decoder), strlen(ptx_last_part(decoder)));
    if (type == NULL || type->bits < 8 || type->bits > 64) return ptx_unsupported(decoder);
    insn->element_bits = (uint8_t)type->bits;
    insn->is_signed = type->kind == PTX_KIND_SIGNED;
    insn->n_elements = 1;
    insn->space = PTX_SPACE_GENERIC;
    for (size_t i = 1; i + 1 < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        if (read_space(part, &insn->space) || is_cache_hint(part)) continue;
        if (part[0] != 'v' || (part[1] != '2' && part[1] != '4' && part[1] != '8') ||
            part[2] != '\0')
            return ptx_unsupported(decoder);
        insn->n_elements = (uint8_t)(part[1] - '0');
    }
    if ((uint32_t)insn->n_elements * insn->element_bits / 8 > MAX_ACCESS_BYTES)
        return ptx_unsupported(decoder);
    return NULL;
}

// .L2::cache_hint: a policy of 64 bits stands behind the other arguments. It changes nothing here, but it must have been made.
static mlcc_status *take_policy(ptx_decoder *decoder) {
    if (!ptx_has_part(decoder, "L2::cache_hint")) return NULL;
    MLCC_TRY(ptx_expect_args(decoder, 1, PTX_MAX_ARGS));
    decoder->policy = &decoder->args[--decoder->n_args];
    return NULL;
}

static mlcc_status *add_policy(ptx_decoder *decoder) {
    return decoder->policy == NULL ? NULL : ptx_add_source(decoder, decoder->policy, 64);
}

// A generic access of a variable by its name is one of the variable's space.
static void take_space_of_variable(ptx_decoder *decoder, const ptx_arg *arg) {
    if (decoder->insn.space == PTX_SPACE_GENERIC && !arg->has_register)
        decoder->insn.space = (uint8_t)arg->space;
}

// Registers may be wider than the elements, never narrower.
static mlcc_status *check_widths(const ptx_decoder *decoder, size_t first, size_t arg) {
    for (size_t i = 0; i < decoder->insn.n_elements; i++) {
        const ptx_operand *operand = &decoder->operands[first + i];
        const bool is_wide = operand->bits >= decoder->insn.element_bits && operand->bits > 1;
        if (operand->is_unset == 0 && !is_wide)
            return ptx_bad_arg(decoder, arg, "registers that are wide enough");
    }
    return NULL;
}

mlcc_status *ptx_decode_load(ptx_decoder *decoder) {
    MLCC_TRY(read_access(decoder));
    MLCC_TRY(take_policy(decoder));
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    MLCC_TRY(ptx_add_results(decoder, &decoder->args[0], decoder->insn.n_elements, 0));
    MLCC_TRY(check_widths(decoder, 0, 0));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[1]));
    take_space_of_variable(decoder, &decoder->args[1]);
    decoder->insn.run = load;
    return add_policy(decoder);
}

mlcc_status *ptx_decode_store(ptx_decoder *decoder) {
    MLCC_TRY(read_access(decoder));
    MLCC_TRY(take_policy(decoder));
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[0]));
    take_space_of_variable(decoder, &decoder->args[0]);
    MLCC_TRY(ptx_add_sources(decoder, &decoder->args[1], decoder->insn.n_elements, 0));
    MLCC_TRY(check_widths(decoder, 1, 1));
    if (decoder->insn.space == PTX_SPACE_PARAM) return ptx_unsupported(decoder);
    decoder->insn.run = store;
    return add_policy(decoder);
}

// ---- atomics -----------------------------------------------------------------------------------------------------------------------------------

enum atomic_operation { // detail[0]
    ATOMIC_ADD,
    ATOMIC_MIN,
    ATOMIC_MAX,
    ATOMIC_EXCHANGE,
    ATOMIC_COMPARE,
    ATOMIC_AND,
    ATOMIC_OR,
    ATOMIC_XOR,
    ATOMIC_INCREMENT,
    ATOMIC_DECREMENT,
    N_ATOMICS
};

enum atomic_type { // detail[1]
    ATOMIC_UNSIGNED,
    ATOMIC_SIGNED,
    ATOMIC_F32,
    ATOMIC_F16X2
};

static const char *const atomic_names[N_ATOMICS] = {"add", "min", "max", "exch", "cas",
                                                    "and", "or",  "xor", "inc",  "dec"};

static uint64_t add_floats(uint64_t x, uint64_t y, uint8_t type) {
    if (type == ATOMIC_F32) return ptx_bits(ptx_float((uint32_t)x) + ptx_float((uint32_t)y));
    const uint16_t low = ptx_to_f16(ptx_from_f16((uint16_t)x) + ptx_from_f16((uint16_t)y));
    const uint16_t high =
        ptx_to_f16(ptx_from_f16((uint16_t)(x >> 16)) + ptx_from_f16((uint16_t)(y >> 16)));
    return (uint64_t)high << 16 | low;
}

static uint64_t atomic_result(const ptx_insn *insn, uint64_t x, uint64_t y, uint64_t z) {
    const uint8_t type = insn->detail[1];
    // Signed order is unsigned order with the sign bit turned.
    const uint64_t turn = type == ATOMIC_SIGNED ? (uint64_t)1 << (insn->element_bits - 1) : 0;
    switch (insn->detail[0]) {
    case ATOMIC_ADD: return type >= ATOMIC_F32 ? add_floats(x, y, type) : x + y;
    case ATOMIC_MIN: return (x ^ turn) < (y ^ turn) ? x : y;
    case ATOMIC_MAX: return (x ^ turn) > (y ^ turn) ? x : y;
    case ATOMIC_EXCHANGE: return y;
    case ATOMIC_COMPARE: return x == y ? z : x;
    case ATOMIC_AND: return x & y;
    case ATOMIC_OR: return x | y;
    case ATOMIC_XOR: return x ^ y;
    case ATOMIC_INCREMENT: return x >= y ? 0 : x + 1;
    default: return x == 0 || x > y ? y : x - 1;
    }
}

// Lanes one after another, lowest first; blocks run one after another, so host atomics are not needed.
static void atomic(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t n_bytes = insn->element_bits / 8u;
    uint64_t addresses[PTX_LANES], before[PTX_LANES] = {0};
    uint32_t shared_lanes = 0, words[PTX_LANES];
    take_addresses(warp, insn, addresses);
    PTX_EACH_LANE {
        ptx_location location;
        if ((mask >> lane & 1u) == 0) continue;
        if (!ptx_locate(
                warp, insn, lane, insn->space, addresses[lane], n_bytes, PTX_WRITES, &location))
            return;
        if (location.is_shared) {
            ptx_shadow_atomic(warp, insn, lane, location.offset, n_bytes);
            shared_lanes |= 1u << lane;
        }
        memcpy(&before[lane], location.data, n_bytes);
        const uint64_t z =
            insn->detail[0] == ATOMIC_COMPARE ? ptx_lane_value(warp, insn, 2, lane) : 0;
        const uint64_t after =
            atomic_result(insn, before[lane], ptx_lane_value(warp, insn, 1, lane), z);
        memcpy(location.data, &after, n_bytes);
    }
    count(warp, addresses, shared_lanes, mask & ~shared_lanes, n_bytes);
    if (insn->n_results == 0) return;
    PTX_EACH_LANE words[lane] = (uint32_t)before[lane];
    if (insn->element_bits == 64)
        ptx_keep64(warp, insn, 0, before, mask);
    else
        ptx_keep32(warp, insn, 0, words, mask);
}

static bool read_atomic(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    const char *type_name = ptx_last_part(decoder);
    const ptx_type *type = ptx_type_find(type_name, strlen(type_name));
    insn->detail[0] = N_ATOMICS;
    insn->space = PTX_SPACE_GENERIC;
    for (size_t i = 1; i + 1 < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        bool is_known =
            read_space(part, &insn->space) || is_cache_hint(part) || strcmp(part, "noftz") == 0;
        for (uint8_t k = 0; k < N_ATOMICS; k++) {
            if (strcmp(part, atomic_names[k]) != 0) continue;
            insn->detail[0] = k;
            is_known = true;
        }
        if (!is_known) return false;
    }
    if (insn->detail[0] == N_ATOMICS || type == NULL || (type->bits != 32 && type->bits != 64))
        return false;
    insn->element_bits = (uint8_t)type->bits;
    insn->detail[1] = type->kind == PTX_KIND_SIGNED ? ATOMIC_SIGNED : ATOMIC_UNSIGNED;
    if (type->kind != PTX_KIND_FLOAT) return true;
    insn->detail[1] = type->name[1] == '3' ? ATOMIC_F32 : ATOMIC_F16X2;
    return insn->detail[0] == ATOMIC_ADD &&
           (strcmp(type_name, "f32") == 0 || strcmp(type_name, "f16x2") == 0);
}

// atom.space.op.type d, [a], b{, c};  red without d
mlcc_status *ptx_decode_atomic(ptx_decoder *decoder) {
    const bool has_result = strcmp(decoder->parts[0], "atom") == 0;
    if (decoder->n_parts < 3 || !read_atomic(decoder)) return ptx_unsupported(decoder);
    ptx_insn *insn = &decoder->insn;
    const size_t n_values = insn->detail[0] == ATOMIC_COMPARE ? 2 : 1;
    const size_t n_args = (has_result ? 2u : 1u) + n_values;
    MLCC_TRY(take_policy(decoder));
    MLCC_TRY(ptx_expect_args(decoder, n_args, n_args));
    if (has_result) MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], insn->element_bits));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[n_args - n_values - 1]));
    take_space_of_variable(decoder, &decoder->args[n_args - n_values - 1]);
    for (size_t i = n_args - n_values; i < n_args; i++)
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[i], insn->element_bits));
    insn->run = atomic;
    return add_policy(decoder);
}

// ---- cp.async ----------------------------------------------------------------------------------------------------------------------------------

// Sources: shared address, its offset, global address, its offset, size, bytes to take. The copy itself waits until it is waited for, so that a
// missing or too weak wait shows.
static void copy_start(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_block *block = warp->block;
    uint64_t targets[PTX_LANES], sources[PTX_LANES];
    if (warp->n_copies + PTX_LANES > warp->copies_capacity) {
        warp->copies_capacity = 2 * warp->copies_capacity + PTX_LANES;
        ptx_copy *grown = realloc(warp->copies, warp->copies_capacity * sizeof *grown);
        if (grown == NULL) abort();
        warp->copies = grown;
    }
    PTX_EACH_LANE {
        ptx_location target, source = {0};
        if ((mask >> lane & 1u) == 0) continue;
        const uint32_t n_bytes = insn->element_bits;
        const uint64_t n_filled = ptx_lane_value(warp, insn, 4, lane);
        targets[lane] = ptx_lane_value(warp, insn, 0, lane) + ptx_lane_value(warp, insn, 1, lane);
        sources[lane] = ptx_lane_value(warp, insn, 2, lane) + ptx_lane_value(warp, insn, 3, lane);
        if (n_filled > n_bytes) {
            ptx_fail(
                warp, insn, 1u << lane, "copies %llu bytes of %u", (unsigned long long)n_filled,
                n_bytes);
            return;
        }
        if (!ptx_locate(
                warp, insn, lane, PTX_SPACE_SHARED, targets[lane], n_bytes, PTX_WRITES, &target))
            return;
        // Bytes that are not taken need not exist.
        if (n_filled > 0 && !ptx_locate(
                                warp, insn, lane, PTX_SPACE_GLOBAL, sources[lane],
                                n_filled == n_bytes ? n_bytes : 1, PTX_READS, &source))
            return;
        ptx_shadow_copying(warp, insn, lane, target.offset, n_bytes, false);
        warp->copies[warp->n_copies++] = (ptx_copy){.source = source.data,
                                                    .target = target.offset,
                                                    .n_bytes = n_bytes,
                                                    .n_filled = (uint32_t)n_filled,
                                                    .lane = (uint32_t)lane,
                                                    .group = warp->open_group[lane],
                                                    .number = warp->n_copies_issued++};
    }
    ptx_count_shared(block, targets, mask, insn->element_bits);
    ptx_count_global(block, sources, mask, insn->element_bits);
}

static void copy_commit(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)insn;
    PTX_EACH_LANE warp->open_group[lane] += mask >> lane & 1u;
}

static void complete_copy(ptx_warp *warp, const ptx_insn *insn, const ptx_copy *copy) {
    uint8_t *target = warp->block->shared + copy->target;
    if (copy->n_filled > 0) memcpy(target, copy->source, copy->n_filled);
    memset(target + copy->n_filled, 0, copy->n_bytes - copy->n_filled);
    ptx_shadow_copied(warp, insn, (int)copy->lane, copy->target, copy->n_bytes);
}

void ptx_copies_complete(ptx_warp *warp, const ptx_insn *insn, uint32_t lane, uint32_t end) {
    size_t n_left = 0;
    for (size_t i = 0; i < warp->n_copies; i++) {
        const ptx_copy copy = warp->copies[i];
        if (copy.lane != lane || copy.number >= end)
            warp->copies[n_left++] = copy;
        else
            complete_copy(warp, insn, &copy);
    }
    warp->n_copies = n_left;
}

// detail[0]: groups that may stay under way; PTX_EXTRA: none, not even the open one.
static void copy_wait(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    size_t n_left = 0;
    for (size_t i = 0; i < warp->n_copies; i++) {
        const ptx_copy *copy = &warp->copies[i];
        const bool is_due = (insn->flags & PTX_EXTRA) != 0 ||
                            copy->group + insn->detail[0] < warp->open_group[copy->lane];
        if ((mask >> copy->lane & 1u) == 0 || !is_due) {
            warp->copies[n_left++] = *copy;
            continue;
        }
        complete_copy(warp, insn, copy);
    }
    warp->n_copies = n_left;
}

static mlcc_status *decode_copy(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    MLCC_TRY(take_policy(decoder));
    MLCC_TRY(ptx_expect_args(decoder, 3, 4));
    const uint64_t size_bytes = decoder->args[2].value;
    if (decoder->args[2].kind != PTX_ARG_INTEGER ||
        (size_bytes != 4 && size_bytes != 8 && size_bytes != 16))
        return ptx_bad_arg(decoder, 2, "4, 8 or 16");
    for (size_t i = 0; i < 2; i++) {
        MLCC_TRY(ptx_add_address(decoder, &decoder->args[i]));
        MLCC_TRY(ptx_add_constant(decoder, (uint64_t)insn->offset, 64));
    }
    insn->element_bits = (uint8_t)size_bytes;
    insn->run = copy_start;
    if (decoder->n_args > 3 && decoder->args[3].operand.bits == 1)
        return ptx_unsupported(decoder); // ignore-src
    if (decoder->n_args > 3)
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[3], 32));
    else
        MLCC_TRY(ptx_add_constant(decoder, size_bytes, 32));
    return add_policy(decoder);
}

// cp.async.cg.shared.global [a], [b], 16{, n};  .commit_group;  .wait_group N;  .wait_all
mlcc_status *ptx_decode_cp(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    if (decoder->n_parts < 3 || strcmp(decoder->parts[1], "async") != 0)
        return ptx_unsupported(decoder);
    const char *form = decoder->parts[2];
    if (strcmp(form, "bulk") == 0) return ptx_decode_bulk(decoder);
    if (strcmp(form, "mbarrier") == 0) return ptx_decode_copies_arrive(decoder);
    if (strcmp(form, "ca") == 0 || strcmp(form, "cg") == 0) return decode_copy(decoder);
    if (strcmp(form, "commit_group") == 0) {
        insn->run = copy_commit;
        return ptx_expect_args(decoder, 0, 0);
    }
    insn->run = copy_wait;
    if (strcmp(form, "wait_all") == 0) {
        insn->flags |= PTX_EXTRA;
        return ptx_expect_args(decoder, 0, 0);
    }
    if (strcmp(form, "wait_group") != 0) return ptx_unsupported(decoder);
    return ptx_take_groups(decoder);
}

// ---- hints -------------------------------------------------------------------------------------------------------------------------------------

static void make_policy(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint64_t policies[PTX_LANES];
    PTX_EACH_LANE policies[lane] = 0;
    ptx_keep64(warp, insn, 0, policies, mask);
}

// createpolicy.fractional.L2::evict_first.b64 p{, 1.0};  .range{.global}… p, [a], n, m;  .cvt.L2.b64 p, n
mlcc_status *ptx_decode_policy(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 1, 4));
    if (strcmp(ptx_last_part(decoder), "b64") != 0) return ptx_unsupported(decoder);
    decoder->insn.run = make_policy;
    return ptx_add_result(decoder, &decoder->args[0], 64);
}

// What is discarded has any value.
static void discard(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint64_t addresses[PTX_LANES];
    take_addresses(warp, insn, addresses);
    PTX_EACH_LANE {
        ptx_location location;
        if ((mask >> lane & 1u) == 0) continue;
        if (!ptx_locate(
                warp, insn, lane, PTX_SPACE_GLOBAL, addresses[lane], LINE_BYTES, PTX_WRITES,
                &location))
            return;
        memset(location.data, 0xff, LINE_BYTES);
    }
}

// discard.global.L2 [a], 128
mlcc_status *ptx_decode_discard(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    if (decoder->args[1].kind != PTX_ARG_INTEGER || decoder->args[1].value != LINE_BYTES)
        return ptx_bad_arg(decoder, 1, "128");
    decoder->insn.run = discard;
    return ptx_add_address(decoder, &decoder->args[0]);
}
