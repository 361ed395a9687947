// rows_latent: what rows_test.c does with the kernels of latent attention. Part of that file: it stands behind the helpers that it uses.
#ifndef MLCC_TESTS_KERNELS_ROWS_LATENT_H
#define MLCC_TESTS_KERNELS_ROWS_LATENT_H

typedef struct latent_shape {
    int n_heads, rank, n_rotated;
} latent_shape;

// Widths that are whole vectors and widths that are not; heads that fill tiles and heads that do not; more items than a block.
static const latent_shape latent_shapes[] = {{8, 32, 16}, {3, 20, 6},   {12, 64, 8},
                                             {1, 1, 2},   {16, 48, 10}, {40, 16, 4}};
enum { N_LATENT_SHAPES = sizeof latent_shapes / sizeof latent_shapes[0] };

// Every position that is not in the batch holds a NaN, which nothing may read.
static ir_tensor *latents_of(
    const ragged *batch, ir_dtype dtype, int64_t width, bool with_holes, mlcc_arena *keep) {
    ir_tensor *flat = random_matrix(dtype, batch->n_pages, 16 * width, 2, 12, keep);
    ir_tensor *cache = ir_tensor_create(keep, dtype, 3, (int64_t[]){batch->n_pages, 16, width});
    memcpy(cache->f32, flat->f32, (size_t)ir_tensor_count(cache) * sizeof(float));
    const ir_tensor *pages = page_table_of(batch, keep);
    for (int i = 0; with_holes && i < batch->n_seqs * batch->n_slots; i++) {
        const int begin = i % batch->n_slots * 16, length = batch->lengths[i / batch->n_slots];
        for (int64_t p = length > begin ? length - begin : 0; p < 16; p++)
            for (int64_t d = 0; d < width; d++)
                cache->f32[(pages->i32[i] * 16 + p) * width + d] = NAN;
    }
    return cache;
}

// A row's bits do not depend on the rows beside it: row `row` of all operands that have one for each token, alone.
static void check_row_alone(const subject *s, ir_tensor *const *args, int n_args, int64_t row) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_tensor *alone[8], *all[1], *one[1];
    const int64_t n_rows = args[0]->dims[0];
    for (int i = 0; i < n_args; i++) {
        const ir_tensor *whole = args[i];
        const bool is_per_row = whole->dims[0] == n_rows && whole->rank <= 2 &&
                                (whole->dtype != IR_I32 || whole->rank == 1);
        alone[i] = args[i];
        if (!is_per_row) continue;
        const int64_t dims[2] = {1, whole->rank == 2 ? whole->dims[1] : 0};
        alone[i] = ir_tensor_create(keep, whole->dtype, whole->rank, dims);
        if (whole->dtype == IR_I32)
            alone[i]->i32[0] = whole->i32[row];
        else
            memcpy(alone[i]->f32, whole->f32 + row * dims[1], (size_t)dims[1] * sizeof(float));
    }
    model_library_run(s->library, s->forward, args, 1, keep, all);
    model_library_run(s->library, s->forward, alone, 1, keep, one);
    const int64_t columns = one[0]->dims[1];
    assert_memory_equal(one[0]->f32, all[0]->f32 + row * columns, (size_t)columns * sizeof(float));
    mlcc_arena_free(keep);
}

static void test_latent_append(test_folder *f, const kernel_row *row) {
    for (size_t i = 0; i < N_LATENT_SHAPES; i++) {
        const latent_shape a = latent_shapes[i];
        const int width = a.rank + a.n_rotated;
        const char *name = float_names[i % 3];
        char text[2048];
        snprintf(
            text, sizeof text,
            "%sfunc @forward(%%cache: %s[n_pages, 16, %d], %%kv: f32[n_tokens, %d], %%t: "
            "f32[n_tokens, %d], %%pt: i32[n_seqs, n_page_slots], %%seq: i32[n_tokens], %%pos: "
            "i32[n_tokens]) {\n"
            "  %%c = slice %%kv {begin = 0, end = %d} : f32[n_tokens, %d]\n"
            "  %%k = slice %%kv {begin = %d, end = %d} : f32[n_tokens, %d]\n"
            "  %%r = rope %%k, %%t {head_dim = %d, interleaved = true} : f32[n_tokens, %d]\n"
            "  %%o = latent_append %%cache, %%c, %%r, %%pt, %%seq, %%pos : %s[n_pages, 16, %d]\n"
            "  return %%o\n}\n",
            attention_head, name, width, width, a.n_rotated, a.rank, a.rank, a.rank, width,
            a.n_rotated, a.n_rotated, a.n_rotated, name, width);
        subject s = open_subject(f, row, text);
        for (int v = 0; v < 5; v++) {
            ragged batch = make_ragged(v);
            ir_tensor *args[] = {
                latents_of(&batch, float_dtypes[i % 3], width, false, s.keep),
                random_matrix(IR_F32, batch.n_tokens, width, 2, 1, s.keep),
                random_matrix(IR_F32, batch.n_tokens, a.n_rotated, 2, 2, s.keep),
                page_table_of(&batch, s.keep),
                positions_of(&batch, true, s.keep),
                positions_of(&batch, false, s.keep)};
            run_subject(&s, args, 1e-6, 1e-6);
        }
        close_subject(&s);
    }
}

static void test_latent_attention(test_folder *f, const kernel_row *row) {
    for (size_t i = 0; i < N_LATENT_SHAPES; i++) {
        const latent_shape a = latent_shapes[i];
        const int width = a.rank + a.n_rotated, columns = a.n_heads * a.rank;
        const int rotated = a.n_heads * a.n_rotated;
        char text[2048];
        snprintf(
            text, sizeof text,
            "%sfunc @forward(%%q: f32[n_tokens, %d], %%r: f32[n_tokens, %d], %%t: f32[n_tokens, "
            "%d], %%cache: %s[n_pages, 16, %d], %%pt: i32[n_seqs, n_page_slots], %%seq: "
            "i32[n_tokens], %%pos: i32[n_tokens]) {\n"
            "  %%0 = scale %%q {factor = 0.5} : f32[n_tokens, %d]\n"
            "  %%1 = rope %%r, %%t {head_dim = %d, interleaved = true} : f32[n_tokens, %d]\n"
            "  %%2 = latent_attention %%0, %%1, %%cache, %%pt, %%seq, %%pos {rank = %d, scale = "
            "0.8} : f32[n_tokens, %d]\n"
            "  %%3 = scale %%2 {factor = 2.0} : f32[n_tokens, %d]\n  return %%3\n}\n",
            attention_head, columns, rotated, a.n_rotated, float_names[i % 3], width, columns,
            a.n_rotated, rotated, a.rank, columns, columns);
        subject s = open_subject(f, row, text);
        for (int v = 0; v < 5; v++) {
            ragged batch = make_ragged(v);
            ir_tensor *args[] = {
                random_matrix(IR_F32, batch.n_tokens, columns, 2, 1, s.keep),
                random_matrix(IR_F32, batch.n_tokens, rotated, 2, 3, s.keep),
                random_matrix(IR_F32, batch.n_tokens, a.n_rotated, 2, 4, s.keep),
                latents_of(&batch, float_dtypes[i % 3], width, true, s.keep),
                page_table_of(&batch, s.keep),
                positions_of(&batch, true, s.keep),
                positions_of(&batch, false, s.keep)};
            run_subject(&s, args, 2e-5, 2e-5);
            check_row_alone(&s, args, 7, batch.n_tokens / 2);
        }
        close_subject(&s);
    }
}

// Heads that share panels and heads that do not; x is cut out of wider heads.
static void test_heads(test_folder *f, const kernel_row *row) {
    static const struct {
        int n_heads, n, k;
    } shapes[] = {{4, 16, 32}, {3, 20, 7}, {2, 130, 48}, {5, 7, 16}, {1, 1, 1}, {2, 256, 129}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int n_heads = shapes[i].n_heads, n = shapes[i].n, k = shapes[i].k;
        char text[1024];
        snprintf(
            text, sizeof text,
            "module @m level=graph\nsymbol n_tokens <= 256\nparam @w : %s[%d, %d, %d]\n"
            "func @forward(%%x: f32[n_tokens, %d]) {\n"
            "  %%0 = slice %%x {begin = 0, end = %d, parts = %d} : f32[n_tokens, %d]\n"
            "  %%1 = linear_heads %%0, @w : f32[n_tokens, %d]\n"
            "  %%2 = silu %%1 : f32[n_tokens, %d]\n  return %%2\n}\n",
            float_names[i % 3], n_heads, n, k, n_heads * (k + 3), k, n_heads, n_heads * k,
            n_heads * n, n_heads * n);
        subject s = open_subject(f, row, text);
        for (int r = 0; r < N_ROW_COUNTS; r++) {
            ir_tensor *x =
                random_matrix(IR_F32, row_counts[r], n_heads * (k + 3), 2, (uint64_t)r, s.keep);
            run_subject(&s, &x, 2e-5, 1e-5);
            check_row_alone(&s, &x, 1, row_counts[r] - 1);
        }
        close_subject(&s);
    }
}

#endif
