// Integer and bit instructions.
#include "tests/support/ptx/ptx_decode.h"

#include <string.h>

// Handlers of one, two or three sources; x, y, z are the lane's values. BITS is the width of the result, R its type, X, Y, Z those of the sources.
#define UNARY(name, bits, R, X, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const X *a = ptx_source(warp, insn, 0); \
        R result[PTX_LANES]; \
        PTX_EACH_LANE { \
            const X x = a[lane]; \
            result[lane] = (R)(expression); \
        } \
        ptx_keep##bits(warp, insn, 0, result, mask); \
    }
#define BINARY(name, bits, R, X, Y, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const X *a = ptx_source(warp, insn, 0); \
        const Y *b = ptx_source(warp, insn, 1); \
        R result[PTX_LANES]; \
        PTX_EACH_LANE { \
            const X x = a[lane]; \
            const Y y = b[lane]; \
            result[lane] = (R)(expression); \
        } \
        ptx_keep##bits(warp, insn, 0, result, mask); \
    }
#define TERNARY(name, bits, R, X, Y, Z, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const X *a = ptx_source(warp, insn, 0); \
        const Y *b = ptx_source(warp, insn, 1); \
        const Z *c = ptx_source(warp, insn, 2); \
        R result[PTX_LANES]; \
        PTX_EACH_LANE { \
            const X x = a[lane]; \
            const Y y = b[lane]; \
            const Z z = c[lane]; \
            result[lane] = (R)(expression); \
        } \
        ptx_keep##bits(warp, insn, 0, result, mask); \
    }

// clang-format off
#define U16 uint16_t
#define U32 uint32_t
#define U64 uint64_t
#define S16 int16_t
#define S32 int32_t
#define S64 int64_t
// clang-format on

__extension__ typedef unsigned __int128 wide_unsigned;
__extension__ typedef __int128 wide_signed;

// ---- arithmetic --------------------------------------------------------------------------------------------------------------------------------

// Wrapping arithmetic is done unsigned, so signed and unsigned share it.
BINARY(add_16, 16, U16, U16, U16, x + y)
BINARY(add_32, 32, U32, U32, U32, x + y)
BINARY(add_64, 64, U64, U64, U64, x + y)
BINARY(sub_16, 16, U16, U16, U16, x - y)
BINARY(sub_32, 32, U32, U32, U32, x - y)
BINARY(sub_64, 64, U64, U64, U64, x - y)
BINARY(mul_16, 16, U16, U16, U16, (U32)x *y)
BINARY(mul_32, 32, U32, U32, U32, x *y)
BINARY(mul_64, 64, U64, U64, U64, x *y)
TERNARY(mad_16, 16, U16, U16, U16, U16, (U32)x *y + z)
TERNARY(mad_32, 32, U32, U32, U32, U32, x *y + z)
TERNARY(mad_64, 64, U64, U64, U64, U64, x *y + z)

static int32_t saturate_s32(int64_t value) {
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
}
BINARY(add_sat, 32, S32, S32, S32, saturate_s32((S64)x + y))
BINARY(sub_sat, 32, S32, S32, S32, saturate_s32((S64)x - y))

BINARY(mul_hi_u16, 16, U16, U16, U16, (U32)x *y >> 16)
BINARY(mul_hi_s16, 16, S16, S16, S16, (S32)x *y >> 16)
BINARY(mul_hi_u32, 32, U32, U32, U32, (U64)x *y >> 32)
BINARY(mul_hi_s32, 32, S32, S32, S32, (S64)x *y >> 32)
BINARY(mul_hi_u64, 64, U64, U64, U64, (wide_unsigned)x *y >> 64)
BINARY(mul_hi_s64, 64, S64, S64, S64, (wide_signed)x *y >> 64)
TERNARY(mad_hi_u32, 32, U32, U32, U32, U32, (U32)((U64)x *y >> 32) + z)
TERNARY(mad_hi_s32, 32, U32, S32, S32, U32, (U32)((S64)x *y >> 32) + z)
TERNARY(mad_hi_u64, 64, U64, U64, U64, U64, (U64)((wide_unsigned)x *y >> 64) + z)
TERNARY(mad_hi_s64, 64, U64, S64, S64, U64, (U64)((wide_signed)x *y >> 64) + z)
BINARY(mul_wide_u16, 32, U32, U16, U16, (U32)x *y)
BINARY(mul_wide_s16, 32, S32, S16, S16, (S32)x *y)
BINARY(mul_wide_u32, 64, U64, U32, U32, (U64)x *y)
BINARY(mul_wide_s32, 64, S64, S32, S32, (S64)x *y)
TERNARY(mad_wide_u16, 32, U32, U16, U16, U32, (U32)x *y + z)
TERNARY(mad_wide_s16, 32, U32, S16, S16, U32, (U32)((S32)x *y) + z)
TERNARY(mad_wide_u32, 64, U64, U32, U32, U64, (U64)x *y + z)
TERNARY(mad_wide_s32, 64, U64, S32, S32, U64, (U64)((S64)x *y) + z)

// Division by zero: hardware gives all ones, and the dividend as remainder. The one quotient that overflows wraps.
#define DIVISIONS(T, S, U, bits) \
    BINARY(div_##T##bits, bits, U, U, U, y == 0 ? ~(U)0 : (U)(x / y)) \
    BINARY(rem_##T##bits, bits, U, U, U, y == 0 ? x : (U)(x % y)) \
    BINARY(div_s##bits, bits, U, S, S, y == 0 ? ~(U)0 : y == -1 ? (U)((U)0 - (U)x) : (U)(x / y)) \
    BINARY(rem_s##bits, bits, U, S, S, y == 0 ? (U)x : y == -1 ? (U)0 : (U)(x % y))
DIVISIONS(u, S16, U16, 16)
DIVISIONS(u, S32, U32, 32)
DIVISIONS(u, S64, U64, 64)

UNARY(abs_s16, 16, U16, S16, x < 0 ? 0 - (U32)x : (U32)x)
UNARY(abs_s32, 32, U32, S32, x < 0 ? 0 - (U32)x : (U32)x)
UNARY(abs_s64, 64, U64, S64, x < 0 ? 0 - (U64)x : (U64)x)
UNARY(neg_16, 16, U16, U16, 0 - (U32)x)
UNARY(neg_32, 32, U32, U32, 0 - x)
UNARY(neg_64, 64, U64, U64, 0 - x)

#define EXTREMES(T, C, bits) \
    BINARY(min_##T, bits, C, C, C, x < y ? x : y) \
    BINARY(max_##T, bits, C, C, C, x > y ? x : y)
EXTREMES(u16, U16, 16)
EXTREMES(s16, S16, 16)
EXTREMES(u32, U32, 32)
EXTREMES(s32, S32, 32)
EXTREMES(u64, U64, 64)
EXTREMES(s64, S64, 64)

#define DOT4(name, T, U) \
    static U32 name##_lane(U32 x, U32 y, U32 z) { \
        for (int i = 0; i < 4; i++) z += (U32)((S32)(T)(x >> 8 * i) * (S32)(U)(y >> 8 * i)); \
        return z; \
    } \
    TERNARY(name, 32, U32, U32, U32, U32, name##_lane(x, y, z))
DOT4(dp4a_uu, uint8_t, uint8_t)
DOT4(dp4a_us, uint8_t, int8_t)
DOT4(dp4a_su, int8_t, uint8_t)
DOT4(dp4a_ss, int8_t, int8_t)

// ---- bits --------------------------------------------------------------------------------------------------------------------------------------

#define LOGIC(bits, T) \
    BINARY(and_##bits, bits, T, T, T, x &y) \
    BINARY(or_##bits, bits, T, T, T, x | y) \
    BINARY(xor_##bits, bits, T, T, T, x ^ y) \
    UNARY(not_##bits, bits, T, T, ~x) \
    UNARY(cnot_##bits, bits, T, T, x == 0) \
    BINARY(shl_##bits, bits, T, T, U32, y < bits ? (U64)x << y : 0) \
    BINARY(shr_##bits, bits, T, T, U32, y < bits ? x >> y : 0)
LOGIC(16, U16)
LOGIC(32, U32)
LOGIC(64, U64)
BINARY(shr_s16, 16, S16, S16, U32, x >> (y < 15 ? y : 15))
BINARY(shr_s32, 32, S32, S32, U32, x >> (y < 31 ? y : 31))
BINARY(shr_s64, 64, S64, S64, U32, x >> (y < 63 ? y : 63))

#define PREDICATE(name, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const uint32_t x = ptx_predicate(warp, insn, 0); \
        const uint32_t y = insn->n_sources > 1 ? ptx_predicate(warp, insn, 1) : 0; \
        (void)y; \
        ptx_keep_predicate(warp, insn, 0, expression, mask); \
    }
PREDICATE(and_pred, x &y)
PREDICATE(or_pred, x | y)
PREDICATE(xor_pred, x ^ y)
PREDICATE(not_pred, ~x)

#define SELECT(bits, T) \
    static void selp_##bits(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const T *a = ptx_source(warp, insn, 0); \
        const T *b = ptx_source(warp, insn, 1); \
        const uint32_t chosen = ptx_predicate(warp, insn, 2); \
        T result[PTX_LANES]; \
        PTX_EACH_LANE result[lane] = (chosen >> lane & 1u) != 0 ? a[lane] : b[lane]; \
        ptx_keep##bits(warp, insn, 0, result, mask); \
    }
SELECT(16, U16)
SELECT(32, U32)
SELECT(64, U64)

// Funnel shifts: the pair {y, x} as 64 bits.
static U32 funnel_left(U32 x, U32 y, U32 n) {
    return (U32)((((U64)y << 32 | x) << n) >> 32);
}
static U32 funnel_right(U32 x, U32 y, U32 n) {
    return (U32)(((U64)y << 32 | x) >> n);
}
TERNARY(shf_l_wrap, 32, U32, U32, U32, U32, funnel_left(x, y, z & 31))
TERNARY(shf_r_wrap, 32, U32, U32, U32, U32, funnel_right(x, y, z & 31))
TERNARY(shf_l_clamp, 32, U32, U32, U32, U32, z >= 32 ? x : funnel_left(x, y, z))
TERNARY(shf_r_clamp, 32, U32, U32, U32, U32, z >= 32 ? y : funnel_right(x, y, z))

// Selector nibbles choose among the 8 bytes of {y, x}; bit 3 replicates the byte's sign.
static U32 permute(U32 x, U32 y, U32 selector) {
    const U64 pair = (U64)y << 32 | x;
    U32 result = 0;
    for (int i = 0; i < 4; i++) {
        const U32 nibble = selector >> 4 * i;
        U32 byte = (U32)(pair >> 8 * (nibble & 7)) & 0xff;
        if ((nibble & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
        result |= byte << 8 * i;
    }
    return result;
}
TERNARY(prmt_b32, 32, U32, U32, U32, U32, permute(x, y, z))

static U64 low_mask(U32 length) {
    return length >= 64 ? UINT64_MAX : ((U64)1 << length) - 1;
}

// Bit fields; position and length are taken modulo 256, the field is cut at the width.
static U64 extract(U64 x, U32 position, U32 length, U32 width, bool is_signed) {
    position &= 255;
    length &= 255;
    if (length == 0) return 0;
    const U32 last = position + length - 1 < width - 1 ? position + length - 1 : width - 1;
    const bool sign = is_signed && (x >> last & 1) != 0;
    const U64 field = position < width ? x >> position & low_mask(length) : 0;
    const U32 n_bits = position < width ? last - position + 1 : 0;
    return sign ? field | ~low_mask(n_bits < length ? n_bits : length) : field;
}
static U64 insert(U64 field, U64 into, U32 position, U32 length, U32 width) {
    position &= 255;
    length &= 255;
    if (position >= width) return into;
    const U64 mask = low_mask(length) << position;
    return (into & ~mask) | (field << position & mask);
}
TERNARY(bfe_u32, 32, U32, U32, U32, U32, extract(x, y, z, 32, false))
TERNARY(bfe_s32, 32, U32, U32, U32, U32, extract(x, y, z, 32, true))
TERNARY(bfe_u64, 64, U64, U64, U32, U32, extract(x, y, z, 64, false))
TERNARY(bfe_s64, 64, U64, U64, U32, U32, extract(x, y, z, 64, true))

#define INSERT(bits, T) \
    static void bfi_b##bits(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const T *a = ptx_source(warp, insn, 0); \
        const T *b = ptx_source(warp, insn, 1); \
        const U32 *position = ptx_source(warp, insn, 2); \
        const U32 *length = ptx_source(warp, insn, 3); \
        T result[PTX_LANES]; \
        PTX_EACH_LANE result[lane] = \
            (T)insert(a[lane], b[lane], position[lane], length[lane], bits); \
        ptx_keep##bits(warp, insn, 0, result, mask); \
    }
INSERT(32, U32)
INSERT(64, U64)

static U32 highest_bit(U64 x) {
    return x == 0 ? UINT32_MAX : 63u - (U32)__builtin_clzll(x);
}
// From the highest bit that is no sign; shift amounts count from the top.
UNARY(bfind_u32, 32, U32, U32, highest_bit(x))
UNARY(bfind_s32, 32, U32, S32, highest_bit((U32)(x < 0 ? ~x : x)))
UNARY(bfind_u64, 32, U32, U64, highest_bit(x))
UNARY(bfind_s64, 32, U32, S64, highest_bit((U64)(x < 0 ? ~x : x)))
UNARY(bfind_shift_u32, 32, U32, U32, x == 0 ? UINT32_MAX : 31 - highest_bit(x))
UNARY(
    bfind_shift_s32, 32, U32, S32,
    x == 0 || x == -1 ? UINT32_MAX : 31 - highest_bit((U32)(x < 0 ? ~x : x)))
UNARY(clz_b32, 32, U32, U32, x == 0 ? 32 : __builtin_clz(x))
UNARY(clz_b64, 32, U32, U64, x == 0 ? 64 : __builtin_clzll(x))
UNARY(popc_b32, 32, U32, U32, __builtin_popcount(x))
UNARY(popc_b64, 32, U32, U64, __builtin_popcountll(x))

static U64 reverse(U64 x) {
    x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
    x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
    return __builtin_bswap64(x);
}
UNARY(brev_b32, 32, U32, U32, reverse(x) >> 32)
UNARY(brev_b64, 64, U64, U64, reverse(x))

static void lop3_b32(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const U32 *a = ptx_source(warp, insn, 0);
    const U32 *b = ptx_source(warp, insn, 1);
    const U32 *c = ptx_source(warp, insn, 2);
    const U32 table = *(const U32 *)ptx_source(warp, insn, 3);
    U32 result[PTX_LANES] = {0};
    for (U32 row = 0; row < 8; row++) {
        if ((table >> row & 1) == 0) continue;
        const U32 x = (row & 4) != 0 ? 0 : UINT32_MAX;
        const U32 y = (row & 2) != 0 ? 0 : UINT32_MAX;
        const U32 z = (row & 1) != 0 ? 0 : UINT32_MAX;
        PTX_EACH_LANE result[lane] |= (a[lane] ^ x) & (b[lane] ^ y) & (c[lane] ^ z);
    }
    ptx_keep32(warp, insn, 0, result, mask);
}

mlcc_status *ptx_decode_lop3(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 5, 5));
    if (strcmp(decoder->opcode, "lop3.b32") != 0) return ptx_unsupported(decoder);
    if (decoder->args[4].kind != PTX_ARG_INTEGER) return ptx_bad_arg(decoder, 4, "a number");
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], 32));
    for (size_t i = 1; i < 5; i++) MLCC_TRY(ptx_add_source(decoder, &decoder->args[i], 32));
    decoder->insn.run = lop3_b32;
    return NULL;
}

// ---- rows --------------------------------------------------------------------------------------------------------------------------------------

// clang-format off
#define BOTH(op, run, bits, n_sources) {op ".u" #bits, run, bits, n_sources}, {op ".s" #bits, run, bits, n_sources}
#define TWO(bits)   {bits, bits}
#define THREE(bits) {bits, bits, bits}
#define ALL_WIDTHS(op, run, bits) {op ".b" #bits, run##_##bits, bits, {bits, bits}}
static const ptx_row rows[] = {
    BOTH("add", add_16, 16, TWO(16)), BOTH("add", add_32, 32, TWO(32)), BOTH("add", add_64, 64, TWO(64)),
    BOTH("sub", sub_16, 16, TWO(16)), BOTH("sub", sub_32, 32, TWO(32)), BOTH("sub", sub_64, 64, TWO(64)),
    {"add.sat.s32", add_sat, 32, {32, 32}}, {"sub.sat.s32", sub_sat, 32, {32, 32}},
    BOTH("mul.lo", mul_16, 16, TWO(16)), BOTH("mul.lo", mul_32, 32, TWO(32)), BOTH("mul.lo", mul_64, 64, TWO(64)),
    BOTH("mad.lo", mad_16, 16, THREE(16)), BOTH("mad.lo", mad_32, 32, THREE(32)), BOTH("mad.lo", mad_64, 64, THREE(64)),
    {"mul.hi.u16", mul_hi_u16, 16, {16, 16}}, {"mul.hi.s16", mul_hi_s16, 16, {16, 16}},
    {"mul.hi.u32", mul_hi_u32, 32, {32, 32}}, {"mul.hi.s32", mul_hi_s32, 32, {32, 32}},
    {"mul.hi.u64", mul_hi_u64, 64, {64, 64}}, {"mul.hi.s64", mul_hi_s64, 64, {64, 64}},
    {"mad.hi.u32", mad_hi_u32, 32, {32, 32, 32}}, {"mad.hi.s32", mad_hi_s32, 32, {32, 32, 32}},
    {"mad.hi.u64", mad_hi_u64, 64, {64, 64, 64}}, {"mad.hi.s64", mad_hi_s64, 64, {64, 64, 64}},
    {"mul.wide.u16", mul_wide_u16, 32, {16, 16}}, {"mul.wide.s16", mul_wide_s16, 32, {16, 16}},
    {"mul.wide.u32", mul_wide_u32, 64, {32, 32}}, {"mul.wide.s32", mul_wide_s32, 64, {32, 32}},
    {"mad.wide.u16", mad_wide_u16, 32, {16, 16, 32}}, {"mad.wide.s16", mad_wide_s16, 32, {16, 16, 32}},
    {"mad.wide.u32", mad_wide_u32, 64, {32, 32, 64}}, {"mad.wide.s32", mad_wide_s32, 64, {32, 32, 64}},
    {"div.u16", div_u16, 16, {16, 16}}, {"div.s16", div_s16, 16, {16, 16}}, {"rem.u16", rem_u16, 16, {16, 16}}, {"rem.s16", rem_s16, 16, {16, 16}},
    {"div.u32", div_u32, 32, {32, 32}}, {"div.s32", div_s32, 32, {32, 32}}, {"rem.u32", rem_u32, 32, {32, 32}}, {"rem.s32", rem_s32, 32, {32, 32}},
    {"div.u64", div_u64, 64, {64, 64}}, {"div.s64", div_s64, 64, {64, 64}}, {"rem.u64", rem_u64, 64, {64, 64}}, {"rem.s64", rem_s64, 64, {64, 64}},
    {"abs.s16", abs_s16, 16, {16}}, {"abs.s32", abs_s32, 32, {32}}, {"abs.s64", abs_s64, 64, {64}},
    {"neg.s16", neg_16, 16, {16}}, {"neg.s32", neg_32, 32, {32}}, {"neg.s64", neg_64, 64, {64}},
    {"min.u16", min_u16, 16, {16, 16}}, {"min.s16", min_s16, 16, {16, 16}}, {"max.u16", max_u16, 16, {16, 16}}, {"max.s16", max_s16, 16, {16, 16}},
    {"min.u32", min_u32, 32, {32, 32}}, {"min.s32", min_s32, 32, {32, 32}}, {"max.u32", max_u32, 32, {32, 32}}, {"max.s32", max_s32, 32, {32, 32}},
    {"min.u64", min_u64, 64, {64, 64}}, {"min.s64", min_s64, 64, {64, 64}}, {"max.u64", max_u64, 64, {64, 64}}, {"max.s64", max_s64, 64, {64, 64}},
    {"dp4a.u32.u32", dp4a_uu, 32, {32, 32, 32}}, {"dp4a.u32.s32", dp4a_us, 32, {32, 32, 32}},
    {"dp4a.s32.u32", dp4a_su, 32, {32, 32, 32}}, {"dp4a.s32.s32", dp4a_ss, 32, {32, 32, 32}},
    ALL_WIDTHS("and", and, 16), ALL_WIDTHS("and", and, 32), ALL_WIDTHS("and", and, 64),
    ALL_WIDTHS("or", or, 16), ALL_WIDTHS("or", or, 32), ALL_WIDTHS("or", or, 64),
    ALL_WIDTHS("xor", xor, 16), ALL_WIDTHS("xor", xor, 32), ALL_WIDTHS("xor", xor, 64),
    {"not.b16", not_16, 16, {16}}, {"not.b32", not_32, 32, {32}}, {"not.b64", not_64, 64, {64}},
    {"cnot.b16", cnot_16, 16, {16}}, {"cnot.b32", cnot_32, 32, {32}}, {"cnot.b64", cnot_64, 64, {64}},
    {"and.pred", and_pred, 1, {1, 1}}, {"or.pred", or_pred, 1, {1, 1}}, {"xor.pred", xor_pred, 1, {1, 1}}, {"not.pred", not_pred, 1, {1}},
    {"shl.b16", shl_16, 16, {16, 32}}, {"shl.b32", shl_32, 32, {32, 32}}, {"shl.b64", shl_64, 64, {64, 32}},
    {"shr.b16", shr_16, 16, {16, 32}}, {"shr.b32", shr_32, 32, {32, 32}}, {"shr.b64", shr_64, 64, {64, 32}},
    {"shr.u16", shr_16, 16, {16, 32}}, {"shr.u32", shr_32, 32, {32, 32}}, {"shr.u64", shr_64, 64, {64, 32}},
    {"shr.s16", shr_s16, 16, {16, 32}}, {"shr.s32", shr_s32, 32, {32, 32}}, {"shr.s64", shr_s64, 64, {64, 32}},
    {"shf.l.wrap.b32", shf_l_wrap, 32, {32, 32, 32}}, {"shf.r.wrap.b32", shf_r_wrap, 32, {32, 32, 32}},
    {"shf.l.clamp.b32", shf_l_clamp, 32, {32, 32, 32}}, {"shf.r.clamp.b32", shf_r_clamp, 32, {32, 32, 32}},
    {"prmt.b32", prmt_b32, 32, {32, 32, 32}},
    {"bfe.u32", bfe_u32, 32, {32, 32, 32}}, {"bfe.s32", bfe_s32, 32, {32, 32, 32}},
    {"bfe.u64", bfe_u64, 64, {64, 32, 32}}, {"bfe.s64", bfe_s64, 64, {64, 32, 32}},
    {"bfi.b32", bfi_b32, 32, {32, 32, 32, 32}}, {"bfi.b64", bfi_b64, 64, {64, 64, 32, 32}},
    {"bfind.u32", bfind_u32, 32, {32}}, {"bfind.s32", bfind_s32, 32, {32}}, {"bfind.u64", bfind_u64, 32, {64}}, {"bfind.s64", bfind_s64, 32, {64}},
    {"bfind.shiftamt.u32", bfind_shift_u32, 32, {32}}, {"bfind.shiftamt.s32", bfind_shift_s32, 32, {32}},
    {"clz.b32", clz_b32, 32, {32}}, {"clz.b64", clz_b64, 32, {64}}, {"popc.b32", popc_b32, 32, {32}}, {"popc.b64", popc_b64, 32, {64}},
    {"brev.b32", brev_b32, 32, {32}}, {"brev.b64", brev_b64, 64, {64}},
    {"selp.b16", selp_16, 16, {16, 16, 1}}, {"selp.u16", selp_16, 16, {16, 16, 1}}, {"selp.s16", selp_16, 16, {16, 16, 1}}, {"selp.f16", selp_16, 16, {16, 16, 1}},
    {"selp.b32", selp_32, 32, {32, 32, 1}}, {"selp.u32", selp_32, 32, {32, 32, 1}}, {"selp.s32", selp_32, 32, {32, 32, 1}}, {"selp.f32", selp_32, 32, {32, 32, 1}},
    {"selp.b64", selp_64, 64, {64, 64, 1}}, {"selp.u64", selp_64, 64, {64, 64, 1}}, {"selp.s64", selp_64, 64, {64, 64, 1}}, {"selp.f64", selp_64, 64, {64, 64, 1}},
};
// clang-format on

const ptx_row *ptx_integer_rows(size_t *n_rows) {
    *n_rows = sizeof rows / sizeof rows[0];
    return rows;
}
