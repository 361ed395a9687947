// gen_config: the file is MLC LLM's to the byte, overrides act as there, and a failure leaves nothing behind.
#include "dist/artifact/gen_config.h"
#include "frontend/import.h"
#include "tests/unit/frontend/fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char llama_3_1_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
    "\"bos_token_id\":128000,\"eos_token_id\":[128001,128008,128009],\"hidden_act\":\"silu\","
    "\"hidden_size\":4096,"
    "\"initializer_range\":0.02,\"intermediate_size\":14336,\"max_position_embeddings\":131072,"
    "\"mlp_bias\":false,"
    "\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_"
    "heads\":8,"
    "\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":8.0,\"low_freq_"
    "factor\":1.0,"
    "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},"
    "\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"use_"
    "cache\":true,"
    "\"vocab_size\":128256}";

static const char expected_head[] =
    "{\n  \"version\": \"0.1.0\",\n  \"model_type\": \"llama\",\n  \"quantization\": \"q4f16_1\",\n"
    "  \"model_config\": {\n    \"hidden_size\": 4096,\n    \"intermediate_size\": 14336,\n"
    "    \"num_attention_heads\": 32,\n    \"num_hidden_layers\": 32,\n    \"rms_norm_eps\": "
    "1e-05,\n"
    "    \"vocab_size\": 128256,\n    \"tie_word_embeddings\": false,\n    "
    "\"position_embedding_base\": 500000.0,\n"
    "    \"rope_scaling\": {\n      \"factor\": 8.0,\n      \"low_freq_factor\": 1.0,\n"
    "      \"high_freq_factor\": 4.0,\n      \"original_max_position_embeddings\": 8192,\n"
    "      \"rope_type\": \"llama3\"\n    },\n    \"context_window_size\": 131072,\n"
    "    \"prefill_chunk_size\": 8192,\n    \"num_key_value_heads\": 8,\n    \"head_dim\": 128,\n"
    "    \"tensor_parallel_shards\": 1,\n    \"pipeline_parallel_stages\": 1,\n    "
    "\"max_batch_size\": 128,\n"
    "    \"disaggregation\": false\n  },\n  \"vocab_size\": 128256,\n  \"context_window_size\": "
    "131072,\n"
    "  \"sliding_window_size\": -1,\n  \"prefill_chunk_size\": 8192,\n  \"attention_sink_size\": "
    "-1,\n"
    "  \"tensor_parallel_shards\": 1,\n  \"pipeline_parallel_stages\": 1,\n  "
    "\"active_vocab_size\": 128256,\n"
    "  \"temperature\": 0.6,\n  \"presence_penalty\": 0.0,\n  \"frequency_penalty\": 0.0,\n"
    "  \"repetition_penalty\": 1.0,\n  \"top_p\": 0.9,\n  \"tokenizer_files\": [\n    "
    "\"tokenizer.json\",\n"
    "    \"tokenizer_config.json\"\n  ],\n  \"tokenizer_info\": {\n    \"token_postproc_method\": "
    "\"byte_level\",\n"
    "    \"prepend_space_in_encode\": false,\n    \"strip_space_in_decode\": false\n  },\n"
    "  \"conv_template\": {\n    \"name\": \"llama-3_1\",\n";

static const char expected_tail[] = "    \"use_function_calling\": false\n  },\n  "
                                    "\"pad_token_id\": 0,\n  \"bos_token_id\": 128000,\n"
                                    "  \"eos_token_id\": [\n    128001,\n    128008,\n    128009\n "
                                    " ],\n  \"model_task\": \"chat\",\n"
                                    "  \"embedding_metadata\": null\n}";

// A byte-level tokenizer of 128000 tokens and 256 added ones, two of which are in the vocabulary as well.
static void write_tokenizer(fixture *self) {
    mlcc_str text = {0};
    mlcc_str_puts(
        &text, "{\"normalizer\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"added_tokens\":[");
    for (int i = 0; i < 258; i++)
        mlcc_str_printf(
            &text, "%s{\"id\":%d,\"content\":\"t%d\"}", i > 0 ? "," : "", 127998 + i, 127998 + i);
    mlcc_str_puts(&text, "],\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int i = 0; i < 128000; i++) mlcc_str_printf(&text, "%s\"t%d\":%d", i > 0 ? "," : "", i, i);
    mlcc_str_puts(&text, "}}}");
    fixture_write(self, "tokenizer.json", text.data, text.length);
    mlcc_str_free(&text);
    fixture_write_text(self, "tokenizer_config.json", "{}\n");
}

static char *read_output(fixture *self, const char *name) {
    char *data = NULL;
    size_t size_bytes = 0;
    expect_ok(mlcc_file_read(
        fixture_path(self, mlcc_arena_printf(self->keep, "out/%s", name)), 0, &data, &size_bytes));
    char *text = mlcc_arena_strdup(self->keep, data);
    free(data);
    return text;
}

static artifact_gen_config_options default_options(fixture *self) {
    return (artifact_gen_config_options){.config = self->dir,
                                         .quantization = "q4f16_1",
                                         .conv_template = "llama-3_1",
                                         .output = fixture_path(self, "out")};
}

static size_t count_files(fixture *self, const char *dir) {
    char **names = NULL;
    size_t n_names = 0;
    expect_ok(mlcc_dir_list(dir, self->keep, &names, &n_names));
    return n_names;
}

static void test_whole_file(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", llama_3_1_config);
    fixture_write_text(
        self, "generation_config.json",
        "{\"bos_token_id\":128000,\"do_sample\":true,\"eos_token_id\":[128001,128008,128009],"
        "\"temperature\":0.6,"
        "\"top_p\":0.9,\"transformers_version\":\"4.42.3\"}");
    write_tokenizer(self);
    artifact_gen_config_options options = default_options(self);
    expect_ok(artifact_gen_config(&options, self->keep));

    const char *text = read_output(self, "mlc-chat-config.json");
    size_t head = strlen(expected_head), tail = strlen(expected_tail), length = strlen(text);
    assert_true(length > head + tail);
    assert_string_equal(mlcc_arena_strndup(self->keep, text, head), expected_head);
    assert_string_equal(text + length - tail, expected_tail);
    assert_non_null(strstr(text, "    \"seps\": [\n      \"<|eot_id|>\"\n    ],\n"));
    assert_non_null(strstr(text, "    \"messages\": [],\n"));
    assert_string_equal(read_output(self, "tokenizer_config.json"), "{}\n");
    assert_int_equal(count_files(self, options.output), 3);
    expect_no_warning(self);

    // Again over the old result, and from inside the same directory: the same bytes.
    expect_ok(artifact_gen_config(&options, self->keep));
    assert_string_equal(read_output(self, "mlc-chat-config.json"), text);

    // What was written is what compile reads.
    mlcc_json *json = NULL;
    hf_model_config *config = NULL;
    expect_ok(mlcc_json_read_file(fixture_path(self, "out/mlc-chat-config.json"), 0, &json));
    expect_ok(hf_model_config_from_mlc(mlcc_json_root(json), "out", NULL, self->keep, &config));
    assert_int_equal(config->rope_scaling.kind, HF_ROPE_LLAMA3);
    assert_int_equal(config->max_batch_size, 128);
    hf_model_config_free(config);
    mlcc_json_free(json);
}

static void test_overrides(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", llama_3_1_config);
    artifact_gen_config_options options = default_options(self);
    options.overrides = (hf_config_overrides){.context_window_size = 4096,
                                              .sliding_window_size = 1024,
                                              .attention_sink_size = 4,
                                              .max_batch_size = 2};
    options.has_disaggregation = options.disaggregation = true;
    expect_ok(artifact_gen_config(&options, self->keep));
    const char *text = read_output(self, "mlc-chat-config.json");
    assert_non_null(strstr(
        text, "\n  \"context_window_size\": 4096,\n  \"sliding_window_size\": -1,\n  "
              "\"prefill_chunk_size\": 4096,"));
    assert_non_null(strstr(text, "    \"max_batch_size\": 2,\n    \"disaggregation\": true\n  },"));
    assert_non_null(strstr(text, "\"tokenizer_files\": [],"));
    assert_non_null(strstr(text, "\"active_vocab_size\": 128256,"));
    expect_log(self, "has no sliding_window_size; the override 1024 is ignored");
    expect_log(self, "has no attention_sink_size; the override 4 is ignored");
    expect_log(self, "holds no tokenizer files");
}

static void test_preset(void **state) {
    fixture *self = *state;
    artifact_gen_config_options options = default_options(self);
    options.config = "tinyllama_1b_chat_v1.0";
    options.conv_template = "LM";
    expect_ok(artifact_gen_config(&options, self->keep));
    const char *text = read_output(self, "mlc-chat-config.json");
    assert_non_null(strstr(text, "\"position_embedding_base\": 10000.0,"));
    assert_non_null(
        strstr(text, "\"pad_token_id\": 0,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,"));
    expect_no_warning(self);
}

// Of a recurrent model the configuration alone is written, as MLC LLM does it; the vocabulary stays behind.
static void test_recurrent(void **state) {
    fixture *self = *state;
    artifact_gen_config_options options = default_options(self);
    options.config = "rwkv5_3b";
    options.conv_template = NULL;
    expect_ok(artifact_gen_config(&options, self->keep));
    const char *from_preset = read_output(self, "mlc-chat-config.json");
    static const char expected[] =
        "{\n  \"version\": \"0.1.0\",\n  \"model_type\": \"rwkv5\",\n  \"quantization\": "
        "\"q4f16_1\",\n  \"model_config\": {\n    \"hidden_size\": 2560,\n    "
        "\"intermediate_size\": 8960,\n    \"num_hidden_layers\": 32,\n    \"vocab_size\": "
        "65536,\n    \"model_version\": \"5_2\",\n    \"tensor_parallel_shards\": 1,\n    "
        "\"rescale_every\": 6,\n    \"head_size\": 64,\n    \"layer_norm_epsilon\": 1e-05,\n    "
        "\"context_window_size\": -1,\n    \"prefill_chunk_size\": 4096,\n    \"num_heads\": "
        "40,\n    \"max_batch_size\": 128\n  },\n  \"vocab_size\": 65536,\n  "
        "\"context_window_size\": -1,\n  \"sliding_window_size\": -1,\n  "
        "\"prefill_chunk_size\": 4096,\n  \"attention_sink_size\": -1,\n  "
        "\"tensor_parallel_shards\": 1,\n  \"pipeline_parallel_stages\": 1,\n  "
        "\"active_vocab_size\": 65536,\n";
    assert_memory_equal(from_preset, expected, sizeof expected - 1);
    assert_non_null(strstr(from_preset, "\"name\": \"rwkv_world\""));
    expect_log(self, "model type 'rwkv5' is recurrent");

    fixture_write_text(
        self, "config.json",
        "{\"model_type\":\"rwkv5\",\"model_version\":\"5_2\",\"hidden_size\":2560,"
        "\"intermediate_size\":null,\"num_hidden_layers\":32,\"vocab_size\":65536,"
        "\"rescale_every\":6,\"bos_token_id\":0,\"eos_token_id\":0}");
    fixture_write_text(self, "rwkv_vocab_v20230424.txt", "1 '\\x00' 1\n");
    options.config = self->dir;
    expect_ok(artifact_gen_config(&options, self->keep));
    assert_string_equal(read_output(self, "mlc-chat-config.json"), from_preset);
    assert_int_equal(count_files(self, options.output), 1);
    expect_log(self, "holds 'rwkv_vocab_v20230424.txt'");
}

#define SMALL(type, rest) \
    "{\"model_type\":\"" type "\",\"hidden_size\":64,\"intermediate_size\":128," \
    "\"num_attention_heads\":4,\"num_hidden_layers\":2,\"rms_norm_eps\":1e-06,\"vocab_size\":50," \
    "\"max_position_embeddings\":64,\"hidden_act\":\"silu\"" rest "}"

static hf_model_config *read_output_config(fixture *self) {
    mlcc_json *json = NULL;
    hf_model_config *config = NULL;
    expect_ok(mlcc_json_read_file(fixture_path(self, "out/mlc-chat-config.json"), 0, &json));
    expect_ok(hf_model_config_from_mlc(mlcc_json_root(json), "out", NULL, self->keep, &config));
    mlcc_json_free(json);
    return config;
}

// What a quantized checkpoint changes about the mode is stored for compile; what changes nothing is not.
static void test_quantized_folder(void **state) {
    fixture *self = *state;
    artifact_gen_config_options options = default_options(self);
    options.conv_template = "LM";
    options.quantization = "q4f16_autoawq";
    fixture_write_text(
        self, "config.json",
        SMALL(
            "qwen2", ",\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":"
                     "64,\"version\":\"gemm\",\"zero_point\":true,\"modules_to_not_convert\":["
                     "\"layers.1.mlp.down_proj\",\"lm_head\"]}"));
    expect_ok(artifact_gen_config(&options, self->keep));
    assert_non_null(strstr(
        read_output(self, "mlc-chat-config.json"),
        "\"embedding_metadata\": null,\n  \"quantization_options\": {\n    \"group_size\": 64,\n"
        "    \"modules_to_not_convert\": [\n      \"model.layers.1.mlp.down_proj\"\n    ]\n  "
        "}\n}"));
    hf_model_config *config = read_output_config(self);
    quant_options stored;
    expect_ok(import_quant_options(config, self->keep, &stored));
    assert_int_equal(stored.group_size, 64);
    assert_int_equal(stored.n_float_modules, 1);
    assert_string_equal(stored.float_modules[0], "model.layers.1.mlp.down_proj");
    hf_model_config_free(config);

    // The mode's own group size, and a mode that quantizes nothing: no key.
    static const char *const silent[][2] = {
        {"q4f16_autoawq", "{\"quant_method\":\"awq\",\"group_size\":128}"},
        {"q4f16_1", "{\"quant_method\":\"awq\",\"group_size\":32}"},
        {"q0f16", "{\"quant_method\":\"awq\",\"modules_to_not_convert\":[\"down_proj\"]}"},
        {"q4f16_1", "{\"quant_method\":\"fp8\",\"ignored_layers\":[[\"lm_head\"]]}"},
    };
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        fixture_write_text(
            self, "config.json",
            mlcc_arena_printf(
                self->keep, SMALL("qwen2", ",\"quantization_config\":%s"), silent[i][1]));
        options.quantization = silent[i][0];
        expect_ok(artifact_gen_config(&options, self->keep));
        assert_null(strstr(read_output(self, "mlc-chat-config.json"), "quantization_options"));
    }
    // AutoAWQ's older file beside the config.
    fixture_write_text(self, "config.json", SMALL("mistral", ",\"sliding_window\":32"));
    fixture_write_text(
        self, "quant_config.json",
        "{\"zero_point\":true,\"q_group_size\":32,\"w_bit\":4,\"version\":\"GEMM\"}");
    options.quantization = "q4f16_autoawq";
    expect_ok(artifact_gen_config(&options, self->keep));
    const char *text = read_output(self, "mlc-chat-config.json");
    assert_non_null(strstr(text, "\"quantization_options\": {\n    \"group_size\": 32\n  }\n}"));
    assert_non_null(strstr(
        text, "\n  \"context_window_size\": -1,\n  \"sliding_window_size\": 32,\n  "
              "\"prefill_chunk_size\": 32,\n  \"attention_sink_size\": 4,"));
}

static void test_bad_quantization(void **state) {
    fixture *self = *state;
    artifact_gen_config_options options = default_options(self);
    static const struct {
        const char *object;
        mlcc_code code;
        const char *found, *accepted;
    } cases[] = {
        {"{\"quant_method\":\"gptq\",\"bits\":5}", MLCC_INVALID, "'bits' is 5", "2, 3, 4, 8"},
        {"{\"quant_method\":\"awq\",\"group_size\":0}", MLCC_INVALID, "'group_size' is 0", "-1"},
        {"{\"quant_method\":\"bitsandbytes\"}", MLCC_UNSUPPORTED, "'bitsandbytes'", "awq, gptq"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"ignore\":"
         "[\"re:(?=a)\"]}",
         MLCC_UNSUPPORTED, "'(?=a)'", "accepted are"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_write_text(
            self, "config.json",
            mlcc_arena_printf(
                self->keep, SMALL("llama", ",\"quantization_config\":%s"), cases[i].object));
        expect_error(
            artifact_gen_config(&options, self->keep), cases[i].code, cases[i].found,
            cases[i].accepted, "config.json", NULL);
        assert_false(mlcc_dir_exists(options.output));
    }
}

// Each failure: one message, and no output directory.
static void test_failures_leave_nothing(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", llama_3_1_config);
    artifact_gen_config_options options = default_options(self);
    options.quantization = "q4f16_9";
    expect_error(
        artifact_gen_config(&options, self->keep), MLCC_UNSUPPORTED, "q4f16_9", "q4f16_1", NULL);
    options = default_options(self);
    options.conv_template = "raw";
    expect_error(artifact_gen_config(&options, self->keep), MLCC_UNSUPPORTED, "'raw'", "LM", NULL);
    options = default_options(self);
    options.config = "no_such_model";
    expect_error(
        artifact_gen_config(&options, self->keep), MLCC_INVALID, "'no_such_model'", "presets",
        NULL);
    options = default_options(self);
    fixture_write_text(
        self, "tokenizer.json",
        "{\"model\":{\"vocab\":{}},\"added_tokens\":[{\"content\":\"x\"},{\"content\":\"x\"}]}");
    expect_error(
        artifact_gen_config(&options, self->keep), MLCC_INVALID, "two entries with content 'x'",
        "tokenizer.json", NULL);
    assert_false(mlcc_dir_exists(options.output));
    fixture_write_text(self, "tokenizer.json", "{\"model\":{\"vocab\":{}}}");
    fixture_write_text(self, "generation_config.json", "{\"temperature\":[]}");
    expect_error(
        artifact_gen_config(&options, self->keep), MLCC_INVALID, "'temperature' is []", NULL);
    assert_false(mlcc_dir_exists(options.output));
    fixture_write_text(self, "generation_config.json", "{}");

    // The output is a file.
    fixture_write_text(self, "out", "mine");
    expect_error(artifact_gen_config(&options, self->keep), MLCC_IO, "out", NULL);
    expect_ok(mlcc_file_remove(fixture_path(self, "out")));

    // The config's own name is taken by a folder that cannot be replaced: files of other commands stay, and nothing unfinished does.
    expect_ok(mlcc_dir_make(fixture_path(self, "out/mlc-chat-config.json/full")));
    fixture_write_text(self, "out/params_shard_0.bin", "x");
    expect_error(artifact_gen_config(&options, self->keep), MLCC_IO, "mlc-chat-config.json", NULL);
    assert_true(mlcc_file_exists(fixture_path(self, "out/params_shard_0.bin")));
    char **names = NULL;
    size_t n_names = 0;
    expect_ok(mlcc_dir_list(options.output, self->keep, &names, &n_names));
    for (size_t i = 0; i < n_names; i++) assert_true(names[i][0] != '.');
}

// A disk that is full in the middle of a file, played by a limit on file sizes.
static void test_full_disk(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", llama_3_1_config);
    write_tokenizer(self);
    artifact_gen_config_options options = default_options(self);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 65536, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    mlcc_status *status = artifact_gen_config(&options, self->keep);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    expect_error(status, MLCC_IO, "tokenizer.json", "writing the config to", NULL);
    assert_false(mlcc_dir_exists(options.output));
}

static void test_read_only_output(void **state) {
    fixture *self = *state;
    if (geteuid() == 0) {
        print_message("root writes everywhere: skipped\n");
        skip();
    }
    fixture_write_text(self, "config.json", llama_3_1_config);
    artifact_gen_config_options options = default_options(self);
    expect_ok(mlcc_dir_make(options.output));
    assert_int_equal(chmod(options.output, 0500), 0);
    expect_error(artifact_gen_config(&options, self->keep), MLCC_IO, options.output, NULL);
    assert_int_equal(count_files(self, options.output), 0);
    assert_int_equal(chmod(options.output, 0700), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_whole_file),
        TEST(test_overrides),
        TEST(test_preset),
        TEST(test_recurrent),
        TEST(test_failures_leave_nothing),
        TEST(test_full_disk),
        TEST(test_read_only_output),
        TEST(test_quantized_folder),
        TEST(test_bad_quantization),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
