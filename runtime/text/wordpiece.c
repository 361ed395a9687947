#include "runtime/text/wordpiece.h"

#include "runtime/text/trie.h"

#include <stdlib.h>
#include <string.h>

struct mlcc_wordpiece {
    mlcc_trie *first; // pieces as they are
    mlcc_trie *later; // those with the prefix, without it
    int32_t unknown_id;
    size_t max_characters;
};

struct mlcc_wordlevel {
    const mlcc_vocabulary *vocab;
    int32_t unknown_id;
};

static mlcc_status *no_memory(void) {
    return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
}

// ---- WordPiece -------------------------------------------------------------------------------------------------

static mlcc_status *fill_trie(const mlcc_vocabulary *vocab, const char *prefix, mlcc_trie **out) {
    size_t prefix_bytes = strlen(prefix);
    size_t n_bytes = 0;
    size_t length;
    int32_t id;
    for (size_t i = 0; i < mlcc_vocabulary_count(vocab); i++) {
        mlcc_vocabulary_piece(vocab, i, &length, &id);
        n_bytes += length;
    }
    MLCC_TRY(mlcc_trie_create(n_bytes, out));
    for (size_t i = 0; i < mlcc_vocabulary_count(vocab); i++) {
        const char *piece = mlcc_vocabulary_piece(vocab, i, &length, &id);
        if (length < prefix_bytes || memcmp(piece, prefix, prefix_bytes) != 0) continue;
        MLCC_TRY(mlcc_trie_add(*out, piece + prefix_bytes, length - prefix_bytes, id, true));
    }
    return NULL;
}

mlcc_status *mlcc_wordpiece_create(
    const mlcc_vocabulary *vocab, int32_t unknown_id, const char *prefix, size_t max_characters,
    mlcc_wordpiece **out) {
    *out = NULL;
    mlcc_wordpiece *wordpiece = calloc(1, sizeof *wordpiece);
    if (wordpiece == NULL) return no_memory();
    wordpiece->unknown_id = unknown_id;
    wordpiece->max_characters = max_characters;
    mlcc_status *status = fill_trie(vocab, "", &wordpiece->first);
    if (status == NULL) status = fill_trie(vocab, prefix, &wordpiece->later);
    if (status != NULL) {
        mlcc_wordpiece_free(wordpiece);
        return status;
    }
    *out = wordpiece;
    return NULL;
}

void mlcc_wordpiece_free(mlcc_wordpiece *wordpiece) {
    if (wordpiece == NULL) return;
    mlcc_trie_free(wordpiece->first);
    mlcc_trie_free(wordpiece->later);
    free(wordpiece);
}

static int32_t longest_piece(
    const mlcc_trie *trie, const char *text, size_t length, const uint8_t *forbidden,
    size_t *piece_bytes) {
    int32_t best = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        node = mlcc_trie_step(trie, node, text[i]);
        if (node == 0) break;
        int32_t id = mlcc_trie_value(trie, node);
        if (id < 0 || (forbidden != NULL && forbidden[id])) continue;
        best = id;
        *piece_bytes = i + 1;
    }
    return best;
}

mlcc_status *mlcc_wordpiece_encode(
    const mlcc_wordpiece *wordpiece, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out) {
    size_t n_characters = 0;
    for (size_t i = 0; i < length; i++) n_characters += ((unsigned char)word[i] & 0xC0) != 0x80;
    size_t before = out->n;
    bool is_known = n_characters <= wordpiece->max_characters;
    for (size_t i = 0; is_known && i < length;) {
        size_t n_bytes = 0;
        int32_t id = longest_piece(
            i == 0 ? wordpiece->first : wordpiece->later, word + i, length - i, forbidden,
            &n_bytes);
        is_known = id >= 0;
        if (is_known) mlcc_ids_push(out, id);
        i += n_bytes;
    }
    if (!is_known) {
        out->n = before;
        mlcc_ids_push(out, wordpiece->unknown_id);
    }
    return mlcc_ids_check(out);
}

// ---- WordLevel -------------------------------------------------------------------------------------------------

mlcc_status *mlcc_wordlevel_create(
    const mlcc_vocabulary *vocab, int32_t unknown_id, mlcc_wordlevel **out) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return no_memory();
    **out = (mlcc_wordlevel){.vocab = vocab, .unknown_id = unknown_id};
    return NULL;
}

void mlcc_wordlevel_free(mlcc_wordlevel *wordlevel) {
    free(wordlevel);
}

mlcc_status *mlcc_wordlevel_encode(
    const mlcc_wordlevel *wordlevel, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out) {
    int32_t id = mlcc_vocabulary_find(wordlevel->vocab, word, length);
    if (id >= 0 && (forbidden == NULL || !forbidden[id])) {
        mlcc_ids_push(out, id);
    } else if (wordlevel->unknown_id >= 0) {
        mlcc_ids_push(out, wordlevel->unknown_id);
    } else {
        return MLCC_ERROR(
            INVALID,
            "the text holds the word '%.*s', which model.vocab lacks, and the tokenizer has no "
            "unknown token "
            "(model.unk_token)",
            length < 100 ? (int)length : 100, word);
    }
    return mlcc_ids_check(out);
}

// ---- packing -------------------------------------------------------------------------------------------------

void mlcc_wordpiece_pack(const mlcc_wordpiece *wordpiece, mlcc_bytes *out) {
    mlcc_pack_u32(out, (uint32_t)wordpiece->unknown_id);
    mlcc_pack_u32(out, (uint32_t)wordpiece->max_characters);
    mlcc_trie_pack(wordpiece->first, out);
    mlcc_trie_pack(wordpiece->later, out);
}

mlcc_status *mlcc_wordpiece_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_wordpiece **out) {
    (void)vocab;
    *out = NULL;
    mlcc_wordpiece *wordpiece = calloc(1, sizeof *wordpiece);
    if (wordpiece == NULL) return no_memory();
    wordpiece->unknown_id = (int32_t)mlcc_unpack_below(in, n_tokens);
    wordpiece->max_characters = mlcc_unpack_u32(in);
    wordpiece->first = mlcc_trie_unpack(in, n_tokens);
    wordpiece->later = mlcc_trie_unpack(in, n_tokens);
    if (mlcc_unpack_require(in, wordpiece->first != NULL && wordpiece->later != NULL)) {
        *out = wordpiece;
    } else {
        mlcc_wordpiece_free(wordpiece);
    }
    return NULL;
}

void mlcc_wordlevel_pack(const mlcc_wordlevel *wordlevel, mlcc_bytes *out) {
    mlcc_pack_u32(out, (uint32_t)(wordlevel->unknown_id + 1));
}

mlcc_status *mlcc_wordlevel_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_wordlevel **out) {
    *out = NULL;
    int32_t unknown_id = (int32_t)mlcc_unpack_below(in, n_tokens + 1) - 1;
    return in->has_failed ? NULL : mlcc_wordlevel_create(vocab, unknown_id, out);
}
