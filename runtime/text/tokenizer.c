#include "runtime/text/tokenizer.h"

#include "runtime/base/file.h"
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
    mlcc_bpe_scratch *bpe;
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
    mlcc_bpe_scratch_free(scratch->bpe);
    mlcc_ids_free(&scratch->ids);
    mlcc_ids_free(&scratch->processing[0]);
    mlcc_ids_free(&scratch->processing[1]);
    mlcc_ids_free(&scratch->result);
    free(scratch);
}

static mlcc_tokenizer_scratch *scratch_create(void) {
    mlcc_tokenizer_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) return NULL;
    scratch->regex = mlcc_regex_scratch_create();
    scratch->bpe = mlcc_bpe_scratch_create();
    if (scratch->regex == NULL || scratch->bpe == NULL) {
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
    if (*out == NULL) *out = scratch_create();
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

mlcc_status *mlcc_tokenizer_open(const char *directory, mlcc_tokenizer **out) {
    *out = NULL;
    mlcc_arena *arena = mlcc_arena_create();
    const char *path = mlcc_path_join(arena, directory, "tokenizer.json");
    char *json = NULL;
    size_t length = 0;
    mlcc_status *status = NULL;
    if (!mlcc_file_exists(path)) {
        status = MLCC_ERROR(
            INVALID,
            "'%s' does not exist; a tokenizer in Hugging Face's tokenizer.json form is needed",
            path);
    }
    if (status == NULL) status = mlcc_file_read(path, 0, &json, &length);
    if (status == NULL) status = mlcc_tokenizer_load(json, length, path, out);
    free(json);
    mlcc_arena_free(arena);
    return status;
}

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
    mlcc_bpe_free(tokenizer->bpe);
    mlcc_map_free(tokenizer->vocab);
    mlcc_map_free(tokenizer->added);
    mlcc_arena_free(tokenizer->arena);
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
    if (mlcc_map_get_text(tokenizer->vocab, token, &id)) return (int32_t)id;
    return -1;
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
    for (size_t i = 0; i < words->n; i++) {
        mlcc_piece word = words->items[i];
        MLCC_TRY(mlcc_bpe_encode(
            tokenizer->bpe, scratch->bpe, cut + word.begin, word.end - word.begin, &scratch->ids));
    }
    return NULL;
}

// White space that the token before has taken cannot be a token of its own once more.
static void push_added_token(mlcc_tokenizer_scratch *scratch, mlcc_span span) {
    if (span.begin < span.end) mlcc_ids_push(&scratch->ids, span.token->id);
}

// Ordinary text between added tokens. Normalizers see each such stretch as a text of its own.
static mlcc_status *encode_stretch(
    const mlcc_tokenizer *tokenizer, mlcc_tokenizer_scratch *scratch, const char *text,
    size_t length, bool at_start) {
    const char *normal;
    size_t normal_bytes;
    bool drops_start;
    MLCC_TRY(mlcc_normalize(
        &tokenizer->normalizer, &scratch->normalize, text, length, &normal, &normal_bytes,
        &drops_start));
    MLCC_TRY(mlcc_added_tokens_split(
        tokenizer->normalized_set, scratch->regex, normal, normal_bytes, &scratch->normalized));
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

static mlcc_status *encode(
    const mlcc_tokenizer *tokenizer, mlcc_tokenizer_scratch *scratch, const char *text,
    size_t length, bool add_special) {
    if (!mlcc_utf8_is_valid(text, length)) {
        mlcc_bytes_clear(&scratch->repaired);
        mlcc_utf8_repair(text, length, &scratch->repaired);
        MLCC_TRY(mlcc_bytes_check(&scratch->repaired));
        text = scratch->repaired.data;
        length = scratch->repaired.length;
    }
    mlcc_ids_clear(&scratch->ids);
    MLCC_TRY(mlcc_added_tokens_split(
        tokenizer->plain_set, scratch->regex, text, length, &scratch->plain));
    for (size_t i = 0; i < scratch->plain.n; i++) {
        mlcc_span span = scratch->plain.items[i];
        if (span.token != NULL) {
            push_added_token(scratch, span);
        } else {
            MLCC_TRY(encode_stretch(
                tokenizer, scratch, text + span.begin, span.end - span.begin, span.begin == 0));
        }
    }
    MLCC_TRY(mlcc_ids_check(&scratch->ids));
    mlcc_ids_clear(&scratch->result);
    return mlcc_post_process(
        &tokenizer->post_processor, scratch->ids.items, scratch->ids.n, add_special,
        scratch->processing, &scratch->result);
}

mlcc_status *mlcc_tokenizer_encode(
    const mlcc_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
    int32_t **ids, size_t *n_ids) {
    *ids = NULL;
    *n_ids = 0;
    if (length == 0) text = "";
    if (length > text_max_bytes) {
        return MLCC_ERROR(
            INVALID, "the text has %zu MiB, at most %zu MiB are tokenized in one call",
            length >> 20, text_max_bytes >> 20);
    }
    mlcc_tokenizer_scratch *scratch;
    MLCC_TRY(scratch_take(tokenizer, &scratch));
    mlcc_status *status = encode(tokenizer, scratch, text, length, add_special);
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
