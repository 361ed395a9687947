// The model of tokenizer.json: one row per type at the end.
#include "runtime/text/tokenizer_build.h"
#include "runtime/text/tokenizer_json.h"

#include "runtime/text/bpe.h"
#include "runtime/text/unigram.h"
#include "runtime/text/wordpiece.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    if (!mlcc_tokenizer_reserve_ids(t, (size_t)id + 1)) return no_memory(reader);
    mlcc_token *token = &t->tokens[id];
    if (token->text != NULL) {
        return MLCC_ERROR(
            INVALID,
            "'%s': model.vocab gives the id %" PRId64 " to '%s' and to '%s', an id belongs to "
            "one piece",
            reader->file, id, token->text, piece);
    }
    token->text = piece; // replaced by the vocabulary's own copy when all are there
    return NULL;
}

static mlcc_status *read_named_vocab(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    mlcc_tokenizer *t = reader->tokenizer;
    const mlcc_json_value *vocab;
    MLCC_TRY(
        mlcc_tokenizer_note(reader, "model", mlcc_json_get_object(model, "vocab", true, &vocab)));
    size_t n_pieces = mlcc_json_count(vocab);
    t->vocab = mlcc_vocabulary_create(n_pieces);
    if (!mlcc_tokenizer_reserve_ids(
            t, n_pieces < MLCC_TOKEN_ID_LIMIT ? n_pieces : MLCC_TOKEN_ID_LIMIT)) {
        return no_memory(reader);
    }
    t->n_tokens = 0;
    const mlcc_json_iter *it;
    for (it = mlcc_json_first(vocab); it != NULL; it = mlcc_json_next(vocab, it)) {
        const char *piece = mlcc_json_iter_key(it);
        MLCC_TRY(add_piece(reader, piece, mlcc_json_iter_value(it)));
        mlcc_vocabulary_add(
            t->vocab, piece, strlen(piece), (int32_t)mlcc_json_int(mlcc_json_iter_value(it)));
    }
    for (size_t i = 0; i < mlcc_vocabulary_count(t->vocab); i++) {
        size_t length;
        int32_t id;
        const char *piece = mlcc_vocabulary_piece(t->vocab, i, &length, &id);
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
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *merges, mlcc_bpe *bpe) {
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

// ---- BPE -----------------------------------------------------------------------------------------------------

static void set_model(
    const mlcc_tokenizer_reader *reader, const mlcc_word_model_type *type, void *model) {
    reader->tokenizer->model_type = type;
    reader->tokenizer->model = model;
}

// The added tokens have been read by now: unk_token may be one of them.
static mlcc_status *find_unknown(
    const mlcc_tokenizer_reader *reader, const char *name, int32_t *id) {
    *id = mlcc_tokenizer_find(reader->tokenizer, name);
    if (*id >= 0) return NULL;
    return MLCC_ERROR(
        INVALID, "key 'unk_token' is '%s', which is neither in model.vocab nor an added token",
        name);
}

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
    return find_unknown(reader, unknown, &options->unknown_id);
}

static mlcc_status *read_bpe(const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    const mlcc_json_value *merges;
    mlcc_bpe *bpe = NULL;
    mlcc_bpe_options options = {
        .vocab = reader->tokenizer->vocab, .unknown_id = -1, .prefix = "", .suffix = ""};
    mlcc_status *status = mlcc_json_get_array(model, "merges", true, &merges);
    if (status == NULL) status = read_options(reader, model, &options);
    if (status == NULL) {
        options.n_merges = mlcc_json_count(merges);
        status = mlcc_bpe_create(&options, &bpe);
    }
    if (status != NULL) return mlcc_tokenizer_note(reader, "model", status);
    set_model(reader, &mlcc_word_model_bpe, bpe);
    return read_merges(reader, merges, bpe);
}

// ---- WordPiece, WordLevel ----------------------------------------------------------------------------------------

static mlcc_status *read_wordpiece_model(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    const char *unknown = "[UNK]";
    const char *prefix = "##";
    int64_t max_characters = 100;
    int32_t unknown_id;
    MLCC_TRY(mlcc_json_get_text(model, "unk_token", false, &unknown));
    MLCC_TRY(mlcc_json_get_text(model, "continuing_subword_prefix", false, &prefix));
    MLCC_TRY(
        mlcc_json_get_i64(model, "max_input_chars_per_word", false, 0, INT32_MAX, &max_characters));
    MLCC_TRY(find_unknown(reader, unknown, &unknown_id));
    mlcc_wordpiece *wordpiece;
    MLCC_TRY(mlcc_wordpiece_create(
        reader->tokenizer->vocab, unknown_id, prefix, (size_t)max_characters, &wordpiece));
    set_model(reader, &mlcc_word_model_wordpiece, wordpiece);
    return NULL;
}

static mlcc_status *read_wordpiece(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    return mlcc_tokenizer_note(reader, "model", read_wordpiece_model(reader, model));
}

// An unk_token that does not exist matters only for words that are not in the vocabulary, as in the reference.
static mlcc_status *read_wordlevel(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    const char *unknown = "<unk>";
    MLCC_TRY(mlcc_tokenizer_note(
        reader, "model", mlcc_json_get_text(model, "unk_token", false, &unknown)));
    mlcc_wordlevel *wordlevel;
    MLCC_TRY(mlcc_wordlevel_create(
        reader->tokenizer->vocab, mlcc_tokenizer_find(reader->tokenizer, unknown), &wordlevel));
    set_model(reader, &mlcc_word_model_wordlevel, wordlevel);
    return NULL;
}

// ---- Unigram -----------------------------------------------------------------------------------------------------

// ["▁the", -3.5]
static mlcc_status *read_scored_piece(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *pair, size_t index,
    mlcc_unigram_piece *piece) {
    const mlcc_json_value *score = mlcc_json_at(pair, 1);
    mlcc_json_kind kind = mlcc_json_kind_of(score);
    piece->text = mlcc_json_text(mlcc_json_at(pair, 0), &piece->length);
    bool is_good = mlcc_json_kind_of(pair) == MLCC_JSON_ARRAY && mlcc_json_count(pair) == 2 &&
                   piece->text != NULL && (kind == MLCC_JSON_REAL || kind == MLCC_JSON_INT);
    if (!is_good) {
        return MLCC_ERROR(
            INVALID, "'%s': model.vocab[%zu] is no pair of a text and a score: [\"▁the\", -3.5]",
            reader->file, index);
    }
    piece->score = mlcc_json_number(score);
    return NULL;
}

static mlcc_status *read_scored_vocab(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    mlcc_tokenizer *t = reader->tokenizer;
    const mlcc_json_value *vocab;
    MLCC_TRY(
        mlcc_tokenizer_note(reader, "model", mlcc_json_get_array(model, "vocab", true, &vocab)));
    size_t n_pieces = mlcc_json_count(vocab);
    if (n_pieces > MLCC_TOKEN_ID_LIMIT) {
        return MLCC_ERROR(
            INVALID, "'%s': model.vocab has %zu pieces, at most %d are accepted", reader->file,
            n_pieces, MLCC_TOKEN_ID_LIMIT);
    }
    t->vocab = mlcc_vocabulary_create(n_pieces);
    for (size_t i = 0; i < n_pieces; i++) {
        mlcc_unigram_piece piece;
        MLCC_TRY(read_scored_piece(reader, mlcc_json_at(vocab, i), i, &piece));
        MLCC_TRY(
            mlcc_tokenizer_add_piece(t, reader->file, piece.text, piece.length, (int32_t)i, false));
    }
    return NULL;
}

static mlcc_status *create_unigram(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model, mlcc_unigram **out) {
    const mlcc_json_value *vocab = mlcc_json_get(model, "vocab");
    mlcc_unigram_options options = {.n_pieces = mlcc_json_count(vocab)};
    int64_t unknown_id = -1;
    MLCC_TRY(mlcc_json_get_i64(model, "unk_id", false, 0, MLCC_TOKEN_ID_LIMIT, &unknown_id));
    MLCC_TRY(mlcc_json_get_bool(model, "byte_fallback", false, &options.has_byte_fallback));
    options.unknown_id = (int32_t)unknown_id;
    mlcc_unigram_piece *pieces = calloc(options.n_pieces + 1, sizeof *pieces);
    if (pieces == NULL) return no_memory(reader);
    mlcc_status *status = NULL;
    for (size_t i = 0; status == NULL && i < options.n_pieces; i++) {
        status = read_scored_piece(reader, mlcc_json_at(vocab, i), i, &pieces[i]);
    }
    options.pieces = pieces;
    if (status == NULL) status = mlcc_unigram_create(&options, out);
    free(pieces);
    return status;
}

static mlcc_status *read_unigram(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *model) {
    mlcc_unigram *unigram;
    MLCC_TRY(mlcc_tokenizer_note(reader, "model", create_unigram(reader, model, &unigram)));
    set_model(reader, &mlcc_word_model_unigram, unigram);
    return NULL;
}

// ---- the types -----------------------------------------------------------------------------------------------------

static const mlcc_tokenizer_model_reader model_readers[] = {
    {"BPE", read_named_vocab, read_bpe},
    {"Unigram", read_scored_vocab, read_unigram},
    {"WordPiece", read_named_vocab, read_wordpiece},
    {"WordLevel", read_named_vocab, read_wordlevel},
};
enum { N_MODEL_READERS = sizeof model_readers / sizeof *model_readers };

mlcc_status *mlcc_tokenizer_find_model_reader(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *root, const mlcc_json_value **model,
    const mlcc_tokenizer_model_reader **out) {
    const char *type = NULL;
    mlcc_status *status = mlcc_json_get_object(root, "model", true, model);
    if (status != NULL) return mlcc_tokenizer_note(reader, "the top level", status);
    // Files from before 2021 have no "type" in the model; merges then tell that it is BPE.
    bool has_merges = mlcc_json_get(*model, "merges") != NULL;
    status = mlcc_json_get_text(*model, "type", !has_merges, &type);
    if (status != NULL) return mlcc_tokenizer_note(reader, "model", status);
    if (type == NULL) type = "BPE";
    for (size_t i = 0; i < N_MODEL_READERS; i++) {
        if (strcmp(model_readers[i].name, type) != 0) continue;
        *out = &model_readers[i];
        return NULL;
    }
    char *known = mlcc_arena_strdup(reader->arena, model_readers[0].name);
    for (size_t i = 1; i < N_MODEL_READERS; i++) {
        known = mlcc_arena_printf(reader->arena, "%s, %s", known, model_readers[i].name);
    }
    return MLCC_ERROR(
        UNSUPPORTED, "'%s': model.type is '%s', accepted are %s", reader->file, type, known);
}
