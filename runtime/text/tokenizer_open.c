// Which of a folder's files makes the tokenizer: tokenizer.json, else SentencePiece's or tiktoken's file; and whether its cache does instead.
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/text/sentencepiece.h"
#include "runtime/text/tiktoken.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_cache.h"

static const size_t file_max_bytes = (size_t)256 << 20;
// Less than this is read about as fast as a cache is mapped, and folders stay as they are.
static const size_t cached_min_bytes = (size_t)256 << 10;

// The files that make the tokenizer.
typedef struct source {
    const char *directory;
    const char *path; // tokenizer.json, or the vocabulary's file
    bool is_json;
    mlcc_mapping content;
} source;

// ---- reading the files -----------------------------------------------------------------------------------------

// Meta's Llama 3 calls a tiktoken file tokenizer.model, so the content decides.
static mlcc_status *load_vocabulary(
    const source *s, const char *bytes, mlcc_arena *scratch, mlcc_tokenizer **out) {
    mlcc_tokenizer_config config;
    MLCC_TRY(mlcc_tokenizer_config_read(s->directory, scratch, &config));
    const size_t length = s->content.size_bytes;
    bool is_tiktoken =
        mlcc_text_ends_with(s->path, ".tiktoken") || mlcc_tiktoken_is_file(bytes, length);
    return is_tiktoken ? mlcc_tiktoken_load(bytes, length, s->path, &config, out)
                       : mlcc_sentencepiece_load(bytes, length, s->path, &config, out);
}

static mlcc_status *load(const source *s, mlcc_arena *scratch, mlcc_tokenizer **out) {
    const char *bytes = s->content.size_bytes == 0 ? "" : s->content.data;
    if (!s->is_json) return load_vocabulary(s, bytes, scratch, out);
    return mlcc_tokenizer_load(bytes, s->content.size_bytes, s->path, out);
}

// The first *.tiktoken of the folder, or NULL.
static const char *find_tiktoken(const char *directory, mlcc_arena *scratch) {
    char **names = NULL;
    size_t n_names = 0;
    const char *found = NULL;
    if (!mlcc_dir_exists(directory)) return NULL;
    mlcc_status *status = mlcc_dir_list(directory, scratch, &names, &n_names);
    for (size_t i = 0; status == NULL && found == NULL && i < n_names; i++) {
        if (mlcc_text_ends_with(names[i], ".tiktoken")) {
            found = mlcc_path_join(scratch, directory, names[i]);
        }
    }
    mlcc_status_free(status);
    return found;
}

static mlcc_status *find_source(const char *directory, mlcc_arena *scratch, source *out) {
    const char *json = mlcc_path_join(scratch, directory, "tokenizer.json");
    const char *model = mlcc_path_join(scratch, directory, "tokenizer.model");
    *out = (source){.directory = directory, .path = json, .is_json = mlcc_file_exists(json)};
    if (!out->is_json) {
        out->path = mlcc_file_exists(model) ? model : find_tiktoken(directory, scratch);
    }
    if (out->path == NULL) {
        return MLCC_ERROR(
            INVALID,
            "'%s' does not exist, and there is no tokenizer.model or *.tiktoken beside it; one of "
            "the three is "
            "needed",
            json);
    }
    MLCC_TRY(mlcc_file_map(out->path, &out->content));
    if (out->content.size_bytes <= file_max_bytes) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s' has %zu MiB, at most %zu MiB are accepted", out->path,
        out->content.size_bytes >> 20, file_max_bytes >> 20);
}

// ---- the cache ---------------------------------------------------------------------------------------------------

static mlcc_status *key_of(const source *s, mlcc_arena *scratch, mlcc_hash128 *out) {
    mlcc_hasher *key = mlcc_tokenizer_cache_key_begin();
    mlcc_status *status = NULL;
    mlcc_tokenizer_cache_key_add(
        key, mlcc_path_base(s->path), s->content.data, s->content.size_bytes);
    for (size_t i = 0; !s->is_json && status == NULL && i < MLCC_TOKENIZER_CONFIG_N_FILES; i++) {
        const char *name = mlcc_tokenizer_config_files[i];
        const char *path = mlcc_path_join(scratch, s->directory, name);
        if (!mlcc_file_exists(path)) continue;
        mlcc_mapping content;
        status = mlcc_file_map(path, &content);
        if (status != NULL) break;
        mlcc_tokenizer_cache_key_add(key, name, content.data, content.size_bytes);
        mlcc_file_unmap(&content);
    }
    *out = mlcc_hasher_digest(key);
    mlcc_hasher_free(key);
    return status;
}

// A tokenizer that cannot be kept is as good as one that is.
static void store(
    const char *const *paths, size_t n_paths, mlcc_hash128 key, const mlcc_tokenizer *tokenizer) {
    for (size_t i = 0; i < n_paths; i++) {
        mlcc_status *status = mlcc_tokenizer_cache_store(paths[i], key, tokenizer);
        if (status == NULL) return;
        mlcc_log(
            MLCC_LOG_INFO, "text", "the tokenizer is not kept in %s: %s", paths[i],
            mlcc_status_message(status));
        mlcc_status_free(status);
    }
}

static mlcc_status *load_through_cache(
    const source *s, const char *cache_directory, mlcc_arena *scratch, mlcc_tokenizer **out) {
    mlcc_hash128 key;
    MLCC_TRY(key_of(s, scratch, &key));
    const char *paths[2];
    size_t n_paths = 0;
    if (cache_directory == NULL) {
        paths[n_paths++] = mlcc_path_join(scratch, s->directory, MLCC_TOKENIZER_CACHE_FILE);
    }
    paths[n_paths++] = mlcc_tokenizer_cache_path(scratch, cache_directory, key);
    for (size_t i = 0; i < n_paths; i++) {
        if (mlcc_tokenizer_cache_load(paths[i], key, out)) return NULL;
    }
    MLCC_TRY(load(s, scratch, out));
    store(paths, n_paths, key, *out);
    return NULL;
}

// ---- opening -----------------------------------------------------------------------------------------------------

mlcc_status *mlcc_tokenizer_open_with(const mlcc_tokenizer_options *options, mlcc_tokenizer **out) {
    *out = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    source s;
    mlcc_status *status = find_source(options->directory, scratch, &s);
    if (status == NULL) {
        bool is_cached = !options->no_cache && (options->cache_directory != NULL ||
                                                s.content.size_bytes >= cached_min_bytes);
        status = is_cached ? load_through_cache(&s, options->cache_directory, scratch, out)
                           : load(&s, scratch, out);
    }
    mlcc_file_unmap(&s.content);
    mlcc_arena_free(scratch);
    return status;
}

mlcc_status *mlcc_tokenizer_open(const char *directory, mlcc_tokenizer **out) {
    return mlcc_tokenizer_open_with(&(mlcc_tokenizer_options){.directory = directory}, out);
}
