// The attention kernels under the shim against ir/eval: ragged batches of all entries, heads of every width and group, windows and soft
// caps, sinks and slopes, with rope as prologue. What a token does not see is NaN in the cache and no page at all in the page table. Then NVRTC's PTX of a small
// shape through the interpreter, and what NVRTC says of registers.
#include "tests/support/cuda_ptx.h"
#include "tests/support/random_module.h"

#include <fcntl.h>
#include <math.h>
#include <sys/wait.h>

// ---- batches ------------------------------------------------------------------------------------------

enum { MAX_SEQS = 40 };

// Sequence i has lengths[i] positions, of which the last fresh[i] are tokens of the batch; lengths[i] 0 ends the list.
typedef struct ragged {
    const char *name;
    int lengths[MAX_SEQS + 1], fresh[MAX_SEQS + 1];
    bool is_woven; // tokens of all sequences take turns
} ragged;

static const ragged batches[] = {
    // decode, a few tokens
    {"first token", {1}, {1}, false},
    {"a page's last", {16}, {1}, false},
    {"a page's first", {17}, {1}, false},
    {"all of one split", {64}, {1}, false},
    {"one more", {65}, {1}, false},
    {"many splits", {421}, {1}, false},
    {"six of one each", {15, 1, 300, 77, 16, 128}, {1, 1, 1, 1, 1, 1}, false},
    // decode, a batch
    {"few tokens of three", {33, 5, 100}, {1, 5, 3}, false},
    {"batch of one each",
     {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 200, 3, 90, 18, 19, 7},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     false},
    {"woven", {30, 45}, {12, 12}, true},
    // prefill with blocks that share tiles
    {"a prompt", {40}, {40}, false},
    {"a prompt's second part", {300}, {70}, false},
    {"two prompts", {50, 64}, {50, 64}, false},
    {"prompts and tokens", {16, 17, 90, 2, 130}, {16, 1, 50, 2, 1}, false},
    {"larger batch of one each",
     {1, 2, 15, 16, 17, 9, 8, 33, 5, 64, 6, 1, 40, 3, 9, 18, 19, 7,
      1, 2, 15, 16, 17, 3, 2, 33, 3, 34, 5, 9, 20, 3, 9, 18, 19, 7},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     false},
    // prefill
    {"long", {150, 20}, {140, 20}, false},
};
enum { N_BATCHES = sizeof batches / sizeof batches[0] };

typedef struct shape {
    int n_heads, n_kv_heads, head_dim, window;
    double softcap;
    const char *q, *cache; // dtypes
    int n_vectors;         // 1: sinks; 2: slopes as well
} shape;

static int n_tokens_of(const ragged *batch) {
    int n = 0;
    for (int i = 0; batch->lengths[i] != 0; i++) n += batch->fresh[i];
    return n;
}

static void fill_tokens(const ragged *batch, int32_t *seq_ids, int32_t *positions) {
    int n = 0, done[MAX_SEQS] = {0};
    const int n_tokens = n_tokens_of(batch);
    for (int i = 0; n < n_tokens; i = batch->lengths[i + 1] != 0 ? i + 1 : 0) {
        for (int left = batch->is_woven ? 1 : batch->fresh[i];
             left > 0 && done[i] < batch->fresh[i]; left--) {
            seq_ids[n] = i;
            positions[n++] = batch->lengths[i] - batch->fresh[i] + done[i]++;
        }
    }
}

// Exact in f16 and bf16.
static void fill_random(float *values, int64_t n, uint64_t seed) {
    random_state random = {seed};
    for (int64_t i = 0; i < n; i++) values[i] = (float)(random_below(&random, 257) - 128) / 64.0f;
}

static ir_dtype dtype_of(const char *text) {
    ir_dtype dtype = IR_F32;
    assert_true(ir_dtype_parse(text, &dtype));
    return dtype;
}

typedef struct arguments {
    // in the function's order
    ir_tensor *qkv, *table, *cache, *page_table, *seq_ids, *positions, *sinks, *slopes;
} arguments;
enum { N_ARGUMENTS = sizeof(arguments) / sizeof(ir_tensor *) };

// Seen positions get numbers, in pages that lie scrambled.
static void fill_cache(const shape *s, const ragged *batch, arguments *a) {
    const int64_t n_slots = a->page_table->dims[1], n_pages = a->cache->dims[0];
    const int64_t row = s->head_dim, head = 16 * row, page_count = 2 * s->n_kv_heads * head;
    for (int64_t i = 0; i < ir_tensor_count(a->cache); i++) a->cache->f32[i] = NAN;
    for (int64_t i = 0; i < ir_tensor_count(a->page_table); i++) a->page_table->i32[i] = INT32_MAX;
    for (int i = 0; batch->lengths[i] != 0; i++) {
        const int begin = batch->lengths[i] - batch->fresh[i] - s->window + 1;
        for (int p = s->window > 0 && begin > 0 ? begin : 0; p < batch->lengths[i]; p++) {
            const int64_t slot = i * n_slots + p / 16, page = (slot * 7 + 3) % n_pages;
            a->page_table->i32[slot] = (int32_t)page;
            for (int h = 0; h < 2 * s->n_kv_heads; h++) {
                float *to = a->cache->f32 + page * page_count + h * head + p % 16 * row;
                fill_random(to, row, (uint64_t)((slot * 16 + p % 16) * 64 + h));
            }
        }
    }
}

static arguments make_arguments(const shape *s, const ragged *batch, mlcc_arena *keep) {
    const int64_t n_tokens = n_tokens_of(batch);
    const int64_t columns = (s->n_heads + 2 * s->n_kv_heads) * s->head_dim;
    int64_t n_seqs = 0, n_slots = 0;
    for (; batch->lengths[n_seqs] != 0; n_seqs++) {
        const int64_t slots = (batch->lengths[n_seqs] + 15) / 16;
        n_slots = slots > n_slots ? slots : n_slots;
    }
    int64_t n_pages = n_seqs * n_slots + 2;
    if (n_pages % 7 == 0) n_pages++;
    arguments a = {
        .qkv = ir_tensor_create(keep, dtype_of(s->q), 2, (int64_t[]){n_tokens, columns}),
        .table = ir_tensor_create(keep, IR_F32, 2, (int64_t[]){n_tokens, s->head_dim / 2 * 2}),
        .cache = ir_tensor_create(
            keep, dtype_of(s->cache), 5, (int64_t[]){n_pages, 2, s->n_kv_heads, 16, s->head_dim}),
        .page_table = ir_tensor_create(keep, IR_I32, 2, (int64_t[]){n_seqs, n_slots}),
        .seq_ids = ir_tensor_create(keep, IR_I32, 1, &n_tokens),
        .positions = ir_tensor_create(keep, IR_I32, 1, &n_tokens),
        .sinks = ir_tensor_create(keep, IR_F32, 1, (int64_t[]){s->n_heads}),
        .slopes = ir_tensor_create(keep, IR_F16, 1, (int64_t[]){s->n_heads})};
    // Sinks above, among and below the scores, one of them none; slopes of a length that is no power of two.
    for (int head = 0; head < s->n_heads; head++) {
        a.sinks->f32[head] = head == 1 ? -INFINITY : (float)(head % 5 - 2) * 4.0f;
        a.slopes->f32[head] = ir_round_to(IR_F16, exp2f(-8.0f * (float)(head + 1) / 12));
    }
    fill_random(a.qkv->f32, ir_tensor_count(a.qkv), 1);
    fill_random(a.table->f32, ir_tensor_count(a.table), 2);
    for (int64_t i = 0; i < ir_tensor_count(a.table); i++) a.table->f32[i] *= 0.5f;
    fill_tokens(batch, a.seq_ids->i32, a.positions->i32);
    fill_cache(s, batch, &a);
    return a;
}

// ---- modules ------------------------------------------------------------------------------------------

// Queries are the first columns of a fused projection and turned by rope: both become the prologue.
static void write_module(const shape *s, char text[2048]) {
    static const char *const vectors[] = {"", ", %sinks", ", %sinks, %slopes"};
    const int columns = s->n_heads * s->head_dim, all = columns + 2 * s->n_kv_heads * s->head_dim;
    snprintf(
        text, 2048,
        "module @m level=graph\nsymbol n_tokens <= 256\nsymbol n_seqs <= 40\nsymbol n_pages <= "
        "1024\n"
        "symbol n_page_slots <= 32\n"
        "func @forward(%%qkv: %s[n_tokens, %d], %%t: f32[n_tokens, %d], %%cache: %s[n_pages, 2, "
        "%d, 16, %d], %%pt: i32[n_seqs, n_page_slots], %%seq: i32[n_tokens], %%pos: "
        "i32[n_tokens], %%sinks: f32[%d], %%slopes: f16[%d]) {\n"
        "  %%q = slice %%qkv {begin = 0, end = %d} : %s[n_tokens, %d]\n"
        "  %%r = rope %%q, %%t {head_dim = %d} : %s[n_tokens, %d]\n"
        "  %%o = paged_attention %%r, %%cache, %%pt, %%seq, %%pos%s {head_dim = %d, scale = %.6f, "
        "window = %d, softcap = %.1f} : %s[n_tokens, %d]\n  return %%o\n}\n",
        s->q, all, s->head_dim / 2 * 2, s->cache, s->n_kv_heads, s->head_dim, s->n_heads,
        s->n_heads, columns, s->q, columns, s->head_dim, s->q, columns, vectors[s->n_vectors],
        s->head_dim, 1.0 / sqrt((double)s->head_dim), s->window, s->softcap, s->q, columns);
}

static void check_shape(test_folder *f, const shape *s, const char *row, double tolerance) {
    char text[2048];
    write_module(s, text);
    cuda_subject subject = cuda_subject_open(text, row, f->path);
    // Rope is part of the kernel, not a launch of its own.
    assert_int_equal(subject.artifact->n_instances, 1);
    for (int b = 0; b < N_BATCHES; b++) {
        // Many heads are there for their few splits, which matter to decode.
        if (s->n_kv_heads > 16 && n_tokens_of(&batches[b]) > 32) continue;
        mlcc_arena *keep = mlcc_arena_create();
        arguments a = make_arguments(s, &batches[b], keep);
        ir_tensor *args[N_ARGUMENTS];
        memcpy(args, &a, sizeof args);
        print_message(
            "%s: %d/%d heads of %d, %s\n", row, s->n_heads, s->n_kv_heads, s->head_dim,
            batches[b].name);
        cuda_subject_check(&subject, args, tolerance, tolerance);
        mlcc_arena_free(keep);
    }
    cuda_subject_close(&subject);
}

static void test_generic(void **state) {
    static const shape shapes[] = {
        {4, 2, 20, 7, 0, "f32", "f32", 0},    {2, 2, 2, 0, 2.0, "f32", "f32", 0},
        {3, 1, 64, 24, 5.0, "f32", "f16", 0}, {1, 1, 512, 0, 0, "bf16", "bf16", 0},
        {6, 2, 20, 7, 0, "f32", "f32", 1},    {3, 1, 64, 24, 5.0, "f32", "f16", 2},
    };
    if (!cuda_shim_can_compile()) skip();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        check_shape(*state, &shapes[i], "paged_attention_generic__sm80", 1e-5);
}

// Weights are rounded to 16 bits before they meet the values, which is what the tolerance is for.
static void test_mma(void **state) {
    static const shape shapes[] = {
        {32, 32, 8, 0, 0, "f16", "f16", 0},   {8, 1, 32, 24, 0, "f16", "f16", 0},
        {8, 2, 64, 0, 5.0, "f16", "f16", 0},  {7, 1, 64, 0, 0, "bf16", "bf16", 0},
        {4, 1, 128, 0, 0, "f16", "f16", 0},   {2, 1, 128, 40, 3.0, "bf16", "f16", 0},
        {12, 1, 24, 70, 0, "f16", "f16", 0},  {3, 3, 80, 0, 0, "f16", "f16", 0},
        {2, 1, 256, 0, 0, "f16", "f16", 0},   {6, 2, 96, 200, 0, "f16", "f16", 0},
        {8, 1, 64, 24, 0, "bf16", "bf16", 1}, {12, 1, 32, 0, 0, "f16", "f16", 2},
        {5, 5, 64, 0, 4.0, "f16", "f16", 2},
    };
    if (!cuda_shim_can_compile()) skip();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const bool is_bf16 = strcmp(shapes[i].cache, "bf16") == 0;
        check_shape(*state, &shapes[i], "paged_attention_mma16__sm80", is_bf16 ? 1.2e-2 : 1.5e-3);
    }
}

static void test_choice(void **state) {
    static const struct {
        shape shape;
        const char *row;
    } cases[] = {
        {{4, 2, 64, 0, 0, "f16", "f16", 0}, "paged_attention_mma16__sm80"},
        {{4, 2, 64, 0, 0, "bf16", "f16", 0}, "paged_attention_mma16__sm80"},
        {{4, 2, 64, 0, 0, "f32", "f16", 0}, "paged_attention_generic__sm80"},
        {{4, 2, 64, 0, 0, "f16", "bf16", 0}, "paged_attention_generic__sm80"},
        {{4, 2, 64, 0, 0, "f32", "f32", 0}, "paged_attention_generic__sm80"},
        {{4, 2, 20, 0, 0, "f16", "f16", 0}, "paged_attention_generic__sm80"},
        {{4, 2, 320, 0, 0, "f16", "f16", 0}, "paged_attention_generic__sm80"},
    };
    const test_folder *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[2048];
        write_module(&cases[i].shape, text);
        cuda_subject subject = cuda_subject_write(text, NULL, f->path);
        assert_string_equal(subject.artifact->instances[0].kernel, cases[i].row);
        cuda_subject_close(&subject);
    }
}

// ---- bugs ---------------------------------------------------------------------------------------------

// One change to the kernel's text that makes it wrong, though it still compiles and most would go unnoticed on a GPU most of the time. Each must
// be found by these batches: that is what the shim and its NaNs are for.
static const struct {
    const char *what, *find, *replacement;
} bugs[] = {
    {"steps not waited for", "copy_async_wait(0);\n        block_sync(); // the step",
     "block_sync(); // the step"},
    {"steps waited for by count 1", "copy_async_wait(0);\n        block_sync(); // the step",
     "copy_async_wait(1);\n        block_sync(); // the step"},
    {"no barrier before a step", "block_sync(); // the step", "// the step"},
    {"first step not committed", "next, span, base);\n    copy_async_commit();",
     "next, span, base);"},
    {"every step in the same place", "tile->turn ^= 1;", ""},
    {"the step after next", "next, span, base + KEYS);", "next, span, base + 2 * KEYS);"},
    {"next step copied before the barrier",
     "block_sync(); // the step (at first the queries too) is there, and all warps are done with "
     "the one before\n        if (base + KEYS < span.end) copy_step(env, tile, tile->turn, next, "
     "span, base + KEYS);\n",
     "if (base + KEYS < span.end) copy_step(env, tile, tile->turn, next, span, base + KEYS);\n"
     "        block_sync();\n"},
    {"pages of the step before", "base + 2 * KEYS, next);", "base + KEYS, next);"},
    {"sums keep their scale", "!= 1.0f) == 0) return;", "!= 1.0f) != 0) return;"},
    {"no barrier before the tiles are reused",
     "block_sync(); // all warps are done with keys and values", ""},
    {"no order among lanes before results are stored", "warp_sync();\n    const i32 first_row",
     "const i32 first_row"},
    {"mask one position too far", "position < end &&", "position <= end &&"},
    {"row beyond the tile stored", "if (row < tile->end_row) {", "if (row <= tile->end_row) {"},
    {"queries one row too far", "shared + 4 * TILE_BYTES;", "shared + 4 * TILE_BYTES + ROW_BYTES;"},
    {"decode: no barrier before the queries are read", "block_sync();\n    head_state state;",
     "head_state state;"},
    {"decode: no barrier before the parts are joined", "block_sync();\n    if (split.n_splits",
     "if (split.n_splits"},
    {"decode: a warp does not come to the barrier", "block_sync();\n    if (split.n_splits",
     "if (warp != 3) block_sync();\n    if (split.n_splits"},
    {"decode: parts beyond the shared memory", "parts + warp * PART)",
     "parts + (warp + 1) * PART)"},
    {"decode: a shared load that is not aligned", "64 + t * 16);", "64 + t * 16 + 4);"},
    {"decode: a lane misses the warp's barrier", "warp_sync(); // the matrix",
     "if (lane_index() != 5) warp_sync(); // the matrix"},
    {"decode: unseen values are read", "d < HEAD_DIM && row >= begin && row < end", "d < HEAD_DIM"},
    {"decode: the next page's number is not the page's", "walk->page = following;", ""},
    {"decode: the page after next is the next", "walk->slot + 2 * walk->stride",
     "walk->slot + walk->stride"},
    {"splits: a page too few", "range.begin_slot + of_split, first",
     "range.begin_slot + of_split - 1, first"},
    {"splits: the last one forgotten", "(count + of_split - 1) / of_split", "count / of_split"},
    {"splits: the last, not the latest, joins",
     "if (arrive_last(counter, (u32)split.n_splits, (u32 *)shared))",
     "arrive_last(counter, (u32)split.n_splits, (u32 *)shared);\n    if (block_index_z() == "
     "split.n_splits - 1)"},
    {"splits: one before the latest joins", "*shared != n_blocks", "*shared != n_blocks - 1"},
    {"splits: the counter stays", "if (thread_index() == 0) *counter = 0;", ""},
    {"splits: no barrier before the count is read", "block_sync();\n    if (*shared",
     "if (*shared"},
    {"splits: no barrier before the factors are read", "block_sync();\n    NO_UNROLL", "NO_UNROLL"},
    {"singly: no order before the queries are read",
     "n_heads);\n        warp_sync();\n        head_state", "n_heads);\n        head_state"},
    {"sinks: in every warp's part", "walk->slot == walk->span.begin / ATTENTION_PAGE", "true"},
    {"sinks: in every lane's total", "lane_index() < 4 ? sink_total(state->largest[j]) : 0.0f",
     "sink_total(state->largest[j])"},
    {"sinks: in every lane's total of a tile", "lane_index() % 4 == 0 ? sink_total(sink) : 0.0f",
     "sink_total(sink)"},
    {"slopes: of the head beside", "head_slope(env, head) :", "head_slope(env, head ^ 1) :"},
    {"slopes: one position too far", "(float)(row + 1 - end)", "(float)(row - end)"},
    {"singly: no order before the part is read", "warp_sync();\n        store_joined(env, part, 1",
     "store_joined(env, part, 1"},
};

static const cuda_subject *suspect; // of the process that runs it
static const shape bug_shape = {8, 2, 64, 0, 0, "f16", "f16", 2};

static void run_suspect(void **state) {
    (void)state;
    static const char *const names[] = {
        "few tokens of three", "many splits", "a prompt's second part", "larger batch of one each"};
    for (int b = 0; b < N_BATCHES; b++) {
        bool is_wanted = false;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            is_wanted |= strcmp(batches[b].name, names[i]) == 0;
        if (!is_wanted) continue;
        mlcc_arena *keep = mlcc_arena_create();
        arguments a = make_arguments(&bug_shape, &batches[b], keep);
        ir_tensor *args[N_ARGUMENTS];
        memcpy(args, &a, sizeof args);
        cuda_subject_check(suspect, args, 1.5e-3, 1.5e-3);
        mlcc_arena_free(keep);
    }
}

// In a process of its own, because a bug may also end it.
static bool is_found(const cuda_subject *subject) {
    suspect = subject;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
        alarm(120);
        const struct CMUnitTest tests[] = {cmocka_unit_test(run_suspect)};
        _exit(cmocka_run_group_tests(tests, NULL, NULL) != 0);
    }
    int outcome = 0;
    assert_int_equal(waitpid(child, &outcome, 0), child);
    return !WIFEXITED(outcome) || WEXITSTATUS(outcome) != 0;
}

// The mma row with `find` replaced in its text; both NULL: as it is.
static cuda_subject open_changed(const test_folder *f, const char *find, const char *replacement) {
    char text[2048];
    write_module(&bug_shape, text);
    cuda_subject subject = cuda_subject_write(text, "paged_attention_mma16__sm80", f->path);
    if (find != NULL) cuda_subject_put_mistake(&subject, find, replacement);
    cuda_subject_finish(&subject, NULL);
    return subject;
}

static void test_bugs(void **state) {
    if (!cuda_shim_can_compile() || !cuda_subject_takes_mistakes()) skip();
    cuda_subject right = open_changed(*state, NULL, NULL);
    assert_false(is_found(&right));
    cuda_subject_close(&right);
    int n_missed = 0;
    for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        cuda_subject wrong = open_changed(*state, bugs[i].find, bugs[i].replacement);
        if (!is_found(&wrong)) {
            print_error("not found: %s\n", bugs[i].what);
            n_missed++;
        }
        cuda_subject_close(&wrong);
    }
    assert_int_equal(n_missed, 0);
}

// ---- NVRTC --------------------------------------------------------------------------------------------

// Every entry once: one split, several, a tile of one sequence, tiles of two and of many.
static void test_ptx(void **state) {
    static const char *const names[] = {
        "a page's first", "six of one each", "few tokens of three", "two prompts",
        "larger batch of one each"};
    static const char *const archs[] = {"compute_80", "compute_90a"};
    static const shape small = {6, 2, 24, 0, 0, "f16", "f16", 0};
    const test_folder *f = *state;
    nvrtc_library *library = ptx_nvrtc_open();
    char text[2048];
    write_module(&small, text);
    cuda_subject subject = cuda_subject_write(text, "paged_attention_mma16__sm80", f->path);
    for (size_t k = 0; k < sizeof archs / sizeof archs[0]; k++) {
        cuda_ptx_modules modules;
        cuda_ptx_compile(&subject, library, archs[k], &modules);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            const ragged *batch = batches;
            while (strcmp(batch->name, names[i]) != 0) batch++;
            mlcc_arena *keep = mlcc_arena_create();
            arguments a = make_arguments(&small, batch, keep);
            ir_tensor *args[N_ARGUMENTS];
            memcpy(args, &a, sizeof args);
            ir_tensor *expected = NULL, *actual = NULL;
            const ir_eval_options options = {0};
            print_message("%s: %s\n", archs[k], batch->name);
            assert_ok(ir_eval_function(subject.forward, args, &options, keep, &expected));
            cuda_subject_run(&subject, args, 0, keep, &actual);
            assert_tensors_near(actual, expected, 1.5e-3, 2.5e-3, archs[k]);
            mlcc_arena_free(keep);
        }
        cuda_ptx_free(&subject, &modules);
    }
    cuda_subject_close(&subject);
    nvrtc_close(library);
}

// Number before `what` in a line of ptxas; fails where a line says more than `most`.
static int assert_at_most(const char *log, const char *what, long most) {
    int n = 0;
    for (const char *p = strstr(log, what); p != NULL; p = strstr(p + 1, what), n++) {
        const char *number = p;
        while (number > log && number[-1] == ' ') number--;
        while (number > log && number[-1] >= '0' && number[-1] <= '9') number--;
        if (strtol(number, NULL, 10) > most) fail_msg("more than %ld%s:\n%s", most, what, log);
    }
    return n;
}

// The first shape for all architectures, the others for an old and a new one. What NVRTC says to the same text is in its cache, for the next run and for
// the sanitizers'.
static void test_nvrtc(void **state) {
    static const shape shapes[] = {
        {32, 8, 128, 0, 0, "f16", "f16", 0},    {32, 8, 128, 4096, 30.0, "f16", "f16", 0},
        {28, 4, 128, 0, 0, "bf16", "bf16", 0},  {8, 4, 256, 0, 0, "f16", "f16", 0},
        {64, 8, 64, 128, 0, "bf16", "bf16", 1}, {32, 32, 128, 0, 0, "f16", "f16", 2},
    };
    const test_folder *f = *state;
    nvrtc_library *library = ptx_nvrtc_open();
    cuda_arch *archs = NULL;
    size_t n_archs = 0;
    assert_ok(
        cuda_archs_parse("cuda:sm_80,sm_86,sm_89,sm_90a", library, f->keep, &archs, &n_archs));
    assert_int_equal(n_archs, 4);
    const cuda_arch *all[] = {&archs[0], &archs[1], &archs[2], &archs[3]};
    const cuda_arch *old_and_new[] = {&archs[0], &archs[3]};
    const cuda_compile_options options = {.cache_directory = mlcc_path_cache(f->keep)};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char text[2048];
        write_module(&shapes[i], text);
        cuda_subject subject = cuda_subject_write(text, "paged_attention_mma16__sm80", f->path);
        cuda_unit unit = {
            .name = "attention",
            .source = mlcc_str_text(&subject.sources[0]),
            .archs = i == 0 ? all : old_and_new,
            .n_archs = i == 0 ? 4 : 2};
        assert_ok(cuda_compile(library, &options, &unit, 1, subject.keep));
        for (size_t k = 0; k < unit.n_archs; k++) {
            const char *log = unit.images[k].log;
            print_message("%s, head %d:\n%s\n", unit.archs[k]->text, shapes[i].head_dim, log);
            assert_int_equal(assert_at_most(log, " bytes stack frame", 0), 2);
            assert_int_equal(assert_at_most(log, " bytes spill stores", 0), 2);
        }
        cuda_subject_close(&subject);
    }
    nvrtc_close(library);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_generic, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_mma, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_choice, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_bugs, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_ptx, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_nvrtc, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
