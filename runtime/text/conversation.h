// conversation: how a chat becomes one prompt: `conv_template` of mlc-chat-config.json, read into a struct and rendered.
//
// The schema and the rules are MLC LLM's (python/mlc_llm/protocol/conversation_protocol.py):
//   prompt = system_template with the system message in it
//   for each message: roles[role] + role_content_sep + role_templates[role] with the content in it + separator
//   at the end: roles["assistant"] + role_empty_sep
// The prompt is tokenized as a whole without the tokenizer's own special tokens; system_prefix_token_ids go in front.
//
// Where the configuration names the model's own template (key chat_template, a Jinja file beside it), that makes the prompt instead: the
// template decides about BOS and the default system text, answers end with eos_token_id, and what the messages say is tokenized as text, never
// as special tokens.
#ifndef MLCC_RUNTIME_TEXT_CONVERSATION_H
#define MLCC_RUNTIME_TEXT_CONVERSATION_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/status.h"
#include "runtime/mlcc.h"
#include "runtime/text/jinja.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Text that may hold NUL characters; data NULL: none.
typedef struct mlcc_text {
    const char *data;
    size_t length;
} mlcc_text;

typedef struct mlcc_chat_role {
    const char *name;    // "user"
    mlcc_text start;     // what stands before its messages: "<|im_start|>user"
    mlcc_text template_; // its text around the content: "{user_message}"
} mlcc_chat_role;

typedef struct mlcc_chat_message {
    const char *role;
    mlcc_text content; // data NULL: the message is still to be written, only its start is rendered
    mlcc_text
        json; // data NULL: role and content are all; else the whole message, checked (conversation_messages.c)
} mlcc_chat_message;

// What a Jinja template can read beside the messages, each as JSON text.
typedef enum mlcc_chat_input {
    MLCC_CHAT_TOOLS,     // a list of objects: {"type": "function", "function": {"name": …}}
    MLCC_CHAT_DOCUMENTS, // a list of objects: {"title": …, "text": …}
    MLCC_CHAT_VARIABLES, // an object of more variables: {"enable_thinking": false}
    MLCC_N_CHAT_INPUTS,
} mlcc_chat_input;

// The key of mlc-chat-config.json that is mlcc's own: the name of the Jinja file. MLC LLM passes over it and uses conv_template.
#define MLCC_CHAT_TEMPLATE_KEY "chat_template"
enum { MLCC_CHAT_MAX_SPECIAL_TOKENS = 16, MLCC_CHAT_MAX_VARIABLES = 64 };

typedef struct mlcc_conversation {
    const char *name; // may be NULL
    mlcc_text system_template, system_message;
    bool has_prefix_ids;
    const int32_t *prefix_ids; // system_prefix_token_ids
    size_t n_prefix_ids;
    bool add_role_after_system_message;
    const mlcc_chat_role *roles;
    size_t n_roles;
    const mlcc_chat_message *messages; // preset history
    size_t n_messages;
    mlcc_text seps[2]; // after a message; after one of the assistant
    mlcc_text role_content_sep, role_empty_sep;
    const mlcc_text *stop_strings;
    size_t n_stop_strings;
    const int32_t *stop_ids;
    size_t n_stop_ids;
    bool strip_reasoning_in_history;
    mlcc_text function_string;
    bool use_function_calling;
    const mlcc_jinja *jinja; // the model's own template, NULL: none
    mlcc_jinja_variable jinja_variables[MLCC_CHAT_MAX_SPECIAL_TOKENS]; // bos_token, eos_token, …
    size_t n_jinja_variables;
    mlcc_text inputs[MLCC_N_CHAT_INPUTS]; // data NULL: none
} mlcc_conversation;

// Reads the object `conv_template`. Everything is copied to `keep`. Errors name the key.
mlcc_status *mlcc_conversation_read(
    const mlcc_json_value *conv_template, mlcc_arena *keep, mlcc_conversation *out);
// Reads it from DIRECTORY/mlc-chat-config.json, with the Jinja template that the file names.
mlcc_status *mlcc_conversation_open(
    const char *directory, mlcc_arena *keep, mlcc_conversation *out);

// Gives the Jinja template one of its inputs; `json` NULL takes it away. `what` names it in errors. The text is copied to `keep`. Whatever
// it says is user text: it never becomes a special token. UNSUPPORTED: the conversation has no Jinja template. INVALID: no JSON of the
// form that stands beside its name, above the limits of bytes and depth, or a variable whose name the messages' own variables have.
mlcc_status *mlcc_conversation_set_input(
    mlcc_conversation *conversation, mlcc_chat_input input, const char *json, size_t length,
    const char *what, mlcc_arena *keep);

// Reads messages as OpenAI's chat API has them: a list of objects with role (system, developer, user, assistant, tool) and content: text, a list
// of parts, or null beside tool_calls; or an object that holds such a list as `messages`. Arguments of calls may be text that is JSON, which
// templates want as the object it stands for. Everything is copied to `keep`.
mlcc_status *mlcc_chat_messages_read(
    const char *json, size_t length, const char *what, mlcc_arena *keep,
    const mlcc_chat_message **messages, size_t *n_messages);
// The same for one message; `place` names it in errors.
mlcc_status *mlcc_chat_message_read(
    const mlcc_json_value *value, const char *place, mlcc_arena *keep, mlcc_chat_message *out);
// MLC LLM's templates have a place of its own for the system text: takes the messages of role "system" at the beginning away (joined by an
// empty line). With a Jinja template nothing happens, system->data stays NULL.
void mlcc_chat_messages_take_system(
    const mlcc_conversation *conversation, mlcc_arena *keep, const mlcc_chat_message **messages,
    size_t *n_messages, mlcc_text *system);

// The prompt for the preset history, `messages` and an assistant turn to be written. system.data NULL: the template's own message.
// A request's several system messages are joined by the caller. *text is malloc'ed and NUL-terminated.
// "{function_string}": the last one in the system text and the role templates receives function_string, the others nothing;
// contents of messages are never searched.
// With a Jinja template system.data NULL means no system message, and the preset history stands before `messages`.
// Errors: INVALID, a role that the template does not have; what the Jinja template refuses.
mlcc_status *mlcc_conversation_render(
    const mlcc_conversation *conversation, mlcc_text system, const mlcc_chat_message *messages,
    size_t n_messages, char **text, size_t *length);
// The same as token ids: prefix ids, then the prompt's. *ids is malloc'ed. With a Jinja template there are no prefix ids.
mlcc_status *mlcc_conversation_encode(
    const mlcc_conversation *conversation, const mlcc_tokenizer *tokenizer, mlcc_text system,
    const mlcc_chat_message *messages, size_t n_messages, int32_t **ids, size_t *n_ids);
// The parts of the above for a Jinja template: opening (out->jinja stays NULL where the configuration names none) and rendering.
mlcc_status *mlcc_conversation_open_jinja(
    const char *directory, const mlcc_json_value *config, mlcc_arena *keep, mlcc_conversation *out);
mlcc_status *mlcc_conversation_render_jinja(
    const mlcc_conversation *conversation, mlcc_text system, const mlcc_chat_message *messages,
    size_t n_messages, mlcc_jinja_output *out);

#endif
