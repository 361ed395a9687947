// linear_panel16_job: what both paths of linear_panel16 share: the operands of a launch, and the way to the epilogue.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_JOB_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_JOB_H

#include "codegen/cpu/kernels/panel16_codes.h"
#include "codegen/cpu/kernels/scratch.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DTYPE(1);
KERNEL_DTYPE(2);
KERNEL_POINTER(0);
KERNEL_POINTER(1);
KERNEL_POINTER(2);
KERNEL_STORE(0);
KERNEL_SCRATCH;

// The format of operand 1. A file compiled for one kind of code (LINEAR_CODE, see kernels.cmake) knows it before the dtype: what
// unrolls over the codes of a line can do so when mlcc is built, and the other kinds leave no code behind.
KERNEL_INLINE kernel_panel16_format linear_format(const kernel_env *env) {
    kernel_panel16_format format = kernel_panel16_format_of(kernel_dtype_1(env));
#ifdef LINEAR_CODE
    format.code = LINEAR_CODE;
#endif
    return format;
}

// Constants of the launch (all but n_rows, as a rule) gathered once.
typedef struct linear_job {
    const float *x;      // [n_rows, k]
    const char *weights; // panels
    const void *bias;    // [n] or NULL
    int64_t n_rows, n, k, n_panels, panel_bytes;
    kernel_panel16_format format;
    int32_t bias_dtype;
    // Of one expert (linear_experts_body.h): row r of the job is slot slots[r], reads row slots[r] / slots_per_x of x (0: row r)
    // and is part slots[r] % n_chosen, of slot_columns columns, of row slots[r] / n_chosen. NULL: row r is row r.
    const int32_t *slots;
    int64_t slots_per_x, n_chosen, slot_columns;
    int64_t skip;    // outputs at the begin of the first panel that belong to another expert
    int64_t bias_at; // element of the bias for the first output of the first panel
} linear_job;

// The row of x that a row of the job reads.
KERNEL_INLINE int64_t linear_x_row(const linear_job *job, int64_t row) {
    const int is_chosen = job->slots != NULL && job->slots_per_x != 0;
    return is_chosen ? job->slots[row] / job->slots_per_x : row;
}

KERNEL_INLINE const float *linear_row(const linear_job *job, int64_t row) {
    return job->x + linear_x_row(job, row) * job->k;
}

#ifndef LINEAR_EXPERTS
KERNEL_INLINE linear_job linear_job_of(const kernel_env *env) {
    linear_job job = {0};
    job.x = (const float *)kernel_pointer_0(env);
    job.weights = (const char *)kernel_pointer_1(env);
    job.bias = kernel_pointer_2(env);
    job.n_rows = kernel_dim_0_0(env);
    job.n = kernel_dim_1_0(env);
    job.k = kernel_dim_1_1(env);
    job.format = linear_format(env);
    job.bias_dtype = kernel_dtype_2(env);
    job.n_panels = kernel_panel16_panels(job.n);
    job.panel_bytes = kernel_panel16_panel_bytes(job.format, job.k);
    return job;
}
#endif

// Bytes of a panel before k, a multiple of the unit or close to it.
KERNEL_INLINE int64_t linear_k_bytes(kernel_panel16_format format, int64_t k) {
    return k * kernel_panel16_unit_bytes(format) / format.unit_k;
}

// What a group's chain starts from: integer codes are used as they are, 0 … 2^bits - 1, and this takes the constant zero times
// every x off again; where zeros are stored, minus the sum of x, which the kernel multiplies by them.
// x: the group's elements, zeros beyond K.
KERNEL_INLINE float linear_group_start(kernel_panel16_format format, const float *x) {
    if (!kernel_code_is_int(format.code)) return 0.0f;
    f32x16 total = simd_load(x) + simd_load(x + 16);
    int64_t i = 32;
    for (; i + 16 <= format.group; i += 16) total += simd_load(x + i);
    if (i < format.group) total += simd_load_part(x + i, format.group - i);
    const float zero = format.zero == KERNEL_ZERO_STORED ? 1.0f : (float)format.zero;
    return -zero * simd_sum(total);
}

// Zeros of 16 rows as floats.
KERNEL_INLINE f32x16 linear_zeros(kernel_panel16_format format, const char *unit, int64_t group) {
    return __builtin_convertvector(panel16_zeros(format, unit, group), f32x16);
}

// Four k of 16 rows: an fp8 line as float32, without scales. Halves of odd k lie in the high bytes, those of even k are moved
// there.
KERNEL_INLINE void linear_float8_line(int32_t code, const char *line, f32x16 weights[4]) {
    u16x32 odd, even;
    __builtin_memcpy(&odd, line, sizeof odd);
    even = odd << 8;
    if (code == KERNEL_CODE_E4M3) { // as panel16_half_of
        odd = (u16x32)((i16x32)odd >> 1) & 0xbf80u;
        even = (u16x32)((i16x32)even >> 1) & 0xbf80u;
    } else {
        odd &= 0xff00u;
    }
    weights[0] = simd_f16_to_f32(simd_low(even));
    weights[1] = simd_f16_to_f32(simd_low(odd));
    weights[2] = simd_f16_to_f32(simd_high(even));
    weights[3] = simd_f16_to_f32(simd_high(odd));
}

// ---- blocks of packed rows --------------------------------------------------------------------------------------------------

// Of kernels that pack rows of x into scratch and take panels one after another: rows of a block, what fits `bytes`, as even as
// possible, whole tiles.
KERNEL_INLINE int64_t linear_packed_rows(
    int64_t n_rows, int64_t row_bytes, int64_t bytes, int64_t most_rows, int64_t tile) {
    if (n_rows == 0 || row_bytes == 0) return 1;
    int64_t fit = bytes / row_bytes;
    fit = fit > most_rows ? most_rows : fit;
    if (n_rows <= fit) return n_rows;
    if (fit > tile) fit = fit / tile * tile;
    const int64_t n_blocks = (n_rows + fit - 1) / fit, even = (n_rows + n_blocks - 1) / n_blocks;
    const int64_t whole = (even + tile - 1) / tile * tile;
    return whole < fit ? whole : fit;
}

// Panels of a chunk: several chunks a thread, so that a slow thread costs little; but every chunk packs x, which takes as long as a
// panel, so fewer where they would be small.
KERNEL_INLINE int64_t
linear_packed_chunk(int64_t n_items, int64_t n_rows, int64_t n_threads, int64_t chunks) {
    const int64_t least = n_rows < 8 ? 4 * n_rows : 32, whole = n_items / n_threads;
    int64_t chunk = n_items / (n_threads * chunks);
    if (chunk < least) chunk = whole < least ? whole : least;
    return chunk < 4 ? 4 : chunk / 4 * 4;
}

// ---- epilogue ---------------------------------------------------------------------------------------------------------------

KERNEL_INLINE float linear_bias(const linear_job *job, int64_t column) {
    if (job->bias == NULL) return 0.0f;
    return kernel_load_as_f32(job->bias, job->bias_dtype, job->bias_at + column);
}

// Hands 16 columns of one row to the epilogue.
KERNEL_INLINE void linear_store(
    const kernel_env *env, const linear_job *job, int64_t row, int64_t panel, const float *values) {
    const int64_t first = panel * 16;
    const int64_t begin = first < job->skip ? job->skip - first : 0;
    const int64_t end = job->n - first < 16 ? job->n - first : 16;
    int64_t target = row, column = first;
    if (job->slots != NULL) {
        target = job->slots[row] / job->n_chosen;
        column += job->slots[row] % job->n_chosen * job->slot_columns - job->skip;
    }
    if (begin == 0 && end == 16) {
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < 16; c++)
            kernel_store_0(env, target, column + c, values[c] + linear_bias(job, first + c));
    } else {
        for (int64_t c = begin; c < end; c++)
            kernel_store_0(env, target, column + c, values[c] + linear_bias(job, first + c));
    }
}

#endif
