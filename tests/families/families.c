// Model families against Hugging Face transformers: every folder of tests/families/models (tests/oracle/write_model.py wrote it) goes through gen_config,
// convert_weight and compile in q0f32, and gives the logits that stand beside it: at every position of a prefill, step by step, in a batch of four, and
// cut into pieces. The prompts are longer than the models' windows.
//
// Where MLCC_CUDA_DRIVER names a driver, usually the fake one of tests/support/cuda_fake, and NVRTC is there, the same by a library for CUDA devices:
// logits of a prefill and of single steps, and the greedy tokens that the CPU chose in the test before.
//
// families [MODEL]    without MODEL: all of them; FAMILIES names another folder
#include "codegen/cuda/nvrtc.h"
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
#define N_GREEDY    4 // tokens that both devices choose after the prompt

static const char *folder, *only;

// What the CPU says after the prompt of every model, in the order of the folder. Compiling is what takes the time here: no model is compiled twice for it.
typedef struct greedy {
    bool is_known;
    int32_t tokens[N_GREEDY];
} greedy;
static greedy *greedy_of_model;
static size_t n_models;

typedef struct subject {
    mlcc_arena *keep;
    const char *name, *output; // its model directory
    hf_weight_source *file;
    const int32_t *ids;
    const float *expected; // [n_tokens, vocab]
    int64_t n_tokens, vocab;
    mlcc_model *model;
    mlcc_engine *engine;
    greedy *on_cpu; // chosen by test_on_cpu
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
    for (int i = 0; i < N_SEQUENCES; i++) mlcc_engine_remove_sequence(s->engine, sequences[i]);
}

static void convert(const char *source, const char *output, mlcc_arena *keep) {
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = source, .quantization = "q0f32", .conv_template = "LM", .output = output},
        keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){
            .config = source, .quantization = "q0f32", .output = output, .n_threads = 1},
        NULL));
}

// Compiles the model for a device and opens it.
static void open_for(subject *s, const char *device) {
    const char *library = mlcc_path_join(s->keep, s->output, "lib.so");
    must(artifact_compile(
        &(artifact_compile_options){.model = s->output,
                                    .device = device,
                                    .overrides = "max_batch_size=4",
                                    .output = library},
        NULL));
    must(mlcc_model_open(
        &(mlcc_model_options){.directory = s->output, .n_threads = 1, .no_cache = true},
        &s->model));
    must(mlcc_engine_create(
        s->model, &(mlcc_engine_options){.max_sequences = N_SEQUENCES, .max_tokens = 512},
        &s->engine));
}

static void close_both(subject *s) {
    mlcc_engine_free(s->engine);
    mlcc_model_close(s->model);
}

// What the model says after the prompt.
static void choose_greedily(const subject *s, int32_t *tokens) {
    int32_t sequence = 0;
    must(mlcc_engine_add_sequence(s->engine, &sequence));
    mlcc_batch_item item = {sequence, s->ids, s->n_tokens, MLCC_LOGITS_LAST};
    for (int i = 0; i < N_GREEDY; i++) {
        must(mlcc_engine_sample(s->engine, &item, 1, NULL, &tokens[i]));
        item = (mlcc_batch_item){sequence, &tokens[i], 1, MLCC_LOGITS_LAST};
    }
    mlcc_engine_remove_sequence(s->engine, sequence);
}

static subject make_subject(const char *name) {
    mlcc_arena *keep = mlcc_arena_create();
    const char *source = mlcc_path_join(keep, folder, name);
    const char *expected = mlcc_path_join(keep, source, "expected.safetensors");
    subject s = {.keep = keep, .name = name, .output = test_folder_make(keep)};
    must(hf_safetensors_open(expected, keep, &s.file));
    int64_t one = 0, n_rows = 0;
    s.ids = read_tensor(s.file, "ids", keep, &s.n_tokens, &one);
    s.expected = read_tensor(s.file, "logits", keep, &n_rows, &s.vocab);
    assert_int_equal(n_rows, s.n_tokens);
    convert(source, s.output, keep);
    return s;
}

static void drop_subject(subject *s) {
    s->file->close(s->file);
    must(mlcc_dir_remove_tree(s->output));
    mlcc_arena_free(s->keep);
}

static void check_on_cpu(subject *s) {
    open_for(s, "cpu");
    check_model(s);
    choose_greedily(s, s->on_cpu->tokens);
    s->on_cpu->is_known = true;
    close_both(s);
}

// The steps are few: an interpreter runs them.
static void check_on_cuda(subject *s) {
    int32_t tokens[N_GREEDY], sequence = 0;
    assert_true(s->on_cpu->is_known);
    open_for(s, "cuda:compute_80");
    must(mlcc_engine_add_sequence(s->engine, &sequence));
    const int64_t n_singly = 2;
    step(s, "prefill on CUDA", sequence, 0, s->n_tokens - n_singly);
    for (int64_t t = s->n_tokens - n_singly; t < s->n_tokens; t++)
        step(s, "token by token on CUDA", sequence, t, 1);
    mlcc_engine_remove_sequence(s->engine, sequence);
    choose_greedily(s, tokens);
    assert_memory_equal(tokens, s->on_cpu->tokens, sizeof tokens);
    close_both(s);
}

static void for_each_model(void (*check)(subject *s)) {
    mlcc_arena *keep = mlcc_arena_create();
    char **names = NULL;
    size_t n_names = 0, n_checked = 0;
    must(mlcc_dir_list(folder, keep, &names, &n_names));
    if (greedy_of_model == NULL) {
        greedy_of_model = calloc(n_names + 1, sizeof *greedy_of_model);
        assert_non_null(greedy_of_model);
        n_models = n_names;
    }
    assert_int_equal(n_names, n_models);
    for (size_t i = 0; i < n_names; i++) {
        if (only != NULL && strcmp(only, names[i]) != 0) continue;
        print_message("%s\n", names[i]);
        subject s = make_subject(names[i]);
        s.on_cpu = &greedy_of_model[i];
        check(&s);
        drop_subject(&s);
        n_checked++;
    }
    assert_true(n_checked > 0);
    mlcc_arena_free(keep);
}

static void test_on_cpu(void **state) {
    (void)state;
    for_each_model(check_on_cpu);
}

static bool has_nvrtc(void) {
    nvrtc_library *nvrtc = NULL;
    mlcc_status *status = nvrtc_open(&nvrtc);
    nvrtc_close(nvrtc);
    mlcc_status_free(status);
    return status == NULL;
}

static void test_on_cuda(void **state) {
    (void)state;
    if (getenv("MLCC_CUDA_DRIVER") == NULL || !has_nvrtc()) {
        print_message("skipped: needs MLCC_CUDA_DRIVER and NVRTC\n");
        skip();
    }
    for_each_model(check_on_cuda);
}

int main(int argc, char **argv) {
    folder = getenv("FAMILIES") != NULL ? getenv("FAMILIES") : "tests/families/models";
    only = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_cpu), cmocka_unit_test(test_on_cuda)};
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(greedy_of_model);
    return n_failed;
}
