// linear_panel16_job: what both paths of linear_panel16 share: the operands of a launch, and the way to the epilogue.
#ifndef MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_JOB_H
#define MLCC_CODEGEN_CPU_KERNELS_LINEAR_PANEL16_JOB_H

#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/scratch.h"
#include "codegen/cpu/kernels/simd.h"

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

// Constants of the launch (all but n_rows, as a rule) gathered once.
typedef struct linear_job {
    const float *x;      // [n_rows, k]
    const char *weights; // panels
    const void *bias;    // [n] or NULL
    int64_t n_rows, n, k, n_panels, panel_bytes;
    int32_t dtype, bias_dtype;
} linear_job;

KERNEL_INLINE linear_job linear_job_of(const kernel_env *env) {
    linear_job job;
    job.x = (const float *)kernel_pointer_0(env);
    job.weights = (const char *)kernel_pointer_1(env);
    job.bias = kernel_pointer_2(env);
    job.n_rows = kernel_dim_0_0(env);
    job.n = kernel_dim_1_0(env);
    job.k = kernel_dim_1_1(env);
    job.dtype = kernel_dtype_1(env);
    job.bias_dtype = kernel_dtype_2(env);
    job.n_panels = kernel_panel16_panels(job.n);
    job.panel_bytes = kernel_panel16_panel_bytes(job.dtype, job.k);
    return job;
}

// Bytes of one panel per k.
KERNEL_INLINE int64_t linear_k_bytes(const linear_job *job) {
    if (job->dtype == KERNEL_Q4G32_F16) return KERNEL_PANEL16_UNIT_BYTES / KERNEL_PANEL16_UNIT;
    return job->dtype == KERNEL_F32 ? 64 : 32;
}

// k that one chain of multiply-adds covers. Plain dtypes have no scale to apply; their chains end where blocks of K do, because
// folding a chain into the sums costs a load and a store.
KERNEL_INLINE int64_t linear_group_k(const linear_job *job) {
    return job->dtype == KERNEL_Q4G32_F16 ? KERNEL_PANEL16_GROUP : KERNEL_LINEAR_BLOCK_K;
}

// What a group's chain of a Q4G32_F16 weight starts from: codes are used as 0 … 15, and this takes 7 times every x off again.
// x: the group's 32 elements, zeros beyond K.
KERNEL_INLINE float linear_group_start(const float *x) {
    return -7.0f * simd_sum(simd_load(x) + simd_load(x + 16));
}

// Hands 16 columns of one row to the epilogue.
KERNEL_INLINE void linear_store(
    const kernel_env *env, const linear_job *job, int64_t row, int64_t panel, const float *values) {
    const int64_t first = panel * 16;
    const int64_t n_columns = job->n - first < 16 ? job->n - first : 16;
    if (n_columns == 16) {
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < 16; c++) {
            const float bias = job->bias != NULL
                                   ? kernel_load_as_f32(job->bias, job->bias_dtype, first + c)
                                   : 0.0f;
            kernel_store_0(env, row, first + c, values[c] + bias);
        }
    } else {
        for (int64_t c = 0; c < n_columns; c++) {
            const float bias = job->bias != NULL
                                   ? kernel_load_as_f32(job->bias, job->bias_dtype, first + c)
                                   : 0.0f;
            kernel_store_0(env, row, first + c, values[c] + bias);
        }
    }
}

#endif
