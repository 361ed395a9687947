// setp and set: comparisons, their combination with a predicate, the complementary second result.
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"

// A comparison is the set of outcomes for which it holds.
enum outcome { LESS = 1, EQUAL = 2, GREATER = 4, UNORDERED = 8 };

typedef struct comparison {
    const char *name;
    uint8_t outcomes;
    bool is_unsigned; // lo, ls, hi, hs: of unsigned integers only
} comparison;

// clang-format off
static const comparison comparisons[] = {
    {"eq", EQUAL, false}, {"ne", LESS | GREATER, false},
    {"lt", LESS, false}, {"le", LESS | EQUAL, false}, {"gt", GREATER, false}, {"ge", GREATER | EQUAL, false},
    {"lo", LESS, true}, {"ls", LESS | EQUAL, true}, {"hi", GREATER, true}, {"hs", GREATER | EQUAL, true},
    {"equ", EQUAL | UNORDERED, false}, {"neu", LESS | GREATER | UNORDERED, false},
    {"ltu", LESS | UNORDERED, false}, {"leu", LESS | EQUAL | UNORDERED, false},
    {"gtu", GREATER | UNORDERED, false}, {"geu", GREATER | EQUAL | UNORDERED, false},
    {"num", LESS | EQUAL | GREATER, false}, {"nan", UNORDERED, false},
};
// clang-format on

// detail[0]: outcomes; detail[1]: what combines with the third source; detail[2]: 1 when that is negated
enum combination { ALONE, COMBINE_AND, COMBINE_OR, COMBINE_XOR };

#define COMPARE(name, T) \
    static uint32_t name(const ptx_warp *warp, const ptx_insn *insn) { \
        const T *a = ptx_source(warp, insn, 0); \
        const T *b = ptx_source(warp, insn, 1); \
        uint32_t less = 0, equal = 0, greater = 0; \
        PTX_EACH_LANE { \
            const T x = a[lane], y = b[lane]; \
            less |= (uint32_t)(x < y) << lane; \
            equal |= (uint32_t)(x == y) << lane; \
            greater |= (uint32_t)(x > y) << lane; \
        } \
        const uint8_t outcomes = insn->detail[0]; \
        return ((outcomes & LESS) != 0 ? less : 0) | ((outcomes & EQUAL) != 0 ? equal : 0) | \
               ((outcomes & GREATER) != 0 ? greater : 0) | \
               ((outcomes & UNORDERED) != 0 ? ~(less | equal | greater) : 0); \
    }
COMPARE(compare_u16, uint16_t)
COMPARE(compare_s16, int16_t)
COMPARE(compare_u32, uint32_t)
COMPARE(compare_s32, int32_t)
COMPARE(compare_u64, uint64_t)
COMPARE(compare_s64, int64_t)
COMPARE(compare_f64, double)

static uint32_t compare_floats(const ptx_insn *insn, const float *a, const float *b) {
    uint32_t result = 0;
    PTX_EACH_LANE {
        const float x = a[lane], y = b[lane];
        const uint32_t outcome = x < y ? LESS : x == y ? EQUAL : x > y ? GREATER : UNORDERED;
        result |= (uint32_t)((outcome & insn->detail[0]) != 0) << lane;
    }
    return result;
}

static uint32_t compare_f32(const ptx_warp *warp, const ptx_insn *insn) {
    float a[PTX_LANES], b[PTX_LANES];
    memcpy(a, ptx_source(warp, insn, 0), sizeof a);
    memcpy(b, ptx_source(warp, insn, 1), sizeof b);
    if ((insn->flags & PTX_FTZ) != 0) PTX_EACH_LANE {
            a[lane] = ptx_flush(a[lane]);
            b[lane] = ptx_flush(b[lane]);
        }
    return compare_floats(insn, a, b);
}

static inline uint32_t compare_halves(
    const ptx_warp *warp, const ptx_insn *insn, float from_bits(uint16_t bits)) {
    const uint16_t *x = ptx_source(warp, insn, 0), *y = ptx_source(warp, insn, 1);
    float a[PTX_LANES], b[PTX_LANES];
    PTX_EACH_LANE {
        a[lane] = from_bits(x[lane]);
        b[lane] = from_bits(y[lane]);
    }
    return compare_floats(insn, a, b);
}

static uint32_t compare_f16(const ptx_warp *warp, const ptx_insn *insn) {
    return compare_halves(warp, insn, ptx_from_f16);
}

static uint32_t compare_bf16(const ptx_warp *warp, const ptx_insn *insn) {
    return compare_halves(warp, insn, ptx_from_bf16);
}

static uint32_t combine(const ptx_warp *warp, const ptx_insn *insn, uint32_t value) {
    if (insn->detail[1] == ALONE) return value;
    uint32_t other = ptx_predicate(warp, insn, 2);
    if (insn->detail[2] != 0) other = ~other;
    if (insn->detail[1] == COMBINE_AND) return value & other;
    return insn->detail[1] == COMBINE_OR ? value | other : value ^ other;
}

static void keep_pair(ptx_warp *warp, const ptx_insn *insn, uint32_t value, uint32_t mask) {
    const uint32_t complement = combine(warp, insn, ~value);
    value = combine(warp, insn, value);
    ptx_keep_predicate(warp, insn, 0, value, mask);
    if (insn->n_results > 1) ptx_keep_predicate(warp, insn, 1, complement, mask);
}

// set: all ones or zeros, or 1.0 and 0.0.
static void keep_word(ptx_warp *warp, const ptx_insn *insn, uint32_t value, uint32_t mask) {
    uint32_t result[PTX_LANES];
    const uint32_t yes = (insn->flags & PTX_EXTRA) != 0 ? ptx_bits(1.0f) : UINT32_MAX;
    value = combine(warp, insn, value);
    PTX_EACH_LANE result[lane] = (value >> lane & 1u) != 0 ? yes : 0;
    ptx_keep32(warp, insn, 0, result, mask);
}

#define HANDLERS(type) \
    static void setp_##type(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        keep_pair(warp, insn, compare_##type(warp, insn), mask); \
    } \
    static void set_##type(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        keep_word(warp, insn, compare_##type(warp, insn), mask); \
    }
HANDLERS(u16)
HANDLERS(s16)
HANDLERS(u32)
HANDLERS(s32)
HANDLERS(u64)
HANDLERS(s64)
HANDLERS(f16)
HANDLERS(bf16)
HANDLERS(f32)
HANDLERS(f64)

typedef struct typed_handlers {
    const char *type;
    ptx_handler *setp, *set;
} typed_handlers;

// clang-format off
static const typed_handlers handlers[] = {
    {"u16", setp_u16, set_u16}, {"s16", setp_s16, set_s16}, {"b16", setp_u16, set_u16},
    {"u32", setp_u32, set_u32}, {"s32", setp_s32, set_s32}, {"b32", setp_u32, set_u32},
    {"u64", setp_u64, set_u64}, {"s64", setp_s64, set_s64}, {"b64", setp_u64, set_u64},
    {"f16", setp_f16, set_f16}, {"bf16", setp_bf16, set_bf16}, {"f32", setp_f32, set_f32}, {"f64", setp_f64, set_f64},
};
// clang-format on

// Reads .CMP{.BOOL}{.ftz}: parts 1 …; false when a part is unknown.
static bool read_suffixes(ptx_decoder *decoder, size_t n_suffixes, const ptx_type *type) {
    static const char *const combinations[] = {"", "and", "or", "xor"};
    ptx_insn *insn = &decoder->insn;
    const comparison *found = NULL;
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++)
        if (strcmp(decoder->parts[1], comparisons[i].name) == 0) found = &comparisons[i];
    if (found == NULL || (found->is_unsigned && type->kind != PTX_KIND_UNSIGNED)) return false;
    // Only floats can be unordered, for integers .ltu and the like do not exist.
    if ((found->outcomes & UNORDERED) != 0 && type->kind != PTX_KIND_FLOAT) return false;
    insn->detail[0] = found->outcomes;
    for (size_t i = 2; i < 1 + n_suffixes; i++) {
        if (strcmp(decoder->parts[i], "ftz") == 0) {
            insn->flags |= PTX_FTZ;
            continue;
        }
        uint8_t which = ALONE;
        for (uint8_t k = 1; k < 4; k++)
            if (strcmp(decoder->parts[i], combinations[k]) == 0) which = k;
        if (which == ALONE) return false;
        insn->detail[1] = which;
    }
    return true;
}

static mlcc_status *decode(
    ptx_decoder *decoder, size_t n_result_parts, const typed_handlers **found) {
    const char *type_name = ptx_last_part(decoder);
    const ptx_type *type = ptx_type_find(type_name, strlen(type_name));
    *found = NULL;
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (strcmp(handlers[i].type, type_name) == 0) *found = &handlers[i];
    if (*found == NULL || type == NULL || decoder->n_parts < 3 + n_result_parts)
        return ptx_unsupported(decoder);
    if (!read_suffixes(decoder, decoder->n_parts - 2 - n_result_parts, type))
        return ptx_unsupported(decoder);
    const size_t n_args = decoder->insn.detail[1] == ALONE ? 3 : 4;
    MLCC_TRY(ptx_expect_args(decoder, n_args, n_args));
    const ptx_arg *result = &decoder->args[0];
    MLCC_TRY(ptx_add_result(decoder, result, n_result_parts == 0 ? 1 : 32));
    MLCC_TRY(ptx_add_pair(decoder, result));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], type->bits));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[2], type->bits));
    if (n_args == 4) {
        decoder->insn.detail[2] = decoder->args[3].is_negated;
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[3], 1));
    }
    return NULL;
}

mlcc_status *ptx_decode_setp(ptx_decoder *decoder) {
    const typed_handlers *found = NULL;
    MLCC_TRY(decode(decoder, 0, &found));
    decoder->insn.run = found->setp;
    return NULL;
}

// set.CMP.u32.f32
mlcc_status *ptx_decode_set(ptx_decoder *decoder) {
    const typed_handlers *found = NULL;
    if (decoder->n_parts < 4) return ptx_unsupported(decoder);
    const char *result = decoder->parts[decoder->n_parts - 2];
    if (strcmp(result, "f32") == 0)
        decoder->insn.flags |= PTX_EXTRA;
    else if (strcmp(result, "u32") != 0 && strcmp(result, "s32") != 0 && strcmp(result, "b32") != 0)
        return ptx_unsupported(decoder);
    MLCC_TRY(decode(decoder, 1, &found));
    if (decoder->args[0].has_pair) return ptx_bad_arg(decoder, 0, "one register");
    decoder->insn.run = found->set;
    return NULL;
}
