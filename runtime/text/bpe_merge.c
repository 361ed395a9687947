// From a word to ids: symbols, merging, and the memory of words met before.
#include "runtime/text/bpe_internal.h"

#include "runtime/base/hash.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORT_SYMBOLS_MAX = 40, // up to here scanning beats the heap
    CACHE_SLOTS = 1 << 15,  // power of two
    CACHE_PROBES = 4,
    CACHE_WORD_BYTES_MAX = 256,
    CACHE_IDS_MAX = 255,
    CACHE_BYTES_MAX = 4 << 20, // when the words or ids grow beyond, all is forgotten
};

typedef struct cache_slot {
    uint64_t hash;
    uint32_t word;       // where the bytes begin
    uint32_t ids;        // where the ids begin
    uint16_t word_bytes; // 0: free
    uint8_t n_ids;
} cache_slot;

// Symbols of a long word form a list; the places of merged ones stay behind.
typedef struct symbol {
    int32_t id;
    int32_t previous; // -1: none
    int32_t next;     // -1: none, SYMBOL_GONE: merged into the one before
} symbol;
enum { SYMBOL_GONE = -2 };

struct mlcc_bpe_scratch {
    cache_slot *cache; // [CACHE_SLOTS]
    mlcc_bytes cached_words;
    mlcc_ids cached_ids;
    mlcc_ids symbols;     // ids before merging
    mlcc_bytes character; // one character with prefix or suffix
    symbol *list;
    uint64_t *heap; // rank << 32 | place
    size_t list_capacity, heap_capacity;
    const uint8_t *forbidden; // [n_tokens] during a call; NULL: none
};

mlcc_bpe_scratch *mlcc_bpe_scratch_create(void) {
    mlcc_bpe_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) return NULL;
    scratch->cache = calloc(CACHE_SLOTS, sizeof *scratch->cache);
    if (scratch->cache == NULL) {
        free(scratch);
        return NULL;
    }
    return scratch;
}

void mlcc_bpe_scratch_free(mlcc_bpe_scratch *scratch) {
    if (scratch == NULL) return;
    free(scratch->cache);
    mlcc_bytes_free(&scratch->cached_words);
    mlcc_ids_free(&scratch->cached_ids);
    mlcc_ids_free(&scratch->symbols);
    mlcc_bytes_free(&scratch->character);
    free(scratch->list);
    free(scratch->heap);
    free(scratch);
}

// ---- what may be formed ----------------------------------------------------------------------------------------

static bool is_forbidden(const mlcc_bpe_scratch *scratch, int32_t id) {
    return scratch->forbidden != NULL && id >= 0 && scratch->forbidden[id] != 0;
}

// The rank of a pair and what it becomes.
static uint32_t rank_of(
    const mlcc_bpe *bpe, const mlcc_bpe_scratch *scratch, int32_t left, int32_t right,
    int32_t *merged) {
    const bpe_pair *pair = mlcc_bpe_pair_slot(bpe, mlcc_bpe_pair_key(left, right));
    *merged = -1;
    if (pair->rank == BPE_NO_RANK || is_forbidden(scratch, pair->merged)) return BPE_NO_RANK;
    *merged = pair->merged;
    return pair->rank;
}

// ---- symbols -------------------------------------------------------------------------------------------------

static int32_t character_id(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *text, size_t n_bytes, uint32_t code,
    bool is_first, bool is_last, const char **shown, size_t *shown_bytes) {
    bool has_prefix = !is_first && bpe->prefix_bytes != 0;
    bool has_suffix = is_last && bpe->suffix_bytes != 0;
    *shown = text;
    *shown_bytes = n_bytes;
    if (!has_prefix && !has_suffix) {
        return code < BPE_N_DIRECT ? bpe->character_ids[code] : mlcc_bpe_find(bpe, text, n_bytes);
    }
    mlcc_bytes *character = &scratch->character;
    mlcc_bytes_clear(character);
    if (has_prefix) mlcc_bytes_append(character, bpe->prefix, bpe->prefix_bytes);
    mlcc_bytes_append(character, text, n_bytes);
    if (has_suffix) mlcc_bytes_append(character, bpe->suffix, bpe->suffix_bytes);
    if (character->failed) return -1;
    *shown = character->data;
    *shown_bytes = character->length;
    return mlcc_bpe_find(bpe, character->data, character->length);
}

static bool push_bytes(const mlcc_bpe *bpe, const char *text, size_t n_bytes, mlcc_ids *symbols) {
    for (size_t i = 0; i < n_bytes; i++) {
        if (bpe->byte_ids[(unsigned char)text[i]] < 0) return false;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        mlcc_ids_push(symbols, bpe->byte_ids[(unsigned char)text[i]]);
    }
    return true;
}

static int32_t verbatim_at(
    const mlcc_bpe *bpe, const mlcc_bpe_scratch *scratch, const char *text, size_t length,
    size_t *n_bytes) {
    if (bpe->verbatim == NULL || !bpe->verbatim->starts[(unsigned char)text[0]]) return -1;
    int32_t id = mlcc_trie_longest(bpe->verbatim, text, length, n_bytes);
    return is_forbidden(scratch, id) ? -1 : id;
}

// An unknown character waits until a known one or the end comes, so that rows can be fused. (Bytes in between go first: odd, but
// what the reference does. It needs a vocabulary with some bytes only.)
static mlcc_status *make_symbols(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length) {
    mlcc_ids *symbols = &scratch->symbols;
    mlcc_ids_clear(symbols);
    mlcc_bytes_clear(&scratch->character);
    bool has_unknown = false;
    for (size_t i = 0; i < length;) {
        size_t verbatim_bytes;
        int32_t verbatim_id = verbatim_at(bpe, scratch, word + i, length - i, &verbatim_bytes);
        if (verbatim_id >= 0) {
            if (has_unknown) mlcc_ids_push(symbols, bpe->unknown_id);
            has_unknown = false;
            mlcc_ids_push(symbols, verbatim_id);
            i += verbatim_bytes;
            continue;
        }
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(word + i, &code);
        const char *shown;
        size_t shown_bytes;
        int32_t id = character_id(
            bpe, scratch, word + i, n_bytes, code, i == 0, i + n_bytes == length, &shown,
            &shown_bytes);
        i += n_bytes;
        if (id >= 0 && !is_forbidden(scratch, id)) {
            if (has_unknown) mlcc_ids_push(symbols, bpe->unknown_id);
            has_unknown = false;
            mlcc_ids_push(symbols, id);
            continue;
        }
        if (bpe->has_byte_fallback && push_bytes(bpe, shown, shown_bytes, symbols)) continue;
        if (bpe->unknown_id < 0) continue;
        if (has_unknown && !bpe->fuses_unknown) mlcc_ids_push(symbols, bpe->unknown_id);
        has_unknown = true;
    }
    if (has_unknown) mlcc_ids_push(symbols, bpe->unknown_id);
    MLCC_TRY(mlcc_bytes_check(&scratch->character));
    return mlcc_ids_check(symbols);
}

// ---- merging short words ---------------------------------------------------------------------------------------

static size_t merge_short(
    const mlcc_bpe *bpe, const mlcc_bpe_scratch *scratch, int32_t *ids, size_t n) {
    uint32_t ranks[SHORT_SYMBOLS_MAX]; // of the pair (i, i + 1)
    int32_t merged[SHORT_SYMBOLS_MAX];
    for (size_t i = 0; i + 1 < n; i++) {
        ranks[i] = rank_of(bpe, scratch, ids[i], ids[i + 1], &merged[i]);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (ranks[i] < ranks[best]) best = i;
        }
        if (ranks[best] == BPE_NO_RANK) break;
        ids[best] = merged[best];
        n--;
        for (size_t i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (size_t i = best; i + 1 < n; i++) {
            ranks[i] = ranks[i + 1];
            merged[i] = merged[i + 1];
        }
        if (best > 0) {
            ranks[best - 1] = rank_of(bpe, scratch, ids[best - 1], ids[best], &merged[best - 1]);
        }
        if (best + 1 < n) {
            ranks[best] = rank_of(bpe, scratch, ids[best], ids[best + 1], &merged[best]);
        }
    }
    return n;
}

// ---- merging long words ----------------------------------------------------------------------------------------

// A binary heap of rank << 32 | place, smallest first. Entries whose pair has changed meanwhile are dropped when they come up.
static void heap_sink(uint64_t *heap, size_t n, size_t at) {
    uint64_t entry = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= entry) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

static void heap_push(uint64_t *heap, size_t *n, uint64_t entry) {
    size_t at = (*n)++;
    while (at > 0 && entry < heap[(at - 1) / 2]) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n) {
    uint64_t top = heap[0];
    heap[0] = heap[--(*n)];
    heap_sink(heap, *n, 0);
    return top;
}

static mlcc_status *reserve_list(mlcc_bpe_scratch *scratch, size_t n) {
    // Every merge takes one entry and adds at most two: n - 1 at the start, never more than 2 n.
    if (scratch->list_capacity < n) {
        free(scratch->list);
        scratch->list = malloc(n * sizeof *scratch->list);
        scratch->list_capacity = scratch->list == NULL ? 0 : n;
    }
    if (scratch->heap_capacity < 2 * n) {
        free(scratch->heap);
        scratch->heap = malloc(2 * n * sizeof *scratch->heap);
        scratch->heap_capacity = scratch->heap == NULL ? 0 : 2 * n;
    }
    if (scratch->list != NULL && scratch->heap != NULL) return NULL;
    return MLCC_ERROR(NO_MEMORY, "host memory ended while merging a word of %zu symbols", n);
}

static void push_pair(const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, size_t *n_heap, int32_t at) {
    const symbol *list = scratch->list;
    if (at < 0 || list[at].next < 0) return;
    int32_t merged;
    uint32_t rank = rank_of(bpe, scratch, list[at].id, list[list[at].next].id, &merged);
    if (rank != BPE_NO_RANK) {
        heap_push(scratch->heap, n_heap, ((uint64_t)rank << 32) | (uint32_t)at);
    }
}

static void merge_list(const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, size_t n_heap) {
    symbol *list = scratch->list;
    while (n_heap > 0) {
        uint64_t entry = heap_pop(scratch->heap, &n_heap);
        uint32_t rank = (uint32_t)(entry >> 32);
        int32_t at = (int32_t)(entry & UINT32_MAX);
        symbol *left = &list[at];
        if (left->next < 0) continue;
        symbol *right = &list[left->next];
        int32_t merged;
        if (rank_of(bpe, scratch, left->id, right->id, &merged) != rank) continue;
        left->id = merged;
        left->next = right->next;
        right->next = SYMBOL_GONE;
        if (left->next >= 0) list[left->next].previous = at;
        push_pair(bpe, scratch, &n_heap, left->previous);
        push_pair(bpe, scratch, &n_heap, at);
    }
}

static mlcc_status *merge_long(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const mlcc_ids *symbols, mlcc_ids *out) {
    size_t n = symbols->n;
    MLCC_TRY(reserve_list(scratch, n));
    symbol *list = scratch->list;
    size_t n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        list[i] = (symbol){
            .id = symbols->items[i],
            .previous = (int32_t)i - 1,
            .next = i + 1 < n ? (int32_t)i + 1 : -1,
        };
        if (i + 1 == n) continue;
        int32_t merged;
        uint32_t rank = rank_of(bpe, scratch, symbols->items[i], symbols->items[i + 1], &merged);
        if (rank != BPE_NO_RANK) scratch->heap[n_heap++] = ((uint64_t)rank << 32) | i;
    }
    for (size_t i = n_heap / 2; i-- > 0;) heap_sink(scratch->heap, n_heap, i);
    merge_list(bpe, scratch, n_heap);
    for (int32_t i = 0; i >= 0; i = list[i].next) mlcc_ids_push(out, list[i].id);
    return mlcc_ids_check(out);
}

// ---- words met before --------------------------------------------------------------------------------------------

// The slot of the word, or where it would go.
static cache_slot *cache_find(
    mlcc_bpe_scratch *scratch, uint64_t hash, const char *word, size_t length, bool *is_there) {
    cache_slot *home = NULL;
    for (size_t probe = 0; probe < CACHE_PROBES; probe++) {
        cache_slot *slot = &scratch->cache[(hash + probe) & (CACHE_SLOTS - 1)];
        if (slot->word_bytes == 0) {
            *is_there = false;
            return slot;
        }
        if (slot->hash == hash && slot->word_bytes == length &&
            memcmp(scratch->cached_words.data + slot->word, word, length) == 0) {
            *is_there = true;
            return slot;
        }
        if (probe == (hash >> 60) % CACHE_PROBES) home = slot;
    }
    *is_there = false;
    return home; // all taken: one of them is replaced
}

static void cache_forget(mlcc_bpe_scratch *scratch) {
    memset(scratch->cache, 0, CACHE_SLOTS * sizeof *scratch->cache);
    mlcc_bytes_clear(&scratch->cached_words);
    mlcc_ids_clear(&scratch->cached_ids);
}

static void cache_store(
    mlcc_bpe_scratch *scratch, cache_slot *slot, uint64_t hash, const char *word, size_t length,
    const int32_t *ids, size_t n_ids) {
    if (n_ids > CACHE_IDS_MAX) return;
    if (scratch->cached_words.length + length > CACHE_BYTES_MAX ||
        (scratch->cached_ids.n + n_ids) * sizeof *ids > CACHE_BYTES_MAX) {
        cache_forget(scratch);
    }
    size_t word_at = scratch->cached_words.length;
    size_t ids_at = scratch->cached_ids.n;
    mlcc_bytes_append(&scratch->cached_words, word, length);
    mlcc_ids_append(&scratch->cached_ids, ids, n_ids);
    if (scratch->cached_words.failed || scratch->cached_ids.failed) {
        cache_forget(scratch);
        return;
    }
    *slot = (cache_slot){
        .hash = hash,
        .word = (uint32_t)word_at,
        .ids = (uint32_t)ids_at,
        .word_bytes = (uint16_t)length,
        .n_ids = (uint8_t)n_ids,
    };
}

// ---- a word ----------------------------------------------------------------------------------------------------

static mlcc_status *encode_new_word(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length,
    mlcc_ids *out) {
    if (bpe->ignores_merges) {
        int32_t id = mlcc_bpe_find(bpe, word, length);
        if (id >= 0 && !is_forbidden(scratch, id)) {
            mlcc_ids_push(out, id);
            return mlcc_ids_check(out);
        }
    }
    MLCC_TRY(make_symbols(bpe, scratch, word, length));
    if (scratch->symbols.n == 0) return NULL;
    if (scratch->symbols.n > SHORT_SYMBOLS_MAX) {
        return merge_long(bpe, scratch, &scratch->symbols, out);
    }
    size_t n = merge_short(bpe, scratch, scratch->symbols.items, scratch->symbols.n);
    mlcc_ids_append(out, scratch->symbols.items, n);
    return mlcc_ids_check(out);
}

static mlcc_status *encode_word_cached(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length,
    mlcc_ids *out) {
    if (length > CACHE_WORD_BYTES_MAX) return encode_new_word(bpe, scratch, word, length, out);
    uint64_t hash = mlcc_hash64(word, length);
    bool is_there;
    cache_slot *slot = cache_find(scratch, hash, word, length, &is_there);
    if (is_there) {
        if (slot->n_ids == 0) return NULL;
        mlcc_ids_append(out, scratch->cached_ids.items + slot->ids, slot->n_ids);
        return mlcc_ids_check(out);
    }
    size_t before = out->n;
    MLCC_TRY(encode_new_word(bpe, scratch, word, length, out));
    const int32_t *ids = out->n == before ? NULL : out->items + before;
    cache_store(scratch, slot, hash, word, length, ids, out->n - before);
    return NULL;
}

mlcc_status *mlcc_bpe_encode_word(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length,
    const uint8_t *forbidden, mlcc_ids *out) {
    size_t before = out->n;
    MLCC_TRY(encode_word_cached(bpe, scratch, word, length, out));
    if (forbidden == NULL) return NULL;
    // Almost no vocabulary can spell a forbidden token by merging, so the words met before serve guarded text, too; the one that does is
    // merged again without it.
    bool is_good = true;
    for (size_t i = before; i < out->n; i++) is_good = is_good && !forbidden[out->items[i]];
    if (is_good) return NULL;
    out->n = before;
    scratch->forbidden = forbidden;
    mlcc_status *status = encode_new_word(bpe, scratch, word, length, out);
    scratch->forbidden = NULL;
    return status;
}
