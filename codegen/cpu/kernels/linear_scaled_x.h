// linear_scaled_x: x of linear_scaled, packed into scratch: per row and group of 32 k a record of
//
//   codes    in the order in which the machine's products take them (linear_scaled_dot4.h, _pairs.h), zeros beyond K
//   start    int32, what the group's sum begins with: minus the constant zero (or 1, where zeros are stored) times their sum
//   scale    float
//
// Rows of a register tile lie side by side, [tile][group][row of the tile]: one stream of addresses, however many rows.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_X_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_SCALED_X_H

#include "codegen/cpu/kernels/linear_panel16_job.h"

KERNEL_DTYPE(3);
KERNEL_POINTER(3);

typedef int8_t i8x32 __attribute__((vector_size(32)));

enum { LINEAR_SCALED_GROUP = 32 };

// Where bytes are multiplied signed by signed only (LINEAR_SCALED_SIGNED), codes of eight bits are used less 128 and the zero with them.
#ifdef LINEAR_SCALED_SIGNED
KERNEL_INLINE int32_t scaled_code_offset(int32_t code) {
    return code == KERNEL_CODE_INT8 ? 128 : 0;
}
#else
KERNEL_INLINE int32_t scaled_code_offset(int32_t code) {
    return (void)code, 0;
}
#endif

// ---- what the method supplies -----------------------------------------------------------------------------------------------

// A line has so many parts, each with four bytes of x for all of its 16 rows.
KERNEL_INLINE int32_t scaled_parts(int32_t code);
KERNEL_INLINE u32x16 scaled_part(int32_t code, u32x16 words, int part);
// The sum of a group: begin, a product for every part, end.
KERNEL_INLINE i32x16 scaled_begin(int32_t code, i32x16 start);
KERNEL_INLINE i32x16 scaled_dot(int32_t code, i32x16 acc, u32x16 part, int32_t x);
KERNEL_INLINE i32x16 scaled_end(int32_t code, i32x16 acc, i32x16 start);
// Codes of a record: 32 of x in the order of the parts.
KERNEL_INLINE int32_t scaled_x_bytes(int32_t code);
KERNEL_INLINE void scaled_x_order(int32_t code, i8x32 codes, char *target);
// Per 32-bit lane the products of the two signed halves, added up. Supplied by the machine.
KERNEL_INLINE i32x16 simd_pairs(i32x16 a, i32x16 b);

KERNEL_INLINE int32_t scaled_group_lines(int32_t code) {
    return LINEAR_SCALED_GROUP / kernel_code_per_line(code);
}

// Of every eight codes those of even k first: how the low and high nibbles of a word lie.
KERNEL_INLINE i8x32 scaled_nibble_order(i8x32 codes) {
    return __builtin_shufflevector(
        codes, codes, 0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15, 16, 18, 20, 22, 17, 19,
        21, 23, 24, 26, 28, 30, 25, 27, 29, 31);
}

// ---- records ----------------------------------------------------------------------------------------------------------------

KERNEL_INLINE int64_t scaled_record_bytes(int32_t code) {
    return scaled_x_bytes(code) + 8;
}

KERNEL_INLINE int32_t scaled_word(const char *record, int64_t at) {
    int32_t word;
    __builtin_memcpy(&word, record + at, sizeof word);
    return word;
}

// What the sum of a group starts from. Zeros are bytes and sums of 32 codes fit 16 bits.
KERNEL_INLINE i32x16 scaled_start(kernel_panel16_format format, const char *record, i32x16 zeros) {
    const i32x16 start = (i32x16){0} + scaled_word(record, scaled_x_bytes(format.code));
    return format.zero == KERNEL_ZERO_STORED ? simd_pairs(zeros, start) : start;
}

KERNEL_INLINE float scaled_scale(int32_t code, const char *record) {
    return kernel_bits_float((uint32_t)scaled_word(record, scaled_x_bytes(code) + 4));
}

// The sum of a group, times its scales, on top of those before it.
KERNEL_INLINE f32x16 scaled_add(i32x16 whole, f32x16 weight_scale, float scale, f32x16 sum) {
    return simd_fma(__builtin_convertvector(whole, f32x16), weight_scale * scale, sum);
}

// In bytes without a sign, which machines add up at once: every chunk packs x anew.
KERNEL_INLINE int32_t scaled_sum(i8x32 codes) {
    typedef uint8_t u8x32 __attribute__((vector_size(32)));
    typedef uint32_t u32x32 __attribute__((vector_size(128)));
    const u8x32 bytes = (u8x32)codes ^ (uint8_t)128;
    return (int32_t)__builtin_reduce_add(__builtin_convertvector(bytes, u32x32)) -
           LINEAR_SCALED_GROUP * 128;
}

// ---- packing ----------------------------------------------------------------------------------------------------------------

// Operands of a launch beside linear_job's.
typedef struct scaled_x {
    const int8_t *codes; // [n_rows, k]
    const float *scales; // [n_rows, groups]
    int64_t groups;
    int32_t zero; // of a record's start
} scaled_x;

KERNEL_INLINE int64_t scaled_groups(int64_t k) {
    return (k + LINEAR_SCALED_GROUP - 1) / LINEAR_SCALED_GROUP;
}

KERNEL_INLINE scaled_x scaled_x_of(const linear_job *job, const void *codes, const void *scales) {
    return (scaled_x){.codes = (const int8_t *)codes,
                      .scales = (const float *)scales,
                      .groups = scaled_groups(job->k),
                      .zero = job->format.zero == KERNEL_ZERO_STORED
                                  ? 1
                                  : job->format.zero - scaled_code_offset(job->format.code)};
}

#ifndef LINEAR_EXPERTS
// Operand 3 is the bias here; 2 are the scales.
KERNEL_INLINE linear_job scaled_job_of(const kernel_env *env) {
    linear_job job = linear_job_of(env);
    job.bias = kernel_pointer_3(env);
    job.bias_dtype = kernel_dtype_3(env);
    return job;
}

#endif

// One group of one row.
KERNEL_INLINE void scaled_pack_group(
    int32_t code, const int8_t *source, int64_t n_k, int32_t zero, float scale, char *record) {
    i8x32 codes;
    if (n_k >= LINEAR_SCALED_GROUP) {
        __builtin_memcpy(&codes, source, sizeof codes);
    } else {
        int8_t part[LINEAR_SCALED_GROUP] = {0};
        for (int64_t i = 0; i < n_k; i++) part[i] = source[i];
        __builtin_memcpy(&codes, part, sizeof codes);
    }
    const int32_t start = -zero * scaled_sum(codes);
    const int32_t bytes = scaled_x_bytes(code);
    scaled_x_order(code, codes, record);
    __builtin_memcpy(record + bytes, &start, sizeof start);
    __builtin_memcpy(record + bytes + 4, &scale, sizeof scale);
}

// Rows [first_row, first_row + n_rows) as one tile.
KERNEL_INLINE void scaled_pack_tile(
    const linear_job *job, const scaled_x *x, int64_t first_row, int64_t n_rows, char *records) {
    const int32_t code = job->format.code;
    const int64_t record_bytes = scaled_record_bytes(code);
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t from = linear_x_row(job, first_row + r);
        const int8_t *row = x->codes + from * job->k;
        const float *scales = x->scales + from * x->groups;
        char *record = records + r * record_bytes;
        for (int64_t g = 0; g < x->groups; g++) {
            const int64_t k = g * LINEAR_SCALED_GROUP;
            scaled_pack_group(code, row + k, job->k - k, x->zero, scales[g], record);
            record += n_rows * record_bytes;
        }
    }
}

#endif
