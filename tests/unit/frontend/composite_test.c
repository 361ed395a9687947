// Checkpoints of several models, and types that know positions by slopes: what their configs come to, what is refused, which tensors are left.
#include "frontend/arch/alibi.h"
#include "frontend/arch/fields.h"
#include "frontend/hf/composite_source.h"
#include "tests/unit/frontend/fixture.h"

#include <math.h>

static mlcc_status *parse(fixture *self, const char *text, hf_model_config **out) {
    return hf_model_config_parse(text, strlen(text), "config.json", NULL, NULL, self->keep, out);
}

// What is written stands in an mlc-chat-config.json and is read again.
static hf_model_config *again(fixture *self, const hf_model_config *config) {
    mlcc_str text = {0};
    mlcc_str_printf(
        &text, "{\"model_type\":\"%s\",\"model_config\":%s}", config->model_type,
        fixture_written(self, config));
    mlcc_json *document = NULL;
    hf_model_config *out = NULL;
    expect_ok(mlcc_json_parse(mlcc_str_text(&text), text.length, "mlc", 1 << 20, &document));
    expect_ok(hf_model_config_from_mlc(mlcc_json_root(document), "mlc", NULL, self->keep, &out));
    mlcc_str_free(&text);
    assert_string_equal(fixture_written(self, out), fixture_written(self, config));
    mlcc_json_free(document);
    return out;
}

// ---- slopes -----------------------------------------------------------------------------------------

static void test_slopes(void **state) {
    (void)state;
    // 2^-k of 8 heads, then those of 16 in between, as get_slopes(12) has them.
    static const double exponents[] = {1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5};
    float slopes[12];
    arch_alibi_slopes(12, 1, slopes);
    for (int i = 0; i < 12; i++) assert_true(fabs((double)slopes[i] - exp2(-exponents[i])) < 1e-7);
    arch_alibi_slopes(8, 0.5, slopes);
    assert_true(fabs((double)slopes[7] - 0.5 * exp2(-8)) < 1e-9);
    arch_alibi_slopes(1, 1, slopes);
    assert_true(fabs((double)slopes[0] - exp2(-8)) < 1e-9);
}

#define BAICHUAN(rest) \
    "{\"model_type\":\"baichuan\",\"hidden_size\":40,\"intermediate_size\":8,\"num_attention_" \
    "heads\":5,\"num_hidden_layers\":1,\"rms_norm_eps\":1e-06,\"vocab_size\":64" rest "}"
#define FALCON(rest) \
    "{\"model_type\":\"falcon\",\"hidden_size\":64,\"num_attention_heads\":4,\"num_hidden_" \
    "layers\":1,\"vocab_size\":9" rest "}"
#define BLOOM(rest) \
    "{\"model_type\":\"bloom\",\"n_embed\":64,\"num_attention_heads\":4,\"n_layer\":1," \
    "\"vocab_size\":9" rest "}"

// The 13B models are those without rotary positions.
static void test_baichuan(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(self, BAICHUAN(",\"model_max_length\":4096"), &config));
    assert_true(config->has_alibi);
    assert_int_equal(config->context_window_size, 4096);
    assert_non_null(strstr(fixture_written(self, config), "\"alibi\": true"));
    assert_true(again(self, config)->has_alibi);
    hf_model_config_free(config);
    expect_ok(parse(
        self, BAICHUAN(",\"model_max_length\":4096,\"max_position_embeddings\":2048"), &config));
    assert_false(config->has_alibi);
    assert_int_equal(config->context_window_size, 2048);
    assert_null(strstr(fixture_written(self, config), "alibi"));
    assert_null(strstr(fixture_written(self, config), "model_max_length"));
    assert_false(again(self, config)->has_alibi);
    hf_model_config_free(config);
    expect_no_warning(self);
}

static void test_falcon(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self, FALCON(",\"alibi\":true,\"parallel_attn\":false,\"multi_query\":false"), &config));
    assert_true(config->has_alibi && config->has_mlp_norm && !config->parallel_residual);
    assert_true(fabs(config->alibi_factor - 0.25) < 1e-12); // slopes come before the scores' scale
    const hf_model_config *copy = again(self, config);
    assert_true(copy->has_alibi && copy->has_mlp_norm && !copy->parallel_residual);
    hf_model_config_free(config);
    expect_ok(parse(self, FALCON(""), &config));
    assert_true(!config->has_alibi && !config->has_mlp_norm && config->parallel_residual);
    hf_model_config_free(config);
    expect_no_warning(self);
}

static void test_bloom(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self,
        BLOOM(",\"offset_alibi\":100,\"seq_length\":4096,\"skip_bias_add\":true,\"unk_token_"
              "id\":0"),
        &config));
    assert_true(config->has_alibi && config->tie_word_embeddings);
    assert_int_equal(config->d_ff, 256);
    assert_int_equal(config->context_window_size, 4096);
    assert_string_equal(config->hidden_act, "gelu_new");
    assert_true(again(self, config)->has_alibi);
    hf_model_config_free(config);
    expect_no_warning(self);
}

// ---- composite configs -------------------------------------------------------------------------------

#define VISION "\"vision_config\":{\"hidden_size\":8,\"patch_size\":14}"
#define YARN(rest) \
    "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"rope_theta\":1000000.0" rest "}"
#define MINISTRAL(rest) \
    "{\"model_type\":\"ministral3\",\"hidden_size\":64,\"intermediate_size\":8,\"num_attention_" \
    "heads\":8,\"num_hidden_layers\":1,\"rms_norm_eps\":1e-05,\"vocab_size\":9,\"max_position_" \
    "embeddings\":64" rest "}"

// What text_config leaves out is Llama 2 7B's, and MLC's object has its shape.
static void test_llava(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self,
        "{\"model_type\":\"llava\",\"image_token_index\":32000,\"ignore_index\":-100,\"projector_"
        "hidden_act\":\"gelu\",\"vision_feature_layer\":-2,\"text_config\":{\"model_type\":"
        "\"llama\",\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-05,\"vocab_size\":"
        "32064}," VISION "}",
        &config));
    assert_int_equal(config->d_model, 4096);
    assert_int_equal(config->d_ff, 11008);
    assert_int_equal(config->n_layers, 32);
    assert_int_equal(config->vocab, 32064);
    assert_int_equal(config->context_window_size, 4096);
    const char *text = fixture_written(self, config);
    const char begin[] =
        "{\"image_token_index\": 32000, \"text_config\": {\"hidden_size\": 4096, \"intermediate_"
        "size\": 11008, ";
    assert_memory_equal(text, begin, strlen(begin));
    assert_non_null(strstr(
        text, "\"disaggregation\": false}, \"vision_config\": {\"hidden_size\": 8, \"patch_size\": "
              "14}, \"vocab_size\": 32064, \"context_window_size\": 4096, "));
    assert_non_null(strstr(text, "\"text_architecture\": \"LlamaForCausalLM\"}"));
    assert_int_equal(again(self, config)->vocab, 32064);
    hf_model_config_free(config);
    expect_log(self, "images are not supported yet; the language model alone is used");
    assert_null(strstr(mlcc_str_text(&self->log), "unknown key"));
}

// A type that is known by its language model's.
static void test_wrapped(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self,
        "{\"model_type\":\"mistral3\",\"text_config\":" MINISTRAL("," YARN(
            ",\"llama_4_scaling_beta\":0.1,\"original_max_position_embeddings\":16")) "," VISION
                                                                                      ",\"spatial_"
                                                                                      "merge_"
                                                                                      "size\":2}",
        &config));
    assert_string_equal(config->model_type, "ministral3");
    assert_true(fabs(config->rope_scaling.growth - 0.1) < 1e-12);
    assert_int_equal(config->rope_scaling.original_context, 16);
    hf_model_config_free(config);
    expect_log(self, "images are not supported yet");
    assert_null(strstr(mlcc_str_text(&self->log), "unknown key"));
}

static void test_bad_configs(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text;
        mlcc_code code;
        const char *key, *accepted;
    } cases[] = {
        {BLOOM(",\"apply_residual_connection_post_layernorm\":true"), MLCC_UNSUPPORTED,
         "'apply_residual_connection_post_layernorm' is true", "accepted: false"},
        {BLOOM(",\"n_head\":5"), MLCC_INVALID, "hidden_size 64", "num_attention_heads 5"},
        {BLOOM(",\"n_head\":0"), MLCC_INVALID, "'n_head' is 0", "an integer from 1"},
        {FALCON(",\"alibi\":1"), MLCC_INVALID, "'alibi' is 1", "true or false"},
        {BAICHUAN(""), MLCC_INVALID, "context length", "missing"},
        {BAICHUAN(",\"model_max_length\":-1"), MLCC_INVALID, "'model_max_length' is -1",
         "an integer from 1"},
        {MINISTRAL(""), MLCC_INVALID, "'rope_parameters'", "missing"},
        {MINISTRAL("," YARN(",\"llama_4_scaling_beta\":0.1")), MLCC_INVALID,
         "'rope_parameters.llama_4_scaling_beta'", "'original_max_position_embeddings'"},
        {MINISTRAL("," YARN(",\"llama_4_scaling_beta\":-1")), MLCC_INVALID, "is -1",
         "0 or a number above it"},
        {"{\"model_type\":\"llava\",\"text_config\":{\"model_type\":\"qwen2\"}}", MLCC_UNSUPPORTED,
         "text_config.model_type is 'qwen2'", "--model-type"},
        {"{\"model_type\":\"llava\",\"text_config\":{\"hidden_size\":30,\"num_attention_heads\":"
         "4}}",
         MLCC_INVALID, "hidden_size 30", "num_attention_heads 4"},
        {"{\"model_type\":\"mistral9\",\"text_config\":{\"model_type\":\"mistral8\"}}",
         MLCC_UNSUPPORTED, "'mistral9'", "did you mean"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        hf_model_config *config = NULL;
        expect_error(
            parse(self, cases[i].text, &config), cases[i].code, cases[i].key, cases[i].accepted,
            NULL);
        assert_null(config);
    }
}

// ---- composite checkpoints -----------------------------------------------------------------------------

typedef struct numbers {
    hf_weight_source source;
    int n_released, n_closed;
} numbers;

// A tensor's bytes are its place in the list.
static mlcc_status *read_number(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    if (view != NULL) *view = NULL;
    const float place = (float)(tensor - source->tensors);
    memcpy(buffer, (const char *)&place + offset, (size_t)size_bytes);
    return NULL;
}

static void release_number(hf_weight_source *source, const hf_tensor *tensor) {
    (void)tensor;
    ((numbers *)(void *)source)->n_released++;
}

static void close_numbers(hf_weight_source *source) {
    ((numbers *)(void *)source)->n_closed++;
}

static numbers make_numbers(fixture *self, const char *const *names, size_t n) {
    hf_tensor *tensors = MLCC_NEW_ARRAY(self->keep, hf_tensor, n);
    for (size_t i = 0; i < n; i++)
        tensors[i] =
            (hf_tensor){.name = names[i], .dtype = IR_F32, .rank = 1, .dims = {1}, .size_bytes = 4};
    return (numbers){.source = {
                         .tensors = tensors,
                         .n_tensors = n,
                         .description = "a model",
                         .read = read_number,
                         .release = release_number,
                         .close = close_numbers}};
}

static void test_composite_source(void **state) {
    fixture *self = *state;
    static const char *const names[] = {
        "vision_tower.embeddings.weight",    "language_model.model.embed_tokens.weight",
        "multi_modal_projector.linear.bias", "language_model.lm_head.weight",
        "model.language_model.norm.weight",  "model.vision_tower.patch.weight",
        "model.layers.0.mlp.up_proj.weight", "model.image_newline",
    };
    static const struct {
        const char *name;
        float place;
    } expected[] = {
        {"model.embed_tokens.weight", 1},
        {"lm_head.weight", 3},
        {"model.norm.weight", 4},
        {"model.layers.0.mlp.up_proj.weight", 6},
    };
    numbers base = make_numbers(self, names, COUNT_OF(names));
    hf_weight_source *source = NULL;
    expect_ok(hf_composite_source_open(&base.source, self->keep, &source));
    assert_int_equal(source->n_tensors, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        const hf_tensor *tensor = NULL;
        float place = -1;
        assert_string_equal(source->tensors[i].name, expected[i].name);
        expect_ok(hf_weight_source_require(source, expected[i].name, &tensor));
        expect_ok(source->read(source, tensor, 0, sizeof place, &place, NULL));
        assert_float_equal(place, expected[i].place, 0);
        source->release(source, tensor);
    }
    assert_null(source->quantized);
    assert_int_equal(base.n_released, COUNT_OF(expected));
    source->close(source);
    assert_int_equal(base.n_closed, 1);
}

static void test_plain_source_stays(void **state) {
    fixture *self = *state;
    static const char *const names[] = {"model.embed_tokens.weight", "model.norm.weight"};
    numbers base = make_numbers(self, names, COUNT_OF(names));
    hf_weight_source *source = NULL;
    expect_ok(hf_composite_source_open(&base.source, self->keep, &source));
    assert_ptr_equal(source, &base.source);
}

static void test_same_name_twice(void **state) {
    fixture *self = *state;
    static const char *const names[] = {
        "language_model.model.norm.weight", "model.language_model.norm.weight"};
    numbers base = make_numbers(self, names, COUNT_OF(names));
    hf_weight_source *source = NULL;
    expect_error(
        hf_composite_source_open(&base.source, self->keep, &source), MLCC_INVALID,
        "'language_model.model.norm.weight' and 'model.language_model.norm.weight'",
        "remove one of them", NULL);
    assert_int_equal(base.n_closed, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_slopes),
        TEST(test_baichuan),
        TEST(test_falcon),
        TEST(test_bloom),
        TEST(test_llava),
        TEST(test_wrapped),
        TEST(test_bad_configs),
        TEST(test_composite_source),
        TEST(test_plain_source_stays),
        TEST(test_same_name_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
