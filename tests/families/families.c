// Model families against Hugging Face transformers: every folder of tests/families/models (tests/oracle/write_model.py wrote it) goes through gen_config,
// convert_weight and compile in q0f32, and gives the logits that stand beside it: at every position of a prefill, step by step, in a batch of four, and
// cut into pieces. The prompts are longer than the models' windows.
//
// FAMILIES names another folder; an argument names one model of it, none means all.
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "frontend/hf/weight_source.h"
#include "runtime/base/str.h"
#include "runtime/mlcc.h"
#include "tests/unit/artifact/artifact_fixture.h"

#include <math.h>

#define LOGIT_ERROR 2e-3
#define N_SEQUENCES 4

static const char *folder, *only;

typedef struct subject {
    mlcc_arena *keep;
    const char *name;
    const int32_t *ids;
    const float *expected; // [n_tokens, vocab]
    int64_t n_tokens, vocab;
    mlcc_model *model;
    mlcc_engine *engine;
} subject;

static const void *read_tensor(
    hf_weight_source *source, const char *name, mlcc_arena *keep, int64_t *n_rows,
    int64_t *columns) {
    const hf_tensor *tensor = NULL;
    must(hf_weight_source_require(source, name, &tensor));
    char *data = MLCC_NEW_ARRAY(keep, char, tensor->size_bytes);
    must(source->read(source, tensor, 0, tensor->size_bytes, data, NULL));
    *n_rows = tensor->dims[0];
    *columns = tensor->rank > 1 ? tensor->dims[1] : 1;
    return data;
}

static void check_rows(
    const subject *s, const char *how, const float *logits, int64_t first, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n * s->vocab; i++) {
        const double error = fabs((double)logits[i] - (double)s->expected[first * s->vocab + i]);
        if (!(error <= worst)) worst = error;
    }
    if (!(worst <= LOGIT_ERROR))
        fail_msg(
            "%s, %s, positions %d to %d: logits are off by %g", s->name, how, (int)first,
            (int)(first + n - 1), worst);
}

// Tokens [first, first + n) of one sequence.
static void step(const subject *s, const char *how, int32_t sequence, int64_t first, int64_t n) {
    const mlcc_batch_item item = {sequence, s->ids + first, n, MLCC_LOGITS_ALL};
    const float *logits = NULL;
    int64_t n_rows = 0;
    must(mlcc_engine_step(s->engine, &item, 1, &logits, &n_rows));
    assert_int_equal(n_rows, n);
    check_rows(s, how, logits, first, n);
}

static void check_model(const subject *s) {
    int32_t sequences[N_SEQUENCES];
    for (int i = 0; i < N_SEQUENCES; i++) must(mlcc_engine_add_sequence(s->engine, &sequences[i]));
    step(s, "prefill", sequences[0], 0, s->n_tokens);
    for (int64_t t = 0; t < s->n_tokens; t++) step(s, "token by token", sequences[1], t, 1);
    step(s, "in pieces", sequences[2], 0, 5);
    step(s, "in pieces", sequences[2], 5, s->n_tokens - 5);

    // Four sequences of different lengths at a time, then a token for each.
    mlcc_batch_item items[N_SEQUENCES];
    for (int i = 0; i < N_SEQUENCES; i++) {
        must(mlcc_engine_truncate(s->engine, sequences[i], 0));
        items[i] = (mlcc_batch_item){sequences[i], s->ids, 4 + 3 * i, MLCC_LOGITS_ALL};
    }
    for (int pass = 0; pass < 2; pass++) {
        const float *logits = NULL;
        int64_t n_rows = 0;
        must(mlcc_engine_step(s->engine, items, N_SEQUENCES, &logits, &n_rows));
        for (int i = 0; i < N_SEQUENCES; i++) {
            const int64_t first = items[i].tokens - s->ids;
            check_rows(s, "batch", logits, first, items[i].n_tokens);
            logits += items[i].n_tokens * s->vocab;
            items[i].tokens += items[i].n_tokens;
            items[i].n_tokens = 1;
        }
    }
}

static void build(const char *source, const char *output, mlcc_arena *keep) {
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = source, .quantization = "q0f32", .conv_template = "LM", .output = output},
        keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = source, .quantization = "q0f32", .output = output, .n_threads = 1},
        NULL));
    must(artifact_compile(
        &(artifact_compile_options){.model = output,
                                    .overrides = "max_batch_size=4",
                                    .output = mlcc_path_join(keep, output, "lib.so")},
        NULL));
}

static void check_folder(const char *name) {
    mlcc_arena *keep = mlcc_arena_create();
    const char *source = mlcc_path_join(keep, folder, name);
    char *output = test_folder_make(keep);
    subject s = {.keep = keep, .name = name};
    hf_weight_source *expected = NULL;
    must(
        hf_safetensors_open(mlcc_path_join(keep, source, "expected.safetensors"), keep, &expected));
    int64_t one = 0, n_rows = 0;
    s.ids = read_tensor(expected, "ids", keep, &s.n_tokens, &one);
    s.expected = read_tensor(expected, "logits", keep, &n_rows, &s.vocab);
    assert_int_equal(n_rows, s.n_tokens);
    build(source, output, keep);
    must(mlcc_model_open(
        &(mlcc_model_options){.directory = output, .n_threads = 1, .no_cache = true}, &s.model));
    must(mlcc_engine_create(
        s.model, &(mlcc_engine_options){.max_sequences = N_SEQUENCES, .max_tokens = 512},
        &s.engine));
    check_model(&s);
    mlcc_engine_free(s.engine);
    mlcc_model_close(s.model);
    expected->close(expected);
    must(mlcc_dir_remove_tree(output));
    mlcc_arena_free(keep);
}

static void test_families(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    char **names = NULL;
    size_t n_names = 0, n_checked = 0;
    must(mlcc_dir_list(folder, keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) {
        if (only != NULL && strcmp(only, names[i]) != 0) continue;
        print_message("%s\n", names[i]);
        check_folder(names[i]);
        n_checked++;
    }
    assert_true(n_checked > 0);
    mlcc_arena_free(keep);
}

int main(int argc, char **argv) {
    folder = getenv("FAMILIES") != NULL ? getenv("FAMILIES") : "tests/families/models";
    only = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
