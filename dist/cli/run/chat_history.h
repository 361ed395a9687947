// chat_history: the messages of a chat_session, and the file that they are kept in.
#ifndef MLCC_DIST_CLI_RUN_CHAT_HISTORY_H
#define MLCC_DIST_CLI_RUN_CHAT_HISTORY_H

#include "runtime/text/conversation.h"

enum { CHAT_HISTORY_MAX = 65536 }; // messages

typedef struct chat_history {
    char *system;                // NULL: the template's own
    mlcc_chat_message *messages; // [n]; contents and JSON are owned, roles are constants
    size_t n, capacity;
} chat_history;

void chat_history_free(chat_history *history);
void chat_history_clear(chat_history *history); // the messages; the system message stays
mlcc_status *chat_history_set_system(
    chat_history *history, const char *text); // NULL: the template's
// INVALID: a role other than user, assistant and tool.
mlcc_status *chat_history_add(
    chat_history *history, const char *role, const char *text, size_t length);
bool chat_history_drop(
    chat_history *history, const char *role); // the last message, if it has this role
// Moves the last message out, if it has this role, so that the conversation can be answered without it; then it is put back, or dropped by free.
bool chat_history_take(chat_history *history, const char *role, mlcc_chat_message *taken);
void chat_history_put_back(chat_history *history, mlcc_chat_message *taken);
void chat_history_free_message(const mlcc_chat_message *message);
// The prompt for an answer to the last message. *ids is malloc'ed.
mlcc_status *chat_history_encode(
    const chat_history *history, const mlcc_conversation *conversation,
    const mlcc_tokenizer *tokenizer, int32_t **ids, size_t *n_ids);
mlcc_status *chat_history_save(const chat_history *history, const char *path);
mlcc_status *chat_history_load(chat_history *history, const char *path);

#endif
