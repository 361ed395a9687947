// The model: tables for characters, bytes and pairs. Merging itself is in bpe_merge.c.
#include "runtime/text/bpe_internal.h"

#include "runtime/text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char metaspace[] = "\xE2\x96\x81"; // ▁, U+2581
enum { METASPACE_BYTES = 3 };

int32_t mlcc_bpe_find(const mlcc_bpe *bpe, const char *piece, size_t length) {
    return mlcc_vocabulary_find(bpe->vocab, piece, length);
}

static mlcc_status *no_memory(void) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
}

// The ids of single characters and of "<0x00>" … "<0xFF>".
static void fill_character_ids(mlcc_bpe *bpe) {
    for (size_t i = 0; i < BPE_N_DIRECT; i++) bpe->character_ids[i] = -1;
    for (size_t i = 0; i < mlcc_vocabulary_count(bpe->vocab); i++) {
        size_t length;
        int32_t id;
        const char *piece = mlcc_vocabulary_piece(bpe->vocab, i, &length, &id);
        if (length == 0 || length > MLCC_UTF8_MAX_BYTES) continue;
        uint32_t code;
        if (mlcc_utf8_decode(piece, &code) == length && code < BPE_N_DIRECT) {
            bpe->character_ids[code] = id;
        }
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        int length = snprintf(name, sizeof name, "<0x%02X>", byte);
        bpe->byte_ids[byte] = mlcc_bpe_find(bpe, name, (size_t)length);
    }
}

mlcc_status *mlcc_bpe_create(const mlcc_bpe_options *options, mlcc_bpe **out) {
    *out = NULL;
    mlcc_bpe *bpe = calloc(1, sizeof *bpe);
    if (bpe == NULL) return no_memory();
    bpe->vocab = options->vocab;
    bpe->unknown_id = options->unknown_id;
    bpe->fuses_unknown = options->fuses_unknown;
    bpe->has_byte_fallback = options->has_byte_fallback;
    bpe->ignores_merges = options->ignores_merges;
    bpe->max_merges = options->n_merges;
    bpe->n_slots = 16;
    while (bpe->n_slots < 2 * options->n_merges) bpe->n_slots *= 2;
    bpe->prefix = strdup(options->prefix);
    bpe->suffix = strdup(options->suffix);
    bpe->character_ids = malloc(BPE_N_DIRECT * sizeof *bpe->character_ids);
    bpe->pairs = malloc(bpe->n_slots * sizeof *bpe->pairs);
    if (bpe->prefix == NULL || bpe->suffix == NULL || bpe->character_ids == NULL ||
        bpe->pairs == NULL) {
        mlcc_bpe_free(bpe);
        return no_memory();
    }
    bpe->prefix_bytes = strlen(bpe->prefix);
    bpe->suffix_bytes = strlen(bpe->suffix);
    bpe->splits_at_metaspace =
        !bpe->ignores_merges && bpe->prefix_bytes == 0 && bpe->suffix_bytes == 0;
    for (size_t i = 0; i < bpe->n_slots; i++) bpe->pairs[i].rank = BPE_NO_RANK;
    fill_character_ids(bpe);
    *out = bpe;
    return NULL;
}

void mlcc_bpe_free(mlcc_bpe *bpe) {
    if (bpe == NULL) return;
    free(bpe->prefix);
    free(bpe->suffix);
    free(bpe->character_ids);
    if (!bpe->is_view) free(bpe->pairs);
    mlcc_trie_free(bpe->verbatim);
    mlcc_bytes_free(&bpe->joined);
    free(bpe);
}

static mlcc_status *unknown_piece(const char *piece, size_t length) {
    return MLCC_ERROR(
        INVALID, "piece '%.*s' is not in model.vocab", length < 100 ? (int)length : 100, piece);
}

// True when a '▁' lies behind another character: then a merge can reach over the beginning of a word.
static bool has_inner_metaspace(const char *piece, size_t length) {
    bool was_metaspace = true;
    for (size_t i = 0; i < length;) {
        bool is_metaspace =
            length - i >= METASPACE_BYTES && memcmp(piece + i, metaspace, METASPACE_BYTES) == 0;
        if (is_metaspace && !was_metaspace) return true;
        was_metaspace = is_metaspace;
        i += is_metaspace ? METASPACE_BYTES : 1;
    }
    return false;
}

mlcc_status *mlcc_bpe_add_merge(
    mlcc_bpe *bpe, const char *left, size_t left_bytes, const char *right, size_t right_bytes) {
    int32_t left_id = mlcc_bpe_find(bpe, left, left_bytes);
    if (left_id < 0) return unknown_piece(left, left_bytes);
    int32_t right_id = mlcc_bpe_find(bpe, right, right_bytes);
    if (right_id < 0) return unknown_piece(right, right_bytes);
    if (right_bytes < bpe->prefix_bytes) {
        return MLCC_ERROR(
            INVALID, "piece '%.*s' is shorter than continuing_subword_prefix '%.60s'",
            right_bytes < 60 ? (int)right_bytes : 60, right, bpe->prefix);
    }
    mlcc_bytes_clear(&bpe->joined);
    mlcc_bytes_append(&bpe->joined, left, left_bytes);
    mlcc_bytes_append(&bpe->joined, right + bpe->prefix_bytes, right_bytes - bpe->prefix_bytes);
    MLCC_TRY(mlcc_bytes_check(&bpe->joined));
    const char *joined = bpe->joined.length == 0 ? "" : bpe->joined.data;
    int32_t merged_id = mlcc_bpe_find(bpe, joined, bpe->joined.length);
    if (merged_id < 0) return unknown_piece(joined, bpe->joined.length);
    return mlcc_bpe_add_pair(
        bpe, left_id, right_id, merged_id, joined, bpe->joined.length, (uint32_t)bpe->n_merges);
}

mlcc_status *mlcc_bpe_add_pair(
    mlcc_bpe *bpe, int32_t left, int32_t right, int32_t merged, const char *merged_text,
    size_t merged_bytes, uint32_t rank) {
    if (has_inner_metaspace(merged_text, merged_bytes)) bpe->splits_at_metaspace = false;
    if (bpe->n_merges == bpe->max_merges) {
        return MLCC_ERROR(INTERNAL, "more than the announced %zu merges", bpe->max_merges);
    }
    uint64_t key = mlcc_bpe_pair_key(left, right);
    bpe_pair *pair = mlcc_bpe_pair_slot(bpe, key);
    *pair = (bpe_pair){.key = key, .rank = rank, .merged = merged};
    bpe->n_merges++;
    return NULL;
}

void mlcc_bpe_set_verbatim(mlcc_bpe *bpe, mlcc_trie *verbatim) {
    bpe->verbatim = verbatim;
    bpe->splits_at_metaspace = false;
}

void mlcc_bpe_finish(mlcc_bpe *bpe) {
    mlcc_bytes_free(&bpe->joined);
    // Cutting before '▁' must not change what happens to it, so it has to be a piece itself. And no character may vanish, which
    // would make neighbours of two '▁' in different words.
    bool keeps_all = bpe->unknown_id >= 0;
    if (!keeps_all && bpe->has_byte_fallback) {
        keeps_all = true;
        for (unsigned byte = 0; byte < 256; byte++)
            keeps_all = keeps_all && bpe->byte_ids[byte] >= 0;
    }
    if (!keeps_all || mlcc_bpe_find(bpe, metaspace, METASPACE_BYTES) < 0) {
        bpe->splits_at_metaspace = false;
    }
}

// Where the word that starts at `text` ends: before the first '▁' that follows another character.
static size_t word_length(const char *text, size_t length) {
    size_t i = 0;
    while (length - i >= METASPACE_BYTES && memcmp(text + i, metaspace, METASPACE_BYTES) == 0) {
        i += METASPACE_BYTES;
    }
    const char *at = memmem(text + i, length - i, metaspace, METASPACE_BYTES);
    return at == NULL ? length : (size_t)(at - text);
}

mlcc_status *mlcc_bpe_encode(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length,
    const uint8_t *forbidden, mlcc_ids *out) {
    if (!bpe->splits_at_metaspace) {
        return mlcc_bpe_encode_word(bpe, scratch, word, length, forbidden, out);
    }
    // SentencePiece models have no pre-tokenizer: the text is one word. No merge of this model yields a piece with '▁' behind
    // another character, so nothing can merge across such a place, and small words are faster and can be remembered.
    size_t i = 0;
    while (i < length) {
        size_t n_bytes = word_length(word + i, length - i);
        MLCC_TRY(mlcc_bpe_encode_word(bpe, scratch, word + i, n_bytes, forbidden, out));
        i += n_bytes;
    }
    return NULL;
}

// ---- packing -------------------------------------------------------------------------------------------------

void mlcc_bpe_pack(const mlcc_bpe *bpe, mlcc_bytes *out) {
    mlcc_pack_u32(out, (uint32_t)(bpe->unknown_id + 1));
    mlcc_pack_u32(out, bpe->fuses_unknown);
    mlcc_pack_u32(out, bpe->has_byte_fallback);
    mlcc_pack_u32(out, bpe->ignores_merges);
    mlcc_pack_u32(out, bpe->splits_at_metaspace);
    mlcc_pack_text(out, bpe->prefix, bpe->prefix_bytes);
    mlcc_pack_text(out, bpe->suffix, bpe->suffix_bytes);
    mlcc_pack_array(out, bpe->pairs, bpe->n_slots, sizeof *bpe->pairs);
    mlcc_trie_pack_members(bpe->verbatim, bpe->vocab, out);
}

// Every pair becomes a token, and a search for a pair ends at a free slot.
static bool has_good_pairs(const mlcc_bpe *bpe, size_t n_tokens) {
    if (bpe->n_slots < 2 || (bpe->n_slots & (bpe->n_slots - 1)) != 0) return false;
    size_t n_free = 0;
    bool is_good = true;
    for (size_t i = 0; i < bpe->n_slots; i++) {
        bool is_free = bpe->pairs[i].rank == BPE_NO_RANK;
        n_free += is_free;
        // As an unsigned number a negative id is above every limit, too.
        is_good = is_good && (is_free || (uint32_t)bpe->pairs[i].merged < n_tokens);
    }
    return is_good && n_free != 0;
}

static mlcc_status *unpack(mlcc_unpacker *in, size_t n_tokens, mlcc_bpe *bpe) {
    bpe->unknown_id = (int32_t)mlcc_unpack_below(in, n_tokens + 1) - 1;
    bpe->fuses_unknown = mlcc_unpack_bool(in);
    bpe->has_byte_fallback = mlcc_unpack_bool(in);
    bpe->ignores_merges = mlcc_unpack_bool(in);
    bpe->splits_at_metaspace = mlcc_unpack_bool(in);
    bpe->prefix = strdup(mlcc_unpack_text(in, &bpe->prefix_bytes));
    bpe->suffix = strdup(mlcc_unpack_text(in, &bpe->suffix_bytes));
    if (bpe->prefix == NULL || bpe->suffix == NULL) return no_memory();
    bpe->pairs = (bpe_pair *)(uintptr_t)mlcc_unpack_array(in, sizeof *bpe->pairs, &bpe->n_slots);
    bool is_good = strlen(bpe->prefix) == bpe->prefix_bytes &&
                   strlen(bpe->suffix) == bpe->suffix_bytes && has_good_pairs(bpe, n_tokens);
    if (!mlcc_unpack_require(in, is_good)) return NULL;
    bpe->character_ids = malloc(BPE_N_DIRECT * sizeof *bpe->character_ids);
    if (bpe->character_ids == NULL) return no_memory();
    fill_character_ids(bpe); // sooner made than read and checked
    return mlcc_trie_unpack_members(in, bpe->vocab, &bpe->verbatim);
}

mlcc_status *mlcc_bpe_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_bpe **out) {
    *out = NULL;
    mlcc_bpe *bpe = calloc(1, sizeof *bpe);
    if (bpe == NULL) return no_memory();
    bpe->is_view = true;
    bpe->vocab = vocab;
    mlcc_status *status = unpack(in, n_tokens, bpe);
    if (status != NULL || in->has_failed) {
        mlcc_bpe_free(bpe);
        return status;
    }
    *out = bpe;
    return NULL;
}
