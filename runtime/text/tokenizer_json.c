// The whole of tokenizer.json (Hugging Face tokenizers, version "1.0") and its added tokens.
#include "runtime/text/tokenizer_json.h"
#include "runtime/text/tokenizer_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mlcc_status *mlcc_tokenizer_note(
    const mlcc_tokenizer_reader *reader, const char *place, mlcc_status *status) {
    return mlcc_status_note(status, "reading %s of '%s'", place, reader->file);
}

mlcc_status *mlcc_tokenizer_read_string(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *object, const char *place,
    const char *key, const char **text, size_t *length) {
    const mlcc_json_value *value = mlcc_json_get(object, key);
    if (mlcc_json_kind_of(value) != MLCC_JSON_STRING) {
        return MLCC_ERROR(
            INVALID, "'%s': %s.%s is %s, a string is expected", reader->file, place, key,
            value == NULL ? "missing" : mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    *text = mlcc_json_text(value, length);
    return NULL;
}

// ---- added_tokens ----------------------------------------------------------------------------------------------

static mlcc_status *read_added_token(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    mlcc_added_token *token) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT) {
        return MLCC_ERROR(
            INVALID, "'%s': %s is %s, an object is expected", reader->file, place,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    MLCC_TRY(mlcc_tokenizer_read_string(
        reader, value, place, "content", &token->content, &token->content_bytes));
    int64_t id = 0;
    mlcc_status *status = mlcc_json_get_i64(value, "id", true, 0, MLCC_TOKEN_ID_LIMIT - 1, &id);
    if (status == NULL) status = mlcc_json_get_bool(value, "special", false, &token->is_special);
    token->is_normalized = !token->is_special;
    if (status == NULL) {
        status = mlcc_json_get_bool(value, "normalized", false, &token->is_normalized);
    }
    if (status == NULL) status = mlcc_json_get_bool(value, "lstrip", false, &token->lstrip);
    if (status == NULL) status = mlcc_json_get_bool(value, "rstrip", false, &token->rstrip);
    if (status == NULL) {
        status = mlcc_json_get_bool(value, "single_word", false, &token->single_word);
    }
    if (status != NULL) return mlcc_tokenizer_note(reader, place, status);
    token->id = (int32_t)id;
    token->content = mlcc_bytes_keep(reader->arena, token->content, token->content_bytes);
    token->pattern = token->content;
    token->pattern_bytes = token->content_bytes;
    return NULL;
}

static mlcc_status *read_added_tokens(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *root) {
    mlcc_tokenizer *t = reader->tokenizer;
    const mlcc_json_value *list = NULL;
    MLCC_TRY(mlcc_tokenizer_note(
        reader, "the top level", mlcc_json_get_array(root, "added_tokens", false, &list)));
    size_t n = mlcc_json_count(list);
    t->added = mlcc_map_create(n);
    t->added_tokens = mlcc_arena_alloc_array(t->arena, n + 1, sizeof *t->added_tokens);
    for (size_t i = 0; i < n; i++) {
        char place[40];
        snprintf(place, sizeof place, "added_tokens[%zu]", i);
        mlcc_added_token *token = &t->added_tokens[t->n_added_tokens];
        MLCC_TRY(read_added_token(reader, mlcc_json_at(list, i), place, token));
        if (token->content_bytes == 0) continue; // matches nothing
        MLCC_TRY(mlcc_tokenizer_place_added(t, reader->file, place, token));
    }
    return NULL;
}

// ---- the whole -------------------------------------------------------------------------------------------------

static mlcc_status *check_version(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *root) {
    const char *version = NULL;
    MLCC_TRY(mlcc_tokenizer_note(
        reader, "the top level", mlcc_json_get_text(root, "version", false, &version)));
    if (version == NULL || strcmp(version, "1.0") == 0) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED, "'%s': version is '%s', '1.0' is accepted", reader->file, version);
}

static mlcc_status *read_root(const mlcc_tokenizer_reader *reader, const mlcc_json_value *root) {
    if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT) {
        return MLCC_ERROR(
            INVALID, "'%s' is %s, an object with 'model' and 'added_tokens' is expected",
            reader->file, mlcc_json_kind_text(mlcc_json_kind_of(root)));
    }
    const mlcc_json_value *model;
    const mlcc_tokenizer_model_reader *model_reader;
    MLCC_TRY(check_version(reader, root));
    MLCC_TRY(mlcc_tokenizer_find_model_reader(reader, root, &model, &model_reader));
    MLCC_TRY(mlcc_tokenizer_read_normalizer(reader, mlcc_json_get(root, "normalizer")));
    MLCC_TRY(mlcc_tokenizer_read_pretokenizer(reader, mlcc_json_get(root, "pre_tokenizer")));
    MLCC_TRY(mlcc_tokenizer_read_decoder(reader, mlcc_json_get(root, "decoder")));
    MLCC_TRY(model_reader->read_vocab(reader, model));
    MLCC_TRY(read_added_tokens(reader, root));
    MLCC_TRY(model_reader->read_model(reader, model));
    MLCC_TRY(mlcc_tokenizer_note(reader, "added_tokens", mlcc_tokenizer_finish(reader->tokenizer)));
    return mlcc_tokenizer_read_post_processor(reader, mlcc_json_get(root, "post_processor"));
}

mlcc_status *mlcc_tokenizer_load(
    const char *json, size_t length, const char *what, mlcc_tokenizer **out) {
    *out = NULL;
    mlcc_json *document;
    mlcc_tokenizer *tokenizer;
    MLCC_TRY(mlcc_json_parse(json, length, what, 0, &document));
    mlcc_status *status = mlcc_tokenizer_begin(&tokenizer);
    if (status == NULL) {
        mlcc_tokenizer_reader reader = {
            .tokenizer = tokenizer, .arena = tokenizer->arena, .file = what};
        status = read_root(&reader, mlcc_json_root(document));
    }
    mlcc_json_free(document);
    if (status != NULL) {
        mlcc_tokenizer_close(tokenizer);
        return status;
    }
    *out = tokenizer;
    return NULL;
}
