#include "runtime/text/sentencepiece.h"

#include "runtime/text/bpe.h"
#include "runtime/text/protobuf.h"
#include "runtime/text/tokenizer_build.h"
#include "runtime/text/unicode.h"
#include "runtime/text/unigram.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// SentencePiece.Type and TrainerSpec.ModelType
enum {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE
};
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

typedef struct sp_piece {
    const char *text; // inside the file
    size_t length;
    float score;
    uint64_t type;
} sp_piece;

typedef struct sp_model {
    const char *file;
    mlcc_tokenizer *tokenizer;
    sp_piece *pieces; // [n_pieces]
    size_t n_pieces, capacity;
    uint64_t model_type;
    bool has_byte_fallback, spaces_are_suffix;
    const char *charsmap;
    size_t charsmap_bytes;
    bool adds_dummy_prefix, removes_extra_spaces, escapes_spaces;
    int32_t unknown_id;
} sp_model;

static mlcc_status *no_memory(void) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while reading a tokenizer");
}

// ---- the file ----------------------------------------------------------------------------------------------------

// Field `number` must come in this form.
static mlcc_status *expect(const mlcc_protobuf_field *field, mlcc_protobuf_wire wire) {
    if (field->wire == wire) return NULL;
    return MLCC_ERROR(
        INVALID, "field %u has the wire type %u, %u is expected", field->number,
        (unsigned)field->wire, (unsigned)wire);
}

static mlcc_status *read_piece(const mlcc_protobuf_field *message, sp_piece *piece) {
    mlcc_protobuf_reader reader = mlcc_protobuf_open(message->bytes, message->length);
    mlcc_protobuf_field field;
    bool found;
    *piece = (sp_piece){.text = "", .type = PIECE_NORMAL};
    for (;;) {
        MLCC_TRY(mlcc_protobuf_next(&reader, &field, &found));
        if (!found) return NULL;
        if (field.number == 1) {
            MLCC_TRY(expect(&field, MLCC_PROTOBUF_BYTES));
            piece->text = field.bytes;
            piece->length = field.length;
        } else if (field.number == 2) {
            MLCC_TRY(expect(&field, MLCC_PROTOBUF_FIXED32));
            piece->score = mlcc_protobuf_float(&field);
        } else if (field.number == 3) {
            MLCC_TRY(expect(&field, MLCC_PROTOBUF_VARINT));
            piece->type = field.value;
        }
    }
}

static mlcc_status *add_piece(sp_model *model, const mlcc_protobuf_field *message) {
    if (model->n_pieces == MLCC_TOKEN_ID_LIMIT) {
        return MLCC_ERROR(INVALID, "more than %d pieces", MLCC_TOKEN_ID_LIMIT);
    }
    if (model->n_pieces == model->capacity) {
        size_t capacity = model->capacity == 0 ? 1024 : 2 * model->capacity;
        sp_piece *pieces = realloc(model->pieces, capacity * sizeof *pieces);
        if (pieces == NULL) return no_memory();
        model->pieces = pieces;
        model->capacity = capacity;
    }
    sp_piece *piece = &model->pieces[model->n_pieces];
    MLCC_TRY(expect(message, MLCC_PROTOBUF_BYTES));
    MLCC_TRY(read_piece(message, piece));
    model->n_pieces++;
    bool is_good = piece->length != 0 && mlcc_utf8_is_valid(piece->text, piece->length) &&
                   memchr(piece->text, '\0', piece->length) == NULL;
    if (!is_good) return MLCC_ERROR(INVALID, "its text is empty, holds a NUL or is no UTF-8");
    if (piece->type < PIECE_NORMAL || piece->type > PIECE_BYTE) {
        return MLCC_ERROR(
            INVALID, "its type is %" PRIu64 ", accepted are 1 to %d", piece->type, PIECE_BYTE);
    }
    if (!isfinite(piece->score)) return MLCC_ERROR(INVALID, "its score is no number");
    return NULL;
}

// The spec messages hold numbers and flags that are set from a table: field, where it goes.
typedef struct flag_row {
    uint32_t number;
    bool *flag;
    uint64_t *value;
} flag_row;

static mlcc_status *read_spec(
    sp_model *model, const mlcc_protobuf_field *message, const flag_row *rows, size_t n_rows,
    uint32_t charsmap_number) {
    MLCC_TRY(expect(message, MLCC_PROTOBUF_BYTES));
    mlcc_protobuf_reader reader = mlcc_protobuf_open(message->bytes, message->length);
    mlcc_protobuf_field field;
    bool found;
    for (;;) {
        MLCC_TRY(mlcc_protobuf_next(&reader, &field, &found));
        if (!found) return NULL;
        if (field.number == charsmap_number) {
            MLCC_TRY(expect(&field, MLCC_PROTOBUF_BYTES));
            model->charsmap = field.bytes;
            model->charsmap_bytes = field.length;
        }
        for (size_t i = 0; i < n_rows; i++) {
            if (rows[i].number != field.number) continue;
            MLCC_TRY(expect(&field, MLCC_PROTOBUF_VARINT));
            if (rows[i].flag != NULL) *rows[i].flag = field.value != 0;
            if (rows[i].value != NULL) *rows[i].value = field.value;
        }
    }
}

static mlcc_status *read_trainer(sp_model *model, const mlcc_protobuf_field *message) {
    const flag_row rows[] = {
        {.number = 3, .value = &model->model_type},
        {.number = 24, .flag = &model->spaces_are_suffix},
        {.number = 35, .flag = &model->has_byte_fallback},
    };
    return read_spec(model, message, rows, sizeof rows / sizeof *rows, 0);
}

static mlcc_status *read_normalizer(sp_model *model, const mlcc_protobuf_field *message) {
    const flag_row rows[] = {
        {.number = 3, .flag = &model->adds_dummy_prefix},
        {.number = 4, .flag = &model->removes_extra_spaces},
        {.number = 5, .flag = &model->escapes_spaces},
    };
    return read_spec(model, message, rows, sizeof rows / sizeof *rows, 2);
}

static mlcc_status *read_model(sp_model *model, const char *bytes, size_t length) {
    mlcc_protobuf_reader reader = mlcc_protobuf_open(bytes, length);
    mlcc_protobuf_field field;
    bool found;
    for (;;) {
        MLCC_TRY(mlcc_protobuf_next(&reader, &field, &found));
        if (!found) return NULL;
        mlcc_status *status = NULL;
        if (field.number == 1) {
            status =
                mlcc_status_note(add_piece(model, &field), "reading piece %zu", model->n_pieces);
        } else if (field.number == 2) {
            status = mlcc_status_note(read_trainer(model, &field), "reading trainer_spec");
        } else if (field.number == 3) {
            status = mlcc_status_note(read_normalizer(model, &field), "reading normalizer_spec");
        }
        if (status != NULL) return status;
    }
}

// ---- vocabulary and added tokens -----------------------------------------------------------------------------------

static mlcc_status *add_vocab(sp_model *model) {
    mlcc_tokenizer *t = model->tokenizer;
    t->vocab = mlcc_vocabulary_create(model->n_pieces);
    model->unknown_id = -1;
    for (size_t i = 0; i < model->n_pieces; i++) {
        const sp_piece *piece = &model->pieces[i];
        if (mlcc_vocabulary_find(t->vocab, piece->text, piece->length) >= 0) {
            return MLCC_ERROR(
                INVALID, "piece %zu is '%.*s', as another one before it", i, (int)piece->length,
                piece->text);
        }
        MLCC_TRY(
            mlcc_tokenizer_add_piece(t, model->file, piece->text, piece->length, (int32_t)i, true));
        if (piece->type != PIECE_UNKNOWN) continue;
        if (model->unknown_id >= 0) {
            return MLCC_ERROR(
                INVALID, "pieces %d and %zu are both unknown pieces", model->unknown_id, i);
        }
        model->unknown_id = (int32_t)i;
    }
    if (model->unknown_id >= 0) return NULL;
    return MLCC_ERROR(INVALID, "none of the %zu pieces is the unknown piece", model->n_pieces);
}

static bool is_control(const sp_piece *piece) {
    return piece->type == PIECE_CONTROL || piece->type == PIECE_UNKNOWN;
}

// Control pieces, and what the configuration names and the model has no ordinary piece for.
static mlcc_status *add_added_tokens(sp_model *model, const mlcc_tokenizer_config *config) {
    mlcc_tokenizer *t = model->tokenizer;
    size_t n_max = model->n_pieces + config->n_tokens;
    t->added = mlcc_map_create(config->n_tokens + 16);
    t->added_tokens = mlcc_arena_alloc_array(t->arena, n_max + 1, sizeof *t->added_tokens);
    for (size_t i = 0; i < config->n_tokens; i++) {
        mlcc_added_token *token = &t->added_tokens[t->n_added_tokens];
        *token = config->tokens[i];
        if (token->content_bytes == 0) continue;
        int32_t id = mlcc_vocabulary_find(t->vocab, token->content, token->content_bytes);
        if (id >= 0 && !token->is_special && !is_control(&model->pieces[id])) continue;
        token->content = mlcc_bytes_keep(t->arena, token->content, token->content_bytes);
        token->pattern = token->content;
        // The normalizer would put its dummy prefix in front of the token itself.
        token->is_normalized = false;
        MLCC_TRY(
            mlcc_tokenizer_place_added(t, model->file, "a token of tokenizer_config.json", token));
    }
    for (size_t i = 0; i < model->n_pieces; i++) {
        const sp_piece *piece = &model->pieces[i];
        if (!is_control(piece) || mlcc_map_get(t->added, piece->text, piece->length, NULL))
            continue;
        mlcc_added_token *token = &t->added_tokens[t->n_added_tokens];
        const char *text = t->tokens[i].text;
        *token = (mlcc_added_token){
            .content = text,
            .content_bytes = piece->length,
            .pattern = text,
            .pattern_bytes = piece->length,
            .id = (int32_t)i,
            .is_special = true,
        };
        MLCC_TRY(mlcc_tokenizer_place_added(t, model->file, "a control piece", token));
    }
    return NULL;
}

// ---- normalizer, post-processor, decoder -----------------------------------------------------------------------------

static mlcc_status *make_verbatim(const sp_model *model, mlcc_trie **out) {
    *out = NULL;
    size_t n_bytes = 0;
    for (size_t i = 0; i < model->n_pieces; i++) {
        if (model->pieces[i].type == PIECE_USER_DEFINED) n_bytes += model->pieces[i].length;
    }
    if (n_bytes == 0) return NULL;
    MLCC_TRY(mlcc_trie_create(n_bytes, out));
    for (size_t i = 0; i < model->n_pieces; i++) {
        const sp_piece *piece = &model->pieces[i];
        if (piece->type != PIECE_USER_DEFINED) continue;
        MLCC_TRY(mlcc_trie_add(*out, piece->text, piece->length, (int32_t)i, false));
    }
    return NULL;
}

static mlcc_status *add_normalizer(sp_model *model) {
    mlcc_tokenizer *t = model->tokenizer;
    MLCC_TRY(make_verbatim(model, &t->verbatim));
    mlcc_sentencepiece_rules *rules = mlcc_arena_alloc(t->arena, sizeof *rules);
    *rules = (mlcc_sentencepiece_rules){
        .verbatim = t->verbatim,
        .adds_dummy_prefix = model->adds_dummy_prefix,
        .removes_extra_spaces = model->removes_extra_spaces,
        .escapes_spaces = model->escapes_spaces,
    };
    MLCC_TRY(mlcc_status_note(
        mlcc_charsmap_read(model->charsmap, model->charsmap_bytes, t->arena, &rules->charsmap),
        "reading normalizer_spec"));
    mlcc_normalizer *list = &t->normalizer;
    MLCC_ARENA_GROW(t->arena, list->steps, list->n_steps, list->capacity);
    list->steps[list->n_steps++] =
        (mlcc_normalize_step){.kind = MLCC_NORMALIZE_SENTENCEPIECE, .rules = rules};
    return NULL;
}

static mlcc_decode_step *add_decode_step(mlcc_tokenizer *t, mlcc_decode_kind kind) {
    mlcc_decoder *list = &t->decoder;
    MLCC_ARENA_GROW(t->arena, list->steps, list->n_steps, list->capacity);
    list->steps[list->n_steps] = (mlcc_decode_step){.kind = kind};
    return &list->steps[list->n_steps++];
}

static mlcc_status *add_decoder(const sp_model *model) {
    static const char metaspace[] = "\xE2\x96\x81";
    mlcc_tokenizer *t = model->tokenizer;
    mlcc_decode_step *step = add_decode_step(t, MLCC_DECODE_REPLACE);
    MLCC_TRY(mlcc_pattern_of_literal(metaspace, sizeof metaspace - 1, t->arena, &step->pattern));
    step->content = " ";
    step->content_bytes = 1;
    if (model->has_byte_fallback) add_decode_step(t, MLCC_DECODE_BYTE_FALLBACK);
    add_decode_step(t, MLCC_DECODE_FUSE);
    if (!model->adds_dummy_prefix) return NULL;
    step = add_decode_step(t, MLCC_DECODE_STRIP);
    step->content = " ";
    step->content_bytes = 1;
    step->start = 1;
    return NULL;
}

// ---- the models --------------------------------------------------------------------------------------------------------

typedef struct ranked_piece {
    float score;
    int32_t id;
} ranked_piece;

static int by_score(const void *left, const void *right) {
    const ranked_piece *a = left;
    const ranked_piece *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static bool is_mergeable(const sp_model *model, size_t id) {
    return model->pieces[id].type == PIECE_NORMAL;
}

// Every way to make a piece from two others; counts them only when `bpe` is NULL.
static mlcc_status *add_pairs(
    const sp_model *model, int32_t id, uint32_t rank, mlcc_bpe *bpe, size_t *n_pairs) {
    const sp_piece *piece = &model->pieces[id];
    for (size_t cut = 1; cut < piece->length; cut++) {
        if (((unsigned char)piece->text[cut] & 0xC0) == 0x80) continue;
        const mlcc_vocabulary *vocab = model->tokenizer->vocab;
        int32_t left = mlcc_vocabulary_find(vocab, piece->text, cut);
        if (left < 0 || !is_mergeable(model, (size_t)left)) continue;
        int32_t right = mlcc_vocabulary_find(vocab, piece->text + cut, piece->length - cut);
        if (right < 0 || !is_mergeable(model, (size_t)right)) continue;
        (*n_pairs)++;
        if (bpe == NULL) continue;
        MLCC_TRY(mlcc_bpe_add_pair(bpe, left, right, id, piece->text, piece->length, rank));
    }
    return NULL;
}

static mlcc_status *fill_bpe(
    const sp_model *model, const ranked_piece *order, size_t n_order, mlcc_bpe *bpe,
    size_t *n_pairs) {
    uint32_t rank = 0;
    for (size_t i = 0; i < n_order; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank = (uint32_t)i;
        MLCC_TRY(add_pairs(model, order[i].id, rank, bpe, n_pairs));
    }
    return NULL;
}

static mlcc_status *build_bpe(sp_model *model, ranked_piece *order) {
    size_t n_order = 0;
    for (size_t i = 0; i < model->n_pieces; i++) {
        if (model->pieces[i].type == PIECE_UNUSED) {
            return MLCC_ERROR(
                UNSUPPORTED,
                "piece %zu is marked as unused in a BPE model, which mlcc does not read", i);
        }
        if (!is_mergeable(model, i)) continue;
        order[n_order++] = (ranked_piece){.score = model->pieces[i].score, .id = (int32_t)i};
    }
    qsort(order, n_order, sizeof *order, by_score);
    mlcc_bpe_options options = {
        .vocab = model->tokenizer->vocab,
        .unknown_id = model->unknown_id,
        .prefix = "",
        .suffix = "",
        .fuses_unknown = true,
        .has_byte_fallback = model->has_byte_fallback,
    };
    MLCC_TRY(fill_bpe(model, order, n_order, NULL, &options.n_merges));
    mlcc_bpe *bpe;
    MLCC_TRY(mlcc_bpe_create(&options, &bpe));
    model->tokenizer->model_type = &mlcc_word_model_bpe;
    model->tokenizer->model = bpe;
    size_t n_pairs = 0;
    MLCC_TRY(fill_bpe(model, order, n_order, bpe, &n_pairs));
    if (model->tokenizer->verbatim != NULL) {
        mlcc_trie *verbatim;
        MLCC_TRY(make_verbatim(model, &verbatim));
        mlcc_bpe_set_verbatim(bpe, verbatim);
    }
    mlcc_bpe_finish(bpe);
    return NULL;
}

static mlcc_status *add_bpe(sp_model *model) {
    ranked_piece *order = malloc((model->n_pieces + 1) * sizeof *order);
    if (order == NULL) return no_memory();
    mlcc_status *status = build_bpe(model, order);
    free(order);
    return status;
}

static void score_pieces(const sp_model *model, mlcc_unigram_piece *pieces) {
    float highest = -INFINITY;
    for (size_t i = 0; i < model->n_pieces; i++) {
        bool is_normal = model->pieces[i].type == PIECE_NORMAL;
        if (is_normal && model->pieces[i].score > highest) highest = model->pieces[i].score;
    }
    if (!isfinite(highest)) highest = 0;
    for (size_t i = 0; i < model->n_pieces; i++) {
        const sp_piece *piece = &model->pieces[i];
        bool is_user_defined = piece->type == PIECE_USER_DEFINED;
        pieces[i] = (mlcc_unigram_piece){
            .text = piece->text,
            .length = piece->length,
            // better than any ordinary way to write the same
            .score = is_user_defined ? (double)((float)piece->length * highest) - 0.1
                                     : (double)piece->score,
            .is_hidden = piece->type != PIECE_NORMAL && !is_user_defined,
            .is_verbatim = is_user_defined,
        };
    }
}

static mlcc_status *add_unigram(sp_model *model) {
    mlcc_unigram_piece *pieces = calloc(model->n_pieces + 1, sizeof *pieces);
    if (pieces == NULL) return no_memory();
    score_pieces(model, pieces);
    mlcc_unigram_options options = {
        .pieces = pieces,
        .n_pieces = model->n_pieces,
        .unknown_id = model->unknown_id,
        .has_byte_fallback = model->has_byte_fallback,
        .rounds_to_single = true,
    };
    mlcc_unigram *unigram = NULL;
    mlcc_status *status = mlcc_unigram_create(&options, &unigram);
    free(pieces);
    if (status != NULL) return status;
    model->tokenizer->model_type = &mlcc_word_model_unigram;
    model->tokenizer->model = unigram;
    return NULL;
}

// ---- the whole -----------------------------------------------------------------------------------------------------------

static mlcc_status *check_support(const sp_model *model) {
    if (model->model_type != MODEL_UNIGRAM && model->model_type != MODEL_BPE) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "trainer_spec.model_type is %" PRIu64 ", accepted are 1 (unigram) and 2 (bpe)",
            model->model_type);
    }
    if (!model->spaces_are_suffix) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED, "trainer_spec.treat_whitespace_as_suffix is true, false is accepted");
}

static mlcc_status *build(
    sp_model *model, const mlcc_tokenizer_config *config, const char *bytes, size_t length) {
    MLCC_TRY(read_model(model, bytes, length));
    MLCC_TRY(check_support(model));
    MLCC_TRY(add_vocab(model));
    MLCC_TRY(add_added_tokens(model, config));
    MLCC_TRY(add_normalizer(model));
    MLCC_TRY(add_decoder(model));
    MLCC_TRY(model->model_type == MODEL_BPE ? add_bpe(model) : add_unigram(model));
    MLCC_TRY(mlcc_tokenizer_add_ends(model->tokenizer, config, "<s>", "</s>"));
    return mlcc_tokenizer_finish(model->tokenizer);
}

mlcc_status *mlcc_sentencepiece_load(
    const char *bytes, size_t length, const char *what, const mlcc_tokenizer_config *config,
    mlcc_tokenizer **out) {
    *out = NULL;
    sp_model model = {
        .file = what,
        .model_type = MODEL_UNIGRAM, // the schema's defaults
        .charsmap = "",
        .adds_dummy_prefix = true,
        .removes_extra_spaces = true,
        .escapes_spaces = true,
    };
    MLCC_TRY(mlcc_tokenizer_begin(&model.tokenizer));
    mlcc_status *status = build(&model, config, bytes, length);
    free(model.pieces);
    if (status != NULL) {
        mlcc_tokenizer_close(model.tokenizer);
        return mlcc_status_note(status, "reading '%s'", what);
    }
    *out = model.tokenizer;
    return NULL;
}
