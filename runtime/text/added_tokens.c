// A trie over the tokens' bytes. Its edges lie in one hash table; a search starts only at bytes that begin some token, so text
// without special tokens costs one table look per byte. The worst case is the text length times the longest token.
#include "runtime/text/added_tokens.h"

#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

typedef struct trie_edge {
    uint32_t key; // node * 256 + byte + 1; 0 is free
    uint32_t target;
} trie_edge;

struct mlcc_added_tokens {
    const mlcc_added_token *tokens;
    bool starts[256];        // bytes that begin a token
    trie_edge *edges;        // [n_slots]
    uint32_t n_slots;        // power of two
    uint32_t *token_of_node; // index + 1; 0: no token ends here
    uint32_t n_nodes;
    mlcc_regex *word; // one word character, when a token has single_word
};

enum { NODES_MAX = (1 << 24) - 2 };

// The edge with this key, or the free slot where it would lie.
static trie_edge *find_edge(const mlcc_added_tokens *set, uint32_t key) {
    uint64_t mixed = (uint64_t)key * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t slot = (uint32_t)(mixed >> 32) & (set->n_slots - 1);
    while (set->edges[slot].key != 0 && set->edges[slot].key != key) {
        slot = (slot + 1) & (set->n_slots - 1);
    }
    return &set->edges[slot];
}

static uint32_t edge_key(uint32_t node, char byte) {
    return (node << 8) + (unsigned char)byte + 1;
}

static void insert(mlcc_added_tokens *set, const mlcc_added_token *token, uint32_t index) {
    uint32_t node = 0;
    set->starts[(unsigned char)token->pattern[0]] = true;
    for (size_t i = 0; i < token->pattern_bytes; i++) {
        uint32_t key = edge_key(node, token->pattern[i]);
        trie_edge *edge = find_edge(set, key);
        if (edge->key == 0) *edge = (trie_edge){.key = key, .target = set->n_nodes++};
        node = edge->target;
    }
    // Normalising can make two tokens alike; the first one counts.
    if (set->token_of_node[node] == 0) set->token_of_node[node] = index + 1;
}

// Room for every byte of every token.
static bool allocate(mlcc_added_tokens *set, size_t n_bytes) {
    set->n_slots = 16;
    while (set->n_slots < 2 * n_bytes) set->n_slots *= 2;
    set->n_nodes = 1;
    set->edges = calloc(set->n_slots, sizeof *set->edges);
    set->token_of_node = calloc(n_bytes + 1, sizeof *set->token_of_node);
    return set->edges != NULL && set->token_of_node != NULL;
}

static mlcc_status *fill(mlcc_added_tokens *set, size_t n_tokens, bool normalized) {
    size_t n_bytes = 0;
    bool has_single_word = false;
    for (size_t i = 0; i < n_tokens; i++) {
        if (set->tokens[i].is_normalized != normalized) continue;
        if (n_bytes <= NODES_MAX) n_bytes += set->tokens[i].pattern_bytes;
        has_single_word = has_single_word || set->tokens[i].single_word;
    }
    if (n_bytes > NODES_MAX) {
        return MLCC_ERROR(
            UNSUPPORTED, "the added tokens have %zu bytes together, at most %d are accepted",
            n_bytes, NODES_MAX);
    }
    if (!allocate(set, n_bytes)) {
        return MLCC_ERROR(NO_MEMORY, "host memory ended while reading the added tokens");
    }
    for (size_t i = 0; i < n_tokens; i++) {
        const mlcc_added_token *token = &set->tokens[i];
        if (token->is_normalized != normalized || token->pattern_bytes == 0) continue;
        insert(set, token, (uint32_t)i);
    }
    if (!has_single_word) return NULL;
    static const char word[] =
        "[\\w\\u200C\\u200D]"; // Rust's \w has the two joiners, Oniguruma's has not
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
    free(set->edges);
    free(set->token_of_node);
    free(set);
}

void mlcc_spans_free(mlcc_spans *spans) {
    free(spans->items);
    *spans = (mlcc_spans){0};
}

// ---- search ------------------------------------------------------------------------------------------------

// The longest token at the start of the text, or NULL.
static const mlcc_added_token *longest_at(
    const mlcc_added_tokens *set, const char *text, size_t length) {
    uint32_t node = 0;
    uint32_t best = 0;
    for (size_t i = 0; i < length; i++) {
        const trie_edge *edge = find_edge(set, edge_key(node, text[i]));
        if (edge->key == 0) break;
        node = edge->target;
        if (set->token_of_node[node] != 0) best = set->token_of_node[node];
    }
    return best == 0 ? NULL : &set->tokens[best - 1];
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

mlcc_status *mlcc_added_tokens_split(
    const mlcc_added_tokens *set, mlcc_regex_scratch *scratch, const char *text, size_t length,
    mlcc_spans *out) {
    out->n = 0;
    size_t done = 0;
    size_t i = 0;
    while (set->n_nodes > 1 && i < length) {
        if (!set->starts[(unsigned char)text[i]]) {
            i++;
            continue;
        }
        const mlcc_added_token *token = longest_at(set, text + i, length - i);
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
