// chat_template: --conv-template auto: the way to a prompt that fits a checkpoint.
//
// The model's own Jinja template comes first: chat_template.jinja, or `chat_template` of tokenizer_config.json (a text, or a list of named ones, of
// which "default" is taken). Without one a template of MLC LLM is chosen by model type and folder name. A conv_template is always named, so that
// MLC LLM can read the model directory, too: beside a Jinja template it is the one whose marks the Jinja template writes.
#ifndef MLCC_DIST_ARTIFACT_CHAT_TEMPLATE_H
#define MLCC_DIST_ARTIFACT_CHAT_TEMPLATE_H

#include "frontend/chat/conv_templates.h"
#include "frontend/hf/model_config.h"

#define ARTIFACT_CHAT_TEMPLATE_NAME "chat_template.jinja"

typedef struct artifact_chat_template {
    const conv_template *conv;
    const char *jinja; // NULL: the checkpoint has none
    size_t jinja_bytes;
} artifact_chat_template;

// `source` names the model where it has no folder: the preset. Strings live in `keep`. A template that this program cannot read is passed over with a
// warning. Errors: UNSUPPORTED, with the names to choose from, when neither a Jinja template nor the model type says how a chat looks.
mlcc_status *artifact_chat_template_find(
    const hf_model_config *model, const char *source, mlcc_arena *keep,
    artifact_chat_template *out);

#endif
