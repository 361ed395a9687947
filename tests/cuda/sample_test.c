// Sampling has one answer: the op's definition (ir/eval), the host's sampler and the CUDA kernel, run under cuda_shim, must give the same tokens for any
// vocabulary, setting and logits.
#include "runtime/base/chance.h"
#include "runtime/model/sampler.h"
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

#include <math.h>

// ---- rows of logits -----------------------------------------------------------------------------------------

typedef float logits_kind(random_state *random, int64_t i);

static float bell(random_state *random, int64_t i) {
    (void)i;
    double sum = 0.0;
    for (int k = 0; k < 6; k++) sum += random_unit(random) - 0.5;
    return (float)(3.0 * sum);
}

static float one_value(random_state *random, int64_t i) {
    (void)random, (void)i;
    return -2.5f;
}

static float few_values(random_state *random, int64_t i) {
    (void)i;
    return 0.5f * (float)random_below(random, 5) - 0.0f;
}

static float zeros_of_both_signs(random_state *random, int64_t i) {
    (void)i;
    return random_below(random, 2) == 0 ? -0.0f : 0.0f;
}

static float close_together(random_state *random, int64_t i) {
    (void)i;
    return 1.0f + 0x1p-23f * (float)random_below(random, 64);
}

static float far_apart(random_state *random, int64_t i) {
    (void)i;
    return (float)(random_unit(random) * 1e3);
}

static float strange(random_state *random, int64_t i) {
    (void)i;
    switch (random_below(random, 6)) {
    case 0: return NAN;
    case 1: return -INFINITY;
    case 2: return -3e38f;
    default: return bell(random, i);
    }
}

static float infinite(random_state *random, int64_t i) {
    return random_below(random, 9) == 0 ? INFINITY : strange(random, i);
}

static float nothing(random_state *random, int64_t i) {
    (void)i;
    return random_below(random, 2) == 0 ? NAN : -INFINITY;
}

static logits_kind *const kinds[] = {bell,           one_value, few_values, zeros_of_both_signs,
                                     close_together, far_apart, strange,    infinite,
                                     nothing};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

// ---- settings -----------------------------------------------------------------------------------------------

static mlcc_sampling random_sampling(random_state *random, int64_t vocab) {
    static const float temperatures[] = {0.0f, 1e-5f, 0.3f, 0.8f, 1.0f, 2.0f, 50.0f, 2e-5f};
    static const float parts[] = {1.0f, 0.95f, 0.5f, 0.1f, 0.0f, 0.9999f, 1e-6f};
    static const float least[] = {0.0f, 0.0f, 0.05f, 0.5f, 1.0f};
    mlcc_sampling s = mlcc_sampling_default();
    s.temperature = temperatures[random_below(random, 8)];
    s.top_p = parts[random_below(random, 7)];
    if (random_below(random, 2) == 0) s.top_p = 1.0f;
    s.min_p = least[random_below(random, 5)];
    if (random_below(random, 2) == 0) s.top_k = (int32_t)random_below(random, 2 * vocab + 3);
    if (random_below(random, 3) == 0) s.top_k = (int32_t)random_below(random, 60);
    if (random_below(random, 2) == 0) s.repetition_penalty = 1.0f + (float)random_unit(random) / 2;
    if (random_below(random, 3) == 0) s.presence_penalty = (float)random_unit(random) * 2;
    if (random_below(random, 3) == 0) s.frequency_penalty = (float)random_unit(random);
    s.seed = (uint64_t)random_below(random, 1 << 30);
    return s;
}

// A sampler that has generated `n` tokens already.
static mlcc_sampler *used_sampler(
    mlcc_sampling sampling, int64_t vocab, int64_t n, random_state *random) {
    mlcc_sampler *sampler = NULL;
    assert_ok(mlcc_sampler_create(&sampling, vocab, &sampler));
    for (int64_t i = 0; i < n; i++)
        mlcc_sampler_accept(sampler, (int32_t)random_below(random, vocab));
    return sampler;
}

// ---- the three ----------------------------------------------------------------------------------------------

enum { MAX_ROWS = 3 };

typedef struct sample_args {
    ir_tensor *tensors[6];
    mlcc_sampler *samplers[MAX_ROWS];
} sample_args;

static void fill_row(sample_args *args, int64_t row, int32_t *n_history) {
    const mlcc_sampler *sampler = args->samplers[row];
    const mlcc_sampling *s = mlcc_sampler_get_sampling(sampler);
    const uint64_t random = mlcc_sampler_next_random(sampler);
    const float settings[] = {
        s->temperature, s->top_p, (float)s->top_k, s->min_p, s->repetition_penalty};
    memcpy(args->tensors[1]->f32 + row * 5, settings, sizeof settings);
    args->tensors[2]->i32[row * 2] = (int32_t)(uint32_t)random;
    args->tensors[2]->i32[row * 2 + 1] = (int32_t)(uint32_t)(random >> 32);
    mlcc_sampler_get_history(
        sampler, args->tensors[4]->i32 + *n_history, args->tensors[5]->f32 + *n_history);
    args->tensors[3]->i32[row * 2] = *n_history;
    *n_history += (int32_t)mlcc_sampler_n_history(sampler);
    args->tensors[3]->i32[row * 2 + 1] = *n_history;
}

// `n_past`: tokens that each row has generated before.
static sample_args make_args(
    int64_t rows, int64_t vocab, int64_t n_past, random_state *random, mlcc_arena *keep) {
    sample_args args = {0};
    int64_t n_history = 0;
    for (int64_t r = 0; r < rows; r++) {
        args.samplers[r] = used_sampler(random_sampling(random, vocab), vocab, n_past, random);
        n_history += mlcc_sampler_n_history(args.samplers[r]);
    }
    if (n_history == 0) n_history = 1;
    const int64_t of_rows[][2] = {{rows, vocab}, {rows, 5}, {rows, 2}, {rows, 2}};
    for (int i = 0; i < 4; i++)
        args.tensors[i] = ir_tensor_create(keep, i < 2 ? IR_F32 : IR_I32, 2, of_rows[i]);
    args.tensors[4] = ir_tensor_create(keep, IR_I32, 1, &n_history);
    args.tensors[5] = ir_tensor_create(keep, IR_F32, 1, &n_history);
    int32_t used = 0;
    for (int64_t r = 0; r < rows; r++) {
        logits_kind *kind = kinds[random_below(random, N_KINDS)];
        for (int64_t i = 0; i < vocab; i++) args.tensors[0]->f32[r * vocab + i] = kind(random, i);
        fill_row(&args, r, &used);
    }
    return args;
}

static cuda_subject open_subject(const test_folder *f, int64_t vocab) {
    char text[1024];
    snprintf(
        text, sizeof text,
        "module @m level=graph\nsymbol n_logits <= 16\nsymbol n_history <= 100000\n"
        "func @forward(%%logits: f32[n_logits, %lld], %%settings: f32[n_logits, 5], "
        "%%random: i32[n_logits, 2], %%ranges: i32[n_logits, 2], %%tokens: i32[n_history], "
        "%%subtracted: f32[n_history]) {\n"
        "  %%0 = sample %%logits, %%settings, %%random, %%ranges, %%tokens, %%subtracted : "
        "i32[n_logits]\n  return %%0\n}\n",
        (long long)vocab);
    return cuda_subject_open(text, "sample__sm80", f->path);
}

static void check_three(
    const cuda_subject *s, int64_t rows, int64_t vocab, int64_t n_past, random_state *random) {
    mlcc_arena *keep = mlcc_arena_create();
    sample_args args = make_args(rows, vocab, n_past, random, keep);
    ir_tensor *defined[1], *found[1];
    assert_ok(ir_eval_function(s->forward, args.tensors, NULL, keep, defined));
    cuda_subject_run(s, args.tensors, (uint64_t)random_below(random, 2), keep, found);
    for (int64_t r = 0; r < rows; r++) {
        const int32_t token =
            mlcc_sampler_sample(args.samplers[r], args.tensors[0]->f32 + r * vocab);
        if (token == defined[0]->i32[r] && token == found[0]->i32[r]) continue;
        const mlcc_sampling *p = mlcc_sampler_get_sampling(args.samplers[r]);
        fail_msg(
            "vocabulary %lld, %lld past tokens, temperature %g, top_p %g, top_k %d, min_p %g: "
            "defined %d, host %d, kernel %d",
            (long long)vocab, (long long)n_past, (double)p->temperature, (double)p->top_p, p->top_k,
            (double)p->min_p, defined[0]->i32[r], token, found[0]->i32[r]);
    }
    for (int64_t r = 0; r < rows; r++) mlcc_sampler_free(args.samplers[r]);
    mlcc_arena_free(keep);
}

static void test_kernel(void **state) {
    const test_folder *f = *state;
    static const struct {
        int64_t vocab, n_cases;
    } sizes[] = {{1, 8}, {31, 40}, {1000, 40}, {32003, 12}, {128256, 6}};
    for (size_t v = 0; v < sizeof sizes / sizeof sizes[0]; v++) {
        const int64_t vocab = sizes[v].vocab;
        random_state random = {77 + (uint64_t)vocab};
        cuda_subject s = open_subject(f, vocab);
        for (int64_t i = 0; i < sizes[v].n_cases; i++)
            check_three(&s, vocab > 10000 ? 1 : 1 + i % MAX_ROWS, vocab, i % 3 * 7 * i, &random);
        cuda_subject_close(&s);
    }
}

// ---- the arithmetic -----------------------------------------------------------------------------------------

// Weights never rise with the distance, which lets top-k, top-p and min-p cut one order; and they are powers of two.
static void test_weights(void **state) {
    (void)state;
    assert_int_equal(mlcc_chance_weight(0), MLCC_CHANCE_ONE);
    uint64_t before = MLCC_CHANCE_ONE;
    for (uint32_t distance = 1; distance <= (uint32_t)1 << 26; distance++) {
        const uint64_t weight = mlcc_chance_weight(distance);
        if (weight > before) fail_msg("the weight rises at distance %u", distance);
        before = weight;
    }
    assert_int_equal(before, MLCC_CHANCE_ONE / 2);
    assert_int_equal(mlcc_chance_weight(((uint32_t)40 << 26) - 1), 1);
    for (double octaves = 0.0; octaves < 40.0; octaves += 0.00917) {
        const uint32_t distance = (uint32_t)(octaves * 0x1p26);
        const double expected = exp2(40.0 - (double)distance * 0x1p-26);
        const double weight = (double)mlcc_chance_weight(distance);
        if (fabs(weight - expected) > 1.0 + expected * 1.2e-8)
            fail_msg("2^-%g weighs %g, not %g", octaves, weight, expected);
    }
}

static void test_parts(void **state) {
    (void)state;
    const uint64_t sum = ((uint64_t)1 << 62) + 12345;
    assert_int_equal(mlcc_chance_part(sum, 1.0f), sum);
    assert_int_equal(mlcc_chance_part(sum, 0.5f), sum / 2);
    assert_int_equal(mlcc_chance_part(sum, 0.0f), 0);
    assert_int_equal(mlcc_chance_mark(sum, 0), 0);
    assert_int_equal(mlcc_chance_mark(sum, UINT64_MAX), sum - 1);
    assert_int_equal(mlcc_chance_mark(sum, (uint64_t)1 << 63), sum / 2);
    assert_int_equal(mlcc_chance_mark(3, (uint64_t)3 << 62), 2);
    assert_int_equal(
        mlcc_chance_mark(0xffffffff12345678u, 0xfedcba9876543210u), 0xfedcba9789971781u);
    assert_int_equal(mlcc_chance_least(1.0f), MLCC_CHANCE_ONE);
}

int main(void) {
    const struct CMUnitTest arithmetic[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_parts),
    };
    const int n_failed = cmocka_run_group_tests(arithmetic, NULL, NULL);
    if (n_failed != 0) return n_failed;
    if (!cuda_shim_can_compile()) {
        print_message("no C compiler: the kernel is skipped\n");
        return 77;
    }
    const struct CMUnitTest kernel[] = {
        cmocka_unit_test_setup_teardown(test_kernel, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(kernel, NULL, NULL);
}
