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

typedef struct listing {
    mlcc_str json;
    size_t n;
    mlcc_bytes scratch;
} listing;

static void put_message(listing *list, const char *role, mlcc_text content, mlcc_text whole) {
    mlcc_str *json = &list->json;
    mlcc_bytes *scratch = &list->scratch;
    if (list->n++ != 0) mlcc_str_puts(json, ", ");
    if (whole.data != NULL) {
        mlcc_str_append(json, whole.data, whole.length);
        return;
    }
    mlcc_bytes_clear(scratch);
    mlcc_utf8_repair(content.data, content.length, scratch);
    mlcc_str_puts(json, "{\"role\": ");
    mlcc_str_put_json(json, role, strlen(role), true);
    mlcc_str_puts(json, ", \"content\": ");
    mlcc_str_put_json(json, scratch->length == 0 ? "" : scratch->data, scratch->length, true);
    mlcc_str_putc(json, '}');
}

static void put_messages(listing *list, const mlcc_chat_message *messages, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (messages[i].content.data != NULL || messages[i].json.data != NULL)
            put_message(list, messages[i].role, messages[i].content, messages[i].json);
}

// [messages, tools, documents, variables], null where there is nothing.
static void put_all(
    const mlcc_conversation *c, mlcc_text system, const mlcc_chat_message *messages,
    size_t n_messages, listing *list) {
    mlcc_str_puts(&list->json, "[[");
    if (system.data != NULL) put_message(list, "system", system, (mlcc_text){0});
    put_messages(list, c->messages, c->n_messages);
    put_messages(list, messages, n_messages);
    mlcc_str_putc(&list->json, ']');
    for (size_t i = 0; i < MLCC_N_CHAT_INPUTS; i++) {
        mlcc_str_puts(&list->json, ", ");
        if (c->inputs[i].data != NULL) {
            mlcc_str_append(&list->json, c->inputs[i].data, c->inputs[i].length);
        } else {
            mlcc_str_puts(&list->json, "null");
        }
    }
    mlcc_str_puts(&list->json, ", true]");
}

static mlcc_status *render_all(
    const mlcc_conversation *c, const mlcc_json_value *all, mlcc_jinja_output *out) {
    enum { MESSAGES, INPUTS, TRUTH = INPUTS + MLCC_N_CHAT_INPUTS, MAX_OWN = 4 };
    const mlcc_json_value *inputs[MLCC_N_CHAT_INPUTS];
    for (size_t i = 0; i < MLCC_N_CHAT_INPUTS; i++) inputs[i] = mlcc_json_at(all, INPUTS + i);
    mlcc_jinja_variable variables[MLCC_CHAT_MAX_SPECIAL_TOKENS + MLCC_CHAT_MAX_VARIABLES + MAX_OWN];
    size_t n = 0;
    for (; n < c->n_jinja_variables; n++) variables[n] = c->jinja_variables[n];
    // They come behind the special tokens, so that the last one of a name counts, as in transformers.
    for (const mlcc_json_iter *it = mlcc_json_first(inputs[MLCC_CHAT_VARIABLES]); it != NULL;
         it = mlcc_json_next(inputs[MLCC_CHAT_VARIABLES], it)) {
        variables[n++] = (mlcc_jinja_variable){
            .name = mlcc_json_iter_key(it), .value = mlcc_json_iter_value(it), .is_user = true};
    }
    variables[n++] = (mlcc_jinja_variable){
        .name = "messages", .value = mlcc_json_at(all, MESSAGES), .is_user = true};
    variables[n++] =
        (mlcc_jinja_variable){.name = "add_generation_prompt", .value = mlcc_json_at(all, TRUTH)};
    variables[n++] =
        (mlcc_jinja_variable){.name = "tools", .value = inputs[MLCC_CHAT_TOOLS], .is_user = true};
    variables[n++] = (mlcc_jinja_variable){
        .name = "documents", .value = inputs[MLCC_CHAT_DOCUMENTS], .is_user = true};
    return mlcc_jinja_render(c->jinja, variables, n, NULL, out);
}

mlcc_status *mlcc_conversation_render_jinja(
    const mlcc_conversation *conversation, mlcc_text system, const mlcc_chat_message *messages,
    size_t n_messages, mlcc_jinja_output *out) {
    *out = (mlcc_jinja_output){0};
    listing list = {0};
    put_all(conversation, system, messages, n_messages, &list);
    mlcc_json *document = NULL;
    mlcc_status *status = mlcc_bytes_check(&list.scratch);
    if (status == NULL)
        status = mlcc_json_parse(list.json.data, list.json.length, "the messages", 0, &document);
    if (status == NULL) status = render_all(conversation, mlcc_json_root(document), out);
    if (document != NULL) mlcc_json_free(document);
    mlcc_bytes_free(&list.scratch);
    mlcc_str_free(&list.json);
    return status;
}
