#include "dist/cli/run/chat_history.h"
#include "runtime/base/file.h"

#include <stdlib.h>
#include <string.h>

void chat_history_clear(chat_history *history) {
    for (size_t i = 0; i < history->n; i++)
        free((void *)(uintptr_t)history->messages[i].content.data);
    history->n = 0;
}

void chat_history_free(chat_history *history) {
    chat_history_clear(history);
    free(history->messages);
    free(history->system);
    *history = (chat_history){0};
}

mlcc_status *chat_history_set_system(chat_history *history, const char *text) {
    char *copy = text != NULL ? strdup(text) : NULL;
    if (text != NULL && copy == NULL)
        return MLCC_ERROR(NO_MEMORY, "cannot keep the system message");
    free(history->system);
    history->system = copy;
    return NULL;
}

static mlcc_status *grow(chat_history *history) {
    if (history->n < history->capacity) return NULL;
    if (history->n == CHAT_HISTORY_MAX)
        return MLCC_ERROR(INVALID, "a conversation holds at most %d messages", CHAT_HISTORY_MAX);
    const size_t capacity = history->capacity > 0 ? history->capacity * 2 : 16;
    mlcc_chat_message *messages = realloc(history->messages, capacity * sizeof *messages);
    if (messages == NULL) return MLCC_ERROR(NO_MEMORY, "cannot keep another message");
    history->messages = messages;
    history->capacity = capacity;
    return NULL;
}

mlcc_status *chat_history_add(
    chat_history *history, const char *role, const char *text, size_t length) {
    static const char *const roles[] = {"user", "assistant"};
    const char *own = NULL;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(role, roles[i]) == 0) own = roles[i];
    }
    if (own == NULL)
        return MLCC_ERROR(INVALID, "a message has the role '%s'; accepted: user, assistant", role);
    MLCC_TRY(grow(history));
    char *content = malloc(length + 1);
    if (content == NULL) return MLCC_ERROR(NO_MEMORY, "cannot keep another message");
    memcpy(content, text, length);
    content[length] = '\0';
    history->messages[history->n++] =
        (mlcc_chat_message){.role = own, .content = {content, length}};
    return NULL;
}

bool chat_history_drop(chat_history *history, const char *role) {
    if (history->n == 0 || strcmp(history->messages[history->n - 1].role, role) != 0) return false;
    free((void *)(uintptr_t)history->messages[--history->n].content.data);
    return true;
}

mlcc_status *chat_history_encode(
    const chat_history *history, const mlcc_conversation *conversation,
    const mlcc_tokenizer *tokenizer, int32_t **ids, size_t *n_ids) {
    const mlcc_text system = {
        history->system, history->system != NULL ? strlen(history->system) : 0};
    return mlcc_conversation_encode(
        conversation, tokenizer, system, history->messages, history->n, ids, n_ids);
}

// ---- the file -----------------------------------------------------------------------------------------------

mlcc_status *chat_history_save(const chat_history *history, const char *path) {
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 2, false);
    mlcc_json_begin_object(&w);
    mlcc_json_key(&w, "system");
    if (history->system != NULL) {
        mlcc_json_put_text(&w, history->system);
    } else {
        mlcc_json_put_null(&w);
    }
    mlcc_json_key(&w, "messages");
    mlcc_json_begin_array(&w);
    for (size_t i = 0; i < history->n; i++) {
        mlcc_json_begin_object(&w);
        mlcc_json_key(&w, "role");
        mlcc_json_put_text(&w, history->messages[i].role);
        mlcc_json_key(&w, "content");
        mlcc_json_put_text_n(
            &w, history->messages[i].content.data, history->messages[i].content.length);
        mlcc_json_end(&w);
    }
    mlcc_json_end(&w);
    mlcc_json_end(&w);
    mlcc_str_putc(&out, '\n');
    mlcc_status *status = mlcc_file_write_atomic(path, mlcc_str_text(&out), out.length);
    mlcc_str_free(&out);
    return status;
}

static mlcc_status *load_message(const mlcc_json_value *message, size_t index, chat_history *out) {
    const char *role = NULL, *content = NULL;
    if (mlcc_json_kind_of(message) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(INVALID, "message %zu is not an object", index);
    MLCC_TRY_NOTE(mlcc_json_get_text(message, "role", true, &role), "reading message %zu", index);
    MLCC_TRY_NOTE(
        mlcc_json_get_text(message, "content", true, &content), "reading message %zu", index);
    if (index == 0 && strcmp(role, "system") == 0) return chat_history_set_system(out, content);
    size_t length = 0;
    content = mlcc_json_text(mlcc_json_get(message, "content"), &length);
    MLCC_TRY_NOTE(chat_history_add(out, role, content, length), "reading message %zu", index);
    return NULL;
}

static mlcc_status *load(const mlcc_json_value *root, chat_history *out) {
    const char *system = NULL;
    const mlcc_json_value *messages = NULL;
    MLCC_TRY(mlcc_json_get_text(root, "system", false, &system));
    MLCC_TRY(mlcc_json_get_array(root, "messages", true, &messages));
    if (system != NULL) MLCC_TRY(chat_history_set_system(out, system));
    for (size_t i = 0; i < mlcc_json_count(messages); i++)
        MLCC_TRY(load_message(mlcc_json_at(messages, i), i, out));
    return NULL;
}

mlcc_status *chat_history_load(chat_history *history, const char *path) {
    mlcc_json *json = NULL;
    MLCC_TRY(mlcc_json_read_file(path, 64u << 20, &json));
    chat_history next = {0};
    mlcc_status *status = load(mlcc_json_root(json), &next);
    mlcc_json_free(json);
    if (status != NULL) {
        chat_history_free(&next);
        return mlcc_status_note(status, "reading %s", path);
    }
    chat_history_free(history);
    *history = next;
    return NULL;
}
