// Messages and other inputs of a chat template that come as JSON from somebody else: checked here, so that rendering can put them into one document.
#include "runtime/text/buffer.h"
#include "runtime/text/conversation.h"

#include <stdio.h>
#include <string.h>

// Levels below a message or an input: what is around them makes no text too deep for the JSON reader.
enum { DEPTH_MAX = 48 };

static const struct {
    const char *name, *form;
    size_t max_bytes;
    mlcc_json_kind kind;
} input_rows[MLCC_N_CHAT_INPUTS] = {
    [MLCC_CHAT_TOOLS] = {"tools", "a list of objects", (size_t)4 << 20, MLCC_JSON_ARRAY},
    [MLCC_CHAT_DOCUMENTS] = {"documents", "a list of objects", (size_t)64 << 20, MLCC_JSON_ARRAY},
    [MLCC_CHAT_VARIABLES] = {"template variables", "an object", (size_t)1 << 20, MLCC_JSON_OBJECT},
};
static const size_t messages_max_bytes = (size_t)64 << 20;

static bool is_too_deep(const mlcc_json_value *value, size_t depth) {
    if (depth > DEPTH_MAX) return true;
    mlcc_json_kind kind = mlcc_json_kind_of(value);
    for (size_t i = 0; kind == MLCC_JSON_ARRAY && i < mlcc_json_count(value); i++) {
        if (is_too_deep(mlcc_json_at(value, i), depth + 1)) return true;
    }
    if (kind != MLCC_JSON_OBJECT) return false;
    for (const mlcc_json_iter *it = mlcc_json_first(value); it != NULL;
         it = mlcc_json_next(value, it)) {
        if (is_too_deep(mlcc_json_iter_value(it), depth + 1)) return true;
    }
    return false;
}

static mlcc_status *check_depth(const mlcc_json_value *value, const char *what) {
    if (!is_too_deep(value, 1)) return NULL;
    return MLCC_ERROR(INVALID, "%s: nested more than %d levels deep", what, DEPTH_MAX);
}

// ---- tools, documents, variables -------------------------------------------------------------------------------

static mlcc_status *check_tool(const mlcc_json_value *tool, const char *place) {
    const mlcc_json_value *function = mlcc_json_get(tool, "function");
    // Some models take the function itself.
    if (function == NULL) function = tool;
    if (mlcc_json_text(mlcc_json_get(function, "name"), NULL) != NULL) return NULL;
    return MLCC_ERROR(
        INVALID,
        "%s has no name: {\"type\": \"function\", \"function\": {\"name\": …}} is expected", place);
}

static mlcc_status *check_list(
    const mlcc_json_value *list, mlcc_chat_input input, const char *what) {
    for (size_t i = 0; i < mlcc_json_count(list); i++) {
        const mlcc_json_value *item = mlcc_json_at(list, i);
        char place[300];
        snprintf(place, sizeof place, "%.200s: %s[%zu]", what, input_rows[input].name, i);
        if (mlcc_json_kind_of(item) != MLCC_JSON_OBJECT) {
            return MLCC_ERROR(
                INVALID, "%s is %s, an object is expected", place,
                mlcc_json_kind_text(mlcc_json_kind_of(item)));
        }
        if (input == MLCC_CHAT_TOOLS) MLCC_TRY(check_tool(item, place));
    }
    return NULL;
}

static mlcc_status *check_variables(const mlcc_json_value *object, const char *what) {
    static const char *const own[] = {"messages", "tools", "documents", "add_generation_prompt"};
    size_t n = mlcc_json_count(object);
    if (n > MLCC_CHAT_MAX_VARIABLES) {
        return MLCC_ERROR(
            INVALID, "%s: %zu template variables, at most %d are accepted", what, n,
            MLCC_CHAT_MAX_VARIABLES);
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (mlcc_json_get(object, own[i]) == NULL) continue;
        return MLCC_ERROR(
            INVALID, "%s: the template variable '%s' cannot be given this way", what, own[i]);
    }
    return NULL;
}

static mlcc_status *check_input(
    const mlcc_json_value *root, mlcc_chat_input input, const char *what) {
    if (mlcc_json_kind_of(root) != input_rows[input].kind) {
        return MLCC_ERROR(
            INVALID, "%s: the %s are %s, %s is expected", what, input_rows[input].name,
            mlcc_json_kind_text(mlcc_json_kind_of(root)), input_rows[input].form);
    }
    MLCC_TRY(check_depth(root, what));
    return input == MLCC_CHAT_VARIABLES ? check_variables(root, what)
                                        : check_list(root, input, what);
}

mlcc_status *mlcc_conversation_set_input(
    mlcc_conversation *conversation, mlcc_chat_input input, const char *json, size_t length,
    const char *what, mlcc_arena *keep) {
    if (json == NULL) {
        conversation->inputs[input] = (mlcc_text){0};
        return NULL;
    }
    if (conversation->jinja == NULL) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "conversation template '%s' has no place for %s; the model's own template may have one "
            "(mlcc gen_config --conv-template auto)",
            conversation->name == NULL ? "" : conversation->name, input_rows[input].name);
    }
    mlcc_json *document;
    MLCC_TRY(mlcc_json_parse(json, length, what, input_rows[input].max_bytes, &document));
    mlcc_status *status = check_input(mlcc_json_root(document), input, what);
    mlcc_json_free(document);
    if (status != NULL) return status;
    conversation->inputs[input] =
        (mlcc_text){.data = mlcc_bytes_keep(keep, json, length), .length = length};
    return NULL;
}

// ---- messages --------------------------------------------------------------------------------------------------

// The text of `arguments`, as the object that templates want: "{\"city\": \"Rome\"}" stands for {"city": "Rome"}.
static mlcc_status *put_arguments(
    const mlcc_json_value *value, const char *place, mlcc_json_writer *out) {
    size_t length;
    const char *text = mlcc_json_text(value, &length);
    if (text == NULL) {
        mlcc_json_put_value(out, value);
        return NULL;
    }
    mlcc_json *document;
    mlcc_status *status = mlcc_json_parse(text, length, "arguments", messages_max_bytes, &document);
    if (status != NULL) return mlcc_status_note(status, "reading %s.arguments", place);
    const mlcc_json_value *root = mlcc_json_root(document);
    if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT) {
        status = MLCC_ERROR(
            INVALID, "%s.arguments stand for %s, an object is expected", place,
            mlcc_json_kind_text(mlcc_json_kind_of(root)));
    }
    if (status == NULL) status = check_depth(root, place);
    if (status == NULL) mlcc_json_put_value(out, root);
    mlcc_json_free(document);
    return status;
}

static mlcc_status *put_call(
    const mlcc_json_value *call, const char *place, mlcc_json_writer *out) {
    const mlcc_json_value *function = mlcc_json_get(call, "function");
    bool is_good = mlcc_json_kind_of(call) == MLCC_JSON_OBJECT &&
                   mlcc_json_text(mlcc_json_get(function, "name"), NULL) != NULL;
    if (!is_good) {
        return MLCC_ERROR(
            INVALID, "%s is no call: {\"function\": {\"name\": …, \"arguments\": …}} is expected",
            place);
    }
    mlcc_json_begin_object(out);
    for (const mlcc_json_iter *it = mlcc_json_first(call); it != NULL;
         it = mlcc_json_next(call, it)) {
        mlcc_json_key(out, mlcc_json_iter_key(it));
        if (mlcc_json_iter_value(it) != function) {
            mlcc_json_put_value(out, mlcc_json_iter_value(it));
            continue;
        }
        mlcc_json_begin_object(out);
        for (const mlcc_json_iter *part = mlcc_json_first(function); part != NULL;
             part = mlcc_json_next(function, part)) {
            mlcc_json_key(out, mlcc_json_iter_key(part));
            if (strcmp(mlcc_json_iter_key(part), "arguments") == 0) {
                MLCC_TRY(put_arguments(mlcc_json_iter_value(part), place, out));
            } else {
                mlcc_json_put_value(out, mlcc_json_iter_value(part));
            }
        }
        mlcc_json_end(out);
    }
    mlcc_json_end(out);
    return NULL;
}

static mlcc_status *put_calls(
    const mlcc_json_value *calls, const char *place, mlcc_json_writer *out) {
    if (mlcc_json_kind_of(calls) != MLCC_JSON_ARRAY) {
        return MLCC_ERROR(
            INVALID, "%s.tool_calls is %s, a list is expected", place,
            mlcc_json_kind_text(mlcc_json_kind_of(calls)));
    }
    mlcc_json_begin_array(out);
    for (size_t i = 0; i < mlcc_json_count(calls); i++) {
        char inner[300];
        snprintf(inner, sizeof inner, "%.200s.tool_calls[%zu]", place, i);
        MLCC_TRY(put_call(mlcc_json_at(calls, i), inner, out));
    }
    mlcc_json_end(out);
    return NULL;
}

static mlcc_status *put_whole(
    const mlcc_json_value *message, const char *place, mlcc_json_writer *out) {
    mlcc_json_begin_object(out);
    for (const mlcc_json_iter *it = mlcc_json_first(message); it != NULL;
         it = mlcc_json_next(message, it)) {
        const mlcc_json_value *value = mlcc_json_iter_value(it);
        mlcc_json_key(out, mlcc_json_iter_key(it));
        bool is_calls = strcmp(mlcc_json_iter_key(it), "tool_calls") == 0 &&
                        mlcc_json_kind_of(value) != MLCC_JSON_NULL;
        if (is_calls) {
            MLCC_TRY(put_calls(value, place, out));
        } else {
            mlcc_json_put_value(out, value);
        }
    }
    mlcc_json_end(out);
    return NULL;
}

static mlcc_status *check_whole(const mlcc_str *text, const char *place) {
    mlcc_json *document;
    MLCC_TRY(mlcc_json_parse(text->data, text->length, place, messages_max_bytes, &document));
    mlcc_status *status = check_depth(mlcc_json_root(document), place);
    mlcc_json_free(document);
    return status;
}

static mlcc_status *check_parts(const mlcc_json_value *parts, const char *place) {
    for (size_t i = 0; i < mlcc_json_count(parts); i++) {
        const mlcc_json_value *part = mlcc_json_at(parts, i);
        const char *type = mlcc_json_text(mlcc_json_get(part, "type"), NULL);
        bool is_text = type != NULL && strcmp(type, "text") == 0 &&
                       mlcc_json_text(mlcc_json_get(part, "text"), NULL) != NULL;
        if (is_text) continue;
        return MLCC_ERROR(
            UNSUPPORTED,
            "%s.content[%zu] is no text: {\"type\": \"text\", \"text\": …} is accepted", place, i);
    }
    return NULL;
}

static mlcc_status *check_content(const mlcc_json_value *message, const char *place) {
    const mlcc_json_value *content = mlcc_json_get(message, "content");
    switch (mlcc_json_kind_of(content)) {
    case MLCC_JSON_STRING: return NULL;
    case MLCC_JSON_ARRAY: return check_parts(content, place);
    case MLCC_JSON_NULL:
        if (mlcc_json_count(mlcc_json_get(message, "tool_calls")) != 0) return NULL;
        break;
    default: break;
    }
    return MLCC_ERROR(
        INVALID, "%s.content is %s, text, a list of parts, or null beside tool_calls is expected",
        place, content == NULL ? "missing" : mlcc_json_kind_text(mlcc_json_kind_of(content)));
}

// The role as a constant.
static mlcc_status *read_role(const mlcc_json_value *message, const char *place, const char **out) {
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    const char *role = NULL;
    mlcc_status *status = mlcc_json_get_text(message, "role", true, &role);
    if (status != NULL) return mlcc_status_note(status, "reading %s", place);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(roles[i], role) != 0) continue;
        *out = roles[i];
        return NULL;
    }
    return MLCC_ERROR(
        INVALID, "%s has the role '%.40s'; accepted: system, developer, user, assistant, tool",
        place, role);
}

mlcc_status *mlcc_chat_message_read(
    const mlcc_json_value *value, const char *place, mlcc_arena *keep, mlcc_chat_message *out) {
    *out = (mlcc_chat_message){0};
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT) {
        return MLCC_ERROR(
            INVALID, "%s is %s, an object is expected", place,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    MLCC_TRY(read_role(value, place, &out->role));
    MLCC_TRY(check_content(value, place));
    MLCC_TRY(check_depth(value, place));
    size_t length;
    const char *content = mlcc_json_text(mlcc_json_get(value, "content"), &length);
    if (content != NULL) {
        out->content = (mlcc_text){mlcc_bytes_keep(keep, content, length), length};
        if (mlcc_json_count(value) == 2) return NULL; // role and content are all
    }
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    mlcc_status *status = put_whole(value, place, &writer);
    if (status == NULL) status = check_whole(&text, place); // arguments have come into it
    if (status == NULL)
        out->json = (mlcc_text){mlcc_bytes_keep(keep, text.data, text.length), text.length};
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *read_list(
    const mlcc_json_value *root, const char *what, mlcc_arena *keep,
    const mlcc_chat_message **messages, size_t *n_messages) {
    const mlcc_json_value *list =
        mlcc_json_kind_of(root) == MLCC_JSON_OBJECT ? mlcc_json_get(root, "messages") : root;
    if (mlcc_json_kind_of(list) != MLCC_JSON_ARRAY || mlcc_json_count(list) == 0) {
        return MLCC_ERROR(
            INVALID,
            "%s is no list of messages: [{\"role\": \"user\", \"content\": …}, …] is expected",
            what);
    }
    size_t n = mlcc_json_count(list);
    mlcc_chat_message *items = MLCC_NEW_ARRAY(keep, mlcc_chat_message, n);
    for (size_t i = 0; i < n; i++) {
        char place[300];
        snprintf(place, sizeof place, "%.200s: messages[%zu]", what, i);
        MLCC_TRY(mlcc_chat_message_read(mlcc_json_at(list, i), place, keep, &items[i]));
    }
    *messages = items;
    *n_messages = n;
    return NULL;
}

mlcc_status *mlcc_chat_messages_read(
    const char *json, size_t length, const char *what, mlcc_arena *keep,
    const mlcc_chat_message **messages, size_t *n_messages) {
    mlcc_json *document;
    MLCC_TRY(mlcc_json_parse(json, length, what, messages_max_bytes, &document));
    mlcc_status *status = read_list(mlcc_json_root(document), what, keep, messages, n_messages);
    mlcc_json_free(document);
    return status;
}

void mlcc_chat_messages_take_system(
    const mlcc_conversation *conversation, mlcc_arena *keep, const mlcc_chat_message **messages,
    size_t *n_messages, mlcc_text *system) {
    *system = (mlcc_text){0};
    if (conversation->jinja != NULL) return;
    mlcc_str joined = {0};
    size_t n = 0;
    for (; n < *n_messages && strcmp((*messages)[n].role, "system") == 0; n++) {
        const mlcc_chat_message *message = &(*messages)[n];
        if (message->json.data != NULL) break; // rendering says what is wrong with it
        if (n != 0) mlcc_str_puts(&joined, "\n\n");
        mlcc_str_append(&joined, message->content.data, message->content.length);
    }
    if (n != 0)
        *system = (mlcc_text){mlcc_bytes_keep(keep, mlcc_str_text(&joined), joined.length),
                              joined.length};
    mlcc_str_free(&joined);
    *messages += n;
    *n_messages -= n;
}
