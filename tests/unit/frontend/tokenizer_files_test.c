// tokenizer_files and generation_config: what a folder's small files say.
#include "frontend/hf/generation_config.h"
#include "frontend/hf/tokenizer_files.h"
#include "tests/unit/frontend/fixture.h"

static mlcc_status *find(fixture *self, const char *tokenizer_json, hf_tokenizer_files *out) {
    fixture_write_text(self, "tokenizer.json", tokenizer_json);
    return hf_tokenizer_files_find(self->dir, self->keep, out);
}

static void test_copy_order(void **state) {
    fixture *self = *state;
    static const char *const names[] = {
        "tokenizer_config.json", "merges.txt",        "vocab.json",
        "tokenizer.model",       "added_tokens.json", "special_tokens_map.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        fixture_write_text(self, names[i], "{}");
    hf_tokenizer_files files;
    expect_ok(find(self, "{\"model\":{\"vocab\":{}}}", &files));
    static const char *const expected[] = {"tokenizer.model",   "tokenizer.json",
                                           "vocab.json",        "merges.txt",
                                           "added_tokens.json", "tokenizer_config.json"};
    assert_int_equal(files.n_names, 6);
    for (size_t i = 0; i < 6; i++) assert_string_equal(files.names[i], expected[i]);
    expect_no_warning(self);
}

static void test_info(void **state) {
    fixture *self = *state;
    hf_tokenizer_files files;
    expect_ok(find(
        self,
        "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
        "\"\xe2\x96\x81\"},"
        "{\"type\":\"Replace\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
        "\"Replace\"},"
        "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
        "\",\"start\":1,\"stop\":0}]},"
        "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\"},{\"id\":3,\"content\":\"<pad>\"}],"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2}}}",
        &files));
    assert_string_equal(files.info.token_postproc_method, "byte_fallback");
    assert_true(files.info.prepend_space_in_encode);
    assert_true(files.info.strip_space_in_decode);
    assert_int_equal(files.active_vocab, 4);

    expect_ok(find(
        self,
        "{\"decoder\":{\"type\":\"ByteLevel\"},\"normalizer\":null,\"added_tokens\":[],\"model\":{"
        "\"type\":\"Unigram\","
        "\"vocab\":[[\"a\",-1.5],[\"b\",-2.0],[\"a\",-3]]}}",
        &files));
    assert_string_equal(files.info.token_postproc_method, "byte_level");
    assert_false(files.info.prepend_space_in_encode);
    assert_false(files.info.strip_space_in_decode);
    assert_int_equal(files.active_vocab, 2);

    // Not quite the patterns: another prefix, two spaces stripped.
    expect_ok(find(
        self,
        "{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"_\"},\"decoder\":{\"type\":\"Strip\","
        "\"content\":\" \","
        "\"start\":2,\"stop\":0},\"model\":{\"vocab\":{}}}",
        &files));
    assert_string_equal(files.info.token_postproc_method, "byte_fallback");
    assert_false(files.info.prepend_space_in_encode);
    assert_false(files.info.strip_space_in_decode);
}

static void test_bad_tokenizers(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{", "tokenizer.json"},
        {"[]", "expected an object"},
        {"{}", "model"},
        {"{\"model\":{}}", "model.vocab is"},
        {"{\"model\":{\"vocab\":[3]}}", "entry 0 of model.vocab"},
        {"{\"model\":{\"vocab\":{}},\"added_tokens\":{}}", "added_tokens"},
        {"{\"model\":{\"vocab\":{}},\"added_tokens\":[{}]}", "entry 0 of added_tokens"},
        {"{\"model\":{\"vocab\":{}},\"added_tokens\":[{\"content\":\"<s>\"},{\"content\":\"<s>\"}]"
         "}",
         "'<s>'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_tokenizer_files files;
        expect_error(
            find(self, cases[i].text, &files), MLCC_INVALID, cases[i].message, "tokenizer.json",
            NULL);
    }
}

static void test_no_tokenizer_json(void **state) {
    fixture *self = *state;
    hf_tokenizer_files files;
    expect_ok(hf_tokenizer_files_find(self->dir, self->keep, &files));
    assert_int_equal(files.n_names, 0);
    assert_string_equal(files.info.token_postproc_method, "byte_fallback");
    expect_log(self, "holds no tokenizer files");
    fixture_write_text(self, "merges.txt", "");
    expect_ok(hf_tokenizer_files_find(self->dir, self->keep, &files));
    expect_log(self, "holds 'merges.txt' but no tokenizer.json");
    fixture_write_text(self, "qwen.tiktoken", "");
    expect_ok(hf_tokenizer_files_find(self->dir, self->keep, &files));
    fixture_write_text(self, "tokenizer.model", "");
    expect_ok(hf_tokenizer_files_find(self->dir, self->keep, &files));
    assert_int_equal(files.n_names, 3);
    assert_string_equal(files.names[0], "tokenizer.model");
    assert_string_equal(files.names[2], "qwen.tiktoken");
    assert_false(files.has_tokenizer_json);
}

// RWKV's own vocabulary is said to be left behind, whatever lies beside it; where there is a file that is read, nothing is said.
static void test_rwkv_vocabulary(void **state) {
    fixture *self = *state;
    hf_tokenizer_files files;
    fixture_write_text(self, "rwkv_vocab_v20230424.txt", "1 '\\x00' 1\n");
    fixture_write_text(self, "tokenizer_config.json", "{}");
    expect_ok(hf_tokenizer_files_find(self->dir, self->keep, &files));
    assert_int_equal(files.n_names, 1);
    assert_string_equal(files.names[0], "tokenizer_config.json");
    assert_int_equal(files.active_vocab, 0);
    expect_log(self, "holds 'rwkv_vocab_v20230424.txt', which mlcc neither reads nor copies");
    mlcc_str_clear(&self->log);
    fixture_write_text(self, "tokenizer.model", "");
    expect_ok(hf_tokenizer_files_find(self->dir, self->keep, &files));
    assert_int_equal(files.n_names, 2);
    expect_no_warning(self);
}

// Facts of real tokenizers: vocabulary sizes as Hugging Face's len(tokenizer) gives them.
static void test_real_tokenizers(void **state) {
    fixture *self = *state;
    hf_tokenizer_files files;
    expect_ok(
        hf_tokenizer_files_find(fixture_data(self, "models/stories260K"), self->keep, &files));
    assert_int_equal(files.active_vocab, 512);
    assert_string_equal(files.info.token_postproc_method, "byte_fallback");
    assert_int_equal(files.n_names, 2);
    expect_no_warning(self);
}

static char *generation_text(fixture *self, const char *model_config) {
    mlcc_json *json = NULL;
    expect_ok(mlcc_json_parse(model_config, strlen(model_config), "config.json", 0, &json));
    hf_generation_config config;
    expect_ok(hf_generation_config_read(self->dir, mlcc_json_root(json), self->keep, &config));
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    mlcc_json_begin_object(&writer);
    hf_generation_config_write(&config, HF_TEMPERATURE, HF_EOS_TOKEN_ID, &writer);
    mlcc_json_end(&writer);
    char *copy = mlcc_arena_strdup(self->keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    hf_generation_config_free(&config);
    mlcc_json_free(json);
    return copy;
}

static void test_generation_config(void **state) {
    fixture *self = *state;
    assert_string_equal(
        generation_text(self, "{}"),
        "{\"temperature\": 1.0, \"presence_penalty\": 0.0, \"frequency_penalty\": 0.0, "
        "\"repetition_penalty\": 1.0, "
        "\"top_p\": 1.0, \"pad_token_id\": 0, \"bos_token_id\": 1, \"eos_token_id\": 2}");
    fixture_write_text(
        self, "generation_config.json",
        "{\"temperature\":0.6,\"top_p\":null,\"eos_token_id\":[7,8],\"top_k\":50,\"repetition_"
        "penalty\":2}");
    assert_string_equal(
        generation_text(
            self, "{\"temperature\":0.1,\"top_p\":0.9,\"bos_token_id\":5,\"pad_token_id\":null}"),
        "{\"temperature\": 0.6, \"presence_penalty\": 0.0, \"frequency_penalty\": 0.0, "
        "\"repetition_penalty\": 2, "
        "\"top_p\": 0.9, \"pad_token_id\": 0, \"bos_token_id\": 5, \"eos_token_id\": [7, 8]}");
    expect_log(self, "info config:");
    expect_log(self, "top_k");
    expect_no_warning(self);
}

static void test_bad_generation_config(void **state) {
    fixture *self = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "expected an object"},
        {"{\"temperature\":\"hot\"}", "'temperature' is \"hot\""},
        {"{\"temperature\":-1}", "'temperature' is -1"},
        {"{\"top_p\":1.5}", "a number from 0 to 1"},
        {"{\"bos_token_id\":1.0}", "'bos_token_id' is 1.0"},
        {"{\"bos_token_id\":[1]}", "'bos_token_id' is [1]"},
        {"{\"eos_token_id\":[]}", "'eos_token_id' is []"},
        {"{\"eos_token_id\":[1,\"x\"]}", "a token id or a list"},
        {"{\"pad_token_id\":4294967296}", "'pad_token_id' is 4294967296"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_generation_config config;
        fixture_write_text(self, "generation_config.json", cases[i].text);
        expect_error(
            hf_generation_config_read(self->dir, NULL, self->keep, &config), MLCC_INVALID,
            cases[i].message, "generation_config.json", NULL);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_copy_order),        TEST(test_info),
        TEST(test_bad_tokenizers),    TEST(test_no_tokenizer_json),
        TEST(test_rwkv_vocabulary),   TEST(test_real_tokenizers),
        TEST(test_generation_config), TEST(test_bad_generation_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
