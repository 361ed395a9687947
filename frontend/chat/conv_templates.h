// conv_templates: how a chat becomes one prompt, in MLC LLM's schema. gen_config writes the chosen template, whole, into mlc-chat-config.json; the
// runtime reads it from there, so a model directory needs no table of templates.
#ifndef MLCC_FRONTEND_CHAT_CONV_TEMPLATES_H
#define MLCC_FRONTEND_CHAT_CONV_TEMPLATES_H

#include "runtime/base/json.h"

#define CONV_MAX_TEXTS 4
#define CONV_MAX_IDS   8

enum { CONV_USER, CONV_ASSISTANT, CONV_TOOL, CONV_N_ROLES };

typedef struct conv_template {
    const char *name;
    const char *system_template; // holds the placeholder {system_message}
    const char *system_message;
    int32_t prefix_ids
        [CONV_MAX_IDS]; // in front of the tokenised prompt; n_prefix_ids 0 = null in the file
    int32_t n_prefix_ids;
    bool no_role_after_system_message;
    const char *roles[CONV_N_ROLES]; // NULL: the template has no such role
    // around a role's text; NULL: the text alone, "{user_message}"
    const char *role_templates[CONV_N_ROLES];
    const char *seps[2]; // the second may be NULL
    const char *role_content_sep, *role_empty_sep;
    const char *stop_str[CONV_MAX_TEXTS]; // NULL-terminated unless full
    int32_t stop_ids[CONV_MAX_IDS];
    int32_t n_stop_ids;
    bool strips_reasoning; // past answers lose what stands before </think>
} conv_template;

// Unknown: UNSUPPORTED, with the nearest name and the list. "llama_default", which MLC LLM offers but does not have, is llama-2 with a warning.
mlcc_status *conv_template_find(const char *name, const conv_template **out);
const conv_template *conv_template_table(size_t *n_templates);
// The conv_template object of mlc-chat-config.json, every field in MLC's order.
void conv_template_write(const conv_template *conv, mlcc_json_writer *writer);

#endif
