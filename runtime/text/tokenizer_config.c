#include "runtime/text/tokenizer_config.h"

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/text/tokenizer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const size_t config_max_bytes = (size_t)64 << 20;

static mlcc_added_token *new_token(mlcc_tokenizer_config *config, mlcc_arena *keep) {
    MLCC_ARENA_GROW(keep, config->tokens, config->n_tokens, config->capacity);
    mlcc_added_token *token = &config->tokens[config->n_tokens++];
    *token = (mlcc_added_token){0};
    return token;
}

static void set_content(
    mlcc_added_token *token, mlcc_arena *keep, const char *content, size_t length) {
    token->content = token->pattern = mlcc_bytes_keep(keep, content, length);
    token->content_bytes = token->pattern_bytes = length;
}

// "128000": {"content": "<|begin_of_text|>", …}
static mlcc_status *read_decoder_token(
    mlcc_tokenizer_config *config, mlcc_arena *keep, const char *key,
    const mlcc_json_value *value) {
    char *end;
    errno = 0;
    long id = strtol(key, &end, 10);
    if (*key < '0' || *key > '9' || *end != '\0' || errno != 0 || id >= MLCC_TOKEN_ID_LIMIT) {
        return MLCC_ERROR(
            INVALID, "key 'added_tokens_decoder' holds '%.40s', ids from 0 to %d are accepted", key,
            MLCC_TOKEN_ID_LIMIT - 1);
    }
    size_t length;
    const char *content = mlcc_json_text(mlcc_json_get(value, "content"), &length);
    if (content == NULL) {
        return MLCC_ERROR(INVALID, "added_tokens_decoder['%s'] has no text 'content'", key);
    }
    mlcc_added_token *token = new_token(config, keep);
    set_content(token, keep, content, length);
    token->id = (int32_t)id;
    MLCC_TRY(mlcc_json_get_bool(value, "special", false, &token->is_special));
    token->is_normalized = !token->is_special;
    MLCC_TRY(mlcc_json_get_bool(value, "normalized", false, &token->is_normalized));
    MLCC_TRY(mlcc_json_get_bool(value, "lstrip", false, &token->lstrip));
    MLCC_TRY(mlcc_json_get_bool(value, "rstrip", false, &token->rstrip));
    return mlcc_json_get_bool(value, "single_word", false, &token->single_word);
}

// "bos_token": "<s>", or an object with the content.
static const char *read_token_text(const mlcc_json_value *root, const char *key, mlcc_arena *keep) {
    const mlcc_json_value *value = mlcc_json_get(root, key);
    const char *text = mlcc_json_text(value, NULL);
    if (text == NULL) text = mlcc_json_text(mlcc_json_get(value, "content"), NULL);
    return text == NULL ? NULL : mlcc_arena_strdup(keep, text);
}

static mlcc_status *read_choice(const mlcc_json_value *root, const char *key, mlcc_choice *out) {
    const mlcc_json_value *value = mlcc_json_get(root, key);
    if (mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    bool says_yes = false;
    MLCC_TRY(mlcc_json_get_bool(root, key, true, &says_yes));
    *out = says_yes ? MLCC_YES : MLCC_NO;
    return NULL;
}

static mlcc_status *read_config(
    const mlcc_json_value *root, mlcc_arena *keep, mlcc_tokenizer_config *config) {
    const char *class = NULL;
    const mlcc_json_value *tokens = NULL;
    MLCC_TRY(mlcc_json_get_text(root, "tokenizer_class", false, &class));
    if (class != NULL) config->tokenizer_class = mlcc_arena_strdup(keep, class);
    MLCC_TRY(read_choice(root, "add_bos_token", &config->adds_bos));
    MLCC_TRY(read_choice(root, "add_eos_token", &config->adds_eos));
    config->bos = read_token_text(root, "bos_token", keep);
    config->eos = read_token_text(root, "eos_token", keep);
    MLCC_TRY(mlcc_json_get_object(root, "added_tokens_decoder", false, &tokens));
    if (tokens == NULL) return NULL;
    for (const mlcc_json_iter *it = mlcc_json_first(tokens); it != NULL;
         it = mlcc_json_next(tokens, it)) {
        MLCC_TRY(
            read_decoder_token(config, keep, mlcc_json_iter_key(it), mlcc_json_iter_value(it)));
    }
    return NULL;
}

static bool is_known(const mlcc_tokenizer_config *config, const char *content) {
    for (size_t i = 0; i < config->n_tokens; i++) {
        if (strcmp(config->tokens[i].content, content) == 0) return true;
    }
    return false;
}

// added_tokens.json: {"<extra>": 32000}
static mlcc_status *read_added(
    const mlcc_json_value *root, mlcc_arena *keep, mlcc_tokenizer_config *config) {
    for (const mlcc_json_iter *it = mlcc_json_first(root); it != NULL;
         it = mlcc_json_next(root, it)) {
        const char *content = mlcc_json_iter_key(it);
        int64_t id = 0;
        MLCC_TRY(mlcc_json_get_i64(root, content, true, 0, MLCC_TOKEN_ID_LIMIT - 1, &id));
        if (is_known(config, content)) continue;
        mlcc_added_token *token = new_token(config, keep);
        set_content(token, keep, content, strlen(content));
        token->id = (int32_t)id;
    }
    return NULL;
}

const char *const mlcc_tokenizer_config_files[MLCC_TOKENIZER_CONFIG_N_FILES] = {
    "tokenizer_config.json", "added_tokens.json"};

typedef mlcc_status *root_reader(
    const mlcc_json_value *root, mlcc_arena *keep, mlcc_tokenizer_config *config);

static mlcc_status *read_file(
    const char *directory, const char *name, root_reader *read, mlcc_arena *keep,
    mlcc_tokenizer_config *config) {
    const char *path = mlcc_path_join(keep, directory, name);
    if (!mlcc_file_exists(path)) return NULL;
    mlcc_json *json;
    MLCC_TRY(mlcc_json_read_file(path, config_max_bytes, &json));
    const mlcc_json_value *root = mlcc_json_root(json);
    mlcc_status *status = NULL;
    if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT) {
        status = MLCC_ERROR(
            INVALID, "the file is %s, an object is expected",
            mlcc_json_kind_text(mlcc_json_kind_of(root)));
    }
    if (status == NULL) status = read(root, keep, config);
    mlcc_json_free(json);
    return mlcc_status_note(status, "reading '%s'", path);
}

mlcc_status *mlcc_tokenizer_config_read(
    const char *directory, mlcc_arena *keep, mlcc_tokenizer_config *out) {
    *out = (mlcc_tokenizer_config){0};
    static root_reader *const readers[MLCC_TOKENIZER_CONFIG_N_FILES] = {read_config, read_added};
    for (size_t i = 0; i < MLCC_TOKENIZER_CONFIG_N_FILES; i++) {
        MLCC_TRY(read_file(directory, mlcc_tokenizer_config_files[i], readers[i], keep, out));
    }
    return NULL;
}
