// conv_templates: the written object has MLC's fields in MLC's order; names are found. What the rows render to: tests/unit/artifact.
#include "frontend/chat/conv_templates.h"
#include "tests/unit/frontend/fixture.h"

static char *written(fixture *self, const char *name) {
    const conv_template *conv = NULL;
    expect_ok(conv_template_find(name, &conv));
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    conv_template_write(conv, &writer);
    char *copy = mlcc_arena_strdup(self->keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return copy;
}

static void test_written(void **state) {
    fixture *self = *state;
    assert_string_equal(
        written(self, "llama-2"),
        "{\"name\": \"llama-2\", \"system_template\": \"[INST] "
        "<<SYS>>\\n{system_message}\\n<</SYS>>\\n\\n\", "
        "\"system_message\": \"You are a helpful, respectful and honest assistant.\", "
        "\"system_prefix_token_ids\": [1], "
        "\"add_role_after_system_message\": false, \"roles\": {\"user\": \"<s>[INST]\", "
        "\"assistant\": \"[/INST]\", "
        "\"tool\": \"[INST]\"}, \"role_templates\": {\"user\": \"{user_message}\", \"assistant\": "
        "\"{assistant_message}\", \"tool\": \"{tool_message}\"}, \"messages\": [], \"seps\": [\" "
        "\", \" </s>\"], "
        "\"role_content_sep\": \" \", \"role_empty_sep\": \" \", \"stop_str\": [\"[INST]\"], "
        "\"stop_token_ids\": [2], "
        "\"strip_reasoning_in_history\": false, \"function_string\": \"\", "
        "\"use_function_calling\": false}");
    assert_non_null(strstr(
        written(self, "chatml"),
        "\"system_prefix_token_ids\": null, \"add_role_after_system_message\": true"));
    assert_non_null(
        strstr(written(self, "LM"), "\"roles\": {\"user\": \"\", \"assistant\": \"\"}, "));
    assert_non_null(strstr(written(self, "LM"), "\"stop_str\": [], \"stop_token_ids\": [2]"));
    assert_non_null(strstr(written(self, "llama-3"), "\"stop_token_ids\": [128001, 128009]"));
    assert_non_null(strstr(
        written(self, "gorilla"),
        "\"role_templates\": {\"user\": \"<<question>> {user_message} <<function>> "
        "{function_string}\", \"assistant\": \"{assistant_message}\", "));
    assert_non_null(strstr(written(self, "qwen3"), "\"strip_reasoning_in_history\": true"));
    assert_non_null(
        strstr(written(self, "llama-3_1"), "\"stop_token_ids\": [128001, 128008, 128009]"));
}

static void test_names(void **state) {
    fixture *self = *state;
    const conv_template *conv = NULL;
    expect_ok(conv_template_find("llama_default", &conv));
    assert_string_equal(conv->name, "llama-2");
    expect_log(self, "warn chat: conversation template 'llama_default'");
    expect_error(
        conv_template_find("chatlm", &conv), MLCC_UNSUPPORTED, "'chatlm'", "did you mean 'chatml'",
        "LM, chatml, chatml_nosystem, aya-23", NULL);
    assert_null(conv);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_written), TEST(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
