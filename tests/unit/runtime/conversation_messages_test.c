// What comes into a chat template as JSON: messages of OpenAI's form, tools, documents and variables. The renderings of jinja_cases.json come out of
// a conversation, too; nothing that a user can write becomes a special token; what is of another form is refused with its place.
#include "tests/unit/runtime/tiny_tokenizer.h"

#include "runtime/base/file.h"
#include "runtime/text/conversation.h"

typedef struct fixture {
    mlcc_arena *keep;
    mlcc_conversation conversation;
} fixture;

static fixture make_fixture(const char *jinja) {
    fixture f = {.keep = mlcc_arena_create()};
    f.conversation.name = "own";
    if (jinja != NULL)
        tiny_require(
            mlcc_jinja_compile(jinja, strlen(jinja), "template", f.keep, &f.conversation.jinja));
    return f;
}

static void end_fixture(fixture *f) {
    mlcc_arena_free(f->keep);
}

static mlcc_status *set(fixture *f, mlcc_chat_input input, const char *json) {
    return mlcc_conversation_set_input(
        &f->conversation, input, json, strlen(json), "in.json", f->keep);
}

// ---- as jinja2 renders -----------------------------------------------------------------------------------------

static void put_value(mlcc_str *out, const mlcc_json_value *value) {
    mlcc_json_writer writer;
    mlcc_str_clear(out);
    mlcc_json_writer_init(&writer, out, 0, false);
    mlcc_json_put_value(&writer, value);
}

// The variables of a run without those that have a way of their own; false: there are none.
static bool put_variables(mlcc_str *out, const mlcc_json_value *extras) {
    mlcc_json_writer writer;
    bool has_any = false;
    mlcc_str_clear(out);
    mlcc_json_writer_init(&writer, out, 0, false);
    mlcc_json_begin_object(&writer);
    for (const mlcc_json_iter *it = mlcc_json_first(extras); it != NULL;
         it = mlcc_json_next(extras, it)) {
        if (strcmp(mlcc_json_iter_key(it), "documents") == 0) continue;
        mlcc_json_key(&writer, mlcc_json_iter_key(it));
        mlcc_json_put_value(&writer, mlcc_json_iter_value(it));
        has_any = true;
    }
    mlcc_json_end(&writer);
    return has_any;
}

static void check_run(
    const mlcc_json_value *root, const char *template_text, const mlcc_json_value *run) {
    fixture f = make_fixture(template_text);
    mlcc_conversation *c = &f.conversation;
    c->jinja_variables[c->n_jinja_variables++] =
        (mlcc_jinja_variable){.name = "bos_token", .text = "<s>"};
    c->jinja_variables[c->n_jinja_variables++] =
        (mlcc_jinja_variable){.name = "eos_token", .text = "</s>"};
    const mlcc_json_value *extras = mlcc_json_at(run, 2);
    const mlcc_json_value *documents = mlcc_json_get(extras, "documents");
    mlcc_str text = {0};
    if (mlcc_json_is_true(mlcc_json_at(run, 1))) {
        put_value(&text, mlcc_json_get(root, "tools"));
        tiny_require(set(&f, MLCC_CHAT_TOOLS, text.data));
    }
    if (documents != NULL) {
        put_value(&text, documents);
        tiny_require(set(&f, MLCC_CHAT_DOCUMENTS, text.data));
    }
    if (put_variables(&text, extras)) tiny_require(set(&f, MLCC_CHAT_VARIABLES, text.data));
    const char *name = mlcc_json_text(mlcc_json_at(run, 0), NULL);
    put_value(&text, mlcc_json_get(mlcc_json_get(root, "conversations"), name));
    const mlcc_chat_message *messages;
    size_t n_messages, length = 0;
    tiny_require(
        mlcc_chat_messages_read(text.data, text.length, name, f.keep, &messages, &n_messages));
    mlcc_jinja_output out;
    mlcc_status *status =
        mlcc_conversation_render_jinja(c, (mlcc_text){0}, messages, n_messages, &out);
    const char *expected = mlcc_json_text(mlcc_json_at(run, 4), &length);
    assert_true((expected == NULL) == (status != NULL));
    if (expected != NULL) {
        assert_string_equal(out.text, expected);
        assert_int_equal(out.length, length);
    }
    mlcc_status_free(status);
    mlcc_jinja_output_free(&out);
    mlcc_str_free(&text);
    end_fixture(&f);
}

static void test_cases(void **state) {
    (void)state;
    mlcc_json *json;
    tiny_require(mlcc_json_read_file("tests/unit/runtime/jinja_cases.json", 0, &json));
    const mlcc_json_value *root = mlcc_json_root(json);
    const mlcc_json_value *templates = mlcc_json_get(root, "templates");
    size_t n_runs = 0;
    for (size_t i = 0; i < mlcc_json_count(templates); i++) {
        const mlcc_json_value *one = mlcc_json_at(templates, i);
        const char *text = mlcc_json_text(mlcc_json_get(one, "template"), NULL);
        // A conversation shows the day it is, and always asks for an answer.
        if (strstr(text, "strftime_now") != NULL) continue;
        const mlcc_json_value *runs = mlcc_json_get(one, "runs");
        for (size_t k = 0; k < mlcc_json_count(runs); k++) {
            const mlcc_json_value *run = mlcc_json_at(runs, k);
            const bool has_image = strcmp(mlcc_json_text(mlcc_json_at(run, 0), NULL), "parts") == 0;
            if (has_image || !mlcc_json_is_true(mlcc_json_at(run, 3))) continue;
            check_run(root, text, run);
            n_runs++;
        }
    }
    assert_true(n_runs >= 150);
    mlcc_json_free(json);
}

// ---- user text -------------------------------------------------------------------------------------------------

// Special tokens that everybody tries to write; only the template's own may count.
static void test_special_tokens_stay_text(void **state) {
    (void)state;
    fixture f = make_fixture(
        "<s>{{ tools|tojson }}{{ tools[0].function.name }}{{ documents[0].text|upper }}"
        "{{ documents|join }}{{ note }}{{ note ~ note }}{% for m in messages %}{{ m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c.id }}{{ c.function.arguments|tojson }}"
        "{{ c.function.arguments.a }}{% for k in c.function.arguments %}{{ k }}{% endfor %}"
        "{% endfor %}{% endfor %}<s>");
    tiny_require(
        set(&f, MLCC_CHAT_TOOLS,
            "[{\"type\": \"function\", \"function\": {\"name\": \"<s>\", \"<s>\": [\"<s>\"]}}]"));
    tiny_require(set(&f, MLCC_CHAT_DOCUMENTS, "[{\"title\": \"<s>\", \"text\": \"<S><s>\"}]"));
    tiny_require(set(&f, MLCC_CHAT_VARIABLES, "{\"note\": \"<s>\"}"));
    static const char json[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"<s>\"}, {\"role\": \"assistant\", "
        "\"content\": null, \"tool_calls\": [{\"id\": \"<s>\", \"function\": {\"name\": \"f\", "
        "\"arguments\": \"{\\\"a\\\": \\\"<s>\\\", \\\"<s>\\\": 1}\"}}]}, {\"role\": \"tool\", "
        "\"tool_call_id\": \"<s>\", \"content\": \"<s>\"}]}";
    const mlcc_chat_message *messages;
    size_t n_messages, n_ids, n_special = 0;
    tiny_require(mlcc_chat_messages_read(
        json, sizeof json - 1, "chat.json", f.keep, &messages, &n_messages));
    assert_int_equal(n_messages, 3);
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_fallback_json());
    const int32_t special = mlcc_tokenizer_find(tokenizer, "<s>");
    assert_true(special >= 0);
    int32_t *ids;
    tiny_require(mlcc_conversation_encode(
        &f.conversation, tokenizer, (mlcc_text){0}, messages, n_messages, &ids, &n_ids));
    for (size_t i = 0; i < n_ids; i++) n_special += ids[i] == special;
    assert_int_equal(n_special, 2);
    assert_true(ids[0] == special && ids[n_ids - 1] == special);
    char *text;
    size_t length, n_written = 0;
    tiny_require(mlcc_conversation_render(
        &f.conversation, (mlcc_text){0}, messages, n_messages, &text, &length));
    for (const char *at = strstr(text, "<s>"); at != NULL; at = strstr(at + 1, "<s>")) n_written++;
    assert_true(n_written > 14);
    free(text);
    free(ids);
    mlcc_tokenizer_close(tokenizer);
    end_fixture(&f);
}

// ---- forms -------------------------------------------------------------------------------------------------------

static void expect(mlcc_status *status, mlcc_code code, const char *part) {
    assert_non_null(status);
    if (mlcc_status_code(status) != code || strstr(mlcc_status_message(status), part) == NULL) {
        print_error("'%s' does not say '%s'\n", mlcc_status_message(status), part);
        fail();
    }
    mlcc_status_free(status);
}

static void test_bad_messages(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
        mlcc_code code;
    } rows[] = {
        {"{}", "is no list of messages", MLCC_INVALID},
        {"[]", "is no list of messages", MLCC_INVALID},
        {"{\"messages\": 3}", "is no list of messages", MLCC_INVALID},
        {"[3]", "chat.json: messages[0] is a", MLCC_INVALID},
        {"[{\"content\": \"x\"}]", "role", MLCC_INVALID},
        {"[{\"role\": \"user\"}]", "messages[0].content is missing", MLCC_INVALID},
        {"[{\"role\": \"user\", \"content\": null}]", "messages[0].content is null", MLCC_INVALID},
        {"[{\"role\": \"user\", \"content\": 3}]", "content is an integer", MLCC_INVALID},
        {"[{\"role\": \"boss\", \"content\": \"x\"}]", "the role 'boss'", MLCC_INVALID},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]", "is no text",
         MLCC_UNSUPPORTED},
        {"[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": {}}]",
         "tool_calls is an object", MLCC_INVALID},
        {"[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {}}]}]",
         "tool_calls[0] is no call", MLCC_INVALID},
        {"[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {\"name\": "
         "\"f\", \"arguments\": \"{\"}}]}]",
         "reading chat.json: messages[0].tool_calls[0].arguments", MLCC_INVALID},
        {"[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {\"name\": "
         "\"f\", \"arguments\": \"[1]\"}}]}]",
         "an object is expected", MLCC_INVALID},
        {"[{\"role\": \"user\", \"content\": \"x\"", "chat.json", MLCC_INVALID},
    };
    mlcc_arena *keep = mlcc_arena_create();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mlcc_chat_message *messages;
        size_t n;
        mlcc_status *status = mlcc_chat_messages_read(
            rows[i].json, strlen(rows[i].json), "chat.json", keep, &messages, &n);
        char *whole = status == NULL ? NULL : mlcc_status_format(status, 1);
        if (status == NULL || mlcc_status_code(status) != rows[i].code ||
            strstr(whole, rows[i].message) == NULL) {
            print_error("%s: '%s' does not say '%s'\n", rows[i].json, whole, rows[i].message);
            fail();
        }
        free(whole);
        mlcc_status_free(status);
    }
    mlcc_arena_free(keep);
}

static void test_bad_inputs(void **state) {
    (void)state;
    fixture f = make_fixture("{{ tools }}");
    expect(set(&f, MLCC_CHAT_TOOLS, "{}"), MLCC_INVALID, "the tools are an object");
    expect(set(&f, MLCC_CHAT_TOOLS, "[3]"), MLCC_INVALID, "in.json: tools[0] is");
    expect(set(&f, MLCC_CHAT_TOOLS, "[{\"function\": {}}]"), MLCC_INVALID, "has no name");
    expect(set(&f, MLCC_CHAT_DOCUMENTS, "[\"x\"]"), MLCC_INVALID, "documents[0] is a string");
    expect(set(&f, MLCC_CHAT_VARIABLES, "[]"), MLCC_INVALID, "an object is expected");
    expect(set(&f, MLCC_CHAT_VARIABLES, "{\"messages\": []}"), MLCC_INVALID, "'messages'");
    expect(set(&f, MLCC_CHAT_VARIABLES, "{"), MLCC_INVALID, "in.json");
    mlcc_str text = {0};
    mlcc_str_putc(&text, '{');
    for (int i = 0; i < 65; i++) mlcc_str_printf(&text, "%s\"v%d\": 1", i == 0 ? "" : ", ", i);
    mlcc_str_putc(&text, '}');
    expect(set(&f, MLCC_CHAT_VARIABLES, text.data), MLCC_INVALID, "at most 64");
    // Deep enough for the reader alone, and too deep for a template.
    mlcc_str_clear(&text);
    mlcc_str_puts(&text, "{\"v\": ");
    for (int i = 0; i < 50; i++) mlcc_str_putc(&text, '[');
    for (int i = 0; i < 50; i++) mlcc_str_putc(&text, ']');
    mlcc_str_putc(&text, '}');
    expect(set(&f, MLCC_CHAT_VARIABLES, text.data), MLCC_INVALID, "levels deep");
    assert_null(f.conversation.inputs[MLCC_CHAT_VARIABLES].data);
    // As large as it may be, and a byte more.
    mlcc_str_clear(&text);
    mlcc_str_puts(&text, "{\"v\": \"");
    while (text.length < ((size_t)1 << 20) - 2) mlcc_str_putc(&text, 'x');
    mlcc_str_puts(&text, "\"}");
    tiny_require(set(&f, MLCC_CHAT_VARIABLES, text.data));
    mlcc_str_putc(&text, ' ');
    mlcc_status *status = set(&f, MLCC_CHAT_VARIABLES, text.data);
    assert_non_null(status);
    mlcc_status_free(status);
    mlcc_str_free(&text);
    end_fixture(&f);
}

// Variables come before the model's special tokens of the same name, and can be taken away.
static void test_variables(void **state) {
    (void)state;
    fixture f = make_fixture("{{ bos_token }}|{{ mood }}|{{ tools is none }}");
    f.conversation.jinja_variables[f.conversation.n_jinja_variables++] =
        (mlcc_jinja_variable){.name = "bos_token", .text = "<s>"};
    const mlcc_chat_message message = {.role = "user", .content = {"x", 1}};
    static const char *const expected[] = {"<s>||True", "B|{'a': 1}|False", "<s>||True"};
    for (int i = 0; i < 3; i++) {
        char *text;
        size_t length;
        if (i == 1) {
            tiny_require(
                set(&f, MLCC_CHAT_VARIABLES, "{\"mood\": {\"a\": 1}, \"bos_token\": \"B\"}"));
            tiny_require(set(&f, MLCC_CHAT_TOOLS, "[{\"name\": \"f\"}]"));
        }
        for (mlcc_chat_input k = 0; i == 2 && k < MLCC_N_CHAT_INPUTS; k++)
            tiny_require(mlcc_conversation_set_input(&f.conversation, k, NULL, 0, "", f.keep));
        tiny_require(
            mlcc_conversation_render(&f.conversation, (mlcc_text){0}, &message, 1, &text, &length));
        assert_string_equal(text, expected[i]);
        free(text);
    }
    end_fixture(&f);
}

// MLC LLM's templates: a place for the system text, none for the rest.
static void test_without_jinja(void **state) {
    (void)state;
    fixture f = make_fixture(NULL);
    expect(set(&f, MLCC_CHAT_TOOLS, "[]"), MLCC_UNSUPPORTED, "has no place for tools");
    static const char json[] =
        "[{\"role\": \"system\", \"content\": \"a\"}, {\"role\": \"system\", \"content\": \"b\"}, "
        "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"tool\", \"content\": \"d\", "
        "\"tool_call_id\": \"e\"}]";
    const mlcc_chat_message *messages;
    size_t n_messages, length;
    mlcc_text system;
    tiny_require(mlcc_chat_messages_read(
        json, sizeof json - 1, "chat.json", f.keep, &messages, &n_messages));
    mlcc_chat_messages_take_system(&f.conversation, f.keep, &messages, &n_messages, &system);
    assert_string_equal(system.data, "a\n\nb");
    assert_int_equal(n_messages, 2);
    assert_string_equal(messages[0].content.data, "c");
    const mlcc_chat_role roles[] = {
        {"user", {"U", 1}, {"{user_message}", 14}},
        {"tool", {"T", 1}, {"{tool_message}", 14}},
        {"assistant", {"A", 1}, {"{assistant_message}", 19}}};
    f.conversation.roles = roles;
    f.conversation.n_roles = 3;
    char *text;
    expect(
        mlcc_conversation_render(&f.conversation, system, messages, 2, &text, &length),
        MLCC_UNSUPPORTED, "more than text");
    tiny_require(mlcc_conversation_render(&f.conversation, system, messages, 1, &text, &length));
    free(text);
    end_fixture(&f);
}

// ---- the C API ---------------------------------------------------------------------------------------------------

static void write_text(fixture *f, const char *directory, const char *name, const char *text) {
    tiny_require(
        mlcc_file_write_atomic(mlcc_path_join(f->keep, directory, name), text, strlen(text)));
}

static void test_public_functions(void **state) {
    (void)state;
    fixture f = make_fixture(NULL);
    char directory[] = "/tmp/mlcc-chat-XXXXXX";
    assert_non_null(mkdtemp(directory));
    mlcc_chat_template *chat = NULL;
    mlcc_status *status = mlcc_chat_template_open(directory, &chat);
    assert_non_null(strstr(mlcc_status_message(status), "mlc-chat-config.json"));
    mlcc_status_free(status);
    assert_null(chat);
    write_text(
        &f, directory, "mlc-chat-config.json",
        "{\"chat_template\": \"own.jinja\", \"eos_token_id\": [2, 5], \"conv_template\": "
        "{\"name\": "
        "\"t\", \"system_template\": \"{system_message}\", \"system_message\": \"\", \"roles\": "
        "{\"user\": \"U\", \"assistant\": \"A\"}, \"role_templates\": {}, \"messages\": [], "
        "\"seps\": [\" \"], \"role_content_sep\": \": \", \"role_empty_sep\": \": \", "
        "\"stop_str\": [], \"stop_token_ids\": []}}");
    write_text(
        &f, directory, "own.jinja",
        "<s>{% for t in tools or [] %}{{ t.name }}{% endfor %}{{ messages[0].content }}{{ mood }}");
    tiny_require(mlcc_chat_template_open(directory, &chat));
    assert_true(mlcc_chat_template_is_stop(chat, 2) && mlcc_chat_template_is_stop(chat, 5));
    assert_false(mlcc_chat_template_is_stop(chat, 3));
    static const char tools[] = "[{\"name\": \"<s>\"}]", mood[] = "{\"mood\": \"he\"}";
    static const char messages[] = "[{\"role\": \"user\", \"content\": \"hello\"}]";
    tiny_require(mlcc_chat_template_set(chat, "tools", tools, sizeof tools - 1));
    tiny_require(mlcc_chat_template_set(chat, "variables", mood, sizeof mood - 1));
    expect(mlcc_chat_template_set(chat, "toys", NULL, 0), MLCC_INVALID, "no input 'toys'");
    mlcc_tokenizer *tokenizer = tiny_load(tiny_byte_fallback_json());
    int32_t *ids;
    size_t n_ids, n_special = 0, length;
    tiny_require(
        mlcc_chat_template_encode(chat, tokenizer, messages, sizeof messages - 1, &ids, &n_ids));
    for (size_t i = 0; i < n_ids; i++) n_special += ids[i] == 1;
    assert_int_equal(n_special, 1);
    char *text;
    tiny_require(mlcc_tokenizer_decode(tokenizer, ids, n_ids, true, &text, &length));
    assert_string_equal(text, "<s>hellohe");
    free(text);
    free(ids);
    expect(
        mlcc_chat_template_encode(chat, tokenizer, "3", 1, &ids, &n_ids), MLCC_INVALID,
        "is no list of messages");
    mlcc_tokenizer_close(tokenizer);
    mlcc_chat_template_free(chat);
    tiny_require(mlcc_dir_remove_tree(directory));
    end_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_special_tokens_stay_text),
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_bad_inputs),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_without_jinja),
        cmocka_unit_test(test_public_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
