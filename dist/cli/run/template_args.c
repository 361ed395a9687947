#include "dist/cli/run/template_args.h"

#include "runtime/base/file.h"

#include <stdlib.h>
#include <string.h>

static const size_t file_max_bytes = (size_t)64 << 20;

mlcc_status *template_args_set_file(
    mlcc_conversation *conversation, mlcc_chat_input input, const char *path, mlcc_arena *keep) {
    if (path == NULL) return mlcc_conversation_set_input(conversation, input, NULL, 0, "", keep);
    char *text;
    size_t length;
    MLCC_TRY(mlcc_file_read(path, file_max_bytes, &text, &length));
    mlcc_status *status =
        mlcc_conversation_set_input(conversation, input, text, length, path, keep);
    free(text);
    return status;
}

mlcc_status *template_args_apply(
    const args_values *values, mlcc_arena *keep, mlcc_conversation *conversation) {
    const char *tools = args_text(values, "tools"), *documents = args_text(values, "documents");
    const char *variables = args_text(values, "template-kwargs");
    if (tools != NULL) MLCC_TRY(template_args_set_file(conversation, MLCC_CHAT_TOOLS, tools, keep));
    if (documents != NULL)
        MLCC_TRY(template_args_set_file(conversation, MLCC_CHAT_DOCUMENTS, documents, keep));
    if (variables == NULL) return NULL;
    return mlcc_conversation_set_input(
        conversation, MLCC_CHAT_VARIABLES, variables, strlen(variables), "--template-kwargs", keep);
}

static mlcc_status *encode(
    const mlcc_conversation *conversation, const char *path, const char *json, size_t length,
    const mlcc_tokenizer *tokenizer, mlcc_arena *keep, int32_t **ids, size_t *n_ids) {
    const mlcc_chat_message *messages;
    size_t n_messages;
    mlcc_text system;
    MLCC_TRY(mlcc_chat_messages_read(json, length, path, keep, &messages, &n_messages));
    mlcc_chat_messages_take_system(conversation, keep, &messages, &n_messages, &system);
    return mlcc_conversation_encode(
        conversation, tokenizer, system, messages, n_messages, ids, n_ids);
}

mlcc_status *template_args_encode(
    const args_values *values, const char *directory, const mlcc_tokenizer *tokenizer,
    mlcc_arena *keep, mlcc_conversation *conversation, int32_t **ids, size_t *n_ids) {
    const char *path = args_text(values, "messages");
    char *json;
    size_t length;
    MLCC_TRY(mlcc_conversation_open(directory, keep, conversation));
    MLCC_TRY(template_args_apply(values, keep, conversation));
    MLCC_TRY(mlcc_file_read(path, file_max_bytes, &json, &length));
    mlcc_status *status = encode(conversation, path, json, length, tokenizer, keep, ids, n_ids);
    free(json);
    return status;
}

mlcc_status *template_args_check_unused(const args_values *values) {
    static const char *const names[] = {"tools", "documents", "template-kwargs"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (args_given(values, names[i]))
            return args_usage(
                "--%s goes with --messages: a plain prompt has no template", names[i]);
    }
    return NULL;
}
