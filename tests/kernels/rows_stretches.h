// rows_stretches: what rows_test.c does with the kernels of attention where a query sees more than one stretch of positions
// (codegen/cpu/kernels/paged_attention_body.h). Part of that file: it stands behind the helpers that it uses.
#ifndef MLCC_TESTS_KERNELS_ROWS_STRETCHES_H
#define MLCC_TESTS_KERNELS_ROWS_STRETCHES_H

// Windows that begin inside a stretch and end in another one, or are as long as one; heads alone and in groups.
static const attention_shape stretch_shapes[] = {
    {8, 2, 16, 0, 0, 0},     {4, 1, 64, 700, 0, 0}, {6, 3, 20, 0, 5.0, 0},
    {8, 4, 32, 512, 0.0, 1}, {4, 4, 16, 0, 0, 1},   {4, 2, 24, 600, 20.0, 2},
};

// One token, at the ends of stretches too; few tokens of sequences of different lengths or of one; more tokens than share a head.
static ragged make_stretches(int variant) {
    static const ragged all[] = {
        {.n_seqs = 1, .lengths = {1500}, .fresh = {1}},
        {.n_seqs = 2, .lengths = {512, 513}, .fresh = {1, 1}},
        {.n_seqs = 4, .lengths = {1500, 3, 600, 1025}, .fresh = {1, 1, 1, 1}},
        {.n_seqs = 2, .lengths = {1026, 40}, .fresh = {3, 1}},
        {.n_seqs = 3, .lengths = {1060, 520, 5}, .fresh = {50, 10, 5}},
    };
    return complete_ragged(all[variant]);
}
enum { N_STRETCHES = 5 };

// Two attentions that may run side by side, as the second does not wait for the result of the first: only for their shared memory.
static subject open_stretches(
    test_folder *f, const kernel_row *row, const attention_shape *a, int type) {
    static const char *const vectors[] = {"", ", %sinks", ", %sinks, %slopes"};
    const int columns = a->n_heads * a->head_dim;
    mlcc_str text = {0};
    mlcc_str_printf(
        &text,
        "module @m level=graph\nsymbol n_tokens <= 256\nsymbol n_seqs <= 4\nsymbol n_pages <= "
        "512\nsymbol n_page_slots <= 100\nfunc @forward(%%q0: f32[n_tokens, %d], %%cache: "
        "%s[n_pages, 2, %d, 16, %d], %%pt: i32[n_seqs, n_page_slots], %%seq: i32[n_tokens], %%pos: "
        "i32[n_tokens], %%sinks: f32[%d], %%slopes: f16[%d]) {\n"
        "  %%q1 = scale %%q0 {factor = 0.5} : f32[n_tokens, %d]\n",
        columns, float_names[type], a->n_kv_heads, a->head_dim, a->n_heads, a->n_heads, columns);
    for (int i = 0; i < 2; i++)
        mlcc_str_printf(
            &text,
            "  %%y%d = paged_attention %%q%d, %%cache, %%pt, %%seq, %%pos%s {head_dim = %d, scale "
            "= 0.8, window = %d, softcap = %.1f} : f32[n_tokens, %d]\n",
            i, i, vectors[a->n_vectors], a->head_dim, a->window, a->softcap, columns);
    mlcc_str_puts(&text, "  return %y0, %y1\n}\n");
    subject s = open_subject(f, row, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return s;
}

// Any number of threads gives the bits of one, which are near those of ir/eval.
static void run_stretches(const subject *s, ir_tensor *const *args) {
    static const int32_t n_threads[] = {2, 3, 8};
    run_subject(s, args, 2e-5, 2e-5);
    mlcc_arena *keep = mlcc_arena_create();
    ir_tensor *one[2], *many[2];
    model_library_run(s->library, s->forward, args, 1, keep, one);
    for (int i = 0; i < 3; i++) {
        model_library_run(s->library, s->forward, args, n_threads[i], keep, many);
        for (int r = 0; r < 2; r++) assert_same_bits(many[r], one[r], s->row->name);
    }
    mlcc_arena_free(keep);
}

static float *cached(
    const ir_tensor *cache, const ir_tensor *pages, int64_t slot, bool is_value, int64_t head,
    int64_t in_page) {
    const int64_t n_heads = cache->dims[2], head_dim = cache->dims[4];
    const int64_t matrix = (pages->i32[slot] * 2 + (is_value ? 1 : 0)) * n_heads + head;
    return cache->f32 + (matrix * 16 + in_page) * head_dim;
}

// Positions behind the last of a sequence hold a NaN, which nothing may read.
static void fill_holes(const ragged *batch, const ir_tensor *pages, ir_tensor *cache) {
    for (int64_t i = 0; i < (int64_t)batch->n_seqs * batch->n_slots; i++) {
        const int64_t begin = i % batch->n_slots * 16, length = batch->lengths[i / batch->n_slots];
        for (int64_t p = length > begin ? length - begin : 0; p < 16; p++)
            for (int64_t head = 0; head < cache->dims[2]; head++)
                for (int64_t d = 0; d < cache->dims[4]; d++)
                    cached(cache, pages, i, false, head, p)[d] =
                        cached(cache, pages, i, true, head, p)[d] = NAN;
    }
}

static void test_stretches(test_folder *f, const kernel_row *row) {
    for (size_t i = 0; i < sizeof stretch_shapes / sizeof stretch_shapes[0]; i++) {
        if (leaves_shape_out(row, i)) continue;
        const attention_shape a = stretch_shapes[i];
        const int type = (int)(i % 3);
        subject s = open_stretches(f, row, &a, type);
        for (int v = 0; v < N_STRETCHES; v++) {
            // Sanitized, each shape with some of the variants and each variant with some of the shapes: ir/eval takes most of the time.
            if (IS_SANITIZED && (i + (size_t)v) % 3 != 0) continue;
            ragged batch = make_stretches(v);
            ir_tensor *args[] = {
                random_matrix(IR_F32, batch.n_tokens, a.n_heads * a.head_dim, 2, 1, s.keep),
                cache_of(&batch, float_dtypes[type], a.n_kv_heads, a.head_dim, s.keep),
                page_table_of(&batch, s.keep),
                positions_of(&batch, true, s.keep),
                positions_of(&batch, false, s.keep),
                ir_tensor_create(s.keep, IR_F32, 1, (int64_t[]){a.n_heads}),
                ir_tensor_create(s.keep, IR_F16, 1, (int64_t[]){a.n_heads})};
            fill_vectors(a.n_heads, args[5], args[6]);
            fill_holes(&batch, args[2], args[1]);
            run_stretches(&s, args);
            // What is no number, in the second stretch of one kv head and the first of another, reaches their queries and no others.
            if (i > 0) continue;
            if (batch.n_slots > 40) cached(args[1], args[2], 40, true, 0, 3)[5] = NAN;
            cached(args[1], args[2], 2, true, 1, 9)[0] = INFINITY;
            run_stretches(&s, args);
        }
        close_subject(&s);
    }
}

#endif
