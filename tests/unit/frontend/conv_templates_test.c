// conv_templates: every row renders to its check string, and the written object has MLC's fields in MLC's order.
#include "frontend/chat/conv_templates.h"
#include "tests/unit/frontend/fixture.h"

static const char *or_empty(const char *text) {
    return text != NULL ? text : "";
}

// user A, assistant B, user C, then an open assistant turn; prefix ids are not shown. The rule is MLC LLM's, in its simplest form.
static void render(const conv_template *conv, mlcc_str *out) {
    const char *system = conv->system_template != NULL ? conv->system_template : "{system_message}";
    const char *hole = strstr(system, "{system_message}");
    assert_non_null(hole);
    mlcc_str_append(out, system, (size_t)(hole - system));
    mlcc_str_puts(out, or_empty(conv->system_message));
    mlcc_str_puts(out, hole + strlen("{system_message}"));
    bool has_system_text = out->length > 0;
    static const char *const contents[] = {"A", "B", "C"};
    for (int i = 0; i < 3; i++) {
        int role = i % 2;
        if (i > 0 || !conv->no_role_after_system_message || !has_system_text) {
            mlcc_str_puts(out, conv->roles[role]);
            mlcc_str_puts(out, or_empty(conv->role_content_sep));
        }
        mlcc_str_puts(out, contents[i]);
        mlcc_str_puts(out, conv->seps[role == 1 && conv->seps[1] != NULL ? 1 : 0]);
    }
    mlcc_str_puts(out, conv->roles[CONV_ASSISTANT]);
    mlcc_str_puts(out, or_empty(conv->role_empty_sep));
}

#define LLAMA_3_TEXT \
    "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful, respectful and honest " \
    "assistant.<|eot_id|>" \
    "<|start_header_id|>user<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>assistant<|end_" \
    "header_id|>\n\nB" \
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nC<|eot_id|><|start_header_id|>" \
    "assistant<|end_header_id|>\n\n"

static void test_rendered(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"LM", "ABC"},
        {"llama-2", "[INST] <<SYS>>\nYou are a helpful, respectful and honest "
                    "assistant.\n<</SYS>>\n\nA [/INST] B </s><s>[INST] C "
                    "[/INST] "},
        {"llama-3", LLAMA_3_TEXT},
        {"llama-3_1", LLAMA_3_TEXT},
        {"chatml",
         "<|im_start|>system\nA conversation between a user and an LLM-based AI assistant. The "
         "assistant gives helpful "
         "and honest "
         "answers.<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n"
         "<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
        {"tinyllama_v1_0",
         "<|system|>\nYou are a helpful "
         "chatbot.</s><|user|>\nA</s><|assistant|>\nB</s><|user|>\nC</s><|assistant|>\n"},
    };
    size_t n_templates = 0;
    conv_template_table(&n_templates);
    assert_int_equal(n_templates, sizeof cases / sizeof cases[0]);
    for (size_t i = 0; i < n_templates; i++) {
        const conv_template *conv = NULL;
        expect_ok(conv_template_find(cases[i].name, &conv));
        mlcc_str text = {0};
        render(conv, &text);
        assert_string_equal(mlcc_str_text(&text), cases[i].text);
        mlcc_str_free(&text);
    }
}

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
        "LM, llama-2, llama-3", NULL);
    assert_null(conv);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_rendered), TEST(test_written), TEST(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
