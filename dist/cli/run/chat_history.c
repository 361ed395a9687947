#include "dist/cli/run/chat_history.h"
#include "runtime/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void chat_history_free_message(const mlcc_chat_message *message) {
    free((void *)(uintptr_t)message->content.data);
    free((void *)(uintptr_t)message->json.data);
}

void chat_history_clear(chat_history *history) {
    for (size_t i = 0; i < history->n; i++) chat_history_free_message(&history->messages[i]);
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

static bool copy_text(mlcc_text text, mlcc_text *out) {
    *out = (mlcc_text){0};
    if (text.data == NULL) return true;
    char *copy = malloc(text.length + 1);
    if (copy == NULL) return false;
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    *out = (mlcc_text){copy, text.length};
    return true;
}

static mlcc_status *add_message(chat_history *history, const mlcc_chat_message *message) {
    static const char *const roles[] = {"user", "assistant", "tool"};
    mlcc_chat_message copy = {0};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(message->role, roles[i]) == 0) copy.role = roles[i];
    }
    if (copy.role == NULL) {
        return MLCC_ERROR(
            INVALID, "a message has the role '%s'; accepted: user, assistant, tool", message->role);
    }
    MLCC_TRY(grow(history));
    if (!copy_text(message->content, &copy.content) || !copy_text(message->json, &copy.json)) {
        chat_history_free_message(&copy);
        return MLCC_ERROR(NO_MEMORY, "cannot keep another message");
    }
    history->messages[history->n++] = copy;
    return NULL;
}

mlcc_status *chat_history_add(
    chat_history *history, const char *role, const char *text, size_t length) {
    const mlcc_chat_message message = {.role = role, .content = {text, length}};
    return add_message(history, &message);
}

bool chat_history_take(chat_history *history, const char *role, mlcc_chat_message *taken) {
    if (history->n == 0 || strcmp(history->messages[history->n - 1].role, role) != 0) return false;
    *taken = history->messages[--history->n];
    return true;
}

void chat_history_put_back(chat_history *history, mlcc_chat_message *taken) {
    history->messages[history->n++] = *taken; // the place that it left
    *taken = (mlcc_chat_message){0};
}

bool chat_history_drop(chat_history *history, const char *role) {
    mlcc_chat_message message;
    if (!chat_history_take(history, role, &message)) return false;
    chat_history_free_message(&message);
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

static mlcc_status *put_message(mlcc_json_writer *w, const mlcc_chat_message *message) {
    if (message->json.data != NULL) {
        mlcc_json *whole;
        MLCC_TRY(mlcc_json_parse(message->json.data, message->json.length, "a message", 0, &whole));
        mlcc_json_put_value(w, mlcc_json_root(whole));
        mlcc_json_free(whole);
        return NULL;
    }
    mlcc_json_begin_object(w);
    mlcc_json_key(w, "role");
    mlcc_json_put_text(w, message->role);
    mlcc_json_key(w, "content");
    mlcc_json_put_text_n(w, message->content.data, message->content.length);
    mlcc_json_end(w);
    return NULL;
}

mlcc_status *chat_history_save(const chat_history *history, const char *path) {
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_status *status = NULL;
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
    for (size_t i = 0; status == NULL && i < history->n; i++)
        status = put_message(&w, &history->messages[i]);
    mlcc_json_end(&w);
    mlcc_json_end(&w);
    mlcc_str_putc(&out, '\n');
    if (status == NULL) status = mlcc_file_write_atomic(path, mlcc_str_text(&out), out.length);
    mlcc_str_free(&out);
    return status;
}

static mlcc_status *load_message(
    const mlcc_json_value *value, size_t index, mlcc_arena *scratch, chat_history *out) {
    mlcc_chat_message message;
    char place[40];
    snprintf(place, sizeof place, "message %zu", index);
    MLCC_TRY(mlcc_chat_message_read(value, place, scratch, &message));
    const bool is_system = index == 0 && strcmp(message.role, "system") == 0;
    if (is_system && message.content.data != NULL)
        return chat_history_set_system(out, message.content.data);
    MLCC_TRY_NOTE(add_message(out, &message), "reading message %zu", index);
    return NULL;
}

static mlcc_status *load(const mlcc_json_value *root, mlcc_arena *scratch, chat_history *out) {
    const char *system = NULL;
    const mlcc_json_value *messages = NULL;
    MLCC_TRY(mlcc_json_get_text(root, "system", false, &system));
    MLCC_TRY(mlcc_json_get_array(root, "messages", true, &messages));
    if (system != NULL) MLCC_TRY(chat_history_set_system(out, system));
    for (size_t i = 0; i < mlcc_json_count(messages); i++)
        MLCC_TRY(load_message(mlcc_json_at(messages, i), i, scratch, out));
    return NULL;
}

mlcc_status *chat_history_load(chat_history *history, const char *path) {
    mlcc_json *json = NULL;
    MLCC_TRY(mlcc_json_read_file(path, 64u << 20, &json));
    chat_history next = {0};
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = load(mlcc_json_root(json), scratch, &next);
    mlcc_arena_free(scratch);
    mlcc_json_free(json);
    if (status != NULL) {
        chat_history_free(&next);
        return mlcc_status_note(status, "reading %s", path);
    }
    chat_history_free(history);
    *history = next;
    return NULL;
}
