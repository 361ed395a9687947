// The device layer on the host: every operation against what the PTX ISA says, and every mistake that the shim is there to find.
#include "ir/eval.h"
#include "runtime/base/str.h"
#include "tests/support/cuda_shim/cuda_shim_unit.h"
#include "tests/support/random_module.h"
#include "tests/support/test_folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    mlcc_status_free(status);
    fail();
}

// The layer, an environment of two inputs and a result, math.h, and kernels.
static const cuda_shim_unit *build(
    test_folder *f, const char *name, const char *kernels, const char *const *entries) {
    mlcc_str text = {0};
    mlcc_str_puts(
        &text,
        "#include \"codegen/cuda/kernels/device.h\"\n#include \"codegen/cuda/kernels/math.h\"\n"
        "typedef struct kernel_env { const void *in[2]; void *out[1]; } kernel_env;\n");
    mlcc_str_puts(&text, kernels);
    const cuda_shim_unit *unit = NULL;
    assert_ok(cuda_shim_unit_build(name, mlcc_str_text(&text), entries, f->path, &unit));
    mlcc_str_free(&text);
    return unit;
}

typedef struct operands {
    const void *in[2];
    void *out[1];
} operands;

static cuda_shim_launch launch_of(
    const cuda_shim_unit *unit, const char *entry, const operands *words, int32_t n_threads,
    int64_t shared_bytes) {
    cuda_shim_launch launch = {
        .entry = cuda_shim_unit_entry(unit, entry),
        .words = words,
        .grid = {1, 1, 1},
        .n_threads = n_threads,
        .shared_bytes = shared_bytes,
    };
    assert_non_null(launch.entry);
    return launch;
}

static void run(const cuda_shim_launch *launch) {
    char message[256] = "";
    if (!cuda_shim_run(launch, message)) fail_msg("%s", message);
}

// ---- what works ---------------------------------------------------------------------------------------

static const char *const collective_entries[] = {"places", "warps", NULL};
static const char collective_kernels[] =
    "KERNEL void places(const kernel_env env) {\n"
    "    SHARED(bytes);\n"
    "    SHARED_ARRAY(u32, sums, 4);\n"
    "    u32 *all = (u32 *)bytes;\n"
    "    const i32 block = (block_index_z() * block_count_y() + block_index_y()) * block_count_x() "
    "+ block_index_x();\n"
    "    all[thread_index()] = all[thread_index()] == 0xffffffffu ? (u32)thread_index() : 0;\n"
    "    if (lane_index() == 0) sums[warp_index()] = 0;\n"
    "    block_sync();\n"
    "    for (i32 i = 0; i < block_threads(); i += 4) atomic_add_u32(&sums[warp_index()], all[(i + "
    "thread_index()) % block_threads()]);\n"
    "    block_sync();\n"
    "    ((u32 *)env.out[0])[block * block_threads() + thread_index()] = sums[warp_index()] + 1000 "
    "* block_index_z();\n"
    "}\n"
    "KERNEL void warps(const kernel_env env) {\n"
    "    const float value = ((const float *)env.in[0])[thread_index()];\n"
    "    float *out = (float *)env.out[0] + 6 * thread_index();\n"
    "    out[0] = warp_sum_f32(value);\n"
    "    out[1] = warp_max_f32(value);\n"
    "    out[2] = shuffle_f32(value, 5);\n"
    "    out[3] = shuffle_xor_f32(value, 3);\n"
    "    out[4] = (float)(ballot(value > 0.0f) >> 16);\n"
    "    out[5] = (float)warp_max_u32((u32)thread_index());\n"
    "}\n";

static void test_collectives(void **state) {
    test_folder *f = *state;
    const cuda_shim_unit *unit = build(f, "collective", collective_kernels, collective_entries);
    for (uint64_t seed = 0; seed < 3; seed++) {
        uint32_t places[12 * 128];
        memset(places, 0, sizeof places);
        const operands first = {.out = {places}};
        cuda_shim_launch launch = launch_of(unit, "places", &first, 128, 128 * 4);
        launch.grid[0] = 3;
        launch.grid[1] = launch.grid[2] = 2;
        launch.seed = seed;
        run(&launch);
        for (int i = 0; i < 12 * 128; i++) {
            // A quarter of all threads' numbers from every lane; 32 lanes together see each of them eight times.
            assert_int_equal(places[i], 8 * (127 * 128 / 2) + 1000 * (i / 128 / 6));
        }
        float values[64], results[64][6];
        random_state random = {seed};
        for (int i = 0; i < 64; i++) values[i] = (float)(int)random_below(&random, 100) - 50.0f;
        const operands second = {.in = {values}, .out = {results}};
        launch = launch_of(unit, "warps", &second, 64, 0);
        launch.seed = seed;
        run(&launch);
        for (int i = 0; i < 64; i++) {
            const float *warp = values + i / 32 * 32;
            float sum = 0, largest = warp[0];
            uint32_t bits = 0;
            for (int lane = 0; lane < 32; lane++) {
                sum += warp[lane];
                largest = fmaxf(largest, warp[lane]);
                bits |= (uint32_t)(warp[lane] > 0) << lane;
            }
            const float expected[] = {sum,
                                      largest,
                                      warp[5],
                                      warp[i % 32 ^ 3],
                                      (float)(bits >> 16),
                                      (float)(i / 32 * 32 + 31)};
            for (int k = 0; k < 6; k++) assert_float_equal(results[i][k], expected[k], 0);
        }
    }
}

static const char *const matrix_entries[] = {"product_f16", "product_bf16", "loads", NULL};
static const char matrix_kernels[] =
    // a [16][16] by rows, b [8][16] by columns, both through ldmatrix; d [16][8].
    "#define PRODUCT(name, mma)                                                        \\\n"
    "    KERNEL void name(const kernel_env env) {                                      \\\n"
    "        SHARED(bytes);                                                            \\\n"
    "        const i32 lane = lane_index(), g = lane / 4, t = lane % 4;                \\\n"
    "        copy_async16(bytes + lane * 16, (const u8 *)env.in[0] + lane * 16, true); \\\n"
    "        copy_async16(bytes + 512 + lane % 16 * 16, (const u8 *)env.in[1] + lane % 16 * 16, "
    "true); \\\n"
    "        copy_async_commit();                                                      \\\n"
    "        copy_async_wait(0);                                                       \\\n"
    "        warp_sync();                                                              \\\n"
    "        u32 a[4], b[4];                                                           \\\n"
    "        ldmatrix_x4(a, bytes + lane % 16 * 32 + lane / 16 * 16);                  \\\n"
    "        ldmatrix_x4(b, bytes + 512 + lane % 8 * 32 + lane / 8 % 2 * 16);          \\\n"
    "        float d[4] = {1.0f, 2.0f, 3.0f, 4.0f};                                    \\\n"
    "        mma(d, a, b);                                                             \\\n"
    "        float *out = (float *)env.out[0];                                         \\\n"
    "        out[g * 8 + 2 * t] = d[0] - 1.0f;                                         \\\n"
    "        out[g * 8 + 2 * t + 1] = d[1] - 2.0f;                                     \\\n"
    "        out[(g + 8) * 8 + 2 * t] = d[2] - 3.0f;                                   \\\n"
    "        out[(g + 8) * 8 + 2 * t + 1] = d[3] - 4.0f;                               \\\n"
    "    }\n"
    "PRODUCT(product_f16, mma_f16_16x8x16)\n"
    "PRODUCT(product_bf16, mma_bf16_16x8x16)\n"
    "KERNEL void loads(const kernel_env env) {\n"
    "    SHARED(bytes);\n"
    "    const i32 lane = lane_index();\n"
    "    store_shared_u32x4(bytes + lane * 16, load_global_u32x4((const u8 *)env.in[0] + lane * "
    "16));\n"
    "    warp_sync();\n"
    "    u32 r[4];\n"
    "    ldmatrix_x4_trans(r, bytes + lane * 16);\n"
    "    for (i32 i = 0; i < 4; i++) ((u32 *)env.out[0])[lane * 4 + i] = r[i];\n"
    "}\n";

static void test_products(const cuda_shim_unit *unit, ir_dtype dtype, const char *entry) {
    _Alignas(16) uint16_t a[16][16], b[8][16];
    float result[16][8], a_values[16][16], b_values[8][16];
    random_state random = {(uint64_t)dtype};
    for (int i = 0; i < 24 * 16; i++) {
        uint16_t *code = i < 256 ? &a[i / 16][i % 16] : &b[i / 16 - 16][i % 16];
        float *value = i < 256 ? &a_values[i / 16][i % 16] : &b_values[i / 16 - 16][i % 16];
        const float any = (float)random_unit(&random);
        *code = dtype == IR_F16 ? ir_f32_to_f16(any) : ir_f32_to_bf16(any);
        *value = dtype == IR_F16 ? ir_f16_to_f32(*code) : ir_bf16_to_f32(*code);
    }
    const operands words = {.in = {a, b}, .out = {result}};
    const cuda_shim_launch launch = launch_of(unit, entry, &words, 32, 768);
    run(&launch);
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 8; column++) {
            double sum = 0;
            for (int k = 0; k < 16; k++)
                sum += (double)a_values[row][k] * (double)b_values[column][k];
            assert_float_equal(result[row][column], sum, 2e-6);
        }
    }
}

static void test_matrices(void **state) {
    test_folder *f = *state;
    const cuda_shim_unit *unit = build(f, "matrix", matrix_kernels, matrix_entries);
    test_products(unit, IR_F16, "product_f16");
    test_products(unit, IR_BF16, "product_bf16");
    _Alignas(16) uint16_t elements[4][8][8];
    for (int i = 0; i < 256; i++) ((uint16_t *)elements)[i] = (uint16_t)i;
    uint32_t loaded[32][4];
    const operands words = {.in = {elements}, .out = {loaded}};
    const cuda_shim_launch launch = launch_of(unit, "loads", &words, 32, 512);
    run(&launch);
    for (int lane = 0; lane < 32; lane++) {
        for (int m = 0; m < 4; m++) {
            const int row = lane % 4 * 2, column = lane / 4;
            assert_int_equal(loaded[lane][m] & 0xffff, elements[m][row][column]);
            assert_int_equal(loaded[lane][m] >> 16, elements[m][row + 1][column]);
        }
    }
}

// Two groups in flight; the second and the third slot are never both complete.
static const char *const copy_entries[] = {"pipeline", NULL};
static const char copy_kernels[] = "KERNEL void pipeline(const kernel_env env) {\n"
                                   "    SHARED(bytes);\n"
                                   "    const i32 i = thread_index();\n"
                                   "    float *out = (float *)env.out[0] + 4 * i;\n"
                                   "    for (i32 stage = 0; stage < 3; stage++) {\n"
                                   "        copy_async16(bytes + (stage * 32 + i) * 16, (const u8 "
                                   "*)env.in[0] + i * 16, stage != 1 || i != 7);\n"
                                   "        copy_async_commit();\n"
                                   "    }\n"
                                   "    const float *first = (const float *)(bytes + i * 16), "
                                   "*second = first + 128, *third = second + 128;\n"
                                   "    out[0] = *first;\n"
                                   "    copy_async_wait(1);\n"
                                   "    out[1] = *second;\n"
                                   "    out[2] = *third;\n"
                                   "    copy_async_wait(0);\n"
                                   "    out[3] = *third;\n"
                                   "}\n";

static void test_copies(void **state) {
    test_folder *f = *state;
    const cuda_shim_unit *unit = build(f, "copy", copy_kernels, copy_entries);
    _Alignas(16) float source[128];
    float results[32][4];
    for (int i = 0; i < 128; i++) source[i] = (float)i;
    const operands words = {.in = {source}, .out = {results}};
    const cuda_shim_launch launch = launch_of(unit, "pipeline", &words, 32, 3 * 512);
    run(&launch);
    for (int i = 0; i < 32; i++) {
        assert_true(isnan(results[i][0])); // nothing has been waited for
        assert_float_equal(results[i][1], i == 7 ? 0.0f : source[4 * i], 0);
        assert_true(isnan(results[i][2]));
        assert_float_equal(results[i][3], source[4 * i], 0);
    }
}

// ---- numbers ------------------------------------------------------------------------------------------

static const char *const number_entries[] = {"halves", "bits", NULL};
static const char number_kernels[] =
    "KERNEL void halves(const kernel_env env) {\n"
    "    const u32 *in = (const u32 *)env.in[0] + 3 * thread_index();\n"
    "    u32 *out = (u32 *)env.out[0] + 5 * thread_index();\n"
    "    out[0] = half2_add(in[0], in[1]);\n"
    "    out[1] = half2_sub(in[0], in[1]);\n"
    "    out[2] = half2_mul(in[0], in[1]);\n"
    "    out[3] = half2_fma(in[0], in[1], in[2]);\n"
    "    out[4] = pack_f16x2(unpack_f16x2(in[0]).x, unpack_f16x2(in[0]).y);\n"
    "}\n"
    "KERNEL void bits(const kernel_env env) {\n"
    "    u32 *out = (u32 *)env.out[0];\n"
    "    if (thread_index() != 0) return;\n"
    "    out[0] = permute_bytes(0x33221100u, 0x77665544u, 0x7531);\n"
    "    out[1] = permute_bytes(0x332211f0u, 0x77665544u, 0x0985);\n"
    "    out[2] = and_or(0x12345678u, 0x000f000fu, 0x64006400u);\n"
    "    out[3] = pack_bf16x2(1.0f, -2.0f);\n"
    "    out[4] = f32_to_bf16(bits_float(0x3f808000u)) | (u32)f32_to_bf16(bits_float(0x3f818000u)) "
    "<< 16;\n"
    "    out[5] = float_bits(min_f32(NAN_F32, 1.0f));\n"
    "    out[6] = float_bits(exp2_f32(-130.0f));\n"
    "    out[7] = bf162_fma(0x3f803f80u, 0x40004000u, 0x3f800000u);\n"
    "}\n";

static void test_numbers(void **state) {
    test_folder *f = *state;
    const cuda_shim_unit *unit = build(f, "number", number_kernels, number_entries);
    uint32_t in[1024][3], out[1024][5];
    random_state random = {3};
    for (int i = 0; i < 1024 * 3; i++) {
        // Exponents of two halves near each other, so that sums round.
        const uint32_t any = (uint32_t)random_u64(&random);
        in[i / 3][i % 3] = (any & 0x8fff8fffu) | 0x30003000u;
    }
    const operands words = {.in = {in}, .out = {out}};
    cuda_shim_launch launch = launch_of(unit, "halves", &words, 1024, 0);
    run(&launch);
    for (int i = 0; i < 1024; i++) {
        for (int half = 0; half < 2; half++) {
            double v[3];
            for (int k = 0; k < 3; k++)
                v[k] = (double)ir_f16_to_f32((uint16_t)(in[i][k] >> (16 * half)));
            const double exact[] = {
                v[0] + v[1], v[0] - v[1], v[0] * v[1], v[0] * v[1] + v[2], v[0]};
            for (int k = 0; k < 5; k++) {
                const double got = (double)ir_f16_to_f32((uint16_t)(out[i][k] >> (16 * half)));
                // The nearest half: within half a unit of its last place.
                int exponent = 0;
                frexp(got, &exponent);
                assert_true(
                    fabs(got - exact[k]) <= ldexp(0.5, (exponent < -13 ? -13 : exponent) - 11));
            }
            assert_int_equal(out[i][4], in[i][0]);
        }
    }
    uint32_t answers[8];
    const operands bits = {.out = {answers}};
    launch = launch_of(unit, "bits", &bits, 32, 0);
    run(&launch);
    const uint32_t expected[] = {0x77553311u, 0xf000ff55u, 0x64046408u, 0xc0003f80u,
                                 0x3f823f80u, 0x3f800000u, 0u,          0x40404000u};
    for (int i = 0; i < 8; i++) assert_int_equal(answers[i], expected[i]);
}

// ---- math.h -------------------------------------------------------------------------------------------

static const char *const math_entries[] = {"functions", NULL};
static const char math_kernels[] =
    "KERNEL void functions(const kernel_env env) {\n"
    "    const i32 n = *(const i32 *)env.in[1];\n"
    "    for (i32 i = thread_index(); i < n; i += block_threads()) {\n"
    "        const float x = ((const float *)env.in[0])[i];\n"
    "        float *out = (float *)env.out[0] + 8 * i;\n"
    "        out[0] = kernel_exp(x);\n"
    "        out[1] = kernel_sigmoid(x);\n"
    "        out[2] = kernel_silu(x);\n"
    "        out[3] = kernel_tanh(x);\n"
    "        out[4] = kernel_gelu(x);\n"
    "        out[5] = kernel_gelu_tanh(x);\n"
    "        if (!(abs_f32(x) < 100.0f)) continue;\n"
    "        double sine, cosine;\n"
    "        kernel_sincos((double)x * 1e5, &sine, &cosine);\n"
    "        out[6] = (float)sine;\n"
    "        out[7] = (float)cosine;\n"
    "    }\n"
    "}\n";

static void test_math(void **state) {
    test_folder *f = *state;
    const cuda_shim_unit *unit = build(f, "math", math_kernels, math_entries);
    enum { N = 40001 };
    float *x = mlcc_arena_alloc_array(f->keep, N, sizeof *x);
    float(*out)[8] = mlcc_arena_alloc_array(f->keep, N, sizeof *out);
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) * 0.0043f; // -86 … 86
    const int32_t n = N;
    const operands words = {.in = {x, &n}, .out = {out}};
    const cuda_shim_launch launch = launch_of(unit, "functions", &words, 32, 0);
    run(&launch);
    // Relative errors; of gelu, whose tails cancel, relative to 1 below -5.
    static const double allowed[] = {4e-7, 4e-7, 4e-7, 4e-7, 6e-7, 4e-6, 1.2e-7, 1.2e-7};
    double worst[8] = {0};
    for (int i = 0; i < N; i++) {
        const double v = (double)x[i], u = 0.79788456080286535588 * (v + 0.044715 * v * v * v);
        const double exact[] = {
            exp(v),
            1 / (1 + exp(-v)),
            v / (1 + exp(-v)),
            tanh(v),
            0.5 * v * erfc(-v * 0.70710678118654752440),
            v / (1 + exp(-2 * u)),
            sin(v * 1e5),
            cos(v * 1e5)};
        for (int k = 0; k < 8; k++) {
            const bool is_tail = (k == 4 || k == 5) && v < -5;
            const double scale = k > 5 || is_tail ? 1.0 : fmax(fabs(exact[k]), 1e-37);
            worst[k] = fmax(worst[k], fabs((double)out[i][k] - exact[k]) / scale);
        }
    }
    for (int k = 0; k < 8; k++) {
        if (!(worst[k] <= allowed[k]))
            fail_msg("function %d: error %g, allowed %g", k, worst[k], allowed[k]);
    }
    float special[] = {NAN, INFINITY, -INFINITY};
    const int32_t n_special = 3;
    const operands more = {.in = {special, &n_special}, .out = {out}};
    const cuda_shim_launch again = launch_of(unit, "functions", &more, 32, 0);
    run(&again);
    for (int k = 0; k < 6; k++) assert_true(isnan(out[0][k]));
    const float at_infinity[] = {INFINITY, 1, INFINITY, 1, INFINITY, INFINITY};
    for (int k = 0; k < 6; k++) assert_true(out[1][k] == at_infinity[k]);
    assert_true(out[2][0] == 0.0f && out[2][1] == 0.0f && out[2][3] == -1.0f);
}

// ---- mistakes -----------------------------------------------------------------------------------------

static const char *const wrong_entries[] = {"parted", "mixed", "crooked", "overrun", "far", NULL};
static const char wrong_kernels[] =
    "KERNEL void parted(const kernel_env env) {\n"
    "    if (thread_index() == 37) block_sync();\n"
    "    else shuffle_u32(1, 0);\n"
    "}\n"
    "KERNEL void mixed(const kernel_env env) {\n"
    "    if (lane_index() < 3) ballot(true);\n"
    "    else shuffle_u32(1, 0);\n"
    "}\n"
    "KERNEL void crooked(const kernel_env env) {\n"
    "    SHARED(bytes);\n"
    "    if (thread_index() == 5) store_shared_u32x4(bytes + 8, load_global_u32x4(env.in[0]));\n"
    "}\n"
    "KERNEL void overrun(const kernel_env env) {\n"
    "    SHARED(bytes);\n"
    "    bytes[100 + thread_index()] = 1;\n"
    "}\n"
    "KERNEL void far(const kernel_env env) { shuffle_u32(1, 32); }\n";

static void assert_wrong(
    const cuda_shim_unit *unit, const char *entry, const operands *words,
    const char *const *parts) {
    for (uint64_t seed = 0; seed < 2; seed++) {
        cuda_shim_launch launch = launch_of(unit, entry, words, 64, 130);
        launch.grid[1] = 2;
        launch.seed = seed;
        char message[256] = "";
        assert_false(cuda_shim_run(&launch, message));
        for (const char *const *part = parts; *part != NULL; part++) {
            if (strstr(message, *part) == NULL) fail_msg("'%s' is not in '%s'", *part, message);
        }
    }
}

static void test_mistakes(void **state) {
    test_folder *f = *state;
    const cuda_shim_unit *unit = build(f, "wrong", wrong_kernels, wrong_entries);
    _Alignas(16) const uint32_t source[4] = {0};
    const operands words = {.in = {source}};
    assert_wrong(
        unit, "parted", &words,
        (const char *[]){"block (0, 0, 0)", "the warp has parted",
                         "thread 37 (lane 5) waits in block_sync", "a shuffle", NULL});
    assert_wrong(
        unit, "mixed", &words, (const char *[]){"block (0, 0, 0)", "a shuffle", "ballot", NULL});
    assert_wrong(
        unit, "crooked", &words,
        (const char *[]){"thread 5 (lane 5)", "store_shared_u32x4", "no multiple of 16", NULL});
    assert_wrong(unit, "far", &words, (const char *[]){"shuffles from lane 32", NULL});
    // The address sanitizer would end the test here: that it does is its own business.
#if !CUDA_SHIM_HAS_ASAN
    assert_wrong(unit, "overrun", &words, (const char *[]){"behind its shared memory", NULL});
#endif
}

int main(void) {
    if (!cuda_shim_can_compile()) {
        print_message("no C compiler: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_collectives, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_matrices, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_copies, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_numbers, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_math, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_mistakes, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
