// The normalizer of tokenizer.json.
#include "runtime/text/base64.h"
#include "runtime/text/charsmap.h"
#include "runtime/text/tokenizer_steps.h"

#include <string.h>

static mlcc_normalize_step *new_normalize_step(
    const mlcc_tokenizer_reader *reader, mlcc_normalize_kind kind) {
    mlcc_normalizer *list = &reader->tokenizer->normalizer;
    MLCC_ARENA_GROW(reader->arena, list->steps, list->n_steps, list->capacity);
    mlcc_normalize_step *step = &list->steps[list->n_steps++];
    *step = (mlcc_normalize_step){.kind = kind};
    return step;
}

static mlcc_status *read_normalize_prepend(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_PREPEND);
    return mlcc_steps_read_copy(
        reader, value, place, "prepend", &step->content, &step->content_bytes);
}

static mlcc_status *read_normalize_replace(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_REPLACE);
    MLCC_TRY(mlcc_steps_read_pattern(reader, value, place, &step->pattern));
    return mlcc_steps_read_copy(
        reader, value, place, "content", &step->content, &step->content_bytes);
}

static mlcc_status *read_normalize_form(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    static const char *const names[] = {
        [MLCC_NFC] = "NFC", [MLCC_NFD] = "NFD", [MLCC_NFKC] = "NFKC", [MLCC_NFKD] = "NFKD"};
    const char *type = mlcc_json_text(mlcc_json_get(value, "type"), NULL);
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_FORM);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], type) == 0) step->form = (mlcc_unicode_form)i;
    }
    return NULL;
}

static mlcc_status *read_normalize_strip(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    mlcc_normalize_step *step = new_normalize_step(reader, MLCC_NORMALIZE_STRIP);
    MLCC_TRY(mlcc_json_get_bool(value, "strip_left", true, &step->strips_left));
    return mlcc_json_get_bool(value, "strip_right", true, &step->strips_right);
}

// Steps without keys.
#define PLAIN_NORMALIZE_STEP(function, kind) \
    static mlcc_status *function( \
        const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) { \
        (void)value; \
        (void)place; \
        new_normalize_step(reader, kind); \
        return NULL; \
    }
PLAIN_NORMALIZE_STEP(read_normalize_lowercase, MLCC_NORMALIZE_LOWERCASE)
PLAIN_NORMALIZE_STEP(read_normalize_strip_accents, MLCC_NORMALIZE_STRIP_ACCENTS)
PLAIN_NORMALIZE_STEP(read_normalize_byte_level, MLCC_NORMALIZE_BYTE_LEVEL)
PLAIN_NORMALIZE_STEP(read_normalize_nmt, MLCC_NORMALIZE_NMT)

// BERT's four rules, each a step of its own.
static mlcc_status *read_normalize_bert(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    (void)place;
    bool cleans = true, spaces_chinese = true, lowers = true;
    MLCC_TRY(mlcc_json_get_bool(value, "clean_text", true, &cleans));
    MLCC_TRY(mlcc_json_get_bool(value, "handle_chinese_chars", true, &spaces_chinese));
    MLCC_TRY(mlcc_json_get_bool(value, "lowercase", true, &lowers));
    bool strips_accents = lowers;
    MLCC_TRY(mlcc_json_get_bool(value, "strip_accents", false, &strips_accents));
    if (cleans) new_normalize_step(reader, MLCC_NORMALIZE_BERT_CLEAN);
    if (spaces_chinese) new_normalize_step(reader, MLCC_NORMALIZE_BERT_CHINESE);
    if (strips_accents) {
        new_normalize_step(reader, MLCC_NORMALIZE_FORM)->form = MLCC_NFD;
        new_normalize_step(reader, MLCC_NORMALIZE_STRIP_NONSPACING);
    }
    if (lowers) new_normalize_step(reader, MLCC_NORMALIZE_LOWERCASE);
    return NULL;
}

static mlcc_status *read_normalize_precompiled(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    if (mlcc_json_kind_of(mlcc_json_get(value, "precompiled_charsmap")) == MLCC_JSON_NULL &&
        mlcc_json_get(value, "precompiled_charsmap") != NULL) {
        return NULL; // written for models without a table
    }
    const char *text;
    size_t length;
    MLCC_TRY(
        mlcc_tokenizer_read_string(reader, value, place, "precompiled_charsmap", &text, &length));
    mlcc_bytes blob = {0};
    mlcc_charsmap *map = mlcc_arena_alloc(reader->arena, sizeof *map);
    mlcc_status *status = NULL;
    if (!mlcc_base64_decode(text, length, &blob)) {
        status =
            MLCC_ERROR(INVALID, "'%s': %s.precompiled_charsmap is no base64", reader->file, place);
    }
    if (status == NULL) status = mlcc_bytes_check(&blob);
    if (status == NULL) {
        status =
            mlcc_charsmap_read(blob.length == 0 ? "" : blob.data, blob.length, reader->arena, map);
    }
    mlcc_bytes_free(&blob);
    if (status == NULL) new_normalize_step(reader, MLCC_NORMALIZE_PRECOMPILED)->charsmap = map;
    return status;
}

mlcc_status *mlcc_tokenizer_read_normalizer(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const mlcc_step_type types[] = {
        {"Prepend", read_normalize_prepend},
        {"Replace", read_normalize_replace},
        {"NFC", read_normalize_form},
        {"NFD", read_normalize_form},
        {"NFKC", read_normalize_form},
        {"NFKD", read_normalize_form},
        {"Lowercase", read_normalize_lowercase},
        {"Strip", read_normalize_strip},
        {"StripAccents", read_normalize_strip_accents},
        {"ByteLevel", read_normalize_byte_level},
        {"Nmt", read_normalize_nmt},
        {"BertNormalizer", read_normalize_bert},
        {"Precompiled", read_normalize_precompiled},
    };
    static const mlcc_step_kind kind = {
        "normalizer", "normalizers", types, sizeof types / sizeof *types};
    if (mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    return mlcc_steps_read(reader, &kind, value, kind.name);
}
