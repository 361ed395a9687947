// chat_session: a conversation with a model: its messages, and the KV cache that holds what of them was already read.
//
// Every answer renders the whole conversation, keeps the part of the cache that begins with the same tokens, and reads the rest. So a
// follow-up costs its own tokens only, and taking messages back needs no bookkeeping of the cache.
// Thread rule: one thread; `interrupted` may be set by a signal handler.
#ifndef MLCC_DIST_CLI_RUN_CHAT_SESSION_H
#define MLCC_DIST_CLI_RUN_CHAT_SESSION_H

#include "dist/cli/run/chat_settings.h"
#include "runtime/text/conversation.h"

#include <signal.h>

typedef struct chat_session chat_session;

// `model` must outlive the session. The directory's tokenizer (`no_cache`: from its files) and conversation template are read.
mlcc_status *chat_session_open(
    const char *directory, mlcc_model *model, bool no_cache, chat_session **out);
void chat_session_close(chat_session *session);

// The template with its inputs (tools, documents, variables), for template_args; what is given to it lives in *keep.
mlcc_conversation *chat_session_template(chat_session *session, mlcc_arena **keep);
// NULL: the template's own system message.
mlcc_status *chat_session_set_system(chat_session *session, const char *text);
mlcc_status *chat_session_add(
    chat_session *session, const char *role, const char *text, size_t length);
// Takes the last question and what answered it back; false when there is none.
bool chat_session_undo(chat_session *session);
// Forgets all messages; the system message stays.
void chat_session_reset(chat_session *session);
size_t chat_session_n_messages(const chat_session *session);

typedef enum chat_end { CHAT_STOPPED, CHAT_LENGTH, CHAT_WINDOW_FULL, CHAT_INTERRUPTED } chat_end;

// Of one answer.
typedef struct chat_figures {
    chat_end end;
    int64_t n_prompt_tokens; // of the whole conversation
    int64_t n_reused_tokens; // of them, those that the cache already held
    int64_t n_new_tokens;
    double prefill_s, decode_s;
} chat_figures;

// Gets text as soon as it is certain. An error ends the answer.
typedef mlcc_status *chat_sink(void *user, const char *text, size_t length);

// Answers the last message and adds the answer to the conversation; an answer that was interrupted is added as far as it came, and where
// there is nothing of it yet the question is taken back. Errors leave the conversation as it was.
mlcc_status *chat_session_answer(
    chat_session *session, const chat_settings *settings, const volatile sig_atomic_t *interrupted,
    chat_sink *sink, void *user, chat_figures *figures);

// Another answer to the last question, in the place of the one that it has: INVALID where there is none. That one stays after an error, and
// where an interruption came before anything of the new one.
mlcc_status *chat_session_regenerate(
    chat_session *session, const chat_settings *settings, const volatile sig_atomic_t *interrupted,
    chat_sink *sink, void *user, chat_figures *figures);

// A JSON file: {"system": TEXT or null, "messages": [{"role": …, "content": …}, …]}, as OpenAI's API has them.
mlcc_status *chat_session_save(const chat_session *session, const char *path);
// All of it or, with an error, nothing. A message with the role "system" in front is the system message, too.
mlcc_status *chat_session_load(chat_session *session, const char *path);

#endif
