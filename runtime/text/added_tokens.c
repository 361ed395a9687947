// A trie over the tokens' bytes; a search starts only at bytes that begin some token, so text without special tokens costs one table look
// per byte. The worst case is the text length times the longest token.
#include "runtime/text/added_tokens.h"

#include "runtime/text/trie.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

struct mlcc_added_tokens {
    const mlcc_added_token *tokens;
    mlcc_trie *trie;  // NULL: no tokens
    mlcc_regex *word; // one word character, when a token has single_word
    bool has_special;
};

static mlcc_status *fill(mlcc_added_tokens *set, size_t n_tokens, bool normalized) {
    size_t n_bytes = 0;
    bool has_single_word = false;
    for (size_t i = 0; i < n_tokens; i++) {
        if (set->tokens[i].is_normalized != normalized) continue;
        n_bytes += set->tokens[i].pattern_bytes;
        has_single_word = has_single_word || set->tokens[i].single_word;
    }
    if (n_bytes == 0) return NULL;
    MLCC_TRY(mlcc_trie_create(n_bytes, &set->trie));
    for (size_t i = 0; i < n_tokens; i++) {
        const mlcc_added_token *token = &set->tokens[i];
        if (token->is_normalized != normalized) continue;
        set->has_special = set->has_special || token->is_special;
        // Normalising can make two tokens alike; the first one counts.
        MLCC_TRY(mlcc_trie_add(set->trie, token->pattern, token->pattern_bytes, (int32_t)i, false));
    }
    if (!has_single_word) return NULL;
    static const char word[] = "[" MLCC_RUST_WORD_ITEMS "]";
    return mlcc_regex_compile(word, sizeof word - 1, &set->word);
}

mlcc_status *mlcc_added_tokens_create(
    const mlcc_added_token *tokens, size_t n_tokens, bool normalized, mlcc_added_tokens **out) {
    *out = NULL;
    mlcc_added_tokens *set = calloc(1, sizeof *set);
    if (set == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while reading the added tokens");
    set->tokens = tokens;
    mlcc_status *status = fill(set, n_tokens, normalized);
    if (status != NULL) {
        mlcc_added_tokens_free(set);
        return status;
    }
    *out = set;
    return NULL;
}

void mlcc_added_tokens_free(mlcc_added_tokens *set) {
    if (set == NULL) return;
    mlcc_regex_free(set->word);
    mlcc_trie_free(set->trie);
    free(set);
}

bool mlcc_added_tokens_have_special(const mlcc_added_tokens *set) {
    return set->has_special;
}

void mlcc_spans_free(mlcc_spans *spans) {
    free(spans->items);
    *spans = (mlcc_spans){0};
}

// ---- search ------------------------------------------------------------------------------------------------

// The longest token at `begin`, or NULL. A special one must end at or before `special_limit`.
static const mlcc_added_token *longest_at(
    const mlcc_added_tokens *set, const char *text, size_t length, size_t begin,
    size_t special_limit) {
    const mlcc_added_token *best = NULL;
    uint32_t node = 0;
    for (size_t i = begin; i < length; i++) {
        node = mlcc_trie_step(set->trie, node, text[i]);
        if (node == 0) break;
        int32_t index = mlcc_trie_value(set->trie, node);
        if (index < 0) continue;
        if (set->tokens[index].is_special && i >= special_limit) continue;
        best = &set->tokens[index];
    }
    return best;
}

static mlcc_status *is_word(
    const mlcc_added_tokens *set, mlcc_regex_scratch *scratch, const char *text, size_t length,
    bool *answer) {
    size_t begin, end;
    return mlcc_regex_find(set->word, scratch, text, length, 0, answer, &begin, &end);
}

static mlcc_status *stands_alone(
    const mlcc_added_tokens *set, mlcc_regex_scratch *scratch, const char *text, size_t length,
    size_t begin, size_t end, bool *answer) {
    bool is_left_word = false;
    bool is_right_word = false;
    if (begin > 0) {
        size_t last = mlcc_utf8_last(text, begin);
        MLCC_TRY(is_word(set, scratch, text + last, begin - last, &is_left_word));
    }
    if (end < length) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + end, &code);
        MLCC_TRY(is_word(set, scratch, text + end, n_bytes, &is_right_word));
    }
    *answer = !is_left_word && !is_right_word;
    return NULL;
}

static size_t white_space_begin(const char *text, size_t end, size_t not_before) {
    while (end > not_before) {
        size_t last = mlcc_utf8_last(text, end);
        uint32_t code;
        mlcc_utf8_decode(text + last, &code);
        if (!mlcc_is_whitespace(code)) break;
        end = last;
    }
    return end > not_before ? end : not_before;
}

static size_t white_space_end(const char *text, size_t begin, size_t length) {
    while (begin < length) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + begin, &code);
        if (!mlcc_is_whitespace(code)) break;
        begin += n_bytes;
    }
    return begin;
}

static mlcc_status *push(
    mlcc_spans *spans, size_t begin, size_t end, const mlcc_added_token *token) {
    if (spans->n == spans->capacity) {
        size_t capacity = spans->capacity == 0 ? 16 : spans->capacity * 2;
        mlcc_span *items = realloc(spans->items, capacity * sizeof *items);
        if (items == NULL) {
            return MLCC_ERROR(NO_MEMORY, "host memory ended while looking for added tokens");
        }
        spans->items = items;
        spans->capacity = capacity;
    }
    spans->items[spans->n++] = (mlcc_span){.begin = begin, .end = end, .token = token};
    return NULL;
}

// Adds a match with the white space it takes; *done is where ordinary text goes on.
static mlcc_status *take(
    const mlcc_added_tokens *set, mlcc_regex_scratch *scratch, const char *text, size_t length,
    size_t begin, size_t end, const mlcc_added_token *token, size_t *done, mlcc_spans *out) {
    if (token->single_word) {
        bool is_alone;
        MLCC_TRY(stands_alone(set, scratch, text, length, begin, end, &is_alone));
        if (!is_alone) return NULL;
    }
    if (token->lstrip) begin = white_space_begin(text, begin, *done);
    if (token->rstrip) end = white_space_end(text, end, length);
    // A token inside white space that the last one has taken counts, too, and ordinary text goes on behind it.
    if (*done < begin) MLCC_TRY(push(out, *done, begin, NULL));
    MLCC_TRY(push(out, begin, end, token));
    *done = end;
    return NULL;
}

// Where special tokens that begin at `at` must have ended: where the guarded text begins. *next is the first range that ends behind
// `at`, and only moves forward.
static size_t special_limit(
    const mlcc_text_range *guarded, size_t n_guarded, size_t at, size_t *next) {
    while (*next < n_guarded && guarded[*next].end <= at) (*next)++;
    if (*next == n_guarded) return SIZE_MAX;
    return guarded[*next].begin > at ? guarded[*next].begin : at;
}

mlcc_status *mlcc_added_tokens_split(
    const mlcc_added_tokens *set, mlcc_regex_scratch *scratch, const char *text, size_t length,
    const mlcc_text_range *guarded, size_t n_guarded, mlcc_spans *out) {
    out->n = 0;
    size_t done = 0;
    size_t i = 0;
    size_t next = 0;
    while (set->trie != NULL && i < length) {
        if (!set->trie->starts[(unsigned char)text[i]]) {
            i++;
            continue;
        }
        size_t limit = special_limit(guarded, n_guarded, i, &next);
        const mlcc_added_token *token = longest_at(set, text, length, i, limit);
        if (token == NULL) {
            i++;
            continue;
        }
        size_t end = i + token->pattern_bytes;
        MLCC_TRY(take(set, scratch, text, length, i, end, token, &done, out));
        i = end;
    }
    return done < length ? push(out, done, length, NULL) : NULL;
}
