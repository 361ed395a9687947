// The model's own chat template as the way to a prompt: what gen_config --conv-template auto wrote into the model directory.
#include "runtime/base/file.h"
#include "runtime/text/buffer.h"
#include "runtime/text/conversation.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

// ---- opening -----------------------------------------------------------------------------------------------------

static void add_special_token(
    const char *name, const mlcc_json_value *value, mlcc_arena *keep, mlcc_conversation *out) {
    size_t length = strlen(name);
    bool is_token = length > 6 && strcmp(name + length - 6, "_token") == 0;
    if (mlcc_json_kind_of(value) == MLCC_JSON_OBJECT) value = mlcc_json_get(value, "content");
    const char *text = mlcc_json_text(value, NULL);
    if (!is_token || text == NULL || out->n_jinja_variables == MLCC_CHAT_MAX_SPECIAL_TOKENS) return;
    out->jinja_variables[out->n_jinja_variables++] = (mlcc_jinja_variable){
        .name = mlcc_arena_strdup(keep, name), .text = mlcc_arena_strdup(keep, text)};
}

// bos_token, eos_token and their like, which templates read.
static mlcc_status *read_special_tokens(
    const char *directory, mlcc_arena *keep, mlcc_conversation *out) {
    const char *path = mlcc_path_join(keep, directory, "tokenizer_config.json");
    if (!mlcc_file_exists(path)) return NULL;
    mlcc_json *document;
    MLCC_TRY(mlcc_json_read_file(path, 0, &document));
    const mlcc_json_value *root = mlcc_json_root(document);
    for (const mlcc_json_iter *it = mlcc_json_first(root); it != NULL;
         it = mlcc_json_next(root, it))
        add_special_token(mlcc_json_iter_key(it), mlcc_json_iter_value(it), keep, out);
    mlcc_json_free(document);
    return NULL;
}

static bool add_stop_id(const mlcc_json_value *value, int32_t *ids, size_t *n) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_INT) return false;
    int64_t id = mlcc_json_int(value);
    if (id < 0 || id > INT32_MAX) return false;
    ids[(*n)++] = (int32_t)id;
    return true;
}

// The template's answers end with the model's own end tokens, not with those of an MLC LLM template.
static mlcc_status *read_stops(
    const mlcc_json_value *config, mlcc_arena *keep, mlcc_conversation *out) {
    const mlcc_json_value *eos = mlcc_json_get(config, "eos_token_id");
    mlcc_json_kind kind = mlcc_json_kind_of(eos);
    size_t n_eos = kind == MLCC_JSON_ARRAY ? mlcc_json_count(eos) : 1;
    int32_t *ids = mlcc_arena_alloc_array(keep, n_eos + 1, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; kind != MLCC_JSON_NULL && i < n_eos; i++) {
        const mlcc_json_value *id = kind == MLCC_JSON_ARRAY ? mlcc_json_at(eos, i) : eos;
        if (!add_stop_id(id, ids, &n))
            return MLCC_ERROR(
                INVALID,
                "key 'eos_token_id' is not a token id or a list of them, ids from 0 to %d "
                "are accepted",
                INT32_MAX);
    }
    out->stop_ids = ids;
    out->n_stop_ids = n;
    out->stop_strings = NULL;
    out->n_stop_strings = 0;
    return NULL;
}

mlcc_status *mlcc_conversation_open_jinja(
    const char *directory, const mlcc_json_value *config, mlcc_arena *keep,
    mlcc_conversation *out) {
    const char *name = NULL;
    MLCC_TRY(mlcc_json_get_text(config, MLCC_CHAT_TEMPLATE_KEY, false, &name));
    if (name == NULL) return NULL;
    bool is_plain_name = name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
    if (!is_plain_name)
        return MLCC_ERROR(
            INVALID,
            "key '" MLCC_CHAT_TEMPLATE_KEY "' is '%.80s', the name of a file beside "
            "mlc-chat-config.json is accepted",
            name);
    const char *path = mlcc_path_join(keep, directory, name);
    char *text;
    size_t length;
    MLCC_TRY(mlcc_file_read(path, MLCC_JINJA_MAX_TEMPLATE_BYTES, &text, &length));
    const char *what = mlcc_arena_printf(keep, "chat template '%s'", path);
    mlcc_status *status = mlcc_jinja_compile(text, length, what, keep, &out->jinja);
    free(text);
    if (status == NULL) status = read_stops(config, keep, out);
    if (status == NULL) status = read_special_tokens(directory, keep, out);
    return status;
}

// ---- rendering ---------------------------------------------------------------------------------------------------

static void put_message(mlcc_str *json, const char *role, mlcc_text content, mlcc_bytes *scratch) {
    mlcc_bytes_clear(scratch);
    mlcc_utf8_repair(content.data, content.length, scratch);
    mlcc_str_puts(json, json->length == 1 ? "{\"role\": " : ", {\"role\": ");
    mlcc_str_put_json(json, role, strlen(role), true);
    mlcc_str_puts(json, ", \"content\": ");
    mlcc_str_put_json(json, scratch->length == 0 ? "" : scratch->data, scratch->length, true);
    mlcc_str_putc(json, '}');
}

static void put_messages(
    mlcc_str *json, const mlcc_chat_message *messages, size_t n, mlcc_bytes *scratch) {
    for (size_t i = 0; i < n; i++)
        if (messages[i].content.data != NULL)
            put_message(json, messages[i].role, messages[i].content, scratch);
}

static mlcc_status *render_messages(
    const mlcc_conversation *c, const mlcc_json_value *messages, mlcc_jinja_output *out) {
    enum { MAX_OWN = 4 };
    static const char truth[] = "true";
    mlcc_json *yes;
    MLCC_TRY(mlcc_json_parse(truth, sizeof truth - 1, "true", 0, &yes));
    mlcc_jinja_variable variables[MLCC_CHAT_MAX_SPECIAL_TOKENS + MAX_OWN];
    size_t n = 0;
    for (; n < c->n_jinja_variables; n++) variables[n] = c->jinja_variables[n];
    variables[n++] = (mlcc_jinja_variable){.name = "messages", .value = messages, .is_user = true};
    variables[n++] =
        (mlcc_jinja_variable){.name = "add_generation_prompt", .value = mlcc_json_root(yes)};
    variables[n++] = (mlcc_jinja_variable){.name = "tools"};
    variables[n++] = (mlcc_jinja_variable){.name = "documents"};
    mlcc_status *status = mlcc_jinja_render(c->jinja, variables, n, NULL, out);
    mlcc_json_free(yes);
    return status;
}

mlcc_status *mlcc_conversation_render_jinja(
    const mlcc_conversation *conversation, mlcc_text system, const mlcc_chat_message *messages,
    size_t n_messages, mlcc_jinja_output *out) {
    *out = (mlcc_jinja_output){0};
    mlcc_str json = {0};
    mlcc_bytes scratch = {0};
    mlcc_str_putc(&json, '[');
    if (system.data != NULL) put_message(&json, "system", system, &scratch);
    put_messages(&json, conversation->messages, conversation->n_messages, &scratch);
    put_messages(&json, messages, n_messages, &scratch);
    mlcc_str_putc(&json, ']');
    mlcc_json *document = NULL;
    mlcc_status *status = mlcc_bytes_check(&scratch);
    if (status == NULL)
        status = mlcc_json_parse(json.data, json.length, "the messages", 0, &document);
    if (status == NULL) status = render_messages(conversation, mlcc_json_root(document), out);
    if (document != NULL) mlcc_json_free(document);
    mlcc_bytes_free(&scratch);
    mlcc_str_free(&json);
    return status;
}
