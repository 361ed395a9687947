// gen_config: the first of the three commands that make a model directory. Writes mlc-chat-config.json and copies the tokenizer files.
//
// All or nothing: every file is completed in a hidden folder inside the output directory and then renamed into place, the config last, so a reader that
// finds a new mlc-chat-config.json finds its tokenizer files too. On an error nothing unfinished stays behind.
#ifndef MLCC_DIST_ARTIFACT_GEN_CONFIG_H
#define MLCC_DIST_ARTIFACT_GEN_CONFIG_H

#include "frontend/hf/model_config.h"

typedef struct artifact_gen_config_options {
    const char *config;            // Hugging Face folder, its config.json, or a preset name
    const char *quantization;      // mode name; only stored
    const char *model_type;        // NULL or "auto": the config's own
    const char *conv_template;     // template name; NULL or "auto": what fits (chat_template.h)
    const char *output;            // directory, made with its parents
    hf_config_overrides overrides; // max_batch_size 0 = 128, MLC LLM's default of this command
    bool has_disaggregation;       // whether `disaggregation` was given
    bool disaggregation;
} artifact_gen_config_options;

// `keep` holds what is read on the way; nothing is returned but the files.
mlcc_status *artifact_gen_config(const artifact_gen_config_options *options, mlcc_arena *keep);

#endif
