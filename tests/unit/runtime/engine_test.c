// The engine on the handwritten model: any way of bringing the same tokens gives the same logits,
// and a refused step changes nothing.
#include "runtime/model/sampler.h"
#include "tests/unit/runtime/tiny_model.h"

#include <pthread.h>

typedef struct fixture {
    tiny_dir dir;
    mlcc_model *model;
} fixture;

static fixture open_model(int32_t n_threads) {
    fixture f = {.dir = tiny_dir_make((tiny_store){0})};
    mlcc_model_options options = tiny_options(&f.dir, n_threads);
    tiny_ok(mlcc_model_open(&options, &f.model));
    return f;
}

static void close_model(fixture *f) {
    mlcc_model_close(f->model);
    tiny_dir_remove(&f->dir);
}

static mlcc_engine *make_engine(const fixture *f, int32_t max_sequences, int64_t max_tokens) {
    mlcc_engine *engine = NULL;
    mlcc_engine_options options = {.max_sequences = max_sequences, .max_tokens = max_tokens};
    tiny_ok(mlcc_engine_create(f->model, &options, &engine));
    return engine;
}

static int32_t add_sequence(mlcc_engine *engine) {
    int32_t sequence = -1;
    tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
    return sequence;
}

// Token j of test text `seed`; never the one that the model refuses.
static int32_t token_of(int seed, int64_t j) {
    return (int32_t)((seed * 11 + j * 5 + j * j % 7) % (TINY_VOCAB - 1));
}

static void fill_tokens(int seed, int32_t *tokens, int64_t n) {
    for (int64_t j = 0; j < n; j++) tokens[j] = token_of(seed, j);
}

static void assert_row(const float *row, const int32_t *tokens, int64_t n) {
    float expected[TINY_VOCAB];
    tiny_expected(tokens, n, expected);
    for (int v = 0; v < TINY_VOCAB; v++) assert_true(row[v] == expected[v]);
}

static void prompts_of_every_length(void **state) {
    (void)state;
    for (int32_t n_threads = 1; n_threads <= 2; n_threads++) {
        fixture f = open_model(n_threads);
        mlcc_engine *engine = make_engine(&f, 1, 0);
        int32_t tokens[TINY_CONTEXT];
        fill_tokens(1, tokens, TINY_CONTEXT);
        for (int64_t n = 1; n <= TINY_CONTEXT; n++) {
            int32_t sequence = add_sequence(engine);
            mlcc_batch_item item = {sequence, tokens, n, MLCC_LOGITS_LAST};
            const float *logits = NULL;
            int64_t n_rows = 0;
            tiny_ok(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
            assert_int_equal(n_rows, 1);
            assert_int_equal((uintptr_t)logits % 64, 0);
            assert_row(logits, tokens, n);
            assert_int_equal(mlcc_engine_sequence_length(engine, sequence), n);
            mlcc_engine_remove_sequence(engine, sequence);
        }
        mlcc_engine_free(engine);
        close_model(&f);
    }
}

static void all_rows_over_many_passes(void **state) {
    (void)state;
    fixture f = open_model(2);
    mlcc_engine *engine = make_engine(&f, 1, 0);
    int32_t tokens[TINY_CONTEXT];
    fill_tokens(2, tokens, TINY_CONTEXT);
    // Pieces of every kind: less than a pass, exactly its rows, several passes.
    const int64_t pieces[] = {1, 4, 5, 8, 37, 3};
    int32_t sequence = add_sequence(engine);
    int64_t done = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        mlcc_batch_item item = {sequence, tokens + done, pieces[i], MLCC_LOGITS_ALL};
        const float *logits = NULL;
        int64_t n_rows = 0;
        tiny_ok(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
        assert_int_equal(n_rows, pieces[i]);
        for (int64_t r = 0; r < n_rows; r++)
            assert_row(logits + r * TINY_VOCAB, tokens, done + r + 1);
        done += pieces[i];
    }
    mlcc_engine_free(engine);
    close_model(&f);
}

// Steps of random shape over several sequences: every row must be what the sequence alone would
// give.
static void ragged_steps(void **state) {
    (void)state;
    enum { N_SEQUENCES = 9, N_STEPS = 300 };
    for (int32_t n_threads = 1; n_threads <= 2; n_threads++) {
        fixture f = open_model(n_threads);
        // More sequences than one pass may hold.
        mlcc_engine *engine = make_engine(&f, N_SEQUENCES, 0);
        int32_t tokens[N_SEQUENCES][TINY_CONTEXT];
        int64_t lengths[N_SEQUENCES] = {0};
        for (int s = 0; s < N_SEQUENCES; s++) {
            fill_tokens(s, tokens[s], TINY_CONTEXT);
            assert_int_equal(add_sequence(engine), s);
        }
        uint32_t random = 12345;
        for (int step = 0; step < N_STEPS; step++) {
            mlcc_batch_item items[N_SEQUENCES];
            int32_t n_items = 0;
            for (int s = 0; s < N_SEQUENCES; s++) {
                random = random * 1664525u + 1013904223u;
                int64_t n = random >> 20 & 3 ? 1 : (int64_t)(random >> 24 & 15) + 1;
                if (random >> 30 == 0) continue;
                if (lengths[s] + n > TINY_CONTEXT) {
                    lengths[s] = (int64_t)(random >> 10 & 63);
                    tiny_ok(mlcc_engine_truncate(engine, s, lengths[s]));
                }
                items[n_items++] = (mlcc_batch_item){s, tokens[s] + lengths[s], n,
                                                     (mlcc_logits)((random >> 16 & 15) % 3)};
            }
            if (n_items == 0) continue;
            const float *logits = NULL;
            int64_t n_rows = 0, row = 0;
            tiny_ok(mlcc_engine_step(engine, items, n_items, &logits, &n_rows));
            for (int32_t i = 0; i < n_items; i++) {
                int32_t s = items[i].sequence;
                int64_t wanted = items[i].logits == MLCC_LOGITS_ALL
                                     ? items[i].n_tokens
                                     : items[i].logits == MLCC_LOGITS_LAST;
                lengths[s] += items[i].n_tokens;
                for (int64_t r = wanted; r > 0; r--) {
                    assert_row(logits + row++ * TINY_VOCAB, tokens[s], lengths[s] - r + 1);
                }
                assert_int_equal(mlcc_engine_sequence_length(engine, s), lengths[s]);
            }
            assert_int_equal(n_rows, row);
            assert_true((logits == NULL) == (n_rows == 0));
        }
        mlcc_engine_free(engine);
        close_model(&f);
    }
}

static void refused_steps_change_nothing(void **state) {
    (void)state;
    fixture f = open_model(2);
    mlcc_engine *engine = make_engine(&f, 3, 48);
    int32_t tokens[TINY_CONTEXT + 1];
    fill_tokens(3, tokens, TINY_CONTEXT + 1);
    int32_t a = add_sequence(engine), b = add_sequence(engine);
    mlcc_batch_item start[] = {{a, tokens, 10, MLCC_LOGITS_NONE}, {b, tokens, 3, MLCC_LOGITS_NONE}};
    tiny_ok(mlcc_engine_step(engine, start, 2, NULL, NULL));

    const int32_t negative[] = {5, -1}, large[] = {5, 6, TINY_VOCAB},
                  failing[] = {5, TINY_BAD_TOKEN};
    const mlcc_batch_item fine = {b, tokens, 2, MLCC_LOGITS_LAST};
    const struct {
        mlcc_batch_item item;
        mlcc_code code;
        const char *part, *other;
    } cases[] = {
        {{a, negative, 2, MLCC_LOGITS_LAST}, MLCC_INVALID, "token 1 of sequence 0 is -1", "0 … 22"},
        {{a, large, 3, MLCC_LOGITS_LAST}, MLCC_INVALID, "token 2 of sequence 0 is 23", "0 … 22"},
        {{a, tokens, 87, MLCC_LOGITS_LAST},
         MLCC_INVALID,
         "context window is 96",
         "context_window_size"},
        {{a, tokens, 60, MLCC_LOGITS_LAST}, MLCC_NO_MEMORY, "the KV cache is full", "max_tokens"},
        {{a, tokens, 0, MLCC_LOGITS_LAST}, MLCC_INVALID, "sequence 0 brings no tokens", ""},
        {{a, NULL, 1, MLCC_LOGITS_LAST}, MLCC_INVALID, "sequence 0 brings no tokens", ""},
        {{a, tokens, 1, (mlcc_logits)9}, MLCC_INVALID, "logits 9", ""},
        {{2, tokens, 1, MLCC_LOGITS_LAST}, MLCC_INVALID, "no sequence 2", ""},
        {{-1, tokens, 1, MLCC_LOGITS_LAST}, MLCC_INVALID, "no sequence -1", ""},
        {{b, tokens, 1, MLCC_LOGITS_LAST}, MLCC_INVALID, "sequence 1 appears twice", ""},
        {{a, failing, 2, MLCC_LOGITS_LAST}, MLCC_DEVICE, "failed with code 7", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mlcc_batch_item items[] = {fine, cases[i].item};
        const float *logits = NULL;
        int64_t n_rows = -1;
        tiny_refused(
            mlcc_engine_step(engine, items, 2, &logits, &n_rows), cases[i].code, cases[i].part,
            cases[i].other);
        assert_null(logits);
        assert_int_equal(n_rows, 0);
        assert_int_equal(mlcc_engine_sequence_length(engine, a), 10);
        assert_int_equal(mlcc_engine_sequence_length(engine, b), 3);
    }
    tiny_refused(
        mlcc_engine_step(engine, NULL, 0, NULL, NULL), MLCC_INVALID, "at least one item", "");
    tiny_refused(
        mlcc_engine_truncate(engine, a, 11), MLCC_INVALID, "cannot be truncated to 11", "0 … 10");
    tiny_refused(mlcc_engine_truncate(engine, 2, 0), MLCC_INVALID, "no sequence 2", "");
    assert_int_equal(mlcc_engine_sequence_length(engine, 2), -1);
    mlcc_engine_remove_sequence(engine, 2);
    mlcc_engine_remove_sequence(engine, 77);

    // After all that both go on as if nothing had happened, and every page is still there.
    mlcc_batch_item next[] = {
        {a, tokens + 10, 25, MLCC_LOGITS_LAST}, {b, tokens + 3, 1, MLCC_LOGITS_LAST}};
    const float *logits = NULL;
    int64_t n_rows = 0;
    tiny_ok(mlcc_engine_step(engine, next, 2, &logits, &n_rows));
    assert_int_equal(n_rows, 2);
    assert_row(logits, tokens, 35);
    assert_row(logits + TINY_VOCAB, tokens, 4);
    mlcc_engine_free(engine);
    close_model(&f);
}

// max_tokens fit however the sequences share them.
static void capacity_is_what_was_promised(void **state) {
    (void)state;
    fixture f = open_model(1);
    int32_t tokens[TINY_CONTEXT];
    fill_tokens(4, tokens, TINY_CONTEXT);
    const int64_t shares[][3] = {{33, 0, 0},  {31, 1, 1},   {17, 15, 1},
                                 {16, 16, 1}, {11, 11, 11}, {1, 15, 17}};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        mlcc_engine *engine = make_engine(&f, 3, 33);
        for (int s = 0; s < 3; s++) {
            int32_t sequence = add_sequence(engine);
            if (shares[i][s] == 0) continue;
            mlcc_batch_item item = {sequence, tokens, shares[i][s], MLCC_LOGITS_LAST};
            const float *logits = NULL;
            int64_t n_rows = 0;
            tiny_ok(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
            assert_row(logits, tokens, shares[i][s]);
        }
        int32_t extra = 0;
        tiny_refused(
            mlcc_engine_add_sequence(engine, &extra), MLCC_INVALID, "all 3 sequences",
            "max_sequences");
        mlcc_engine_free(engine);
    }
    close_model(&f);
}

static void wrong_options(void **state) {
    (void)state;
    fixture f = open_model(1);
    mlcc_engine *engine = NULL;
    mlcc_engine_options negative = {.max_sequences = -1}, less = {.max_tokens = -5};
    mlcc_engine_options huge = {.max_sequences = 1, .max_tokens = INT64_MAX};
    tiny_refused(
        mlcc_engine_create(f.model, &negative, &engine), MLCC_INVALID, "max_sequences -1", "");
    assert_null(engine);
    tiny_refused(mlcc_engine_create(f.model, &less, &engine), MLCC_INVALID, "max_tokens -5", "");
    tiny_refused(
        mlcc_engine_create(f.model, &huge, &engine), MLCC_INVALID, "pages is not possible", "");
    tiny_ok(mlcc_engine_create(f.model, NULL, &engine));
    assert_int_equal(add_sequence(engine), 0);
    mlcc_engine_free(engine);
    mlcc_engine_free(NULL);
    close_model(&f);
}

typedef struct driver {
    const fixture *f;
    int seed;
} driver;

static void *drive(void *arg) {
    const driver *me = arg;
    mlcc_engine *engine = make_engine(me->f, 1, 0);
    int32_t sequence = add_sequence(engine), tokens[TINY_CONTEXT];
    fill_tokens(me->seed, tokens, TINY_CONTEXT);
    for (int64_t n = 0; n < TINY_CONTEXT; n++) {
        mlcc_batch_item item = {sequence, &tokens[n], 1, MLCC_LOGITS_LAST};
        const float *logits = NULL;
        int64_t n_rows = 0;
        tiny_ok(mlcc_engine_step(engine, &item, 1, &logits, &n_rows));
        assert_row(logits, tokens, n + 1);
    }
    mlcc_engine_free(engine);
    return NULL;
}

static void engines_of_one_model_in_two_threads(void **state) {
    (void)state;
    fixture f = open_model(2);
    driver first = {&f, 5}, second = {&f, 6};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drive, &first), 0);
    drive(&second);
    pthread_join(thread, NULL);
    close_model(&f);
}

// Steps that sample choose what a sampler chooses from the logits of the same steps, in one pass or several; items without logits get no token.
static void sampling_steps_choose_what_samplers_choose(void **state) {
    (void)state;
    enum { N_SEQUENCES = 7, N_STEPS = 12 };
    fixture f = open_model(2);
    mlcc_engine *engine = make_engine(&f, N_SEQUENCES, 0), *twin = make_engine(&f, N_SEQUENCES, 0);
    mlcc_sampler *chosen[N_SEQUENCES] = {NULL}, *expected[N_SEQUENCES] = {NULL};
    int32_t tokens[N_SEQUENCES], next[N_SEQUENCES];
    mlcc_batch_item items[N_SEQUENCES], twins[N_SEQUENCES];
    for (int i = 0; i < N_SEQUENCES; i++) {
        mlcc_sampling sampling = mlcc_sampling_default();
        sampling.temperature = (float)(i % 3);
        sampling.top_k = i % 2 == 0 ? 0 : 9;
        sampling.top_p = i % 4 == 1 ? 0.9f : 1.0f;
        sampling.frequency_penalty = i == 4 ? 1.0f : 0.0f;
        sampling.seed = (uint64_t)i;
        // The first has no sampler: greedy.
        if (i > 0) tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB, &chosen[i]));
        tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB, &expected[i]));
        tokens[i] = i;
        items[i] = (mlcc_batch_item){0, &tokens[i], 1, MLCC_LOGITS_LAST};
        items[i].sequence = add_sequence(engine);
        twins[i] = items[i];
        twins[i].sequence = add_sequence(twin);
    }
    for (int step = 0; step < N_STEPS; step++) {
        items[2].logits = twins[2].logits = step % 2 == 0 ? MLCC_LOGITS_NONE : MLCC_LOGITS_LAST;
        const float *logits;
        int64_t n_rows;
        tiny_ok(mlcc_engine_sample(engine, items, N_SEQUENCES, chosen, next));
        tiny_ok(mlcc_engine_step(twin, twins, N_SEQUENCES, &logits, &n_rows));
        for (int i = 0; i < N_SEQUENCES; i++) {
            if (twins[i].logits == MLCC_LOGITS_NONE) {
                assert_int_equal(next[i], -1);
                continue;
            }
            assert_int_equal(next[i], mlcc_sampler_sample(expected[i], logits));
            logits += TINY_VOCAB;
            tokens[i] = next[i] == TINY_BAD_TOKEN ? 0 : next[i];
        }
    }
    for (int i = 0; i < N_SEQUENCES; i++) {
        mlcc_sampler_free(chosen[i]);
        mlcc_sampler_free(expected[i]);
    }
    mlcc_engine_free(engine);
    mlcc_engine_free(twin);
    close_model(&f);
}

// Where the library samples, the engine brings it settings, random numbers and histories, row by row and pass by pass, and gives them to the host when
// the history has no room there.
static void libraries_sample(void **state) {
    (void)state;
    enum { N_SEQUENCES = 7, N_STEPS = 14 };
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 2);
    options.library = tiny_library(dir.arena, "sampling");
    fixture f = {.dir = dir};
    tiny_ok(mlcc_model_open(&options, &f.model));
    mlcc_model_info info;
    mlcc_model_get_info(f.model, &info);
    assert_true(info.samples_on_device);
    mlcc_engine *engine = make_engine(&f, N_SEQUENCES, 0), *twin = make_engine(&f, N_SEQUENCES, 0);
    mlcc_sampler *chosen[N_SEQUENCES], *expected[N_SEQUENCES];
    int32_t tokens[N_SEQUENCES], next[N_SEQUENCES];
    mlcc_batch_item items[N_SEQUENCES], twins[N_SEQUENCES];
    for (int i = 0; i < N_SEQUENCES; i++) {
        mlcc_sampling sampling = mlcc_sampling_default();
        sampling.temperature = i == 3 ? 1.0f : 0.0f;
        sampling.presence_penalty = i % 2 == 0 ? 2.0f : 0.0f;
        sampling.repetition_penalty = i == 2 ? 1.0f : 9.0f;
        sampling.seed = (uint64_t)i;
        tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB, &chosen[i]));
        tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB, &expected[i]));
        tokens[i] = 2 * i;
        items[i] = (mlcc_batch_item){add_sequence(engine), &tokens[i], 1,
                                     i == 1 ? MLCC_LOGITS_NONE : MLCC_LOGITS_LAST};
        twins[i] = items[i];
        twins[i].sequence = add_sequence(twin);
    }
    bool was_on_host = false;
    for (int step = 0; step < N_STEPS; step++) {
        const float *logits;
        int64_t n_rows, n_history = 0;
        for (int i = 0; i < N_SEQUENCES; i++) n_history += mlcc_sampler_n_history(expected[i]);
        was_on_host = n_history > 40;
        tiny_ok(mlcc_engine_sample(engine, items, N_SEQUENCES, chosen, next));
        tiny_ok(mlcc_engine_step(twin, twins, N_SEQUENCES, &logits, &n_rows));
        assert_int_equal(n_rows, N_SEQUENCES - 1);
        assert_int_equal(next[1], -1);
        for (int i = 0; i < N_SEQUENCES; i++) {
            if (i == 1) continue;
            uint64_t random = mlcc_sampler_next_random(expected[i]);
            int32_t token = 0;
            if (i == 3 && !was_on_host) {
                token = (int32_t)(random % TINY_VOCAB);
                mlcc_sampler_accept(expected[i], token);
            } else {
                token = mlcc_sampler_sample(expected[i], logits);
            }
            assert_int_equal(next[i], token);
            logits += TINY_VOCAB;
            tokens[i] = token == TINY_BAD_TOKEN ? 0 : token;
        }
    }
    assert_true(was_on_host);
    // Without samplers all are greedy; a step that fails leaves samplers as they were.
    const uint64_t before = mlcc_sampler_next_random(chosen[3]);
    tokens[6] = TINY_BAD_TOKEN;
    tiny_refused(mlcc_engine_sample(engine, items + 2, 5, NULL, next), MLCC_DEVICE, "code 7", "");
    tiny_refused(
        mlcc_engine_sample(engine, items + 2, 5, chosen + 2, next), MLCC_DEVICE, "code 7", "");
    assert_true(mlcc_sampler_next_random(chosen[3]) == before);
    for (int i = 0; i < N_SEQUENCES; i++) {
        mlcc_sampler_free(chosen[i]);
        mlcc_sampler_free(expected[i]);
    }
    mlcc_engine_free(engine);
    mlcc_engine_free(twin);
    close_model(&f);
}

static void a_function_sample_of_other_make(void **state) {
    (void)state;
    tiny_dir dir = tiny_dir_make((tiny_store){0});
    mlcc_model_options options = tiny_options(&dir, 1);
    options.library = tiny_library(dir.arena, "sampling_less");
    fixture f = {.dir = dir};
    tiny_ok(mlcc_model_open(&options, &f.model));
    mlcc_engine *engine = NULL;
    tiny_refused(
        mlcc_engine_create(f.model, NULL, &engine), MLCC_MISMATCH, "function 'sample'",
        "belongs to this runtime");
    close_model(&f);
}

static void sampling_steps_that_cannot_be(void **state) {
    (void)state;
    fixture f = open_model(2);
    mlcc_engine *engine = make_engine(&f, 2, 0);
    mlcc_sampling sampling = mlcc_sampling_default();
    mlcc_sampler *sampler = NULL, *other = NULL;
    tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB, &sampler));
    tiny_ok(mlcc_sampler_create(&sampling, TINY_VOCAB + 1, &other));
    int32_t token = 3, next[2];
    mlcc_batch_item items[2] = {{0, &token, 1, MLCC_LOGITS_LAST}, {1, &token, 1, MLCC_LOGITS_LAST}};
    for (int i = 0; i < 2; i++) items[i].sequence = add_sequence(engine);
    mlcc_sampler *twice[2] = {sampler, sampler}, *foreign[2] = {sampler, other},
                 *one[1] = {sampler};
    tiny_refused(
        mlcc_engine_sample(engine, items, 2, twice, next), MLCC_INVALID, "stands twice", "");
    tiny_refused(
        mlcc_engine_sample(engine, items, 2, foreign, next), MLCC_INVALID, "is for 24 tokens",
        "the model has 23");
    items[1].logits = MLCC_LOGITS_ALL;
    tiny_refused(
        mlcc_engine_sample(engine, items, 2, NULL, next), MLCC_INVALID, "asks for all logits", "");
    tiny_refused(
        mlcc_engine_sample(engine, NULL, 0, NULL, next), MLCC_INVALID, "at least one item", "");
    assert_int_equal(mlcc_engine_sequence_length(engine, items[0].sequence), 0);
    tiny_ok(mlcc_engine_sample(engine, items, 1, one, next));
    mlcc_sampler_free(sampler);
    mlcc_sampler_free(other);
    mlcc_engine_free(engine);
    close_model(&f);
}

// The example of runtime/mlcc.h.
static void the_example_of_the_header(void **state) {
    (void)state;
    fixture f = open_model(1);
    mlcc_engine *engine;
    mlcc_sampler *sampler;
    mlcc_model_info info;
    int32_t sequence, token, tokens[20] = {3};
    mlcc_sampling greedy = mlcc_sampling_default();
    mlcc_model_get_info(f.model, &info);
    tiny_ok(mlcc_engine_create(f.model, &(mlcc_engine_options){.max_sequences = 1}, &engine));
    tiny_ok(mlcc_engine_add_sequence(engine, &sequence));
    tiny_ok(mlcc_sampler_create(&greedy, info.vocab, &sampler));
    for (int64_t n = 1; n < 20; n++) {
        mlcc_batch_item item = {sequence, &tokens[n - 1], 1, MLCC_LOGITS_LAST};
        tiny_ok(mlcc_engine_sample(engine, &item, 1, &sampler, &token));
        float expected[TINY_VOCAB];
        tiny_expected(tokens, n, expected);
        for (int v = 0; v < TINY_VOCAB; v++) assert_true(expected[v] <= expected[token]);
        tokens[n] = token == TINY_BAD_TOKEN ? 0 : token;
    }
    mlcc_sampler_free(sampler);
    mlcc_engine_free(engine);
    close_model(&f);
}

// What an observing library saw, in the order in which it names the modules.
static void assert_observed(mlcc_engine *engine, float mix, float embed) {
    size_t n = 0;
    const char *const *names = NULL;
    const float *values = NULL;
    mlcc_engine_observations(engine, &n, &names, &values);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "mix.q_calibration_scale");
    assert_string_equal(names[1], "embed.q_calibration_scale");
    assert_true(values[0] == mix && values[1] == embed);
}

// Maxima grow over steps, passes, sequences and threads; every engine has its own; the logits are
// those of the plain library.
static void maxima_are_observed(void **state) {
    (void)state;
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        tiny_dir dir = tiny_dir_make((tiny_store){0});
        mlcc_model_options options = tiny_options(&dir, n_threads);
        options.library = tiny_library(dir.arena, "observing");
        fixture f = {.dir = dir};
        tiny_ok(mlcc_model_open(&options, &f.model));
        mlcc_engine *engine = make_engine(&f, 3, 0), *other = make_engine(&f, 1, 0);
        assert_observed(engine, 0.0f, 0.0f);
        // A long prompt in many passes with its largest id in the middle, and a short one beside it.
        int32_t tokens[40] = {0};
        tokens[17] = 20;
        int32_t a = add_sequence(engine), b = add_sequence(engine);
        mlcc_batch_item items[] = {
            {a, tokens, 40, MLCC_LOGITS_LAST}, {b, tokens + 10, 5, MLCC_LOGITS_ALL}};
        const float *logits = NULL;
        int64_t n_rows = 0;
        tiny_ok(mlcc_engine_step(engine, items, 2, &logits, &n_rows));
        assert_int_equal(n_rows, 6);
        assert_row(logits, tokens, 40);
        assert_observed(engine, 40.0f, 21.0f);
        mlcc_batch_item next = {b, tokens, 1, MLCC_LOGITS_NONE};
        tiny_ok(mlcc_engine_step(engine, &next, 1, NULL, NULL));
        assert_observed(engine, 40.0f, 21.0f);
        next.sequence = a;
        tiny_ok(mlcc_engine_step(engine, &next, 1, NULL, NULL));
        assert_observed(engine, 41.0f, 21.0f);
        mlcc_engine_remove_sequence(engine, a);
        assert_observed(engine, 41.0f, 21.0f);
        assert_observed(other, 0.0f, 0.0f);
        mlcc_engine_free(engine);
        mlcc_engine_free(other);
        close_model(&f);
    }
}

static void plain_libraries_observe_nothing(void **state) {
    (void)state;
    fixture f = open_model(1);
    mlcc_engine *engine = make_engine(&f, 1, 0);
    size_t n = 7;
    mlcc_engine_observations(engine, &n, NULL, NULL);
    assert_int_equal(n, 0);
    mlcc_engine_free(engine);
    close_model(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_of_every_length),
        cmocka_unit_test(all_rows_over_many_passes),
        cmocka_unit_test(ragged_steps),
        cmocka_unit_test(refused_steps_change_nothing),
        cmocka_unit_test(capacity_is_what_was_promised),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(engines_of_one_model_in_two_threads),
        cmocka_unit_test(sampling_steps_choose_what_samplers_choose),
        cmocka_unit_test(libraries_sample),
        cmocka_unit_test(a_function_sample_of_other_make),
        cmocka_unit_test(sampling_steps_that_cannot_be),
        cmocka_unit_test(the_example_of_the_header),
        cmocka_unit_test(maxima_are_observed),
        cmocka_unit_test(plain_libraries_observe_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
