// linear_heads: out[t, h*N … h*N+N-1] = x[t, h*K … h*K+K-1] times w[h] of [H, N, K] transposed. The stack is one weight [H*N, K] in panel16 form of
// plain floats (panel16.h); x comes through its load hook. An item is a block of 32 rows, one head and eight of the panels that it lies in; of a panel
// that two heads share only the head's own outputs are stored.
//
// Order of summation: k ascending, one chain, so a row's result does not depend on the tile.
//
// Tile sizes of the machine: HEADS_TILE_ROWS rows times HEADS_TILE_PANELS panels.
#include "codegen/cpu/kernels/panel16_codes.h"
#include "codegen/cpu/kernels/scratch.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_DIM(1, 1);
KERNEL_DIM(1, 2);
KERNEL_DTYPE(1);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_STORE(0);
KERNEL_SCRATCH;

enum { HEADS_ROWS = KERNEL_HEADS_ROWS, HEADS_PANELS = 8 };

// Panels that a head lies in, at most.
KERNEL_INLINE int64_t heads_panels(const kernel_env *env) {
    const int64_t n = kernel_dim_1_1(env);
    return kernel_panel16_panels(n % 16 == 0 ? n : n + 15);
}

KERNEL_INLINE int64_t heads_parts(const kernel_env *env) {
    return (heads_panels(env) + HEADS_PANELS - 1) / HEADS_PANELS;
}

int64_t kernel_linear_heads_items(const kernel_env *env) {
    const int64_t n_blocks = (kernel_dim_0_0(env) + HEADS_ROWS - 1) / HEADS_ROWS;
    return n_blocks * kernel_dim_1_0(env) * heads_parts(env);
}

int64_t kernel_linear_heads_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_linear_heads_items(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// What one item works on.
typedef struct heads_job {
    const char *panels; // from the item's first on
    const float *x;     // [n_rows, K], in scratch
    int64_t n_k, panel_bytes;
    int64_t row, head; // of the first output
    int64_t first_n,
        n; // output of the head that the first panel begins with, may be below 0; outputs of a head
} heads_job;

KERNEL_INLINE void heads_store(
    const kernel_env *env, const heads_job *job, f32x16 sum, int64_t row, int64_t panel) {
    const int64_t first = job->first_n + panel * 16, column = job->head * job->n + first;
    float values[16];
    simd_store(values, sum);
    if (first >= 0 && first + 16 <= job->n) {
        KERNEL_VECTOR_LOOP for (int64_t c = 0; c < 16; c++)
            kernel_store_0(env, job->row + row, column + c, values[c]);
        return;
    }
    for (int64_t c = first < 0 ? -first : 0; c < 16 && first + c < job->n; c++)
        kernel_store_0(env, job->row + row, column + c, values[c]);
}

KERNEL_INLINE void heads_tile(
    const int R, const int P, const kernel_env *env, const heads_job *job, int64_t row,
    int64_t panel) {
    const kernel_panel16_format format = kernel_panel16_format_of(kernel_dtype_1(env));
    const char *weights = job->panels + panel * job->panel_bytes;
    const float *x = job->x + row * job->n_k;
    f32x16 sum[HEADS_TILE_ROWS][HEADS_TILE_PANELS];
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++) sum[r][p] = simd_splat(0.0f);
    }
    _Pragma("clang loop unroll_count(2) vectorize(disable)") for (int64_t k = 0; k < job->n_k;
                                                                  k++) {
        f32x16 weight[HEADS_TILE_PANELS];
        KERNEL_UNROLL for (int p = 0; p < P; p++) weight[p] =
            panel16_unscaled(format, weights + p * job->panel_bytes, k);
        KERNEL_UNROLL for (int r = 0; r < R; r++) {
            KERNEL_UNROLL for (int p = 0; p < P; p++) sum[r][p] =
                simd_fma(weight[p], simd_splat(x[r * job->n_k + k]), sum[r][p]);
        }
    }
    KERNEL_UNROLL for (int r = 0; r < R; r++) {
        KERNEL_UNROLL for (int p = 0; p < P; p++)
            heads_store(env, job, sum[r][p], row + r, panel + p);
    }
}

KERNEL_INLINE void heads_rows(
    const int R, const kernel_env *env, const heads_job *job, int64_t row, int64_t n_panels) {
    int64_t panel = 0;
    for (; panel + HEADS_TILE_PANELS <= n_panels; panel += HEADS_TILE_PANELS)
        heads_tile(R, HEADS_TILE_PANELS, env, job, row, panel);
    for (; panel < n_panels; panel++) heads_tile(R, 1, env, job, row, panel);
}

void kernel_linear_heads(const kernel_env *env, int64_t begin, int64_t end) {
    const int64_t n_heads = kernel_dim_1_0(env), n = kernel_dim_1_1(env), n_k = kernel_dim_1_2(env);
    const int64_t n_parts = heads_parts(env), n_all = kernel_dim_0_0(env);
    const kernel_panel16_format format = kernel_panel16_format_of(kernel_dtype_1(env));
    float *x = (float *)kernel_scratch(env);
    heads_job job = {
        .x = x, .n_k = n_k, .n = n, .panel_bytes = kernel_panel16_panel_bytes(format, n_k)};
    for (int64_t item = begin; item < end; item++) {
        job.head = item / n_parts % n_heads;
        job.row = item / n_parts / n_heads * HEADS_ROWS;
        const int64_t n_rows = n_all - job.row < HEADS_ROWS ? n_all - job.row : HEADS_ROWS;
        const int64_t first_panel = job.head * n / 16 + item % n_parts * HEADS_PANELS;
        const int64_t end_panel = ((job.head + 1) * n + 15) / 16;
        const int64_t left = end_panel - first_panel;
        job.first_n = first_panel * 16 - job.head * n;
        job.panels = (const char *)kernel_pointer_1(env) + first_panel * job.panel_bytes;
        for (int64_t row = 0; row < n_rows; row++) {
            KERNEL_VECTOR_LOOP for (int64_t k = 0; k < n_k; k++) x[row * n_k + k] =
                kernel_load_0(env, job.row + row, job.head * n_k + k);
        }
        const int64_t n_panels = left < HEADS_PANELS ? left : HEADS_PANELS;
        int64_t row = 0;
        for (; row + HEADS_TILE_ROWS <= n_rows; row += HEADS_TILE_ROWS)
            heads_rows(HEADS_TILE_ROWS, env, &job, row, n_panels);
        for (; row < n_rows; row++) heads_rows(1, env, &job, row, n_panels);
    }
}
