// mov, cvta and cvt.
#include "ir/eval.h"
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"

#include <fenv.h>

// ---- mov ---------------------------------------------------------------------------------------------------------------------------------------

static void mov_predicate(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_keep_predicate(warp, insn, 0, ptx_predicate(warp, insn, 0), mask);
}
static void mov_16(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_keep16(warp, insn, 0, ptx_source(warp, insn, 0), mask);
}
static void mov_32(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_keep32(warp, insn, 0, ptx_source(warp, insn, 0), mask);
}
static void mov_64(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_keep64(warp, insn, 0, ptx_source(warp, insn, 0), mask);
}

// The block's instructions so far serve as a clock.
static void mov_clock(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint64_t wide[PTX_LANES];
    uint32_t narrow[PTX_LANES];
    PTX_EACH_LANE {
        wide[lane] = warp->block->n_instructions;
        narrow[lane] = (uint32_t)warp->block->n_instructions;
    }
    if (insn->operands[0].bits == 64)
        ptx_keep64(warp, insn, 0, wide, mask);
    else
        ptx_keep32(warp, insn, 0, narrow, mask);
}

// {low, …, high} to one register.
static void mov_pack(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint64_t wide[PTX_LANES] = {0};
    for (int i = 0; i < insn->n_sources; i++)
        PTX_EACH_LANE wide[lane] |= ptx_lane_value(warp, insn, i, lane) << i * insn->element_bits;
    if (insn->operands[0].bits == 64) {
        ptx_keep64(warp, insn, 0, wide, mask);
    } else {
        uint32_t narrow[PTX_LANES];
        PTX_EACH_LANE narrow[lane] = (uint32_t)wide[lane];
        ptx_keep32(warp, insn, 0, narrow, mask);
    }
}

static void mov_unpack(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    uint64_t wide[PTX_LANES];
    PTX_EACH_LANE wide[lane] = ptx_lane_value(warp, insn, 0, lane);
    for (int i = 0; i < insn->n_results; i++) {
        const int shift = i * insn->element_bits;
        if (insn->element_bits == 32) {
            uint32_t part[PTX_LANES];
            PTX_EACH_LANE part[lane] = (uint32_t)(wide[lane] >> shift);
            ptx_keep32(warp, insn, i, part, mask);
        } else {
            uint16_t part[PTX_LANES];
            PTX_EACH_LANE part[lane] = (uint16_t)(wide[lane] >> shift);
            ptx_keep16(warp, insn, i, part, mask);
        }
    }
}

static mlcc_status *decode_packing(ptx_decoder *decoder, const ptx_type *type) {
    const bool is_pack = decoder->args[1].kind == PTX_ARG_VECTOR;
    const ptx_arg *vector = &decoder->args[is_pack ? 1 : 0];
    const uint32_t n_elements = vector->n_elements;
    if ((n_elements != 2 && n_elements != 4) ||
        decoder->args[is_pack ? 0 : 1].kind == PTX_ARG_VECTOR)
        return ptx_unsupported(decoder);
    const uint32_t element_bits = type->bits / n_elements;
    if (element_bits != 16 && element_bits != 32) return ptx_unsupported(decoder);
    decoder->insn.element_bits = (uint8_t)element_bits;
    decoder->insn.run = is_pack ? mov_pack : mov_unpack;
    MLCC_TRY(ptx_add_results(
        decoder, &decoder->args[0], is_pack ? 1 : n_elements, is_pack ? type->bits : element_bits));
    return ptx_add_sources(
        decoder, &decoder->args[1], is_pack ? n_elements : 1, is_pack ? element_bits : type->bits);
}

mlcc_status *ptx_decode_mov(ptx_decoder *decoder) {
    const ptx_type *type = ptx_type_find(ptx_last_part(decoder), strlen(ptx_last_part(decoder)));
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    if (type == NULL || decoder->n_parts != 2 || type->bits == 8 || type->bits == 128 ||
        decoder->args[1].kind == PTX_ARG_NAME)
        return ptx_unsupported(decoder);
    if (decoder->args[0].kind == PTX_ARG_VECTOR || decoder->args[1].kind == PTX_ARG_VECTOR)
        return decode_packing(decoder, type);
    ptx_insn *insn = &decoder->insn;
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], type->bits));
    MLCC_TRY(ptx_add_source(decoder, &decoder->args[1], type->bits));
    insn->flags |= PTX_COPIES;
    insn->run = type->bits == 1    ? mov_predicate
                : type->bits == 16 ? mov_16
                : type->bits == 32 ? mov_32
                                   : mov_64;
    if (decoder->args[1].is_clock) insn->run = mov_clock;
    return NULL;
}

// ---- cvta --------------------------------------------------------------------------------------------------------------------------------------

static void add_window(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint64_t *a = ptx_source(warp, insn, 0);
    uint64_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] = a[lane] + (uint64_t)insn->offset;
    ptx_keep64(warp, insn, 0, result, mask);
}

// cvta.shared.u64 makes a generic address, cvta.to.shared.u64 one of the space.
mlcc_status *ptx_decode_cvta(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    if (strcmp(ptx_last_part(decoder), "u64") != 0) return ptx_unsupported(decoder);
    uint64_t window = 0;
    if (ptx_has_part(decoder, "shared") || ptx_has_part(decoder, "shared::cta"))
        window = PTX_SHARED_WINDOW;
    else if (ptx_has_part(decoder, "local"))
        window = PTX_LOCAL_WINDOW;
    else if (ptx_has_part(decoder, "param") || ptx_has_part(decoder, "param::entry"))
        window = PTX_PARAM_WINDOW;
    else if (!ptx_has_part(decoder, "global") && !ptx_has_part(decoder, "const"))
        return ptx_unsupported(decoder);
    decoder->insn.offset = (int64_t)(ptx_has_part(decoder, "to") ? 0 - window : window);
    decoder->insn.run = add_window;
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 64));
    return ptx_add_source(decoder, &decoder->args[1], 64);
}

// ---- cvt of single numbers ---------------------------------------------------------------------------------------------------------------------

// detail[0]: source, detail[1]: result, detail[2]: rounding
enum number {
    NUMBER_U8,
    NUMBER_U16,
    NUMBER_U32,
    NUMBER_U64,
    NUMBER_S8,
    NUMBER_S16,
    NUMBER_S32,
    NUMBER_S64,
    NUMBER_F16,
    NUMBER_BF16,
    NUMBER_F32,
    NUMBER_F64,
    N_NUMBERS
};

typedef struct number_type {
    const char *name;
    uint32_t bits;
    bool is_float, is_signed;
} number_type;

static const number_type numbers[N_NUMBERS] = {
    {"u8", 8, false, false},   {"u16", 16, false, false}, {"u32", 32, false, false},
    {"u64", 64, false, false}, {"s8", 8, false, true},    {"s16", 16, false, true},
    {"s32", 32, false, true},  {"s64", 64, false, true},  {"f16", 16, true, true},
    {"bf16", 16, true, true},  {"f32", 32, true, true},   {"f64", 64, true, true}};

enum rounding {
    ROUND_NONE,
    ROUND_NEAREST,
    ROUND_ZERO,
    ROUND_DOWN,
    ROUND_UP,
    ROUND_AWAY // ties away from zero: .rna
};

// The low bits of an integer type, extended to 64.
static uint64_t extend(const number_type *type, uint64_t value) {
    if (type->bits == 64) return value;
    const uint64_t sign = (uint64_t)1 << (type->bits - 1);
    value &= (sign << 1) - 1;
    return type->is_signed ? (value ^ sign) - sign : value;
}

static uint64_t largest_integer(const number_type *type) {
    return type->bits == 64 && !type->is_signed
               ? UINT64_MAX
               : ((uint64_t)1 << (type->bits - type->is_signed)) - 1;
}

static double load_float(const ptx_warp *warp, const ptx_insn *insn, int lane) {
    const uint64_t bits = ptx_lane_value(warp, insn, 0, lane);
    double value;
    switch (insn->detail[0]) {
    case NUMBER_F16: return (double)ptx_from_f16((uint16_t)bits);
    case NUMBER_BF16: return (double)ptx_from_bf16((uint16_t)bits);
    case NUMBER_F32: {
        const float narrow = ptx_float((uint32_t)bits);
        return (double)((insn->flags & PTX_FTZ) != 0 ? ptx_flush(narrow) : narrow);
    }
    default: memcpy(&value, &bits, sizeof value); return value;
    }
}

static double round_whole(double value, uint8_t rounding) {
    switch (rounding) {
    case ROUND_NEAREST: return nearbyint(value);
    case ROUND_ZERO: return trunc(value);
    case ROUND_DOWN: return floor(value);
    case ROUND_UP: return ceil(value);
    default: return value;
    }
}

// Directed roundings of the host, for results that are f32 or f64.
static int host_rounding(uint8_t rounding) {
    return rounding == ROUND_ZERO   ? FE_TOWARDZERO
           : rounding == ROUND_DOWN ? FE_DOWNWARD
           : rounding == ROUND_UP   ? FE_UPWARD
                                    : FE_TONEAREST;
}

static uint64_t half_bits(double value, const ptx_insn *insn) {
    const bool is_bf16 = insn->detail[1] == NUMBER_BF16;
    const float narrow = ptx_narrow_odd(value);
    uint16_t bits = is_bf16 ? ptx_to_bf16(narrow) : ptx_to_f16(narrow);
    const float back = is_bf16 ? ptx_from_bf16(bits) : ptx_from_f16(bits);
    // Rounding to zero: one step back when nearest went beyond.
    if (insn->detail[2] == ROUND_ZERO && (double)fabsf(back) > fabs(value)) bits--;
    return bits;
}

static uint64_t float_bits(double value, const ptx_insn *insn) {
    if ((insn->flags & PTX_SAT) != 0) value = value > 0 ? (value < 1 ? value : 1) : 0;
    if ((insn->flags & PTX_RELU) != 0 && value < 0) value = 0;
    uint64_t bits = 0;
    switch (insn->detail[1]) {
    case NUMBER_F16:
    case NUMBER_BF16: return half_bits(value, insn);
    case NUMBER_F32: {
        const volatile float narrow = (float)value;
        const float kept = ptx_canonical(narrow);
        return ptx_bits((insn->flags & PTX_FTZ) != 0 ? ptx_flush(kept) : kept);
    }
    default: memcpy(&bits, &value, sizeof bits); return bits;
    }
}

// Integers of up to 64 bits to floats, rounded once.
static uint64_t integer_to_float(uint64_t value, const ptx_insn *insn) {
    const bool is_signed = numbers[insn->detail[0]].is_signed;
    if (insn->detail[1] == NUMBER_F32) {
        const volatile float result = is_signed ? (float)(int64_t)value : (float)value;
        return ptx_bits(result);
    }
    const volatile double wide = is_signed ? (double)(int64_t)value : (double)value;
    return float_bits(wide, insn);
}

static uint64_t clamp_integer(uint64_t value, const ptx_insn *insn) {
    const number_type *from = &numbers[insn->detail[0]], *to = &numbers[insn->detail[1]];
    const bool is_negative = from->is_signed && (int64_t)value < 0;
    const uint64_t most = largest_integer(to);
    if (!is_negative) return value > most ? most : value;
    if (!to->is_signed) return 0;
    const int64_t least = -(int64_t)most - 1;
    return (int64_t)value < least ? (uint64_t)least : value;
}

// Out of range: the nearest integer there is; NaN: 0.
static uint64_t float_to_integer(double value, const ptx_insn *insn) {
    const number_type *to = &numbers[insn->detail[1]];
    const double beyond = ldexp(1.0, (int)to->bits - to->is_signed);
    const uint64_t most = largest_integer(to);
    value = round_whole(value, insn->detail[2]);
    if (value != value) return 0;
    if (value >= beyond) return most;
    if (!to->is_signed) return value > 0 ? (uint64_t)value : 0;
    return value < -beyond ? (uint64_t)(-(int64_t)most - 1) : (uint64_t)(int64_t)value;
}

static uint64_t convert_lane(const ptx_warp *warp, const ptx_insn *insn, int lane) {
    const number_type *from = &numbers[insn->detail[0]], *to = &numbers[insn->detail[1]];
    if (!from->is_float) {
        const uint64_t value = extend(from, ptx_lane_value(warp, insn, 0, lane));
        if (to->is_float) return integer_to_float(value, insn);
        return (insn->flags & PTX_SAT) != 0 ? clamp_integer(value, insn) : value;
    }
    const double value = load_float(warp, insn, lane);
    if (!to->is_float) return float_to_integer(value, insn);
    // The same type: .rni and the like round to a whole number.
    if (from == to) return float_bits(round_whole(value, insn->detail[2]), insn);
    return float_bits(value, insn);
}

static void convert(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const number_type *to = &numbers[insn->detail[1]];
    uint64_t wide[PTX_LANES];
    const int rounding = host_rounding(insn->detail[2]);
    const int before = fegetround();
    if (rounding != before && to->is_float) fesetround(rounding);
    PTX_EACH_LANE wide[lane] = convert_lane(warp, insn, lane);
    if (rounding != before && to->is_float) fesetround(before);
    // A register may be wider than the type: the value is extended.
    if (to->bits < insn->operands[0].bits && !to->is_float)
        PTX_EACH_LANE wide[lane] = extend(to, wide[lane]);
    uint32_t words[PTX_LANES];
    uint16_t halves[PTX_LANES];
    PTX_EACH_LANE {
        words[lane] = (uint32_t)wide[lane];
        halves[lane] = (uint16_t)wide[lane];
    }
    switch (insn->operands[0].bits) {
    case 16: ptx_keep16(warp, insn, 0, halves, mask); break;
    case 32: ptx_keep32(warp, insn, 0, words, mask); break;
    default: ptx_keep64(warp, insn, 0, wide, mask); break;
    }
}

// The frequent ones, without the detour.
#define DIRECT(name, bits, R, X, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const X *a = ptx_source(warp, insn, 0); \
        R result[PTX_LANES]; \
        PTX_EACH_LANE { \
            const X x = a[lane]; \
            result[lane] = (R)(expression); \
        } \
        ptx_keep##bits(warp, insn, 0, result, mask); \
    }
DIRECT(f32_f16, 32, float, uint16_t, ptx_from_f16(x))
DIRECT(f32_bf16, 32, float, uint16_t, ptx_from_bf16(x))
DIRECT(f16_f32, 16, uint16_t, float, ptx_to_f16(x))
DIRECT(bf16_f32, 16, uint16_t, float, ptx_to_bf16(x))
DIRECT(f32_s32, 32, float, int32_t, x)
DIRECT(f32_u32, 32, float, uint32_t, x)
DIRECT(x64_s32, 64, int64_t, int32_t, x)
DIRECT(x64_u32, 64, uint64_t, uint32_t, x)
DIRECT(x32_x64, 32, uint32_t, uint64_t, x)
DIRECT(x16_x32, 16, uint16_t, uint32_t, x)
DIRECT(x32_u16, 32, uint32_t, uint16_t, x)

typedef struct direct {
    const char *opcode;
    ptx_handler *run;
    uint8_t result_bits, source_bits;
} direct;

// clang-format off
static const direct directs[] = {
    {"cvt.f32.f16", f32_f16, 32, 16}, {"cvt.f32.bf16", f32_bf16, 32, 16}, {"cvt.rn.f16.f32", f16_f32, 16, 32}, {"cvt.rn.bf16.f32", bf16_f32, 16, 32},
    {"cvt.rn.f32.s32", f32_s32, 32, 32}, {"cvt.rn.f32.u32", f32_u32, 32, 32}, {"cvt.s64.s32", x64_s32, 64, 32}, {"cvt.u64.u32", x64_u32, 64, 32},
    {"cvt.u32.u64", x32_x64, 32, 64}, {"cvt.s32.s64", x32_x64, 32, 64}, {"cvt.u32.s64", x32_x64, 32, 64}, {"cvt.u16.u32", x16_x32, 16, 32},
    {"cvt.u32.u16", x32_u16, 32, 16},
};
// clang-format on

// ---- cvt of pairs ------------------------------------------------------------------------------------------------------------------------------

// detail[0]: 1 bf16, 0 f16; or 1 e5m2, 0 e4m3
static float limit(const ptx_insn *insn, float value) {
    return (insn->flags & PTX_RELU) != 0 && value < 0.0f ? 0.0f : value;
}

// A half of a pair; .satfinite: the largest finite value instead of infinity.
static uint16_t to_half(const ptx_insn *insn, float value) {
    const bool is_bf16 = insn->detail[0] != 0;
    const uint16_t most = is_bf16 ? 0x7f7f : 0x7bff, infinity = is_bf16 ? 0x7f80 : 0x7c00;
    value = limit(insn, value);
    const uint16_t bits = is_bf16 ? ptx_to_bf16(value) : ptx_to_f16(value);
    if ((insn->flags & PTX_SAT) == 0 || (bits & 0x7fffu) != infinity) return bits;
    return (uint16_t)((bits & 0x8000u) | most);
}

// cvt.rn.f16x2.f32 d, high, low
static void pair_from_f32(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const float *high = ptx_source(warp, insn, 0), *low = ptx_source(warp, insn, 1);
    uint32_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] =
        (uint32_t)to_half(insn, high[lane]) << 16 | to_half(insn, low[lane]);
    ptx_keep32(warp, insn, 0, result, mask);
}

// .satfinite: the largest finite value instead of infinity; NaN stays NaN (0x7f).
static uint8_t to_float8(const ptx_insn *insn, float value) {
    const bool is_e5m2 = insn->detail[0] != 0;
    const float most = is_e5m2 ? 57344.0f : 448.0f;
    value = limit(insn, value);
    if (value != value) return 0x7f;
    if (value > most) value = most;
    if (value < -most) value = -most;
    return is_e5m2 ? ir_f32_to_f8e5m2(value) : ir_f32_to_f8e4m3(value);
}

static void float8_from_f32(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const float *high = ptx_source(warp, insn, 0), *low = ptx_source(warp, insn, 1);
    uint16_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] =
        (uint16_t)(to_float8(insn, high[lane]) << 8 | to_float8(insn, low[lane]));
    ptx_keep16(warp, insn, 0, result, mask);
}

static void float8_from_f16(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t *pairs = ptx_source(warp, insn, 0);
    uint16_t result[PTX_LANES];
    PTX_EACH_LANE {
        const float high = ptx_from_f16((uint16_t)(pairs[lane] >> 16));
        const float low = ptx_from_f16((uint16_t)pairs[lane]);
        result[lane] = (uint16_t)(to_float8(insn, high) << 8 | to_float8(insn, low));
    }
    ptx_keep16(warp, insn, 0, result, mask);
}

static void f16_from_float8(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint16_t *pairs = ptx_source(warp, insn, 0);
    uint32_t result[PTX_LANES];
    PTX_EACH_LANE {
        const uint8_t high = (uint8_t)(pairs[lane] >> 8), low = (uint8_t)pairs[lane];
        const bool is_e5m2 = insn->detail[0] != 0;
        const float high_value = is_e5m2 ? ir_f8e5m2_to_f32(high) : ir_f8e4m3_to_f32(high);
        const float low_value = is_e5m2 ? ir_f8e5m2_to_f32(low) : ir_f8e4m3_to_f32(low);
        result[lane] = (uint32_t)ptx_to_f16(limit(insn, high_value)) << 16 |
                       ptx_to_f16(limit(insn, low_value));
    }
    ptx_keep32(warp, insn, 0, result, mask);
}

typedef struct pair_form {
    const char *result, *source;
    ptx_handler *run;
    uint8_t variant, n_sources, result_bits, source_bits;
    bool needs_satfinite;
} pair_form;

static const pair_form pair_forms[] = {
    {"f16x2", "f32", pair_from_f32, 0, 2, 32, 32, false},
    {"bf16x2", "f32", pair_from_f32, 1, 2, 32, 32, false},
    {"e4m3x2", "f32", float8_from_f32, 0, 2, 16, 32, true},
    {"e5m2x2", "f32", float8_from_f32, 1, 2, 16, 32, true},
    {"e4m3x2", "f16x2", float8_from_f16, 0, 1, 16, 32, true},
    {"e5m2x2", "f16x2", float8_from_f16, 1, 1, 16, 32, true},
    {"f16x2", "e4m3x2", f16_from_float8, 0, 1, 32, 16, false},
    {"f16x2", "e5m2x2", f16_from_float8, 1, 1, 32, 16, false},
};

static mlcc_status *decode_pair(ptx_decoder *decoder, const pair_form *form) {
    ptx_insn *insn = &decoder->insn;
    bool is_nearest = false, is_satfinite = false;
    for (size_t i = 1; i + 2 < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        if (strcmp(part, "rn") == 0)
            is_nearest = true;
        else if (strcmp(part, "satfinite") == 0)
            is_satfinite = true;
        else if (strcmp(part, "relu") == 0)
            insn->flags |= PTX_RELU;
        else
            return ptx_unsupported(decoder);
    }
    if (!is_nearest || (form->needs_satfinite && !is_satfinite)) return ptx_unsupported(decoder);
    if (is_satfinite) insn->flags |= PTX_SAT;
    insn->detail[0] = form->variant;
    insn->run = form->run;
    MLCC_TRY(ptx_expect_args(decoder, 1u + form->n_sources, 1u + form->n_sources));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], form->result_bits));
    for (size_t i = 1; i <= form->n_sources; i++)
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[i], form->source_bits));
    return NULL;
}

// ---- decoding of cvt ---------------------------------------------------------------------------------------------------------------------------

static int find_number(const char *name) {
    for (int i = 0; i < N_NUMBERS; i++)
        if (strcmp(numbers[i].name, name) == 0) return i;
    return -1;
}

static bool read_cvt_suffix(ptx_insn *insn, const char *part) {
    static const char *const roundings[] = {"", "rn", "rz", "rm", "rp"};
    for (uint8_t i = 1; i < 5; i++) {
        if (strncmp(part, roundings[i], 2) != 0) continue;
        if (part[2] != '\0' && strcmp(part + 2, "i") != 0) return false;
        insn->detail[2] = i;
        return true;
    }
    if (strcmp(part, "ftz") == 0)
        insn->flags |= PTX_FTZ;
    else if (strcmp(part, "sat") == 0)
        insn->flags |= PTX_SAT;
    else if (strcmp(part, "relu") == 0)
        insn->flags |= PTX_RELU;
    else
        return false;
    return true;
}

// cvt.rz.f16.f32 and others that no handler rounds.
static bool rounds_unknown(const ptx_insn *insn) {
    const bool is_half = insn->detail[1] == NUMBER_F16 || insn->detail[1] == NUMBER_BF16;
    if (is_half && insn->detail[2] > ROUND_ZERO) return true;
    return is_half && insn->detail[2] == ROUND_ZERO && !numbers[insn->detail[0]].is_float;
}

mlcc_status *ptx_decode_cvt(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    if (decoder->n_parts < 3) return ptx_unsupported(decoder);
    const char *result = decoder->parts[decoder->n_parts - 2], *source = ptx_last_part(decoder);
    for (size_t i = 0; i < sizeof pair_forms / sizeof pair_forms[0]; i++)
        if (strcmp(pair_forms[i].result, result) == 0 && strcmp(pair_forms[i].source, source) == 0)
            return decode_pair(decoder, &pair_forms[i]);
    const int to = find_number(result), from = find_number(source);
    if (to < 0 || from < 0) return ptx_unsupported(decoder);
    for (size_t i = 1; i + 2 < decoder->n_parts; i++)
        if (!read_cvt_suffix(insn, decoder->parts[i])) return ptx_unsupported(decoder);
    insn->detail[0] = (uint8_t)from;
    insn->detail[1] = (uint8_t)to;
    if (rounds_unknown(insn)) return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    MLCC_TRY(
        ptx_add_result(decoder, &decoder->args[0], numbers[to].is_float ? numbers[to].bits : 0));
    MLCC_TRY(ptx_add_source(
        decoder, &decoder->args[1], numbers[from].is_float ? numbers[from].bits : 0));
    // Registers may be wider than the type, never narrower.
    if (decoder->operands[0].bits < numbers[to].bits || decoder->operands[0].bits == 1)
        return ptx_bad_arg(decoder, 0, "a register that is wide enough");
    if (decoder->operands[1].bits < numbers[from].bits || decoder->operands[1].bits == 1)
        return ptx_bad_arg(decoder, 1, "a register that is wide enough");
    insn->run = convert;
    for (size_t i = 0; i < sizeof directs / sizeof directs[0]; i++)
        if (strcmp(decoder->opcode, directs[i].opcode) == 0 &&
            decoder->operands[0].bits == directs[i].result_bits &&
            decoder->operands[1].bits == directs[i].source_bits)
            insn->run = directs[i].run;
    return NULL;
}
