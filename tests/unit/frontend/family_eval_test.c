// Families against a second opinion: the module of a small random model, through ir/eval, gives the logits of a forward pass that is written here in
// plain loops over doubles, from Hugging Face's definition and with Hugging Face's tensor names: biases (Qwen2), sliding window and head_dim (Mistral).
#include "frontend/import.h"
#include "ir/eval.h"
#include "runtime/base/hash.h"
#include "tests/unit/frontend/fixture.h"

#include <math.h>

#define MAX_TOKENS  40
#define PAGE_TOKENS 16
#define N_PAGES     3
#define LOGIT_ERROR 2e-5

// ---- weights: a function of name and index ------------------------------------------------------------------

static float weight(const char *name, int64_t i) {
    uint64_t bits = mlcc_hash64(name, strlen(name)) + (uint64_t)i * 0x9e3779b97f4a7c15u;
    bits ^= bits >> 31;
    bits *= 0xbf58476d1ce4e5b9u;
    bits ^= bits >> 29;
    float value = (float)(bits % 4001) / 2000.0f - 1.0f;
    return strstr(name, "norm") != NULL ? 1.0f + 0.25f * value : 0.5f * value;
}

static mlcc_status *make_param(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    (void)user;
    int64_t dims[IR_MAX_RANK];
    for (int32_t i = 0; i < param->value.type.rank; i++) dims[i] = param->value.type.dims[i].value;
    *out = ir_tensor_create(keep, IR_F32, param->value.type.rank, dims);
    for (int64_t i = 0; i < ir_tensor_count(*out); i++)
        (*out)->f32[i] = weight(param->sources[0], i);
    return NULL;
}

// ---- the second opinion ---------------------------------------------------------------------------------------

typedef struct family {
    const char *config;
    int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab, window;
    double theta, eps;
    bool has_biases, is_tied;
} family;

// `layer` -1: the name is whole, else it stands below the layer.
static double element(const char *name, int64_t layer, int64_t i) {
    char whole[128];
    if (layer < 0) return (double)weight(name, i);
    snprintf(whole, sizeof whole, "model.layers.%d.%s", (int)layer, name);
    return (double)weight(whole, i);
}

// output[t, n] = sum over k of x[t, k] w[n, k], plus bias[n].
static void project(
    const double *x, int64_t n_tokens, int64_t K, int64_t N, const char *weights, const char *bias,
    int64_t layer, double *output) {
    for (int64_t t = 0; t < n_tokens; t++)
        for (int64_t n = 0; n < N; n++) {
            double sum = bias != NULL ? element(bias, layer, n) : 0;
            for (int64_t k = 0; k < K; k++)
                sum += x[t * K + k] * element(weights, layer, n * K + k);
            output[t * N + n] = sum;
        }
}

static void normalize(
    const family *f, const double *x, int64_t n_tokens, const char *gain, int64_t layer,
    double *output) {
    for (int64_t t = 0; t < n_tokens; t++) {
        double square = 0;
        for (int64_t k = 0; k < f->d_model; k++)
            square += x[t * f->d_model + k] * x[t * f->d_model + k];
        double scale = 1 / sqrt(square / (double)f->d_model + f->eps);
        for (int64_t k = 0; k < f->d_model; k++)
            output[t * f->d_model + k] = x[t * f->d_model + k] * scale * element(gain, layer, k);
    }
}

// Pairs (i, i + head_dim / 2) of every head turn by position * theta^(-2i / head_dim).
static void rotate(const family *f, double *x, int64_t n_tokens, int64_t n_heads) {
    const int64_t half = f->head_dim / 2;
    for (int64_t t = 0; t < n_tokens; t++)
        for (int64_t h = 0; h < n_heads; h++)
            for (int64_t i = 0; i < half; i++) {
                double *a = &x[(t * n_heads + h) * f->head_dim + i], *b = a + half;
                double angle = (double)t * pow(f->theta, -2.0 * (double)i / (double)f->head_dim);
                double c = cos(angle), s = sin(angle), first = *a, second = *b;
                *a = first * c - second * s;
                *b = second * c + first * s;
            }
}

static void attend(
    const family *f, const double *q, const double *k, const double *v, int64_t n_tokens,
    double *output) {
    const int64_t hd = f->head_dim, per_kv = f->n_heads / f->n_kv_heads;
    for (int64_t t = 0; t < n_tokens; t++)
        for (int64_t h = 0; h < f->n_heads; h++) {
            double weights[MAX_TOKENS] = {0}, largest = -HUGE_VAL, sum = 0;
            int64_t first = f->window > 0 && t >= f->window ? t - f->window + 1 : 0;
            const double *query = &q[(t * f->n_heads + h) * hd];
            for (int64_t s = first; s <= t; s++) {
                const double *key = &k[(s * f->n_kv_heads + h / per_kv) * hd];
                for (int64_t i = 0; i < hd; i++) weights[s] += query[i] * key[i];
                weights[s] /= sqrt((double)hd);
                largest = fmax(largest, weights[s]);
            }
            for (int64_t s = first; s <= t; s++) sum += weights[s] = exp(weights[s] - largest);
            for (int64_t i = 0; i < hd; i++) {
                double value = 0;
                for (int64_t s = first; s <= t; s++)
                    value += weights[s] / sum * v[(s * f->n_kv_heads + h / per_kv) * hd + i];
                output[(t * f->n_heads + h) * hd + i] = value;
            }
        }
}

static void add_to(double *x, const double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
}

static void run_layer(const family *f, int64_t layer, int64_t n_tokens, double *x) {
    const int64_t D = f->d_model, Q = f->n_heads * f->head_dim, KV = f->n_kv_heads * f->head_dim;
    const bool has_biases = f->has_biases;
    double h[MAX_TOKENS * 32], q[MAX_TOKENS * 32], k[MAX_TOKENS * 32], v[MAX_TOKENS * 32];
    double attention[MAX_TOKENS * 32], gate[MAX_TOKENS * 32], up[MAX_TOKENS * 32];
    assert_true(D <= 32 && Q <= 32 && f->d_ff <= 32 && n_tokens <= MAX_TOKENS);
    normalize(f, x, n_tokens, "input_layernorm.weight", layer, h);
    project(
        h, n_tokens, D, Q, "self_attn.q_proj.weight", has_biases ? "self_attn.q_proj.bias" : NULL,
        layer, q);
    project(
        h, n_tokens, D, KV, "self_attn.k_proj.weight", has_biases ? "self_attn.k_proj.bias" : NULL,
        layer, k);
    project(
        h, n_tokens, D, KV, "self_attn.v_proj.weight", has_biases ? "self_attn.v_proj.bias" : NULL,
        layer, v);
    rotate(f, q, n_tokens, f->n_heads);
    rotate(f, k, n_tokens, f->n_kv_heads);
    attend(f, q, k, v, n_tokens, attention);
    project(attention, n_tokens, Q, D, "self_attn.o_proj.weight", NULL, layer, h);
    add_to(x, h, n_tokens * D);
    normalize(f, x, n_tokens, "post_attention_layernorm.weight", layer, h);
    project(h, n_tokens, D, f->d_ff, "mlp.gate_proj.weight", NULL, layer, gate);
    project(h, n_tokens, D, f->d_ff, "mlp.up_proj.weight", NULL, layer, up);
    for (int64_t i = 0; i < n_tokens * f->d_ff; i++)
        gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    project(gate, n_tokens, f->d_ff, D, "mlp.down_proj.weight", NULL, layer, h);
    add_to(x, h, n_tokens * D);
}

// logits: [n_tokens, vocab].
static void reference(const family *f, const int32_t *ids, int64_t n_tokens, double *logits) {
    double x[MAX_TOKENS * 32], h[MAX_TOKENS * 32];
    for (int64_t t = 0; t < n_tokens; t++)
        for (int64_t k = 0; k < f->d_model; k++)
            x[t * f->d_model + k] =
                element("model.embed_tokens.weight", -1, ids[t] * f->d_model + k);
    for (int64_t layer = 0; layer < f->n_layers; layer++) run_layer(f, layer, n_tokens, x);
    normalize(f, x, n_tokens, "model.norm.weight", -1, h);
    project(
        h, n_tokens, f->d_model, f->vocab,
        f->is_tied ? "model.embed_tokens.weight" : "lm_head.weight", NULL, -1, logits);
}

// ---- the module -------------------------------------------------------------------------------------------------

static ir_tensor *integers(mlcc_arena *keep, int64_t count, int32_t first, int32_t step) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &count);
    for (int64_t i = 0; i < count; i++) tensor->i32[i] = first + step * (int32_t)i;
    return tensor;
}

// Tokens [begin, begin + n) of one sequence; logits of the last one. caches are replaced.
static const float *forward(
    const ir_module *module, const int32_t *ids, int64_t begin, int64_t n, ir_tensor **caches,
    int64_t n_layers, mlcc_arena *keep) {
    ir_tensor *args[5 + 8], *results[1 + 8];
    args[0] = integers(keep, n, 0, 0);
    memcpy(args[0]->i32, ids + begin, (size_t)n * sizeof *ids);
    args[1] = integers(keep, n, (int32_t)begin, 1);
    args[2] = integers(keep, n, 0, 0);
    args[3] = ir_tensor_create(keep, IR_I32, 2, (int64_t[]){1, N_PAGES});
    for (int32_t slot = 0; slot < N_PAGES; slot++) args[3]->i32[slot] = N_PAGES - 1 - slot;
    args[4] = integers(keep, 1, (int32_t)n - 1, 0);
    for (int64_t layer = 0; layer < n_layers; layer++) args[5 + layer] = caches[layer];
    const ir_eval_options options = {.param = make_param};
    expect_ok(ir_eval_function(ir_module_find(module, "forward"), args, &options, keep, results));
    for (int64_t layer = 0; layer < n_layers; layer++) caches[layer] = results[1 + layer];
    return results[0]->f32;
}

static void check_logits(const float *logits, const double *expected, int64_t vocab) {
    for (int64_t i = 0; i < vocab; i++)
        if (!(fabs((double)logits[i] - expected[i]) <= LOGIT_ERROR * (1 + fabs(expected[i]))))
            fail_msg("logit %d is %.8g, expected %.8g", (int)i, (double)logits[i], expected[i]);
}

// A prefill of most tokens, then the rest one by one.
static void check_family(fixture *self, const family *f, int64_t n_tokens, int64_t n_prefill) {
    hf_model_config *config = NULL;
    ir_module *module = NULL;
    int32_t ids[MAX_TOKENS];
    double expected[MAX_TOKENS * 32];
    for (int64_t t = 0; t < n_tokens; t++) ids[t] = (int32_t)((7 * t + 3) % f->vocab);
    reference(f, ids, n_tokens, expected);
    expect_ok(hf_model_config_parse(
        f->config, strlen(f->config), "config.json", NULL, NULL, self->keep, &config));
    expect_ok(import_model(
        config, &(import_options){IR_F32, IR_F32, MAX_TOKENS, 1, false}, self->keep, &module));
    ir_tensor *caches[8];
    for (int64_t layer = 0; layer < f->n_layers; layer++)
        caches[layer] = ir_tensor_create(
            self->keep, IR_F32, 5,
            (int64_t[]){N_PAGES, 2, f->n_kv_heads, PAGE_TOKENS, f->head_dim});
    const float *logits = forward(module, ids, 0, n_prefill, caches, f->n_layers, self->keep);
    check_logits(logits, expected + (n_prefill - 1) * f->vocab, f->vocab);
    for (int64_t t = n_prefill; t < n_tokens; t++) {
        logits = forward(module, ids, t, 1, caches, f->n_layers, self->keep);
        check_logits(logits, expected + t * f->vocab, f->vocab);
    }
    hf_model_config_free(config);
    expect_no_warning(self);
}

#define SHAPE(type, head_dim) \
    "{\"model_type\":\"" type \
    "\",\"hidden_size\":12,\"intermediate_size\":10,\"hidden_act\":\"silu\"," \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_layers\":2,\"vocab_size\":" \
    "13," \
    "\"rms_norm_eps\":1e-05,\"max_position_embeddings\":64,\"head_dim\":" #head_dim

static void test_qwen2(void **state) {
    family f = {
        SHAPE("qwen2", 4) ",\"rope_theta\":1000000.0,\"tie_word_embeddings\":false}",
        12,
        2,
        4,
        2,
        4,
        10,
        13,
        0,
        1000000.0,
        1e-5,
        true,
        false};
    check_family(*state, &f, 22, 18);
    f.config = SHAPE("qwen2", 4) ",\"rope_theta\":1000000.0,\"tie_word_embeddings\":true}";
    f.is_tied = true;
    check_family(*state, &f, 5, 4);
}

static void test_mistral(void **state) {
    family f = {
        SHAPE("mistral", 6) ",\"rope_theta\":10000.0,\"sliding_window\":null}",
        12,
        2,
        4,
        2,
        6,
        10,
        13,
        0,
        10000.0,
        1e-5,
        false,
        false};
    check_family(*state, &f, 22, 18);
    f.config = SHAPE("mistral", 6) ",\"rope_theta\":10000.0,\"sliding_window\":5}";
    f.window = 5;
    check_family(*state, &f, 37, 30);
    f.config = SHAPE("mistral", 6) ",\"rope_theta\":10000.0,\"sliding_window\":1}";
    f.window = 1;
    check_family(*state, &f, 4, 2);
}

static void test_llama(void **state) {
    family f = {
        SHAPE("llama", 6) ",\"rope_theta\":10000.0}",
        12,
        2,
        4,
        2,
        6,
        10,
        13,
        0,
        10000.0,
        1e-5,
        false,
        false};
    check_family(*state, &f, 22, 18);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_llama), TEST(test_qwen2), TEST(test_mistral)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
