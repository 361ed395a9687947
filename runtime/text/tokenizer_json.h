// tokenizer_json: what the readers of tokenizer.json's parts share (tokenizer_json.c: the whole and added tokens; tokenizer_model_json.c:
// the model; tokenizer_steps_json.c: normalizer, pre_tokenizer, decoder; tokenizer_template_json.c: post_processor).
//
// Every error names the file and the place in it: "model.merges[12]", "pre_tokenizer.pretokenizers[1]".
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_JSON_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_JSON_H

#include "runtime/base/json.h"
#include "runtime/text/tokenizer.h"

typedef struct mlcc_tokenizer_reader {
    mlcc_tokenizer *tokenizer;
    mlcc_arena *arena; // the tokenizer's
    const char *file;
} mlcc_tokenizer_reader;

// A required string that may hold NUL characters. `place` names the object.
mlcc_status *mlcc_tokenizer_read_string(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *object, const char *place,
    const char *key, const char **text, size_t *length);
// A required key of another kind, through the functions of json.h, gets its place by this note.
mlcc_status *mlcc_tokenizer_note(
    const mlcc_tokenizer_reader *reader, const char *place, mlcc_status *status);

// How the two halves of a model are read: the vocabulary before the added tokens, the rest behind them (its unknown token may be one).
typedef struct mlcc_tokenizer_model_reader {
    const char *name; // model.type
    mlcc_status *(*read_vocab)(const mlcc_tokenizer_reader *reader, const mlcc_json_value *model);
    mlcc_status *(*read_model)(const mlcc_tokenizer_reader *reader, const mlcc_json_value *model);
} mlcc_tokenizer_model_reader;
// The row for the file's model. UNSUPPORTED, with the types that there are.
mlcc_status *mlcc_tokenizer_find_model_reader(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *root, const mlcc_json_value **model,
    const mlcc_tokenizer_model_reader **out);

// Each reads one top-level value (absent and null are fine) into the tokenizer. The vocabulary must have been read before
// the post-processor, whose ids are checked.
mlcc_status *mlcc_tokenizer_read_normalizer(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value);
mlcc_status *mlcc_tokenizer_read_pretokenizer(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value);
mlcc_status *mlcc_tokenizer_read_post_processor(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value);
mlcc_status *mlcc_tokenizer_read_decoder(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value);

#endif
