// template_args: the options that every command has which fills a chat template: tools, documents, more variables, and messages from a file.
#ifndef MLCC_DIST_CLI_RUN_TEMPLATE_ARGS_H
#define MLCC_DIST_CLI_RUN_TEMPLATE_ARGS_H

#include "dist/cli/run/args.h"
#include "runtime/text/conversation.h"

// Rows for an option table.
// clang-format off
#define TEMPLATE_OPTIONS                                                                                                                \
    {.name = "chat template", .kind = ARGS_HEADING},                                                                                    \
    {.name = "tools", .kind = ARGS_TEXT, .value_name = "FILE.json", .help = "functions that the model may call, as OpenAI's API has them: [{\"type\": \"function\", \"function\": {…}}]"}, \
    {.name = "documents", .kind = ARGS_TEXT, .value_name = "FILE.json", .help = "texts that it may look things up in: [{\"title\": …, \"text\": …}]"}, \
    {.name = "template-kwargs", .kind = ARGS_TEXT, .value_name = "JSON", .help = "more variables of the template: '{\"enable_thinking\": false}'"}
#define TEMPLATE_MESSAGES_OPTION \
    {.name = "messages", .letter = 'm', .kind = ARGS_TEXT, .value_name = "FILE.json", .help = "the prompt is this conversation, put into DIR's chat template: [{\"role\": \"user\", \"content\": …}];\ntool_calls and messages of the role tool as OpenAI's API has them"}
// clang-format on

// Puts the options' files into the conversation; everything is copied to `keep`.
mlcc_status *template_args_apply(
    const args_values *values, mlcc_arena *keep, mlcc_conversation *conversation);
// One of them from a file; NULL takes it away.
mlcc_status *template_args_set_file(
    mlcc_conversation *conversation, mlcc_chat_input input, const char *path, mlcc_arena *keep);
// The prompt of --messages with DIRECTORY's chat template and the options above. *ids is malloc'ed; `keep` gets the conversation.
mlcc_status *template_args_encode(
    const args_values *values, const char *directory, const mlcc_tokenizer *tokenizer,
    mlcc_arena *keep, mlcc_conversation *conversation, int32_t **ids, size_t *n_ids);
// A usage error when options of a template were given without --messages, which alone uses them here.
mlcc_status *template_args_check_unused(const args_values *values);

#endif
