#include "runtime/text/tokenizer.h"

#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

static const size_t text_max_bytes = (size_t)512 << 20;

// What one thread needs for one call.
struct mlcc_tokenizer_scratch {
    mlcc_tokenizer_scratch *next; // in the pool
    mlcc_regex_scratch *regex;
    mlcc_bytes repaired;
    mlcc_spans plain, normalized;
    mlcc_normalize_scratch normalize;
    mlcc_pretokenize_scratch pretokenize;
    void *model;
    void (*free_model)(void *model); // NULL: the model needs no working memory
    mlcc_ranges guarded, stretch_guarded;
    mlcc_ids ids;
    mlcc_ids processing[2];
    mlcc_ids result;
};

// ---- working memory ----------------------------------------------------------------------------------------

static void scratch_free(mlcc_tokenizer_scratch *scratch) {
    mlcc_regex_scratch_free(scratch->regex);
    mlcc_bytes_free(&scratch->repaired);
    mlcc_spans_free(&scratch->plain);
    mlcc_spans_free(&scratch->normalized);
    mlcc_normalize_scratch_free(&scratch->normalize);
    mlcc_pretokenize_scratch_free(&scratch->pretokenize);
    if (scratch->free_model != NULL) scratch->free_model(scratch->model);
    mlcc_ranges_free(&scratch->guarded);
    mlcc_ranges_free(&scratch->stretch_guarded);
    mlcc_ids_free(&scratch->ids);
    mlcc_ids_free(&scratch->processing[0]);
    mlcc_ids_free(&scratch->processing[1]);
    mlcc_ids_free(&scratch->result);
    free(scratch);
}

static mlcc_tokenizer_scratch *scratch_create(const mlcc_word_model_type *type) {
    mlcc_tokenizer_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) return NULL;
    scratch->regex = mlcc_regex_scratch_create();
    scratch->free_model = type->scratch_free;
    if (type->scratch_create != NULL) scratch->model = type->scratch_create();
    if (scratch->regex == NULL || (type->scratch_create != NULL && scratch->model == NULL)) {
        scratch_free(scratch);
        return NULL;
    }
    scratch->normalize.regex = scratch->regex;
    scratch->pretokenize.regex = scratch->regex;
    return scratch;
}

// The pool is the one thing in a tokenizer that changes after loading.
static mlcc_status *scratch_take(const mlcc_tokenizer *shared, mlcc_tokenizer_scratch **out) {
    mlcc_tokenizer *tokenizer = (mlcc_tokenizer *)(uintptr_t)shared;
    pthread_mutex_lock(&tokenizer->lock);
    *out = tokenizer->idle;
    if (*out != NULL) tokenizer->idle = (*out)->next;
    pthread_mutex_unlock(&tokenizer->lock);
    if (*out == NULL) *out = scratch_create(tokenizer->model_type);
    return *out != NULL ? NULL : MLCC_ERROR(NO_MEMORY, "host memory ended while tokenizing");
}

static void scratch_give(const mlcc_tokenizer *shared, mlcc_tokenizer_scratch *scratch) {
    mlcc_tokenizer *tokenizer = (mlcc_tokenizer *)(uintptr_t)shared;
    pthread_mutex_lock(&tokenizer->lock);
    scratch->next = tokenizer->idle;
    tokenizer->idle = scratch;
    pthread_mutex_unlock(&tokenizer->lock);
}

// ---- life --------------------------------------------------------------------------------------------------

void mlcc_tokenizer_close(mlcc_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    while (tokenizer->idle != NULL) {
        mlcc_tokenizer_scratch *scratch = tokenizer->idle;
        tokenizer->idle = scratch->next;
        scratch_free(scratch);
    }
    pthread_mutex_destroy(&tokenizer->lock);
    mlcc_normalizer_free(&tokenizer->normalizer);
    mlcc_pretokenizer_free(&tokenizer->pretokenizer);
    mlcc_decoder_free(&tokenizer->decoder);
    mlcc_added_tokens_free(tokenizer->plain_set);
    mlcc_added_tokens_free(tokenizer->normalized_set);
    if (tokenizer->model != NULL) tokenizer->model_type->free(tokenizer->model);
    mlcc_trie_free(tokenizer->verbatim);
    mlcc_vocabulary_free(tokenizer->vocab);
    mlcc_map_free(tokenizer->added);
    mlcc_arena_free(tokenizer->arena);
    mlcc_file_unmap(&tokenizer->mapping);
    free(tokenizer);
}

// ---- tokens ------------------------------------------------------------------------------------------------

int64_t mlcc_tokenizer_vocab(const mlcc_tokenizer *tokenizer) {
    return (int64_t)tokenizer->n_tokens;
}

const char *mlcc_tokenizer_token(const mlcc_tokenizer *tokenizer, int32_t id) {
    if (id < 0 || (size_t)id >= tokenizer->n_tokens) return NULL;
    return tokenizer->tokens[id].text;
}

int32_t mlcc_tokenizer_find(const mlcc_tokenizer *tokenizer, const char *token) {
    uint64_t id;
    if (mlcc_map_get_text(tokenizer->added, token, &id)) return (int32_t)id;
    return mlcc_vocabulary_find(tokenizer->vocab, token, strlen(token));
}

const mlcc_token *mlcc_tokenizer_token_of(const mlcc_tokenizer *tokenizer, int32_t id) {
    return mlcc_tokenizer_token(tokenizer, id) == NULL ? NULL : &tokenizer->tokens[id];
}

mlcc_status *mlcc_tokenizer_unknown_id(const mlcc_tokenizer *tokenizer, int32_t id) {
    return MLCC_ERROR(
        INVALID, "the tokenizer has no token %d, its ids are 0 to %zu", id,
        tokenizer->n_tokens == 0 ? 0 : tokenizer->n_tokens - 1);
}

// ---- encoding ------------------------------------------------------------------------------------------------

static mlcc_status *encode_words(
    const mlcc_tokenizer *tokenizer, mlcc_tokenizer_scratch *scratch, const char *text,
    size_t length, bool at_start) {
    const char *cut;
    const mlcc_pieces *words;
    MLCC_TRY(mlcc_pretokenize(
        &tokenizer->pretokenizer, &scratch->pretokenize, text, length, at_start, &cut, &words));
    const uint8_t *forbidden = scratch->guarded.n == 0 ? NULL : tokenizer->special_ids;
    for (size_t i = 0; i < words->n; i++) {
        mlcc_piece word = words->items[i];
        MLCC_TRY(tokenizer->model_type->encode(
            tokenizer->model, scratch->model, cut + word.begin, word.end - word.begin, forbidden,
            &scratch->ids));
    }
    return NULL;
}

// White space that the token before has taken cannot be a token of its own once more.
static void push_added_token(mlcc_tokenizer_scratch *scratch, mlcc_span span) {
    if (span.begin < span.end) mlcc_ids_push(&scratch->ids, span.token->id);
}

// The guarded parts of a stretch, counted from its beginning.
static void cut_guarded(mlcc_tokenizer_scratch *scratch, size_t begin, size_t end) {
    mlcc_ranges_clear(&scratch->stretch_guarded);
    for (size_t i = 0; i < scratch->guarded.n; i++) {
        mlcc_text_range range = scratch->guarded.items[i];
        if (range.begin >= end) break;
        size_t from = range.begin < begin ? begin : range.begin;
        size_t to = range.end > end ? end : range.end;
        if (from < to) mlcc_ranges_push(&scratch->stretch_guarded, from - begin, to - begin);
    }
}

// Ordinary text between added tokens. Normalizers see each such stretch as a text of its own.
static mlcc_status *encode_stretch(
    const mlcc_tokenizer *tokenizer, mlcc_tokenizer_scratch *scratch, const char *whole,
    mlcc_span stretch) {
    const char *normal;
    size_t normal_bytes;
    bool drops_start;
    bool at_start = stretch.begin == 0;
    mlcc_ranges *guarded = &scratch->stretch_guarded;
    mlcc_ranges_clear(guarded);
    if (mlcc_added_tokens_have_special(tokenizer->normalized_set)) {
        cut_guarded(scratch, stretch.begin, stretch.end);
    }
    MLCC_TRY(mlcc_ranges_check(guarded));
    MLCC_TRY(mlcc_normalize_ranges(
        &tokenizer->normalizer, &scratch->normalize, whole + stretch.begin,
        stretch.end - stretch.begin, guarded->n == 0 ? NULL : guarded, &normal, &normal_bytes,
        &drops_start));
    MLCC_TRY(mlcc_added_tokens_split(
        tokenizer->normalized_set, scratch->regex, normal, normal_bytes, guarded->items, guarded->n,
        &scratch->normalized));
    for (size_t i = 0; i < scratch->normalized.n; i++) {
        mlcc_span span = scratch->normalized.items[i];
        if (span.token != NULL) {
            push_added_token(scratch, span);
            continue;
        }
        MLCC_TRY(encode_words(
            tokenizer, scratch, normal + span.begin, span.end - span.begin,
            at_start && !drops_start && span.begin == 0));
    }
    return NULL;
}

// Replaces broken UTF-8 and moves the ranges along; one that begins or ends inside a character takes all of it.
static mlcc_status *repair(
    mlcc_tokenizer_scratch *scratch, const char *text, size_t length,
    const mlcc_text_range *guarded, size_t n_guarded) {
    mlcc_bytes *out = &scratch->repaired;
    mlcc_bytes_clear(out);
    if (n_guarded == 0) {
        if (!mlcc_utf8_is_valid(text, length)) mlcc_utf8_repair(text, length, out);
        return mlcc_bytes_check(out);
    }
    size_t next = 0;
    for (size_t i = 0; i < length;) {
        size_t n_bytes;
        mlcc_utf8_kind kind = mlcc_utf8_look(text + i, length - i, &n_bytes);
        size_t begin = out->length;
        bool is_whole = kind == MLCC_UTF8_CHARACTER;
        mlcc_bytes_append(
            out, is_whole ? text + i : MLCC_REPLACEMENT_TEXT,
            is_whole ? n_bytes : MLCC_REPLACEMENT_BYTES);
        while (next < n_guarded && guarded[next].end <= i) next++;
        bool is_guarded = false;
        for (size_t k = next; k < n_guarded && guarded[k].begin < i + n_bytes; k++) {
            is_guarded =
                is_guarded || guarded[k].begin < guarded[k].end; // an empty one guards nothing
        }
        if (is_guarded) mlcc_ranges_push(&scratch->guarded, begin, out->length);
        i += n_bytes;
    }
    MLCC_TRY(mlcc_bytes_check(out));
    return mlcc_ranges_check(&scratch->guarded);
}

static mlcc_status *encode(
    const mlcc_tokenizer *tokenizer, mlcc_tokenizer_scratch *scratch, const char *text,
    size_t length, const mlcc_text_range *guarded, size_t n_guarded, bool add_special) {
    mlcc_ranges_clear(&scratch->guarded);
    MLCC_TRY(repair(scratch, text, length, guarded, n_guarded));
    if (scratch->repaired.length != 0) {
        text = scratch->repaired.data;
        length = scratch->repaired.length;
    }
    mlcc_ids_clear(&scratch->ids);
    MLCC_TRY(mlcc_added_tokens_split(
        tokenizer->plain_set, scratch->regex, text, length, scratch->guarded.items,
        scratch->guarded.n, &scratch->plain));
    for (size_t i = 0; i < scratch->plain.n; i++) {
        mlcc_span span = scratch->plain.items[i];
        if (span.token != NULL) {
            push_added_token(scratch, span);
        } else {
            MLCC_TRY(encode_stretch(tokenizer, scratch, text, span));
        }
    }
    MLCC_TRY(mlcc_ids_check(&scratch->ids));
    mlcc_ids_clear(&scratch->result);
    return mlcc_post_process(
        &tokenizer->post_processor, scratch->ids.items, scratch->ids.n, add_special,
        scratch->processing, &scratch->result);
}

static mlcc_status *check_guarded(const mlcc_text_range *guarded, size_t n_guarded, size_t length) {
    size_t done = 0;
    for (size_t i = 0; i < n_guarded; i++) {
        if (guarded[i].begin < done || guarded[i].end < guarded[i].begin ||
            guarded[i].end > length) {
            return MLCC_ERROR(
                INVALID,
                "guarded range %zu is %zu to %zu in a text of %zu bytes; ranges must be in order, "
                "inside the "
                "text and must not overlap",
                i, guarded[i].begin, guarded[i].end, length);
        }
        done = guarded[i].end;
    }
    return NULL;
}

mlcc_status *mlcc_tokenizer_encode(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
    int32_t **ids, size_t *n_ids) {
    return mlcc_tokenizer_encode_guarded(tokenizer, text, length, NULL, 0, add_special, ids, n_ids);
}

mlcc_status *mlcc_tokenizer_encode_guarded(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length,
    const mlcc_text_range *guarded, size_t n_guarded, bool add_special, int32_t **ids,
    size_t *n_ids) {
    *ids = NULL;
    *n_ids = 0;
    if (length == 0) text = "";
    if (length > text_max_bytes) {
        return MLCC_ERROR(
            INVALID, "the text has %zu MiB, at most %zu MiB are tokenized in one call",
            length >> 20, text_max_bytes >> 20);
    }
    MLCC_TRY(check_guarded(guarded, n_guarded, length));
    mlcc_tokenizer_scratch *scratch;
    MLCC_TRY(scratch_take(tokenizer, &scratch));
    mlcc_status *status = encode(tokenizer, scratch, text, length, guarded, n_guarded, add_special);
    if (status == NULL) {
        size_t n = scratch->result.n;
        *ids = malloc((n + 1) * sizeof **ids);
        if (*ids == NULL) {
            status = MLCC_ERROR(NO_MEMORY, "host memory ended while tokenizing");
        } else {
            if (n != 0) memcpy(*ids, scratch->result.items, n * sizeof **ids);
            *n_ids = n;
        }
    }
    scratch_give(tokenizer, scratch);
    return status;
}

// ---- decoding ------------------------------------------------------------------------------------------------

static mlcc_status *decode(
    const mlcc_tokenizer *tokenizer, mlcc_decode_state *state, const int32_t *ids, size_t n_ids,
    bool skip_special, mlcc_bytes *out) {
    for (size_t i = 0; i < n_ids; i++) {
        const mlcc_token *token = mlcc_tokenizer_token_of(tokenizer, ids[i]);
        if (token == NULL) return mlcc_tokenizer_unknown_id(tokenizer, ids[i]);
        if (skip_special && token->is_special) continue;
        MLCC_TRY(mlcc_decode_push(state, token->decoded, token->decoded_bytes, out));
    }
    MLCC_TRY(mlcc_decode_finish(state, out));
    mlcc_bytes_put(out, '\0');
    return mlcc_bytes_check(out);
}

mlcc_status *mlcc_tokenizer_decode(
    const mlcc_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special,
    char **text, size_t *length) {
    *text = NULL;
    *length = 0;
    mlcc_decode_state *state;
    MLCC_TRY(mlcc_decode_state_create(&tokenizer->decoder, &state));
    mlcc_bytes out = {0};
    mlcc_status *status = decode(tokenizer, state, ids, n_ids, skip_special, &out);
    mlcc_decode_state_free(state);
    if (status != NULL) {
        mlcc_bytes_free(&out);
        return status;
    }
    *text = out.data;
    *length = out.length - 1;
    return NULL;
}
