// Instructions in which the lanes of a warp talk: shuffles, votes, matches, reductions.
#include "tests/support/ptx/ptx_decode.h"

#include <string.h>

// ---- shfl --------------------------------------------------------------------------------------------------------------------------------------

enum shuffle { // detail[0]
    SHUFFLE_UP,
    SHUFFLE_DOWN,
    SHUFFLE_BFLY,
    SHUFFLE_IDX
};

// PTX ISA, shfl.sync: `clamp` holds the segment mask in bits 8-12 and the last lane in bits 0-4. True: *from is within the segment.
static bool shuffle_source(uint8_t mode, int lane, uint32_t distance, uint32_t clamp, int *from) {
    const int segment = (int)(clamp >> 8 & 31u), b = (int)(distance & 31u);
    const int least = lane & segment;
    const int most = least | ((int)(clamp & 31u) & ~segment);
    bool is_inside = true;
    switch (mode) {
    case SHUFFLE_UP:
        *from = lane - b;
        is_inside = *from >= most;
        break;
    case SHUFFLE_DOWN:
        *from = lane + b;
        is_inside = *from <= most;
        break;
    case SHUFFLE_BFLY:
        *from = lane ^ b;
        is_inside = *from <= most;
        break;
    default:
        *from = least | (b & ~segment);
        is_inside = *from <= most;
        break;
    }
    if (!is_inside) *from = lane;
    return is_inside;
}

static void shuffle(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t *value = ptx_source(warp, insn, 0), *distance = ptx_source(warp, insn, 1);
    const uint32_t *clamp = ptx_source(warp, insn, 2), *members = ptx_source(warp, insn, 3);
    uint32_t result[PTX_LANES] = {0}, inside = 0;
    PTX_EACH_LANE {
        int from = lane;
        if ((mask >> lane & 1u) == 0) continue;
        if (shuffle_source(insn->detail[0], lane, distance[lane], clamp[lane], &from))
            inside |= 1u << lane;
        if ((mask & members[lane]) >> from == 0 || (mask >> from & 1u) == 0) {
            ptx_fail(
                warp, insn, 1u << lane, "takes the value of lane %d, which does not take part",
                from);
            return;
        }
        result[lane] = value[from];
    }
    ptx_keep32(warp, insn, 0, result, mask);
    if (insn->n_results > 1) ptx_keep_predicate(warp, insn, 1, inside, mask);
}

// Index of `part` in `names`, or -1.
static int find_name(const char *part, const char *const *names, int n_names) {
    for (int i = 0; i < n_names; i++)
        if (strcmp(part, names[i]) == 0) return i;
    return -1;
}

static mlcc_status *be_of_warp(ptx_decoder *decoder, ptx_handler *run, uint8_t member) {
    ptx_need_members(decoder, member);
    decoder->insn.run = run;
    return NULL;
}

// shfl.sync.bfly.b32 d|p, a, b, c, members
mlcc_status *ptx_decode_shfl(ptx_decoder *decoder) {
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    if (decoder->n_parts != 4 || strcmp(decoder->parts[1], "sync") != 0 ||
        strcmp(decoder->parts[3], "b32") != 0)
        return ptx_unsupported(decoder);
    const int mode = find_name(decoder->parts[2], modes, 4);
    if (mode < 0) return ptx_unsupported(decoder);
    decoder->insn.detail[0] = (uint8_t)mode;
    MLCC_TRY(ptx_expect_args(decoder, 5, 5));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 32));
    MLCC_TRY(ptx_add_pair(decoder, &decoder->args[0]));
    for (size_t i = 1; i < 5; i++) MLCC_TRY(ptx_add_source(decoder, &decoder->args[i], 32));
    return be_of_warp(decoder, shuffle, 3);
}

// ---- vote, match, redux ------------------------------------------------------------------------------------------------------------------------

static uint32_t member_mask(const ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t *members = ptx_source(warp, insn, insn->member);
    return mask == 0 ? 0 : mask & members[__builtin_ctz(mask)];
}

// detail[0]: all, any, uni, ballot; detail[2]: the predicate is negated
static void vote(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t members = member_mask(warp, insn, mask);
    uint32_t value = ptx_predicate(warp, insn, 0);
    if (insn->detail[2] != 0) value = ~value;
    value &= members;
    bool result = false;
    switch (insn->detail[0]) {
    case 0: result = value == members; break;
    case 1: result = value != 0; break;
    case 2: result = value == members || value == 0; break;
    default: {
        uint32_t ballot[PTX_LANES];
        PTX_EACH_LANE ballot[lane] = value;
        ptx_keep32(warp, insn, 0, ballot, mask);
        return;
    }
    }
    ptx_keep_predicate(warp, insn, 0, result ? PTX_ALL_LANES : 0, mask);
}

// vote.sync.all.pred d, a, members;  vote.sync.ballot.b32
mlcc_status *ptx_decode_vote(ptx_decoder *decoder) {
    static const char *const modes[] = {"all", "any", "uni", "ballot"};
    if (decoder->n_parts != 4 || strcmp(decoder->parts[1], "sync") != 0)
        return ptx_unsupported(decoder);
    const int mode = find_name(decoder->parts[2], modes, 4);
    if (mode < 0) return ptx_unsupported(decoder);
    decoder->insn.detail[0] = (uint8_t)mode;
    MLCC_TRY(ptx_expect_args(decoder, 3, 3));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], mode == 3 ? 32 : 1));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], 1));
    decoder->insn.detail[2] = decoder->args[1].is_negated;
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[2], 32));
    return be_of_warp(decoder, vote, 1);
}

// detail[0]: 1 all, 0 any
static void match(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t members = member_mask(warp, insn, mask);
    uint32_t result[PTX_LANES] = {0}, is_all = 0;
    PTX_EACH_LANE {
        if ((members >> lane & 1u) == 0) continue;
        const uint64_t value = ptx_lane_value(warp, insn, 0, lane);
        for (int other = 0; other < PTX_LANES; other++)
            if ((members >> other & 1u) != 0 && ptx_lane_value(warp, insn, 0, other) == value)
                result[lane] |= 1u << other;
        if (result[lane] == members) is_all |= 1u << lane;
        if (insn->detail[0] != 0 && result[lane] != members) result[lane] = 0;
    }
    ptx_keep32(warp, insn, 0, result, mask);
    if (insn->n_results > 1) ptx_keep_predicate(warp, insn, 1, is_all, mask);
}

// match.any.sync.b32 d, a, members;  match.all.sync.b64 d|p, a, members
mlcc_status *ptx_decode_match(ptx_decoder *decoder) {
    const bool is_all = ptx_has_part(decoder, "all");
    const char *type = ptx_last_part(decoder);
    const bool is_wide = strcmp(type, "b64") == 0;
    if (decoder->n_parts != 4 || (!is_wide && strcmp(type, "b32") != 0) ||
        (!is_all && !ptx_has_part(decoder, "any")))
        return ptx_unsupported(decoder);
    decoder->insn.detail[0] = is_all;
    MLCC_TRY(ptx_expect_args(decoder, 3, 3));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 32));
    MLCC_TRY(ptx_add_pair(decoder, &decoder->args[0]));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], is_wide ? 64 : 32));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[2], 32));
    return be_of_warp(decoder, match, 1);
}

static const char *const reductions[] = {"add", "min", "max", "and", "or", "xor"};

// detail[0]: index of reductions; is_signed: of min and max
static void reduce(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t members = member_mask(warp, insn, mask);
    const uint32_t *values = ptx_source(warp, insn, 0);
    const uint32_t turn = insn->is_signed != 0 ? 0x80000000u : 0;
    uint32_t result[PTX_LANES], total = 0;
    bool is_first = true;
    PTX_EACH_LANE {
        if ((members >> lane & 1u) == 0) continue;
        const uint32_t value = values[lane];
        if (is_first) {
            total = value;
            is_first = false;
            continue;
        }
        switch (insn->detail[0]) {
        case 0: total += value; break;
        case 1: total = (total ^ turn) < (value ^ turn) ? total : value; break;
        case 2: total = (total ^ turn) > (value ^ turn) ? total : value; break;
        case 3: total &= value; break;
        case 4: total |= value; break;
        default: total ^= value; break;
        }
    }
    PTX_EACH_LANE result[lane] = total;
    ptx_keep32(warp, insn, 0, result, mask);
}

// redux.sync.add.s32 d, a, members
mlcc_status *ptx_decode_redux(ptx_decoder *decoder) {
    if (decoder->n_parts != 4 || strcmp(decoder->parts[1], "sync") != 0)
        return ptx_unsupported(decoder);
    const int which = find_name(decoder->parts[2], reductions, 6);
    const char *type = ptx_last_part(decoder);
    if (which < 0 || type[0] == 'f') return ptx_unsupported(decoder);
    decoder->insn.detail[0] = (uint8_t)which;
    decoder->insn.is_signed = type[0] == 's';
    MLCC_TRY(ptx_expect_args(decoder, 3, 3));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 32));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], 32));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[2], 32));
    return be_of_warp(decoder, reduce, 1);
}

static void active_mask(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint32_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] = mask;
    ptx_keep32(warp, insn, 0, result, mask);
}

mlcc_status *ptx_decode_activemask(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 1, 1));
    decoder->insn.run = active_mask;
    return ptx_add_result(decoder, &decoder->args[0], 32);
}
