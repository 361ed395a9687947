// Every loop keeps as many independent sums as hide the latency of its instruction and fit the registers.
#include "dist/cli/run/ceiling_units.h"

#include <string.h>

// Sums become registers only where every index of them is known.
#if defined(__clang__)
#    define UNROLLED _Pragma("clang loop unroll(full)")
#else
#    define UNROLLED _Pragma("GCC unroll 64")
#endif

#if defined(__x86_64__)

#    include <immintrin.h>

// The compiler must not find out that operands never change, nor (GCC 12) keep integer sums in memory.
#    define OPAQUE(a, b) __asm__ volatile("" : "+v"(a), "+v"(b))

__attribute__((target("avx512f"))) static uint32_t f32_avx512(int64_t steps, const void *operands) {
    enum { N = 16 };
    __m512 sums[N], a = _mm512_set1_ps(0.999999f), b = _mm512_set1_ps(1e-6f);
    (void)operands;
    UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm512_set1_ps((float)i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
        OPAQUE(a, b);
    }
    UNROLLED for (int i = 1; i < N; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(_mm512_castps_si512(sums[0])));
}

__attribute__((target("avx2,fma"))) static uint32_t f32_avx2(int64_t steps, const void *operands) {
    enum { N = 12 };
    __m256 sums[N], a = _mm256_set1_ps(0.999999f), b = _mm256_set1_ps(1e-6f);
    (void)operands;
    UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm256_set1_ps((float)i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
        OPAQUE(a, b);
    }
    UNROLLED for (int i = 1; i < N; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(_mm256_castps_si256(sums[0])));
}

__attribute__((target("avx512f,avx512bf16"))) static uint32_t bf16_avx512(
    int64_t steps, const void *operands) {
    enum { N = 16 };
    __m512 sums[N];
    __m512i a = _mm512_loadu_si512(operands), b = a;
    UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm512_set1_ps((float)i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N; i++) sums[i] =
            _mm512_dpbf16_ps(sums[i], (__m512bh)a, (__m512bh)b);
        OPAQUE(a, b);
    }
    UNROLLED for (int i = 1; i < N; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(_mm512_castps_si512(sums[0])));
}

__attribute__((target("avx512f,avx512vnni"))) static uint32_t int8_avx512vnni(
    int64_t steps, const void *operands) {
    enum { N = 16 };
    __m512i sums[N], a = _mm512_loadu_si512(operands), b = a;
    UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm512_set1_epi32(i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N; i++) {
            sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
            OPAQUE(sums[i], a);
        }
    }
    UNROLLED for (int i = 1; i < N; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    return (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(sums[0]));
}

__attribute__((target("avx2,avxvnni"))) static uint32_t int8_avxvnni(
    int64_t steps, const void *operands) {
    enum { N = 12 };
    __m256i sums[N], a = _mm256_loadu_si256(operands), b = a;
    UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm256_set1_epi32(i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N; i++) {
            sums[i] = _mm256_dpbusd_avx_epi32(sums[i], a, b);
            OPAQUE(sums[i], a);
        }
    }
    UNROLLED for (int i = 1; i < N; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    return (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(sums[0]));
}

// Pairs of products in 16 bits, added up in 16 bits: what codes of up to four bits allow within a group of 32.
__attribute__((target("avx2"))) static uint32_t int8_avx2(int64_t steps, const void *operands) {
    enum { N = 12 };
    __m256i sums[N], a = _mm256_loadu_si256(operands), b = a;
    UNROLLED for (int i = 0; i < N; i++) sums[i] = _mm256_set1_epi16((short)i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N; i++) {
            sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(a, b));
            OPAQUE(a, sums[i]); // here, or one product would do for all sums
        }
    }
    UNROLLED for (int i = 1; i < N; i++) sums[0] = _mm256_add_epi16(sums[0], sums[i]);
    return (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(sums[0]));
}

// LDTILECFG's memory: palette 1, and all eight tiles 16 rows of 64 bytes.
typedef struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

static tile_shapes full_tiles(void) {
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shapes.row_bytes[i] = 64;
        shapes.rows[i] = 16;
    }
    return shapes;
}

// Two tiles of rows by two of columns, each loaded once from the second-level cache: tile loads, not products, bound these units.
enum { TILE_BYTES = 1024, TILES_OF_A_STEP = 4 };
#    define TILE_LOOP(multiply) \
        const tile_shapes shapes = full_tiles(); \
        uint32_t sums[256]; \
        _tile_loadconfig(&shapes); \
        _tile_zero(0); \
        _tile_zero(1); \
        _tile_zero(2); \
        _tile_zero(3); \
        for (int64_t step = 0; step < steps; step++) { \
            const char *tiles = (const char *)operands + \
                                step * TILES_OF_A_STEP * TILE_BYTES % CEILING_OPERAND_BYTES; \
            _tile_loadd(4, tiles, 64); \
            _tile_loadd(5, tiles + TILE_BYTES, 64); \
            _tile_loadd(6, tiles + 2 * TILE_BYTES, 64); \
            _tile_loadd(7, tiles + 3 * TILE_BYTES, 64); \
            multiply(0, 4, 6); \
            multiply(1, 4, 7); \
            multiply(2, 5, 6); \
            multiply(3, 5, 7); \
        } \
        _tile_stored(3, sums, 64); \
        _tile_release(); \
        return sums[0]

__attribute__((target("amx-tile,amx-int8"))) static uint32_t int8_amx(
    int64_t steps, const void *operands) {
    TILE_LOOP(_tile_dpbusd);
}

__attribute__((target("amx-tile,amx-bf16"))) static uint32_t bf16_amx(
    int64_t steps, const void *operands) {
    TILE_LOOP(_tile_dpbf16ps);
}

#elif defined(__aarch64__)

#    include <arm_neon.h>

#    define N_SUMS 24

static uint32_t f32_neon(int64_t steps, const void *operands) {
    float32x4_t sums[N_SUMS], a = vdupq_n_f32(0.999999f), b = vdupq_n_f32(1e-6f);
    (void)operands;
    UNROLLED for (int i = 0; i < N_SUMS; i++) sums[i] = vdupq_n_f32((float)i);
    for (int64_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < N_SUMS; i++) sums[i] = vfmaq_f32(sums[i], a, b);
        __asm__ volatile("" : "+w"(a), "+w"(b));
    }
    UNROLLED for (int i = 1; i < N_SUMS; i++) sums[0] = vaddq_f32(sums[0], sums[i]);
    return vgetq_lane_u32(vreinterpretq_u32_f32(sums[0]), 0);
}

// The instructions are written out: which headers declare their intrinsics without compiler switches differs from compiler to compiler.
#    define INTEGER_LOOP(instruction) \
        int32x4_t sums[N_SUMS]; \
        int8x16_t a = vld1q_s8(operands), b = a; \
        UNROLLED for (int i = 0; i < N_SUMS; i++) sums[i] = vdupq_n_s32(i); \
        for (int64_t step = 0; step < steps; step++) { \
            UNROLLED for (int i = 0; i < N_SUMS; \
                          i++) __asm__ volatile(instruction : "+w"(sums[i]) : "w"(a), "w"(b)); \
        } \
        UNROLLED for (int i = 1; i < N_SUMS; i++) sums[0] = vaddq_s32(sums[0], sums[i]); \
        return (uint32_t)vgetq_lane_s32(sums[0], 0)

static uint32_t int8_dotprod(int64_t steps, const void *operands) {
    INTEGER_LOOP(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.16b");
}

static uint32_t int8_i8mm(int64_t steps, const void *operands) {
    INTEGER_LOOP(".arch_extension i8mm\n\tsmmla %0.4s, %1.16b, %2.16b");
}

static uint32_t bf16_bfmmla(int64_t steps, const void *operands) {
    INTEGER_LOOP(".arch_extension bf16\n\tbfmmla %0.4s, %1.8h, %2.8h");
}

#endif

static uint32_t f32_portable(int64_t steps, const void *operands) {
    enum { N = 64 };
    float sums[N], a = 0.999999f, b = 1e-6f;
    (void)operands;
    for (int i = 0; i < N; i++) sums[i] = (float)i;
    for (int64_t step = 0; step < steps; step++) {
        for (int i = 0; i < N; i++) sums[i] = sums[i] * a + b;
    }
    for (int i = 1; i < N; i++) sums[0] += sums[i];
    uint32_t bits;
    memcpy(&bits, sums, sizeof bits);
    return bits;
}

// clang-format off
const ceiling_unit ceiling_units[] = {
    {"float32, portable",        CEILING_F32,  "",                   2.0 * 64,                f32_portable},
#if defined(__x86_64__)
    {"float32 AVX2 FMA",         CEILING_F32,  "avx2,fma",           2.0 * 8 * 12,            f32_avx2},
    {"float32 AVX-512 FMA",      CEILING_F32,  "avx512f",            2.0 * 16 * 16,           f32_avx512},
    {"bfloat16 AVX-512",         CEILING_BF16, "avx512f,avx512bf16", 2.0 * 32 * 16,           bf16_avx512},
    {"bfloat16 AMX from L2",     CEILING_BF16, "amx-tile,amx-bf16",  2.0 * 16 * 16 * 32 * 4,  bf16_amx},
    {"int8 AVX2",                CEILING_INT8, "avx2",               2.0 * 32 * 12,           int8_avx2},
    {"int8 AVX-VNNI",            CEILING_INT8, "avx2,avxvnni",       2.0 * 32 * 12,           int8_avxvnni},
    {"int8 AVX-512 VNNI",        CEILING_INT8, "avx512f,avx512vnni", 2.0 * 64 * 16,           int8_avx512vnni},
    {"int8 AMX from L2",         CEILING_INT8, "amx-tile,amx-int8",  2.0 * 16 * 16 * 64 * 4,  int8_amx},
#elif defined(__aarch64__)
    {"float32 NEON FMA",         CEILING_F32,  "neon",               2.0 * 4 * N_SUMS,        f32_neon},
    {"bfloat16 BFMMLA",          CEILING_BF16, "neon,bf16",          2.0 * 16 * N_SUMS,       bf16_bfmmla},
    {"int8 SDOT",                CEILING_INT8, "neon,dotprod",       2.0 * 16 * N_SUMS,       int8_dotprod},
    {"int8 SMMLA",               CEILING_INT8, "neon,i8mm",          2.0 * 32 * N_SUMS,       int8_i8mm},
#endif
};
// clang-format on
const size_t n_ceiling_units = sizeof ceiling_units / sizeof ceiling_units[0];
_Static_assert(
    sizeof ceiling_units / sizeof ceiling_units[0] <= CEILING_MAX_UNITS, "raise CEILING_MAX_UNITS");
