// The kernels that work on rows, run under cuda_shim on odd shapes and every activation dtype, against ir/eval.
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"
#include "tests/support/row_modules.h"

#include <math.h>

static const char *const float_names[] = {"f32", "f16", "bf16"};
static const ir_dtype float_dtypes[] = {IR_F32, IR_F16, IR_BF16};
static const int64_t row_counts[] = {1, 2, 7};
enum { N_ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

static ir_tensor *random_ids(int64_t n, int64_t below, uint64_t seed, mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &n);
    random_state random = {seed};
    for (int64_t i = 0; i < n; i++) tensor->i32[i] = (int32_t)random_below(&random, below);
    return tensor;
}

static void test_elementwise(void **state) {
    test_folder *f = *state;
    static const int columns[] = {1, 31, 512, 1102};
    for (int c = 0; c < 4; c++) {
        char text[2048];
        const char *name = float_names[c % 3];
        const int n = columns[c];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%v: %s[%d]) {\n"
            "  %%0 = slice %%x {begin = 0, end = %d} : %s[n_tokens, %d]\n"
            "  %%1 = slice %%x {begin = %d, end = %d} : %s[n_tokens, %d]\n"
            "  %%2 = silu %%0 : %s[n_tokens, %d]\n  %%3 = mul %%2, %%1 : %s[n_tokens, %d]\n"
            "  %%4 = add %%3, %%v : %s[n_tokens, %d]\n"
            "  %%5 = scale %%v {factor = 3.0} : %s[%d]\n  return %%4, %%5\n}\n",
            name, 2 * n, name, n, n, name, n, n, 2 * n, name, n, name, n, name, n, name, n, name,
            n);
        cuda_subject s = cuda_subject_open(text, "elementwise__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            const int64_t vector[] = {n};
            ir_tensor *args[] = {
                random_matrix(float_dtypes[c % 3], row_counts[r], 2 * n, 2, 7, s.keep),
                random_tensor(float_dtypes[c % 3], 1, vector, 2, 8, s.keep)};
            // A value in the middle may round the other way where its exact value lies between two halves.
            cuda_subject_check(&s, args, c % 3 == 0 ? 2e-6 : c % 3 == 1 ? 4e-3 : 3e-2, 1e-6);
        }
        cuda_subject_close(&s);
    }
}

static void test_take_rows(void **state) {
    test_folder *f = *state;
    static const int columns[] = {1, 33, 1500};
    for (int c = 0; c < 3; c++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nsymbol n_logits <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%rows: i32[n_logits]) {\n"
            "  %%0 = relu %%x : %s[n_tokens, %d]\n"
            "  %%1 = clamp %%0 {min = 0.25} : %s[n_tokens, %d]\n"
            "  %%2 = clamp %%1 {max = 0.7} : %s[n_tokens, %d]\n"
            "  %%3 = take_rows %%2, %%rows : %s[n_logits, %d]\n  return %%3\n}\n",
            float_names[c], columns[c], float_names[c], columns[c], float_names[c], columns[c],
            float_names[c], columns[c], float_names[c], columns[c]);
        cuda_subject s = cuda_subject_open(text, "take_rows__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *args[] = {
                random_matrix(float_dtypes[c], row_counts[r], columns[c], 2, 5, s.keep),
                random_ids(1 + r % 4, row_counts[r], 6, s.keep)};
            cuda_subject_check(&s, args, -1, 0);
        }
        cuda_subject_close(&s);
    }
}

// A plain norm, one behind a sum that is returned as well, and rows too long for registers.
static void test_rms_norm(void **state) {
    test_folder *f = *state;
    static const int columns[] = {1, 8, 33, 172, 2050, 17000};
    for (int c = 0; c < 6; c++) {
        const ir_dtype dtype = float_dtypes[c % 3];
        const char *name = float_names[c % 3], *gain = float_names[(c + 1) % 3];
        const int n = columns[c];
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : %s[%d]\n"
            "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d]) {\n"
            "  %%0 = add %%x, %%y : %s[n_tokens, %d]\n"
            "  %%1 = rms_norm %%0, @gain.weight {eps = 1e-05} : %s[n_tokens, %d]\n"
            "  %%2 = rms_norm %%x, @gain.weight {eps = 0.1} : %s[n_tokens, %d]\n"
            "  return %%0, %%1, %%2\n}\n",
            gain, n, name, n, name, n, name, n, name, n, name, n);
        cuda_subject s = cuda_subject_open(text, "rms_norm__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            if (n > 10000 && r != 1) continue;
            ir_tensor *args[] = {
                random_matrix(dtype, row_counts[r], n, 2, 1, s.keep),
                random_matrix(dtype, row_counts[r], n, 2, 2, s.keep)};
            cuda_subject_check(&s, args, 1e-6, 4e-6);
        }
        cuda_subject_close(&s);
    }
}

// Every head of a row by itself.
static void test_rms_norm_groups(void **state) {
    test_folder *f = *state;
    static const int groups[] = {2, 34, 64, 128, 1100};
    for (int i = 0; i < 5; i++) {
        const int group = groups[i], n = 3 * group;
        const char *name = float_names[i % 3];
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : %s[%d]\n"
            "func @forward(%%x: %s[n_tokens, %d]) {\n"
            "  %%0 = rms_norm %%x, @gain.weight {group = %d} : %s[n_tokens, %d]\n"
            "  return %%0\n}\n",
            float_names[(i + 1) % 3], group, name, n, group, name, n);
        cuda_subject s = cuda_subject_open(text, "rms_norm__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *x = random_matrix(float_dtypes[i % 3], row_counts[r], n, 2, 1, s.keep);
            cuda_subject_check(&s, &x, 1e-6, 4e-6);
        }
        cuda_subject_close(&s);
    }
}

// Also rows too long for registers.
static void test_layer_norm(void **state) {
    test_folder *f = *state;
    static const int columns[] = {1, 8, 33, 172, 2050, 17001};
    for (int c = 0; c < 6; c++) {
        const ir_dtype dtype = float_dtypes[c % 3];
        const char *name = float_names[c % 3], *gain = float_names[(c + 1) % 3];
        const int n = columns[c];
        const row_module module = row_module_layer_norm(name, gain, n);
        cuda_subject s = cuda_subject_open(module.text, "layer_norm__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            if (n > 10000 && r != 1) continue;
            ir_tensor *args[] = {
                random_matrix(dtype, row_counts[r], n, 2, 1, s.keep),
                random_matrix(dtype, row_counts[r], n, 2, 2, s.keep)};
            cuda_subject_check(&s, args, 2e-5, 2e-5);
        }
        cuda_subject_close(&s);
    }
}

static void test_layer_norm_groups(void **state) {
    test_folder *f = *state;
    static const int heads[] = {2, 34, 64, 128, 1100};
    for (int i = 0; i < 5; i++) {
        const ir_dtype dtype = float_dtypes[i % 3];
        const row_module module =
            row_module_layer_norm_groups(float_names[i % 3], float_names[(i + 1) % 3], 3, heads[i]);
        cuda_subject s = cuda_subject_open(module.text, "layer_norm__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *args[] = {
                random_matrix(dtype, row_counts[r], 3 * heads[i], 2, 1, s.keep),
                random_matrix(dtype, row_counts[r], 3 * heads[i], 2, 2, s.keep)};
            cuda_subject_check(&s, args, 2e-5, 2e-5);
        }
        cuda_subject_close(&s);
    }
}

static void test_rope_table(void **state) {
    test_folder *f = *state;
    static const char text[] =
        "module @m level=graph\nsymbol n_tokens <= 256\n"
        "func @forward(%p: i32[n_tokens], %f: f32[33]) {\n"
        "  %0 = rope_table %p, %f {magnitude = 1.25, growth = 0.1, period = 7} : "
        "f32[n_tokens, 66]\n  return %0\n}\n";
    cuda_subject s = cuda_subject_open(text, "rope_table__sm80", f->path);
    const int64_t n_frequencies = 33;
    for (int r = 0; r < N_ROW_COUNTS; r++) {
        ir_tensor *args[] = {
            random_ids(row_counts[r], 1 << 20, (uint64_t)r, s.keep),
            ir_tensor_create(s.keep, IR_F32, 1, &n_frequencies)};
        for (int i = 0; i < 33; i++) args[1]->f32[i] = (float)pow(10000, -(double)i / 33);
        cuda_subject_check(&s, args, 1e-7, 1e-6);
    }
    cuda_subject_close(&s);
}

// Keys rotated on the way in, values as they are; two sequences on scattered pages.
static void test_kv_append(void **state) {
    test_folder *f = *state;
    static const int head_dims[] = {32, 7, 80};
    for (int c = 0; c < 3; c++) {
        const int hd = head_dims[c], width = 2 * hd;
        const char *cache = float_names[c], *name = float_names[(c + 1) % 3];
        char text[2048];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%kv: %s[6, 2, 2, 16, %d], %%k: %s[n_tokens, %d], %%v: %s[n_tokens, "
            "%d], %%pages: i32[2, 3], %%seq: i32[n_tokens], %%pos: i32[n_tokens], %%table: "
            "f32[n_tokens, %d]) {\n"
            "  %%0 = rope %%k, %%table {head_dim = %d} : %s[n_tokens, %d]\n"
            "  %%1 = kv_append %%kv, %%0, %%v, %%pages, %%seq, %%pos : %s[6, 2, 2, 16, %d]\n"
            "  return %%1\n}\n",
            cache, hd, name, width, name, width, hd / 2 * 2, hd, name, width, cache, hd);
        cuda_subject s = cuda_subject_open(text, "kv_append__sm80", f->path);
        for (int64_t n = 1; n <= 40; n += 13) {
            const int64_t cache_dims[] = {6, 2, 2, 16, hd}, page_dims[] = {2, 3};
            ir_tensor *args[] = {
                random_tensor(float_dtypes[c], 5, cache_dims, 2, 1, s.keep),
                random_matrix(float_dtypes[(c + 1) % 3], n, width, 2, 2, s.keep),
                random_matrix(float_dtypes[(c + 1) % 3], n, width, 2, 3, s.keep),
                ir_tensor_create(s.keep, IR_I32, 2, page_dims),
                ir_tensor_create(s.keep, IR_I32, 1, &n),
                ir_tensor_create(s.keep, IR_I32, 1, &n),
                random_matrix(IR_F32, n, hd / 2 * 2, 2, 4, s.keep)};
            static const int32_t pages[] = {3, 0, 5, 1, 4, 2};
            memcpy(args[3]->i32, pages, sizeof pages);
            for (int64_t t = 0; t < n; t++) {
                args[4]->i32[t] = (int32_t)(t % 2);
                args[5]->i32[t] = (int32_t)(t / 2 + 13);
            }
            const double own = (c + 1) % 3 == 0 ? 1e-6 : (c + 1) % 3 == 1 ? 4e-3 : 3e-2;
            cuda_subject_check(&s, args, own, 1e-6);
        }
        cuda_subject_close(&s);
    }
}

// ---- activations in fp8 -------------------------------------------------------------------------------

// Values over the whole range of fp8 and beyond: subnormal numbers, ties, saturation, zeros of both signs.
static ir_tensor *wide_matrix(
    ir_dtype dtype, int64_t rows, int64_t columns, uint64_t seed, mlcc_arena *keep) {
    ir_tensor *tensor = random_matrix(dtype, rows, columns, 2, seed, keep);
    random_state random = {seed + 77};
    for (int64_t i = 0; i < rows * columns; i++) {
        const float factor = ldexpf(1.0f, (int)random_below(&random, 40) - 28);
        float value = tensor->f32[i] * factor;
        if (random_below(&random, 8) == 0) value = (float)random_below(&random, 33) * factor;
        if (random_below(&random, 16) == 0) value = -0.0f;
        tensor->f32[i] = ir_round_to(dtype, value);
    }
    return tensor;
}

static cuda_subject open_quantize(
    test_folder *f, int columns, int group, int n_groups, const char *name) {
    char text[2048];
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_tokens <= 256\n"
        "func @forward(%%x: %s[n_tokens, %d], %%s: f32[%d]) {\n"
        "  %%0 = quantize_activation %%x {group = %d} : %s[n_tokens, %d]\n"
        "  %%1 = quantize_activation %%x, %%s {group = %d} : %s[n_tokens, %d]\n"
        "  %%2 = quantize_activation %%x {mantissa_bits = 2, floor = 0.001} : %s[n_tokens, %d]\n"
        "  %%3 = relu %%x : %s[n_tokens, %d]\n"
        "  %%4 = quantize_activation %%3 {mantissa_bits = 2, group = %d} : %s[n_tokens, %d]\n"
        "  return %%0, %%1, %%2, %%4\n}\n",
        name, columns, n_groups, group, name, columns, group, name, columns, name, columns, name,
        columns, group, name, columns);
    return cuda_subject_open(text, "quantize_activation__sm80", f->path);
}

static void test_quantize_activation(void **state) {
    test_folder *f = *state;
    static const int columns[] = {1, 31, 128, 130, 1300, 1000};
    for (int c = 0; c < 6; c++) {
        const int group = c % 2 == 0 ? 128 : 0;
        const int64_t n_groups = group == 0 ? 1 : (columns[c] + 127) / 128;
        cuda_subject s = open_quantize(f, columns[c], group, (int)n_groups, float_names[c % 3]);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *scales = random_tensor(IR_F32, 1, &n_groups, 2, (uint64_t)r, s.keep);
            for (int i = 0; i < n_groups; i++) scales->f32[i] = fabsf(scales->f32[i]);
            if (r == 1) scales->f32[n_groups - 1] = 0; // the marker: computed at run time
            ir_tensor *x =
                wide_matrix(float_dtypes[c % 3], row_counts[r], columns[c], (uint64_t)c, s.keep);
            if (r == 2) {
                x->f32[0] = NAN;
                x->f32[columns[c]] = INFINITY;
                for (int i = 0; i < columns[c]; i++) x->f32[2 * columns[c] + i] = 0;
            }
            cuda_subject_check(&s, (ir_tensor *[]){x, scales}, -1, 0);
        }
        cuda_subject_close(&s);
    }
}

static void test_observe_max(void **state) {
    test_folder *f = *state;
    static const int columns[] = {1, 33, 4500};
    for (int c = 0; c < 3; c++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%m: f32[1], %%x: %s[n_tokens, %d]) {\n"
            "  %%0 = scale %%x {factor = 2.0} : %s[n_tokens, %d]\n"
            "  %%1 = observe_max %%m, %%0 : f32[1]\n  return %%1\n}\n",
            float_names[c], columns[c], float_names[c], columns[c]);
        cuda_subject s = cuda_subject_open(text, "observe_max__sm80", f->path);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            static const float before[] = {0.0f, -3.0f, 100.0f};
            const int64_t one = 1;
            ir_tensor *args[] = {
                ir_tensor_create(s.keep, IR_F32, 1, &one),
                random_matrix(float_dtypes[c], row_counts[r], columns[c], 2, (uint64_t)r, s.keep)};
            args[0]->f32[0] = before[r];
            if (columns[c] > 1) args[1]->f32[1] = NAN;
            cuda_subject_check(&s, args, -1, 0);
        }
        cuda_subject_close(&s);
    }
}

int main(void) {
    if (!cuda_shim_can_compile()) {
        print_message("no C compiler: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_elementwise, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_take_rows, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_rms_norm, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_rms_norm_groups, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_layer_norm, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_layer_norm_groups, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_rope_table, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_kv_append, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_quantize_activation, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(
            test_observe_max, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
