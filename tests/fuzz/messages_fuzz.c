// messages: any bytes are a list of chat messages. It is refused with a message, or every message has a role.
#include "runtime/text/conversation.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool refused(mlcc_status *status) {
    if (status == NULL) return false;
    if (mlcc_status_message(status)[0] == '\0') abort();
    if (mlcc_status_code(status) == MLCC_INTERNAL) abort();
    mlcc_status_free(status);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = size == 0 ? "" : (const char *)data;
    mlcc_arena *keep = mlcc_arena_create();
    const mlcc_chat_message *messages = NULL;
    size_t n_messages = 0;
    if (!refused(mlcc_chat_messages_read(text, size, "input", keep, &messages, &n_messages))) {
        for (size_t i = 0; i < n_messages; i++)
            if (messages[i].role == NULL || messages[i].role[0] == '\0') abort();
    }
    mlcc_arena_free(keep);
    return 0;
}
