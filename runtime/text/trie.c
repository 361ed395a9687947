#include "runtime/text/trie.h"

#include <stdlib.h>

enum { NODES_MAX = (1 << 24) - 2 }; // a node and a byte make a key of 32 bits

mlcc_status *mlcc_trie_create(size_t n_bytes, mlcc_trie **out) {
    *out = NULL;
    if (n_bytes > NODES_MAX) {
        return MLCC_ERROR(
            UNSUPPORTED, "the pieces have %zu bytes together, at most %d are accepted", n_bytes,
            NODES_MAX);
    }
    mlcc_trie *trie = calloc(1, sizeof *trie);
    if (trie == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
    trie->n_slots = 16;
    while (trie->n_slots < 2 * n_bytes) trie->n_slots *= 2;
    trie->n_nodes = 1;
    trie->bytes_left = n_bytes;
    trie->edges = calloc(trie->n_slots, sizeof *trie->edges);
    trie->values = malloc((n_bytes + 1) * sizeof *trie->values);
    if (trie->edges == NULL || trie->values == NULL) {
        mlcc_trie_free(trie);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
    }
    for (size_t i = 0; i <= n_bytes; i++) trie->values[i] = -1;
    *out = trie;
    return NULL;
}

void mlcc_trie_free(mlcc_trie *trie) {
    if (trie == NULL) return;
    free(trie->edges);
    free(trie->values);
    free(trie);
}

mlcc_status *mlcc_trie_add(
    mlcc_trie *trie, const char *text, size_t length, int32_t value, bool replaces) {
    if (length == 0) return NULL;
    if (length > trie->bytes_left) {
        return MLCC_ERROR(INTERNAL, "a trie got %zu bytes more than announced", length);
    }
    trie->bytes_left -= length;
    trie->starts[(unsigned char)text[0]] = true;
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t key = mlcc_trie_key(node, text[i]);
        mlcc_trie_edge *edge = mlcc_trie_edge_of(trie, key);
        if (edge->key == 0) *edge = (mlcc_trie_edge){.key = key, .target = trie->n_nodes++};
        node = edge->target;
    }
    if (replaces || trie->values[node] < 0) trie->values[node] = value;
    return NULL;
}

int32_t mlcc_trie_longest(
    const mlcc_trie *trie, const char *text, size_t length, size_t *member_bytes) {
    int32_t best = -1;
    *member_bytes = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        node = mlcc_trie_step(trie, node, text[i]);
        if (node == 0) break;
        if (trie->values[node] < 0) continue;
        best = trie->values[node];
        *member_bytes = i + 1;
    }
    return best;
}
