// Mixtures of experts in configs: which layers have experts, how MLC LLM names and shapes their params and which tensors of Hugging Face's file they are;
// and numbers of experts that do not go together, each with one message.
#include "frontend/import.h"
#include "ir/verify.h"
#include "tests/unit/frontend/fixture.h"

#define MODEL(type, rest) \
    "{\"model_type\":\"" type "\",\"hidden_size\":8,\"intermediate_size\":5," \
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"num_hidden_layers\":4," \
    "\"rms_norm_eps\":1e-06,\"vocab_size\":11,\"max_position_embeddings\":40,\"hidden_act\":" \
    "\"silu\"" rest "}"
#define QWEN3_EXPERTS ",\"num_experts\":3,\"num_experts_per_tok\":2,\"moe_intermediate_size\":6"
#define QWEN_EXPERTS  QWEN3_EXPERTS ",\"shared_expert_intermediate_size\":7"
#define DEEPSEEK_EXPERTS \
    ",\"n_routed_experts\":3,\"num_experts_per_tok\":2,\"moe_intermediate_size\":6" \
    ",\"n_shared_experts\":2"

static hf_model_config *read_text(fixture *self, const char *text) {
    hf_model_config *config = NULL;
    expect_ok(
        hf_model_config_parse(text, strlen(text), "config.json", NULL, NULL, self->keep, &config));
    return config;
}

static ir_module *import_text(fixture *self, const char *text) {
    const import_options options = {
        .activation_dtype = IR_F32, .kv_dtype = IR_F16, .max_tokens = 7, .max_sequences = 3};
    hf_model_config *config = read_text(self, text);
    ir_module *module = NULL;
    expect_ok(import_model(config, &options, self->keep, &module));
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
    hf_model_config_free(config);
    return module;
}

static const ir_param *find(const ir_module *module, const char *name) {
    for (size_t i = 0; i < module->n_params; i++)
        if (strcmp(module->params[i]->value.name, name) == 0) return module->params[i];
    return NULL;
}

// "0101": a digit for every layer.
static void test_layers(void **state) {
    fixture *self = *state;
    static const struct {
        const char *config, *expected;
    } rows[] = {
        {MODEL("qwen2_moe", QWEN_EXPERTS), "1111"},
        {MODEL("qwen2_moe", QWEN_EXPERTS ",\"decoder_sparse_step\":2"), "0101"},
        {MODEL("qwen3_moe", QWEN3_EXPERTS ",\"decoder_sparse_step\":3"), "0010"},
        {MODEL("qwen3_moe", QWEN3_EXPERTS ",\"mlp_only_layers\":[0,2,9]"), "0101"},
        {MODEL("deepseek", DEEPSEEK_EXPERTS), "1111"},
        {MODEL("deepseek", DEEPSEEK_EXPERTS ",\"first_k_dense_replace\":1"), "0111"},
        {MODEL("deepseek", DEEPSEEK_EXPERTS ",\"moe_layer_freq\":2"), "1010"},
        {MODEL("deepseek", DEEPSEEK_EXPERTS ",\"moe_layer_freq\":2,\"first_k_dense_replace\":1"),
         "0010"},
        {MODEL("minicpm", ""), "0000"},
        {MODEL("minicpm", ",\"num_experts\":3,\"num_experts_per_tok\":1"), "1111"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_model_config *config = read_text(self, rows[i].config);
        char found[5] = "";
        for (int64_t layer = 0; layer < 4; layer++)
            found[layer] = hf_model_config_has_experts(config, layer) ? '1' : '0';
        assert_string_equal(found, rows[i].expected);
        hf_model_config_free(config);
    }
}

typedef struct expected_param {
    const char *name;
    int32_t rank;
    int64_t dims[3];
    const char *source, *last_source; // first and last
    const char *fused_name;
} expected_param;

static void check_params(
    const ir_module *module, const expected_param *expected, size_t n_expected) {
    for (size_t i = 0; i < n_expected; i++) {
        const expected_param *row = &expected[i];
        const ir_param *param = find(module, row->name);
        if (param == NULL) fail_msg("no param is called '%s'", row->name);
        assert_int_equal(param->value.type.rank, row->rank);
        for (int32_t d = 0; d < row->rank; d++)
            assert_int_equal(param->value.type.dims[d].value, row->dims[d]);
        assert_string_equal(param->sources[0], row->source);
        assert_string_equal(param->sources[param->n_sources - 1], row->last_source);
        if (row->fused_name == NULL)
            assert_null(param->fused_name);
        else
            assert_string_equal(param->fused_name, row->fused_name);
    }
}

// clang-format off
static void test_params(void **state) {
    fixture *self = *state;
#define L1 "model.layers.1."
    static const expected_param qwen2_moe[] = {
        {L1 "mlp.shared_expert.gate_proj.weight", 2, {7, 8}, L1 "mlp.shared_expert.gate_proj.weight", L1 "mlp.shared_expert.gate_proj.weight", L1 "mlp.shared_expert.gate_up_proj.weight"},
        {L1 "mlp.shared_expert.down_proj.weight", 2, {8, 7}, L1 "mlp.shared_expert.down_proj.weight", L1 "mlp.shared_expert.down_proj.weight", NULL},
        {L1 "mlp.shared_expert_gate.weight",      2, {1, 8}, L1 "mlp.shared_expert_gate.weight", L1 "mlp.shared_expert_gate.weight", NULL},
        {L1 "mlp.gate.weight",                    2, {3, 8}, L1 "mlp.gate.weight", L1 "mlp.gate.weight", NULL},
        {L1 "mlp.moe_gate_up_proj.weight",        3, {3, 12, 8}, L1 "mlp.experts.0.gate_proj.weight", L1 "mlp.experts.2.up_proj.weight", NULL},
        {L1 "mlp.moe_down_proj.weight",           3, {3, 8, 6}, L1 "mlp.experts.0.down_proj.weight", L1 "mlp.experts.2.down_proj.weight", NULL},
        {"model.layers.0.mlp.up_proj.weight",     2, {5, 8}, "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_up_proj.weight"},
    };
    static const expected_param deepseek[] = {
        {L1 "mlp.shared_experts.up_proj.weight",  2, {12, 8}, L1 "mlp.shared_experts.up_proj.weight", L1 "mlp.shared_experts.up_proj.weight", L1 "mlp.shared_experts.gate_up_proj.weight"},
        {L1 "mlp.moe_gate_up_proj.weight",        3, {3, 12, 8}, L1 "mlp.experts.0.gate_proj.weight", L1 "mlp.experts.2.up_proj.weight", NULL},
        {L1 "self_attn.q_proj.weight",            2, {8, 8}, L1 "self_attn.q_proj.weight", L1 "self_attn.q_proj.weight", L1 "self_attn.wqkv_pack.weight"},
        {"model.layers.0.mlp.down_proj.weight",   2, {8, 5}, "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.down_proj.weight", NULL},
    };
    static const expected_param granitemoe[] = {
        {L1 "moe.gate.weight",  2, {3, 8}, L1 "block_sparse_moe.router.layer.weight", L1 "block_sparse_moe.router.layer.weight", NULL},
        {L1 "moe.e1_e3.weight", 3, {3, 10, 8}, L1 "block_sparse_moe.input_linear.weight", L1 "block_sparse_moe.input_linear.weight", NULL},
        {L1 "moe.e2.weight",    3, {3, 8, 5}, L1 "block_sparse_moe.output_linear.weight", L1 "block_sparse_moe.output_linear.weight", NULL},
    };
    static const expected_param minicpm[] = {
        {L1 "mlp.e1_e3.weight", 3, {3, 10, 8}, L1 "mlp.experts.0.w1.weight", L1 "mlp.experts.2.w3.weight", NULL},
        {L1 "mlp.e2.weight",    3, {3, 8, 5}, L1 "mlp.experts.0.w2.weight", L1 "mlp.experts.2.w2.weight", NULL},
    };
    static const expected_param gpt_oss[] = {
        {L1 "self_attn.sinks",             1, {2}, L1 "self_attn.sinks", L1 "self_attn.sinks", NULL},
        {L1 "mlp.gate.weight",             2, {3, 8}, L1 "mlp.router.weight", L1 "mlp.router.weight", NULL},
        {L1 "mlp.gate.bias",               1, {3}, L1 "mlp.router.bias", L1 "mlp.router.bias", NULL},
        {L1 "mlp.moe_gate_up_proj.weight", 3, {3, 10, 8}, L1 "mlp.experts.gate_up_proj", L1 "mlp.experts.gate_up_proj", NULL},
        {L1 "mlp.moe_gate_up_proj.bias",   2, {3, 10}, L1 "mlp.experts.gate_up_proj_bias", L1 "mlp.experts.gate_up_proj_bias", NULL},
        {L1 "mlp.moe_down_proj.bias",      2, {3, 8}, L1 "mlp.experts.down_proj_bias", L1 "mlp.experts.down_proj_bias", NULL},
    };
#undef L1
#define CHECK(text, rows) check_params(import_text(self, text), rows, sizeof rows / sizeof *rows)
    CHECK(MODEL("qwen2_moe", QWEN_EXPERTS ",\"mlp_only_layers\":[0]"), qwen2_moe);
    CHECK(MODEL("deepseek", DEEPSEEK_EXPERTS ",\"first_k_dense_replace\":1"), deepseek);
    CHECK(MODEL("granitemoe", ",\"num_local_experts\":3,\"num_experts_per_tok\":2"), granitemoe);
    CHECK(MODEL("minicpm", ",\"num_experts\":3,\"num_experts_per_tok\":2"), minicpm);
    CHECK(MODEL("gpt_oss", ",\"num_local_experts\":3,\"num_experts_per_tok\":2"), gpt_oss);
#undef CHECK
}
// clang-format on

// Where there are no shared experts there are no params of them, and what no layer has is not there either.
static void test_absent_params(void **state) {
    fixture *self = *state;
    const ir_module *module = import_text(
        self, MODEL(
                  "deepseek", ",\"n_routed_experts\":3,\"num_experts_per_tok\":2"
                              ",\"moe_intermediate_size\":6,\"n_shared_experts\":null"));
    assert_non_null(find(module, "model.layers.0.mlp.moe_down_proj.weight"));
    assert_null(find(module, "model.layers.0.mlp.shared_experts.down_proj.weight"));
    assert_null(find(module, "model.layers.0.mlp.down_proj.weight"));
    module = import_text(self, MODEL("minicpm", ""));
    assert_non_null(find(module, "model.layers.0.mlp.down_proj.weight"));
    assert_null(find(module, "model.layers.0.mlp.e2.weight"));
}

static void test_bad_configs(void **state) {
    fixture *self = *state;
    static const struct {
        const char *config;
        mlcc_code code;
        const char *key, *problem;
    } rows[] = {
        {MODEL("qwen3_moe", ",\"num_experts\":3,\"num_experts_per_tok\":4"), MLCC_INVALID,
         "num_experts_per_tok is 4", "a layer with 3 experts accepts 1 to 3"},
        {MODEL("mixtral", ",\"num_local_experts\":70,\"num_experts_per_tok\":65"), MLCC_INVALID,
         "'num_experts_per_tok' is 65", "1 to 64"},
        {MODEL("mixtral", ",\"num_local_experts\":2,\"num_experts_per_tok\":3"), MLCC_INVALID,
         "num_experts_per_tok is 3", "1 to 2"},
        {MODEL("minicpm", ",\"num_experts\":3"), MLCC_INVALID, "num_experts_per_tok is 0",
         "1 to 3"},
        {MODEL("qwen3_moe", ",\"num_experts_per_tok\":2"), MLCC_INVALID, "'num_experts'",
         "missing"},
        {MODEL("qwen2_moe", ",\"num_experts\":3,\"num_experts_per_tok\":2"), MLCC_INVALID,
         "'shared_expert_intermediate_size'", "missing"},
        {MODEL("deepseek", ",\"n_routed_experts\":3,\"num_experts_per_tok\":2"), MLCC_INVALID,
         "'moe_intermediate_size'", "missing"},
        {MODEL("gpt_oss", ",\"num_local_experts\":3"), MLCC_INVALID,
         "'num_experts_per_tok' or 'experts_per_token'", "missing"},
        {MODEL("granitemoe", ",\"num_local_experts\":5000,\"num_experts_per_tok\":2"), MLCC_INVALID,
         "'num_local_experts' is 5000", "1 to 4096"},
        {MODEL("qwen3_moe", QWEN3_EXPERTS ",\"mlp_only_layers\":\"0\""), MLCC_INVALID,
         "'mlp_only_layers' is \"0\"", "an array of numbers of layers"},
        {MODEL("qwen3_moe", QWEN3_EXPERTS ",\"mlp_only_layers\":[0,1.5]"), MLCC_INVALID,
         "'mlp_only_layers'", "an array of numbers of layers"},
        {MODEL("qwen3_moe", QWEN3_EXPERTS ",\"decoder_sparse_step\":-1"), MLCC_INVALID,
         "'decoder_sparse_step' is -1", "from 1"},
        {MODEL(
             "deepseek", ",\"n_routed_experts\":3,\"num_experts_per_tok\":2"
                         ",\"moe_intermediate_size\":268435456,\"n_shared_experts\":2"),
         MLCC_INVALID, "shared experts are 536870912 wide", "0 to 268435456"},
        {MODEL("deepseek", DEEPSEEK_EXPERTS ",\"scoring_func\":\"sigmoid\""), MLCC_UNSUPPORTED,
         "'scoring_func' is \"sigmoid\"", "softmax"},
        {MODEL("gpt_oss", ",\"num_local_experts\":3,\"num_experts_per_tok\":2,\"swiglu_limit\":0"),
         MLCC_INVALID, "swiglu_limit is 0", "above 0"},
        {MODEL(
             "gpt_oss", ",\"num_local_experts\":3,\"num_experts_per_tok\":2,\"swiglu_alpha\":1.5"),
         MLCC_UNSUPPORTED, "'swiglu_alpha' is 1.5", "1.702"},
        {MODEL("qwen3_moe", QWEN_EXPERTS), MLCC_UNSUPPORTED,
         "'shared_expert_intermediate_size' is 7", "arithmetic"},
        {MODEL("llama", ",\"n_shared_experts\":1"), MLCC_UNSUPPORTED, "'n_shared_experts' is 1",
         "arithmetic"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_model_config *config = NULL;
        expect_error(
            hf_model_config_parse(
                rows[i].config, strlen(rows[i].config), "config.json", NULL, NULL, self->keep,
                &config),
            rows[i].code, "config.json", rows[i].key, rows[i].problem, NULL);
        assert_null(config);
    }
}

// What only Hugging Face's classes have stands in MLC's file where it says something, and says the same when it is read back.
static void test_write_read_write(void **state) {
    fixture *self = *state;
    hf_model_config *config = read_text(
        self,
        MODEL("qwen3_moe", QWEN3_EXPERTS ",\"norm_topk_prob\":true,\"mlp_only_layers\":[1,3]"));
    mlcc_str text = {0};
    mlcc_str_printf(&text, "{\"model_type\":\"qwen3_moe\",\"model_config\":");
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    hf_model_config_write(config, &writer);
    mlcc_str_printf(&text, "}");
    assert_non_null(strstr(mlcc_str_text(&text), "\"mlp_only_layers\": [1, 3]"));
    mlcc_json *document = NULL;
    expect_ok(mlcc_json_parse(mlcc_str_text(&text), text.length, "written", 1 << 20, &document));
    hf_model_config *again = NULL;
    expect_ok(
        hf_model_config_from_mlc(mlcc_json_root(document), "written", NULL, self->keep, &again));
    assert_true(again->norm_topk_prob);
    for (int64_t layer = 0; layer < 4; layer++)
        assert_int_equal(
            hf_model_config_has_experts(again, layer), hf_model_config_has_experts(config, layer));
    hf_model_config_free(config);
    mlcc_json_free(document);
    mlcc_str_free(&text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_layers),      TEST(test_params),           TEST(test_absent_params),
        TEST(test_bad_configs), TEST(test_write_read_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
