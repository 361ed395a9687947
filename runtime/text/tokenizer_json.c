// The whole of tokenizer.json (Hugging Face tokenizers, version "1.0"): model and added tokens.
#include "runtime/text/tokenizer_json.h"

#include "runtime/base/log.h"
#include "runtime/text/unicode.h"

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

// ---- tokens by id --------------------------------------------------------------------------------------------

static bool reserve_ids(mlcc_tokenizer *t, size_t n_tokens) {
    if (n_tokens > t->tokens_capacity) {
        size_t capacity = t->tokens_capacity * 2 > n_tokens ? t->tokens_capacity * 2 : n_tokens;
        mlcc_token *tokens = mlcc_arena_try_alloc(t->arena, capacity * sizeof *tokens);
        if (tokens == NULL) return false;
        if (t->n_tokens != 0) memcpy(tokens, t->tokens, t->n_tokens * sizeof *tokens);
        t->tokens = tokens;
        t->tokens_capacity = capacity;
    }
    if (n_tokens > t->n_tokens) t->n_tokens = n_tokens;
    return true;
}

static mlcc_status *no_memory(const mlcc_tokenizer_reader *reader) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while reading '%s'", reader->file);
}

static mlcc_status *check_id(const mlcc_tokenizer_reader *reader, const char *place, int64_t id) {
    if (id >= 0 && id < MLCC_TOKEN_ID_LIMIT) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': %s is %" PRId64 ", ids from 0 to %d are accepted", reader->file, place, id,
        MLCC_TOKEN_ID_LIMIT - 1);
}

// ---- model.vocab -----------------------------------------------------------------------------------------------

static mlcc_status *add_piece(
    const mlcc_tokenizer_reader *reader, const char *piece, const mlcc_json_value *value) {
    mlcc_tokenizer *t = reader->tokenizer;
    if (mlcc_json_kind_of(value) != MLCC_JSON_INT) {
        return MLCC_ERROR(
            INVALID, "'%s': model.vocab['%s'] is %s, an integer id is expected", reader->file,
            piece, mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    int64_t id = mlcc_json_int(value);
    if (id < 0 || id >= MLCC_TOKEN_ID_LIMIT) {
        return check_id(reader, mlcc_arena_printf(t->arena, "model.vocab['%s']", piece), id);
    }
    if (!reserve_ids(t, (size_t)id + 1)) return no_memory(reader);
    mlcc_token *token = &t->tokens[id];
    if (token->text != NULL) {
        return MLCC_ERROR(
            INVALID,
            "'%s': model.vocab gives the id %" PRId64 " to '%s' and to '%s', an id belongs to "
            "one piece",
            reader->file, id, token->text, piece);
    }
    token->text = piece; // replaced by the map's own copy when all are there
    return NULL;
}

static mlcc_status *read_vocab(const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    mlcc_tokenizer *t = reader->tokenizer;
    const mlcc_json_value *vocab;
    MLCC_TRY(
        mlcc_tokenizer_note(reader, "model", mlcc_json_get_object(model, "vocab", true, &vocab)));
    size_t n_pieces = mlcc_json_count(vocab);
    t->vocab = mlcc_map_create(n_pieces);
    if (!reserve_ids(t, n_pieces < MLCC_TOKEN_ID_LIMIT ? n_pieces : MLCC_TOKEN_ID_LIMIT)) {
        return no_memory(reader);
    }
    t->n_tokens = 0;
    const mlcc_json_iter *it;
    for (it = mlcc_json_first(vocab); it != NULL; it = mlcc_json_next(vocab, it)) {
        const char *piece = mlcc_json_iter_key(it);
        MLCC_TRY(add_piece(reader, piece, mlcc_json_iter_value(it)));
        mlcc_map_add_text(t->vocab, piece, (uint64_t)mlcc_json_int(mlcc_json_iter_value(it)));
    }
    for (size_t i = 0; i < mlcc_map_count(t->vocab); i++) {
        const char *piece;
        size_t length;
        uint64_t id;
        mlcc_map_entry(t->vocab, i, &piece, &length, &id);
        t->tokens[id] = (mlcc_token){
            .text = piece, .text_bytes = length, .decoded = piece, .decoded_bytes = length};
    }
    return NULL;
}

// ---- model.merges ----------------------------------------------------------------------------------------------

// The two pieces of "a b" or ["a", "b"]. *is_comment: the "#version" line of a merges.txt.
static mlcc_status *read_merge_pieces(
    const mlcc_json_value *merge, const char *pieces[2], size_t lengths[2], bool *is_comment) {
    *is_comment = false;
    if (mlcc_json_kind_of(merge) == MLCC_JSON_ARRAY) {
        bool is_pair = mlcc_json_count(merge) == 2;
        for (size_t i = 0; is_pair && i < 2; i++) {
            const mlcc_json_value *piece = mlcc_json_at(merge, i);
            is_pair = mlcc_json_kind_of(piece) == MLCC_JSON_STRING;
            if (is_pair) pieces[i] = mlcc_json_text(piece, &lengths[i]);
        }
        if (is_pair) return NULL;
        return MLCC_ERROR(INVALID, "an array, but not of two strings");
    }
    if (mlcc_json_kind_of(merge) != MLCC_JSON_STRING) {
        return MLCC_ERROR(
            INVALID, "%s, a string \"LEFT RIGHT\" or an array [\"LEFT\", \"RIGHT\"] is expected",
            mlcc_json_kind_text(mlcc_json_kind_of(merge)));
    }
    size_t length;
    const char *text = mlcc_json_text(merge, &length);
    static const char comment[] = "#version";
    *is_comment = length >= sizeof comment - 1 && memcmp(text, comment, sizeof comment - 1) == 0;
    if (*is_comment) return NULL;
    const char *space = memchr(text, ' ', length);
    size_t left = space == NULL ? length : (size_t)(space - text);
    if (space == NULL || memchr(space + 1, ' ', length - left - 1) != NULL) {
        return MLCC_ERROR(
            INVALID, "'%.*s', two pieces with one space between them are expected",
            length < 100 ? (int)length : 100, text);
    }
    pieces[0] = text;
    lengths[0] = left;
    pieces[1] = space + 1;
    lengths[1] = length - left - 1;
    return NULL;
}

static mlcc_status *read_merges(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *merges) {
    mlcc_bpe *bpe = reader->tokenizer->bpe;
    size_t n_merges = mlcc_json_count(merges);
    for (size_t i = 0; i < n_merges; i++) {
        const char *pieces[2] = {"", ""};
        size_t lengths[2] = {0, 0};
        bool is_comment;
        mlcc_status *status =
            read_merge_pieces(mlcc_json_at(merges, i), pieces, lengths, &is_comment);
        if (status == NULL && !is_comment) {
            status = mlcc_bpe_add_merge(bpe, pieces[0], lengths[0], pieces[1], lengths[1]);
        }
        if (status != NULL) {
            return mlcc_status_note(status, "reading model.merges[%zu] of '%s'", i, reader->file);
        }
    }
    mlcc_bpe_finish(bpe);
    return NULL;
}

// ---- model -----------------------------------------------------------------------------------------------------

// The added tokens have been read by now: unk_token may be one of them.
static mlcc_status *read_options(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model, mlcc_bpe_options *options) {
    const char *unknown = NULL;
    double dropout = 0;
    MLCC_TRY(mlcc_json_get_text(model, "unk_token", false, &unknown));
    MLCC_TRY(mlcc_json_get_text(model, "continuing_subword_prefix", false, &options->prefix));
    MLCC_TRY(mlcc_json_get_text(model, "end_of_word_suffix", false, &options->suffix));
    MLCC_TRY(mlcc_json_get_bool(model, "fuse_unk", false, &options->fuses_unknown));
    MLCC_TRY(mlcc_json_get_bool(model, "byte_fallback", false, &options->has_byte_fallback));
    MLCC_TRY(mlcc_json_get_bool(model, "ignore_merges", false, &options->ignores_merges));
    MLCC_TRY(mlcc_json_get_f64(model, "dropout", false, &dropout));
    if (dropout > 0 || dropout < 0) {
        return MLCC_ERROR(
            UNSUPPORTED, "key 'dropout' is %g, only null and 0 give the same ids every time",
            dropout);
    }
    if (unknown == NULL) return NULL;
    options->unknown_id = mlcc_tokenizer_find(reader->tokenizer, unknown);
    if (options->unknown_id >= 0) return NULL;
    return MLCC_ERROR(
        INVALID, "key 'unk_token' is '%s', which is neither in model.vocab nor an added token",
        unknown);
}

static mlcc_status *read_model(const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    const mlcc_json_value *merges;
    mlcc_bpe_options options = {
        .vocab = reader->tokenizer->vocab, .unknown_id = -1, .prefix = "", .suffix = ""};
    mlcc_status *status = mlcc_json_get_array(model, "merges", true, &merges);
    if (status == NULL) status = read_options(reader, model, &options);
    if (status == NULL) {
        options.n_merges = mlcc_json_count(merges);
        status = mlcc_bpe_create(&options, &reader->tokenizer->bpe);
    }
    if (status != NULL) return mlcc_tokenizer_note(reader, "model", status);
    return read_merges(reader, merges);
}

// Files from before 2021 have no "type" in the model; merges then tell that it is BPE.
static mlcc_status *check_model_type(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *root,
    const mlcc_json_value **model) {
    const char *type = NULL;
    mlcc_status *status = mlcc_json_get_object(root, "model", true, model);
    if (status != NULL) return mlcc_tokenizer_note(reader, "the top level", status);
    bool has_merges = mlcc_json_get(*model, "merges") != NULL;
    status = mlcc_json_get_text(*model, "type", !has_merges, &type);
    if (status != NULL) return mlcc_tokenizer_note(reader, "model", status);
    if (type == NULL || strcmp(type, "BPE") == 0) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED, "'%s': model.type is '%s', mlcc reads tokenizers of type 'BPE'", reader->file,
        type);
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

// A content that model.vocab has keeps the id it has there; the file's own id is only a remark, as in the reference.
static mlcc_status *place_added_token(
    const mlcc_tokenizer_reader *reader, const char *place, mlcc_added_token *token) {
    mlcc_tokenizer *t = reader->tokenizer;
    uint64_t vocab_id;
    bool is_in_vocab = mlcc_map_get(t->vocab, token->content, token->content_bytes, &vocab_id);
    if (is_in_vocab && (int32_t)vocab_id != token->id) {
        mlcc_log(
            MLCC_LOG_WARN, "text",
            "'%s': %s has the id %d, but model.vocab gives '%s' the id %d, which counts",
            reader->file, place, token->id, token->content, (int)vocab_id);
    }
    if (is_in_vocab) token->id = (int32_t)vocab_id;
    if (!reserve_ids(t, (size_t)token->id + 1)) return no_memory(reader);
    mlcc_token *entry = &t->tokens[token->id];
    if (entry->text != NULL && !is_in_vocab) {
        return MLCC_ERROR(
            INVALID, "'%s': %s gives the id %d to '%s', but it belongs to '%s'", reader->file,
            place, token->id, token->content, entry->text);
    }
    *entry = (mlcc_token){
        .text = token->content,
        .text_bytes = token->content_bytes,
        .decoded = token->content,
        .decoded_bytes = token->content_bytes,
        .is_special = token->is_special,
    };
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
        if (mlcc_map_get(t->added, token->content, token->content_bytes, NULL)) {
            return MLCC_ERROR(
                INVALID, "'%s': %s has the content '%s', as another added token before it",
                reader->file, place, token->content);
        }
        MLCC_TRY(place_added_token(reader, place, token));
        mlcc_map_add(t->added, token->content, token->content_bytes, (uint64_t)token->id);
        t->n_added_tokens++;
    }
    return NULL;
}

// Tokens marked as normalized are looked for in normalised text, so they are normalised themselves.
static mlcc_status *normalize_added_tokens(mlcc_tokenizer *t) {
    mlcc_normalize_scratch scratch = {.regex = mlcc_regex_scratch_create()};
    if (scratch.regex == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended");
    mlcc_status *status = NULL;
    for (size_t i = 0; status == NULL && i < t->n_added_tokens; i++) {
        mlcc_added_token *token = &t->added_tokens[i];
        if (!token->is_normalized) continue;
        const char *normal;
        size_t length;
        bool drops_start;
        status = mlcc_normalize(
            &t->normalizer, &scratch, token->content, token->content_bytes, &normal, &length,
            &drops_start);
        if (status != NULL) break;
        token->pattern = mlcc_bytes_keep(t->arena, normal, length);
        token->pattern_bytes = length;
        if (token->is_special) continue;
        t->tokens[token->id].decoded = token->pattern;
        t->tokens[token->id].decoded_bytes = length;
    }
    mlcc_regex_scratch_free(scratch.regex);
    mlcc_normalize_scratch_free(&scratch);
    if (status == NULL) {
        status = mlcc_added_tokens_create(t->added_tokens, t->n_added_tokens, false, &t->plain_set);
    }
    if (status == NULL) {
        status =
            mlcc_added_tokens_create(t->added_tokens, t->n_added_tokens, true, &t->normalized_set);
    }
    return status;
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
    MLCC_TRY(check_version(reader, root));
    MLCC_TRY(check_model_type(reader, root, &model));
    MLCC_TRY(mlcc_tokenizer_read_normalizer(reader, mlcc_json_get(root, "normalizer")));
    MLCC_TRY(mlcc_tokenizer_read_pretokenizer(reader, mlcc_json_get(root, "pre_tokenizer")));
    MLCC_TRY(mlcc_tokenizer_read_decoder(reader, mlcc_json_get(root, "decoder")));
    MLCC_TRY(read_vocab(reader, model));
    MLCC_TRY(read_added_tokens(reader, root));
    MLCC_TRY(read_model(reader, model));
    MLCC_TRY(
        mlcc_tokenizer_note(reader, "added_tokens", normalize_added_tokens(reader->tokenizer)));
    return mlcc_tokenizer_read_post_processor(reader, mlcc_json_get(root, "post_processor"));
}

mlcc_status *mlcc_tokenizer_load(
    const char *json, size_t length, const char *what, mlcc_tokenizer **out) {
    *out = NULL;
    mlcc_json *document;
    MLCC_TRY(mlcc_json_parse(json, length, what, 0, &document));
    mlcc_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        mlcc_json_free(document);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while reading '%s'", what);
    }
    pthread_mutex_init(&tokenizer->lock, NULL);
    tokenizer->arena = mlcc_arena_create();
    mlcc_tokenizer_reader reader = {
        .tokenizer = tokenizer, .arena = tokenizer->arena, .file = what};
    mlcc_status *status = read_root(&reader, mlcc_json_root(document));
    mlcc_json_free(document);
    if (status != NULL) {
        mlcc_tokenizer_close(tokenizer);
        return status;
    }
    *out = tokenizer;
    return NULL;
}
