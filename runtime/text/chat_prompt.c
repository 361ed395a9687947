// The public way from messages to a prompt: a model directory's conversation template, with messages and inputs as JSON.
#include "runtime/text/conversation.h"

#include <stdlib.h>
#include <string.h>

struct mlcc_chat_template {
    mlcc_arena *keep;
    mlcc_conversation conversation;
};

mlcc_status *mlcc_chat_template_open(const char *directory, mlcc_chat_template **out) {
    *out = NULL;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_chat_template *chat = mlcc_arena_try_alloc(keep, sizeof *chat);
    mlcc_status *status = NULL;
    if (chat == NULL) {
        status = MLCC_ERROR(NO_MEMORY, "memory for a chat template cannot be had");
    } else {
        chat->keep = keep;
        status = mlcc_conversation_open(directory, keep, &chat->conversation);
    }
    if (status != NULL) {
        mlcc_arena_free(keep);
        return status;
    }
    *out = chat;
    return NULL;
}

void mlcc_chat_template_free(mlcc_chat_template *chat) {
    if (chat != NULL) mlcc_arena_free(chat->keep);
}

mlcc_status *mlcc_chat_template_set(
    mlcc_chat_template *chat, const char *input, const char *json, size_t length) {
    static const char *const names[MLCC_N_CHAT_INPUTS] = {
        [MLCC_CHAT_TOOLS] = "tools",
        [MLCC_CHAT_DOCUMENTS] = "documents",
        [MLCC_CHAT_VARIABLES] = "variables"};
    for (mlcc_chat_input i = 0; i < MLCC_N_CHAT_INPUTS; i++) {
        if (strcmp(names[i], input) != 0) continue;
        return mlcc_conversation_set_input(
            &chat->conversation, i, json, length, names[i], chat->keep);
    }
    return MLCC_ERROR(
        INVALID, "a chat template has no input '%s'; accepted: tools, documents, variables", input);
}

mlcc_status *mlcc_chat_template_encode(
    const mlcc_chat_template *chat, const mlcc_tokenizer *tokenizer, const char *messages,
    size_t length, int32_t **ids, size_t *n_ids) {
    const mlcc_chat_message *items;
    size_t n_items;
    mlcc_text system;
    *ids = NULL;
    *n_ids = 0;
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status =
        mlcc_chat_messages_read(messages, length, "the messages", scratch, &items, &n_items);
    if (status == NULL) {
        mlcc_chat_messages_take_system(&chat->conversation, scratch, &items, &n_items, &system);
        status = mlcc_conversation_encode(
            &chat->conversation, tokenizer, system, items, n_items, ids, n_ids);
    }
    mlcc_arena_free(scratch);
    return status;
}

bool mlcc_chat_template_is_stop(const mlcc_chat_template *chat, int32_t id) {
    for (size_t i = 0; i < chat->conversation.n_stop_ids; i++) {
        if (chat->conversation.stop_ids[i] == id) return true;
    }
    return false;
}
