// quantization_config: every dialect that tools write, the modules they leave in float, and one clear message for what is wrong.
#include "frontend/hf/quantization_config.h"
#include "frontend/import.h"
#include "tests/unit/frontend/fixture.h"

static mlcc_status *read_key(
    fixture *self, const char *key, const char *object, hf_quantization_config *out) {
    char *text = mlcc_arena_printf(self->keep, "{\"model_type\":\"llama\",\"%s\":%s}", key, object);
    mlcc_json *json = NULL;
    expect_ok(mlcc_json_parse(text, strlen(text), "config.json", 0, &json));
    mlcc_status *status =
        hf_quantization_config_read(self->dir, mlcc_json_root(json), self->keep, out);
    mlcc_json_free(json);
    return status;
}

static bool ignores(const hf_quantization_config *config, const char *module) {
    bool is_ignored = false;
    expect_ok(hf_quantization_config_ignores(config, module, &is_ignored));
    return is_ignored;
}

typedef struct dialect {
    const char *object, *method, *format;
    int32_t bits;
    int64_t group_size;
    bool is_symmetric;
} dialect;

static void test_dialects(void **state) {
    fixture *self = *state;
    static const dialect cases[] = {
        // AutoAWQ, with what Transformers adds
        {"{\"bits\":4,\"group_size\":128,\"modules_to_not_convert\":null,\"quant_method\":\"awq\","
         "\"version\":\"gemm\",\"zero_point\":true}",
         "awq", "gemm", 4, 128, false},
        {"{\"bits\":4,\"group_size\":64,\"quant_method\":\"awq\",\"version\":\"GEMV\","
         "\"zero_point\":true,\"do_fuse\":false,\"fuse_max_seq_len\":512}",
         "awq", "gemv", 4, 64, false},
        {"{\"bits\":4,\"group_size\":-1,\"quant_method\":\"awq\",\"version\":\"marlin\","
         "\"zero_point\":false}",
         "awq", "marlin", 4, -1, true},
        {"{\"quant_method\":\"awq\",\"version\":\"gemv_fast\"}", "awq", "gemv_fast", 4, 128, false},
        {"{\"quant_method\":\"awq\",\"version\":\"exllama\",\"exllama_config\":{\"version\":2}}",
         "awq", "gemm", 4, 128, false},
        {"{\"quant_method\":\"awq\",\"version\":\"ipex\"}", "awq", "gemm", 4, 128, false},
        {"{\"quant_method\":\"awq\",\"version\":\"gemm\",\"backend\":\"llm-awq\"}", "awq",
         "gemv_fast", 4, 128, false},
        {"{\"quant_method\":\"awq\",\"version\":\"gemm\",\"backend\":\"autoawq\"}", "awq", "gemm",
         4, 128, false},
        // GPTQModel writes AWQ too, with its own key names
        {"{\"bits\":4,\"group_size\":32,\"method\":\"awq\",\"format\":\"gemm\","
         "\"quant_method\":\"awq\",\"checkpoint_format\":\"gemm\",\"sym\":false,\"zero_point\":"
         "true}",
         "awq", "gemm", 4, 32, false},
        {"{\"bits\":4,\"group_size\":128,\"method\":\"awq\",\"format\":\"llm-awq\"}", "awq",
         "gemv_fast", 4, 128, false},
        // LLMC's autoawq export
        {"{\"bits\":4,\"group_size\":128,\"modules_to_not_convert\":null,\"quant_method\":\"awq\","
         "\"version\":\"gemv\",\"zero_point\":true}",
         "awq", "gemv", 4, 128, false},
        // GPTQ, old and new
        {"{\"bits\":4,\"group_size\":128,\"damp_percent\":0.01,\"desc_act\":false,\"sym\":true,"
         "\"true_sequential\":true,\"model_name_or_path\":null,\"model_file_base_name\":\"model\","
         "\"quant_method\":\"gptq\"}",
         "gptq", "gptq", 4, 128, true},
        {"{\"bits\":3,\"group_size\":-1,\"desc_act\":true,\"sym\":false,\"quant_method\":\"gptq\","
         "\"checkpoint_format\":\"gptq_v2\"}",
         "gptq", "gptq_v2", 3, -1, false},
        {"{\"bits\":8,\"group_size\":32,\"method\":\"gptq\",\"format\":\"gptq_v2\","
         "\"checkpoint_format\":\"gptq\",\"pack_dtype\":\"int32\",\"meta\":{}}",
         "gptq", "gptq_v2", 8, 32, true},
        {"{\"bits\":4,\"group_size\":128,\"quant_method\":\"gptq\",\"is_marlin_format\":true}",
         "gptq", "marlin", 4, 128, true},
        {"{\"group_size\":128,\"quant_method\":\"marlin\"}", "gptq", "marlin", 0, 128, true},
        {"{\"bits\":2,\"group_size\":64,\"desc_act\":false,\"sym\":true}", "gptq", "gptq", 2, 64,
         true},
        // compressed-tensors
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"ignore\":[\"lm_"
         "head\"],\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{\"num_"
         "bits\":4,\"type\":\"int\",\"symmetric\":false,\"strategy\":\"group\",\"group_size\":128,"
         "\"actorder\":\"weight\",\"dynamic\":false},\"input_activations\":null}}}",
         "compressed-tensors", "pack-quantized", 4, 128, false},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"int-quantized\",\"config_groups\":{"
         "\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"int\",\"symmetric\":true,"
         "\"strategy\":\"channel\",\"group_size\":null}}}}",
         "compressed-tensors", "int-quantized", 8, -1, true},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\",\"config_"
         "groups\":"
         "{\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"float\",\"symmetric\":true,"
         "\"strategy\":\"tensor\"}}},\"sparsity_config\":{}}",
         "compressed-tensors", "float-quantized", 8, -1, true},
        // fp8
        {"{\"quant_method\":\"fp8\",\"activation_scheme\":\"dynamic\",\"fmt\":\"e4m3\","
         "\"weight_block_size\":[128,128]}",
         "fp8", "e4m3", 8, 0, true},
        {"{\"quant_method\":\"fp8\",\"activation_scheme\":\"static\"}", "fp8", "e4m3", 8, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_quantization_config config;
        expect_ok(read_key(self, "quantization_config", cases[i].object, &config));
        assert_string_equal(config.method, cases[i].method);
        assert_string_equal(config.format, cases[i].format);
        assert_int_equal(config.hints.bits, cases[i].bits);
        assert_int_equal(config.hints.group_size, cases[i].group_size);
        assert_int_equal(config.hints.is_symmetric, cases[i].is_symmetric);
        assert_int_equal(config.hints.is_llmc_gemv, strcmp(cases[i].format, "gemv") == 0);
        assert_int_equal(config.is_substring_list, strcmp(cases[i].method, "awq") == 0);
        assert_string_equal(config.file, fixture_path(self, "config.json"));
    }
    expect_no_warning(self);
}

static void test_activations_and_blocks(void **state) {
    fixture *self = *state;
    hf_quantization_config config;
    expect_ok(read_key(
        self, "quantization_config",
        "{\"quant_method\":\"fp8\",\"activation_scheme\":\"static\",\"weight_block_size\":[64,128],"
        "\"ignored_layers\":[[\"lm_head\"],\"model.layers.0.mlp\"]}",
        &config));
    assert_true(config.has_static_activations);
    assert_int_equal(config.block_rows, 64);
    assert_int_equal(config.block_columns, 128);
    assert_int_equal(config.hints.block_rows, 64);
    assert_int_equal(config.n_ignored, 2);
    assert_true(ignores(&config, "lm_head"));
    assert_true(ignores(&config, "model.layers.0.mlp.up_proj"));
    assert_false(ignores(&config, "model.layers.0.mlp_up_proj"));
    assert_false(ignores(&config, "model.layers.10.mlp.up_proj"));

    // LLMC's key, static activations, a block strategy, two groups that differ.
    expect_ok(read_key(
        self, "compression_config",
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\",\"config_groups\":"
        "{"
        "\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\","
        "\"block_structure\":[128,128]},\"input_activations\":{\"num_bits\":8,\"dynamic\":false}}}"
        "}",
        &config));
    assert_true(config.has_static_activations);
    assert_int_equal(config.block_columns, 128);
    expect_ok(read_key(
        self, "quantization_config",
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"mixed-precision\",\"config_groups\":"
        "{"
        "\"a\":{\"weights\":{\"num_bits\":4,\"strategy\":\"group\",\"group_size\":32}},"
        "\"b\":{\"weights\":{\"num_bits\":8,\"strategy\":\"channel\"},\"input_activations\":"
        "{\"dynamic\":true}},\"c\":{\"weights\":null,\"input_activations\":{\"dynamic\":\"local\"}}"
        "}}",
        &config));
    assert_false(config.has_static_activations);
    assert_int_equal(config.hints.bits, 0);
    assert_int_equal(config.hints.group_size, 0);
    assert_null(config.format);
}

static void test_ignored(void **state) {
    fixture *self = *state;
    hf_quantization_config config;
    expect_ok(read_key(
        self, "quantization_config",
        "{\"quant_method\":\"awq\",\"modules_to_not_convert\":[\"self_attn.o\",\"visual\"]}",
        &config));
    assert_true(ignores(&config, "model.layers.3.self_attn.o_proj"));
    assert_true(ignores(&config, "model.visual.0"));
    assert_false(ignores(&config, "model.layers.3.self_attn.q_proj"));
    expect_ok(read_key(
        self, "quantization_config",
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"ignore\":[\"lm_"
        "head\",\"re:.*layers\\\\.[01]\\\\.mlp\\\\..*\"]}",
        &config));
    assert_true(ignores(&config, "lm_head"));
    assert_true(ignores(&config, "model.layers.1.mlp.up_proj"));
    assert_false(ignores(&config, "model.layers.2.mlp.up_proj"));
    expect_ok(read_key(
        self, "quantization_config",
        "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128,\"dynamic\":{\"-:.*down_proj\":{}"
        ","
        "\"+:.*up_proj\":{\"bits\":8}}}",
        &config));
    assert_true(ignores(&config, "model.layers.1.mlp.down_proj"));
    assert_false(ignores(&config, "model.layers.1.mlp.up_proj"));
    assert_int_equal(config.hints.bits, 0);
    expect_ok(read_key(
        self, "quantization_config",
        "{\"quant_method\":\"gptq\",\"bits\":4,\"dynamic\":{\"-:(?!x)\":{}}}", &config));
    bool is_ignored = false;
    expect_error(
        hf_quantization_config_ignores(&config, "x", &is_ignored), MLCC_UNSUPPORTED, "'(?!x)'",
        "config.json", NULL);
}

static void test_files(void **state) {
    fixture *self = *state;
    hf_quantization_config config;
    expect_ok(hf_quantization_config_read(self->dir, NULL, self->keep, &config));
    assert_null(config.method);
    expect_ok(hf_quantization_config_read(NULL, NULL, self->keep, &config));
    assert_null(config.method);
    // AutoAWQ before 0.2
    fixture_write_text(
        self, "quant_config.json",
        "{\"zero_point\":true,\"q_group_size\":64,\"w_bit\":4,\"version\":\"GEMM\"}");
    expect_ok(hf_quantization_config_read(self->dir, NULL, self->keep, &config));
    assert_string_equal(config.method, "awq");
    assert_string_equal(config.format, "gemm");
    assert_int_equal(config.hints.group_size, 64);
    assert_string_equal(config.file, fixture_path(self, "quant_config.json"));
    // GPTQ's file comes before it, config.json before both.
    fixture_write_text(
        self, "quantize_config.json", "{\"bits\":8,\"group_size\":-1,\"damp_percent\":0.1}");
    expect_ok(hf_quantization_config_read(self->dir, NULL, self->keep, &config));
    assert_string_equal(config.method, "gptq");
    assert_int_equal(config.hints.bits, 8);
    expect_ok(read_key(
        self, "quantization_config", "{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", &config));
    assert_string_equal(config.format, "e5m2");
    fixture_write_text(self, "quantize_config.json", "{\"bits\":");
    expect_error(
        hf_quantization_config_read(self->dir, NULL, self->keep, &config), MLCC_INVALID,
        "quantize_config.json", NULL);
}

typedef struct bad_object {
    const char *object;
    mlcc_code code;
    const char *found, *accepted;
} bad_object;

static void test_bad_objects(void **state) {
    fixture *self = *state;
#define CT(weights) \
    "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":{\"weights\":" weights "}}" \
    "}"
    static const bad_object cases[] = {
        {"7", MLCC_INVALID, "quantization_config is", "expected an object"},
        {"{}", MLCC_INVALID, "names no quant_method", "awq, gptq"},
        {"{\"quant_method\":\"aqlm\"}", MLCC_UNSUPPORTED, "quant_method 'aqlm'", "awq, gptq"},
        {"{\"quant_method\":5}", MLCC_INVALID, "'quant_method' is 5", "a text"},
        {"{\"quant_method\":\"awq\",\"bits\":5}", MLCC_INVALID, "'bits' is 5", "expected 4"},
        {"{\"quant_method\":\"awq\",\"w_bit\":3}", MLCC_INVALID, "'w_bit' is 3", "expected 4"},
        {"{\"quant_method\":\"awq\",\"group_size\":0}", MLCC_INVALID, "'group_size' is 0",
         "an integer from 1, or -1"},
        {"{\"quant_method\":\"awq\",\"q_group_size\":-2}", MLCC_INVALID, "'q_group_size' is -2",
         "from 1"},
        {"{\"quant_method\":\"awq\",\"group_size\":1e3}", MLCC_INVALID, "'group_size' is 1000.0",
         "from 1"},
        {"{\"quant_method\":\"awq\",\"version\":\"gemx\"}", MLCC_UNSUPPORTED, "awq format 'gemx'",
         "gemm, gemv, gemv_fast, marlin"},
        {"{\"quant_method\":\"awq\",\"zero_point\":1}", MLCC_INVALID, "'zero_point' is 1",
         "true or false"},
        {"{\"quant_method\":\"awq\",\"modules_to_not_convert\":\"lm_head\"}", MLCC_INVALID,
         "'modules_to_not_convert' is \"lm_head\"", "a list"},
        {"{\"quant_method\":\"awq\",\"modules_to_not_convert\":[1]}", MLCC_INVALID,
         "'modules_to_not_convert' is 1", "a list"},
        {"{\"quant_method\":\"fp8\",\"ignored_layers\":[[[[[[\"x\"]]]]]]}", MLCC_INVALID,
         "'ignored_layers'", "a list"},
        {"{\"quant_method\":\"gptq\",\"bits\":5}", MLCC_INVALID, "'bits' is 5", "2, 3, 4, 8"},
        {"{\"quant_method\":\"gptq\",\"bits\":\"4\"}", MLCC_INVALID, "'bits' is \"4\"",
         "2, 3, 4, 8"},
        {"{\"quant_method\":\"gptq\",\"checkpoint_format\":\"gptq_p\"}", MLCC_UNSUPPORTED,
         "gptq format 'gptq_p'", "gptq, gptq_v2, marlin"},
        {"{\"quant_method\":\"gptq\",\"dynamic\":[]}", MLCC_INVALID, "'dynamic' is []",
         "an object of rules"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\"}",
         MLCC_UNSUPPORTED, "'nvfp4-pack-quantized'", "pack-quantized, int-quantized"},
        {"{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":\"sparse-24-"
         "bitmask\"}}",
         MLCC_UNSUPPORTED, "sparse-24-bitmask", "dense"},
        {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":[]}", MLCC_INVALID,
         "config_groups", "an object"},
        {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":1}}", MLCC_INVALID,
         "'g' is 1", "an object"},
        {CT("{\"num_bits\":5}"), MLCC_INVALID, "'num_bits' is 5", "4, 8"},
        {CT("{\"num_bits\":4,\"type\":\"float\"}"), MLCC_INVALID, "'num_bits' is 4", "expected 8"},
        {CT("{\"type\":\"complex\"}"), MLCC_UNSUPPORTED, "type 'complex'", "int and float"},
        {CT("{\"strategy\":\"token\"}"), MLCC_UNSUPPORTED, "strategy 'token'", "tensor, channel"},
        {CT("{\"strategy\":\"group\"}"), MLCC_INVALID, "without a group_size", "from 1"},
        {CT("{\"strategy\":\"group\",\"group_size\":0}"), MLCC_INVALID, "'group_size' is 0",
         "from 1"},
        {CT("{\"strategy\":\"block\"}"), MLCC_INVALID, "without a block_structure", "[rows"},
        {"{\"quant_method\":\"fp8\",\"activation_scheme\":\"x\"}", MLCC_INVALID,
         "activation_scheme is 'x'", "static or dynamic"},
        {"{\"quant_method\":\"fp8\",\"fmt\":\"e3m4\"}", MLCC_UNSUPPORTED, "fmt is 'e3m4'", "e4m3"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}", MLCC_INVALID,
         "'weight_block_size' is [128]", "[rows, columns]"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[0,128]}", MLCC_INVALID,
         "'weight_block_size'", "[rows, columns]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_quantization_config config;
        expect_error(
            read_key(self, "quantization_config", cases[i].object, &config), cases[i].code,
            cases[i].found, cases[i].accepted, "config.json", NULL);
        assert_null(config.method);
    }
}

// ---- what a model makes of it --------------------------------------------------------------------------------

static void test_import_options(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    quant_options options;
    static const char head[] = "{\"model_type\":\"qwen2\",\"hidden_size\":8,\"intermediate_size\":"
                               "16,\"num_attention_heads\":"
                               "2,\"num_hidden_layers\":2,\"rms_norm_eps\":1e-6,\"vocab_size\":9,"
                               "\"max_position_embeddings\":"
                               "64%s}";
    const struct {
        const char *rest;
        int64_t group_size;
        size_t n_modules;
        const char *first;
    } cases[] = {
        {"", 0, 0, NULL},
        {",\"quantization_config\":{\"quant_method\":\"awq\",\"group_size\":64}", 64, 0, NULL},
        {",\"quantization_config\":{\"quant_method\":\"awq\",\"modules_to_not_convert\":[\"layers."
         "1\","
         "\"lm_head\",\"norm\"]}",
         128, 7, "model.layers.1.self_attn.q_proj"},
        {",\"quantization_config\":{\"quant_method\":\"fp8\",\"ignored_layers\":[[\"lm_head\"],"
         "\"model.layers.0.mlp.down_proj\"]}",
         0, 1, "model.layers.0.mlp.down_proj"},
        {",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":32}", 0, 0,
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = mlcc_arena_printf(self->keep, head, cases[i].rest);
        expect_ok(hf_model_config_parse(
            text, strlen(text), "config.json", NULL, NULL, self->keep, &config));
        expect_ok(import_quant_options(config, self->keep, &options));
        assert_int_equal(options.group_size, cases[i].group_size);
        assert_int_equal(options.n_float_modules, cases[i].n_modules);
        if (cases[i].first != NULL) assert_string_equal(options.float_modules[0], cases[i].first);
        hf_model_config_free(config);
    }
    expect_no_warning(self);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_dialects),    TEST(test_activations_and_blocks),
        TEST(test_ignored),     TEST(test_files),
        TEST(test_bad_objects), TEST(test_import_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
