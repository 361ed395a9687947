// tokenizer_steps: what the readers of normalizer, pre_tokenizer and decoder share. Each of these is one step or a Sequence of steps (of
// Sequences …), which is read into one flat list. A table per kind names the types and their readers.
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_STEPS_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_STEPS_H

#include "runtime/text/tokenizer_json.h"

// Reads one step and adds it to its list in the tokenizer.
typedef mlcc_status *mlcc_step_reader(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place);

typedef struct mlcc_step_type {
    const char *name;
    mlcc_step_reader *read;
} mlcc_step_type;

// What Sequence is called in each kind, and the types it may hold.
typedef struct mlcc_step_kind {
    const char *name;     // "normalizer"
    const char *list_key; // "normalizers"
    const mlcc_step_type *types;
    size_t n_types;
} mlcc_step_kind;

mlcc_status *mlcc_steps_read(
    const mlcc_tokenizer_reader *reader, const mlcc_step_kind *kind, const mlcc_json_value *value,
    const char *place);

// A string, copied into the tokenizer's arena.
mlcc_status *mlcc_steps_read_copy(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, const char **text, size_t *length);
// A string of exactly one character.
mlcc_status *mlcc_steps_read_character(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, const char **text, size_t *length);
// Key 'pattern': {"String": …} or {"Regex": …}.
mlcc_status *mlcc_steps_read_pattern(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_pattern *out);
// A Metaspace's scheme, of pre-tokenizer and decoder.
mlcc_status *mlcc_steps_read_scheme(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_prepend_scheme *out);

#endif
