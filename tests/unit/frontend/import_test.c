// import: the module of a Llama says what the architecture is: params in MLC's order, a graph that verifies and round-trips as text.
#include "frontend/arch/fields.h"
#include "frontend/arch/presets.h"
#include "ir/fingerprint.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "tests/unit/frontend/fixture.h"

#define CONFIG(rest) \
    "{\"model_type\":\"llama\",\"hidden_size\":6,\"intermediate_size\":5,\"num_attention_heads\":" \
    "2," \
    "\"num_key_value_heads\":1,\"head_dim\":4,\"num_hidden_layers\":2,\"rms_norm_eps\":1e-06," \
    "\"vocab_size\":11," \
    "\"max_position_embeddings\":40" rest "}"

static const import_options options = {
    .activation_dtype = IR_F32, .kv_dtype = IR_F16, .max_tokens = 7, .max_sequences = 3};

static hf_model_config *read_text(fixture *self, const char *text) {
    hf_model_config *config = NULL;
    expect_ok(
        hf_model_config_parse(text, strlen(text), "config.json", NULL, NULL, self->keep, &config));
    return config;
}

static ir_module *import_text(fixture *self, const char *text) {
    hf_model_config *config = read_text(self, text);
    ir_module *module = NULL;
    expect_ok(import_model(config, &options, self->keep, &module));
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
    hf_model_config_free(config);
    return module;
}

// Text and back: the same structure, and the same bytes when printed again.
static void expect_round_trip(fixture *self, const ir_module *module) {
    mlcc_str text = {0}, again = {0};
    ir_print_module(module, &text);
    ir_module *parsed = NULL;
    expect_ok(ir_parse_module(mlcc_str_text(&text), text.length, "printed", self->keep, &parsed));
    expect_ok(ir_verify(parsed, IR_LEVEL_GRAPH));
    ir_print_module(parsed, &again);
    assert_string_equal(mlcc_str_text(&text), mlcc_str_text(&again));
    mlcc_hash128 a = ir_fingerprint_module(module), b = ir_fingerprint_module(parsed);
    assert_true(mlcc_hash128_equal(a, b));
    mlcc_str_free(&text);
    mlcc_str_free(&again);
}

static void test_params(void **state) {
    fixture *self = *state;
    const ir_module *module = import_text(self, CONFIG(""));
    static const struct {
        const char *name, *fused_name;
        int64_t rows, columns;
    } expected[] = {
        {"model.embed_tokens.weight", NULL, 11, 6},
        {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.qkv_proj.weight", 8,
         6},
        {"model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.qkv_proj.weight", 4,
         6},
        {"model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.qkv_proj.weight", 4,
         6},
        {"model.layers.0.self_attn.o_proj.weight", NULL, 6, 8},
        {"model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.gate_up_proj.weight", 5, 6},
        {"model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_up_proj.weight", 5, 6},
        {"model.layers.0.mlp.down_proj.weight", NULL, 6, 5},
        {"model.layers.0.input_layernorm.weight", NULL, 6, 0},
        {"model.layers.0.post_attention_layernorm.weight", NULL, 6, 0},
    };
    assert_int_equal(module->n_params, 1 + 2 * 9 + 2);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const ir_param *param = module->params[i];
        assert_string_equal(param->value.name, expected[i].name);
        assert_int_equal(param->n_sources, 1);
        assert_string_equal(param->sources[0], expected[i].name);
        if (expected[i].fused_name == NULL)
            assert_null(param->fused_name);
        else
            assert_string_equal(param->fused_name, expected[i].fused_name);
        assert_int_equal(param->value.type.dtype, IR_F32);
        assert_int_equal(param->value.type.rank, expected[i].columns == 0 ? 1 : 2);
        assert_int_equal(param->value.type.dims[0].value, expected[i].rows);
        if (expected[i].columns != 0)
            assert_int_equal(param->value.type.dims[1].value, expected[i].columns);
    }
    assert_string_equal(module->params[10]->value.name, "model.layers.1.self_attn.q_proj.weight");
    assert_string_equal(module->params[19]->value.name, "model.norm.weight");
    assert_string_equal(module->params[20]->value.name, "lm_head.weight");
}

static void expect_bound(const ir_module *module, const char *name, int64_t bound) {
    for (size_t i = 0; i < module->n_symbols; i++)
        if (strcmp(module->symbols[i]->name, name) == 0) {
            assert_int_equal(module->symbols[i]->bound, bound);
            return;
        }
    fail_msg("no symbol %s", name);
}

static void test_function(void **state) {
    fixture *self = *state;
    const ir_module *module = import_text(self, CONFIG(""));
    const ir_function *forward = ir_module_find(module, "forward");
    assert_non_null(forward);
    static const char *const args[] = {"ids",        "positions", "seq_ids", "page_table",
                                       "logit_rows", "kv.0",      "kv.1"};
    assert_int_equal(forward->n_args, 7);
    for (int32_t i = 0; i < 7; i++) assert_string_equal(forward->args[i]->name, args[i]);
    assert_int_equal(forward->args[5]->type.dtype, IR_F16);
    assert_int_equal(forward->args[5]->type.dims[3].value, ARCH_PAGE_TOKENS);
    assert_int_equal(forward->n_returns, 3);
    assert_int_equal(forward->returns[0]->type.dtype, IR_F32);
    assert_int_equal(forward->returns[0]->type.dims[1].value, 11);
    assert_int_equal(forward->returns[1]->def->op, IR_OP_KV_APPEND);
    assert_int_equal(forward->returns[2]->def->op, IR_OP_KV_APPEND);
    expect_bound(module, "n_tokens", 7);
    expect_bound(module, "n_seqs", 3);
    expect_bound(module, "n_logits", 3);
    expect_bound(module, "n_page_slots", 3);
    expect_bound(module, "n_pages", 9);
    expect_round_trip(self, module);
}

// One layer, whole, as a reader of a dump sees it.
static void test_text(void **state) {
    fixture *self = *state;
    const ir_module *module = import_text(
        self, "{\"model_type\":\"llama\",\"hidden_size\":6,\"intermediate_size\":5,\"num_attention_"
              "heads\":2,"
              "\"num_key_value_heads\":1,\"head_dim\":4,\"num_hidden_layers\":1,\"rms_norm_eps\":"
              "1e-06,\"vocab_size\":11,"
              "\"max_position_embeddings\":40,\"tie_word_embeddings\":true}");
    mlcc_str text = {0};
    ir_print_function(ir_module_find(module, "forward"), &text);
    static const char *const ops[] = {
        "rope_table %positions, @inv_freq",
        "embedding %ids, @model.embed_tokens.weight",
        "rms_norm %1, @model.layers.0.input_layernorm.weight {eps = 1e-06}",
        "linear %2, @model.layers.0.self_attn.q_proj.weight",
        "linear %2, @model.layers.0.self_attn.k_proj.weight",
        "linear %2, @model.layers.0.self_attn.v_proj.weight",
        "rope %3, %0 {head_dim = 4}",
        "rope %4, %0 {head_dim = 4}",
        "kv_append %kv.0, %7, %5, %page_table, %seq_ids, %positions",
        "paged_attention %6, %8, %page_table, %seq_ids, %positions {head_dim = 4, scale = 0.5}",
        "linear %9, @model.layers.0.self_attn.o_proj.weight",
        "add %1, %10",
        "rms_norm %11, @model.layers.0.post_attention_layernorm.weight",
        "linear %12, @model.layers.0.mlp.gate_proj.weight",
        "linear %12, @model.layers.0.mlp.up_proj.weight",
        "silu %13",
        "mul %15, %14",
        "linear %16, @model.layers.0.mlp.down_proj.weight",
        "add %11, %17",
        "take_rows %18, %logit_rows",
        "rms_norm %19, @model.norm.weight",
        "linear %20, @model.embed_tokens.weight : f32[n_logits, 11]",
        "return %21, %8"};
    const char *at = mlcc_str_text(&text);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        const char *found = strstr(at, ops[i]);
        if (found == NULL) fail_msg("no '%s' (in this order) in\n%s", ops[i], mlcc_str_text(&text));
        at = found;
    }
    mlcc_str_free(&text);
    expect_round_trip(self, module);
}

static void test_tied(void **state) {
    fixture *self = *state;
    const char *text = CONFIG(",\"tie_word_embeddings\":true");
    const ir_module *module = import_text(self, text);
    assert_int_equal(module->n_params, 1 + 2 * 9 + 1);
    assert_null(ir_module_find_param(module, "lm_head.weight"));

    hf_model_config *config = read_text(self, text);
    assert_string_equal(
        import_source_alternative(config, "model.embed_tokens.weight"), "lm_head.weight");
    assert_string_equal(
        import_source_alternative(config, "lm_head.weight"), "model.embed_tokens.weight");
    assert_null(import_source_alternative(config, "model.norm.weight"));
    assert_true(import_source_is_unused(config, "lm_head.weight"));
    assert_true(import_source_is_unused(config, "model.layers.3.self_attn.rotary_emb.inv_freq"));
    assert_false(import_source_is_unused(config, "model.norm.weight"));
    config->tie_word_embeddings = false;
    assert_null(import_source_alternative(config, "model.embed_tokens.weight"));
    assert_false(import_source_is_unused(config, "lm_head.weight"));
    hf_model_config_free(config);
}

// 12 for "….12.…"; -1: a param of the model.
static int64_t layer_of(const char *name) {
    const char *number = strpbrk(name, "0123456789");
    while (number != NULL && (number[-1] != '.' || number[strspn(number, "0123456789")] != '.'))
        number = strpbrk(number + strspn(number, "0123456789"), "0123456789");
    return number != NULL ? strtol(number, NULL, 10) : -1;
}

// Every layer has what the first of its kind has.
static void expect_whole_layers(const hf_model_config *config, const ir_module *module) {
    size_t *counts = test_calloc((size_t)config->n_layers + 1, sizeof *counts);
    for (size_t p = 0; p < module->n_params; p++)
        counts[layer_of(module->params[p]->value.name) + 1]++;
    assert_true(counts[0] >= 1 && counts[0] <= 6);
    size_t of_kind[2] = {0, 0};
    for (int64_t layer = 0; layer < config->n_layers; layer++) {
        size_t *first = &of_kind[hf_model_config_has_experts(config, layer)];
        if (*first == 0) *first = counts[layer + 1];
        assert_true(*first >= 4);
        assert_int_equal(counts[layer + 1], *first);
    }
    test_free(counts);
}

static void test_presets(void **state) {
    (void)state;
    size_t n_names = 0;
    const char *const *names = arch_preset_names(&n_names);
    assert_int_equal(n_names, 67 + 11); // MLC LLM's and ours
    size_t n_recurrent = 0;
    for (size_t i = 0; i < n_names; i++) {
        mlcc_arena *keep = mlcc_arena_create();
        hf_model_config *config = NULL;
        ir_module *module = NULL;
        expect_ok(hf_model_config_read(names[i], NULL, NULL, keep, &config));
        mlcc_status *status =
            import_model(config, &(import_options){IR_F16, IR_F16, 0, 0, true}, keep, &module);
        if (!arch_has_graph(arch_find(config->model_type))) {
            expect_error(status, MLCC_UNSUPPORTED, config->model_type, "is recurrent", NULL);
            hf_model_config_free(config);
            mlcc_arena_free(keep);
            n_recurrent++;
            continue;
        }
        expect_ok(status);
        expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
        expect_whole_layers(config, module);
        expect_bound(module, "n_tokens", config->prefill_chunk_size);
        const ir_function *sample = ir_module_find(module, "sample");
        assert_int_equal(sample == NULL, import_is_encoder(config));
        if (sample != NULL) {
            assert_int_equal(sample->args[0]->type.dims[1].value, config->vocab);
            expect_bound(module, "n_history", IMPORT_MAX_HISTORY);
        }
        hf_model_config_free(config);
        mlcc_arena_free(keep);
    }
    assert_int_equal(n_recurrent, 1);
}

static void test_refused(void **state) {
    fixture *self = *state;
    hf_model_config *config = read_text(self, CONFIG(""));
    ir_module *module = NULL;
    expect_error(
        import_model(config, &(import_options){IR_I32, IR_F32, 0, 0, false}, self->keep, &module),
        MLCC_INVALID, "activation dtype i32", "f32, f16, bf16", NULL);
    expect_error(
        import_model(
            config, &(import_options){IR_F32, IR_Q4G32_F16, 0, 0, false}, self->keep, &module),
        MLCC_INVALID, "kv dtype q4g32_f16", NULL);
    expect_error(
        import_model(config, &(import_options){IR_F32, IR_F32, -1, 0, false}, self->keep, &module),
        MLCC_INVALID, "-1 tokens", NULL);
    config->tensor_parallel_shards = 2;
    expect_error(
        import_model(config, &options, self->keep, &module), MLCC_UNSUPPORTED,
        "tensor_parallel_shards 2", "llama", NULL);
    config->model_type = "mamba";
    expect_error(
        import_model(config, &options, self->keep, &module), MLCC_UNSUPPORTED, "'mamba'", NULL);
    assert_null(module);
    hf_model_config_free(config);
    size_t n_types = 0;
    const char *const *types = import_model_types(&n_types);
    assert_string_equal(types[0], "llama");
    for (size_t i = 0; i < n_types; i++)
        for (size_t k = 0; k < i; k++) assert_string_not_equal(types[i], types[k]);
}

// The skeleton with another family's choices: biases on q, k and v, other names, another activation, weights in another order.
static void test_another_family(void **state) {
    fixture *self = *state;
    static const arch_weight weights[] = {
        VECTOR(ARCH_INPUT_NORM, "ln_1", NULL, ARCH_D_MODEL, ALWAYS),
        VECTOR(ARCH_INPUT_NORM_BIAS, "ln_1.bias", NULL, ARCH_D_MODEL, ALWAYS),
        WEIGHT(ARCH_Q, "q.weight", "c_attn.weight", ARCH_Q_WIDTH, ARCH_D_MODEL),
        VECTOR(ARCH_Q_BIAS, "q.bias", "c_attn.bias", ARCH_Q_WIDTH, ALWAYS),
        WEIGHT(ARCH_K, "k.weight", "c_attn.weight", ARCH_KV_WIDTH, ARCH_D_MODEL),
        VECTOR(ARCH_K_BIAS, "k.bias", "c_attn.bias", ARCH_KV_WIDTH, ALWAYS),
        WEIGHT(ARCH_V, "v.weight", "c_attn.weight", ARCH_KV_WIDTH, ARCH_D_MODEL),
        VECTOR(ARCH_V_BIAS, "v.bias", "c_attn.bias", ARCH_KV_WIDTH, ALWAYS),
        WEIGHT(ARCH_O, "o", NULL, ARCH_D_MODEL, ARCH_Q_WIDTH),
        VECTOR(ARCH_O_BIAS, "o.bias", NULL, ARCH_D_MODEL, .when = WHEN(attention_bias)),
        WEIGHT(ARCH_UP, "w2", NULL, ARCH_D_FF, ARCH_D_MODEL),
        WEIGHT(ARCH_DOWN, "w3", NULL, ARCH_D_MODEL, ARCH_D_FF),
    };
    static const arch_weight model_weights[] = {
        EMBEDDING_WEIGHT("wte", .source = "embed"),
        {.role = ARCH_FINAL_NORM},
        HEAD_WEIGHT("head", ALWAYS),
        VECTOR(ARCH_HEAD_BIAS, "head.bias", NULL, ARCH_VOCAB, ALWAYS)};
    const arch_decoder decoder = {
        .layers = "h.",
        .layers_source = "blocks.",
        .layer = weights,
        .n_layer_weights = COUNT_OF(weights),
        .model = model_weights,
        .n_model_weights = COUNT_OF(model_weights),
        .has_layer_norms = true,
        .rope_interleaves = true,
        .is_parallel = true};
    hf_model_config *config = read_text(self, CONFIG(""));
    ir_module *module = NULL;
    config->hidden_act = "relu2";
    config->logit_scale = 0.25;
    config->logit_softcap = 9;
    expect_ok(arch_decoder_build(&decoder, config, &options, self->keep, &module));
    expect_ok(ir_verify(module, IR_LEVEL_GRAPH));
    mlcc_str text = {0};
    ir_print_module(module, &text);
    assert_non_null(strstr(mlcc_str_text(&text), ", @h.1.k.weight, @h.1.k.bias : "));
    static const char *const parts[] = {
        "layer_norm %1, @h.0.ln_1, @h.0.ln_1.bias ",
        "interleaved = true",
        "relu ",
        "softcap ",
        "cap = 9.0",
        "scale ",
        "factor = 0.25",
        ", @head, @head.bias : ",
        "param @h.0.o : f32[6, 8] from \"blocks.0.o\""};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (strstr(mlcc_str_text(&text), parts[i]) == NULL)
            fail_msg("'%s' is missing in %s", parts[i], mlcc_str_text(&text));
    assert_null(strstr(mlcc_str_text(&text), "h.0.o.bias"));
    assert_string_equal(module->params[4]->fused_name, "h.0.c_attn.bias");
    assert_string_equal(module->params[0]->sources[0], "embed");
    mlcc_str_free(&text);
    expect_round_trip(self, module);
    hf_model_config_free(config);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_params),  TEST(test_function), TEST(test_text),           TEST(test_tied),
        TEST(test_presets), TEST(test_refused),  TEST(test_another_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
