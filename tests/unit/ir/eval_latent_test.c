// Attention over latents is attention with one head of k and v whose keys are the cached rows and whose values are their first columns; products of
// single heads are linears of slices.
#include "tests/support/random_module.h"
#include "tests/unit/ir/eval_fixture.h"

enum { N_HEADS = 3, RANK = 5, N_ROTATED = 2, WIDTH = RANK + N_ROTATED, N_PAGES = 6, N_SLOTS = 2 };
enum { N_SEQS = 2, N_TOKENS = 24 };

// Sequence 1 has 18 tokens of the batch from position 0 on, sequence 0 six from position 9 on.
static ir_tensor *page_table, *seq_ids, *positions;

static void fill_places(void) {
    static const int32_t pages[N_SEQS * N_SLOTS] = {4, 1, 0, 5};
    const int64_t n = N_TOKENS;
    page_table = ir_tensor_create(keep, IR_I32, 2, (const int64_t[]){N_SEQS, N_SLOTS});
    memcpy(page_table->i32, pages, sizeof pages);
    seq_ids = ir_tensor_create(keep, IR_I32, 1, &n);
    positions = ir_tensor_create(keep, IR_I32, 1, &n);
    for (int t = 0; t < N_TOKENS; t++) {
        seq_ids->i32[t] = t < 18;
        positions->i32[t] = t < 18 ? t : 9 + t - 18;
    }
}

static ir_tensor *random_f32(int64_t rows, int64_t columns, uint64_t seed) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_F32, 2, (const int64_t[]){rows, columns});
    random_state random = {seed};
    for (int64_t i = 0; i < rows * columns; i++) tensor->f32[i] = (float)random_unit(&random);
    return tensor;
}

static ir_tensor *cache_tensor(ir_dtype dtype) {
    ir_tensor *cache = ir_tensor_create(keep, dtype, 3, (const int64_t[]){N_PAGES, 16, WIDTH});
    random_state random = {7};
    for (int64_t i = 0; i < ir_tensor_count(cache); i++)
        cache->f32[i] = (float)(random_below(&random, 64) - 32) / 16;
    return cache;
}

static void append_writes_rows(void **state) {
    (void)state;
    fill_places();
    ir_tensor *cache = cache_tensor(IR_F16), *out = NULL;
    ir_tensor *latent = random_f32(N_TOKENS, RANK, 1),
              *rotated = random_f32(N_TOKENS, N_ROTATED, 2);
    ir_tensor *operands[] = {cache, latent, rotated, page_table, seq_ids, positions};
    ir_value *args[6];
    for (int i = 0; i < 6; i++) args[i] = arg_like(operands[i]);
    ir_value *value = ir_latent_append(&b, args[0], args[1], args[2], args[3], args[4], args[5]);
    expect_ok(b.status);
    expect_ok(ir_eval_node(value->def, operands, keep, &out));
    int n_changed = 0;
    for (int t = 0; t < N_TOKENS; t++) {
        const int32_t p = positions->i32[t];
        const int32_t page = page_table->i32[seq_ids->i32[t] * N_SLOTS + p / 16];
        const float *row = out->f32 + (page * 16 + p % 16) * WIDTH;
        for (int i = 0; i < WIDTH; i++) {
            const float given =
                i < RANK ? latent->f32[t * RANK + i] : rotated->f32[t * N_ROTATED + i - RANK];
            assert_true(row[i] == ir_f16_to_f32(ir_f32_to_f16(given)));
        }
    }
    for (int64_t i = 0; i < ir_tensor_count(cache); i += WIDTH)
        n_changed += memcmp(cache->f32 + i, out->f32 + i, WIDTH * sizeof(float)) != 0;
    assert_int_equal(n_changed, N_TOKENS);

    positions->i32[3] = 32;
    ir_tensor *nothing = NULL;
    expect_error(
        ir_eval_node(value->def, operands, keep, &nothing),
        "latent_append: token 3 is at position 32 of sequence 1; the page table has 2 sequences of "
        "32 positions");
    positions->i32[3] = 3;
    page_table->i32[2] = N_PAGES;
    expect_error(
        ir_eval_node(value->def, operands, keep, &nothing),
        "latent_append: page table entry [1, 0] is 6, the cache has 6 pages");
}

// The same through paged_attention: q and rotated side by side, rows as keys and as values.
static void attention_is_that_of_one_head(void **state) {
    (void)state;
    fill_places();
    ir_tensor *cache = cache_tensor(IR_F32), *actual = NULL, *expected = NULL;
    ir_tensor *q = random_f32(N_TOKENS, N_HEADS * RANK, 3);
    ir_tensor *rotated = random_f32(N_TOKENS, N_HEADS * N_ROTATED, 4);
    ir_tensor *operands[] = {q, rotated, cache, page_table, seq_ids, positions};
    ir_value *args[6];
    for (int i = 0; i < 6; i++) args[i] = arg_like(operands[i]);
    ir_value *value =
        ir_latent_attention(&b, args[0], args[1], args[2], args[3], args[4], args[5], RANK, 0.7);
    expect_ok(b.status);
    expect_ok(ir_eval_node(value->def, operands, keep, &actual));

    ir_tensor *joined = random_f32(N_TOKENS, N_HEADS * WIDTH, 0);
    for (int i = 0; i < N_TOKENS * N_HEADS; i++) {
        memcpy(joined->f32 + i * WIDTH, q->f32 + i * RANK, RANK * sizeof(float));
        memcpy(
            joined->f32 + i * WIDTH + RANK, rotated->f32 + i * N_ROTATED,
            N_ROTATED * sizeof(float));
    }
    ir_tensor *both =
        ir_tensor_create(keep, IR_F32, 5, (const int64_t[]){N_PAGES, 2, 1, 16, WIDTH});
    for (int page = 0; page < N_PAGES; page++)
        for (int half = 0; half < 2; half++)
            memcpy(
                both->f32 + (page * 2 + half) * 16 * WIDTH, cache->f32 + page * 16 * WIDTH,
                16 * WIDTH * sizeof(float));
    ir_tensor *paged[] = {joined, both, page_table, seq_ids, positions};
    ir_value *wide = ir_paged_attention(
        &b, arg_like(joined), arg_like(both), args[3], args[4], args[5],
        &(ir_attention){.head_dim = WIDTH, .scale = 0.7});
    expect_ok(b.status);
    expect_ok(ir_eval_node(wide->def, paged, keep, &expected));
    for (int i = 0; i < N_TOKENS * N_HEADS; i++)
        for (int d = 0; d < RANK; d++)
            assert_true(fabsf(actual->f32[i * RANK + d] - expected->f32[i * WIDTH + d]) < 1e-6f);
}

static void heads_are_linears(void **state) {
    (void)state;
    enum { ROWS = 4, N = 3, K = 2 };
    ir_tensor *x = random_f32(ROWS, N_HEADS * K, 5), *actual = NULL, *expected = NULL;
    ir_tensor *w = ir_tensor_create(keep, IR_F32, 3, (const int64_t[]){N_HEADS, N, K});
    memcpy(w->f32, random_f32(N_HEADS * N, K, 6)->f32, (size_t)(N_HEADS * N * K) * sizeof(float));
    ir_tensor *operands[] = {x, w};
    ir_value *x_arg = arg_like(x), *value = ir_linear_heads(&b, x_arg, arg_like(w));
    expect_ok(b.status);
    expect_ok(ir_eval_node(value->def, operands, keep, &actual));
    for (int head = 0; head < N_HEADS; head++) {
        ir_tensor *part = random_f32(ROWS, K, 0), *matrix = random_f32(N, K, 0);
        memcpy(matrix->f32, w->f32 + head * N * K, N * K * sizeof(float));
        for (int row = 0; row < ROWS; row++)
            memcpy(part->f32 + row * K, x->f32 + (row * N_HEADS + head) * K, K * sizeof(float));
        ir_tensor *two[] = {part, matrix};
        ir_value *linear = ir_linear(&b, arg_like(part), arg_like(matrix), NULL, IR_F32);
        expect_ok(b.status);
        expect_ok(ir_eval_node(linear->def, two, keep, &expected));
        for (int row = 0; row < ROWS; row++)
            assert_memory_equal(
                actual->f32 + (row * N_HEADS + head) * N, expected->f32 + row * N,
                N * sizeof(float));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(append_writes_rows), TEST(attention_is_that_of_one_head), TEST(heads_are_linears)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
