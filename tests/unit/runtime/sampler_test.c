// The sampler against definitions written out plainly: exact choices where there is one answer,
// chi-square where there is chance.
#include "tests/unit/runtime/tiny_model.h"

#include <math.h>

static mlcc_sampler *make(mlcc_sampling sampling, int64_t vocab) {
    mlcc_sampler *sampler = NULL;
    tiny_ok(mlcc_sampler_create(&sampling, vocab, &sampler));
    return sampler;
}

static mlcc_sampling warm(float temperature) {
    mlcc_sampling sampling = mlcc_sampling_default();
    sampling.temperature = temperature;
    sampling.seed = 20240229;
    return sampling;
}

static void greedy_takes_the_first_of_the_largest(void **state) {
    (void)state;
    mlcc_sampler *sampler = make(mlcc_sampling_default(), 6);
    const float nan = NAN, inf = INFINITY;
    const struct {
        float logits[6];
        int32_t token;
    } cases[] = {
        {{1, 5, 2, 5, 0, 5}, 1},
        {{-3, -2, -1, -1, -9, -4}, 2},
        {{nan, nan, 7, nan, 9, nan}, 4},
        {{nan, nan, nan, nan, nan, nan}, 0},
        {{-inf, -inf, -inf, -inf, -inf, -inf}, 0},
        {{-inf, nan, -inf, -1e30f, -inf, nan}, 3},
        {{1, inf, 2, inf, nan, 5}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(mlcc_sampler_sample(sampler, cases[i].logits), cases[i].token);
    }
    mlcc_sampler_free(sampler);
    mlcc_sampler_free(NULL);
}

static void sampling_survives_strange_logits(void **state) {
    (void)state;
    const float nan = NAN, inf = INFINITY;
    const float all_nan[4] = {nan, nan, nan, nan}, none[4] = {-inf, -inf, -inf, -inf};
    const float one[4] = {nan, -inf, 3, nan}, two[4] = {1, inf, nan, inf};
    for (int kind = 0; kind < 4; kind++) {
        mlcc_sampling sampling = warm(1.0f);
        if (kind & 1) sampling.top_p = 0.9f;
        if (kind & 2) sampling.top_k = 3;
        mlcc_sampler *sampler = make(sampling, 4);
        for (int i = 0; i < 50; i++) {
            assert_int_equal(mlcc_sampler_sample(sampler, all_nan), 0);
            assert_int_equal(mlcc_sampler_sample(sampler, none), 0);
            assert_int_equal(mlcc_sampler_sample(sampler, one), 2);
            assert_int_equal(mlcc_sampler_sample(sampler, two) % 2, 1);
        }
        mlcc_sampler_free(sampler);
    }
}

enum { N = 12 };
static const float logits[N] = {0.5f, 2.0f,  -1.0f, 2.0f, 0.0f,  3.0f,
                                1.5f, -4.0f, 0.5f,  2.5f, -0.5f, 1.0f};

// The distribution by its definition: repeated search for the best instead of a heap.
static void reference(const mlcc_sampling *s, double probabilities[N]) {
    double p[N], total = 0.0, best = 0.0;
    for (int i = 0; i < N; i++) {
        p[i] = exp((double)logits[i] / (double)s->temperature);
        total += p[i];
    }
    int order[N];
    bool used[N] = {false};
    for (int r = 0; r < N; r++) {
        order[r] = -1;
        for (int i = 0; i < N; i++) {
            if (!used[i] && (order[r] < 0 || p[i] > p[order[r]])) order[r] = i;
        }
        used[order[r]] = true;
    }
    best = p[order[0]] / total;
    int n = s->top_k > 0 && s->top_k < N ? s->top_k : N;
    double kept = 0.0, sum = 0.0;
    for (int r = 0; r < n; r++) kept += p[order[r]];
    int m = 0;
    while (m < n && (m == 0 || sum < (double)s->top_p * kept)) {
        if (p[order[m]] / total < (double)s->min_p * best) break;
        sum += p[order[m++]];
    }
    for (int i = 0; i < N; i++) probabilities[i] = 0.0;
    for (int r = 0; r < m; r++) probabilities[order[r]] = p[order[r]] / sum;
}

static void the_draw_has_the_right_distribution(void **state) {
    (void)state;
    enum { N_DRAWS = 60000 };
    const struct {
        float temperature, top_p;
        int32_t top_k;
        float min_p;
    } cases[] = {
        {1.0f, 1.0f, 0, 0.0f},  {0.7f, 1.0f, 0, 0.0f},   {2.5f, 1.0f, 0, 0.0f},
        {1.0f, 0.8f, 0, 0.0f},  {1.0f, 0.05f, 0, 0.0f},  {1.0f, 0.0f, 0, 0.0f},
        {1.0f, 1.0f, 5, 0.0f},  {1.0f, 1.0f, 1, 0.0f},   {1.0f, 1.0f, 99, 0.0f},
        {1.0f, 1.0f, 0, 0.2f},  {1.5f, 0.9f, 7, 0.0f},   {1.5f, 0.95f, 8, 0.3f},
        {1.0f, 0.99f, 0, 0.1f}, {1.0f, 0.999f, 0, 0.0f}, {0.3f, 0.9f, 0, 0.05f},
        {1.0f, 1.0f, 0, 1.0f},
    };
    // 99.99 % quantiles of chi-square for 0 … 11 degrees of freedom; the seed is fixed, so a pass
    // stays a pass.
    static const double limits[N] = {0,     15.14, 18.42, 21.11, 23.51, 25.74,
                                     27.86, 29.88, 31.83, 33.72, 35.56, 37.37};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        mlcc_sampling sampling = warm(cases[c].temperature);
        sampling.top_p = cases[c].top_p;
        sampling.top_k = cases[c].top_k;
        sampling.min_p = cases[c].min_p;
        double expected[N], chi_square = 0.0;
        int64_t found[N] = {0};
        int n_possible = 0;
        reference(&sampling, expected);
        mlcc_sampler *sampler = make(sampling, N);
        for (int i = 0; i < N_DRAWS; i++) found[mlcc_sampler_sample(sampler, logits)]++;
        mlcc_sampler_free(sampler);
        for (int i = 0; i < N; i++) {
            if (expected[i] == 0.0) {
                if (found[i] != 0) fail_msg("case %zu: token %d was cut off but drawn", c, i);
                continue;
            }
            double mean = expected[i] * (double)N_DRAWS;
            chi_square += ((double)found[i] - mean) * ((double)found[i] - mean) / mean;
            n_possible++;
        }
        if (chi_square > limits[n_possible - 1]) fail_msg("case %zu: chi-square %g", c, chi_square);
    }
}

// A vocabulary in which the cut of top-p lies deep: the pruned heap must not lose a token.
static void top_p_over_a_flat_vocabulary(void **state) {
    (void)state;
    enum { VOCAB = 1000 };
    float flat[VOCAB];
    for (int i = 0; i < VOCAB; i++) flat[i] = (float)((i * 37) % VOCAB) * 1e-4f;
    mlcc_sampling sampling = warm(1.0f);
    sampling.top_p = 0.9f;
    mlcc_sampler *sampler = make(sampling, VOCAB);
    double total = 0.0, sum = 0.0;
    for (int i = 0; i < VOCAB; i++) total += exp((double)i * 1e-4);
    int n_kept = 0;
    while (sum < (double)sampling.top_p * total) sum += exp((double)(VOCAB - 1 - n_kept++) * 1e-4);
    bool seen[VOCAB] = {false};
    for (int i = 0; i < 40000; i++) {
        int32_t token = mlcc_sampler_sample(sampler, flat);
        int rank = VOCAB - 1 - (token * 37) % VOCAB;
        assert_true(rank < n_kept);
        seen[rank] = true;
    }
    // Each of the ~900 is missed with probability e^-44.
    for (int rank = 0; rank < n_kept; rank++) assert_true(seen[rank]);
    mlcc_sampler_free(sampler);
}

// One heavy token and many equal light ones, of which top-p needs the first few: light is not too light.
static void top_p_reaches_into_the_tail(void **state) {
    (void)state;
    enum { VOCAB = 1000, N_DRAWS = 20000 };
    float tailed[VOCAB] = {0.0f};
    tailed[500] = logf(0.3f / 0.7f * (float)(VOCAB - 1));
    mlcc_sampling sampling = warm(1.0f);
    sampling.top_p = 0.5f;
    mlcc_sampler *sampler = make(sampling, VOCAB);
    int n_heavy = 0, n_light = (int)ceil(0.2 / 0.7 * (double)(VOCAB - 1));
    int32_t largest = 0;
    for (int i = 0; i < N_DRAWS; i++) {
        int32_t token = mlcc_sampler_sample(sampler, tailed);
        if (token == 500) {
            n_heavy++;
        } else if (token > largest) {
            largest = token;
        }
    }
    // 0.3 of 0.5 are heavy; among equals the lower ids are kept.
    assert_true(abs(n_heavy - N_DRAWS * 6 / 10) < 300);
    assert_true(abs(largest - (n_light - 1)) <= 1);
    mlcc_sampler_free(sampler);
}

static void penalties_are_exact(void **state) {
    (void)state;
    mlcc_sampling sampling = mlcc_sampling_default();
    sampling.presence_penalty = 0.5f;
    sampling.frequency_penalty = 0.25f;
    sampling.repetition_penalty = 2.0f;
    mlcc_sampler *sampler = make(sampling, 3);
    // Token 0 wins until it was generated; then (4 - 0.5 - 0.25) / 2 = 1.625.
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){4.0f, 3.9f, 1.0f}), 0);
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){4.0f, 1.62f, 1.0f}), 0);
    // Twice generated: (4 - 0.5 - 0.5) / 2 = 1.5.
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){4.0f, 1.51f, 1.0f}), 1);
    // Negative logits are multiplied: (-1 - 0.5 - 0.25) * 2 = -3.5 for token 1, (-1 - 0.5 - 0.5) *
    // 2 = -4 for token 0.
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){-1.0f, -1.0f, -3.51f}), 1);
    // Token 1 twice now: (-1 - 0.5 - 0.5) * 2 = -4; token 2 was never generated.
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){-1.0f, -1.0f, -3.99f}), 2);
    // A reset forgets them all.
    mlcc_sampler_reset(sampler);
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){4.0f, 3.9f, 1.0f}), 0);
    mlcc_sampler_free(sampler);

    // Each alone.
    sampling = mlcc_sampling_default();
    sampling.presence_penalty = 1.0f;
    sampler = make(sampling, 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){2.0f, 0.99f}), 0);
    }
    mlcc_sampler_free(sampler);
    sampling = mlcc_sampling_default();
    sampling.frequency_penalty = -0.5f;
    sampler = make(sampling, 2);
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){1.0f, 0.0f}), 0);
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){1.0f, 1.49f}), 0);
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){1.0f, 1.99f}), 0);
    assert_int_equal(mlcc_sampler_sample(sampler, (const float[]){1.0f, 2.51f}), 1);
    mlcc_sampler_free(sampler);
}

static void equal_seeds_give_equal_draws(void **state) {
    (void)state;
    mlcc_sampling sampling = warm(1.0f);
    mlcc_sampler *first = make(sampling, N), *second = make(sampling, N);
    sampling.seed++;
    mlcc_sampler *third = make(sampling, N);
    int32_t drawn[64];
    int n_different = 0;
    for (int i = 0; i < 64; i++) {
        drawn[i] = mlcc_sampler_sample(first, logits);
        assert_int_equal(mlcc_sampler_sample(second, logits), drawn[i]);
        n_different += mlcc_sampler_sample(third, logits) != drawn[i];
    }
    assert_true(n_different > 20);
    mlcc_sampler_reset(first);
    for (int i = 0; i < 64; i++) assert_int_equal(mlcc_sampler_sample(first, logits), drawn[i]);
    mlcc_sampler_free(first);
    mlcc_sampler_free(second);
    mlcc_sampler_free(third);
}

static void parameters_out_of_range(void **state) {
    (void)state;
#define CASE(field, value, part) {offsetof(mlcc_sampling, field), value, part}
    static const struct {
        size_t offset;
        float value;
        const char *part;
    } cases[] = {
        CASE(temperature, -0.1f, "temperature is -0.1"),
        CASE(temperature, INFINITY, "temperature is inf"),
        CASE(temperature, NAN, "temperature is nan"),
        CASE(top_p, 1.5f, "top_p is 1.5"),
        CASE(top_p, -0.5f, "top_p is -0.5"),
        CASE(min_p, 2.0f, "min_p is 2"),
        CASE(repetition_penalty, 0.0f, "repetition_penalty is 0"),
        CASE(repetition_penalty, NAN, "repetition_penalty"),
        CASE(presence_penalty, 2.5f, "presence_penalty is 2.5"),
        CASE(frequency_penalty, -2.5f, "frequency_penalty is -2.5"),
    };
    mlcc_sampler *sampler = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mlcc_sampling sampling = mlcc_sampling_default();
        memcpy((char *)&sampling + cases[i].offset, &cases[i].value, sizeof(float));
        tiny_refused(
            mlcc_sampler_create(&sampling, N, &sampler), MLCC_INVALID, cases[i].part,
            "accepted are");
        assert_null(sampler);
    }
    mlcc_sampling sampling = mlcc_sampling_default();
    tiny_refused(mlcc_sampler_create(&sampling, 0, &sampler), MLCC_INVALID, "vocabulary of 0", "");
    sampling.top_k = -1;
    tiny_refused(mlcc_sampler_create(&sampling, N, &sampler), MLCC_INVALID, "top_k is -1", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(sampling_survives_strange_logits),
        cmocka_unit_test(the_draw_has_the_right_distribution),
        cmocka_unit_test(top_p_over_a_flat_vocabulary),
        cmocka_unit_test(top_p_reaches_into_the_tail),
        cmocka_unit_test(penalties_are_exact),
        cmocka_unit_test(equal_seeds_give_equal_draws),
        cmocka_unit_test(parameters_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
