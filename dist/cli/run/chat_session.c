#include "dist/cli/run/chat_session.h"

#include "dist/cli/run/chat_config.h"
#include "dist/cli/run/chat_history.h"
#include "runtime/base/clock.h"
#include "runtime/text/stop_text.h"

#include <stdlib.h>
#include <string.h>

enum { PREFILL_PIECE = 512 }; // tokens between two looks at Ctrl-C

struct chat_session {
    mlcc_model *model;
    mlcc_model_info info;
    mlcc_engine *engine;
    mlcc_tokenizer *tokenizer;
    mlcc_arena *keep; // the template
    mlcc_conversation conversation;
    chat_config config;
    chat_history history;
    uint64_t n_answers; // so that another answer draws other numbers
    int32_t sequence;
    mlcc_ids cached; // what the engine's sequence holds
};

// ---- life ---------------------------------------------------------------------------------------------------

static mlcc_status *open_parts(const char *directory, bool no_cache, chat_session *session) {
    const mlcc_tokenizer_options options = {.directory = directory, .no_cache = no_cache};
    MLCC_TRY(mlcc_tokenizer_open_with(&options, &session->tokenizer));
    MLCC_TRY(mlcc_conversation_open(directory, session->keep, &session->conversation));
    MLCC_TRY(chat_config_read(directory, &session->config));
    MLCC_TRY(mlcc_engine_create(
        session->model, &(mlcc_engine_options){.max_sequences = 1}, &session->engine));
    return mlcc_engine_add_sequence(session->engine, &session->sequence);
}

mlcc_status *chat_session_open(
    const char *directory, mlcc_model *model, bool no_cache, chat_session **out) {
    *out = NULL;
    chat_session *session = calloc(1, sizeof *session);
    if (session == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a conversation cannot be had");
    session->keep = mlcc_arena_create();
    session->model = model;
    mlcc_model_get_info(model, &session->info);
    mlcc_status *status = open_parts(directory, no_cache, session);
    if (status != NULL) {
        chat_session_close(session);
        return status;
    }
    *out = session;
    return NULL;
}

void chat_session_close(chat_session *session) {
    if (session == NULL) return;
    mlcc_engine_free(session->engine);
    mlcc_tokenizer_close(session->tokenizer);
    chat_history_free(&session->history);
    mlcc_ids_free(&session->cached);
    mlcc_arena_free(session->keep);
    free(session);
}

mlcc_conversation *chat_session_template(chat_session *session, mlcc_arena **keep) {
    *keep = session->keep;
    return &session->conversation;
}

// ---- messages -----------------------------------------------------------------------------------------------

mlcc_status *chat_session_set_system(chat_session *session, const char *text) {
    return chat_history_set_system(&session->history, text);
}

mlcc_status *chat_session_add(
    chat_session *session, const char *role, const char *text, size_t length) {
    return chat_history_add(&session->history, role, text, length);
}

bool chat_session_undo(chat_session *session) {
    chat_history_drop(&session->history, "assistant");
    return chat_history_drop(&session->history, "user") ||
           chat_history_drop(&session->history, "tool");
}

void chat_session_reset(chat_session *session) {
    chat_history_clear(&session->history);
    session->n_answers = 0;
}

size_t chat_session_n_messages(const chat_session *session) {
    return session->history.n;
}

mlcc_status *chat_session_save(const chat_session *session, const char *path) {
    return chat_history_save(&session->history, path);
}

mlcc_status *chat_session_load(chat_session *session, const char *path) {
    return chat_history_load(&session->history, path);
}

// ---- answering ----------------------------------------------------------------------------------------------

// One answer on its way.
typedef struct answer {
    chat_session *session;
    const volatile sig_atomic_t *interrupted;
    chat_sink *sink;
    void *user;
    mlcc_sampler *sampler;
    mlcc_text_stream *stream;
    mlcc_stop_text stop;
    mlcc_text stops[CHAT_SETTINGS_MAX_STOPS + CHAT_CONFIG_MAX_STOPS];
    mlcc_bytes text; // the answer so far
    int64_t max_new;
    chat_figures *figures;
} answer;

static bool is_stop_id(const chat_session *session, int32_t id) {
    const mlcc_conversation *conversation = &session->conversation;
    for (size_t i = 0; i < conversation->n_stop_ids; i++) {
        if (conversation->stop_ids[i] == id) return true;
    }
    return chat_config_is_stop(&session->config, id);
}

static void collect_stops(answer *a, const chat_settings *settings) {
    const mlcc_conversation *conversation = &a->session->conversation;
    size_t n = 0;
    for (size_t i = 0; i < conversation->n_stop_strings && n < CHAT_CONFIG_MAX_STOPS; i++)
        a->stops[n++] = conversation->stop_strings[i];
    for (size_t i = 0; i < settings->n_stops; i++) a->stops[n++] = settings->stops[i];
    a->stop = (mlcc_stop_text){.stops = a->stops, .n_stops = n};
}

// The conversation as tokens, of which the cache keeps those that it begins with: *n_kept. At least one is always left to be read, for
// its logits choose the first new token.
static mlcc_status *plan_prompt(answer *a, const chat_settings *settings, mlcc_ids *prompt) {
    chat_session *session = a->session;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    MLCC_TRY(chat_history_encode(
        &session->history, &session->conversation, session->tokenizer, &ids, &n_ids));
    *prompt = (mlcc_ids){.items = ids, .n = n_ids, .capacity = n_ids};
    const int64_t window =
        session->info.context_window < 0 ? INT32_MAX : session->info.context_window;
    const int64_t room = window - (int64_t)n_ids;
    if (n_ids == 0) return MLCC_ERROR(INVALID, "the conversation has no tokens");
    if (room < 1) {
        return MLCC_ERROR(
            INVALID,
            "the conversation has %zu tokens, the model's context window holds %lld; /undo takes "
            "the last question back, /reset begins anew",
            n_ids, (long long)window);
    }
    a->max_new =
        settings->max_tokens > 0 && settings->max_tokens < room ? settings->max_tokens : room;
    a->figures->n_prompt_tokens = (int64_t)n_ids;
    return NULL;
}

static mlcc_status *reuse_cache(answer *a, const mlcc_ids *prompt, size_t *n_kept) {
    chat_session *session = a->session;
    size_t n = 0;
    while (n < session->cached.n && n + 1 < prompt->n &&
           session->cached.items[n] == prompt->items[n])
        n++;
    MLCC_TRY(mlcc_engine_truncate(session->engine, session->sequence, (int64_t)n));
    session->cached.n = n;
    *n_kept = n;
    a->figures->n_reused_tokens = (int64_t)n;
    return NULL;
}

static mlcc_status *note_cached(chat_session *session, const int32_t *ids, size_t n) {
    mlcc_ids_append(&session->cached, ids, n);
    return mlcc_ids_check(&session->cached);
}

// Reads the prompt from *n_read on and chooses the first token; -1 when Ctrl-C came first.
static mlcc_status *prefill(answer *a, const mlcc_ids *prompt, size_t n_read, int32_t *token) {
    chat_session *session = a->session;
    *token = -1;
    while (n_read < prompt->n && !*a->interrupted) {
        const size_t left = prompt->n - n_read, n = left < PREFILL_PIECE ? left : PREFILL_PIECE;
        const mlcc_batch_item item = {
            session->sequence, prompt->items + n_read, (int64_t)n,
            n == left ? MLCC_LOGITS_LAST : MLCC_LOGITS_NONE};
        MLCC_TRY(mlcc_engine_sample(session->engine, &item, 1, &a->sampler, token));
        MLCC_TRY(note_cached(session, item.tokens, n));
        n_read += n;
    }
    return NULL;
}

// Lets the stop strings see what was decoded, and the user what is certain.
static mlcc_status *show(answer *a, const char *text, size_t length, bool is_end) {
    const size_t shown = a->text.length;
    mlcc_stop_text_push(&a->stop, text, length, &a->text);
    if (is_end) mlcc_stop_text_finish(&a->stop, &a->text);
    MLCC_TRY(mlcc_bytes_check(&a->text));
    MLCC_TRY(mlcc_bytes_check(&a->stop.held));
    if (a->text.length == shown) return NULL;
    return a->sink(a->user, a->text.data + shown, a->text.length - shown);
}

static mlcc_status *decode(answer *a, int32_t token) {
    chat_session *session = a->session;
    const char *text = NULL;
    size_t length = 0;
    for (;;) {
        if (is_stop_id(session, token)) {
            a->figures->end = CHAT_STOPPED;
            return NULL;
        }
        a->figures->n_new_tokens++;
        MLCC_TRY(mlcc_text_stream_push(a->stream, token, &text, &length));
        MLCC_TRY(show(a, text, length, false));
        if (a->stop.is_stopped) {
            a->figures->end = CHAT_STOPPED;
            return NULL;
        }
        if (a->figures->n_new_tokens == a->max_new) {
            const bool is_full =
                session->info.context_window > 0 &&
                a->figures->n_prompt_tokens + a->max_new >= session->info.context_window;
            a->figures->end = is_full ? CHAT_WINDOW_FULL : CHAT_LENGTH;
            return NULL;
        }
        if (*a->interrupted) {
            a->figures->end = CHAT_INTERRUPTED;
            return NULL;
        }
        const int32_t last = token;
        const mlcc_batch_item item = {session->sequence, &last, 1, MLCC_LOGITS_LAST};
        MLCC_TRY(mlcc_engine_sample(session->engine, &item, 1, &a->sampler, &token));
        MLCC_TRY(note_cached(session, &last, 1));
    }
}

static mlcc_status *run_answer(answer *a, const chat_settings *settings) {
    chat_session *session = a->session;
    mlcc_sampling sampling = settings->sampling;
    sampling.seed += session->n_answers;
    mlcc_ids prompt = {0};
    mlcc_status *status = NULL;
    size_t n_kept = 0, length = 0;
    const char *rest = NULL;
    int32_t token = -1;
    collect_stops(a, settings);
    MLCC_GOTO(plan_prompt(a, settings, &prompt), done);
    MLCC_GOTO(mlcc_sampler_create(&sampling, session->info.vocab, &a->sampler), done);
    MLCC_GOTO(mlcc_text_stream_create(session->tokenizer, true, &a->stream), done);
    MLCC_GOTO(reuse_cache(a, &prompt, &n_kept), done);
    const double start_s = mlcc_clock_s();
    MLCC_GOTO(prefill(a, &prompt, n_kept, &token), done);
    const double prefill_end_s = mlcc_clock_s();
    a->figures->prefill_s = prefill_end_s - start_s;
    a->figures->end = CHAT_INTERRUPTED;
    if (token < 0) goto done;
    MLCC_GOTO(decode(a, token), done);
    MLCC_GOTO(mlcc_text_stream_finish(a->stream, &rest, &length), done);
    MLCC_GOTO(show(a, rest, length, true), done);
    a->figures->decode_s = mlcc_clock_s() - prefill_end_s;
done:
    mlcc_ids_free(&prompt);
    mlcc_sampler_free(a->sampler);
    mlcc_text_stream_free(a->stream);
    mlcc_stop_text_free(&a->stop);
    return status;
}

// Adds an answer to the conversation, unless an interruption came before anything of it: *has_come. A step that failed leaves the engine's
// sequence as it was, and the cache's list was only told of steps that did not.
static mlcc_status *add_answer(
    chat_session *session, const chat_settings *settings, const volatile sig_atomic_t *interrupted,
    chat_sink *sink, void *user, chat_figures *figures, bool *has_come) {
    *figures = (chat_figures){0};
    *has_come = false;
    answer a = {
        .session = session,
        .interrupted = interrupted,
        .sink = sink,
        .user = user,
        .figures = figures,
    };
    mlcc_status *status = run_answer(&a, settings);
    if (status == NULL) {
        session->n_answers++;
        *has_come = a.text.length > 0 || figures->end != CHAT_INTERRUPTED;
    }
    if (*has_come) {
        status = chat_history_add(
            &session->history, "assistant", a.text.length > 0 ? a.text.data : "", a.text.length);
        *has_come = status == NULL;
    }
    mlcc_bytes_free(&a.text);
    return status;
}

mlcc_status *chat_session_answer(
    chat_session *session, const chat_settings *settings, const volatile sig_atomic_t *interrupted,
    chat_sink *sink, void *user, chat_figures *figures) {
    bool has_come;
    mlcc_status *status =
        add_answer(session, settings, interrupted, sink, user, figures, &has_come);
    if (status == NULL && !has_come) chat_session_undo(session);
    return status;
}

mlcc_status *chat_session_regenerate(
    chat_session *session, const chat_settings *settings, const volatile sig_atomic_t *interrupted,
    chat_sink *sink, void *user, chat_figures *figures) {
    bool has_come;
    mlcc_chat_message old;
    if (!chat_history_take(&session->history, "assistant", &old))
        return MLCC_ERROR(INVALID, "there is no answer to give again");
    mlcc_status *status =
        add_answer(session, settings, interrupted, sink, user, figures, &has_come);
    if (has_come) {
        chat_history_free_message(&old);
    } else {
        chat_history_put_back(&session->history, &old);
    }
    return status;
}
