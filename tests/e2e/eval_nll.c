// eval_nll: the mean negative log-likelihood of a text under the weights of a model directory, computed by ir/eval: no kernel, no code generation, no
// engine. What `mlcc perplexity --lines N` is measured against.
//
//   eval_nll DIR TEXT N [bytes]    the first N lines, each on its own after BOS, cut at the context window; prints one JSON object
//
// With "bytes" activations are rounded as for targets that multiply bytes (linear_scaled), for weights of 4-bit and 8-bit integers.
// Weights come out of the written store through quantization/format.h, activations are float32, the KV cache has the type that compile chooses for the
// mode.
#include "frontend/import.h"
#include "ir/eval.h"
#include "passes/pipeline.h"
#include "runtime/base/file.h"
#include "runtime/mlcc.h"
#include "runtime/model/tensor_cache.h"
#include "tests/support/store_params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_TOKENS 16

typedef struct oracle {
    mlcc_arena *keep;
    mlcc_json *json;
    hf_model_config *config;
    const quant_mode *mode;
    ir_module *module;
    ir_dtype kv_dtype;
    mlcc_tensor_cache *store;
    mlcc_tokenizer *tokenizer;
    store_params params;
    double sum_nll;
    int64_t n_scored;
} oracle;

// ---- the model ----------------------------------------------------------------------------------------------

static bool takes_bytes(void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    (void)user;
    const char *dtype = ir_dtype_get(weight->dtype)->text;
    const bool is_integer = strncmp(dtype, "q4", 2) == 0 || strncmp(dtype, "u4", 2) == 0 ||
                            strncmp(dtype, "q8", 2) == 0;
    return is_integer && mantissa_bits == 7 && group == 32;
}

static bool takes_pairs(void *user, const ir_type *weight, ir_dtype dtype) {
    (void)user;
    return weight->dtype == IR_BF16 && dtype == IR_BF16;
}

static mlcc_status *open_model(oracle *self, const char *directory, bool in_bytes) {
    const char *path = mlcc_path_join(self->keep, directory, "mlc-chat-config.json");
    MLCC_TRY(mlcc_json_read_file(path, 0, &self->json));
    const mlcc_json_value *root = mlcc_json_root(self->json);
    const char *mode = NULL;
    MLCC_TRY(mlcc_json_get_text(root, "quantization", true, &mode));
    MLCC_TRY(quant_mode_find(mode, &self->mode));
    MLCC_TRY(hf_model_config_from_mlc(root, path, NULL, self->keep, &self->config));
    self->kv_dtype = self->mode->model == IR_F32 && self->mode->linear == IR_F32 ? IR_F32 : IR_F16;
    const import_options options = {
        .activation_dtype = IR_F32,
        .kv_dtype = self->kv_dtype,
        .max_tokens = self->config->context_window_size,
        .max_sequences = self->config->context_window_size, // a row of logits for every token
    };
    MLCC_TRY(import_model(self->config, &options, self->keep, &self->module));
    mlcc_arena *scratch = mlcc_arena_create();
    const pass_target bytes = {.takes_codes = takes_bytes, .takes_dtype = takes_pairs};
    pass_context context = {
        .scratch = scratch, .mode = self->mode, .target = in_bytes ? &bytes : NULL};
    const pass_options passes = {.stop_after = "prune", .limit = -1};
    mlcc_status *status = pass_pipeline_run(self->module, &passes, &context);
    mlcc_arena_free(scratch);
    MLCC_TRY(status);
    MLCC_TRY(mlcc_tensor_cache_open(directory, &self->store));
    MLCC_TRY(mlcc_tensor_cache_map(self->store));
    self->params =
        (store_params){.keep = self->keep,
                       .store = self->store,
                       .tensors = MLCC_NEW_ARRAY(self->keep, ir_tensor *, self->module->n_params)};
    return mlcc_tokenizer_open(directory, &self->tokenizer);
}

static void close_model(oracle *self) {
    mlcc_tokenizer_close(self->tokenizer);
    mlcc_tensor_cache_close(self->store);
    hf_model_config_free(self->config);
    mlcc_json_free(self->json);
    mlcc_arena_free(self->keep);
}

static ir_tensor *counting(mlcc_arena *keep, int64_t count, int32_t step) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &count);
    for (int64_t i = 0; i < count; i++) tensor->i32[i] = step * (int32_t)i;
    return tensor;
}

// Logits [n_ids, vocab] of one sequence from its beginning.
static mlcc_status *forward(
    oracle *self, const int32_t *ids, int64_t n_ids, mlcc_arena *scratch, const float **logits) {
    const hf_model_config *config = self->config;
    const int64_t n_pages = (n_ids + PAGE_TOKENS - 1) / PAGE_TOKENS, n_layers = config->n_layers;
    const ir_function *function = ir_module_find(self->module, "forward");
    ir_tensor **args = MLCC_NEW_ARRAY(scratch, ir_tensor *, (size_t)function->n_args);
    ir_tensor **results = MLCC_NEW_ARRAY(scratch, ir_tensor *, (size_t)function->n_returns);
    args[0] = counting(scratch, n_ids, 0);
    memcpy(args[0]->i32, ids, (size_t)n_ids * sizeof *ids);
    args[1] = counting(scratch, n_ids, 1);
    args[2] = counting(scratch, n_ids, 0);
    args[3] = ir_tensor_create(scratch, IR_I32, 2, (int64_t[]){1, n_pages});
    for (int32_t i = 0; i < n_pages; i++) args[3]->i32[i] = i;
    args[4] = counting(scratch, n_ids, 1);
    const int64_t cache[] = {n_pages, 2, config->n_kv_heads, PAGE_TOKENS, config->head_dim};
    for (int64_t i = 0; i < n_layers; i++)
        args[5 + i] = ir_tensor_create(scratch, self->kv_dtype, 5, cache);
    // What is left are maxima that a calibrating model records.
    for (int64_t i = 5 + n_layers; i < function->n_args; i++)
        args[i] = ir_tensor_create(scratch, IR_F32, 1, (int64_t[]){1});
    const ir_eval_options options = {.param = store_params_read, .user = &self->params};
    MLCC_TRY(ir_eval_function(function, args, &options, scratch, results));
    *logits = results[0]->f32;
    return NULL;
}

// ---- the text -----------------------------------------------------------------------------------------------

static double nll_of(const float *logits, int64_t vocab, int32_t token) {
    double largest = -HUGE_VAL, sum = 0.0;
    for (int64_t i = 0; i < vocab; i++) largest = fmax(largest, (double)logits[i]);
    for (int64_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - largest);
    return largest + log(sum) - (double)logits[token];
}

static mlcc_status *score_line(oracle *self, const char *line, size_t length) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    MLCC_TRY(mlcc_tokenizer_encode(self->tokenizer, line, length, true, &ids, &n_ids));
    int64_t n = (int64_t)n_ids < self->config->context_window_size
                    ? (int64_t)n_ids
                    : self->config->context_window_size;
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    const float *logits = NULL;
    const int64_t vocab = self->config->vocab;
    if (n > 1) status = forward(self, ids, n - 1, scratch, &logits);
    for (int64_t i = 1; i < n && status == NULL; i++, self->n_scored++)
        self->sum_nll += nll_of(logits + (i - 1) * vocab, vocab, ids[i]);
    mlcc_arena_free(scratch);
    free(ids);
    return status;
}

static mlcc_status *score_lines(oracle *self, const char *text, long n_lines) {
    for (long i = 0; i < n_lines && *text != '\0'; i++) {
        const size_t length = strcspn(text, "\n");
        MLCC_TRY_NOTE(
            score_line(self, text, length > 0 && text[length - 1] == '\r' ? length - 1 : length),
            "scoring line %ld", i + 1);
        text += length + (text[length] == '\n');
    }
    return NULL;
}

int main(int argc, char **argv) {
    const bool in_bytes = argc == 5 && strcmp(argv[4], "bytes") == 0;
    if (argc != 4 && !in_bytes) {
        fprintf(stderr, "usage: eval_nll DIR TEXT N [bytes]\n");
        return 2;
    }
    oracle self = {.keep = mlcc_arena_create()};
    char *text = NULL;
    size_t length = 0;
    mlcc_status *status = mlcc_file_read(argv[2], 0, &text, &length);
    if (status == NULL) status = open_model(&self, argv[1], in_bytes);
    if (status == NULL) status = score_lines(&self, text, strtol(argv[3], NULL, 10));
    if (status == NULL) {
        printf(
            "{\"mean_nll\": %.9f, \"tokens\": %lld}\n", self.sum_nll / (double)self.n_scored,
            (long long)self.n_scored);
    } else {
        char *message = mlcc_status_format(status, 1);
        fputs(message, stderr);
        free(message);
        mlcc_status_free(status);
    }
    free(text);
    const int exit_code = status != NULL;
    close_model(&self);
    return exit_code;
}
