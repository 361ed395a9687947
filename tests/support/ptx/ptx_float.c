// f32 and f64 instructions.
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"

// The lanes of a source, subnormals flushed when the instruction says so.
static void load(const ptx_warp *warp, const ptx_insn *insn, int index, float *values) {
    memcpy(values, ptx_source(warp, insn, index), PTX_LANES * sizeof *values);
    if ((insn->flags & PTX_FTZ) != 0) PTX_EACH_LANE values[lane] = ptx_flush(values[lane]);
}

static void keep(const ptx_warp *warp, const ptx_insn *insn, float *values, uint32_t mask) {
    if ((insn->flags & PTX_FTZ) != 0) PTX_EACH_LANE values[lane] = ptx_flush(values[lane]);
    if ((insn->flags & PTX_SAT) != 0) PTX_EACH_LANE {
            const float value = values[lane];
            values[lane] = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
        }
    ptx_keep32(warp, insn, 0, values, mask);
}

#define F32_UNARY(name, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        float a[PTX_LANES]; \
        load(warp, insn, 0, a); \
        PTX_EACH_LANE { \
            const float x = a[lane]; \
            a[lane] = ptx_canonical(expression); \
        } \
        keep(warp, insn, a, mask); \
    }
#define F32_BINARY(name, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        float a[PTX_LANES], b[PTX_LANES]; \
        load(warp, insn, 0, a); \
        load(warp, insn, 1, b); \
        PTX_EACH_LANE { \
            const float x = a[lane], y = b[lane]; \
            a[lane] = ptx_canonical(expression); \
        } \
        keep(warp, insn, a, mask); \
    }

F32_BINARY(add_f32, x + y)
F32_BINARY(sub_f32, x - y)
F32_BINARY(mul_f32, x *y)
F32_BINARY(div_f32, x / y)
F32_BINARY(copysign_f32, ptx_float((ptx_bits(x) & 0x80000000u) | (ptx_bits(y) & 0x7fffffffu)))
F32_UNARY(abs_f32, ptx_float(ptx_bits(x) & 0x7fffffffu))
F32_UNARY(neg_f32, ptx_float(ptx_bits(x) ^ 0x80000000u))
F32_UNARY(rcp_f32, 1.0f / x)
F32_UNARY(sqrt_f32, sqrtf(x))
F32_UNARY(rsqrt_f32, (float)(1.0 / sqrt((double)x)))
F32_UNARY(sin_f32, (float)sin((double)x))
F32_UNARY(cos_f32, (float)cos((double)x))
F32_UNARY(tanh_f32, (float)tanh((double)x))
F32_UNARY(ex2_f32, exp2f(x))
F32_UNARY(lg2_f32, log2f(x))

F32_BINARY(min_f32, ptx_min(x, y, (insn->flags & PTX_NAN) != 0))
F32_BINARY(max_f32, ptx_max(x, y, (insn->flags & PTX_NAN) != 0))

// x + y in double, rounded to odd: a later rounding to f32 gives what rounding the exact sum once would (but for results below 2^-126).
static inline double odd_sum(double x, double y) {
    const double sum = x + y;
    // Knuth's two-sum: what the addition lost.
    const double part = sum - x;
    const double lost = (x - (sum - part)) + (y - part);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    const int is_less = (lost > 0) != (sum > 0);
    // Only an inexact sum with an even last bit is moved to the odd neighbour on the side of the true value.
    if (lost == lost && lost != 0 && (bits & 1) == 0) bits = is_less ? bits - 1 : bits + 1;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return odd;
}

// The product of two f32 is exact in double.
static void fma_f32(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    float a[PTX_LANES], b[PTX_LANES], c[PTX_LANES];
    load(warp, insn, 0, a);
    load(warp, insn, 1, b);
    load(warp, insn, 2, c);
    PTX_EACH_LANE a[lane] =
        ptx_canonical((float)odd_sum((double)a[lane] * (double)b[lane], (double)c[lane]));
    keep(warp, insn, a, mask);
}

enum direction { TO_ZERO, DOWN, UP };

// To f32 in a direction. expf and others of CUDA's library use it.
static float round_to(double value, enum direction direction) {
    const float nearest = (float)value;
    const double back = (double)nearest;
    const bool is_over = back > value, is_under = back < value;
    switch (direction) {
    case DOWN: return is_over ? nextafterf(nearest, -INFINITY) : nearest;
    case UP: return is_under ? nextafterf(nearest, INFINITY) : nearest;
    default:
        return (value > 0 && is_over) || (value < 0 && is_under) ? nextafterf(nearest, 0.0f)
                                                                 : nearest;
    }
}

#define DIRECTED(name, direction, n_loaded, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        float values[3][PTX_LANES] = {0}; \
        for (int i = 0; i < (n_loaded); i++) load(warp, insn, i, values[i]); \
        PTX_EACH_LANE { \
            const double x = (double)values[0][lane], y = (double)values[1][lane]; \
            const double z = (double)values[2][lane]; \
            (void)z; \
            values[0][lane] = ptx_canonical(round_to(expression, direction)); \
        } \
        keep(warp, insn, values[0], mask); \
    }
#define ALL_DIRECTED(suffix, direction) \
    DIRECTED(add_##suffix, direction, 2, odd_sum(x, y)) \
    DIRECTED(sub_##suffix, direction, 2, odd_sum(x, -y)) \
    DIRECTED(mul_##suffix, direction, 2, x *y) \
    DIRECTED(fma_##suffix, direction, 3, odd_sum(x *y, z))
ALL_DIRECTED(rz, TO_ZERO)
ALL_DIRECTED(rm, DOWN)
ALL_DIRECTED(rp, UP)

#define F64_UNARY(name, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const double *a = ptx_source(warp, insn, 0); \
        double result[PTX_LANES]; \
        PTX_EACH_LANE { \
            const double x = a[lane]; \
            result[lane] = expression; \
        } \
        ptx_keep64(warp, insn, 0, result, mask); \
    }
#define F64_BINARY(name, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const double *a = ptx_source(warp, insn, 0); \
        const double *b = ptx_source(warp, insn, 1); \
        double result[PTX_LANES]; \
        PTX_EACH_LANE { \
            const double x = a[lane], y = b[lane]; \
            result[lane] = expression; \
        } \
        ptx_keep64(warp, insn, 0, result, mask); \
    }
F64_BINARY(add_f64, x + y)
F64_BINARY(sub_f64, x - y)
F64_BINARY(mul_f64, x *y)
F64_BINARY(div_f64, x / y)
F64_BINARY(min_f64, fmin(x, y))
F64_BINARY(max_f64, fmax(x, y))
F64_UNARY(abs_f64, fabs(x))
F64_UNARY(neg_f64, -x)
F64_UNARY(rcp_f64, 1.0 / x)
F64_UNARY(sqrt_f64, sqrt(x))
F64_UNARY(rsqrt_f64, 1.0 / sqrt(x))

static void fma_f64(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    const double *a = ptx_source(warp, insn, 0);
    const double *b = ptx_source(warp, insn, 1);
    const double *c = ptx_source(warp, insn, 2);
    double result[PTX_LANES];
    PTX_EACH_LANE result[lane] = fma(a[lane], b[lane], c[lane]);
    ptx_keep64(warp, insn, 0, result, mask);
}

#define TEST(name, expression) \
    static void name(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) { \
        const float *a = ptx_source(warp, insn, 0); \
        uint32_t result = 0; \
        PTX_EACH_LANE { \
            const float x = a[lane]; \
            result |= (uint32_t)((expression) != 0) << lane; \
        } \
        ptx_keep_predicate(warp, insn, 0, result, mask); \
    }
TEST(test_finite, isfinite(x))
TEST(test_infinite, isinf(x))
TEST(test_number, !isnan(x))
TEST(test_not_number, isnan(x))
TEST(test_normal, isnormal(x))
TEST(test_subnormal, x != 0.0f && (ptx_bits(x) & 0x7f800000u) == 0)

// clang-format off
#define DIRECTED_ROWS(suffix) \
    {"add." #suffix ".f32", add_##suffix, 32, {32, 32}}, {"sub." #suffix ".f32", sub_##suffix, 32, {32, 32}}, \
    {"mul." #suffix ".f32", mul_##suffix, 32, {32, 32}}, {"fma." #suffix ".f32", fma_##suffix, 32, {32, 32, 32}}
static const ptx_row rows[] = {
    {"add.f32", add_f32, 32, {32, 32}}, {"sub.f32", sub_f32, 32, {32, 32}}, {"mul.f32", mul_f32, 32, {32, 32}}, {"div.f32", div_f32, 32, {32, 32}},
    {"fma.f32", fma_f32, 32, {32, 32, 32}}, {"mad.f32", fma_f32, 32, {32, 32, 32}},
    DIRECTED_ROWS(rz), DIRECTED_ROWS(rm), DIRECTED_ROWS(rp),
    {"min.f32", min_f32, 32, {32, 32}}, {"max.f32", max_f32, 32, {32, 32}}, {"copysign.f32", copysign_f32, 32, {32, 32}},
    {"abs.f32", abs_f32, 32, {32}}, {"neg.f32", neg_f32, 32, {32}}, {"rcp.f32", rcp_f32, 32, {32}}, {"sqrt.f32", sqrt_f32, 32, {32}},
    {"rsqrt.f32", rsqrt_f32, 32, {32}}, {"sin.f32", sin_f32, 32, {32}}, {"cos.f32", cos_f32, 32, {32}}, {"tanh.f32", tanh_f32, 32, {32}},
    {"ex2.f32", ex2_f32, 32, {32}}, {"lg2.f32", lg2_f32, 32, {32}},
    {"testp.finite.f32", test_finite, 1, {32}}, {"testp.infinite.f32", test_infinite, 1, {32}}, {"testp.number.f32", test_number, 1, {32}},
    {"testp.notanumber.f32", test_not_number, 1, {32}}, {"testp.normal.f32", test_normal, 1, {32}}, {"testp.subnormal.f32", test_subnormal, 1, {32}},
    {"add.f64", add_f64, 64, {64, 64}}, {"sub.f64", sub_f64, 64, {64, 64}}, {"mul.f64", mul_f64, 64, {64, 64}}, {"div.f64", div_f64, 64, {64, 64}},
    {"fma.f64", fma_f64, 64, {64, 64, 64}}, {"mad.f64", fma_f64, 64, {64, 64, 64}},
    {"min.f64", min_f64, 64, {64, 64}}, {"max.f64", max_f64, 64, {64, 64}}, {"abs.f64", abs_f64, 64, {64}}, {"neg.f64", neg_f64, 64, {64}},
    {"rcp.f64", rcp_f64, 64, {64}}, {"sqrt.f64", sqrt_f64, 64, {64}}, {"rsqrt.f64", rsqrt_f64, 64, {64}},
};
// clang-format on

const ptx_row *ptx_float_rows(size_t *n_rows) {
    *n_rows = sizeof rows / sizeof rows[0];
    return rows;
}
