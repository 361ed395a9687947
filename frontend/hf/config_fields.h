// config_fields: reads the fields of a model type out of JSON objects, driven by the tables of frontend/arch. Only model_config.c uses it.
#ifndef MLCC_FRONTEND_HF_CONFIG_FIELDS_H
#define MLCC_FRONTEND_HF_CONFIG_FIELDS_H

#include "frontend/arch/arch.h"

// Where values come from: config.json alone, or a model_config object with the top level of mlc-chat-config.json laid over it.
typedef struct config_source {
    const mlcc_json_value *object;
    const mlcc_json_value *
        overlay; // NULL, or looked at first, under MLC's names only; null and -1 mean "no such field" there
    const char *what;      // for messages
    const arch_info *arch; // whose fields are being read
} config_source;

// Every field of the table: range-checked values, defaults for what is not given, errors that name key, value and what is accepted.
mlcc_status *config_read_fields(
    const arch_info *arch, const config_source *source, hf_model_config *config);
// Name of an activation (frontend/arch/activations.def) as configs spell it.
const char *config_activation(int64_t id);
// Whether a positive integer stands under MLC's name itself, not under one of Hugging Face's.
bool config_gives(const config_source *source, const char *name);
// The conditions of the table: the first that does not hold is UNSUPPORTED.
mlcc_status *config_check_conditions(const arch_info *arch, const config_source *source);
// Keys that change a model's arithmetic in any type that has them: one that the type's table does not know and that says something is UNSUPPORTED.
mlcc_status *config_check_arithmetic(const arch_info *arch, const config_source *source);
// One warning that lists the keys that neither the tables nor the list of harmless keys know and that are not null. None: silent.
void config_report_unknown(const arch_info *arch, const config_source *source);

// A rope_scaling or rope_parameters object, into config->rope_scaling. *keep_json is false when it amounts to no scaling. Types: llama3, linear, yarn,
// longrope (su), dynamic (which changes nothing within the model's own context), default; others are UNSUPPORTED.
mlcc_status *config_read_rope_scaling(
    const mlcc_json_value *value, const char *key, hf_model_config *config, bool *keep_json);

#endif
