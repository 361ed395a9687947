#include "runtime/text/conversation.h"

#include "runtime/text/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char function_mark[] = "{function_string}";

// A rendering in progress. Contents of messages must not be searched for function_string, so places where it may go are noted while
// the template's own text is written.
typedef struct rendering {
    const mlcc_conversation *conversation;
    mlcc_bytes out;
    size_t function_place; // where the last mark stood
    bool has_function_place;
} rendering;

static void put(rendering *r, mlcc_text text) {
    if (text.length != 0) mlcc_bytes_append(&r->out, text.data, text.length);
}

// Template text: marks of the function string vanish, the place of the last one is kept.
static void put_template_text(rendering *r, const char *text, size_t length) {
    size_t mark_bytes = sizeof function_mark - 1;
    while (length != 0) {
        const char *mark = memmem(text, length, function_mark, mark_bytes);
        size_t before = mark == NULL ? length : (size_t)(mark - text);
        mlcc_bytes_append(&r->out, text, before);
        if (mark == NULL) return;
        r->function_place = r->out.length;
        r->has_function_place = true;
        text += before + mark_bytes;
        length -= before + mark_bytes;
    }
}

// Every "{system_message}" or "{ROLE_message}" of the template becomes the content.
static void put_filled(
    rendering *r, mlcc_text frame, const char *placeholder, mlcc_text content, bool is_trusted) {
    const char *text = frame.data;
    size_t length = frame.length;
    size_t placeholder_bytes = strlen(placeholder);
    while (length != 0) {
        const char *at = memmem(text, length, placeholder, placeholder_bytes);
        size_t before = at == NULL ? length : (size_t)(at - text);
        put_template_text(r, text, before);
        if (at == NULL) return;
        if (is_trusted) {
            put_template_text(r, content.data, content.length);
        } else {
            put(r, content);
        }
        text += before + placeholder_bytes;
        length -= before + placeholder_bytes;
    }
}

static const mlcc_chat_role *find_role(const mlcc_conversation *conversation, const char *name) {
    for (size_t i = 0; i < conversation->n_roles; i++) {
        if (strcmp(conversation->roles[i].name, name) == 0) return &conversation->roles[i];
    }
    return NULL;
}

static mlcc_status *unknown_role(const mlcc_conversation *conversation, const char *name) {
    mlcc_bytes known = {0};
    for (size_t i = 0; i < conversation->n_roles; i++) {
        if (i != 0) mlcc_bytes_append(&known, ", ", 2);
        mlcc_bytes_append(&known, conversation->roles[i].name, strlen(conversation->roles[i].name));
    }
    mlcc_status *status = MLCC_ERROR(
        INVALID, "role '%s' is not one of conversation template '%s', which has %.*s", name,
        conversation->name == NULL ? "" : conversation->name, (int)known.length,
        known.length == 0 ? "" : known.data);
    mlcc_bytes_free(&known);
    return status;
}

// What is left of an assistant's message of the past: the text behind its last "</think>" and the line ends that follow.
static mlcc_text without_reasoning(mlcc_text content) {
    static const char mark[] = "</think>";
    size_t mark_bytes = sizeof mark - 1;
    size_t from = 0;
    for (;;) {
        const char *at = content.length - from < mark_bytes
                             ? NULL
                             : memmem(content.data + from, content.length - from, mark, mark_bytes);
        if (at == NULL) break;
        from = (size_t)(at - content.data) + mark_bytes;
    }
    if (from == 0) return content;
    while (from < content.length && content.data[from] == '\n') from++;
    return (mlcc_text){.data = content.data + from, .length = content.length - from};
}

// `is_past`: a message of the user follows later. `follows_system`: the first message behind a system text.
static mlcc_status *put_message(
    rendering *r, const mlcc_chat_message *message, bool is_past, bool follows_system) {
    const mlcc_conversation *c = r->conversation;
    const mlcc_chat_role *role = find_role(c, message->role);
    if (role == NULL) return unknown_role(c, message->role);
    if (message->json.data != NULL) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "a message of role '%s' holds more than text, which conversation template '%s' cannot "
            "show; the model's own template can (mlcc gen_config --conv-template auto)",
            message->role, c->name == NULL ? "" : c->name);
    }
    if (message->content.data == NULL) {
        put(r, role->start);
        put(r, c->role_empty_sep);
        return NULL;
    }
    bool is_assistant = strcmp(message->role, "assistant") == 0;
    mlcc_text content = message->content;
    if (c->strip_reasoning_in_history && is_assistant && is_past) {
        content = without_reasoning(content);
    }
    if (c->add_role_after_system_message || !follows_system) {
        put(r, role->start);
        put(r, c->role_content_sep);
    }
    char placeholder[64];
    snprintf(placeholder, sizeof placeholder, "{%.40s_message}", message->role);
    put_filled(r, role->template_, placeholder, content, false);
    put(r, c->seps[is_assistant ? 1 : 0]);
    return NULL;
}

static const mlcc_chat_message *message_at(
    const mlcc_conversation *conversation, const mlcc_chat_message *messages, size_t i) {
    return i < conversation->n_messages ? &conversation->messages[i]
                                        : &messages[i - conversation->n_messages];
}

static mlcc_status *render(
    rendering *r, mlcc_text system, const mlcc_chat_message *messages, size_t n_messages) {
    const mlcc_conversation *c = r->conversation;
    if (system.data == NULL) system = c->system_message;
    put_filled(r, c->system_template, "{system_message}", system, true);
    bool has_system = r->out.length != 0;
    size_t n = c->n_messages + n_messages;
    size_t last_user = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(message_at(c, messages, i)->role, "user") == 0) last_user = i;
    }
    for (size_t i = 0; i < n; i++) {
        MLCC_TRY(put_message(r, message_at(c, messages, i), i < last_user, has_system && i == 0));
    }
    const mlcc_chat_message answer = {.role = "assistant"};
    return put_message(r, &answer, false, false);
}

// Puts the function string where the last mark stood.
static void insert_function(rendering *r) {
    mlcc_text text = r->conversation->function_string;
    if (!r->has_function_place || text.length == 0) return;
    if (!mlcc_bytes_reserve(&r->out, text.length)) return;
    char *place = r->out.data + r->function_place;
    memmove(place + text.length, place, r->out.length - r->function_place);
    memcpy(place, text.data, text.length);
    r->out.length += text.length;
}

mlcc_status *mlcc_conversation_render(
    const mlcc_conversation *conversation, mlcc_text system, const mlcc_chat_message *messages,
    size_t n_messages, char **text, size_t *length) {
    *text = NULL;
    *length = 0;
    if (conversation->jinja != NULL) {
        mlcc_jinja_output out;
        MLCC_TRY(mlcc_conversation_render_jinja(conversation, system, messages, n_messages, &out));
        *text = out.text;
        *length = out.length;
        free(out.user_ranges);
        return NULL;
    }
    rendering r = {.conversation = conversation};
    mlcc_status *status = render(&r, system, messages, n_messages);
    insert_function(&r);
    mlcc_bytes_put(&r.out, '\0');
    if (status == NULL) status = mlcc_bytes_check(&r.out);
    if (status != NULL) {
        mlcc_bytes_free(&r.out);
        return status;
    }
    *text = r.out.data;
    *length = r.out.length - 1;
    return NULL;
}

static mlcc_status *encode_jinja(
    const mlcc_conversation *conversation, const mlcc_tokenizer *tokenizer, mlcc_text system,
    const mlcc_chat_message *messages, size_t n_messages, int32_t **ids, size_t *n_ids) {
    mlcc_jinja_output out;
    MLCC_TRY(mlcc_conversation_render_jinja(conversation, system, messages, n_messages, &out));
    mlcc_status *status = mlcc_tokenizer_encode_guarded(
        tokenizer, out.text, out.length, out.user_ranges, out.n_user_ranges, false, ids, n_ids);
    mlcc_jinja_output_free(&out);
    return status;
}

mlcc_status *mlcc_conversation_encode(
    const mlcc_conversation *conversation, const mlcc_tokenizer *tokenizer, mlcc_text system,
    const mlcc_chat_message *messages, size_t n_messages, int32_t **ids, size_t *n_ids) {
    *ids = NULL;
    *n_ids = 0;
    if (conversation->jinja != NULL)
        return encode_jinja(conversation, tokenizer, system, messages, n_messages, ids, n_ids);
    char *text;
    size_t length;
    MLCC_TRY(mlcc_conversation_render(conversation, system, messages, n_messages, &text, &length));
    int32_t *prompt;
    size_t n_prompt;
    mlcc_status *status = mlcc_tokenizer_encode(tokenizer, text, length, false, &prompt, &n_prompt);
    free(text);
    if (status != NULL) return status;
    size_t n_prefix = conversation->n_prefix_ids;
    int32_t *all = malloc((n_prefix + n_prompt + 1) * sizeof *all);
    if (all == NULL) {
        free(prompt);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while tokenizing a conversation");
    }
    if (n_prefix != 0) memcpy(all, conversation->prefix_ids, n_prefix * sizeof *all);
    if (n_prompt != 0) memcpy(all + n_prefix, prompt, n_prompt * sizeof *all);
    free(prompt);
    *ids = all;
    *n_ids = n_prefix + n_prompt;
    return NULL;
}
