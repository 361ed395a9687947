// chat_config: what the commands take from mlc-chat-config.json: the ids that end an answer.
#ifndef MLCC_DIST_CLI_RUN_CHAT_CONFIG_H
#define MLCC_DIST_CLI_RUN_CHAT_CONFIG_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAT_CONFIG_MAX_STOPS 32

typedef struct chat_config {
    int32_t stop_ids[CHAT_CONFIG_MAX_STOPS]; // eos_token_id (one or a list)
    size_t n_stop_ids;
} chat_config;

// A directory without the file has no stop ids.
mlcc_status *chat_config_read(const char *directory, chat_config *out);
bool chat_config_is_stop(const chat_config *config, int32_t id);

#endif
