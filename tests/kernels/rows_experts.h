// rows_experts: what rows_test.c does with the kernels of a mixture of experts. Part of that file: it stands behind the helpers that it uses.
#ifndef MLCC_TESTS_KERNELS_ROWS_EXPERTS_H
#define MLCC_TESTS_KERNELS_ROWS_EXPERTS_H

static ir_tensor *random_choice(
    int64_t n_rows, int64_t k, int64_t n_experts, uint64_t seed, mlcc_arena *keep) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 2, (const int64_t[]){n_rows, k});
    random_state random = {seed};
    for (int64_t row = 0; row < n_rows; row++) {
        // Different experts of one row, as routing gives them.
        const int64_t first = (int64_t)random_below(&random, n_experts);
        for (int64_t j = 0; j < k; j++)
            tensor->i32[row * k + j] = (int32_t)((first + j * j + j) % n_experts);
    }
    return tensor;
}

typedef struct experts_shape {
    int n_experts, chosen, n, k;
} experts_shape;

// The second product reads a part of x for every chosen expert, has a bias and a fused epilogue.
static void test_experts_shape(
    test_folder *f, const kernel_row *row, ir_dtype dtype, ir_dtype x_dtype, experts_shape a) {
    const char *format = ir_dtype_get(dtype)->text, *x_name = ir_dtype_get(x_dtype)->text;
    const int out = a.chosen * a.n;
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @w.weight : %s[%d, %d, %d]\n"
        "param @v.weight : %s[%d, %d, %d]\nparam @v.bias : f16[%d, %d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d], %%e: i32[n_tokens, %d]) {\n",
        format, a.n_experts, a.n, a.k, format, a.n_experts, a.n, a.k, a.n_experts, a.n, x_name, a.k,
        x_name, a.chosen * a.k, a.chosen);
    mlcc_str_printf(
        &text,
        "  %%0 = linear_experts %%x, @w.weight, %%e : f32[n_tokens, %d]\n"
        "  %%1 = linear_experts %%y, @v.weight, %%e, @v.bias : f32[n_tokens, %d]\n"
        "  %%2 = silu %%1 : f32[n_tokens, %d]\n  %%3 = cast %%2 : f16[n_tokens, %d]\n"
        "  return %%0, %%3\n}\n",
        out, out, out, out);
    subject s = open_subject(f, row, mlcc_str_text(&text));
    mlcc_str_free(&text);
    for (int r = 0; r < N_ROW_COUNTS; r++) {
        const int64_t n_rows = row_counts[r];
        ir_tensor *args[] = {
            random_matrix(x_dtype, n_rows, a.k, 2, (uint64_t)r, s.keep),
            random_matrix(x_dtype, n_rows, a.chosen * a.k, 2, (uint64_t)r + 50, s.keep),
            random_choice(n_rows, a.chosen, a.n_experts, (uint64_t)r + 9, s.keep)};
        run_subject(&s, args, 1e-4, 1e-5);
    }
    close_subject(&s);
}

static void test_experts_dtype(test_folder *f, const kernel_row *row, ir_dtype dtype) {
    // Experts that share panels and experts that do not; fewer slots than experts and more.
    static const experts_shape shapes[] = {{4, 2, 40, 41},   {5, 3, 16, 172}, {3, 1, 7, 33},
                                           {20, 4, 33, 130}, {2, 2, 1, 64},   {6, 2, 80, 320}};
    enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };
    const ir_type stack = {
        .dtype = dtype, .rank = 3, .dims = {ir_dim_const(2), ir_dim_const(16), ir_dim_const(32)}};
    const int32_t code = kernel_panel16_format_of((int32_t)dtype).code;
    const bool is_vnni = strstr(row->name, "avx512vnni") != NULL;
    if (!quant_format_accepts(quant_format_of(dtype), &stack)) return;
    if (is_vnni && code != KERNEL_CODE_INT4) return;
    const bool takes_any_x = strstr(row->name, "elements") != NULL;
    const ir_dtype x_dtype = takes_any_x ? float_dtypes[(int)dtype % 3] : IR_F32;
    for (size_t i = 0; i < N_SHAPES; i++) {
        if ((i + (size_t)dtype + strlen(row->name)) % 3 == 0)
            test_experts_shape(f, row, dtype, x_dtype, shapes[i]);
    }
}

static void test_experts(test_folder *f, const kernel_row *row) {
    for_every_format(test_experts_dtype, f, row);
}

// x of the first product and y of the second, which has a part for every chosen expert and a bias, become codes on the way.
static void test_scaled_experts_shape(
    test_folder *f, const kernel_row *row, ir_dtype dtype, experts_shape a, bool has_parts) {
    const char *format = ir_dtype_get(dtype)->text, *name = float_names[dtype % 3];
    const int out = a.chosen * a.n, wide = has_parts ? a.chosen * a.k : a.k;
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @w.weight : %s[%d, %d, %d]\n"
        "param @v.weight : %s[%d, %d, %d]\nparam @v.bias : %s[%d, %d]\n"
        "func @forward(%%x: f32[n_tokens, %d], %%y: %s[n_tokens, %d], %%e: i32[n_tokens, %d]) {\n",
        format, a.n_experts, a.n, a.k, format, a.n_experts, a.n, a.k, name, a.n_experts, a.n, a.k,
        name, wide, a.chosen);
    mlcc_str_printf(
        &text,
        "  %%c, %%s = encode_activation %%x {mantissa_bits = 7, group = 32, floor = 1e-30} : "
        "i8[n_tokens, %d], f32[n_tokens, %d]\n"
        "  %%d, %%t = encode_activation %%y {mantissa_bits = 7, group = 32, floor = 1e-30} : "
        "i8[n_tokens, %d], f32[n_tokens, %d]\n",
        a.k, (a.k + 31) / 32, wide, (wide + 31) / 32);
    mlcc_str_printf(
        &text,
        "  %%0 = linear_scaled_experts %%c, @w.weight, %%e, %%s {group = 32} : f32[n_tokens, %d]\n"
        "  %%1 = linear_scaled_experts %%d, @v.weight, %%e, %%t, @v.bias {group = 32} : "
        "f32[n_tokens, %d]\n"
        "  %%2 = silu %%1 : f32[n_tokens, %d]\n  %%3 = cast %%2 : f16[n_tokens, %d]\n"
        "  return %%0, %%3\n}\n",
        out, out, out, out);
    subject s = open_subject(f, row, mlcc_str_text(&text));
    mlcc_str_free(&text);
    for (int r = 0; r < N_ROW_COUNTS; r++) {
        const int64_t n_rows = row_counts[r];
        ir_tensor *args[] = {
            random_matrix(IR_F32, n_rows, a.k, 2, (uint64_t)r, s.keep),
            random_matrix(float_dtypes[dtype % 3], n_rows, wide, 2, (uint64_t)r + 50, s.keep),
            random_choice(n_rows, a.chosen, a.n_experts, (uint64_t)r + 9, s.keep)};
        run_subject(&s, args, 1e-4, 1e-5);
    }
    close_subject(&s);
}

static void test_scaled_experts_dtype(test_folder *f, const kernel_row *row, ir_dtype dtype) {
    // As above; where K is no multiple of 32 all experts read the same row. The last has chunks that end within an expert.
    static const experts_shape shapes[] = {{4, 2, 40, 41},  {5, 3, 16, 192}, {3, 1, 7, 33},
                                           {20, 4, 33, 64}, {2, 2, 1, 64},   {3, 2, 1200, 320}};
    const ir_type stack = {
        .dtype = dtype, .rank = 3, .dims = {ir_dim_const(2), ir_dim_const(16), ir_dim_const(32)}};
    const int32_t code = kernel_panel16_format_of((int32_t)dtype).code;
    if (code != KERNEL_CODE_INT4 && code != KERNEL_CODE_INT8) return;
    if (!quant_format_accepts(quant_format_of(dtype), &stack)) return;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if ((i + (size_t)dtype + strlen(row->name)) % 3 == 0)
            test_scaled_experts_shape(f, row, dtype, shapes[i], shapes[i].k % 32 == 0);
    }
}

static void test_scaled_experts(test_folder *f, const kernel_row *row) {
    for_every_format(test_scaled_experts_dtype, f, row);
}

// Every way to score, with groups and without; the logits come through a prologue. What is chosen is exact, weights nearly.
static void test_route(test_folder *f, const kernel_row *row) {
    static const char *const ways[] = {
        "k = 2, renormalize = true", "k = 3, scoring = 2", "k = 1, scale = 2.5",
        ("k = 4, scoring = 1, renormalize = true, scale = 2.5, n_groups = 3, top_groups = 2, "
         "group_best = 2"),
        "k = 5, n_groups = 4, top_groups = 3"};
    static const int chosen[] = {2, 3, 1, 4, 5};
    for (int i = 0; i < 5; i++) {
        const bool has_bias = i % 2 == 1;
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @b.bias : f32[12]\n"
            "func @forward(%%x: f32[n_tokens, 12]) {\n  %%0 = scale %%x {factor = 1.5} : "
            "f32[n_tokens, 12]\n  %%1, %%2 = route_experts %%0%s {%s} : i32[n_tokens, %d], "
            "f32[n_tokens, %d]\n  return %%1, %%2\n}\n",
            has_bias ? ", @b.bias" : "", ways[i], chosen[i], chosen[i]);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *x = random_matrix(IR_F32, row_counts[r], 12, 3, (uint64_t)(r + i), s.keep);
            // Equal ones, a NaN, infinities.
            if (r > 2 && !has_bias) {
                for (int c = 0; c < 12; c++) x->f32[12 + c] = 0.25f;
                x->f32[3] = NAN;
                x->f32[24 + 5] = -INFINITY;
            }
            run_subject(&s, &x, 1e-6, 1e-5);
        }
        close_subject(&s);
    }
}

#endif
