// chat_template: --conv-template auto takes the model's own Jinja template from where it lies, else what fits the model type; what it writes makes
// prompts.
#include "dist/artifact/chat_template.h"
#include "dist/artifact/gen_config.h"
#include "runtime/text/conversation.h"
#include "tests/unit/frontend/fixture.h"

#define CONFIG(type) \
    "{\"model_type\":\"" type "\",\"hidden_size\":64,\"intermediate_size\":128," \
    "\"num_attention_heads\":4,\"num_hidden_layers\":2,\"rms_norm_eps\":1e-06,\"vocab_size\":50," \
    "\"max_position_embeddings\":64,\"hidden_act\":\"silu\",\"eos_token_id\":[7,9]}"

static mlcc_status *generate(fixture *self, const char *template_name) {
    artifact_gen_config_options options = {
        .config = self->dir,
        .quantization = "q0f16",
        .conv_template = template_name,
        .output = fixture_path(self, "out")};
    return artifact_gen_config(&options, self->keep);
}

static mlcc_conversation open_output(fixture *self) {
    mlcc_conversation conversation;
    expect_ok(mlcc_conversation_open(fixture_path(self, "out"), self->keep, &conversation));
    return conversation;
}

static void check_prompt(const mlcc_conversation *conversation, const char *expected) {
    static const mlcc_chat_message messages[] = {{.role = "user", .content = {"hi", 2}}};
    char *text;
    size_t length;
    expect_ok(mlcc_conversation_render(
        conversation, (mlcc_text){"be brief", 8}, messages, 1, &text, &length));
    assert_string_equal(text, expected);
    free(text);
}

#define TEMPLATE \
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }};{% endfor " \
    "%}{% if add_generation_prompt %}A{{ eos_token }}{% endif %}"
#define PROMPT "<s><|im_start|>system:be brief;<|im_start|>user:hi;A</s>"
#define TOKENS "\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\",\"special\":true}"

static void check_written(fixture *self, const char *conv_name) {
    mlcc_conversation conversation = open_output(self);
    assert_string_equal(conversation.name, conv_name); // what MLC LLM would use
    assert_non_null(conversation.jinja);
    assert_int_equal(conversation.n_stop_ids, 2);
    assert_int_equal(conversation.stop_ids[1], 9);
    check_prompt(&conversation, PROMPT);
}

static void test_text(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", CONFIG("qwen2"));
    fixture_write_text(
        self, "tokenizer_config.json", "{" TOKENS ",\"chat_template\":\"" TEMPLATE "\"}");
    expect_ok(generate(self, "auto"));
    check_written(self, "qwen2");
}

static void test_list(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", CONFIG("llama"));
    fixture_write_text(
        self, "tokenizer_config.json",
        "{" TOKENS ",\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
        "{\"name\":\"default\",\"template\":\"" TEMPLATE "\"}]}");
    expect_ok(generate(self, NULL));
    check_written(self, "chatml");
}

static void test_file(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", CONFIG("qwen3"));
    fixture_write_text(
        self, "tokenizer_config.json", "{" TOKENS ",\"chat_template\":\"not this\"}");
    fixture_write_text(self, "chat_template.jinja", TEMPLATE);
    expect_ok(generate(self, "auto"));
    check_written(self, "qwen3");
    // a template named by hand wins, and nothing of the other stays in the configuration
    expect_ok(generate(self, "LM"));
    mlcc_conversation conversation = open_output(self);
    assert_null(conversation.jinja);
    check_prompt(&conversation, "be briefhi");
}

static void test_without(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", CONFIG("qwen3"));
    expect_ok(generate(self, "auto"));
    mlcc_conversation conversation = open_output(self);
    assert_string_equal(conversation.name, "qwen3");
    assert_null(conversation.jinja);
    fixture_write_text(self, "config.json", CONFIG("llama")); // could be anything
    expect_error(
        generate(self, "auto"), MLCC_UNSUPPORTED, "no chat template", "'llama'", "--conv-template",
        "chatml", NULL);
}

// A preset has no folder: its own name says which llama it is.
static void test_preset(void **state) {
    fixture *self = *state;
    static const struct {
        const char *preset, *template_name;
    } rows[] = {
        {"tinyllama_1b_chat_v1.0", "tinyllama_v1_0"},
        {"llama3_1_8b", "llama-3_1"},
        {"llama2_7b", "llama-2"},
        {"smollm_135m", "chatml"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        artifact_gen_config_options options = {
            .config = rows[i].preset,
            .quantization = "q0f16",
            .conv_template = "auto",
            .output = fixture_path(self, "out")};
        expect_ok(artifact_gen_config(&options, self->keep));
        assert_string_equal(open_output(self).name, rows[i].template_name);
    }
}

static void test_broken(void **state) {
    fixture *self = *state;
    fixture_write_text(self, "config.json", CONFIG("qwen3"));
    fixture_write_text(self, "chat_template.jinja", "{% if %}");
    expect_ok(generate(self, "auto"));
    expect_log(self, "the model's chat template is not used: the chat template, line 1");
    assert_null(open_output(self).jinja);
    // damage that happens to the model directory later
    fixture_write_text(self, "chat_template.jinja", TEMPLATE);
    expect_ok(generate(self, "auto"));
    fixture_write_text(self, "out/chat_template.jinja", "\n{{ x");
    mlcc_conversation conversation;
    expect_error(
        mlcc_conversation_open(fixture_path(self, "out"), self->keep, &conversation), MLCC_INVALID,
        "chat_template.jinja", "line 2", NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_text),    TEST(test_list),   TEST(test_file),
                                       TEST(test_without), TEST(test_preset), TEST(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
