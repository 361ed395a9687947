// panel16: the device layout of weights [N, K] (and of embedding tables [V, D]) on the CPU. Shared by prepare, linear and
// embedding kernels, and by the host code that plans sizes, so it is plain C without hooks.
//
// Rows lie in panels of 16, K-major inside a panel, so that one vector load brings 16 rows at the same k. Panel p holds rows
// 16p … 16p+15; rows beyond N are zero. Panels follow each other without gaps; the whole is padded to 64 bytes.
//
//   plain     element [p][k][r], 16 K elements a panel. bfloat16 lies in pairs, as products of pairs take it: element
//             [p][k / 2][r][k % 2], a line of 64 bytes for two k; zeros beyond K, to a multiple of 32 k, the depth of a tile register
//   grouped   unit [p][u], u = k / unit_k; a unit is a header and lines of 64 bytes (whole cache lines, always aligned):
//               header  scale [group of the unit][r]; where zeros are stored also u8 zero [group of the unit][r]; padded to 64 bytes
//               line    the codes of per_line k of 16 rows
//
//   integers  line = u32 word [r]; code i of a word stands at bits bits * i (int4: exactly MLC's q_weight word, low nibble first).
//             value = (code - zero) * scale
//   float8    line = u16 [k / 2][r], even k in the low byte: halves that a shift and a mask turn into f16.
//             value = f16(code) * scale; an e4m3 code as f16 is its value / 256, so its scale is stored times 256.
//             An e4m3 NaN makes the scale of its row and unit NaN: what a product with it gives in any case.
//
// Beyond K and N codes are the constant zero (or 0) and scales 0, so every element of a unit may be used without a test, as
// long as x is 0 beyond K. (A started group keeps its scale.)
//
// Two short groups share a unit so that every line is one aligned cache line; with 288-byte groups every other load would
// straddle two.
//
// To add a format of known codes: a row in kernel_panel16_format_of, its way out of storage in prepare_panel16.c.
#ifndef MLCC_CODEGEN_CPU_KERNELS_PANEL16_H
#define MLCC_CODEGEN_CPU_KERNELS_PANEL16_H

#include "codegen/cpu/kernels/kernel.h"

#include <stdbool.h>

// Changes when the bytes of a prepared weight change: part of the key of prepared caches.
#define KERNEL_PANEL16_VERSION 3

enum { KERNEL_PANEL16_ROWS = 16, KERNEL_PANEL16_LINE = 64 };

// What the numbers of a format are. Kernels with unrolled decoding are compiled once per kind (kernels.cmake).
enum kernel_code {
    KERNEL_CODE_NONE, // no panel16 form
    KERNEL_CODE_PLAIN,
    KERNEL_CODE_INT3,
    KERNEL_CODE_INT4,
    KERNEL_CODE_INT8,
    KERNEL_CODE_E4M3,
    KERNEL_CODE_E5M2
};

// How the pieces lie in storage (prepare_panel16.c).
enum kernel_stored {
    KERNEL_STORED_ROWS,    // [N, ...]; words or elements of a row one after another
    KERNEL_STORED_COLUMNS, // the same transposed: [words of a row, N], [groups, N]
    KERNEL_STORED_AWQ,     // words of eight rows at one k, nibbles in AWQ's order, zeros likewise
    KERNEL_STORED_FT,      // FasterTransformer's order for SM80 and later
    KERNEL_STORED_TENSOR,  // fp8 bytes [N, K], one scale
    KERNEL_STORED_BLOCKS,  // fp8 bytes [N, K], a scale for 128 x 128
    KERNEL_STORED_BARE     // fp8 bytes [N, K], no scale
};

enum { KERNEL_ZERO_STORED = -1 };

typedef struct kernel_panel16_format {
    int32_t code;   // enum kernel_code
    int32_t group;  // k that one chain of multiply-adds covers; grouped: k that share a scale
    int32_t unit_k; // k of a unit; plain: what K is rounded up to
    int32_t scale;  // enum kernel_dtype of the header's scales; plain: of the elements
    int32_t
        zero; // what every integer code has too much, or KERNEL_ZERO_STORED: one for every row and group
    int32_t stored; // enum kernel_stored
} kernel_panel16_format;

// The row of a dtype; constant wherever the dtype is.
static inline kernel_panel16_format kernel_panel16_format_of(int32_t dtype) {
    // clang-format off
    static const kernel_panel16_format rows[KERNEL_N_DTYPES] = {
        //                       code              group unit_k scale        zero                stored
        [KERNEL_F32]          = {KERNEL_CODE_PLAIN, 128,   1, KERNEL_F32,  0,                  KERNEL_STORED_ROWS},
        [KERNEL_F16]          = {KERNEL_CODE_PLAIN, 128,   1, KERNEL_F16,  0,                  KERNEL_STORED_ROWS},
        [KERNEL_BF16]         = {KERNEL_CODE_PLAIN, 128,  32, KERNEL_BF16, 0,                  KERNEL_STORED_ROWS},
        [KERNEL_Q4G32_F16]    = {KERNEL_CODE_INT4,   32,  64, KERNEL_F16,  7,                  KERNEL_STORED_ROWS},
        [KERNEL_Q4G32_BF16]   = {KERNEL_CODE_INT4,   32,  64, KERNEL_BF16, 7,                  KERNEL_STORED_ROWS},
        [KERNEL_Q4G32_F32]    = {KERNEL_CODE_INT4,   32,  64, KERNEL_F32,  7,                  KERNEL_STORED_ROWS},
        [KERNEL_Q4G32T_F16]   = {KERNEL_CODE_INT4,   32,  64, KERNEL_F16,  7,                  KERNEL_STORED_COLUMNS},
        [KERNEL_Q4G32T_BF16]  = {KERNEL_CODE_INT4,   32,  64, KERNEL_BF16, 7,                  KERNEL_STORED_COLUMNS},
        [KERNEL_Q3G40_F16]    = {KERNEL_CODE_INT3,   40,  80, KERNEL_F16,  3,                  KERNEL_STORED_ROWS},
        [KERNEL_Q3G40T_F16]   = {KERNEL_CODE_INT3,   40,  80, KERNEL_F16,  3,                  KERNEL_STORED_COLUMNS},
        [KERNEL_Q8G32_F16]    = {KERNEL_CODE_INT8,   32,  64, KERNEL_F16,  127,                KERNEL_STORED_ROWS},
        [KERNEL_U4G32_F16]    = {KERNEL_CODE_INT4,   32,  64, KERNEL_F16,  KERNEL_ZERO_STORED, KERNEL_STORED_AWQ},
        [KERNEL_U4G64_F16]    = {KERNEL_CODE_INT4,   64,  64, KERNEL_F16,  KERNEL_ZERO_STORED, KERNEL_STORED_AWQ},
        [KERNEL_U4G128_F16]   = {KERNEL_CODE_INT4,  128, 128, KERNEL_F16,  KERNEL_ZERO_STORED, KERNEL_STORED_AWQ},
        [KERNEL_Q4FT_F16]     = {KERNEL_CODE_INT4,  128, 128, KERNEL_F16,  8,                  KERNEL_STORED_FT},
        [KERNEL_E4M3_F32]     = {KERNEL_CODE_E4M3,  128, 128, KERNEL_F32,  0,                  KERNEL_STORED_TENSOR},
        [KERNEL_E4M3B128_F32] = {KERNEL_CODE_E4M3,  128, 128, KERNEL_F32,  0,                  KERNEL_STORED_BLOCKS},
        [KERNEL_E5M2]         = {KERNEL_CODE_E5M2,  128, 128, KERNEL_F32,  0,                  KERNEL_STORED_BARE},
    };
    // clang-format on
    return rows[dtype];
}

// ---- what follows from a row ------------------------------------------------------------------------------------------------

// Bits of a code.
static inline int32_t kernel_code_bits(int32_t code) {
    return code == KERNEL_CODE_INT3 ? 3 : code == KERNEL_CODE_INT4 ? 4 : 8;
}

// Codes of one row in a line.
static inline int32_t kernel_code_per_line(int32_t code) {
    return code == KERNEL_CODE_INT3 ? 10 : code == KERNEL_CODE_INT4 ? 8 : 4;
}

static inline bool kernel_code_is_int(int32_t code) {
    return code == KERNEL_CODE_INT3 || code == KERNEL_CODE_INT4 || code == KERNEL_CODE_INT8;
}

static inline int32_t kernel_panel16_scale_bytes(kernel_panel16_format format) {
    return format.scale == KERNEL_F32 ? 4 : 2;
}

static inline int32_t kernel_panel16_unit_groups(kernel_panel16_format format) {
    return format.unit_k / format.group;
}

static inline int32_t kernel_panel16_group_lines(kernel_panel16_format format) {
    return format.group / kernel_code_per_line(format.code);
}

// Offset of the zeros in a unit.
static inline int32_t kernel_panel16_zeros_at(kernel_panel16_format format) {
    return kernel_panel16_unit_groups(format) * 16 * kernel_panel16_scale_bytes(format);
}

// Offset of the first line in a unit.
static inline int32_t kernel_panel16_lines_at(kernel_panel16_format format) {
    const int32_t zeros =
        format.zero == KERNEL_ZERO_STORED ? kernel_panel16_unit_groups(format) * 16 : 0;
    return (kernel_panel16_zeros_at(format) + zeros + 63) & ~63;
}

static inline int32_t kernel_panel16_unit_bytes(kernel_panel16_format format) {
    if (format.code == KERNEL_CODE_PLAIN)
        return format.unit_k * KERNEL_PANEL16_ROWS * kernel_panel16_scale_bytes(format);
    return kernel_panel16_lines_at(format) +
           format.unit_k / kernel_code_per_line(format.code) * KERNEL_PANEL16_LINE;
}

// ---- sizes ------------------------------------------------------------------------------------------------------------------

static inline int64_t kernel_panel16_panels(int64_t n) {
    return n / 16 + (n % 16 != 0);
}

static inline int64_t kernel_panel16_units(kernel_panel16_format format, int64_t k) {
    return k / format.unit_k + (k % format.unit_k != 0);
}

// Bytes of one panel; n and k must have passed kernel_panel16_size.
static inline int64_t kernel_panel16_panel_bytes(kernel_panel16_format format, int64_t k) {
    return kernel_panel16_units(format, k) * kernel_panel16_unit_bytes(format);
}

// Bytes of a prepared weight [n, k], a multiple of 64. false: the dtype has no panel16 form, or 63 bits do not hold the size.
static inline bool kernel_panel16_size(int32_t dtype, int64_t n, int64_t k, int64_t *size_bytes) {
    if (dtype < 0 || dtype >= KERNEL_N_DTYPES) return false;
    const kernel_panel16_format format = kernel_panel16_format_of(dtype);
    if (format.code == KERNEL_CODE_NONE) return false;
    // The largest unit has 2112 bytes for 128 k: below 64 bytes a k, and one unit more.
    if (n < 0 || k < 0 || k > (INT64_MAX >> 8)) return false;
    int64_t bytes;
    if (__builtin_mul_overflow(
            kernel_panel16_panels(n), kernel_panel16_panel_bytes(format, k), &bytes))
        return false;
    if (__builtin_add_overflow(bytes, (int64_t)63, &bytes)) return false;
    *size_bytes = bytes & ~(int64_t)63;
    return true;
}

#endif
