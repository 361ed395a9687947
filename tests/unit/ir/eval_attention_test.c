// eval: kv_append and paged_attention on ragged batches, against attention computed densely from
// per-sequence lists of keys and values.
#include "tests/unit/ir/ir_fixture.h"

#include "tests/support/random_module.h"

#include <stdio.h>

enum {
    N_SEQS = 2,
    N_KV_HEADS = 2,
    GROUP = 3,
    N_HEADS = N_KV_HEADS * GROUP,
    HEAD_DIM = 5,
    PAGE = 16
};
enum { KV_COLUMNS = N_KV_HEADS * HEAD_DIM, Q_COLUMNS = N_HEADS * HEAD_DIM };
enum { N_PAGES = 7, N_SLOTS = 3, MAX_LENGTH = N_SLOTS * PAGE };

// Two sequences: one with 19 old tokens and 4 new ones, one with 36 new ones; their tokens are
// interleaved in the batch.
enum { N_TOKENS = 40 };
static const int64_t past[N_SEQS] = {19, 0};
static const int64_t fresh[N_SEQS] = {4, 36};
static const int32_t page_numbers[N_SEQS * N_SLOTS] = {5, 0, 99, 3, 6, 1};

// All keys and values of each sequence, in order.
static float all_keys[N_SEQS][MAX_LENGTH][KV_COLUMNS];
static float all_values[N_SEQS][MAX_LENGTH][KV_COLUMNS];

typedef struct batch {
    mlcc_arena *keep;
    ir_node *append, *attend;
    ir_tensor *cache, *k, *v, *q, *page_table, *seq_ids, *positions, *sinks, *slopes;
} batch;

// Attributes and optional operands of the node.
typedef struct scoring {
    double scale;
    int window;
    double softcap;
    bool has_sinks, has_slopes; // slopes: only with sinks
} scoring;

static const char text_format[] =
    "module @m level=graph\n"
    "symbol t <= 64\nsymbol p <= 64\nsymbol s <= 4\nsymbol l <= 8\n"
    "func @f(%%c: %s[p, 2, 2, 16, 5], %%k: f32[t, 10], %%v: f32[t, 10], %%q: f32[t, 30], %%pt: "
    "i32[s, l], %%seq: i32[t], %%pos: i32[t], %%sinks: f32[6], %%slopes: f16[6]) {\n"
    "    %%0 = kv_append %%c, %%k, %%v, %%pt, %%seq, %%pos : %s[p, 2, 2, 16, 5]\n"
    "    %%1 = paged_attention %%q, %%0, %%pt, %%seq, %%pos%s {head_dim = 5, scale = %s, window = "
    "%d, softcap = %s} : f32[t, 30]\n"
    "    return %%1, %%0\n"
    "}\n";

static size_t cache_place(int32_t page, int half, int head, int64_t position) {
    return (size_t)((((page * 2 + half) * N_KV_HEADS + head) * PAGE + position % PAGE) * HEAD_DIM);
}

static void fill_random(random_state *random, float *out, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = (float)random_unit(random);
}

// Old tokens into the cache tensor by hand; new ones into k and v.
static batch make_batch(mlcc_arena *keep, ir_dtype dtype, scoring how) {
    const char *dtype_text = ir_dtype_get(dtype)->text;
    char scale[32], softcap[32];
    snprintf(scale, sizeof scale, "%.17e", how.scale);
    snprintf(softcap, sizeof softcap, "%.17e", how.softcap);
    const char *extra = how.has_slopes ? ", %sinks, %slopes" : how.has_sinks ? ", %sinks" : "";
    const char *text = mlcc_arena_printf(
        keep, text_format, dtype_text, dtype_text, extra, scale, how.window, softcap);
    const ir_function *function = parse_good(keep, text)->functions[0];
    batch made = {.keep = keep, .append = function->first, .attend = function->last};
    random_state random = {5};
    fill_random(&random, &all_keys[0][0][0], sizeof all_keys / sizeof(float));
    fill_random(&random, &all_values[0][0][0], sizeof all_values / sizeof(float));
    made.cache =
        ir_tensor_create(keep, dtype, 5, (const int64_t[]){N_PAGES, 2, N_KV_HEADS, PAGE, HEAD_DIM});
    for (int64_t i = 0; i < ir_tensor_count(made.cache); i++) made.cache->f32[i] = 1000.0f;
    for (int64_t position = 0; position < past[0]; position++) {
        int32_t page = page_numbers[position / PAGE];
        for (int head = 0; head < N_KV_HEADS; head++) {
            memcpy(
                made.cache->f32 + cache_place(page, 0, head, position),
                &all_keys[0][position][head * HEAD_DIM], HEAD_DIM * sizeof(float));
            memcpy(
                made.cache->f32 + cache_place(page, 1, head, position),
                &all_values[0][position][head * HEAD_DIM], HEAD_DIM * sizeof(float));
        }
    }
    made.k = tensor_f32(keep, N_TOKENS, KV_COLUMNS, NULL);
    made.v = tensor_f32(keep, N_TOKENS, KV_COLUMNS, NULL);
    made.q = tensor_f32(keep, N_TOKENS, Q_COLUMNS, NULL);
    fill_random(&random, made.q->f32, N_TOKENS * Q_COLUMNS);
    made.sinks = ir_tensor_create(keep, IR_F32, 1, (const int64_t[]){N_HEADS});
    made.slopes = ir_tensor_create(keep, IR_F16, 1, (const int64_t[]){N_HEADS});
    for (int head = 0; head < N_HEADS; head++) {
        made.sinks->f32[head] = head == 2 ? -INFINITY : 1.5f - (float)head;
        made.slopes->f32[head] = ldexpf(1.0f, -head);
    }
    made.seq_ids = vector_i32(keep, N_TOKENS, NULL);
    made.positions = vector_i32(keep, N_TOKENS, NULL);
    made.page_table = ir_tensor_create(keep, IR_I32, 2, (const int64_t[]){N_SEQS, N_SLOTS});
    memcpy(made.page_table->i32, page_numbers, sizeof page_numbers);
    int64_t next[N_SEQS] = {past[0], past[1]};
    for (int token = 0; token < N_TOKENS; token++) {
        // Every tenth token is of sequence 0.
        int s = token % 10 == 3 ? 0 : 1;
        made.seq_ids->i32[token] = s;
        made.positions->i32[token] = (int32_t)next[s];
        memcpy(made.k->f32 + token * KV_COLUMNS, all_keys[s][next[s]], sizeof all_keys[s][0]);
        memcpy(made.v->f32 + token * KV_COLUMNS, all_values[s][next[s]], sizeof all_values[s][0]);
        next[s]++;
    }
    assert_int_equal(next[0], past[0] + fresh[0]);
    assert_int_equal(next[1], past[1] + fresh[1]);
    return made;
}

static mlcc_status *append(const batch *made, ir_tensor **out) {
    ir_tensor *operands[] = {made->cache,      made->k,       made->v,
                             made->page_table, made->seq_ids, made->positions};
    return ir_eval_node(made->append, operands, made->keep, out);
}

static mlcc_status *attend(const batch *made, ir_tensor *cache, ir_tensor **out) {
    ir_tensor *operands[] = {made->q,         cache,       made->page_table, made->seq_ids,
                             made->positions, made->sinks, made->slopes};
    return ir_eval_node(made->attend, operands, made->keep, out);
}

static void appended_cache(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    batch made = make_batch(keep, IR_F16, (scoring){.scale = 1});
    ir_tensor *result = NULL;
    expect_ok(append(&made, &result));
    int64_t n_changed = 0;
    for (int token = 0; token < N_TOKENS; token++) {
        int64_t position = made.positions->i32[token];
        int s = made.seq_ids->i32[token];
        int32_t page = page_numbers[s * N_SLOTS + position / PAGE];
        for (int column = 0; column < KV_COLUMNS; column++) {
            size_t k =
                cache_place(page, 0, column / HEAD_DIM, position) + (size_t)(column % HEAD_DIM);
            size_t v =
                cache_place(page, 1, column / HEAD_DIM, position) + (size_t)(column % HEAD_DIM);
            assert_true(result->f32[k] == ir_round_to(IR_F16, all_keys[s][position][column]));
            assert_true(result->f32[v] == ir_round_to(IR_F16, all_values[s][position][column]));
        }
    }
    // Everything else, and the operand itself, is as it was.
    for (int64_t i = 0; i < ir_tensor_count(result); i++)
        n_changed += result->f32[i] != made.cache->f32[i];
    assert_int_equal(n_changed, N_TOKENS * 2 * KV_COLUMNS);
    mlcc_arena_free(keep);
}

// Softmax over explicit lists, in long double, keys first to last.
static double dense(const batch *made, int token, int column, scoring how) {
    int head = column / HEAD_DIM;
    int kv_column = head / GROUP * HEAD_DIM;
    int s = made->seq_ids->i32[token];
    int64_t last = made->positions->i32[token];
    int64_t first = how.window > 0 && last + 1 > how.window ? last + 1 - how.window : 0;
    long double numerator = 0;
    long double denominator = how.has_sinks ? expl((long double)made->sinks->f32[head]) : 0;
    for (int64_t position = first; position <= last; position++) {
        long double score = 0;
        for (int i = 0; i < HEAD_DIM; i++) {
            score += (long double)made->q->f32[token * Q_COLUMNS + head * HEAD_DIM + i] *
                     (long double)all_keys[s][position][kv_column + i];
        }
        score *= (long double)how.scale;
        const long double cap = (long double)how.softcap;
        if (cap > 0) score = cap * tanhl(score / cap);
        if (how.has_slopes)
            score -= (long double)made->slopes->f32[head] * (long double)(last - position);
        long double weight = expl(score);
        numerator += weight * (long double)all_values[s][position][kv_column + column % HEAD_DIM];
        denominator += weight;
    }
    return (double)(numerator / denominator);
}

static void check_attention(scoring how) {
    mlcc_arena *keep = mlcc_arena_create();
    batch made = make_batch(keep, IR_F32, how);
    ir_tensor *cache = NULL;
    ir_tensor *result = NULL;
    expect_ok(append(&made, &cache));
    expect_ok(attend(&made, cache, &result));
    for (int token = 0; token < N_TOKENS; token++) {
        for (int column = 0; column < Q_COLUMNS; column++) {
            double expected = dense(&made, token, column, how);
            double found = (double)result->f32[token * Q_COLUMNS + column];
            if (fabs(found - expected) > 1e-7)
                fail_msg("token %d column %d: %.9g, expected %.9g", token, column, found, expected);
        }
    }
    mlcc_arena_free(keep);
}

static void ragged_attention_equals_dense(void **state) {
    (void)state;
    static const scoring ways[] = {
        {.scale = 0.4472135954999579},
        {.scale = 3},
        {.scale = 1, .window = 1},
        {.scale = 1, .window = 7},
        {.scale = 1, .window = 17},
        {.scale = 2, .softcap = 0.75},
        {.scale = 2, .window = 20, .softcap = 1.5},
        {.scale = 1, .has_sinks = true},
        {.scale = 1, .window = 7, .has_sinks = true},
        {.scale = 1, .has_sinks = true, .has_slopes = true},
        {.scale = 2, .window = 20, .softcap = 1.5, .has_sinks = true, .has_slopes = true},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) check_attention(ways[i]);
}

// A sink far above the scores takes all of the sum, and does not overflow.
static void large_sinks(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    batch made = make_batch(keep, IR_F32, (scoring){.scale = 1, .has_sinks = true});
    for (int head = 0; head < N_HEADS; head++) made.sinks->f32[head] = 3e38f;
    ir_tensor *cache = NULL;
    ir_tensor *result = NULL;
    expect_ok(append(&made, &cache));
    expect_ok(attend(&made, cache, &result));
    for (int64_t i = 0; i < ir_tensor_count(result); i++)
        assert_float_equal(result->f32[i], 0.0f, 0.0f);
    mlcc_arena_free(keep);
}

// Scores around 5000 do not overflow.
static void large_scores(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    batch made = make_batch(keep, IR_F32, (scoring){.scale = 4000});
    ir_tensor *cache = NULL;
    ir_tensor *result = NULL;
    expect_ok(append(&made, &cache));
    expect_ok(attend(&made, cache, &result));
    for (int64_t i = 0; i < ir_tensor_count(result); i++)
        assert_true(fabsf(result->f32[i]) <= 1.0f);
    mlcc_arena_free(keep);
}

static void bad_tables(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    batch made = make_batch(keep, IR_F32, (scoring){.scale = 1});
    ir_tensor *cache = NULL;
    ir_tensor *result = NULL;
    expect_ok(append(&made, &cache));

    made.seq_ids->i32[3] = 2;
    expect_error(append(&made, &result), "kv_append: token 3 has sequence 2, the page table has 2");
    expect_error(
        attend(&made, cache, &result),
        "paged_attention: token 3 has sequence 2, the page table has 2");
    made.seq_ids->i32[3] = -1;
    expect_error(
        append(&made, &result), "kv_append: token 3 has sequence -1, the page table has 2");
    made.seq_ids->i32[3] = 0;

    made.positions->i32[0] = 48;
    expect_error(
        append(&made, &result), "kv_append: token 0 has position 48, the page table holds 48");
    made.positions->i32[0] = -5;
    expect_error(
        attend(&made, cache, &result),
        "paged_attention: token 0 has position -5, the page table holds 48");
    made.positions->i32[0] = 0;

    made.page_table->i32[3] = N_PAGES;
    expect_error(
        append(&made, &result), "kv_append: page table entry [1, 0] is 7, the cache has 7 pages");
    expect_error(
        attend(&made, cache, &result),
        "paged_attention: page table entry [1, 0] is 7, the cache has 7 pages");
    made.page_table->i32[3] = -1;
    expect_error(
        append(&made, &result), "kv_append: page table entry [1, 0] is -1, the cache has 7 pages");
    mlcc_arena_free(keep);
}

// Entry 2 of sequence 0 is 99 in page_numbers: nobody reaches it, so it is not looked at.
static void unused_entries_may_be_anything(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    batch made = make_batch(keep, IR_F32, (scoring){.scale = 1, .window = 3});
    // With a window, pages before it are not looked at either.
    ir_tensor *cache = NULL;
    ir_tensor *result = NULL;
    expect_ok(append(&made, &cache));
    for (int token = 0; token < N_TOKENS; token++) {
        made.seq_ids->i32[token] = 0;
        made.positions->i32[token] = 20;
    }
    made.page_table->i32[0] = -7;
    expect_ok(attend(&made, cache, &result));
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_cache), cmocka_unit_test(ragged_attention_equals_dense),
        cmocka_unit_test(large_sinks),    cmocka_unit_test(large_scores),
        cmocka_unit_test(bad_tables),     cmocka_unit_test(unused_entries_may_be_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
