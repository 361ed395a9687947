// Every row of the kernel table that this machine can run, forced, on odd shapes and every element format, with one and three threads, against
// ir/eval; weights are encoded by quantization/format.h and prepared through the ABI.
#include "codegen/cpu/kernels/panel16.h"
#include "quantization/format.h"
#include "tests/support/compile_module.h"
#include "tests/support/random_module.h"
#include "tests/support/row_modules.h"
#include "tests/support/sanitized.h"
#include "tests/support/segment_modules.h"

#include <math.h>

// A module whose function @forward is compiled with one row and run on several sets of arguments.
typedef struct subject {
    const kernel_row *row;
    ir_module *module;
    const ir_function *forward;
    model_weights *weights;
    model_library *library;
    mlcc_arena *keep;
} subject;

static bool has_all(const char *features, const char *needs) {
    char wanted[256], list[1024];
    snprintf(list, sizeof list, ",%s,", features);
    while (*needs != '\0') {
        size_t n = strcspn(needs, ",");
        snprintf(wanted, sizeof wanted, ",%.*s,", (int)n, needs);
        if (strstr(list, wanted) == NULL) return false;
        needs += n;
        if (*needs == ',') needs++;
    }
    return true;
}

// The oldest target whose features the row asks for, if this machine can run it; else NULL.
static const char *target_of(const kernel_row *row) {
    static const char *const targets[] = {
        "x86-64-v2", "x86-64-v3", "x86-64-v4", "native", "aarch64"};
    const char *found = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    for (size_t i = 0; i < sizeof targets / sizeof targets[0] && found == NULL; i++) {
        codegen_options options = {.target = targets[i]};
        codegen_target *target = NULL;
        assert_ok(codegen_open(&options, scratch, &target));
        bool fits = has_all(codegen_cpu_of(target)->features, row->needs);
        if (fits && compile_can_run(targets[i])) found = targets[i];
    }
    mlcc_arena_free(scratch);
    return found;
}

static subject open_subject(test_folder *f, const kernel_row *row, const char *text) {
    subject s = {.row = row, .keep = mlcc_arena_create()};
    s.module = compile_parse(text, s.keep);
    char *path = compile_module(s.module, target_of(row), row, f->path, "lib.so", s.keep);
    s.forward = ir_module_find(s.module, "forward");
    bool used = false;
    for (const ir_node *node = s.forward->first; node != NULL; node = node->next) {
        used = used || strcmp(ir_attr_text(node, "kernel"), row->name) == 0;
    }
    assert_true(used);
    s.weights = model_weights_make(s.module, NULL, s.keep);
    s.library = model_library_open(path, s.weights, s.keep);
    return s;
}

static void close_subject(subject *s) {
    model_library_close(s->library);
    mlcc_arena_free(s->keep);
}

// As a tolerance of run_subject: every bit counts, but NaN is NaN.
static const double same_bits = -1;

static void assert_same_bits(const ir_tensor *actual, const ir_tensor *expected, const char *what) {
    assert_tensors_near(actual, expected, 0, 0, what);
    for (int64_t i = 0; expected->f32 != NULL && i < ir_tensor_count(expected); i++) {
        if (signbit(actual->f32[i]) != signbit(expected->f32[i]) && !isnan(expected->f32[i]))
            fail_msg("%s: element %lld has the other sign", what, (long long)i);
    }
}

static void run_subject(
    const subject *s, ir_tensor *const *args, double absolute, double relative) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_tensor *expected[32], *one[32], *three[32];
    ir_eval_options options = {.param = model_weights_eval, .user = s->weights};
    assert_ok(ir_eval_function(s->forward, args, &options, keep, expected));
    model_library_run(s->library, s->forward, args, 1, keep, one);
    model_library_run(s->library, s->forward, args, 3, keep, three);
    for (int32_t i = 0; i < s->forward->n_returns; i++) {
        char what[128];
        snprintf(what, sizeof what, "%s, result %d", s->row->name, i);
        // Half a unit of the result's own dtype comes on top.
        ir_dtype dtype = expected[i]->dtype;
        double own = dtype == IR_F16 ? 0x1p-10 : dtype == IR_BF16 ? 0x1p-7 : 0;
        if (absolute < 0)
            assert_same_bits(one[i], expected[i], what);
        else
            assert_tensors_near(one[i], expected[i], absolute, relative + own, what);
        assert_tensors_near(three[i], one[i], 0, 0, what); // threads change no bit
    }
    mlcc_arena_free(keep);
}

static ir_tensor *random_ids(int64_t n, int64_t below, uint64_t seed, mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &n);
    random_state random = {seed};
    for (int64_t i = 0; i < n; i++) tensor->i32[i] = (int32_t)random_below(&random, below);
    return tensor;
}

static const int64_t row_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64, 250};
enum { N_ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };
static const char *const float_names[] = {"f32", "f16", "bf16"};
static const ir_dtype float_dtypes[] = {IR_F32, IR_F16, IR_BF16};

#include "tests/kernels/rows_linear.h"

// Uses what the linears have.
#include "tests/kernels/rows_experts.h"

// ---- rows ---------------------------------------------------------------------------------------------

// Every head of a row by itself.
static void test_rms_norm_groups(test_folder *f, const kernel_row *row) {
    static const int groups[] = {1, 5, 16, 33, 64};
    for (int i = 0; i < 5; i++) {
        const int group = groups[i], columns = 3 * group;
        const char *name = float_names[i % 3];
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : %s[%d]\n"
            "func @forward(%%x: %s[n_tokens, %d]) {\n"
            "  %%0 = rms_norm %%x, @gain.weight {group = %d} : %s[n_tokens, %d]\n"
            "  return %%0\n}\n",
            float_names[(i + 1) % 3], group, name, columns, group, name, columns);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *x = random_matrix(float_dtypes[i % 3], row_counts[r], columns, 2, 1, s.keep);
            run_subject(&s, &x, 1e-6, 2e-6);
        }
        close_subject(&s);
    }
}

static void test_rms_norm(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 8, 31, 33, 64, 172, 1000};
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
        ir_dtype dtype = float_dtypes[c % 3];
        const char *name = float_names[c % 3];
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : %s[%d]\n"
            "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d]) {\n"
            "  %%0 = add %%x, %%y : %s[n_tokens, %d]\n"
            "  %%1 = rms_norm %%0, @gain.weight {eps = 1e-05} : %s[n_tokens, %d]\n"
            "  %%2 = rms_norm %%x, @gain.weight {eps = 0.1} : %s[n_tokens, %d]\n"
            "  return %%0, %%1, %%2\n}\n",
            float_names[(c + 1) % 3], columns[c], name, columns[c], name, columns[c], name,
            columns[c], name, columns[c], name, columns[c]);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *args[] = {
                random_matrix(dtype, row_counts[r], columns[c], 2, 1, s.keep),
                random_matrix(dtype, row_counts[r], columns[c], 2, 2, s.keep)};
            run_subject(&s, args, 1e-6, 2e-6);
        }
        close_subject(&s);
    }
    test_rms_norm_groups(f, row);
}

static void test_layer_norm_groups(test_folder *f, const kernel_row *row) {
    static const int heads[] = {1, 5, 16, 33, 64};
    for (int i = 0; i < 5; i++) {
        const char *name = float_names[i % 3], *gain = float_names[(i + 1) % 3];
        const row_module module = row_module_layer_norm_groups(name, gain, 3, heads[i]);
        subject s = open_subject(f, row, module.text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *args[] = {
                random_matrix(float_dtypes[i % 3], row_counts[r], 3 * heads[i], 2, 1, s.keep),
                random_matrix(float_dtypes[i % 3], row_counts[r], 3 * heads[i], 2, 2, s.keep)};
            run_subject(&s, args, 2e-5, 2e-5);
        }
        close_subject(&s);
    }
}

// Values far from zero, whose squares would swallow what is left of them.
static void test_layer_norm(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 8, 31, 33, 64, 172, 1000};
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
        ir_dtype dtype = float_dtypes[c % 3];
        const char *name = float_names[c % 3], *gain = float_names[(c + 1) % 3];
        const int n = columns[c];
        const row_module module = row_module_layer_norm(name, gain, n);
        subject s = open_subject(f, row, module.text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *args[] = {
                random_matrix(dtype, row_counts[r], n, 2, 1, s.keep),
                random_matrix(dtype, row_counts[r], n, 2, 2, s.keep)};
            for (int64_t i = 0; i < ir_tensor_count(args[0]); i++)
                args[0]->f32[i] = ir_round_to(dtype, args[0]->f32[i] + 16.0f);
            run_subject(&s, args, 2e-5, 2e-5);
        }
        close_subject(&s);
    }
    test_layer_norm_groups(f, row);
}

static void test_embedding_dtype(test_folder *f, const kernel_row *row, ir_dtype dtype) {
    static const linear_shape shapes[] = {{1, 33}, {17, 64}, {40, 172}, {33, 41}, {64, 128}};
    for (int i = 0; i < 5; i++) {
        const linear_shape shape = shapes[i];
        if (!accepts_shape(dtype, shape) || (i + (int)dtype) % 2 == 0) continue;
        char text[512];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @table.weight : %s[%d, %d]\n"
            "func @forward(%%ids: i32[n_tokens]) {\n"
            "  %%0 = embedding %%ids, @table.weight : %s[n_tokens, %d]\n"
            "  %%1 = scale %%0 {factor = 0.75} : %s[n_tokens, %d]\n  return %%1\n}\n",
            ir_dtype_get(dtype)->text, shape.n, shape.k, float_names[i % 3], shape.k,
            float_names[i % 3], shape.k);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 3) {
            ir_tensor *ids = random_ids(row_counts[r], shape.n, (uint64_t)r, s.keep);
            run_subject(&s, &ids, 0, 0);
        }
        close_subject(&s);
    }
}

static void test_embedding(test_folder *f, const kernel_row *row) {
    for_every_format(test_embedding_dtype, f, row);
}

static void test_take_rows(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 33, 1500};
    for (int c = 0; c < 3; c++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nsymbol n_logits <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%rows: i32[n_logits]) {\n"
            "  %%0 = relu %%x : %s[n_tokens, %d]\n  %%1 = take_rows %%0, %%rows : %s[n_logits, "
            "%d]\n  return %%1\n}\n",
            float_names[c], columns[c], float_names[c], columns[c], float_names[c], columns[c]);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *args[] = {
                random_matrix(float_dtypes[c], row_counts[r], columns[c], 2, 5, s.keep),
                random_ids(1 + r % 4, row_counts[r], 6, s.keep)};
            run_subject(&s, args, 0, 0);
        }
        close_subject(&s);
    }
}

// silu(gate) * up of three experts side by side, and their weighted sum.
static void test_parts(test_folder *f, const kernel_row *row, int columns, ir_dtype dtype) {
    const char *name = ir_dtype_get(dtype)->text;
    char text[1024];
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_tokens <= 256\n"
        "func @forward(%%x: %s[n_tokens, %d], %%w: f32[n_tokens, 3]) {\n"
        "  %%0 = slice %%x {begin = 0, end = %d, parts = 3} : %s[n_tokens, %d]\n"
        "  %%1 = slice %%x {begin = %d, end = %d, parts = 3} : %s[n_tokens, %d]\n"
        "  %%2 = relu %%0 : %s[n_tokens, %d]\n  %%3 = mul %%2, %%1 : %s[n_tokens, %d]\n"
        "  %%4 = combine_experts %%3, %%w : %s[n_tokens, %d]\n  return %%3, %%4\n}\n",
        name, 6 * columns, columns, name, 3 * columns, columns, 2 * columns, name, 3 * columns,
        name, 3 * columns, name, 3 * columns, name, columns);
    subject s = open_subject(f, row, text);
    for (int r = 0; r < N_ROW_COUNTS; r += 3) {
        ir_tensor *args[] = {
            random_matrix(dtype, row_counts[r], 6 * columns, 2, 7, s.keep),
            random_matrix(IR_F32, row_counts[r], 3, 2, 8, s.keep)};
        run_subject(&s, args, 1e-5, 0);
    }
    close_subject(&s);
}

static void test_elementwise(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 31, 512, 513, 1100};
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
        char text[1024];
        const char *name = float_names[c % 3];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%v: %s[%d]) {\n"
            "  %%0 = slice %%x {begin = 0, end = %d} : %s[n_tokens, %d]\n"
            "  %%1 = slice %%x {begin = %d, end = %d} : %s[n_tokens, %d]\n"
            "  %%2 = relu %%0 : %s[n_tokens, %d]\n  %%3 = mul %%2, %%1 : %s[n_tokens, %d]\n"
            "  %%4 = add %%3, %%v : %s[n_tokens, %d]\n  %%5 = scale %%v {factor = 3.0} : %s[%d]\n  "
            "return %%4, %%5\n}\n",
            name, 2 * columns[c], name, columns[c], columns[c], name, columns[c], columns[c],
            2 * columns[c], name, columns[c], name, columns[c], name, columns[c], name, columns[c],
            name, columns[c]);
        test_parts(f, row, columns[c], float_dtypes[c % 3]);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *v = random_matrix(float_dtypes[c % 3], 1, columns[c], 2, 8, s.keep);
            v->rank = 1;
            v->dims[0] = columns[c];
            ir_tensor *args[] = {
                random_matrix(float_dtypes[c % 3], row_counts[r], 2 * columns[c], 2, 7, s.keep), v};
            // A product and a sum may become one multiply-add in f32.
            run_subject(&s, args, c % 3 == 0 ? 1e-6 : 0, 0);
        }
        close_subject(&s);
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

// A NaN, an infinite number and a row of zeros.
static void put_specials(ir_tensor *x, int columns) {
    x->f32[0] = NAN;
    x->f32[columns] = INFINITY;
    for (int i = 0; i < columns; i++) x->f32[2 * columns + i] = 0;
}

static void test_quantize_activation(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 31, 128, 130, 300, 1000};
    for (int c = 0; c < 6; c++) {
        const int group = c % 2 == 0 ? 128 : 0,
                  n_groups = group == 0 ? 1 : (columns[c] + 127) / 128;
        const char *name = float_names[c % 3];
        char text[2048];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%s: f32[%d]) {\n"
            "  %%0 = quantize_activation %%x {group = %d} : %s[n_tokens, %d]\n"
            "  %%1 = quantize_activation %%x, %%s {group = %d} : %s[n_tokens, %d]\n"
            "  %%2 = quantize_activation %%x {mantissa_bits = 2, floor = 0.001} : %s[n_tokens, "
            "%d]\n"
            "  %%3 = quantize_activation %%x, %%s {mantissa_bits = 2, group = %d} : %s[n_tokens, "
            "%d]\n"
            "  %%4 = relu %%x : %s[n_tokens, %d]\n"
            "  %%5 = quantize_activation %%4 {group = %d} : %s[n_tokens, %d]\n"
            "  return %%0, %%1, %%2, %%3, %%5\n}\n",
            name, columns[c], n_groups, group, name, columns[c], group, name, columns[c], name,
            columns[c], group, name, columns[c], name, columns[c], group, name, columns[c]);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *scales = random_matrix(IR_F32, 1, n_groups, 2, (uint64_t)r, s.keep);
            scales->rank = 1;
            scales->dims[0] = n_groups;
            for (int i = 0; i < n_groups; i++)
                scales->f32[i] = r == 0 ? 1.0f : fabsf(scales->f32[i]);
            if (r % 4 == 2) scales->f32[n_groups - 1] = 0; // the marker: computed at run time
            ir_tensor *args[] = {
                wide_matrix(
                    float_dtypes[c % 3], row_counts[r], columns[c], (uint64_t)(c * 100 + r),
                    s.keep),
                scales};
            if (r == 4) put_specials(args[0], columns[c]);
            run_subject(&s, args, same_bits, 0);
        }
        close_subject(&s);
    }
}

// Codes and scales are bits; x reaches them through a prologue, and is returned as well.
static void test_encode_activation(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 31, 32, 130, 300, 5632};
    for (int c = 0; c < 6; c++) {
        const int n_groups = (columns[c] + 31) / 32;
        const char *name = float_names[c % 3];
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d], %%s: f32[%d]) {\n"
            "  %%0 = mul %%x, %%y : %s[n_tokens, %d]\n"
            "  %%1, %%2 = encode_activation %%0 {mantissa_bits = 7, group = 32, floor = 1e-30} : "
            "i8[n_tokens, %d], f32[n_tokens, %d]\n"
            "  %%3, %%4 = encode_activation %%x, %%s {mantissa_bits = 7, group = 32, floor = "
            "1e-30} : i8[n_tokens, %d], f32[n_tokens, %d]\n"
            "  return %%0, %%1, %%2, %%3, %%4\n}\n",
            name, columns[c], name, columns[c], n_groups, name, columns[c], columns[c], n_groups,
            columns[c], n_groups);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r += 2) {
            ir_tensor *scales = random_matrix(IR_F32, 1, n_groups, 2, (uint64_t)r, s.keep);
            scales->rank = 1;
            scales->dims[0] = n_groups;
            for (int i = 0; i < n_groups; i++) scales->f32[i] = fabsf(scales->f32[i]);
            if (r % 4 == 2) scales->f32[n_groups - 1] = 0; // the marker: computed at run time
            ir_tensor *args[] = {
                wide_matrix(
                    float_dtypes[c % 3], row_counts[r], columns[c], (uint64_t)(c * 100 + r),
                    s.keep),
                random_matrix(
                    float_dtypes[c % 3], row_counts[r], columns[c], 2, (uint64_t)r, s.keep),
                scales};
            if (r == 4) put_specials(args[0], columns[c]);
            run_subject(&s, args, same_bits, 0);
        }
        close_subject(&s);
    }
}

static void test_observe_max(test_folder *f, const kernel_row *row) {
    static const int columns[] = {1, 33, 2048, 5000};
    for (int c = 0; c < 4; c++) {
        const char *name = float_names[c % 3];
        char text[512];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\n"
            "func @forward(%%m: f32[1], %%x: %s[n_tokens, %d]) {\n"
            "  %%0 = scale %%x {factor = -2.0} : %s[n_tokens, %d]\n"
            "  %%1 = observe_max %%m, %%0 : f32[1]\n  return %%1\n}\n",
            name, columns[c], name, columns[c]);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *maximum = ir_tensor_create(s.keep, IR_F32, 1, (int64_t[]){1});
            maximum->f32[0] = r % 3 == 0 ? 0.0f : r % 3 == 1 ? 3.9f : 1000.0f;
            ir_tensor *args[] = {
                maximum,
                random_matrix(
                    float_dtypes[c % 3], row_counts[r], columns[c], 2, (uint64_t)r, s.keep)};
            if (r == 6) args[1]->f32[columns[c] - 1] = NAN;
            run_subject(&s, args, same_bits, 0);
        }
        close_subject(&s);
    }
}

// ---- positions and attention --------------------------------------------------------------------------

static void test_rope_table(test_folder *f, const kernel_row *row) {
    static const int halves[] = {1, 4, 10, 64};
    for (int h = 0; h < 4; h++) {
        mlcc_str text = {0};
        mlcc_str_printf(
            &text, "module @m level=graph\nsymbol n_tokens <= 256\nconst @f : f32[%d] = [",
            halves[h]);
        for (int i = 0; i < halves[h]; i++) {
            double frequency = 1.0;
            for (int j = 0; j < i; j++) frequency *= 0.87;
            mlcc_str_printf(&text, "%s%.9g", i > 0 ? ", " : "", frequency);
            if (i == 0) mlcc_str_puts(&text, ".0");
        }
        mlcc_str_printf(
            &text,
            "]\nfunc @forward(%%p: i32[n_tokens]) {\n  %%0 = rope_table %%p, @f {magnitude = "
            "1.25%s} : f32[n_tokens, %d]\n  return %%0\n}\n",
            h % 2 == 0 ? "" : ", growth = 0.1, period = 1000", 2 * halves[h]);
        subject s = open_subject(f, row, mlcc_str_text(&text));
        mlcc_str_free(&text);
        for (int r = 0; r < N_ROW_COUNTS; r += 3) {
            ir_tensor *positions =
                random_ids(row_counts[r], r % 2 == 0 ? 131072 : 50, (uint64_t)r, s.keep);
            positions->i32[0] = 0;
            run_subject(&s, &positions, 3e-7, 0);
        }
        close_subject(&s);
    }
}

// A ragged batch: sequence i has lengths[i] positions, of which the last fresh[i] are new tokens.
typedef struct ragged {
    int n_seqs, n_tokens, n_slots, n_pages;
    int lengths[4], fresh[4];
} ragged;

static ir_tensor *positions_of(const ragged *batch, bool sequences, mlcc_arena *keep) {
    int64_t n = batch->n_tokens, next = 0;
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &n);
    for (int i = 0; i < batch->n_seqs; i++) {
        for (int t = batch->lengths[i] - batch->fresh[i]; t < batch->lengths[i]; t++)
            tensor->i32[next++] = sequences ? i : t;
    }
    return tensor;
}

// Pages in scrambled order, each used once; slots beyond a sequence's end hold an unused page.
static ir_tensor *page_table_of(const ragged *batch, mlcc_arena *keep) {
    ir_tensor *tensor =
        ir_tensor_create(keep, IR_I32, 2, (int64_t[]){batch->n_seqs, batch->n_slots});
    for (int i = 0; i < batch->n_seqs * batch->n_slots; i++)
        tensor->i32[i] = (i * 7 + 3) % batch->n_pages;
    return tensor;
}

// The sums of the batch.
static ragged complete_ragged(ragged batch) {
    for (int i = 0; i < batch.n_seqs; i++) {
        batch.n_tokens += batch.fresh[i];
        int slots = (batch.lengths[i] + 15) / 16;
        if (slots > batch.n_slots) batch.n_slots = slots;
    }
    // A number of pages that 7 does not divide, so that the scrambled order repeats none.
    batch.n_pages = batch.n_seqs * batch.n_slots;
    if (batch.n_pages % 7 == 0) batch.n_pages++;
    return batch;
}

static ragged make_ragged(int variant) {
    static const ragged all[] = {
        {.n_seqs = 1, .lengths = {1}, .fresh = {1}},
        {.n_seqs = 1, .lengths = {77}, .fresh = {1}},
        {.n_seqs = 1, .lengths = {40}, .fresh = {40}},
        {.n_seqs = 3, .lengths = {33, 5, 100}, .fresh = {1, 5, 3}},
        {.n_seqs = 4, .lengths = {16, 17, 130, 2}, .fresh = {16, 1, 90, 2}},
    };
    return complete_ragged(all[variant]);
}

static ir_tensor *cache_of(
    const ragged *batch, ir_dtype dtype, int64_t n_kv_heads, int64_t head_dim, mlcc_arena *keep) {
    ir_tensor *flat =
        random_matrix(dtype, batch->n_pages * 2 * n_kv_heads, 16 * head_dim, 2, 11, keep);
    ir_tensor *cache =
        ir_tensor_create(keep, dtype, 5, (int64_t[]){batch->n_pages, 2, n_kv_heads, 16, head_dim});
    memcpy(cache->f32, flat->f32, (size_t)ir_tensor_count(cache) * sizeof(float));
    return cache;
}

typedef struct attention_shape {
    int n_heads, n_kv_heads, head_dim, window;
    double softcap;
    int n_vectors; // 1: sinks; 2: slopes as well
} attention_shape;

static const attention_shape attention_shapes[] = {
    {8, 4, 8, 0, 0, 0},     {4, 4, 20, 0, 0, 0}, {8, 1, 64, 24, 0, 0},  {2, 2, 128, 0, 30.0, 0},
    {6, 2, 16, 7, 5.0, 0},  {1, 1, 1, 0, 0, 0},  {10, 2, 64, 24, 0, 1}, {3, 3, 20, 0, 0, 2},
    {8, 2, 32, 9, 20.0, 2}, {4, 1, 16, 0, 0, 1},
};

// Sinks above, among and below the scores, one of them none; slopes of a length that is no power of two.
static void fill_vectors(int n_heads, ir_tensor *sinks, ir_tensor *slopes) {
    for (int head = 0; head < n_heads; head++) {
        sinks->f32[head] = head == 1 ? -INFINITY : (float)(head % 5 - 2) * 4.0f;
        slopes->f32[head] = ir_round_to(slopes->dtype, exp2f(-8.0f * (float)(head + 1) / 12));
    }
}

static const char attention_head[] = "module @m level=graph\nsymbol n_tokens <= 256\nsymbol n_seqs "
                                     "<= 4\nsymbol n_pages <= 64\nsymbol n_page_slots <= 16\n";

static void test_kv_append(test_folder *f, const kernel_row *row) {
    for (size_t i = 0; i < sizeof attention_shapes / sizeof attention_shapes[0]; i++) {
        const attention_shape a = attention_shapes[i];
        const int columns = a.n_kv_heads * a.head_dim, rotated = a.head_dim / 2 * 2;
        const char *name = float_names[i % 3];
        char text[2048];
        snprintf(
            text, sizeof text,
            "%sfunc @forward(%%cache: %s[n_pages, 2, %d, 16, %d], %%kv: f32[n_tokens, %d], %%t: "
            "f32[n_tokens, %d], %%pt: i32[n_seqs, n_page_slots], "
            "%%seq: i32[n_tokens], %%pos: i32[n_tokens]) {\n"
            "  %%k = slice %%kv {begin = 0, end = %d} : f32[n_tokens, %d]\n"
            "  %%v = slice %%kv {begin = %d, end = %d} : f32[n_tokens, %d]\n"
            "  %%r = rope %%k, %%t {head_dim = %d} : f32[n_tokens, %d]\n"
            "  %%c = kv_append %%cache, %%r, %%v, %%pt, %%seq, %%pos : %s[n_pages, 2, %d, 16, "
            "%d]\n  return %%c\n}\n",
            attention_head, name, a.n_kv_heads, a.head_dim, 2 * columns, rotated, columns, columns,
            columns, 2 * columns, columns, a.head_dim, columns, name, a.n_kv_heads, a.head_dim);
        subject s = open_subject(f, row, text);
        for (int v = 0; v < 5; v++) {
            ragged batch = make_ragged(v);
            ir_tensor *args[] = {
                cache_of(&batch, float_dtypes[i % 3], a.n_kv_heads, a.head_dim, s.keep),
                random_matrix(IR_F32, batch.n_tokens, 2 * columns, 2, 1, s.keep),
                random_matrix(IR_F32, batch.n_tokens, rotated, 2, 2, s.keep),
                page_table_of(&batch, s.keep),
                positions_of(&batch, true, s.keep),
                positions_of(&batch, false, s.keep)};
            run_subject(&s, args, 1e-6, 1e-6);
        }
        close_subject(&s);
    }
}

// Under sanitizers the portable row of an op meets all shapes, and those for instruction sets some: LLVM's work on them is most of the time.
static bool leaves_shape_out(const kernel_row *row, size_t shape) {
    return IS_SANITIZED && strstr(row->name, "portable") == NULL && shape % 3 != 0;
}

static void test_attention(test_folder *f, const kernel_row *row) {
    static const char *const vectors[] = {"", ", %sinks", ", %sinks, %slopes"};
    for (size_t i = 0; i < sizeof attention_shapes / sizeof attention_shapes[0]; i++) {
        if (leaves_shape_out(row, i)) continue;
        const attention_shape a = attention_shapes[i];
        const int columns = a.n_heads * a.head_dim;
        char text[2048];
        snprintf(
            text, sizeof text,
            "%sfunc @forward(%%q: f32[n_tokens, %d], %%cache: %s[n_pages, 2, %d, 16, %d], %%pt: "
            "i32[n_seqs, n_page_slots], %%seq: i32[n_tokens], "
            "%%pos: i32[n_tokens], %%sinks: f32[%d], %%slopes: f16[%d]) {\n"
            "  %%0 = scale %%q {factor = 0.5} : f32[n_tokens, %d]\n"
            "  %%1 = paged_attention %%0, %%cache, %%pt, %%seq, %%pos%s {head_dim = %d, scale = "
            "0.8, window = %d, softcap = %.1f} : f32[n_tokens, %d]\n"
            "  return %%1\n}\n",
            attention_head, columns, float_names[i % 3], a.n_kv_heads, a.head_dim, a.n_heads,
            a.n_heads, columns, vectors[a.n_vectors], a.head_dim, a.window, a.softcap, columns);
        subject s = open_subject(f, row, text);
        for (int v = 0; v < 5; v++) {
            ragged batch = make_ragged(v);
            ir_tensor *args[] = {
                random_matrix(IR_F32, batch.n_tokens, columns, 2, 1, s.keep),
                cache_of(&batch, float_dtypes[i % 3], a.n_kv_heads, a.head_dim, s.keep),
                page_table_of(&batch, s.keep),
                positions_of(&batch, true, s.keep),
                positions_of(&batch, false, s.keep),
                ir_tensor_create(s.keep, IR_F32, 1, (int64_t[]){a.n_heads}),
                ir_tensor_create(s.keep, IR_F16, 1, (int64_t[]){a.n_heads})};
            fill_vectors(a.n_heads, args[5], args[6]);
            run_subject(&s, args, 2e-5, 2e-5);
        }
        close_subject(&s);
    }
}

static void test_segment_attention(test_folder *f, const kernel_row *row) {
    for (int shape = 0; shape < N_SEGMENT_SHAPES; shape++) {
        char text[1024];
        segment_module(shape, float_names[shape % 3], text, sizeof text);
        subject s = open_subject(f, row, text);
        for (int variant = 0; variant < N_SEGMENT_VARIANTS; variant++) {
            ir_tensor *args[2];
            segment_args(shape, variant, float_dtypes[shape % 3], s.keep, args);
            run_subject(&s, args, shape % 3 == 0 ? 2e-5 : 1e-2, 2e-5);
        }
        close_subject(&s);
    }
}

#include "tests/kernels/rows_latent.h"
#include "tests/kernels/rows_stretches.h"

// ---- the table ----------------------------------------------------------------------------------------

static const char *only = ""; // part of the names of the rows to test; all by default

static void test_row(test_folder *f, const kernel_row *row) {
    switch (row->op) {
    case IR_OP_LINEAR: test_linear(f, row); return;
    case IR_OP_LINEAR_SCALED: test_linear_scaled(f, row); return;
    case IR_OP_LINEAR_EXPERTS: test_experts(f, row); return;
    case IR_OP_LINEAR_SCALED_EXPERTS: test_scaled_experts(f, row); return;
    case IR_OP_ROUTE_EXPERTS: test_route(f, row); return;
    case IR_OP_ENCODE_ACTIVATION: test_encode_activation(f, row); return;
    case IR_OP_RMS_NORM: test_rms_norm(f, row); return;
    case IR_OP_LAYER_NORM: test_layer_norm(f, row); return;
    case IR_OP_EMBEDDING: test_embedding(f, row); return;
    case IR_OP_TAKE_ROWS: test_take_rows(f, row); return;
    case IR_OP_QUANTIZE_ACTIVATION: test_quantize_activation(f, row); return;
    case IR_OP_OBSERVE_MAX: test_observe_max(f, row); return;
    case IR_OP_ROPE_TABLE: test_rope_table(f, row); return;
    case IR_OP_KV_APPEND: test_kv_append(f, row); return;
    case IR_OP_PAGED_ATTENTION: test_attention(f, row), test_stretches(f, row); return;
    case IR_OP_LATENT_APPEND: test_latent_append(f, row); return;
    case IR_OP_LATENT_ATTENTION: test_latent_attention(f, row); return;
    case IR_OP_LINEAR_HEADS: test_heads(f, row); return;
    case IR_OP_SEGMENT_ATTENTION: test_segment_attention(f, row); return;
    case IR_N_OPS: test_elementwise(f, row); return;
    default: fail_msg("kernel '%s': no test for its op", row->name);
    }
}

static void test_table(void **state) {
    size_t n_rows = 0;
    const kernel_row *rows = codegen_kernel_table(&n_rows);
    assert_true(n_rows > 0);
    for (size_t i = 0; i < n_rows; i++) {
        if (strstr(rows[i].name, only) == NULL) continue;
        if (target_of(&rows[i]) == NULL) {
            print_message("%s: this machine cannot run it: skipped\n", rows[i].name);
            continue;
        }
        print_message("%s\n", rows[i].name);
        test_row(*state, &rows[i]);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) only = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table, test_folder_set_up, test_folder_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
