// Which of a folder's files makes the tokenizer: tokenizer.json, else SentencePiece's or tiktoken's file.
#include "runtime/base/file.h"
#include "runtime/base/str.h"
#include "runtime/text/sentencepiece.h"
#include "runtime/text/tiktoken.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>

static const size_t file_max_bytes = (size_t)256 << 20;

static mlcc_status *open_json(const char *path, mlcc_tokenizer **out) {
    char *json = NULL;
    size_t length = 0;
    MLCC_TRY(mlcc_file_read(path, file_max_bytes, &json, &length));
    mlcc_status *status = mlcc_tokenizer_load(json, length, path, out);
    free(json);
    return status;
}

// Meta's Llama 3 calls a tiktoken file tokenizer.model, so the content decides.
static mlcc_status *open_vocabulary(
    const char *directory, const char *path, mlcc_arena *scratch, mlcc_tokenizer **out) {
    mlcc_tokenizer_config config;
    MLCC_TRY(mlcc_tokenizer_config_read(directory, scratch, &config));
    char *bytes = NULL;
    size_t length = 0;
    MLCC_TRY(mlcc_file_read(path, file_max_bytes, &bytes, &length));
    bool is_tiktoken =
        mlcc_text_ends_with(path, ".tiktoken") || mlcc_tiktoken_is_file(bytes, length);
    mlcc_status *status = is_tiktoken ? mlcc_tiktoken_load(bytes, length, path, &config, out)
                                      : mlcc_sentencepiece_load(bytes, length, path, &config, out);
    free(bytes);
    return status;
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

mlcc_status *mlcc_tokenizer_open(const char *directory, mlcc_tokenizer **out) {
    *out = NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    const char *json = mlcc_path_join(scratch, directory, "tokenizer.json");
    const char *model = mlcc_path_join(scratch, directory, "tokenizer.model");
    if (!mlcc_file_exists(model)) model = find_tiktoken(directory, scratch);
    mlcc_status *status;
    if (mlcc_file_exists(json)) {
        status = open_json(json, out);
    } else if (model != NULL) {
        status = open_vocabulary(directory, model, scratch, out);
    } else {
        status = MLCC_ERROR(
            INVALID,
            "'%s' does not exist, and there is no tokenizer.model or *.tiktoken beside it; one of "
            "the three is "
            "needed",
            json);
    }
    mlcc_arena_free(scratch);
    return status;
}
