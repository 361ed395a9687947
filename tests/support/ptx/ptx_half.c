// f16 and bf16 instructions, single and packed in pairs. A packed register is 64 halves in a row: both forms share their loops.
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"

#define MAX_HALVES (2 * PTX_LANES)

typedef struct halves {
    float value[MAX_HALVES];
} halves;

typedef enum half_form { F16_SINGLE, F16_PAIR, BF16_SINGLE, BF16_PAIR } half_form;

static inline int count_of(half_form form) {
    return form == F16_PAIR || form == BF16_PAIR ? MAX_HALVES : PTX_LANES;
}

static inline int is_bf16(half_form form) {
    return form == BF16_SINGLE || form == BF16_PAIR;
}

static inline void load(
    const ptx_warp *warp, const ptx_insn *insn, int index, half_form form, halves *out) {
    const uint16_t *bits = ptx_source(warp, insn, index);
    const int n_halves = count_of(form);
    if (is_bf16(form))
        for (int i = 0; i < n_halves; i++) out->value[i] = ptx_from_bf16(bits[i]);
    else
        for (int i = 0; i < n_halves; i++) out->value[i] = ptx_from_f16(bits[i]);
}

static inline void keep(
    const ptx_warp *warp, const ptx_insn *insn, half_form form, halves *values, uint32_t mask) {
    uint16_t bits[MAX_HALVES];
    const int n_halves = count_of(form);
    if ((insn->flags & PTX_SAT) != 0)
        for (int i = 0; i < n_halves; i++)
            values->value[i] = fminf(fmaxf(values->value[i], 0.0f), 1.0f);
    if ((insn->flags & PTX_RELU) != 0)
        for (int i = 0; i < n_halves; i++)
            if (values->value[i] < 0.0f) values->value[i] = 0.0f;
    if (is_bf16(form))
        for (int i = 0; i < n_halves; i++) bits[i] = ptx_to_bf16(values->value[i]);
    else
        for (int i = 0; i < n_halves; i++) bits[i] = ptx_to_f16(values->value[i]);
    if (n_halves == MAX_HALVES)
        ptx_keep32(warp, insn, 0, bits, mask);
    else
        ptx_keep16(warp, insn, 0, bits, mask);
}

#define HALF_UNARY(name, form, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        halves a; \
        load(warp, insn, 0, form, &a); \
        for (int i = 0; i < count_of(form); i++) { \
            const float x = a.value[i]; \
            a.value[i] = expression; \
        } \
        keep(warp, insn, form, &a, mask); \
    }
#define HALF_BINARY(name, form, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        halves a, b; \
        load(warp, insn, 0, form, &a); \
        load(warp, insn, 1, form, &b); \
        for (int i = 0; i < count_of(form); i++) { \
            const float x = a.value[i], y = b.value[i]; \
            a.value[i] = expression; \
        } \
        keep(warp, insn, form, &a, mask); \
    }
// Sum, product and quotient in f32 and then rounded to 11 bits are what one rounding gives; a fused product-sum needs the rounding to odd.
#define HALF_FUSED(name, form) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        halves a, b, c; \
        load(warp, insn, 0, form, &a); \
        load(warp, insn, 1, form, &b); \
        load(warp, insn, 2, form, &c); \
        for (int i = 0; i < count_of(form); i++) \
            a.value[i] = ptx_narrow_odd((double)(a.value[i] * b.value[i]) + (double)c.value[i]); \
        keep(warp, insn, form, &a, mask); \
    }

#define ALL_OF_FORM(suffix, form) \
    HALF_BINARY(add_##suffix, form, x + y) \
    HALF_BINARY(sub_##suffix, form, x - y) \
    HALF_BINARY(mul_##suffix, form, x *y) \
    HALF_BINARY(min_##suffix, form, ptx_min(x, y, (insn->flags & PTX_NAN) != 0)) \
    HALF_BINARY(max_##suffix, form, ptx_max(x, y, (insn->flags & PTX_NAN) != 0)) \
    HALF_FUSED(fma_##suffix, form) \
    HALF_UNARY(ex2_##suffix, form, exp2f(x)) \
    HALF_UNARY(tanh_##suffix, form, tanhf(x))
ALL_OF_FORM(f16, F16_SINGLE)
ALL_OF_FORM(f16x2, F16_PAIR)
ALL_OF_FORM(bf16, BF16_SINGLE)
ALL_OF_FORM(bf16x2, BF16_PAIR)

// Signs are bits.
static void abs_single(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint16_t *a = ptx_source(warp, insn, 0);
    uint16_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] = a[lane] & 0x7fffu;
    ptx_keep16(warp, insn, 0, result, mask);
}
static void abs_pair(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t *a = ptx_source(warp, insn, 0);
    uint32_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] = a[lane] & 0x7fff7fffu;
    ptx_keep32(warp, insn, 0, result, mask);
}
static void neg_single(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint16_t *a = ptx_source(warp, insn, 0);
    uint16_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] = a[lane] ^ 0x8000u;
    ptx_keep16(warp, insn, 0, result, mask);
}
static void neg_pair(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const uint32_t *a = ptx_source(warp, insn, 0);
    uint32_t result[PTX_LANES];
    PTX_EACH_LANE result[lane] = a[lane] ^ 0x80008000u;
    ptx_keep32(warp, insn, 0, result, mask);
}

// clang-format off
#define ROWS(suffix, bits, signs) \
    {"add." #suffix, add_##suffix, bits, {bits, bits}}, {"sub." #suffix, sub_##suffix, bits, {bits, bits}}, {"mul." #suffix, mul_##suffix, bits, {bits, bits}}, \
    {"min." #suffix, min_##suffix, bits, {bits, bits}}, {"max." #suffix, max_##suffix, bits, {bits, bits}}, \
    {"fma." #suffix, fma_##suffix, bits, {bits, bits, bits}}, {"ex2." #suffix, ex2_##suffix, bits, {bits}}, {"tanh." #suffix, tanh_##suffix, bits, {bits}}, \
    {"abs." #suffix, abs_##signs, bits, {bits}}, {"neg." #suffix, neg_##signs, bits, {bits}}
static const ptx_row rows[] = {
    ROWS(f16, 16, single), ROWS(f16x2, 32, pair), ROWS(bf16, 16, single), ROWS(bf16x2, 32, pair),
};
// clang-format on

const ptx_row *ptx_half_rows(size_t *n_rows) {
    *n_rows = sizeof rows / sizeof rows[0];
    return rows;
}
