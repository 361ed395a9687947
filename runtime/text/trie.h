// trie: a set of byte strings, each with a number, that is walked one byte at a time.
//
// The edges lie in one hash table, so a step costs one look whatever the alphabet, and a set of a quarter of a million pieces takes some
// 20 MB. Node 0 is the root; the walk ends when mlcc_trie_step answers 0.
//
//   uint32_t node = 0;
//   for (size_t i = 0; i < length && (node = mlcc_trie_step(trie, node, text[i])) != 0; i++)
//       if (mlcc_trie_value(trie, node) >= 0) … a member of i + 1 bytes …
//
// Thread rule: many readers or one writer.
#ifndef MLCC_RUNTIME_TEXT_TRIE_H
#define MLCC_RUNTIME_TEXT_TRIE_H

#include "runtime/base/status.h"
#include "runtime/text/vocabulary.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_trie_edge {
    uint32_t key; // node * 256 + byte + 1; 0: a free slot
    uint32_t target;
} mlcc_trie_edge;

typedef struct mlcc_trie {
    bool starts[256];      // bytes that begin a member
    mlcc_trie_edge *edges; // [n_slots], open addressing
    uint32_t n_slots;      // power of two
    int32_t *values;       // [n_nodes] the member that ends here, -1: none
    uint32_t n_nodes;
    size_t bytes_left; // announced and not yet used
    bool is_view;      // the arrays belong to somebody else
} mlcc_trie;

// Room for members of `n_bytes` together. UNSUPPORTED above 16 M, NO_MEMORY.
mlcc_status *mlcc_trie_create(size_t n_bytes, mlcc_trie **out);
void mlcc_trie_free(mlcc_trie *trie); // NULL is fine
// An empty text is no member. `replaces`: of two equal texts the later one counts. INTERNAL: more bytes than announced.
mlcc_status *mlcc_trie_add(
    mlcc_trie *trie, const char *text, size_t length, int32_t value, bool replaces);

// Writes a trie, and reads it back as a view of the packed bytes, which must outlive it and cannot be added to; values are checked to be below
// n_tokens. Walking it is safe whatever it holds; but only its members' lengths are those that it says, so a caller who relies on a
// member's end being the end of a character takes the second form. NULL: damaged (and the reader says so), or memory ended.
void mlcc_trie_pack(const mlcc_trie *trie, mlcc_bytes *out);
mlcc_trie *mlcc_trie_unpack(mlcc_unpacker *in, size_t n_tokens);
// The same for a small trie whose members are pieces of the vocabulary and whose values are their ids: a list of entries, from which it
// is built anew. *out is NULL for an empty one, and `trie` may be.
void mlcc_trie_pack_members(
    const mlcc_trie *trie, const mlcc_vocabulary *vocabulary, mlcc_bytes *out);
mlcc_status *mlcc_trie_unpack_members(
    mlcc_unpacker *in, const mlcc_vocabulary *vocabulary, mlcc_trie **out);

// The edge with this key, or the free slot where it would lie.
static inline mlcc_trie_edge *mlcc_trie_edge_of(const mlcc_trie *trie, uint32_t key) {
    uint64_t mixed = (uint64_t)key * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t slot = (uint32_t)(mixed >> 32) & (trie->n_slots - 1);
    while (trie->edges[slot].key != 0 && trie->edges[slot].key != key) {
        slot = (slot + 1) & (trie->n_slots - 1);
    }
    return &trie->edges[slot];
}

static inline uint32_t mlcc_trie_key(uint32_t node, char byte) {
    return (node << 8) + (unsigned char)byte + 1;
}

static inline uint32_t mlcc_trie_step(const mlcc_trie *trie, uint32_t node, char byte) {
    return mlcc_trie_edge_of(trie, mlcc_trie_key(node, byte))->target;
}

static inline int32_t mlcc_trie_value(const mlcc_trie *trie, uint32_t node) {
    return trie->values[node];
}

// The longest member at the start of the text: its value, or -1.
int32_t mlcc_trie_longest(
    const mlcc_trie *trie, const char *text, size_t length, size_t *member_bytes);

#endif
