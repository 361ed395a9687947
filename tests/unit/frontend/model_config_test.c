// model_config: config.json and mlc-chat-config.json, good, bad and unusual; what is derived, overridden, refused and reported.
#include "frontend/arch/presets.h"
#include "frontend/arch/rope_frequencies.h"
#include "frontend/hf/model_config.h"
#include "tests/unit/frontend/fixture.h"

#include <ctype.h>
#include <math.h>

#define REQUIRED \
    "\"hidden_size\":64,\"intermediate_size\":172,\"num_attention_heads\":8,\"num_hidden_" \
    "layers\":5," \
    "\"rms_norm_eps\":1e-05,\"vocab_size\":512"
#define LLAMA(rest) \
    "{\"model_type\":\"llama\"," REQUIRED ",\"max_position_embeddings\":512" rest "}"

static mlcc_status *parse(fixture *self, const char *text, hf_model_config **out) {
    return hf_model_config_parse(text, strlen(text), "config.json", NULL, NULL, self->keep, out);
}

static void test_defaults(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(self, LLAMA(""), &config));
    assert_string_equal(config->model_type, "llama");
    assert_int_equal(config->n_kv_heads, 8);
    assert_int_equal(config->head_dim, 8);
    assert_int_equal(config->context_window_size, 512);
    assert_int_equal(config->prefill_chunk_size, 512);
    assert_int_equal(config->max_batch_size, 1);
    assert_false(config->tie_word_embeddings);
    assert_true(config->rope_theta == 10000.0);
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_NONE);
    assert_string_equal(
        fixture_written(self, config),
        "{\"hidden_size\": 64, \"intermediate_size\": 172, \"num_attention_heads\": 8, "
        "\"num_hidden_layers\": 5, "
        "\"rms_norm_eps\": 1e-05, \"vocab_size\": 512, \"tie_word_embeddings\": false, "
        "\"position_embedding_base\": 10000, \"rope_scaling\": null, \"context_window_size\": 512, "
        "\"prefill_chunk_size\": 512, \"num_key_value_heads\": 8, \"head_dim\": 8, "
        "\"tensor_parallel_shards\": 1, "
        "\"pipeline_parallel_stages\": 1, \"max_batch_size\": 1, \"disaggregation\": false}");
    hf_model_config_free(config);
    expect_no_warning(self);
}

static void test_everything_given(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self,
        LLAMA(",\"num_key_value_heads\":2,\"head_dim\":16,\"tie_word_embeddings\":true,\"rope_"
              "theta\":500000.0,"
              "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1,"
              "\"high_freq_factor\":4,"
              "\"original_max_position_embeddings\":8192},\"hidden_act\":\"silu\",\"attention_"
              "bias\":false,"
              "\"torch_dtype\":\"bfloat16\",\"architectures\":[\"LlamaForCausalLM\"],\"eos_token_"
              "id\":[1,2],"
              "\"quantization_config\":null,\"partial_rotary_factor\":1.0,\"pretraining_tp\":1"),
        &config));
    assert_int_equal(config->n_kv_heads, 2);
    assert_int_equal(config->head_dim, 16);
    assert_true(config->tie_word_embeddings);
    assert_true(config->rope_theta == 500000.0);
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_LLAMA3);
    assert_int_equal(config->rope_scaling.original_context, 8192);
    assert_non_null(strstr(
        fixture_written(self, config), "\"position_embedding_base\": 500000.0, \"rope_scaling\": "
                                       "{\"rope_type\": \"llama3\", \"factor\": 8.0, "
                                       "\"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                                       "\"original_max_position_embeddings\": 8192}"));
    hf_model_config_free(config);
    expect_no_warning(self);
}

static void test_null_counts_as_absent(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self, LLAMA(",\"head_dim\":null,\"num_key_value_heads\":null,\"rope_scaling\":null"),
        &config));
    assert_int_equal(config->head_dim, 8);
    hf_model_config_free(config);
    expect_error(
        parse(self, "{\"model_type\":\"llama\",\"hidden_size\":null}", &config), MLCC_INVALID,
        "'hidden_size'", "missing", NULL);
}

static void test_rope_scaling_forms(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(
        parse(self, LLAMA(",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}"), &config));
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_LINEAR);
    assert_true(config->rope_scaling.factor == 2.0);
    hf_model_config_free(config);

    // The newer place of rope_theta.
    expect_ok(parse(
        self, LLAMA(",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":250000}"),
        &config));
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_NONE);
    assert_true(config->rope_theta == 250000.0);
    assert_non_null(strstr(
        fixture_written(self, config),
        "\"position_embedding_base\": 250000, \"rope_scaling\": null"));
    hf_model_config_free(config);
    expect_no_warning(self);

    expect_ok(parse(self, LLAMA(",\"rope_scaling\":{\"factor\":2.0}"), &config));
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_NONE);
    assert_null(config->rope_scaling_json);
    expect_log(self, "has no rope_type");
    hf_model_config_free(config);
}

typedef struct bad_config {
    const char *text;
    mlcc_code code;
    const char *key, *accepted;
} bad_config;

#define MISTRAL(rest) \
    "{\"model_type\":\"mistral\"," REQUIRED ",\"max_position_embeddings\":32768" rest "}"
#define STABLELM(rest) \
    "{\"model_type\":\"stablelm\",\"hidden_size\":64,\"intermediate_size\":4," \
    "\"num_attention_heads\":8,\"num_hidden_layers\":1,\"layer_norm_eps\":1e-05," \
    "\"vocab_size\":5,\"max_position_embeddings\":8" rest "}"
#define OLMO(rest) \
    "{\"model_type\":\"olmo\",\"hidden_size\":64,\"intermediate_size\":4," \
    "\"num_attention_heads\":8,\"num_hidden_layers\":1,\"vocab_size\":5," \
    "\"max_position_embeddings\":8" rest "}"
#define GEMMA2(rest) \
    "{\"model_type\":\"gemma2\",\"hidden_size\":64,\"intermediate_size\":4," \
    "\"num_attention_heads\":8,\"num_hidden_layers\":2,\"rms_norm_eps\":1e-05," \
    "\"vocab_size\":5,\"max_position_embeddings\":8" rest "}"

// A scaling with another list of factors for long contexts, without its closing brace.
#define LONGROPE \
    "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1,1,1]," \
    "\"long_factor\":[2,2,2,2],\"original_max_position_embeddings\":512"

static void test_bad_configs(void **state) {
    fixture *self = *state;
    static const bad_config cases[] = {
        {"[]", MLCC_INVALID, "config.json", "expected an object"},
        {"{", MLCC_INVALID, "config.json", ""},
        {"{}", MLCC_INVALID, "'model_type'", "--model-type"},
        {"{\"model_type\":\"lama\"}", MLCC_UNSUPPORTED, "'lama'", "did you mean 'llama'"},
        {"{\"model_type\":\"mamba\"}", MLCC_UNSUPPORTED, "'mamba'", "accepted: llama"},
        {"{\"model_type\":\"llama\"}", MLCC_INVALID, "'hidden_size'", "missing"},
        {"{\"model_type\":\"llama\"," REQUIRED "}", MLCC_INVALID, "context length",
         "'max_position_embeddings'"},
        {LLAMA(",\"rope_theta\":0.0,\"rope_scaling\":7"), MLCC_INVALID, "'rope_scaling'",
         "an object"},
        {LLAMA(",\"hidden_act\":\"gelu\""), MLCC_UNSUPPORTED, "'hidden_act' is \"gelu\"",
         "\"silu\", \"swish\""},
        {MISTRAL(",\"attention_bias\":true"), MLCC_UNSUPPORTED, "'attention_bias' is true",
         "accepted: false"},
        {MISTRAL(",\"mlp_bias\":true"), MLCC_UNSUPPORTED, "'mlp_bias'", "accepted: false"},
        {LLAMA(",\"scale_emb\":12"), MLCC_UNSUPPORTED, "'scale_emb' is 12",
         "without effect is 1.0"},
        {LLAMA(",\"attn_logit_softcapping\":50.0"), MLCC_UNSUPPORTED,
         "'attn_logit_softcapping' is 50.0", "--model-type"},
        {LLAMA(",\"num_experts\":8"), MLCC_UNSUPPORTED, "'num_experts' is 8", "arithmetic"},
        {LLAMA(",\"text_config\":{\"attn_logit_softcapping\":50.0}"), MLCC_UNSUPPORTED,
         "'attn_logit_softcapping' is 50.0", "arithmetic"},
        {LLAMA(",\"alibi\":true"), MLCC_UNSUPPORTED, "'alibi' is true", "without effect is false"},
        {LLAMA(",\"text_config\":[]"), MLCC_INVALID, "'text_config' is", "an object"},
        {STABLELM(",\"partial_rotary_factor\":0.0"), MLCC_INVALID, "rotated part of a head is 0",
         "above 0"},
        {GEMMA2(",\"query_pre_attn_scalar\":-1.0"), MLCC_INVALID, "query_pre_attn_scalar is -1",
         "from 0"},
        {LLAMA(",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],"
               "\"long_factor\":[1,1,1,1],\"original_max_position_embeddings\":8}"),
         MLCC_INVALID, "short_factor has 1 entries", "expected 4"},
        {STABLELM(",\"partial_rotary_factor\":1.5"), MLCC_INVALID, "rotated part of a head is 1.5",
         "up to 1"},
        {STABLELM(",\"partial_rotary_factor\":0.4"), MLCC_INVALID, "rotated part of head_dim 3",
         "odd"},
        {STABLELM(",\"partial_rotary_factor\":\"x\""), MLCC_INVALID,
         "'partial_rotary_factor' is \"x\"", "a number"},
        {LLAMA(",\"qk_layernorm\":true"), MLCC_UNSUPPORTED, "'qk_layernorm' is true",
         "without effect is false"},
        {OLMO(",\"clip_qkv\":-8.0"), MLCC_INVALID, "clip_qkv is -8", "above 0"},
        {GEMMA2(",\"layer_types\":[\"full_attention\"]"), MLCC_INVALID, "'layer_types'",
         "for every layer"},
        {GEMMA2(",\"layer_types\":[\"full_attention\",\"chunked\"]"), MLCC_INVALID, "'layer_types'",
         "sliding_attention"},
        {GEMMA2(",\"hidden_activation\":\"silu\""), MLCC_UNSUPPORTED,
         "'hidden_activation' is \"silu\"", "gelu_pytorch_tanh"},
        {LLAMA(",\"partial_rotary_factor\":0.5"), MLCC_UNSUPPORTED,
         "'partial_rotary_factor' is 0.5", "1.0, 1"},
        {LLAMA(",\"num_key_value_heads\":3"), MLCC_INVALID, "num_key_value_heads 3", "8"},
        {LLAMA(",\"head_dim\":7"), MLCC_INVALID, "head_dim 7", "odd"},
        {LLAMA(",\"head_dim\":\"8\""), MLCC_INVALID, "'head_dim' is \"8\"", "an integer from 1"},
        {LLAMA(",\"head_dim\":-8"), MLCC_INVALID, "'head_dim' is -8", "an integer from 1"},
        {LLAMA(",\"tie_word_embeddings\":1"), MLCC_INVALID, "'tie_word_embeddings' is 1",
         "true or false"},
        {LLAMA(",\"rope_theta\":-1"), MLCC_INVALID, "rope_theta is -1", "above 0"},
        {LLAMA(",\"rope_theta\":\"x\""), MLCC_INVALID, "'rope_theta' is \"x\"", "a number"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"ntk\",\"factor\":4}"), MLCC_UNSUPPORTED, "'ntk'",
         "'llama3', 'linear'"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":-1}"), MLCC_INVALID, "factor",
         "above 0"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1]}"), MLCC_INVALID,
         "long_factor", "rope_scaling"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,0],"
               "\"long_factor\":[1,2]}"),
         MLCC_INVALID, "entry 1", "above 0"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":4}"), MLCC_INVALID,
         "low_freq_factor", "rope_scaling"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":0}"), MLCC_INVALID, "factor",
         "above 0"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
               "\"high_freq_factor\":1,"
               "\"original_max_position_embeddings\":64}"),
         MLCC_INVALID, "low_freq_factor", "less than high_freq_factor"},
        {LLAMA(",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"x\":[[[1]]]}"),
         MLCC_INVALID, "'rope_scaling.x' is", "a number or a text"},
        {"{\"model_type\":\"llama\",\"hidden_size\":0}", MLCC_INVALID, "'hidden_size' is 0",
         "an integer from 1 to 16777216"},
        {"{\"model_type\":\"llama\",\"hidden_size\":64.5}", MLCC_INVALID, "'hidden_size' is 64.5",
         "an integer"},
        {"{\"model_type\":\"llama\",\"hidden_size\":4294967296}", MLCC_INVALID, "'hidden_size'",
         "an integer from 1 to 16777216"},
        {"{\"model_type\":\"llama\",\"hidden_size\":65,\"intermediate_size\":4,\"num_attention_"
         "heads\":8,\"num_hidden_layers\":1,"
         "\"rms_norm_eps\":1,\"vocab_size\":5,\"max_position_embeddings\":8}",
         MLCC_INVALID, "hidden_size 65", "head_dim is not given"},
        {"{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":4,\"num_attention_"
         "heads\":8,\"num_hidden_layers\":1,"
         "\"rms_norm_eps\":1,\"vocab_size\":5,\"max_position_embeddings\":8}",
         MLCC_INVALID, "rms_norm_eps is 1", "below 1"},
        {"{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":4,\"num_attention_"
         "heads\":65536,\"head_dim\":65536,"
         "\"num_hidden_layers\":1,\"rms_norm_eps\":0.1,\"vocab_size\":5,\"max_position_"
         "embeddings\":8}",
         MLCC_INVALID, "65536", "above the limit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_model_config *config = NULL;
        expect_error(
            parse(self, cases[i].text, &config), cases[i].code, cases[i].key, cases[i].accepted,
            NULL);
        assert_null(config);
    }
}

static void test_unknown_keys_are_reported_once(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self, LLAMA(",\"bogus\":1,\"use_cache\":true,\"sliding_window\":4096,\"pad_token_id\":0"),
        &config));
    expect_log(self, "warn config: config.json: unknown keys ignored: 'bogus', 'sliding_window'\n");
    hf_model_config_free(config);
}

static void test_overrides(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    const char *path = fixture_write_text(self, "config.json", LLAMA(""));
    hf_config_overrides overrides = {
        .context_window_size = 100, .sliding_window_size = 9, .max_batch_size = 7};
    expect_ok(hf_model_config_read(self->dir, "auto", &overrides, self->keep, &config));
    assert_int_equal(config->context_window_size, 100);
    assert_int_equal(config->prefill_chunk_size, 100);
    assert_int_equal(config->max_batch_size, 7);
    assert_string_equal(config->directory, self->dir);
    expect_log(self, "has no sliding_window_size");
    hf_model_config_free(config);

    // A longer context does not lengthen a chunk that was derived before, as in MLC LLM.
    overrides = (hf_config_overrides){.context_window_size = 4096};
    expect_ok(hf_model_config_read(path, NULL, &overrides, self->keep, &config));
    assert_int_equal(config->context_window_size, 4096);
    assert_int_equal(config->prefill_chunk_size, 512);
    hf_model_config_free(config);

    overrides = (hf_config_overrides){.prefill_chunk_size = -3};
    expect_error(
        hf_model_config_read(path, NULL, &overrides, self->keep, &config), MLCC_INVALID,
        "prefill_chunk_size is -3", NULL);
    expect_error(
        hf_model_config_read(path, "gpt5", NULL, self->keep, &config), MLCC_UNSUPPORTED, "'gpt5'",
        "accepted: llama", NULL);
    fixture_write_text(
        self, "config.json", "{\"model_type\":\"x\"," REQUIRED ",\"max_sequence_length\":9000}");
    expect_ok(hf_model_config_read(path, "llama", NULL, self->keep, &config));
    assert_int_equal(config->context_window_size, 9000);
    assert_int_equal(config->prefill_chunk_size, 8192);
    hf_model_config_free(config);
}

static mlcc_status *from_mlc(
    fixture *self, const char *text, const hf_config_overrides *overrides, hf_model_config **out) {
    mlcc_json *json = NULL;
    expect_ok(mlcc_json_parse(text, strlen(text), "mlc-chat-config.json", 0, &json));
    mlcc_status *status = hf_model_config_from_mlc(
        mlcc_json_root(json), "mlc-chat-config.json", overrides, self->keep, out);
    mlcc_json_free(json);
    return status;
}

static void test_mlc_reader(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(from_mlc(
        self,
        "{\"model_type\":\"llama\",\"quantization\":\"q4f16_1\",\"model_config\":{" REQUIRED
        ",\"position_embedding_base\":10000.0,\"rope_scaling\":null,\"context_window_size\":2048,"
        "\"prefill_chunk_size\":1024,\"num_key_value_heads\":4,\"head_dim\":8,\"max_batch_size\":"
        "80},"
        "\"vocab_size\":512,\"context_window_size\":768,\"sliding_window_size\":-1,\"prefill_chunk_"
        "size\":-1,"
        "\"tensor_parallel_shards\":null,\"temperature\":0.5,\"conv_template\":\"llama-2\",\"mean_"
        "gen_len\":128}",
        &(hf_config_overrides){.max_batch_size = 4}, &config));
    assert_int_equal(config->context_window_size, 768);
    assert_int_equal(config->prefill_chunk_size, 768);
    assert_int_equal(config->tensor_parallel_shards, 1);
    assert_int_equal(config->max_batch_size, 4);
    assert_int_equal(config->n_kv_heads, 4);
    hf_model_config_free(config);
    expect_no_warning(self);

    expect_error(
        from_mlc(self, "{\"model_type\":\"llama\"}", NULL, &config), MLCC_INVALID, "model_config",
        NULL);
    expect_error(
        from_mlc(self, "{\"model_config\":{}}", NULL, &config), MLCC_INVALID, "'model_type'", NULL);
    expect_ok(from_mlc(
        self,
        "{\"model_config\":{\"model_type\":\"llama\",\"context_window_size\":64," REQUIRED "}}",
        NULL, &config));
    hf_model_config_free(config);
}

// What the writer writes, the reader reads back to the same bytes.
// What a config's words become in MLC LLM's file, and that a second reading changes nothing.
static void test_written_forms(void **state) {
    fixture *self = *state;
    static const char phi3[] =
        "{\"model_type\":\"phi3\",\"hidden_size\":64,\"intermediate_size\":4,"
        "\"num_attention_heads\":8,\"num_hidden_layers\":1,\"rms_norm_eps\":1e-05,"
        "\"num_key_value_heads\":8,\"vocab_size\":5,\"max_position_embeddings\":64,"
        "\"original_max_position_embeddings\":16,\"rope_scaling\":{\"type\":\"su\","
        "\"short_factor\":[1,1,1,1],\"long_factor\":[2,2,2,2]}}";
    static const char gptj[] = "{\"model_type\":\"gptj\",\"n_embd\":64,\"n_layer\":1,"
                               "\"n_head\":8,\"layer_norm_epsilon\":1e-05,\"vocab_size\":5,"
                               "\"n_positions\":8,\"rotary_dim\":4,\"n_inner\":null}";
    static const struct {
        const char *text, *written;
    } cases[] = {
        {phi3, "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], "
               "\"long_factor\": [2, 2, 2, 2], \"rope_type\": \"longrope\", "
               "\"max_position_embeddings\": 64, \"original_max_position_embeddings\": 16}"},
        {gptj, "\"n_inner\": null, \"rope_scaling\": null"},
        {OLMO(""), "\"hidden_act\": null"},
        {OLMO(",\"clip_qkv\":8,\"layer_norm_eps\":1e-05"), "\"clip_qkv\": 8}"},
        {OLMO(",\"layer_norm_eps\":1e-06"), "\"clip_qkv\": null, \"layer_norm_eps\": 1e-06}"},
        {STABLELM(",\"num_key_value_heads\":8,\"qk_layernorm\":true,\"rope_scaling\":"
                  "{\"type\":\"dynamic\",\"factor\":2.0}"),
         "\"max_batch_size\": 1, \"qk_layernorm\": true}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_model_config *config = NULL, *again = NULL;
        expect_ok(parse(self, cases[i].text, &config));
        const char *first = fixture_written(self, config);
        if (strstr(first, cases[i].written) == NULL)
            fail_msg("no '%s' in '%s'", cases[i].written, first);
        char *text = mlcc_arena_printf(
            self->keep, "{\"model_type\":\"%s\",\"model_config\":%s}", config->model_type, first);
        mlcc_json *json = NULL;
        expect_ok(mlcc_json_parse(text, strlen(text), "again", 0, &json));
        expect_ok(
            hf_model_config_from_mlc(mlcc_json_root(json), "again", NULL, self->keep, &again));
        assert_string_equal(first, fixture_written(self, again));
        assert_int_equal(config->d_ff, again->d_ff);
        hf_model_config_free(again);
        mlcc_json_free(json);
        hf_model_config_free(config);
    }
    expect_no_warning(self);
}

// Composite models say that their language model is what is used.
static void expect_no_other_warning(const fixture *self) {
    for (const char *at = mlcc_str_text(&self->log); (at = strstr(at, "warn ")) != NULL; at++) {
        const char *end = strchr(at, '\n'), *images = strstr(at, "images are not supported");
        if (images == NULL || (end != NULL && images > end))
            fail_msg("unexpected warning:\n%s", at);
    }
}

static void test_write_read_write(void **state) {
    fixture *self = *state;
    size_t n_names = 0;
    const char *const *names = arch_preset_names(&n_names);
    for (size_t i = 0; i < n_names; i++) {
        hf_model_config *config = NULL, *again = NULL;
        expect_ok(hf_model_config_read(names[i], NULL, NULL, self->keep, &config));
        const char *first = fixture_written(self, config);
        char *text = mlcc_arena_printf(
            self->keep, "{\"model_type\":\"%s\",\"model_config\":%s}", config->model_type, first);
        mlcc_json *json = NULL;
        expect_ok(mlcc_json_parse(text, strlen(text), names[i], 0, &json));
        expect_ok(
            hf_model_config_from_mlc(mlcc_json_root(json), names[i], NULL, self->keep, &again));
        assert_string_equal(first, fixture_written(self, again));
        hf_model_config_free(again);
        mlcc_json_free(json);
        hf_model_config_free(config);
    }
    expect_no_other_warning(self);
}

static void test_unknown_path(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_error(
        hf_model_config_read("llama3_2_1", NULL, NULL, self->keep, &config), MLCC_INVALID,
        "'llama3_2_1'", "did you mean 'llama3_2_1b'", "tinyllama_1b_chat_v1.0", NULL);
    expect_error(
        hf_model_config_read(self->dir, NULL, NULL, self->keep, &config), MLCC_INVALID,
        "holds no config.json", NULL);
}

// Every preset says what the real config says (where the real configs are there to compare with).
static void test_presets_equal_real_configs(void **state) {
    fixture *self = *state;
    const char *folder = fixture_data(self, "configs");
    size_t n_names = 0, n_compared = 0;
    const char *const *names = arch_preset_names(&n_names);
    for (size_t i = 0; i < n_names; i++) {
        hf_model_config *preset = NULL, *real = NULL;
        char *path = mlcc_arena_printf(self->keep, "%s/%s.json", folder, names[i]);
        for (char *at = path + strlen(folder); *at != '\0'; at++) // as the files spell it
            *at = *at == '-' ? '_' : (char)tolower((unsigned char)*at);
        if (!mlcc_file_exists(path)) continue; // of a name of our own
        n_compared++;
        expect_ok(hf_model_config_read(names[i], NULL, NULL, self->keep, &preset));
        expect_ok(hf_model_config_read(path, NULL, NULL, self->keep, &real));
        assert_string_equal(fixture_written(self, preset), fixture_written(self, real));
        for (size_t k = 0; k < 3; k++) {
            static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
            const mlcc_json_value *a = mlcc_json_get(mlcc_json_root(preset->document), keys[k]);
            const mlcc_json_value *b = mlcc_json_get(mlcc_json_root(real->document), keys[k]);
            assert_int_equal(mlcc_json_kind_of(a), mlcc_json_kind_of(b));
            assert_int_equal(mlcc_json_int(a), mlcc_json_int(b));
            assert_int_equal(mlcc_json_count(a), mlcc_json_count(b));
        }
        hf_model_config_free(preset);
        hf_model_config_free(real);
    }
    assert_int_equal(n_compared, 67);
    expect_no_other_warning(self);
}

#define GEMMA3(rest) \
    "{\"model_type\":\"gemma3_text\",\"hidden_size\":64,\"intermediate_size\":4,\"head_dim\":8," \
    "\"num_hidden_layers\":2,\"vocab_size\":5,\"max_position_embeddings\":8," \
    "\"rope_parameters\":" rest "}"

// What newer files say in rope_parameters: a part of the head that turns, and a base and a scaling for either kind of layer.
static void test_rope_parameters(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self,
        GEMMA3("{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8.0,"
               "\"rope_theta\":5000},\"sliding_attention\":{\"rope_type\":\"default\","
               "\"rope_theta\":70.0}}"),
        &config));
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_LINEAR);
    assert_true(config->rope_scaling.factor == 8 && config->rope_theta == 5000);
    assert_true(config->rope_local_theta == 70);
    hf_model_config_free(config);
    expect_ok(parse(
        self,
        "{\"model_type\":\"phi3\"," REQUIRED ",\"max_position_embeddings\":512,"
        "\"original_max_position_embeddings\":512,\"rope_parameters\":{\"rope_type\":"
        "\"longrope\",\"rope_theta\":9.0,\"partial_rotary_factor\":0.5,"
        "\"short_factor\":[1,1],\"long_factor\":[1,1]}}",
        &config));
    assert_true(config->rotary_dim == 4 && config->rope_theta == 9);
    hf_model_config_free(config);
    expect_error(
        parse(
            self, GEMMA3("{\"full_attention\":{},\"sliding_attention\":{\"rope_type\":\"yarn\"}}"),
            &config),
        MLCC_INVALID, "'rope_parameters.sliding_attention.rope_type' is \"yarn\"", "\"default\"",
        NULL);
    expect_error(
        parse(self, LLAMA(",\"rope_parameters\":{\"full_attention\":{}}"), &config), MLCC_INVALID,
        "'rope_parameters.full_attention'", "an object", NULL);
    expect_no_other_warning(self);
}

// Without an end, as behind a sliding window, a context is a long one.
static void test_longrope_without_end(void **state) {
    fixture *self = *state;
    static const struct {
        const char *config;
        float first;
    } cases[] = {
        {MISTRAL(",\"sliding_window\":64," LONGROPE ",\"attention_factor\":1.5}"), 0.5f},
        {MISTRAL(",\"sliding_window\":null," LONGROPE ",\"attention_factor\":1.5}"), 0.5f},
        {MISTRAL(",\"context_window_size\":512," LONGROPE ",\"attention_factor\":1.5}"), 1.0f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_model_config *config = NULL;
        expect_ok(parse(self, cases[i].config, &config));
        float frequencies[4];
        double magnitude = 0;
        expect_ok(arch_rope_frequencies(config, false, frequencies, &magnitude));
        assert_float_equal(frequencies[0], cases[i].first, 0);
        assert_true(magnitude == 1.5);
        hf_model_config_free(config);
    }
}

// The three bands of llama3 scaling, each from its own formula, at the pairs where they apply.
static void test_llama3_frequencies(void **state) {
    (void)state;
    hf_model_config config = {
        .head_dim = 128,
        .rotary_dim = 128,
        .rope_theta = 500000.0,
        .rope_scaling = {
            .kind = HF_ROPE_LLAMA3,
            .factor = 8.0,
            .low_freq_factor = 1.0,
            .high_freq_factor = 4.0,
            .original_context = 8192}};
    float frequencies[64];
    double magnitude = 0;
    expect_ok(arch_rope_frequencies(&config, false, frequencies, &magnitude));
    size_t n_band[3] = {0};
    for (int i = 0; i < 64; i++) {
        double plain = 1.0 / pow(500000.0, (double)(2 * i) / 128.0);
        double wavelength = 2 * 3.14159265358979323846 / plain;
        double expected;
        if (wavelength < 8192.0 / 4.0) {
            expected = plain, n_band[0]++;
        } else if (wavelength > 8192.0) {
            expected = plain / 8.0, n_band[1]++;
        } else {
            double smooth = (8192.0 / wavelength - 1.0) / 3.0;
            expected = (1 - smooth) * plain / 8.0 + smooth * plain;
            n_band[2]++;
        }
        assert_true(fabs((double)frequencies[i] - expected) <= 1e-7 * expected);
    }
    assert_true(n_band[0] > 20 && n_band[1] > 20 && n_band[2] >= 5);
    assert_true(frequencies[0] == 1.0f);

    config.rope_scaling = (hf_rope_scaling){.kind = HF_ROPE_LINEAR, .factor = 4.0};
    expect_ok(arch_rope_frequencies(&config, false, frequencies, &magnitude));
    assert_true(frequencies[0] == 0.25f);
    config = (hf_model_config){.head_dim = 12, .rotary_dim = 8, .rope_theta = 10000.0};
    expect_ok(arch_rope_frequencies(&config, false, frequencies, &magnitude));
    const float expected[4] = {1.0f, 0.1f, 0.01f, 0.001f};
    assert_memory_equal(frequencies, expected, sizeof expected);
    assert_true(magnitude == 1.0);
    // Layers with a window of their own base, which no scaling touches.
    config.rope_local_theta = 16.0;
    config.rope_scaling = (hf_rope_scaling){.kind = HF_ROPE_LINEAR, .factor = 4.0};
    expect_ok(arch_rope_frequencies(&config, true, frequencies, &magnitude));
    const float local[4] = {1.0f, 0.5f, 0.25f, 0.125f};
    assert_memory_equal(frequencies, local, sizeof local);
}

// The window decides about the context, the chunk and what attention sees; null and -1 are off.
static void test_mistral_windows(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text;
        int64_t sliding, context, chunk, sink;
    } cases[] = {
        {MISTRAL(""), -1, 32768, 8192, 4},
        {MISTRAL(",\"sliding_window\":null"), -1, 32768, 8192, 4},
        {MISTRAL(",\"sliding_window\":4096"), 4096, -1, 4096, 4},
        {MISTRAL(",\"sliding_window_size\":9000"), 9000, -1, 8192, 4},
        {MISTRAL(",\"sliding_window\":4096,\"context_window_size\":1024"), 4096, 1024, 1024, 4},
        {MISTRAL(",\"sliding_window\":100,\"attention_sink_size\":0"), 100, -1, 100, 0},
        {MISTRAL(",\"sliding_window\":100,\"prefill_chunk_size\":64"), 100, -1, 64, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_model_config *config = NULL, *again = NULL;
        expect_ok(parse(self, cases[i].text, &config));
        assert_int_equal(config->sliding_window_size, cases[i].sliding);
        assert_int_equal(config->context_window_size, cases[i].context);
        assert_int_equal(config->prefill_chunk_size, cases[i].chunk);
        assert_int_equal(config->attention_sink_size, cases[i].sink);
        // MLC's file says the same, at the top level too.
        const char *first = fixture_written(self, config);
        expect_ok(from_mlc(
            self,
            mlcc_arena_printf(
                self->keep,
                "{\"model_type\":\"mistral\",\"model_config\":%s,\"context_window_size\":%lld,"
                "\"sliding_window_size\":%lld,\"attention_sink_size\":%lld}",
                first, (long long)cases[i].context, (long long)cases[i].sliding,
                (long long)cases[i].sink),
            NULL, &again));
        assert_string_equal(fixture_written(self, again), first);
        hf_model_config_free(again);
        hf_model_config_free(config);
    }
    expect_no_warning(self);
}

static void test_mistral_fields_and_overrides(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(self, MISTRAL(",\"sliding_window\":4096,\"rope_theta\":10000.0"), &config));
    assert_string_equal(
        fixture_written(self, config),
        "{\"hidden_size\": 64, \"intermediate_size\": 172, \"num_attention_heads\": 8, "
        "\"num_hidden_layers\": 5, \"rms_norm_eps\": 1e-05, \"vocab_size\": 512, "
        "\"position_embedding_base\": 10000.0, \"num_key_value_heads\": 8, \"head_dim\": 8, "
        "\"context_window_size\": -1, \"sliding_window_size\": 4096, \"prefill_chunk_size\": 4096, "
        "\"attention_sink_size\": 4, \"tensor_parallel_shards\": 1, \"max_batch_size\": 1}");
    hf_model_config_free(config);

    // A window that is set later takes the limit away, a context that is set with it stays.
    const char *path = fixture_write_text(self, "config.json", MISTRAL(""));
    hf_config_overrides overrides = {.sliding_window_size = 256, .attention_sink_size = 7};
    expect_ok(hf_model_config_read(path, NULL, &overrides, self->keep, &config));
    assert_int_equal(config->sliding_window_size, 256);
    assert_int_equal(config->context_window_size, -1);
    assert_int_equal(config->attention_sink_size, 7);
    hf_model_config_free(config);
    overrides.context_window_size = 2048;
    expect_ok(hf_model_config_read(path, NULL, &overrides, self->keep, &config));
    assert_int_equal(config->context_window_size, 2048);
    hf_model_config_free(config);

    // What MLC's class lacks is kept where it matters.
    expect_ok(parse(
        self,
        MISTRAL(",\"tie_word_embeddings\":true,\"rope_scaling\":{\"rope_type\":\"linear\","
                "\"factor\":2.0}"),
        &config));
    assert_non_null(strstr(
        fixture_written(self, config),
        "\"tie_word_embeddings\": true, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": "
        "2.0}}"));
    hf_model_config_free(config);
    static const bad_config cases[] = {
        {MISTRAL(",\"sliding_window\":-2"), MLCC_INVALID, "'sliding_window' is -2",
         "from 1 to 2147483647, or -1 for off"},
        {MISTRAL(",\"attention_sink_size\":-1"), MLCC_INVALID, "'attention_sink_size' is -1",
         "an integer from 0"},
        {MISTRAL(",\"context_window_size\":-1"), MLCC_INVALID, "both -1", "at least one"},
        {MISTRAL(",\"hidden_act\":\"gelu\""), MLCC_UNSUPPORTED, "hidden_act", "silu"},
        {MISTRAL(",\"sliding_window\":4096," LONGROPE "}"), MLCC_INVALID, "'attention_factor'",
         "no end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_error(
            parse(self, cases[i].text, &config), cases[i].code, cases[i].key, cases[i].accepted,
            NULL);
}

#define QWEN2(rest) \
    "{\"model_type\":\"qwen2\"," REQUIRED \
    ",\"num_key_value_heads\":4,\"max_position_embeddings\":512,\"hidden_act\":\"silu\"," \
    "\"rope_theta\":1000000.0" rest "}"

static void test_qwen2(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(parse(
        self,
        QWEN2(",\"use_sliding_window\":false,\"sliding_window\":32768,\"max_window_layers\":3,"
              "\"tie_word_embeddings\":true,\"layer_types\":[\"full_attention\"]"),
        &config));
    assert_string_equal(
        fixture_written(self, config),
        "{\"hidden_act\": \"silu\", \"hidden_size\": 64, \"intermediate_size\": 172, "
        "\"num_attention_heads\": 8, \"num_hidden_layers\": 5, \"num_key_value_heads\": 4, "
        "\"rms_norm_eps\": 1e-05, \"rope_theta\": 1000000.0, \"vocab_size\": 512, "
        "\"tie_word_embeddings\": true, \"context_window_size\": 512, \"prefill_chunk_size\": 512, "
        "\"tensor_parallel_shards\": 1, \"head_dim\": 8, \"dtype\": \"float32\", "
        "\"max_batch_size\": 1}");
    assert_int_equal(config->sliding_window_size, -1);
    hf_model_config_free(config);
    expect_no_warning(self);
    expect_ok(parse(self, QWEN2(",\"dtype\":\"bfloat16\""), &config));
    assert_string_equal(config->dtype, "bfloat16");
    hf_model_config_free(config);
    expect_error(
        parse(self, QWEN2(",\"use_sliding_window\":true"), &config), MLCC_UNSUPPORTED,
        "'use_sliding_window' is true", "accepted: false", NULL);
    expect_error(
        parse(self, QWEN2(",\"dtype\":\"int8\""), &config), MLCC_INVALID, "'dtype' is \"int8\"",
        "\"float32\" or \"float16\"", NULL);
    expect_error(parse(self, QWEN2(",\"dtype\":7"), &config), MLCC_INVALID, "'dtype' is 7", NULL);
}

// What gen_config stores for compile.
static void test_quantization_options(void **state) {
    fixture *self = *state;
    hf_model_config *config = NULL;
    expect_ok(from_mlc(
        self,
        "{\"model_type\":\"llama\",\"model_config\":{\"context_window_size\":64," REQUIRED "},"
        "\"quantization_options\":{\"group_size\":64,\"modules_to_not_convert\":[\"a.b\",\"c\"]}}",
        NULL, &config));
    assert_int_equal(config->quantization.group_size, 64);
    assert_int_equal(config->quantization.n_float_modules, 2);
    assert_string_equal(config->quantization.float_modules[1], "c");
    hf_model_config_free(config);
    static const char *const bad[][2] = {
        {"7", "quantization_options"},
        {"{\"group_size\":-3}", "group_size"},
        {"{\"modules_to_not_convert\":\"a\"}", "modules_to_not_convert"},
        {"{\"modules_to_not_convert\":[1]}", "entry 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_error(
            from_mlc(
                self,
                mlcc_arena_printf(
                    self->keep,
                    "{\"model_type\":\"llama\",\"model_config\":{\"context_window_size\":"
                    "64," REQUIRED "},\"quantization_options\":%s}",
                    bad[i][0]),
                NULL, &config),
            MLCC_INVALID, bad[i][1], NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_everything_given),
        TEST(test_null_counts_as_absent),
        TEST(test_rope_scaling_forms),
        TEST(test_bad_configs),
        TEST(test_unknown_keys_are_reported_once),
        TEST(test_overrides),
        TEST(test_mlc_reader),
        TEST(test_written_forms),
        TEST(test_write_read_write),
        TEST(test_unknown_path),
        TEST(test_presets_equal_real_configs),
        TEST(test_rope_parameters),
        TEST(test_longrope_without_end),
        TEST(test_llama3_frequencies),
        TEST(test_mistral_windows),
        TEST(test_mistral_fields_and_overrides),
        TEST(test_qwen2),
        TEST(test_quantization_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
