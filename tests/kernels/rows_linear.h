// rows_linear: kernel rows of linears, of floats and of codes, against ir/eval. Part of rows_test.c, which includes it.
#ifndef MLCC_TESTS_KERNELS_ROWS_LINEAR_H
#define MLCC_TESTS_KERNELS_ROWS_LINEAR_H

// ---- linear -------------------------------------------------------------------------------------------

typedef struct linear_shape {
    int n, k;
} linear_shape;

// Several products side by side in one function, each with its own x; every third with a bias and a fused epilogue.
static void test_linear_format(
    test_folder *f, const kernel_row *row, const char *format, ir_dtype x_dtype,
    const linear_shape *shapes, int n_shapes) {
    const char *x_name = ir_dtype_get(x_dtype)->text;
    mlcc_str text = {0};
    mlcc_str_puts(&text, "module @m level=graph\nsymbol n_tokens <= 256\n");
    for (int i = 0; i < n_shapes; i++) {
        mlcc_str_printf(
            &text, "param @w%d.weight : %s[%d, %d]\nparam @b%d.bias : %s[%d]\n", i, format,
            shapes[i].n, shapes[i].k, i, float_names[i % 3], shapes[i].n);
    }
    mlcc_str_puts(&text, "func @forward(");
    for (int i = 0; i < n_shapes; i++)
        mlcc_str_printf(
            &text, "%s%%x%d: %s[n_tokens, %d]", i > 0 ? ", " : "", i, x_name, shapes[i].k);
    mlcc_str_puts(&text, ") {\n");
    for (int i = 0; i < n_shapes; i++) {
        if (i % 3 != 2) {
            mlcc_str_printf(
                &text, "  %%y%d = linear %%x%d, @w%d.weight : f32[n_tokens, %d]\n", i, i, i,
                shapes[i].n);
            continue;
        }
        mlcc_str_printf(
            &text, "  %%z%d = linear %%x%d, @w%d.weight, @b%d.bias : f32[n_tokens, %d]\n", i, i, i,
            i, shapes[i].n);
        mlcc_str_printf(&text, "  %%s%d = silu %%z%d : f32[n_tokens, %d]\n", i, i, shapes[i].n);
        mlcc_str_printf(&text, "  %%y%d = cast %%s%d : f16[n_tokens, %d]\n", i, i, shapes[i].n);
    }
    mlcc_str_puts(&text, "  return ");
    for (int i = 0; i < n_shapes; i++) mlcc_str_printf(&text, "%s%%y%d", i > 0 ? ", " : "", i);
    mlcc_str_puts(&text, "\n}\n");
    subject s = open_subject(f, row, mlcc_str_text(&text));
    mlcc_str_free(&text);
    for (int r = 0; r < N_ROW_COUNTS; r++) {
        ir_tensor *args[8];
        for (int i = 0; i < n_shapes; i++)
            args[i] = random_matrix(
                x_dtype, row_counts[r], shapes[i].k, 2, (uint64_t)(r * 10 + i), s.keep);
        run_subject(&s, args, 1e-4, 1e-5);
    }
    close_subject(&s);
}

// Under sanitizers one row of an op meets all formats, the portable one or of whole numbers that for AVX2, and those for other instruction sets few:
// their kernels are LLVM's code.
static bool is_repetition(const kernel_row *row, ir_dtype dtype) {
    const bool has_portable = row->op == IR_OP_LINEAR || row->op == IR_OP_LINEAR_EXPERTS;
    if (!IS_SANITIZED || strstr(row->name, has_portable ? "portable" : "avx2") != NULL)
        return false;
    return dtype != IR_BF16 && dtype != IR_Q4G32_F16 && dtype != IR_Q8G32_F16;
}

// Calls `test` for every element format that weights may have and this build stores.
static void for_every_format(
    void (*test)(test_folder *f, const kernel_row *row, ir_dtype dtype), test_folder *f,
    const kernel_row *row) {
    for (int i = 0; i < IR_N_DTYPES; i++) {
        const ir_dtype_kind kind = ir_dtype_get((ir_dtype)i)->kind;
        if (kind != IR_KIND_FLOAT && kind != IR_KIND_GROUPED) continue;
        if (quant_format_of((ir_dtype)i) == NULL)
            print_message(
                "  %s: this build cannot store it: skipped\n", ir_dtype_get((ir_dtype)i)->text);
        else if (!is_repetition(row, (ir_dtype)i))
            test(f, row, (ir_dtype)i);
    }
}

static bool accepts_shape(ir_dtype dtype, linear_shape shape) {
    const ir_type type = ir_type_matrix(dtype, ir_dim_const(shape.n), ir_dim_const(shape.k));
    return quant_format_accepts(quant_format_of(dtype), &type);
}

// Small shapes that the format takes, others for every row of the table and every format, and a large one.
static void test_linear_dtype(test_folder *f, const kernel_row *row, ir_dtype dtype) {
    // Tails on both sides of every group, unit and panel; among them multiples that formats without tails ask for.
    static const linear_shape shapes[] = {
        {1, 172}, {64, 64},  {15, 41}, {128, 192}, {17, 130}, {24, 128}, {33, 344}, {64, 320},
        {64, 33}, {40, 384}, {7, 80},  {8, 96},    {16, 1},   {64, 128}, {40, 300},
    };
    enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };
    // Wide and long enough for every blocking: several panels a tile, several blocks of K, a long run of streams.
    static const linear_shape large[] = {{300, 260}, {320, 640}};
    if (strstr(row->name, "avx512vnni") != NULL &&
        kernel_panel16_format_of((int32_t)dtype).code != KERNEL_CODE_INT4) {
        return;
    }
    const bool takes_pairs = strstr(row->name, "linear_bf16") != NULL;
    if (takes_pairs && dtype != IR_BF16) return;
    linear_shape accepted[3];
    int n_accepted = 0;
    const int n_small = strstr(row->name, "portable") != NULL && !IS_SANITIZED ? 2 : 1;
    const size_t start = (size_t)dtype * 5 + strlen(row->name) * 3;
    for (size_t i = 0; i < N_SHAPES && n_accepted < n_small; i++) {
        const linear_shape shape = shapes[(start + i) % N_SHAPES];
        if (accepts_shape(dtype, shape)) accepted[n_accepted++] = shape;
    }
    accepted[n_accepted++] = large[accepts_shape(dtype, large[0]) ? 0 : 1];
    const bool takes_any_x = strstr(row->name, "linear_elements") != NULL;
    const ir_dtype x_dtype = takes_any_x   ? float_dtypes[(int)dtype % 3]
                             : takes_pairs ? IR_BF16
                                           : IR_F32;
    test_linear_format(f, row, ir_dtype_get(dtype)->text, x_dtype, accepted, n_accepted);
}

static void test_linear(test_folder *f, const kernel_row *row) {
    for_every_format(test_linear_dtype, f, row);
}

// ---- linear of whole numbers --------------------------------------------------------------------------

// x becomes codes on the way; two products share them, the second with a bias and a fused epilogue.
static void test_linear_scaled_dtype(test_folder *f, const kernel_row *row, ir_dtype dtype) {
    static const linear_shape shapes[] = {
        {17, 41}, {40, 33}, {7, 172}, {64, 128}, {33, 320}, {24, 384}, {320, 640},
    };
    const int32_t code = kernel_panel16_format_of((int32_t)dtype).code;
    if (code != KERNEL_CODE_INT4 && code != KERNEL_CODE_INT8) return;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const linear_shape shape = shapes[i];
        // Of the small ones some, so that every one meets some format; the last one is large.
        const bool is_small = i < 6;
        if (!accepts_shape(dtype, shape) || (is_small && (i + (size_t)dtype) % 3 != 0)) continue;
        const int n = shape.n, k = shape.k, n_groups = (k + 31) / 32;
        const char *format = ir_dtype_get(dtype)->text, *name = float_names[i % 3];
        mlcc_str text = {0};
        mlcc_str_printf(
            &text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @w.weight : %s[%d, %d]\n"
            "param @v.weight : %s[%d, %d]\nparam @v.bias : %s[%d]\n"
            "func @forward(%%x: %s[n_tokens, %d]) {\n",
            format, n, k, format, n, k, name, n, name, k);
        mlcc_str_printf(
            &text,
            "  %%c, %%s = encode_activation %%x {mantissa_bits = 7, group = 32, floor = 1e-30} : "
            "i8[n_tokens, %d], f32[n_tokens, %d]\n"
            "  %%0 = linear_scaled %%c, @w.weight, %%s {group = 32} : f32[n_tokens, %d]\n"
            "  %%1 = linear_scaled %%c, @v.weight, %%s, @v.bias {group = 32} : f32[n_tokens, %d]\n"
            "  %%2 = silu %%1 : f32[n_tokens, %d]\n  %%3 = cast %%2 : f16[n_tokens, %d]\n"
            "  return %%0, %%3\n}\n",
            k, n_groups, n, n, n, n);
        subject s = open_subject(f, row, mlcc_str_text(&text));
        mlcc_str_free(&text);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *x =
                random_matrix(float_dtypes[i % 3], row_counts[r], k, 2, (uint64_t)r, s.keep);
            run_subject(&s, &x, 1e-4, 1e-5);
        }
        close_subject(&s);
    }
}

static void test_linear_scaled(test_folder *f, const kernel_row *row) {
    for_every_format(test_linear_scaled_dtype, f, row);
}

#endif
