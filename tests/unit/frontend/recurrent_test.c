// rwkv5 and rwkv6: types that have a configuration and no graph. What is derived, written, overridden and refused; nothing builds or converts them.
#include "frontend/arch/arch.h"
#include "frontend/import.h"
#include "tests/unit/frontend/fixture.h"

#define RWKV(type, rest) \
    "{\"model_type\":\"" type \
    "\",\"hidden_size\":192,\"num_hidden_layers\":3,\"vocab_size\":257" rest "}"
#define RWKV5(rest) RWKV("rwkv5", ",\"model_version\":\"5_2\"" rest)

static mlcc_status *parse_with(
    fixture *self, const char *text, const hf_config_overrides *overrides, hf_model_config **out) {
    return hf_model_config_parse(
        text, strlen(text), "config.json", NULL, overrides, self->keep, out);
}

static hf_model_config *read_text(fixture *self, const char *text) {
    hf_model_config *config = NULL;
    expect_ok(parse_with(self, text, NULL, &config));
    return config;
}

// As Python's dataclass: 3.5 * 192 = 672 = 21 * 32.
static void test_defaults(void **state) {
    fixture *self = *state;
    hf_model_config *config = read_text(self, RWKV5(""));
    assert_string_equal(
        fixture_written(self, config),
        "{\"hidden_size\": 192, \"intermediate_size\": 672, \"num_hidden_layers\": 3, "
        "\"vocab_size\": 257, \"model_version\": \"5_2\", \"tensor_parallel_shards\": 1, "
        "\"rescale_every\": 0, \"head_size\": 64, \"layer_norm_epsilon\": 1e-05, "
        "\"context_window_size\": -1, \"prefill_chunk_size\": 4096, \"num_heads\": 3, "
        "\"max_batch_size\": 1}");
    hf_model_config_free(config);
    config = read_text(self, RWKV("rwkv6", ""));
    assert_string_equal(config->model_type, "rwkv6");
    assert_string_equal(config->model_version, "6_0");
    assert_int_equal(config->d_ff, 672);
    hf_model_config_free(config);
    expect_no_warning(self);
}

// Odd sizes are rounded down to steps of 32; null and 0 are derived, too; the keys of Hugging Face's classes are no news.
static void test_derived(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text;
        int64_t d_ff, n_heads;
    } cases[] = {
        {RWKV5(",\"intermediate_size\":null,\"num_heads\":0,\"head_size\":48"), 672, 4},
        {RWKV5(",\"intermediate_size\":0,\"num_heads\":2,\"head_size\":96"), 672, 2},
        {RWKV5(",\"intermediate_size\":700,\"num_attention_heads\":64,\"head_size_divisor\":8,"
               "\"attention_hidden_size\":192,\"context_length\":4096,"
               "\"tie_word_embeddings\":true"),
         700, 3},
        {"{\"model_type\":\"rwkv5\",\"model_version\":\"5_2\",\"hidden_size\":91,\"head_size\":7,"
         "\"num_hidden_layers\":1,\"vocab_size\":5}",
         288, 13}, // 318.5
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_model_config *config = read_text(self, cases[i].text);
        assert_int_equal(config->d_ff, cases[i].d_ff);
        assert_int_equal(config->n_heads, cases[i].n_heads);
        hf_model_config_free(config);
    }
    expect_no_warning(self);
}

// A context that somebody wants leaves the chunk alone, as in MLC LLM; sizes that the type lacks are dropped.
static void test_overrides(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    const hf_config_overrides overrides = {
        .context_window_size = 2048, .sliding_window_size = 64, .max_batch_size = 7};
    expect_ok(parse_with(self, RWKV5(""), &overrides, &config));
    assert_int_equal(config->context_window_size, 2048);
    assert_int_equal(config->prefill_chunk_size, 4096);
    assert_int_equal(config->max_batch_size, 7);
    expect_log(self, "model type 'rwkv5' has no sliding_window_size; the override 64 is ignored");
    hf_model_config_free(config);
    const hf_config_overrides shards = {.tensor_parallel_shards = 1};
    expect_ok(parse_with(
        self, RWKV5(",\"tensor_parallel_shards\":2"), &shards, &config)); // the last word
    hf_model_config_free(config);
}

static void test_refused(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text, *found, *accepted;
    } cases[] = {
        {RWKV("rwkv5", ""), "'model_version'", "missing"},
        {RWKV("rwkv5", ",\"model_version\":\"5_1\""), "'model_version' is \"5_1\"", "\"5_2\""},
        {RWKV("rwkv6", ",\"model_version\":\"5_2\""), "'model_version' is \"5_2\"", "\"6_0\""},
        {RWKV5(",\"head_size\":50"), "num_heads 3 times head_size 50", "hidden_size 192"},
        {RWKV5(",\"head_size\":1000"), "num_heads 0 times head_size 1000", "hidden_size 192"},
        {RWKV5(",\"num_heads\":5"), "num_heads 5 times head_size 64", "hidden_size 192"},
        {RWKV5(",\"num_heads\":-1"), "'num_heads' is -1", "from 1 to"},
        {RWKV5(",\"rescale_every\":-6"), "'rescale_every' is -6", "from 0 to"},
        {RWKV5(",\"rescale_every\":\"six\""), "'rescale_every' is \"six\"", "an integer"},
        {RWKV5(",\"layer_norm_epsilon\":1.5"), "layer_norm_epsilon is 1.5", "below 1"},
        {RWKV5(",\"layer_norm_epsilon\":-1e-5"), "layer_norm_epsilon is -1e-05", "below 1"},
        {RWKV5(",\"tensor_parallel_shards\":2"), "tensor_parallel_shards is 2", "accepts 1"},
        {RWKV5(",\"context_window_size\":-2"), "'context_window_size' is -2", "-1 for off"},
        {RWKV5(",\"intermediate_size\":1e3"), "'intermediate_size' is 1000.0", "an integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_model_config *config = NULL;
        expect_error(
            parse_with(self, cases[i].text, NULL, &config), MLCC_INVALID, "config.json",
            cases[i].found, cases[i].accepted, NULL);
        assert_null(config);
    }
}

// The predicate, and what everybody says who needs the graph; questions about tensors have answers that change nothing.
static void test_no_graph(void **state) {
    fixture *self = *state;
    const arch_info *arch = NULL;
    assert_false(arch_has_graph(arch_find("rwkv5")));
    assert_false(arch_has_graph(arch_find("rwkv6")));
    assert_true(arch_has_graph(arch_find("llama")));
    assert_true(arch_has_graph(arch_find("bert")));
    expect_ok(arch_find_graph("llama", &arch));
    assert_ptr_equal(arch, arch_find("llama"));
    expect_error(
        arch_find_graph("rwkv6", &arch), MLCC_UNSUPPORTED, "'rwkv6' is recurrent",
        "accepted here: llama, ", NULL);
    assert_null(arch);
    expect_error(
        arch_find_graph("rwkv", &arch), MLCC_UNSUPPORTED, "did you mean 'rwkv5'",
        "by gen_config alone: rwkv5, rwkv6", NULL);

    hf_model_config *config = read_text(
        self, RWKV5(",\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":"
                    "64,\"modules_to_not_convert\":[\"head\"]}"));
    const import_options options = {.activation_dtype = IR_F32, .kv_dtype = IR_F16};
    ir_module *module = NULL;
    expect_error(
        import_model(config, &options, self->keep, &module), MLCC_UNSUPPORTED,
        "'rwkv5' is recurrent", NULL);
    assert_null(module);
    hf_weight_source base = {0}, *arranged = NULL;
    expect_error(
        import_arrange_source(config, &base, self->keep, &arranged), MLCC_UNSUPPORTED,
        "'rwkv5' is recurrent", NULL);
    assert_ptr_equal(arranged, &base);
    quant_options quantization;
    expect_ok(import_quant_options(config, self->keep, &quantization));
    assert_int_equal(quantization.group_size, 64);
    assert_int_equal(quantization.n_float_modules, 0);
    assert_false(import_is_encoder(config));
    assert_string_equal(import_task(config), "chat");
    assert_null(import_source_alternative(config, "emb.weight"));
    assert_false(import_source_is_unused(config, "emb.weight"));
    hf_model_config_free(config);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_defaults), TEST(test_derived),  TEST(test_overrides),
        TEST(test_refused),  TEST(test_no_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
