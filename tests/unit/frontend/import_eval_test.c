// The imported module means what the model means: stories260K's real weights through ir/eval give the logits and the greedy tokens of an
// independent float32 implementation. This is the oracle that passes, kernels and lib.so are measured against, so it stands first.
#include "frontend/hf/weight_source.h"
#include "frontend/import.h"
#include "ir/eval.h"
#include "tests/unit/frontend/fixture.h"

#include <math.h>

#define LOGIT_ERROR 2e-3
#define PAGE_TOKENS 16
#define N_PAGES     17 // 5 prompt tokens and 256 new ones

typedef struct oracle {
    fixture *test;
    const hf_model_config *config;
    hf_weight_source *weights;
    ir_module *module;
    ir_tensor **params; // by index, filled when first asked for
    ir_tensor **caches;
    mlcc_json *reference;
} oracle;

static mlcc_status *read_param(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    const oracle *self = user;
    (void)keep;
    ir_tensor **kept = &self->params[param->value.index];
    *out = *kept;
    if (*kept != NULL) return NULL;
    const char *name = param->sources[0];
    if (hf_weight_source_find(self->weights, name) == NULL)
        name = import_source_alternative(self->config, name);
    const hf_tensor *tensor = NULL;
    const void *view = NULL;
    MLCC_TRY(hf_weight_source_require(self->weights, name, &tensor));
    MLCC_TRY(self->weights->read(self->weights, tensor, 0, tensor->size_bytes, NULL, &view));
    *out = *kept = ir_tensor_create(self->test->keep, IR_F32, tensor->rank, tensor->dims);
    for (int64_t i = 0; i < ir_tensor_count(*out); i++) {
        if (tensor->dtype == IR_F32)
            (*out)->f32[i] = ((const float *)view)[i];
        else if (tensor->dtype == IR_F16)
            (*out)->f32[i] = ir_f16_to_f32(((const uint16_t *)view)[i]);
        else
            (*out)->f32[i] = ir_bf16_to_f32(((const uint16_t *)view)[i]);
    }
    return NULL;
}

static void open_model(oracle *self, const char *folder) {
    hf_model_config *config = NULL;
    expect_ok(hf_model_config_read(folder, NULL, NULL, self->test->keep, &config));
    self->config = config;
    expect_ok(hf_safetensors_open(folder, self->test->keep, &self->weights));
    expect_ok(import_model(
        config, &(import_options){IR_F32, IR_F32, 64, 1, false}, self->test->keep, &self->module));
    expect_ok(mlcc_json_read_file(
        mlcc_path_join(self->test->keep, folder, "reference.json"), 0, &self->reference));
    self->params = MLCC_NEW_ARRAY(self->test->keep, ir_tensor *, self->module->n_params);
    self->caches = MLCC_NEW_ARRAY(self->test->keep, ir_tensor *, (size_t)config->n_layers);
    for (int64_t layer = 0; layer < config->n_layers; layer++)
        self->caches[layer] = ir_tensor_create(
            self->test->keep, IR_F32, 5,
            (int64_t[]){N_PAGES, 2, config->n_kv_heads, PAGE_TOKENS, config->head_dim});
}

static void close_model(oracle *self) {
    self->weights->close(self->weights);
    mlcc_json_free(self->reference);
    hf_model_config_free((hf_model_config *)(uintptr_t)self->config);
}

static ir_tensor *integers(fixture *test, int64_t count, int32_t first, int32_t step) {
    ir_tensor *tensor = ir_tensor_create(test->keep, IR_I32, 1, &count);
    for (int64_t i = 0; i < count; i++) tensor->i32[i] = first + step * (int32_t)i;
    return tensor;
}

// Runs tokens at positions `begin` … of one sequence whose pages lie in reverse order; returns the logits after the last of them, [vocab].
static const float *forward(oracle *self, const int32_t *ids, int64_t n_tokens, int32_t begin) {
    fixture *test = self->test;
    int64_t n_layers = self->config->n_layers;
    ir_tensor **args = MLCC_NEW_ARRAY(test->keep, ir_tensor *, (size_t)(5 + n_layers));
    ir_tensor **results = MLCC_NEW_ARRAY(test->keep, ir_tensor *, (size_t)(1 + n_layers));
    args[0] = integers(test, n_tokens, 0, 0);
    memcpy(args[0]->i32, ids, (size_t)n_tokens * sizeof *ids);
    args[1] = integers(test, n_tokens, begin, 1);
    args[2] = integers(test, n_tokens, 0, 0);
    args[3] = ir_tensor_create(test->keep, IR_I32, 2, (int64_t[]){1, N_PAGES});
    for (int32_t slot = 0; slot < N_PAGES; slot++) args[3]->i32[slot] = N_PAGES - 1 - slot;
    args[4] = integers(test, 1, (int32_t)n_tokens - 1, 0);
    for (int64_t layer = 0; layer < n_layers; layer++) args[5 + layer] = self->caches[layer];
    ir_eval_options options = {.param = read_param, .user = self};
    expect_ok(ir_eval_function(
        ir_module_find(self->module, "forward"), args, &options, test->keep, results));
    for (int64_t layer = 0; layer < n_layers; layer++) self->caches[layer] = results[1 + layer];
    return results[0]->f32;
}

static int32_t best(const float *logits, int64_t vocab) {
    int64_t id = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[id]) id = i;
    return (int32_t)id;
}

static void check_model(fixture *test, const char *name, size_t n_greedy) {
    oracle self = {.test = test};
    open_model(&self, fixture_data(test, name));
    const mlcc_json_value *root = mlcc_json_root(self.reference);
    const mlcc_json_value *prompt = mlcc_json_get(root, "prompt_ids");
    const mlcc_json_value *expected = mlcc_json_get(root, "first_step_logits");
    const mlcc_json_value *greedy = mlcc_json_get(root, "new_ids");
    int64_t vocab = self.config->vocab;
    assert_int_equal(mlcc_json_count(expected), vocab);

    int32_t ids[64] = {0};
    int64_t n_ids = (int64_t)mlcc_json_count(prompt);
    for (int64_t i = 0; i < n_ids; i++)
        ids[i] = (int32_t)mlcc_json_int(mlcc_json_at(prompt, (size_t)i));
    const float *logits = forward(&self, ids, n_ids, 0);
    double worst = 0;
    for (int64_t i = 0; i < vocab; i++)
        worst = fmax(
            worst, fabs((double)logits[i] - mlcc_json_number(mlcc_json_at(expected, (size_t)i))));
    print_message("%s: largest error of the first step's logits %.2g\n", name, worst);
    assert_true(worst <= LOGIT_ERROR);

    for (size_t i = 0; i < n_greedy; i++) {
        int32_t id = best(logits, vocab);
        assert_int_equal(id, mlcc_json_int(mlcc_json_at(greedy, i)));
        logits = forward(&self, &id, 1, (int32_t)n_ids + (int32_t)i);
    }
    close_model(&self);
}

static void test_f32(void **state) {
    check_model(*state, "models/stories260K", 256);
}
static void test_f16(void **state) {
    check_model(*state, "models/stories260K-f16", 16);
}
static void test_bf16(void **state) {
    check_model(*state, "models/stories260K-bf16", 16);
}
static void test_sharded(void **state) {
    check_model(*state, "models/stories260K-sharded", 16);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    if (!fixture_has_data("models/stories260K")) return 77;
    const struct CMUnitTest tests[] = {
        TEST(test_f32), TEST(test_f16), TEST(test_bf16), TEST(test_sharded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
