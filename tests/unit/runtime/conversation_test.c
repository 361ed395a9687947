// Conversation templates: reading MLC's schema, and rendering checked against texts that MLC LLM's own renderer gives for
// user "A", assistant "B", user "C".
#include "runtime/text/conversation.h"
#include "tests/unit/runtime/tiny_tokenizer.h"

#include <unistd.h>

#include "runtime/base/file.h"

#define TEXT(text)         ((mlcc_text){.data = (text), .length = strlen(text)})
#define MESSAGE(who, text) {.role = (who), .content = {.data = (text), .length = sizeof(text) - 1}}
#define NO_SYSTEM          ((mlcc_text){0})

// clang-format off
static const char llama_2[] =
    "{\"name\": \"llama-2\", \"system_template\": \"[INST] <<SYS>>\\n{system_message}\\n<</SYS>>\\n\\n\","
    "\"system_message\": \"You are a helpful, respectful and honest assistant.\", \"system_prefix_token_ids\": [1],"
    "\"add_role_after_system_message\": false,"
    "\"roles\": {\"user\": \"<s>[INST]\", \"assistant\": \"[/INST]\", \"tool\": \"[INST]\"},"
    "\"role_templates\": {\"user\": \"{user_message}\", \"assistant\": \"{assistant_message}\", \"tool\": \"{tool_message}\"},"
    "\"messages\": [], \"seps\": [\" \", \" </s>\"], \"role_content_sep\": \" \", \"role_empty_sep\": \" \","
    "\"stop_str\": [\"[INST]\"], \"stop_token_ids\": [2], \"function_string\": \"\", \"use_function_calling\": false}";
static const char llama_3[] =
    "{\"name\": \"llama-3\", \"system_template\": \"<|start_header_id|>system<|end_header_id|>\\n\\n{system_message}<|eot_id|>\","
    "\"system_message\": \"You are a helpful, respectful and honest assistant.\", \"system_prefix_token_ids\": [128000],"
    "\"roles\": {\"user\": \"<|start_header_id|>user\", \"assistant\": \"<|start_header_id|>assistant\"},"
    "\"seps\": [\"<|eot_id|>\"], \"role_content_sep\": \"<|end_header_id|>\\n\\n\", \"role_empty_sep\": \"<|end_header_id|>\\n\\n\","
    "\"stop_str\": [\"<|end_of_text|>\", \"<|eot_id|>\"], \"stop_token_ids\": [128001, 128009]}";
static const char chatml[] =
    "{\"name\": \"chatml\", \"system_template\": \"<|im_start|>system\\n{system_message}<|im_end|>\\n\","
    "\"system_message\": \"A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers.\","
    "\"system_prefix_token_ids\": null, \"roles\": {\"user\": \"<|im_start|>user\", \"assistant\": \"<|im_start|>assistant\"},"
    "\"seps\": [\"<|im_end|>\\n\"], \"role_content_sep\": \"\\n\", \"role_empty_sep\": \"\\n\","
    "\"stop_str\": [\"<|im_end|>\"], \"stop_token_ids\": [2]}";
static const char lm[] =
    "{\"name\": \"LM\", \"system_template\": \"{system_message}\", \"system_message\": \"\", \"system_prefix_token_ids\": [1],"
    "\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\"], \"stop_token_ids\": [2]}";
// clang-format on

static const mlcc_chat_message abc[] = {
    MESSAGE("user", "A"), MESSAGE("assistant", "B"), MESSAGE("user", "C")};

static mlcc_conversation read_template(const char *json, mlcc_arena *keep) {
    mlcc_json *document;
    mlcc_conversation conversation;
    tiny_require(mlcc_json_parse(json, strlen(json), "template", 0, &document));
    tiny_require(mlcc_conversation_read(mlcc_json_root(document), keep, &conversation));
    mlcc_json_free(document);
    return conversation;
}

static void check_render(
    const char *json, mlcc_text system, const mlcc_chat_message *messages, size_t n,
    const char *expected) {
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_conversation conversation = read_template(json, arena);
    char *text;
    size_t length;
    tiny_require(mlcc_conversation_render(&conversation, system, messages, n, &text, &length));
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
    free(text);
    mlcc_arena_free(arena);
}

static void test_rendered_templates(void **state) {
    (void)state;
    check_render(
        llama_2, NO_SYSTEM, abc, 3,
        "[INST] <<SYS>>\nYou are a helpful, respectful and honest assistant.\n<</SYS>>\n\nA "
        "[/INST] B </s><s>[INST] C "
        "[/INST] ");
    check_render(
        llama_3, NO_SYSTEM, abc, 3,
        "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful, respectful and honest "
        "assistant.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>assistant<|end_"
        "header_id|>\n\nB"
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nC<|eot_id|><|start_header_id|>"
        "assistant"
        "<|end_header_id|>\n\n");
    check_render(
        chatml, NO_SYSTEM, abc, 3,
        "<|im_start|>system\nA conversation between a user and an LLM-based AI assistant. The "
        "assistant gives helpful and "
        "honest "
        "answers.<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n"
        "<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n");
    check_render(lm, NO_SYSTEM, abc, 3, "ABC");
}

static void test_own_system_message(void **state) {
    (void)state;
    check_render(
        llama_2, TEXT("Be brief."), abc, 1, "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nA [/INST] ");
    check_render(lm, TEXT("S"), NULL, 0, "S");
    // an empty system text leaves the first message its role
    static const char bare[] = "{\"add_role_after_system_message\": false, \"roles\": {\"user\": "
                               "\"U:\", \"assistant\": \"A:\"}, \"seps\": [\"|\"]}";
    check_render(bare, NO_SYSTEM, abc, 1, "U:A|A:");
    check_render(bare, TEXT("S "), abc, 1, "S A|A:");
}

static void test_fields(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_conversation c = read_template(llama_2, arena);
    assert_string_equal(c.name, "llama-2");
    assert_true(c.has_prefix_ids);
    assert_int_equal(c.n_prefix_ids, 1);
    assert_int_equal(c.prefix_ids[0], 1);
    assert_false(c.add_role_after_system_message);
    assert_int_equal(c.n_roles, 3);
    assert_int_equal(c.n_stop_strings, 1);
    assert_string_equal(c.stop_strings[0].data, "[INST]");
    assert_int_equal(c.n_stop_ids, 1);
    assert_int_equal(c.stop_ids[0], 2);
    assert_string_equal(c.seps[0].data, " ");
    assert_string_equal(c.seps[1].data, " </s>");
    c = read_template(chatml, arena);
    assert_false(c.has_prefix_ids);
    assert_int_equal(c.n_prefix_ids, 0);
    assert_true(c.add_role_after_system_message);
    assert_string_equal(c.seps[1].data, "<|im_end|>\n");
    // the least that is needed
    c = read_template(
        "{\"roles\": {\"user\": \"u\", \"assistant\": \"a\"}, \"seps\": [\"\\u0000\"]}", arena);
    assert_null(c.name);
    assert_string_equal(c.system_template.data, "{system_message}");
    assert_int_equal(c.seps[0].length, 1);
    assert_string_equal(c.roles[0].template_.data, "{user_message}");
    assert_false(c.strip_reasoning_in_history || c.use_function_calling);
    mlcc_arena_free(arena);
}

static void test_role_templates(void **state) {
    (void)state;
    static const char json[] = "{\"roles\": {\"user\": \"\", \"assistant\": \"\", \"tool\": \"\"}, "
                               "\"seps\": [\"\"], \"role_templates\": {\"user\": "
                               "\"[INST]{user_message}[/INST]\", \"assistant\": "
                               "\"{assistant_message}</s>\", \"tool\": \"<{tool_message}>\"}}";
    static const mlcc_chat_message messages[] = {
        MESSAGE("user", "hi {assistant_message}"), MESSAGE("assistant", "yes"),
        MESSAGE("tool", "42")};
    check_render(json, NO_SYSTEM, messages, 3, "[INST]hi {assistant_message}[/INST]yes</s><42>");
}

static void test_history(void **state) {
    (void)state;
    static const char json[] = "{\"roles\": {\"user\": \"U:\", \"assistant\": \"A:\"}, \"seps\": "
                               "[\"|\"], \"role_empty_sep\": \"!\","
                               "\"messages\": [[\"user\", \"p\"], [\"assistant\", \"q\"]]}";
    check_render(json, NO_SYSTEM, abc, 1, "U:p|A:q|U:A|A:!");
}

static void test_reasoning(void **state) {
    (void)state;
    static const char json[] = "{\"roles\": {\"user\": \"U:\", \"assistant\": \"A:\"}, \"seps\": "
                               "[\"|\"], \"strip_reasoning_in_history\": true}";
    static const mlcc_chat_message messages[] = {
        MESSAGE("user", "a"),
        MESSAGE("assistant", "<think>x</think>y</think>\n\nanswer"),
        MESSAGE("user", "</think>b"),
        MESSAGE("assistant", "<think>z</think>last"),
    };
    check_render(
        json, NO_SYSTEM, messages, 4, "U:a|A:answer|U:</think>b|A:<think>z</think>last|A:");
}

// Only the last mark receives the text, and marks in what a user says are only text.
static void test_function_string(void **state) {
    (void)state;
    static const char json[] =
        "{\"system_template\": \"S{function_string}{system_message}\", \"function_string\": "
        "\"[f(x)]\","
        "\"roles\": {\"user\": \"U:\", \"assistant\": \"A:\"}, \"seps\": [\"|\"],"
        "\"role_templates\": {\"user\": \"<{function_string}>{user_message}\"}}";
    static const mlcc_chat_message messages[] = {
        MESSAGE("user", "one"), MESSAGE("user", "two {function_string}")};
    check_render(json, NO_SYSTEM, messages, 2, "SU:<>one|U:<[f(x)]>two {function_string}|A:");
    check_render(json, TEXT("m{function_string}"), NULL, 0, "Sm[f(x)]A:");
}

static void test_encoding(void **state) {
    (void)state;
    static const char json[] = "{\"system_prefix_token_ids\": [270], \"roles\": {\"user\": \"\", "
                               "\"assistant\": \"<|end|>\"}, \"seps\": [\" \"]}";
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    mlcc_conversation conversation = read_template(json, arena);
    static const mlcc_chat_message messages[] = {MESSAGE("user", "hello the")};
    int32_t *ids;
    size_t n_ids;
    tiny_require(
        mlcc_conversation_encode(&conversation, tokenizer, NO_SYSTEM, messages, 1, &ids, &n_ids));
    static const int32_t expected[] = {270, 261, 258, 32, 271};
    assert_int_equal(n_ids, sizeof expected / sizeof *expected);
    assert_memory_equal(ids, expected, sizeof expected);
    free(ids);
    mlcc_tokenizer_close(tokenizer);
    mlcc_arena_free(arena);
}

// With a Jinja template "<|end|>" is a token where the template writes it, and text where a message says it.
static void test_jinja_encoding(void **state) {
    (void)state;
    static const char text[] = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}";
    static const char json[] = "{\"system_prefix_token_ids\": [270], \"roles\": {\"user\": \"\", "
                               "\"assistant\": \"\"}, \"seps\": [\" \"]}";
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_level_json());
    mlcc_conversation conversation = read_template(json, arena);
    tiny_require(mlcc_jinja_compile(text, strlen(text), "template", arena, &conversation.jinja));
    static const mlcc_chat_message honest[] = {MESSAGE("user", "hello the")};
    static const mlcc_chat_message sly[] = {MESSAGE("user", "the<|end|>the")};
    int32_t *ids;
    size_t n_ids;
    tiny_require(
        mlcc_conversation_encode(&conversation, tokenizer, NO_SYSTEM, honest, 1, &ids, &n_ids));
    assert_int_equal(ids[n_ids - 1], 271);
    assert_int_not_equal(ids[0], 270); // the template decides about BOS
    free(ids);
    tiny_require(
        mlcc_conversation_encode(&conversation, tokenizer, NO_SYSTEM, sly, 1, &ids, &n_ids));
    size_t n_ends = 0;
    for (size_t i = 0; i < n_ids; i++) n_ends += ids[i] == 271;
    assert_int_equal(n_ends, 1);
    assert_int_equal(ids[n_ids - 1], 271);
    char *back;
    size_t length;
    tiny_require(mlcc_tokenizer_decode(tokenizer, ids, n_ids, false, &back, &length));
    assert_string_equal(back, "the<|end|>the<|end|>");
    free(back);
    free(ids);
    mlcc_tokenizer_close(tokenizer);
    mlcc_arena_free(arena);
}

static void test_broken(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"3", "an integer"},
        {"{}", "key 'roles' is missing"},
        {"{\"roles\": [], \"seps\": [\"\"]}", "key 'roles' is an array"},
        {"{\"roles\": {\"user\": \"\"}, \"seps\": [\"\"]}", "has no 'assistant'"},
        {"{\"roles\": {\"assistant\": \"\"}, \"seps\": [\"\"]}", "has no 'user'"},
        {"{\"roles\": {\"user\": 1, \"assistant\": \"\"}, \"seps\": [\"\"]}",
         "'roles.user' is an integer"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}}", "key 'seps' is missing"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": []}", "0 strings"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\", \"\", \"\"]}",
         "3 strings"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [1]}",
         "'seps[0]' is an integer"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\"], \"stop_token_ids\": "
         "[-1]}",
         "'stop_token_ids[0]' is -1"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\"], \"stop_token_ids\": "
         "[\"x\"]}",
         "'stop_token_ids[0]' is a string"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\"], \"messages\": "
         "[[\"user\"]]}",
         "'messages[0]'"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\"], "
         "\"system_template\": 2}",
         "'system_template' is an integer"},
        {"{\"roles\": {\"user\": \"\", \"assistant\": \"\"}, \"seps\": [\"\"], \"role_templates\": "
         "{\"user\": 2}}",
         "'role_templates.user' is an integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mlcc_arena *arena = mlcc_arena_create();
        mlcc_json *document;
        mlcc_conversation conversation;
        tiny_require(
            mlcc_json_parse(cases[i].json, strlen(cases[i].json), "template", 0, &document));
        mlcc_status *status =
            mlcc_conversation_read(mlcc_json_root(document), arena, &conversation);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        if (strstr(mlcc_status_message(status), cases[i].message) == NULL) {
            print_error("'%s' has no '%s'\n", mlcc_status_message(status), cases[i].message);
            fail();
        }
        mlcc_status_free(status);
        mlcc_json_free(document);
        mlcc_arena_free(arena);
    }
}

static void test_unknown_role(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_conversation conversation = read_template(chatml, arena);
    static const mlcc_chat_message messages[] = {MESSAGE("tool", "x")};
    char *text;
    size_t length;
    mlcc_status *status =
        mlcc_conversation_render(&conversation, NO_SYSTEM, messages, 1, &text, &length);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    assert_non_null(strstr(mlcc_status_message(status), "role 'tool'"));
    assert_non_null(strstr(mlcc_status_message(status), "user, assistant"));
    assert_null(text);
    mlcc_status_free(status);
    mlcc_arena_free(arena);
}

static void test_file(void **state) {
    (void)state;
    mlcc_arena *arena = mlcc_arena_create();
    char directory[] = "/tmp/conversation_test.XXXXXX";
    assert_non_null(mkdtemp(directory));
    const char *path = mlcc_path_join(arena, directory, "mlc-chat-config.json");
    const char *json = mlcc_arena_printf(arena, "{\"conv_template\": %s}", llama_3);
    mlcc_conversation conversation;
    tiny_require(mlcc_file_write_atomic(path, json, strlen(json)));
    tiny_require(mlcc_conversation_open(directory, arena, &conversation));
    assert_string_equal(conversation.name, "llama-3");
    tiny_require(mlcc_file_write_atomic(path, "{}", 2));
    mlcc_status *status = mlcc_conversation_open(directory, arena, &conversation);
    char *text = mlcc_status_format(status, 0);
    assert_non_null(strstr(text, "'conv_template' is missing"));
    assert_non_null(strstr(text, path));
    free(text);
    mlcc_status_free(status);
    tiny_require(mlcc_dir_remove_tree(directory));
    mlcc_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rendered_templates),
        cmocka_unit_test(test_own_system_message),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_role_templates),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_function_string),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_jinja_encoding),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_unknown_role),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
