// DeepSeek V2 and V3: what their configs amount to, params in MLC's order with the halves of kv_b_proj as stacks, configs that are refused.
#include "frontend/import.h"
#include "ir/verify.h"
#include "tests/unit/frontend/fixture.h"

#include <math.h>

#define SIZES \
    "\"hidden_size\":16,\"intermediate_size\":12,\"moe_intermediate_size\":6," \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"n_shared_experts\":2," \
    "\"n_routed_experts\":8,\"num_experts_per_tok\":3,\"first_k_dense_replace\":1," \
    "\"kv_lora_rank\":10,\"qk_rope_head_dim\":2,\"v_head_dim\":7,\"qk_nope_head_dim\":6," \
    "\"rms_norm_eps\":1e-06,\"vocab_size\":11,\"max_position_embeddings\":64"
#define V2(rest) "{\"model_type\":\"deepseek_v2\"," SIZES rest "}"
#define V3(rest) "{\"model_type\":\"deepseek_v3\"," SIZES rest "}"

static const import_options options = {
    .activation_dtype = IR_F32, .kv_dtype = IR_F16, .max_tokens = 7, .max_sequences = 3};

static mlcc_status *parse(fixture *self, const char *text, hf_model_config **out) {
    return hf_model_config_parse(text, strlen(text), "config.json", NULL, NULL, self->keep, out);
}

static void test_numbers(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(self, V2(""), &config));
    assert_int_equal(config->head_dim, 8);
    assert_int_equal(config->rotary_dim, 2);
    assert_int_equal(config->n_kv_heads, 4);
    assert_string_equal(config->scoring_func, "softmax");
    assert_string_equal(config->topk_method, "greedy");
    assert_false(config->norm_topk_prob);
    assert_true(fabs(config->attention_scale - 1 / sqrt(8)) < 1e-12);
    hf_model_config_free(config);

    // Scores grow with the logarithm of the stretched context, squared; groups count in group_limited_greedy only.
    expect_ok(parse(
        self,
        V2(",\"n_group\":4,\"topk_group\":2,\"topk_method\":\"group_limited_greedy\","
           "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":0.707,"
           "\"mscale_all_dim\":0.707,\"original_max_position_embeddings\":8}"),
        &config));
    const double mscale = 0.1 * 0.707 * log(40) + 1;
    assert_true(fabs(config->attention_scale - mscale * mscale / sqrt(8)) < 1e-12);
    assert_int_equal(config->n_expert_groups, 4);
    hf_model_config_free(config);
    expect_ok(parse(self, V2(",\"n_group\":4,\"topk_group\":2"), &config));
    assert_int_equal(config->n_expert_groups, 1);
    hf_model_config_free(config);

    expect_ok(parse(self, V3(",\"n_group\":4,\"topk_group\":2,\"q_lora_rank\":5"), &config));
    assert_string_equal(config->scoring_func, "sigmoid");
    assert_string_equal(config->topk_method, "noaux_tc");
    assert_true(config->norm_topk_prob);
    // Layers behind the last predict further tokens; kv_b_proj is read as its halves.
    assert_true(import_source_is_unused(config, "model.layers.2.eh_proj.weight"));
    assert_true(import_source_is_unused(config, "model.layers.10.mlp.gate.weight"));
    assert_true(import_source_is_unused(config, "model.layers.1.self_attn.kv_b_proj.weight"));
    assert_false(import_source_is_unused(config, "model.layers.1.mlp.gate.weight"));
    assert_false(import_source_is_unused(config, "model.layersX"));
    hf_model_config_free(config);
}

static void expect_param(
    const ir_module *module, const char *name, int32_t rank, int64_t a, int64_t b, int64_t c) {
    const ir_param *param = ir_module_find_param(module, name);
    if (param == NULL) fail_msg("there is no param '%s'", name);
    const ir_type *type = &param->value.type;
    const int64_t expected[] = {a, b, c};
    assert_int_equal(type->rank, rank);
    for (int32_t i = 0; i < rank; i++)
        if (type->dims[i].value != expected[i])
            fail_msg("%s: axis %d is %d", name, i, (int)type->dims[i].value);
}

#define LAYER "model.layers.1."

static void test_params(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    ir_module *module = NULL;
    expect_ok(parse(
        self, V3(",\"n_group\":4,\"topk_group\":2,\"q_lora_rank\":5,\"attention_bias\":true"),
        &config));
    expect_ok(import_model(config, &options, self->keep, &module));
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
    expect_param(module, LAYER "self_attn.q_a_proj.weight", 2, 5, 16, 0);
    expect_param(module, LAYER "self_attn.q_a_proj.bias", 1, 5, 0, 0);
    expect_param(module, LAYER "self_attn.q_a_layernorm.weight", 1, 5, 0, 0);
    expect_param(module, LAYER "self_attn.q_b_proj.weight", 2, 4 * 8, 5, 0);
    expect_param(module, LAYER "self_attn.kv_a_proj_with_mqa.weight", 2, 10 + 2, 16, 0);
    expect_param(module, LAYER "self_attn.w_uk", 3, 4, 10, 6);
    expect_param(module, LAYER "self_attn.w_uv", 3, 4, 7, 10);
    expect_param(module, LAYER "self_attn.o_proj.weight", 2, 16, 4 * 7, 0);
    expect_param(module, LAYER "mlp.e_score_correction_bias", 1, 8, 0, 0);
    assert_null(ir_module_find_param(module, LAYER "self_attn.q_proj.weight"));
    assert_null(ir_module_find_param(module, "model.layers.0.mlp.gate.weight"));
    const ir_value *cache = ir_module_find(module, "forward")->args[5];
    assert_string_equal(cache->name, "kv.0");
    assert_int_equal(cache->type.rank, 3);
    assert_int_equal(cache->type.dims[2].value, 12);
    hf_model_config_free(config);

    expect_ok(parse(self, V2(""), &config));
    expect_ok(import_model(config, &options, self->keep, &module));
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
    expect_param(module, LAYER "self_attn.q_proj.weight", 2, 4 * 8, 16, 0);
    assert_null(ir_module_find_param(module, LAYER "self_attn.q_a_proj.weight"));
    assert_null(ir_module_find_param(module, LAYER "mlp.e_score_correction_bias"));
    hf_model_config_free(config);
}

static void test_bad_configs(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text;
        mlcc_code code;
        const char *found, *accepted;
    } cases[] = {
        {V2(",\"num_key_value_heads\":2"), MLCC_INVALID, "num_key_value_heads is 2",
         "one for each of the 4 heads"},
        {V2(",\"topk_method\":\"noaux_tc\""), MLCC_INVALID, "'topk_method' is \"noaux_tc\"",
         "\"greedy\" or \"group_limited_greedy\""},
        {V3(",\"scoring_func\":\"softmax\""), MLCC_INVALID, "'scoring_func' is \"softmax\"",
         "\"sigmoid\""},
        {V3(",\"n_group\":3"), MLCC_INVALID, "n_group is 3", "8 experts do not divide"},
        {V3(",\"n_group\":4,\"topk_group\":5"), MLCC_INVALID, "topk_group is 5", "1 to n_group"},
        {V3(",\"n_group\":4,\"topk_group\":1"), MLCC_INVALID, "num_experts_per_tok is 3",
         "topk_group 1 groups of 2 experts hold 2"},
        {V3(",\"rope_interleave\":false"), MLCC_UNSUPPORTED, "rope_interleave", "accepted: true"},
        {V3(",\"q_lora_rank\":-3"), MLCC_INVALID, "'q_lora_rank' is -3", "from 1 to"},
        {"{\"model_type\":\"deepseek_v3\",\"hidden_size\":16}", MLCC_INVALID, "vocab_size",
         "missing"},
    };
    hf_model_config *config = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_error(
            parse(self, cases[i].text, &config), cases[i].code, cases[i].found, cases[i].accepted,
            NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_numbers), TEST(test_params), TEST(test_bad_configs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
