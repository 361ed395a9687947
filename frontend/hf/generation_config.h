// generation_config: sampling values and token ids that a model suggests, as mlc-chat-config.json carries them.
//
// Every value comes from generation_config.json, else from config.json, else from MLC LLM's default; null counts as absent. Values are kept
// as the file spells them (0.6, 1, [1, 2]), so that writing them changes nothing. Other keys (top_k, max_length, …) have no place in MLC's file.
#ifndef MLCC_FRONTEND_HF_GENERATION_CONFIG_H
#define MLCC_FRONTEND_HF_GENERATION_CONFIG_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"

// In the order of mlc-chat-config.json.
typedef enum hf_generation_key {
    HF_TEMPERATURE,
    HF_PRESENCE_PENALTY,
    HF_FREQUENCY_PENALTY,
    HF_REPETITION_PENALTY,
    HF_TOP_P,
    HF_PAD_TOKEN_ID,
    HF_BOS_TOKEN_ID,
    HF_EOS_TOKEN_ID,
    HF_N_GENERATION_KEYS
} hf_generation_key;

typedef struct hf_generation_config {
    const mlcc_json_value *values[HF_N_GENERATION_KEYS]; // NULL: the default
    mlcc_json *document; // of generation_config.json; NULL when there is none
} hf_generation_config;

// `directory` may be NULL (a preset); without the file in it only `model_config`, the root of config.json (may be NULL), is asked; it must
// outlive the result. A value of a wrong kind or out of range is INVALID.
mlcc_status *hf_generation_config_read(
    const char *directory, const mlcc_json_value *model_config, mlcc_arena *keep,
    hf_generation_config *out);
// Keys first … last with their values, into an open object.
void hf_generation_config_write(
    const hf_generation_config *config, hf_generation_key first, hf_generation_key last,
    mlcc_json_writer *writer);
void hf_generation_config_free(hf_generation_config *config);

#endif
