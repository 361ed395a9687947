// arch: what the frontend knows about each model type: which config keys it has, what they mean, and how its module is built.
//
// An architecture is data: a table of config fields, a table of conditions, and the description that the shared decoder skeleton builds from
// (decoder.h). Readers, writer and import walk these tables; none of them names an architecture.
#ifndef MLCC_FRONTEND_ARCH_ARCH_H
#define MLCC_FRONTEND_ARCH_ARCH_H

#include "frontend/arch/decoder.h"
#include "frontend/hf/model_config.h"

typedef enum arch_field_kind {
    ARCH_FIELD_INTEGER, // int64_t, 1 … max; 0 and null count as "not given"
    ARCH_FIELD_WINDOW,  // int64_t, 1 … max or -1 = off; 0 and null count as "not given"
    ARCH_FIELD_COUNT,   // int64_t, 0 … max
    ARCH_FIELD_REAL,    // double
    ARCH_FIELD_BOOL,    // bool
    ARCH_FIELD_ACTIVATION, // const char *: name of an activation (activations.def); fallback: the id of the one when not given
    // nothing that mlcc reads: carried from file to file as it is found; null when absent, or an empty array where `fallback` is 1
    ARCH_FIELD_KEPT,
    ARCH_FIELD_CHOICE, // const char *: one of `choices`; fallback: index of the one when not given
    ARCH_FIELD_LAYERS, // const mlcc_json_value *: array of numbers of layers, as found
    ARCH_FIELD_LAYER_TYPES, // array that says for every layer whether it has a window
    ARCH_FIELD_DTYPE, // const char *: "float32", which is also the default, "float16", "bfloat16"
    ARCH_FIELD_ROPE_BASE,    // double; an integer in the file stays one when written back
    ARCH_FIELD_ROPE_SCALING, // hf_rope_scaling
    ARCH_N_FIELD_KINDS
} arch_field_kind;

typedef enum arch_presence {
    ARCH_OPTIONAL,
    ARCH_REQUIRED,
    ARCH_VERBATIM, // optional; written as it was found, null where it was absent, whatever became of it
    // MLC's model class lacks it, Hugging Face's has it: stands in mlc-chat-config.json only when it says something (true, a scaling, a number; a KEPT one
    // never does, arch_info.finish sees that it was there).
    ARCH_EXTRA
} arch_presence;

#define ARCH_MAX_ALIASES 2

// One field of MLC's model class. The table's order is the order in mlc-chat-config.json.
typedef struct arch_field {
    const char *name; // MLC's
    arch_field_kind kind;
    size_t offset; // in hf_model_config
    arch_presence presence;
    int64_t max;      // INTEGER, WINDOW, COUNT: largest accepted value
    int64_t fallback; // the same and BOOL: value when not given; 0 = derived afterwards
    double otherwise; // REAL, ROPE_BASE: value when not given
    const char *aliases
        [ARCH_MAX_ALIASES]; // Hugging Face's names where they differ, tried in this order; "a.b": key b of object a
    const char *const *choices; // CHOICE: accepted texts, NULL-terminated
    const char *json;           // KEPT: JSON text written where the file has none; NULL = null
} arch_field;

#define ARCH_MAX_ACCEPTED 2

typedef enum arch_activation {
#define ARCH_ACTIVATION(id, text, op, squared) ARCH_ACTIVATION_##id,
#include "frontend/arch/activations.def"
    ARCH_N_ACTIVATIONS
} arch_activation;

// A key of Hugging Face's config that mlcc has no choice about: absent, null or one of these JSON texts, or the model is refused.
typedef struct arch_condition {
    const char *key;
    const char *accepted[ARCH_MAX_ACCEPTED];
    const char *hint; // what to do about it; NULL = nothing to add
} arch_condition;

typedef struct arch_info {
    const arch_field *fields;
    size_t n_fields;
    // So many, behind the first n_before, stand in an object "text_config" of MLC's model_config; 0 = none.
    size_t n_nested, n_before;
    const arch_condition *conditions;
    size_t n_conditions;
    // Hugging Face keys that this type has and that say nothing here, NULL-terminated; NULL = none.
    const char *const *ignored_keys;
    int64_t max_prefill_chunk; // default of prefill_chunk_size where the context is longer
    bool rolls_context;        // a sliding window takes the limit off the context, as in MLC LLM
    bool completes_longrope;   // rope_scaling is written with the contexts in it, as MLC LLM does
    // Computes what the type's own fields amount to in the skeleton's terms; NULL = nothing. Called once, before overrides (of a type without a graph
    // after them).
    mlcc_status *(*finish)(hf_model_config *config);
    // How the module is built; NULL: a recurrent type, of which mlcc knows the configuration only (arch_has_graph).
    const arch_decoder *decoder;
} arch_info;

#define ARCH(id, text, task, traits) extern const arch_info arch_##id;
#include "frontend/arch/arch.def"

// Structures and names that several types share: Llama's; the same with biases on q, k, v and o.
extern const arch_decoder arch_decoder_llama;

// Row of a model type; NULL when unknown.
const arch_info *arch_find(const char *model_type);
// Whether modules of the type can be built. Of others gen_config writes the configuration, for MLC LLM, and every other command refuses them.
bool arch_has_graph(const arch_info *arch);
// The row of a model type whose modules can be built. UNSUPPORTED: unknown, or configuration only; says which are accepted.
mlcc_status *arch_find_graph(const char *model_type, const arch_info **out);
// The registry's own spelling (static) of a known model type, and its model_task.
const char *arch_model_type(const char *model_type);
const char *arch_task(const char *model_type);
// All rows, those without a graph among them, for messages.
const char *const *arch_model_types(size_t *n_types);
// UNSUPPORTED, with the nearest name and all accepted ones.
mlcc_status *arch_unknown(const char *model_type);
// The field called `name` by MLC; NULL when the model type has none.
const arch_field *arch_find_field(const arch_info *arch, const char *name);

#endif
