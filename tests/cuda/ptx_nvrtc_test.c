// The PTX interpreter on what NVRTC really writes, for an old and a new architecture: kernels against plain C. Skipped where NVRTC is not installed.
#include "tests/support/ptx_nvrtc.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const archs[] = {"compute_80", "compute_90a"};
#define N_ARCHS (sizeof archs / sizeof archs[0])

static nvrtc_library *library;

static void launch(
    const ptx_module *module, const char *name, ptx_shape shape, const void *params,
    size_t params_bytes, const ptx_memory *memory) {
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(module, name, &function);
    if (status == NULL) status = ptx_launch(function, &shape, params, params_bytes, memory, NULL);
    if (status != NULL) fail_msg("%s", mlcc_status_message(status));
}

// ---- softmax of rows ---------------------------------------------------------------------------------------------------------------------------

#define SOFTMAX_ROWS    3
#define SOFTMAX_COLUMNS 333

// Params as one struct by value with arrays, as the generated kernels have them; a static shared array; shuffles; a loop over arrays of pointers.
static const char softmax_source[] =
    "struct env { const void *in[2]; void *out[1]; long long dims[2]; };\n"
    "extern \"C\" __global__ void __launch_bounds__(128) softmax(const env e) {\n"
    "  __shared__ float part[4];\n"
    "  long long n = e.dims[1]; int t = threadIdx.x;\n"
    "  const float *x = (const float *)e.in[0] + blockIdx.x * n; float *y = (float *)e.out[0] + "
    "blockIdx.x * n;\n"
    "  float most = -__int_as_float(0x7f800000), sum = 0;\n"
    "  for (int i = t; i < n; i += 128) most = fmaxf(most, x[i] + ((const float *)e.in[blockIdx.x "
    "& 1])[i]);\n"
    "  for (int m = 16; m; m >>= 1) most = fmaxf(most, __shfl_xor_sync(~0u, most, m));\n"
    "  if ((t & 31) == 0) part[t >> 5] = most;\n"
    "  __syncthreads();\n"
    "  for (int i = 0; i < 4; i++) most = fmaxf(most, part[i]);\n"
    "  __syncthreads();\n"
    "  for (int i = t; i < n; i += 128) sum += expf(x[i] + ((const float *)e.in[blockIdx.x & "
    "1])[i] - most);\n"
    "  for (int m = 16; m; m >>= 1) sum += __shfl_xor_sync(~0u, sum, m);\n"
    "  if ((t & 31) == 0) part[t >> 5] = sum;\n"
    "  __syncthreads();\n"
    "  sum = 0; for (int i = 0; i < 4; i++) sum += part[i];\n"
    "  for (int i = t; i < n; i += 128) y[i] = expf(x[i] + ((const float *)e.in[blockIdx.x & "
    "1])[i] - most) / sum;\n"
    "}\n";

typedef struct softmax_params {
    const void *in[2];
    void *out[1];
    int64_t dims[2];
} softmax_params;

static void test_softmax(void **state) {
    (void)state;
    static float x[SOFTMAX_ROWS][SOFTMAX_COLUMNS], y[SOFTMAX_ROWS][SOFTMAX_COLUMNS];
    library = ptx_nvrtc_open();
    for (int row = 0; row < SOFTMAX_ROWS; row++)
        for (int i = 0; i < SOFTMAX_COLUMNS; i++)
            x[row][i] = (float)((row * 7919 + i * 104729) % 1000) / 100.0f - 5.0f;
    for (size_t a = 0; a < N_ARCHS; a++) {
        ptx_module *module = ptx_nvrtc_compile(library, "test.cu", softmax_source, archs[a]);
        ptx_memory *memory = ptx_memory_create();
        const softmax_params params = {{x, x}, {y}, {SOFTMAX_ROWS, SOFTMAX_COLUMNS}};
        memset(y, 0, sizeof y);
        ptx_memory_add(memory, x, sizeof x, "x");
        ptx_memory_add(memory, y, sizeof y, "y");
        const ptx_shape shape = {{SOFTMAX_ROWS, 1, 1}, {128, 1, 1}, 0};
        launch(module, "softmax", shape, &params, sizeof params, memory);
        for (int row = 0; row < SOFTMAX_ROWS; row++) {
            double sum = 0;
            for (int i = 0; i < SOFTMAX_COLUMNS; i++)
                sum += exp((double)x[row][i] + (double)x[0][i]);
            for (int i = 0; i < SOFTMAX_COLUMNS; i++) {
                const double expected = exp((double)x[row][i] + (double)x[0][i]) / sum;
                if (fabs((double)y[row][i] - expected) > 1e-5 * expected + 1e-9)
                    fail_msg("%s: row %d, %d: %g", archs[a], row, i, (double)y[row][i]);
            }
        }
        ptx_memory_free(memory);
        ptx_module_free(module);
    }
    nvrtc_close(library);
}

// ---- a product by tensor cores -----------------------------------------------------------------------------------------------------------------

// D[16][8] = A[16][k] B[8][k]^T; tiles of 64 columns through two stages of cp.async. The order of A's registers is a macro: to be mistaken.
static const char product_source[] =
    "typedef unsigned u32;\n"
    "extern __shared__ __align__(128) unsigned char sm[];\n"
    "static __device__ u32 at(const void *p) { return (u32)__cvta_generic_to_shared(p); }\n"
    "static __device__ void stage(unsigned char *s, const unsigned short *A, const unsigned short "
    "*B, int k, int k0) {\n"
    "  for (int q = threadIdx.x; q < 24 * 8; q += 32) { int r = q >> 3, c = q & 7;\n"
    "    const unsigned short *g = r < 16 ? A + r * k + k0 + c * 8 : B + (r - 16) * k + k0 + c * "
    "8;\n"
    "    asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16;\" :: \"r\"(at(s + r * 144 + c * "
    "16)), \"l\"(g) : \"memory\"); }\n"
    "  asm volatile(\"cp.async.commit_group;\" ::: \"memory\"); }\n"
    "extern \"C\" __global__ void product(const unsigned short *A, const unsigned short *B, float "
    "*D, int k) {\n"
    "  float d[4] = {0, 0, 0, 0}; int lane = threadIdx.x;\n"
    "  stage(sm, A, B, k, 0);\n"
    "  for (int k0 = 0; k0 < k; k0 += 64) { int i = k0 / 64; unsigned char *s = sm + (i & 1) * "
    "3456;\n"
    "    if (k0 + 64 < k) stage(sm + (~i & 1) * 3456, A, B, k, k0 + 64); else asm "
    "volatile(\"cp.async.commit_group;\" ::: \"memory\");\n"
    "    asm volatile(\"cp.async.wait_group 1;\" ::: \"memory\"); __syncthreads();\n"
    "    for (int j = 0; j < 4; j++) { u32 a[4], b[2];\n"
    "      asm volatile(\"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\" : "
    "\"=r\"(a[0]), \"=r\"(a[1]), \"=r\"(a[2]), \"=r\"(a[3])\n"
    "        : \"r\"(at(s + (lane & 15) * 144 + j * 32 + (lane >> 4) * 16)));\n"
    "      asm volatile(\"ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\" : "
    "\"=r\"(b[0]), \"=r\"(b[1])\n"
    "        : \"r\"(at(s + (16 + (lane & 7)) * 144 + j * 32 + (lane >> 3 & 1) * 16)));\n"
    "      asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, \" "
    "ORDER \", {%8,%9}, {%0,%1,%2,%3};\"\n"
    "        : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3]) : \"r\"(a[0]), \"r\"(a[1]), "
    "\"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1])); }\n"
    "    __syncthreads(); }\n"
    "  float *o = D + (lane >> 2) * 8 + (lane & 3) * 2; o[0] = d[0]; o[1] = d[1]; o[64] = d[2]; "
    "o[65] = d[3];\n"
    "}\n";

#define PRODUCT_K 192

typedef struct product_params {
    const void *a, *b;
    void *d;
    int32_t k;
} product_params;

// Multiples of 1/8 below 2 as f16: their products and sums are exact in f32.
static uint16_t eighths(uint32_t n, float *value) {
    static const uint16_t bits[] = {0,      0x3000, 0x3400, 0x3600, 0x3800, 0x3900, 0x3a00, 0x3b00,
                                    0x3c00, 0x3c80, 0x3d00, 0x3d80, 0x3e00, 0x3e80, 0x3f00, 0x3f80};
    *value = (float)(n % 16) / 8.0f;
    return bits[n % 16];
}

// How many of D's elements are wrong.
static int run_product(const char *order, const char *arch) {
    static _Alignas(16) uint16_t a[16 * PRODUCT_K], b[8 * PRODUCT_K];
    static float a_values[16 * PRODUCT_K], b_values[8 * PRODUCT_K], d[16 * 8];
    char source[8192];
    const int length =
        snprintf(source, sizeof source, "#define ORDER \"%s\"\n%s", order, product_source);
    assert_in_range(length, 1, sizeof source - 1);
    for (uint32_t i = 0; i < 16 * PRODUCT_K; i++)
        a[i] = eighths(i * 2654435761u >> 7, &a_values[i]);
    for (uint32_t i = 0; i < 8 * PRODUCT_K; i++) b[i] = eighths(i * 2246822519u >> 9, &b_values[i]);
    ptx_module *module = ptx_nvrtc_compile(library, "test.cu", source, arch);
    ptx_memory *memory = ptx_memory_create();
    ptx_memory_add(memory, a, sizeof a, "a");
    ptx_memory_add(memory, b, sizeof b, "b");
    ptx_memory_add(memory, d, sizeof d, "d");
    const product_params params = {a, b, d, PRODUCT_K};
    const ptx_shape shape = {{1, 1, 1}, {32, 1, 1}, 2 * 3456};
    launch(
        module, "product", shape, &params, offsetof(product_params, k) + sizeof params.k, memory);
    int n_wrong = 0;
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 8; n++) {
            float sum = 0;
            for (int k = 0; k < PRODUCT_K; k++)
                sum += a_values[m * PRODUCT_K + k] * b_values[n * PRODUCT_K + k];
            n_wrong += d[m * 8 + n] != sum;
        }
    ptx_memory_free(memory);
    ptx_module_free(module);
    return n_wrong;
}

static void test_product(void **state) {
    (void)state;
    library = ptx_nvrtc_open();
    for (size_t i = 0; i < N_ARCHS; i++) {
        assert_int_equal(run_product("{%4,%5,%6,%7}", archs[i]), 0);
        // What a wrong order in an asm string does is seen.
        assert_true(run_product("{%5,%4,%6,%7}", archs[i]) > 100);
        assert_true(run_product("{%4,%6,%5,%7}", archs[i]) > 100);
    }
    nvrtc_close(library);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
