// What NVRTC writes for sm_90a, in the PTX interpreter: wgmma fed by bulk copies, and the 8-bit mma.sync. Skipped where NVRTC is not installed.
#include "ir/eval.h"
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx_nvrtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static nvrtc_library *library;

static ptx_module *compile(const char *defines, const char *source, const char *arch) {
    char text[16384];
    const int length = snprintf(text, sizeof text, "%s%s", defines, source);
    assert_in_range(length, 1, sizeof text - 1);
    return ptx_nvrtc_compile(library, "test.cu", text, arch);
}

// Small whole numbers: their products and sums are exact in every format.
static float number_at(uint32_t seed, uint32_t row, uint32_t k) {
    return (float)((row * 7919u + k * 104729u + seed * 31u + row * k) % 9) - 4.0f;
}

typedef enum number_format { FORMAT_F16, FORMAT_BF16, FORMAT_E4M3, FORMAT_E5M2 } number_format;

static void put_number(number_format format, uint8_t *place, float value) {
    uint16_t half = 0;
    switch (format) {
    case FORMAT_F16: half = ptx_to_f16(value); break;
    case FORMAT_BF16: half = ptx_to_bf16(value); break;
    case FORMAT_E4M3: *place = ir_f32_to_f8e4m3(value); return;
    case FORMAT_E5M2: *place = ir_f32_to_f8e5m2(value); return;
    }
    memcpy(place, &half, sizeof half);
}

// ---- wgmma -------------------------------------------------------------------------------------------------------------------------------------

#define TILE_ROWS  64
#define TILE_BYTES 8192 // 64 rows of 128 bytes
#define N_TILES    3

// C[64][64] = A[64][k] B[64][k]^T: tiles of 128 bytes of k in two stages, each two bulk copies of what already lies in the order of the 128-byte swizzle.
static const char product_source[] =
    "typedef unsigned int u32; typedef unsigned long long u64; typedef unsigned char u8; typedef "
    "unsigned short u16;\n"
    "static __device__ u32 at(const void *p) { return (u32)__cvta_generic_to_shared(p); }\n"
    "static __device__ u64 describe(u32 a) { return ((a & 0x3ffff) >> 4) | ((u64)1 << 16) | "
    "((u64)(1024 >> 4) << 32) | ((u64)1 << 62); }\n"
    "static __device__ void wait(u32 bar, int parity) {\n"
    "  asm volatile(\"{.reg .pred p;\\nW: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], "
    "%1;\\n@p bra D;\\nbra W;\\nD:}\" :: \"r\"(bar), \"r\"(parity) : \"memory\"); }\n"
    "static __device__ void load(u32 to, const void *from, u32 bar) {\n"
    "  asm volatile(\"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
    "[%1], 8192, [%2];\" :: \"r\"(to), \"l\"(from), \"r\"(bar) : \"memory\"); }\n"
    "static __device__ void fill(u8 *stage, const u8 *A, const u8 *B, u64 *bar) {\n"
    "  asm volatile(\"mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 16384;\" :: "
    "\"r\"(at(bar)) : \"memory\");\n"
    "  load(at(stage), A, at(bar)); load(at(stage + 8192), B, at(bar)); }\n"
    "#define SUMS "
    "\"{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%"
    "25,%26,%27,%28,%29,%30,%31}\"\n"
    "#define S4(i) \"+f\"(d[i]), \"+f\"(d[i + 1]), \"+f\"(d[i + 2]), \"+f\"(d[i + 3])\n"
    "#define S16(i) S4(i), S4(i + 4), S4(i + 8), S4(i + 12)\n"
    "extern \"C\" __global__ void __launch_bounds__(128, 1) product(const u8 *A, const u8 *B, "
    "float *C, int n_tiles) {\n"
    "  extern __shared__ __align__(1024) u8 stages[]; __shared__ __align__(8) u64 full[2];\n"
    "  int t = threadIdx.x;\n"
    "  if (t == 0) { for (int i = 0; i < 2; i++) asm volatile(\"mbarrier.init.shared::cta.b64 "
    "[%0], 1;\" :: \"r\"(at(full + i)));\n"
    "    asm volatile(\"fence.mbarrier_init.release.cluster;\" ::: \"memory\"); }\n"
    "  __syncthreads();\n"
    "  float d[32]; for (int i = 0; i < 32; i++) d[i] = 0;\n"
    "  if (t == 0) for (int s = 0; s < 2 && s < n_tiles; s++) fill(stages + s * 16384, A + s * "
    "8192, B + s * 8192, full + s);\n"
    "  for (int k = 0; k < n_tiles; k++) { int s = k & 1; u32 a = at(stages + s * 16384);\n"
    "    wait(at(full + s), k >> 1 & 1);\n"
    "    asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\");\n"
    "    #pragma unroll\n"
    "    for (int q = 0; q < 4; q++)\n"
    "      asm volatile(\"wgmma.mma_async.sync.aligned.\" FORM \" \" SUMS \", %32, %33, 1, 1, 1\" "
    "TRANSPOSES \";\" : S16(0), S16(16) : \"l\"(describe(a + q * 32)), \"l\"(describe(a + 8192 + q "
    "* 32)));\n"
    "    asm volatile(\"wgmma.commit_group.sync.aligned;\" ::: \"memory\");\n"
    "    asm volatile(\"wgmma.wait_group.sync.aligned 0;\" ::: \"memory\");\n"
    "    __syncthreads();\n"
    "    if (t == 0 && k + 2 < n_tiles) fill(stages + s * 16384, A + (k + 2) * 8192, B + (k + 2) * "
    "8192, full + s); }\n"
    "  float *c = C + ((t >> 5) * 16 + (t >> 2 & 7)) * 64 + (t & 3) * 2;\n"
    "  for (int j = 0; j < 8; j++, c += 8) { c[0] = d[j * 4]; c[1] = d[j * 4 + 1]; c[8 * 64] = d[j "
    "* 4 + 2]; c[8 * 64 + 1] = d[j * 4 + 3]; }\n"
    "}\n";

typedef struct product_params {
    const void *a, *b;
    void *c;
    int32_t n_tiles;
} product_params;

static void fill_tiles(number_format format, uint32_t seed, uint8_t *tiles) {
    const uint32_t element_bytes = format >= FORMAT_E4M3 ? 1 : 2, per_tile = 128 / element_bytes;
    for (uint32_t row = 0; row < TILE_ROWS; row++)
        for (uint32_t k = 0; k < N_TILES * per_tile; k++) {
            const uint32_t at = k % per_tile * element_bytes;
            put_number(
                format, tiles + k / per_tile * TILE_BYTES + row * 128 + (at ^ (row % 8) * 16),
                number_at(seed, row, k));
        }
}

static void check_product(const char *defines, number_format of_a, number_format of_b) {
    static _Alignas(16) uint8_t a[N_TILES * TILE_BYTES], b[N_TILES * TILE_BYTES];
    static float c[64 * 64];
    fill_tiles(of_a, 1, a);
    fill_tiles(of_b, 2, b);
    ptx_module *module = compile(defines, product_source, "sm_90a");
    ptx_memory *memory = ptx_memory_create();
    ptx_memory_add(memory, a, sizeof a, "a");
    ptx_memory_add(memory, b, sizeof b, "b");
    ptx_memory_add(memory, c, sizeof c, "c");
    const product_params params = {a, b, c, N_TILES};
    const ptx_shape shape = {{1, 1, 1}, {128, 1, 1}, 4 * TILE_BYTES};
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(module, "product", &function);
    if (status == NULL)
        status = ptx_launch(
            function, &shape, &params, offsetof(product_params, n_tiles) + sizeof params.n_tiles,
            memory, NULL);
    if (status != NULL) fail_msg("%s: %s", defines, mlcc_status_message(status));
    const uint32_t n_k = N_TILES * (of_a >= FORMAT_E4M3 ? 128 : 64);
    for (uint32_t m = 0; m < 64; m++)
        for (uint32_t n = 0; n < 64; n++) {
            float sum = 0;
            for (uint32_t k = 0; k < n_k; k++) sum += number_at(1, m, k) * number_at(2, n, k);
            if (c[m * 64 + n] != sum)
                fail_msg(
                    "%s: row %u, column %u: %g, expected %g", defines, m, n, (double)c[m * 64 + n],
                    (double)sum);
        }
    ptx_memory_free(memory);
    ptx_module_free(module);
}

static void test_wgmma(void **state) {
    (void)state;
    library = ptx_nvrtc_open();
#define HALF_FORM(type) \
    "#define FORM \"m64n64k16.f32." type "." type "\"\n#define TRANSPOSES \", 0, 0\"\n"
#define BYTE_FORM(a, b) "#define FORM \"m64n64k32.f32." a "." b "\"\n#define TRANSPOSES \"\"\n"
    check_product(HALF_FORM("f16"), FORMAT_F16, FORMAT_F16);
    check_product(HALF_FORM("bf16"), FORMAT_BF16, FORMAT_BF16);
    check_product(BYTE_FORM("e4m3", "e4m3"), FORMAT_E4M3, FORMAT_E4M3);
    check_product(BYTE_FORM("e4m3", "e5m2"), FORMAT_E4M3, FORMAT_E5M2);
    nvrtc_close(library);
}

// ---- wgmma with A in registers, one group ahead --------------------------------------------------------------------------------------------------

#define N_STEPS 6

// C[64][32] = -A' B[32][k]^T: A' from global memory, each step's registers changed on the way; B without swizzle.
static const char streams_source[] =
    "typedef unsigned u32; typedef unsigned long long u64; typedef unsigned char u8;\n"
    "static __device__ u32 at(const void *p) { return (u32)__cvta_generic_to_shared(p); }\n"
    "#define S4(i) \"+f\"(d[i]), \"+f\"(d[i + 1]), \"+f\"(d[i + 2]), \"+f\"(d[i + 3])\n"
    "extern \"C\" __global__ void __launch_bounds__(128, 1) streams(const u32 *A, const u8 *B, "
    "float *C, int n_steps) {\n"
    "  extern __shared__ __align__(1024) u8 sm[];\n"
    "  int t = threadIdx.x; float d[16]; u32 a[2][4];\n"
    "  for (int i = 0; i < 16; i++) d[i] = 0;\n"
    "  for (int i = t; i < n_steps * 64; i += 128) *(uint4 *)(sm + i * 16) = ((const uint4 "
    "*)B)[i];\n"
    "  asm volatile(\"fence.proxy.async.shared::cta;\" ::: \"memory\"); __syncthreads();\n"
    "  UNROLL\n"
    "  for (int s = 0; s < n_steps; s++) { u32 *r = a[s & 1];\n"
    "    for (int i = 0; i < 4; i++) r[i] = A[(s * 128 + t) * 4 + i] ^ 0x80008000u;\n"
    "    u64 b = (u64)(at(sm + s * 1024) >> 4) | (u64)(512 >> 4) << 16 | (u64)(128 >> 4) << 32;\n"
    "    asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\");\n"
    "    asm volatile(\"wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 "
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, %20, 1, -1, 1, "
    "0;\"\n"
    "      : S4(0), S4(4), S4(8), S4(12) : \"r\"(r[0]), \"r\"(r[1]), \"r\"(r[2]), \"r\"(r[3]), "
    "\"l\"(b) : \"memory\");\n"
    "    asm volatile(\"wgmma.commit_group.sync.aligned;\" ::: \"memory\");\n"
    "    asm volatile(\"wgmma.wait_group.sync.aligned \" LEFT \";\" ::: \"memory\"); }\n"
    "  asm volatile(\"wgmma.wait_group.sync.aligned 0;\" ::: \"memory\");\n"
    "  for (int i = 0; i < 16; i++) asm volatile(\"\" : \"+f\"(d[i]) :: \"memory\");\n"
    "  float *c = C + ((t >> 5) * 16 + (t >> 2 & 7)) * 32 + (t & 3) * 2;\n"
    "  for (int j = 0; j < 4; j++, c += 8) { c[0] = d[j * 4]; c[1] = d[j * 4 + 1]; c[8 * 32] = d[j "
    "* 4 + 2]; c[8 * 32 + 1] = d[j * 4 + 3]; }\n"
    "}\n";

static mlcc_status *run_streams(const char *defines, uint32_t *n_wrong) {
    static _Alignas(16) uint8_t a[N_STEPS * 2048], b[N_STEPS * 1024];
    static float c[64 * 32];
    for (uint32_t step = 0; step < N_STEPS; step++) {
        for (uint32_t thread = 0; thread < 128; thread++)
            for (uint32_t i = 0; i < 8; i++) {
                const uint32_t m = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
                const uint32_t k = step * 16 + 2 * (thread % 4) + i % 2 + 8 * (i / 4);
                // The kernel turns the sign, the instruction turns it back.
                put_number(FORMAT_F16, a + step * 2048 + thread * 16 + 2 * i, number_at(1, m, k));
            }
        for (uint32_t n = 0; n < 32; n++)
            for (uint32_t k = 0; k < 16; k++)
                put_number(
                    FORMAT_F16, b + step * 1024 + k / 8 * 512 + n * 16 + k % 8 * 2,
                    number_at(2, n, step * 16 + k));
    }
    ptx_module *module = compile(defines, streams_source, "sm_90a");
    ptx_memory *memory = ptx_memory_create();
    ptx_memory_add(memory, a, sizeof a, "a");
    ptx_memory_add(memory, b, sizeof b, "b");
    ptx_memory_add(memory, c, sizeof c, "c");
    const product_params params = {a, b, c, N_STEPS};
    const ptx_shape shape = {{1, 1, 1}, {128, 1, 1}, N_STEPS * 1024};
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(module, "streams", &function);
    if (status == NULL)
        status = ptx_launch(
            function, &shape, &params, offsetof(product_params, n_tiles) + sizeof params.n_tiles,
            memory, NULL);
    *n_wrong = 0;
    for (uint32_t m = 0; m < 64; m++)
        for (uint32_t n = 0; n < 32; n++) {
            float sum = 0;
            for (uint32_t k = 0; k < N_STEPS * 16; k++)
                sum += number_at(1, m, k) * number_at(2, n, k);
            *n_wrong += c[m * 32 + n] != sum;
        }
    ptx_memory_free(memory);
    ptx_module_free(module);
    return status;
}

static void test_streams(void **state) {
    (void)state;
    uint32_t n_wrong = 0;
    library = ptx_nvrtc_open();
    mlcc_status *status =
        run_streams("#define LEFT \"1\"\n#define UNROLL _Pragma(\"unroll 2\")\n", &n_wrong);
    if (status != NULL) fail_msg("%s", mlcc_status_message(status));
    assert_int_equal(n_wrong, 0);
    // Not unrolled, the registers of the step before are written while they are in use.
    status = run_streams("#define LEFT \"1\"\n#define UNROLL _Pragma(\"unroll 1\")\n", &n_wrong);
    assert_non_null(status);
    assert_non_null(strstr(mlcc_status_message(status), "touches a register of the wgmma"));
    mlcc_status_free(status);
    status = run_streams("#define LEFT \"0\"\n#define UNROLL _Pragma(\"unroll 1\")\n", &n_wrong);
    assert_null(status);
    assert_int_equal(n_wrong, 0);
    nvrtc_close(library);
}

// ---- mma.sync of bytes ---------------------------------------------------------------------------------------------------------------------------

// D[16][8] = A[16][k] B[8][k]^T, and two of the sums through e4m3 and back.
static const char bytes_source[] =
    "typedef unsigned u32;\n"
    "extern \"C\" __global__ void bytes(const u32 *A, const u32 *B, float *D, int n_steps) {\n"
    "  float d[4] = {0, 0, 0, 0}; int t = threadIdx.x;\n"
    "  for (int s = 0; s < n_steps; s++) { const u32 *a = A + (t >> 2) * n_steps * 8 + s * 8 + (t "
    "& 3), *b = B + (t >> 2) * n_steps * 8 + s * 8 + (t & 3);\n"
    "    int down = 8 * n_steps * 8;\n"
    "    asm volatile(\"mma.sync.aligned.m16n8k32.row.col.f32.\" TYPES \".f32 {%0,%1,%2,%3}, "
    "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\"\n"
    "      : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3]) : \"r\"(a[0]), \"r\"(a[down]), "
    "\"r\"(a[4]), \"r\"(a[down + 4]), \"r\"(b[0]), \"r\"(b[4])); }\n"
    "  float *o = D + (t >> 2) * 8 + (t & 3) * 2; o[0] = d[0]; o[1] = d[1]; o[64] = d[2]; o[65] = "
    "d[3];\n"
    "  unsigned short pair; u32 halves;\n"
    "  asm volatile(\"cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;\" : \"=h\"(pair) : \"f\"(d[1] * "
    "100.0f), \"f\"(-d[0] / 16.0f));\n"
    "  asm volatile(\"cvt.rn.f16x2.e4m3x2 %0, %1;\" : \"=r\"(halves) : \"h\"(pair));\n"
    "  ((u32 *)D)[128 + t] = halves;\n"
    "}\n";

static void check_bytes(
    const char *defines, const char *arch, number_format of_a, number_format of_b) {
    static _Alignas(16) uint8_t a[16 * 96], b[8 * 96];
    static float d[128 + 32];
    for (uint32_t row = 0; row < 16; row++)
        for (uint32_t k = 0; k < 96; k++) {
            put_number(of_a, a + row * 96 + k, number_at(1, row, k));
            if (row < 8) put_number(of_b, b + row * 96 + k, number_at(2, row, k));
        }
    ptx_module *module = compile(defines, bytes_source, arch);
    ptx_memory *memory = ptx_memory_create();
    ptx_memory_add(memory, a, sizeof a, "a");
    ptx_memory_add(memory, b, sizeof b, "b");
    ptx_memory_add(memory, d, sizeof d, "d");
    const product_params params = {a, b, d, 3};
    const ptx_shape shape = {{1, 1, 1}, {32, 1, 1}, 0};
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(module, "bytes", &function);
    if (status == NULL)
        status = ptx_launch(
            function, &shape, &params, offsetof(product_params, n_tiles) + sizeof params.n_tiles,
            memory, NULL);
    if (status != NULL) fail_msg("%s: %s", arch, mlcc_status_message(status));
    for (uint32_t m = 0; m < 16; m++)
        for (uint32_t n = 0; n < 8; n++) {
            float sum = 0;
            for (uint32_t k = 0; k < 96; k++) sum += number_at(1, m, k) * number_at(2, n, k);
            if (d[m * 8 + n] != sum)
                fail_msg(
                    "%s %s: row %u, column %u: %g, expected %g", arch, defines, m, n,
                    (double)d[m * 8 + n], (double)sum);
        }
    for (uint32_t lane = 0; lane < 32; lane++) {
        const float *sums = d + lane / 4 * 8 + lane % 4 * 2;
        uint32_t halves;
        memcpy(&halves, &d[128 + lane], sizeof halves);
        const float high = fminf(fmaxf(sums[1] * 100, -448.0f), 448.0f);
        assert_true(
            ptx_from_f16((uint16_t)(halves >> 16)) == ir_f8e4m3_to_f32(ir_f32_to_f8e4m3(high)));
        assert_true(
            ptx_from_f16((uint16_t)halves) == ir_f8e4m3_to_f32(ir_f32_to_f8e4m3(-sums[0] / 16)));
    }
    ptx_memory_free(memory);
    ptx_module_free(module);
}

static void test_bytes(void **state) {
    (void)state;
    static const char *const archs[] = {"sm_89", "sm_90a"};
    library = ptx_nvrtc_open();
    for (int i = 0; i < 2; i++) {
        check_bytes("#define TYPES \"e4m3.e4m3\"\n", archs[i], FORMAT_E4M3, FORMAT_E4M3);
        check_bytes("#define TYPES \"e4m3.e5m2\"\n", archs[i], FORMAT_E4M3, FORMAT_E5M2);
    }
    nvrtc_close(library);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wgmma),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
