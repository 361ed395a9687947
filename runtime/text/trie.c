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
    if (!trie->is_view) {
        free(trie->edges);
        free(trie->values);
    }
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

// ---- packing -------------------------------------------------------------------------------------------------

void mlcc_trie_pack(const mlcc_trie *trie, mlcc_bytes *out) {
    mlcc_pack_array(out, trie->starts, sizeof trie->starts, 1);
    mlcc_pack_array(out, trie->edges, trie->n_slots, sizeof *trie->edges);
    mlcc_pack_array(out, trie->values, trie->n_nodes, sizeof *trie->values);
}

// Every edge leads to a node, free slots to none, and there is a free slot at which searches end.
static bool has_good_edges(const mlcc_trie *trie, size_t n_slots) {
    if (n_slots < 2 || n_slots > UINT32_MAX || (n_slots & (n_slots - 1)) != 0) return false;
    size_t n_free = 0;
    bool is_good = true;
    for (size_t i = 0; i < n_slots; i++) {
        mlcc_trie_edge edge = trie->edges[i];
        n_free += edge.key == 0;
        is_good = is_good && edge.target < trie->n_nodes && (edge.key != 0 || edge.target == 0);
    }
    return is_good && n_free != 0;
}

mlcc_trie *mlcc_trie_unpack(mlcc_unpacker *in, size_t n_tokens) {
    size_t n_starts, n_slots, n_nodes;
    const unsigned char *starts = mlcc_unpack_array(in, 1, &n_starts);
    const mlcc_trie_edge *edges = mlcc_unpack_array(in, sizeof *edges, &n_slots);
    const int32_t *values = mlcc_unpack_ids(in, -1, n_tokens, &n_nodes);
    mlcc_trie *trie = calloc(1, sizeof *trie);
    if (trie == NULL) return NULL;
    trie->is_view = true;
    trie->edges = (mlcc_trie_edge *)(uintptr_t)edges;
    trie->values = (int32_t *)(uintptr_t)values;
    trie->n_nodes = (uint32_t)n_nodes;
    trie->n_slots = (uint32_t)n_slots;
    bool is_good = !in->has_failed && n_starts == sizeof trie->starts && n_nodes >= 1 &&
                   n_nodes <= NODES_MAX + 1 && has_good_edges(trie, n_slots);
    if (!mlcc_unpack_require(in, is_good)) {
        mlcc_trie_free(trie);
        return NULL;
    }
    for (size_t i = 0; i < n_starts; i++) trie->starts[i] = starts[i] != 0;
    return trie;
}

void mlcc_trie_pack_members(
    const mlcc_trie *trie, const mlcc_vocabulary *vocabulary, mlcc_bytes *out) {
    mlcc_bytes members = {0};
    for (size_t i = 0; trie != NULL && i < mlcc_vocabulary_count(vocabulary); i++) {
        size_t length, member_bytes;
        int32_t id;
        const char *piece = mlcc_vocabulary_piece(vocabulary, i, &length, &id);
        if (mlcc_trie_longest(trie, piece, length, &member_bytes) != id || member_bytes != length)
            continue;
        uint32_t entry = (uint32_t)i;
        mlcc_bytes_append(&members, (const char *)&entry, sizeof entry);
    }
    mlcc_pack_array(out, members.data, members.length / sizeof(uint32_t), sizeof(uint32_t));
    if (members.failed) out->failed = true;
    mlcc_bytes_free(&members);
}

mlcc_status *mlcc_trie_unpack_members(
    mlcc_unpacker *in, const mlcc_vocabulary *vocabulary, mlcc_trie **out) {
    *out = NULL;
    size_t n, n_bytes = 0, length;
    int32_t id;
    size_t n_entries = mlcc_vocabulary_count(vocabulary);
    const uint32_t *members = mlcc_unpack_array(in, sizeof *members, &n);
    for (size_t i = 0; i < n; i++) {
        if (!mlcc_unpack_require(in, members[i] < n_entries)) return NULL;
        mlcc_vocabulary_piece(vocabulary, members[i], &length, &id);
        n_bytes += length;
    }
    if (n == 0) return NULL;
    MLCC_TRY(mlcc_trie_create(n_bytes, out));
    for (size_t i = 0; i < n; i++) {
        const char *piece = mlcc_vocabulary_piece(vocabulary, members[i], &length, &id);
        MLCC_TRY(mlcc_trie_add(*out, piece, length, id, false));
    }
    return NULL;
}
