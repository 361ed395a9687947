// chat_settings: how a conversation chooses its tokens, and what /set and --set accept: "k=v;k=v".
#ifndef MLCC_DIST_CLI_RUN_CHAT_SETTINGS_H
#define MLCC_DIST_CLI_RUN_CHAT_SETTINGS_H

#include "runtime/mlcc.h"
#include "runtime/text/conversation.h"

enum { CHAT_SETTINGS_MAX_STOPS = 16 };

typedef struct chat_settings {
    mlcc_sampling sampling;
    int64_t max_tokens; // of one answer; 0 = up to the end of the context window
    char *stop_list;    // as it was given, NUL bytes between the strings; owned
    mlcc_text stops[CHAT_SETTINGS_MAX_STOPS];
    size_t n_stops;
} chat_settings;

// MLC LLM's defaults (temperature 1, top_p 1), then what DIRECTORY/mlc-chat-config.json says. A directory without the file keeps the defaults.
mlcc_status *chat_settings_read(const char *directory, chat_settings *out);
// "temperature=0.7;top_p=0.95;stop=User:,###". Either all of it takes effect or nothing. Errors: INVALID, naming the nearest key or the range.
mlcc_status *chat_settings_set(chat_settings *settings, const char *text);
// The keys with their values, a line each, for /set without words.
void chat_settings_print(const chat_settings *settings, mlcc_str *out);
void chat_settings_free(chat_settings *settings);

#endif
