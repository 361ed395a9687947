// bpe_internal: what bpe.c (the model) and bpe_merge.c (its use) share.
#ifndef MLCC_RUNTIME_TEXT_BPE_INTERNAL_H
#define MLCC_RUNTIME_TEXT_BPE_INTERNAL_H

#include "runtime/text/bpe.h"

enum { BPE_N_DIRECT = 0x10000 }; // characters below have their id in a plain table
#define BPE_NO_RANK UINT32_MAX

typedef struct bpe_pair {
    uint64_t key;   // left id, right id
    uint32_t rank;  // BPE_NO_RANK: a free slot
    int32_t merged; // what they become
} bpe_pair;

struct mlcc_bpe {
    const mlcc_vocabulary *vocab;
    int32_t unknown_id;
    char *prefix, *suffix;
    size_t prefix_bytes, suffix_bytes;
    bool fuses_unknown, has_byte_fallback, ignores_merges;
    bool splits_at_metaspace;
    bool is_view; // the pairs belong to somebody else

    int32_t *character_ids; // [BPE_N_DIRECT], -1 where the vocabulary has no such piece
    int32_t byte_ids[256];  // "<0x0A>", -1 likewise
    bpe_pair *pairs;        // [n_slots], open addressing
    size_t n_slots;         // power of two
    size_t n_merges, max_merges;
    mlcc_trie *verbatim; // NULL: none
    mlcc_bytes joined;   // while loading
};

// The id of a piece, -1 when absent.
int32_t mlcc_bpe_find(const mlcc_bpe *bpe, const char *piece, size_t length);
mlcc_status *mlcc_bpe_encode_word(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length,
    const uint8_t *forbidden, mlcc_ids *out);

static inline uint64_t mlcc_bpe_pair_key(int32_t left, int32_t right) {
    return ((uint64_t)(uint32_t)left << 32) | (uint32_t)right;
}

// The slot of the pair, or the free one where it would lie.
static inline bpe_pair *mlcc_bpe_pair_slot(const mlcc_bpe *bpe, uint64_t key) {
    size_t slot = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (bpe->n_slots - 1);
    while (bpe->pairs[slot].rank != BPE_NO_RANK && bpe->pairs[slot].key != key) {
        slot = (slot + 1) & (bpe->n_slots - 1);
    }
    return &bpe->pairs[slot];
}

#endif
