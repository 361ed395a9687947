// A mixture of experts from a Hugging Face folder to logits: the tiny Mixtral of tests/fixtures, whose logits transformers computed
// (tests/oracle/write_experts.py), and what the stores of every mode hold of its stacks.
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "quantization/mode.h"
#include "runtime/mlcc.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <math.h>

#define LOGIT_ERROR 1e-4

enum { N_SEQUENCES = 4, MAX_TOKENS = 32 };

static const char folder[] = "tests/fixtures/mixtral";

typedef struct subject {
    mlcc_arena *keep;
    char *dir;
    mlcc_model *model;
    mlcc_engine *engine;
    mlcc_json *reference;
    int32_t ids[MAX_TOKENS];
    int64_t n_ids, vocab;
} subject;

static subject open_subject(const char *mode, const char *opt) {
    subject s = {.keep = mlcc_arena_create()};
    s.dir = test_folder_make(s.keep);
    const char *library = mlcc_path_join(s.keep, s.dir, "lib.so");
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = folder, .quantization = mode, .conv_template = "LM", .output = s.dir},
        s.keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = folder, .quantization = mode, .output = s.dir, .n_threads = 1},
        NULL));
    must(artifact_compile(
        &(artifact_compile_options){.model = s.dir, .opt = opt, .output = library}, NULL));
    must(mlcc_model_open(
        &(mlcc_model_options){.directory = s.dir, .n_threads = 2, .no_cache = true}, &s.model));
    must(mlcc_engine_create(
        s.model, &(mlcc_engine_options){.max_sequences = N_SEQUENCES + 2, .max_tokens = 1024},
        &s.engine));
    must(mlcc_json_read_file(mlcc_path_join(s.keep, folder, "logits.json"), 0, &s.reference));
    const mlcc_json_value *ids = mlcc_json_get(mlcc_json_root(s.reference), "ids");
    s.n_ids = (int64_t)mlcc_json_count(ids);
    assert_true(s.n_ids <= MAX_TOKENS);
    for (int64_t i = 0; i < s.n_ids; i++)
        s.ids[i] = (int32_t)mlcc_json_int(mlcc_json_at(ids, (size_t)i));
    mlcc_model_info info;
    mlcc_model_get_info(s.model, &info);
    s.vocab = info.vocab;
    return s;
}

static void close_subject(subject *s) {
    mlcc_json_free(s->reference);
    mlcc_engine_free(s->engine);
    mlcc_model_close(s->model);
    must(mlcc_dir_remove_tree(s->dir));
    mlcc_arena_free(s->keep);
}

// Logits of all tokens in one step, copied: [n_ids, vocab].
static float *prefill(subject *s) {
    int32_t sequence = 0;
    const float *logits = NULL;
    int64_t n_rows = 0;
    must(mlcc_engine_add_sequence(s->engine, &sequence));
    const mlcc_batch_item item = {sequence, s->ids, s->n_ids, MLCC_LOGITS_ALL};
    must(mlcc_engine_step(s->engine, &item, 1, &logits, &n_rows));
    assert_int_equal(n_rows, s->n_ids);
    float *copy = MLCC_NEW_ARRAY(s->keep, float, (size_t)(n_rows * s->vocab));
    memcpy(copy, logits, (size_t)(n_rows * s->vocab) * sizeof *copy);
    mlcc_engine_remove_sequence(s->engine, sequence);
    return copy;
}

static double largest_error(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs((double)a[i] - (double)b[i]);
        if (!(error <= worst)) worst = error; // a NaN is the worst
    }
    return worst;
}

// The same tokens one by one, alone and beside other sequences that stand elsewhere: the bits of prefill.
static void check_steps(subject *s, const float *expected, int32_t n_sequences) {
    int32_t sequences[N_SEQUENCES];
    for (int32_t i = 0; i < n_sequences; i++) {
        must(mlcc_engine_add_sequence(s->engine, &sequences[i]));
        // The last is the one that is looked at; the others have a head start.
        const mlcc_batch_item start = {sequences[i], s->ids, i + 1, MLCC_LOGITS_NONE};
        if (i < n_sequences - 1) must(mlcc_engine_step(s->engine, &start, 1, NULL, NULL));
    }
    for (int64_t t = 0; t < s->n_ids; t++) {
        mlcc_batch_item items[N_SEQUENCES];
        const float *logits = NULL;
        int64_t n_rows = 0;
        for (int32_t i = 0; i < n_sequences; i++)
            items[i] = (mlcc_batch_item){sequences[i], &s->ids[t], 1, MLCC_LOGITS_LAST};
        must(mlcc_engine_step(s->engine, items, n_sequences, &logits, &n_rows));
        const float *row = logits + (n_sequences - 1) * s->vocab;
        const double error = largest_error(row, expected + t * s->vocab, s->vocab);
        if (error > 1e-5) fail_msg("%d sequences, token %d: %g", n_sequences, (int)t, error);
    }
    for (int32_t i = 0; i < n_sequences; i++) mlcc_engine_remove_sequence(s->engine, sequences[i]);
}

static void logits_are_those_of_transformers(void **state) {
    (void)state;
    subject s = open_subject("q0f32", NULL);
    const float *found = prefill(&s);
    const mlcc_json_value *rows = mlcc_json_get(mlcc_json_root(s.reference), "logits");
    float *expected = MLCC_NEW_ARRAY(s.keep, float, (size_t)(s.n_ids * s.vocab));
    for (int64_t t = 0; t < s.n_ids; t++) {
        for (int64_t i = 0; i < s.vocab; i++)
            expected[t * s.vocab + i] =
                (float)mlcc_json_number(mlcc_json_at(mlcc_json_at(rows, (size_t)t), (size_t)i));
    }
    const double error = largest_error(found, expected, s.n_ids * s.vocab);
    print_message("largest error of the logits: %.2g\n", error);
    assert_true(error <= LOGIT_ERROR);
    check_steps(&s, found, 1);
    check_steps(&s, found, N_SEQUENCES);
    close_subject(&s);
}

// Four bits are not the model any more, but prefill and decode are still one computation.
static void four_bits(void **state) {
    (void)state;
    subject s = open_subject("q4f16_1", "exact");
    const float *found = prefill(&s);
    check_steps(&s, found, 1);
    check_steps(&s, found, N_SEQUENCES);
    close_subject(&s);
}

// Stacks keep three dimensions in every store, and the linear that chooses stays in float.
static void stores_of_every_mode(void **state) {
    (void)state;
    size_t n_modes = 0;
    const quant_mode *modes = quant_mode_table(&n_modes);
    for (size_t i = 0; i < n_modes; i++) {
        mlcc_arena *keep = mlcc_arena_create();
        char *dir = test_folder_make(keep);
        must(artifact_convert_weight(
            &(artifact_convert_options){
                .config = folder, .quantization = modes[i].name, .output = dir, .n_threads = 1},
            NULL));
        mlcc_tensor_cache *store = open_store(dir);
        int n_stacks = 0;
        for (size_t r = 0; r < store->n_records; r++) {
            const mlcc_tensor_record *record = &store->records[r];
            if (strstr(record->name, ".moe.e") == NULL || record->rank < 2) continue;
            n_stacks++;
            assert_int_equal(record->rank, 3);
            assert_int_equal(record->dims[0], 4);
        }
        assert_true(n_stacks >= 4); // two stacks a layer, in one piece or two
        const mlcc_tensor_record *gate =
            mlcc_tensor_cache_find(store, "model.layers.1.moe.gate.weight");
        assert_non_null(gate);
        assert_int_equal(gate->rank, 2);
        assert_int_equal(gate->dims[0], 4);
        mlcc_tensor_cache_close(store);
        must(mlcc_dir_remove_tree(dir));
        mlcc_arena_free(keep);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_of_every_mode),
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(four_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
