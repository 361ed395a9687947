#include "frontend/hf/tokenizer_files.h"

#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/map.h"

#include <string.h>

#define TOKENIZER_JSON      "tokenizer.json"
#define TOKENIZER_MODEL     "tokenizer.model"
#define LOWER_ONE_EIGHTH    "\xe2\x96\x81" // U+2581, SentencePiece's visible space
#define MAX_TOKENIZER_BYTES ((size_t)256 << 20)

static const char *const copied_names[] = {
    TOKENIZER_MODEL, TOKENIZER_JSON,      "vocab.json",
    "merges.txt",    "added_tokens.json", "tokenizer_config.json",
};

hf_tokenizer_info hf_tokenizer_info_default(void) {
    return (hf_tokenizer_info){.token_postproc_method = "byte_fallback"};
}

static bool text_is(const mlcc_json_value *object, const char *key, const char *expected) {
    const char *text = mlcc_json_text(mlcc_json_get(object, key), NULL);
    return text != NULL && strcmp(text, expected) == 0;
}

// Members of a Sequence (`list_key` of it), or the component itself as the only member.
static size_t count_members(const mlcc_json_value *component, const char *list_key) {
    if (mlcc_json_kind_of(component) != MLCC_JSON_OBJECT) return 0;
    return text_is(component, "type", "Sequence")
               ? mlcc_json_count(mlcc_json_get(component, list_key))
               : 1;
}

static const mlcc_json_value *member_at(
    const mlcc_json_value *component, const char *list_key, size_t index) {
    return text_is(component, "type", "Sequence")
               ? mlcc_json_at(mlcc_json_get(component, list_key), index)
               : component;
}

static bool strips_one_space(const mlcc_json_value *decoder) {
    return text_is(decoder, "type", "Strip") && text_is(decoder, "content", " ") &&
           mlcc_json_int(mlcc_json_get(decoder, "start")) == 1 &&
           mlcc_json_int(mlcc_json_get(decoder, "stop")) == 0;
}

static hf_tokenizer_info detect_info(const mlcc_json_value *tokenizer) {
    hf_tokenizer_info info = hf_tokenizer_info_default();
    const mlcc_json_value *decoder = mlcc_json_get(tokenizer, "decoder");
    const char *method = NULL;
    for (size_t i = 0; i < count_members(decoder, "decoders"); i++) {
        const mlcc_json_value *member = member_at(decoder, "decoders", i);
        if (method == NULL && text_is(member, "type", "ByteLevel")) method = "byte_level";
        if (method == NULL && text_is(member, "type", "ByteFallback")) method = "byte_fallback";
        if (strips_one_space(member)) info.strip_space_in_decode = true;
    }
    if (method != NULL) info.token_postproc_method = method;
    const mlcc_json_value *normalizer = mlcc_json_get(tokenizer, "normalizer");
    for (size_t i = 0; i < count_members(normalizer, "normalizers"); i++) {
        const mlcc_json_value *member = member_at(normalizer, "normalizers", i);
        if (text_is(member, "type", "Prepend") && text_is(member, "prepend", LOWER_ONE_EIGHTH))
            info.prepend_space_in_encode = true;
    }
    return info;
}

// The vocabulary is an object {token: id} (BPE, WordPiece, WordLevel) or a list of [token, score] pairs (Unigram).
static mlcc_status *collect_vocab(const mlcc_json_value *vocab, mlcc_map *tokens) {
    if (mlcc_json_kind_of(vocab) == MLCC_JSON_OBJECT) {
        for (const mlcc_json_iter *it = mlcc_json_first(vocab); it != NULL;
             it = mlcc_json_next(vocab, it))
            mlcc_map_add_text(tokens, mlcc_json_iter_key(it), 0);
        return NULL;
    }
    if (mlcc_json_kind_of(vocab) != MLCC_JSON_ARRAY)
        return MLCC_ERROR(
            INVALID, "model.vocab is %s; expected an object or a list of pairs",
            mlcc_json_kind_text(mlcc_json_kind_of(vocab)));
    for (size_t i = 0; i < mlcc_json_count(vocab); i++) {
        size_t length = 0;
        const char *text = mlcc_json_text(mlcc_json_at(mlcc_json_at(vocab, i), 0), &length);
        if (text == NULL)
            return MLCC_ERROR(INVALID, "entry %zu of model.vocab does not begin with a string", i);
        mlcc_map_add(tokens, text, length, 0);
    }
    return NULL;
}

static mlcc_status *collect_added(const mlcc_json_value *added, mlcc_map *tokens) {
    mlcc_map *seen = mlcc_map_create(mlcc_json_count(added));
    mlcc_status *status = NULL;
    for (size_t i = 0; i < mlcc_json_count(added) && status == NULL; i++) {
        size_t length = 0;
        const char *text =
            mlcc_json_text(mlcc_json_get(mlcc_json_at(added, i), "content"), &length);
        if (text == NULL)
            status = MLCC_ERROR(INVALID, "entry %zu of added_tokens has no text 'content'", i);
        else if (!mlcc_map_add(seen, text, length, i))
            status = MLCC_ERROR(
                INVALID, "added_tokens has two entries with content '%.80s'; each may stand once",
                text);
        else
            mlcc_map_add(tokens, text, length, 0);
    }
    mlcc_map_free(seen);
    return status;
}

mlcc_status *hf_tokenizer_inspect(
    const mlcc_json_value *tokenizer, hf_tokenizer_info *info, int64_t *active_vocab) {
    *info = hf_tokenizer_info_default();
    *active_vocab = 0;
    if (mlcc_json_kind_of(tokenizer) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "the tokenizer is %s; expected an object",
            mlcc_json_kind_text(mlcc_json_kind_of(tokenizer)));
    const mlcc_json_value *model = NULL, *added = NULL;
    MLCC_TRY(mlcc_json_get_object(tokenizer, "model", true, &model));
    MLCC_TRY(mlcc_json_get_array(tokenizer, "added_tokens", false, &added));
    mlcc_map *tokens = mlcc_map_create(mlcc_json_count(mlcc_json_get(model, "vocab")));
    mlcc_status *status = collect_vocab(mlcc_json_get(model, "vocab"), tokens);
    if (status == NULL) status = collect_added(added, tokens);
    *active_vocab = (int64_t)mlcc_map_count(tokens);
    mlcc_map_free(tokens);
    if (status == NULL) *info = detect_info(tokenizer);
    return status;
}

// Adds *.tiktoken files, which are read where there is no tokenizer.json. `names`: all of the folder.
static void add_tiktoken(
    char *const *names, size_t n_names, mlcc_arena *keep, hf_tokenizer_files *files) {
    const char **all = MLCC_NEW_ARRAY(keep, const char *, files->n_names + n_names + 1);
    for (size_t i = 0; i < files->n_names; i++) all[i] = files->names[i];
    files->names = all;
    for (size_t i = 0; i < n_names; i++) {
        if (mlcc_text_ends_with(names[i], ".tiktoken")) files->names[files->n_names++] = names[i];
    }
}

// A vocabulary in RWKV's own format, rwkv_vocab_v20230424.txt; NULL = none.
static const char *find_rwkv_vocabulary(char *const *names, size_t n_names) {
    for (size_t i = 0; i < n_names; i++)
        if (mlcc_text_starts_with(names[i], "rwkv_vocab_v")) return names[i];
    return NULL;
}

// The runtime reads tokenizer.json, tokenizer.model or *.tiktoken; without any of them say what would help.
static void report_missing(
    const char *directory, const hf_tokenizer_files *files, const char *rwkv) {
    for (size_t i = 0; i < files->n_names; i++) {
        if (strcmp(files->names[i], TOKENIZER_MODEL) == 0) return;
        if (mlcc_text_ends_with(files->names[i], ".tiktoken")) return;
    }
    if (rwkv != NULL) {
        mlcc_log(
            MLCC_LOG_WARN, "tokenizer",
            "%s holds '%s', which mlcc neither reads nor copies; MLC LLM's gen_config makes its "
            "tokenizer_model of it",
            directory, rwkv);
    } else if (files->n_names == 0) {
        mlcc_log(
            MLCC_LOG_WARN, "tokenizer", "%s holds no tokenizer files; expected " TOKENIZER_JSON,
            directory);
    } else {
        mlcc_log(
            MLCC_LOG_WARN, "tokenizer",
            "%s holds '%s' but no " TOKENIZER_JSON
            ", which mlcc reads; make one with AutoTokenizer.from_pretrained(…).save_pretrained(…) "
            "of Hugging Face transformers",
            directory, files->names[0]);
    }
}

mlcc_status *hf_tokenizer_files_find(
    const char *directory, mlcc_arena *keep, hf_tokenizer_files *out) {
    *out = (hf_tokenizer_files){.info = hf_tokenizer_info_default()};
    out->names = MLCC_NEW_ARRAY(keep, const char *, sizeof copied_names / sizeof copied_names[0]);
    for (size_t i = 0; i < sizeof copied_names / sizeof copied_names[0]; i++) {
        if (!mlcc_file_exists(mlcc_path_join(keep, directory, copied_names[i]))) continue;
        out->names[out->n_names++] = copied_names[i];
        if (strcmp(copied_names[i], TOKENIZER_JSON) == 0) out->has_tokenizer_json = true;
    }
    if (!out->has_tokenizer_json) {
        char **names = NULL;
        size_t n_names = 0;
        MLCC_TRY(mlcc_dir_list(directory, keep, &names, &n_names));
        add_tiktoken(names, n_names, keep, out);
        report_missing(directory, out, find_rwkv_vocabulary(names, n_names));
        return NULL;
    }
    const char *path = mlcc_path_join(keep, directory, TOKENIZER_JSON);
    mlcc_json *json = NULL;
    MLCC_TRY(mlcc_json_read_file(path, MAX_TOKENIZER_BYTES, &json));
    mlcc_status *status =
        hf_tokenizer_inspect(mlcc_json_root(json), &out->info, &out->active_vocab);
    mlcc_json_free(json);
    return mlcc_status_note(status, "reading %s", path);
}
