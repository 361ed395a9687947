#include "runtime/text/unigram.h"

#include "runtime/text/trie.h"
#include "runtime/text/unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double unknown_penalty = 10;

struct mlcc_unigram {
    mlcc_trie *visible; // what texts are made of
    mlcc_trie *all;     // with hidden pieces, when there are any; else the same
    double *scores;     // [n_pieces]
    size_t n_pieces;
    bool is_view; // scores belong to somebody else
    double unknown_score;
    int32_t unknown_id;
    int32_t byte_ids[256]; // "<0x0A>", -1: none
    bool has_all_bytes;    // for byte fallback
    bool rounds_to_single;
};

// The best way to reach a place in the word.
typedef struct best_path {
    double score;
    int32_t begin; // of its last piece; -1: not reached
    int32_t id;
} best_path;

struct mlcc_unigram_scratch {
    best_path *paths; // [word + 1]
    size_t capacity;
    mlcc_pieces segments;
};

// ---- life ------------------------------------------------------------------------------------------------------

static mlcc_status *fill_trie(
    const mlcc_unigram_options *options, bool with_hidden, mlcc_trie **out) {
    size_t n_bytes = 0;
    for (size_t i = 0; i < options->n_pieces; i++) n_bytes += options->pieces[i].length;
    MLCC_TRY(mlcc_trie_create(n_bytes, out));
    for (size_t i = 0; i < options->n_pieces; i++) {
        const mlcc_unigram_piece *piece = &options->pieces[i];
        if (piece->is_hidden && !with_hidden) continue;
        MLCC_TRY(mlcc_trie_add(*out, piece->text, piece->length, (int32_t)i, true));
    }
    return NULL;
}

static int32_t find(const mlcc_trie *trie, const char *text, size_t length) {
    size_t member_bytes;
    int32_t id = mlcc_trie_longest(trie, text, length, &member_bytes);
    return member_bytes == length ? id : -1;
}

static mlcc_status *fill(mlcc_unigram *unigram, const mlcc_unigram_options *options) {
    if (options->unknown_id >= 0 && (size_t)options->unknown_id >= options->n_pieces) {
        return MLCC_ERROR(
            INVALID, "key 'unk_id' is %d, but model.vocab has %zu pieces", options->unknown_id,
            options->n_pieces);
    }
    unigram->scores = malloc((options->n_pieces + 1) * sizeof *unigram->scores);
    if (unigram->scores == NULL) {
        return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
    }
    unigram->n_pieces = options->n_pieces;
    double lowest = HUGE_VAL;
    bool has_hidden = false;
    for (size_t i = 0; i < options->n_pieces; i++) {
        const mlcc_unigram_piece *piece = &options->pieces[i];
        if (!isfinite(piece->score)) {
            return MLCC_ERROR(
                INVALID, "piece %zu of the vocabulary has a score that is no number", i);
        }
        unigram->scores[i] = piece->score;
        has_hidden = has_hidden || piece->is_hidden;
        bool counts = !piece->is_hidden && !piece->is_verbatim;
        if (counts && piece->score < lowest) lowest = piece->score;
    }
    if (!isfinite(lowest)) lowest = 0;
    unigram->unknown_score = lowest - unknown_penalty;
    if (unigram->rounds_to_single) unigram->unknown_score = (double)(float)unigram->unknown_score;
    MLCC_TRY(fill_trie(options, false, &unigram->visible));
    unigram->all = unigram->visible;
    if (has_hidden) MLCC_TRY(fill_trie(options, true, &unigram->all));
    unigram->has_all_bytes = options->has_byte_fallback;
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        int length = snprintf(name, sizeof name, "<0x%02X>", byte);
        unigram->byte_ids[byte] = find(unigram->all, name, (size_t)length);
    }
    return NULL;
}

mlcc_status *mlcc_unigram_create(const mlcc_unigram_options *options, mlcc_unigram **out) {
    *out = NULL;
    mlcc_unigram *unigram = calloc(1, sizeof *unigram);
    if (unigram == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
    unigram->unknown_id = options->unknown_id;
    unigram->rounds_to_single = options->rounds_to_single;
    mlcc_status *status = fill(unigram, options);
    if (status != NULL) {
        mlcc_unigram_free(unigram);
        return status;
    }
    *out = unigram;
    return NULL;
}

void mlcc_unigram_free(mlcc_unigram *unigram) {
    if (unigram == NULL) return;
    if (unigram->all != unigram->visible) mlcc_trie_free(unigram->all);
    mlcc_trie_free(unigram->visible);
    if (!unigram->is_view) free(unigram->scores);
    free(unigram);
}

mlcc_unigram_scratch *mlcc_unigram_scratch_create(void) {
    return calloc(1, sizeof(mlcc_unigram_scratch));
}

void mlcc_unigram_scratch_free(mlcc_unigram_scratch *scratch) {
    if (scratch == NULL) return;
    free(scratch->paths);
    mlcc_pieces_free(&scratch->segments);
    free(scratch);
}

// ---- the best path ---------------------------------------------------------------------------------------------

static mlcc_status *reserve(mlcc_unigram_scratch *scratch, size_t length) {
    if (length >= INT32_MAX / 2) {
        return MLCC_ERROR(INVALID, "a word of %zu MiB is too long for the tokenizer", length >> 20);
    }
    if (scratch->capacity < length + 1) {
        free(scratch->paths);
        scratch->capacity = 2 * (length + 1);
        scratch->paths = malloc(scratch->capacity * sizeof *scratch->paths);
        if (scratch->paths == NULL) {
            scratch->capacity = 0;
            return MLCC_ERROR(NO_MEMORY, "host memory ended while tokenizing");
        }
    }
    for (size_t i = 0; i <= length; i++) scratch->paths[i] = (best_path){.begin = -1};
    return NULL;
}

static void offer(
    const mlcc_unigram *unigram, best_path *paths, size_t begin, size_t end, double score,
    int32_t id) {
    double sum = score + paths[begin].score;
    best_path *best = &paths[end];
    if (best->begin >= 0 && !(sum > best->score)) return;
    *best = (best_path){.score = unigram->rounds_to_single ? (double)(float)sum : sum,
                        .begin = (int32_t)begin,
                        .id = id};
}

// Offers every piece that starts at `begin`; true when one of them is the single character there.
static bool offer_pieces(
    const mlcc_unigram *unigram, best_path *paths, const char *word, size_t length, size_t begin,
    size_t character_bytes, const uint8_t *forbidden) {
    bool has_character = false;
    uint32_t node = 0;
    for (size_t i = begin; i < length; i++) {
        node = mlcc_trie_step(unigram->visible, node, word[i]);
        if (node == 0) break;
        int32_t id = mlcc_trie_value(unigram->visible, node);
        if (id < 0 || (forbidden != NULL && forbidden[id])) continue;
        offer(unigram, paths, begin, i + 1, unigram->scores[id], id);
        if (i + 1 - begin == character_bytes) has_character = true;
    }
    return has_character;
}

static mlcc_status *find_best(
    const mlcc_unigram *unigram, best_path *paths, const char *word, size_t length,
    const uint8_t *forbidden) {
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(word + i, &code);
        if (!offer_pieces(unigram, paths, word, length, i, n_bytes, forbidden)) {
            if (unigram->unknown_id < 0) {
                return MLCC_ERROR(
                    INVALID,
                    "the text holds the character '%.*s', which the vocabulary lacks, and the "
                    "tokenizer has "
                    "no unknown token (model.unk_id)",
                    (int)n_bytes, word + i);
            }
            offer(unigram, paths, i, i + n_bytes, unigram->unknown_score, unigram->unknown_id);
        }
        i += n_bytes;
    }
    return NULL;
}

// The pieces of the best path from the end, rows of unknown ones joined.
static void trace_back(
    const mlcc_unigram *unigram, const best_path *paths, size_t length, mlcc_pieces *segments) {
    mlcc_pieces_clear(segments);
    size_t end = length;
    bool was_unknown = false;
    while (end > 0) {
        size_t begin = (size_t)paths[end].begin;
        bool is_unknown = paths[end].id == unigram->unknown_id;
        if (is_unknown && was_unknown) {
            segments->items[segments->n - 1].begin = (uint32_t)begin;
        } else {
            mlcc_pieces_push(
                segments, (mlcc_piece){
                              .begin = (uint32_t)begin,
                              .end = (uint32_t)end,
                              .is_match = !is_unknown,
                          });
            if (segments->failed) return;
        }
        was_unknown = is_unknown;
        end = begin;
    }
}

static bool push_bytes(
    const mlcc_unigram *unigram, const char *text, size_t length, mlcc_ids *out) {
    if (!unigram->has_all_bytes) return false;
    for (size_t i = 0; i < length; i++) {
        if (unigram->byte_ids[(unsigned char)text[i]] < 0) return false;
    }
    for (size_t i = 0; i < length; i++) {
        mlcc_ids_push(out, unigram->byte_ids[(unsigned char)text[i]]);
    }
    return true;
}

mlcc_status *mlcc_unigram_encode(
    const mlcc_unigram *unigram, mlcc_unigram_scratch *scratch, const char *word, size_t length,
    const uint8_t *forbidden, mlcc_ids *out) {
    MLCC_TRY(reserve(scratch, length));
    MLCC_TRY(find_best(unigram, scratch->paths, word, length, forbidden));
    trace_back(unigram, scratch->paths, length, &scratch->segments);
    MLCC_TRY(mlcc_pieces_check(&scratch->segments));
    for (size_t i = scratch->segments.n; i-- > 0;) {
        mlcc_piece segment = scratch->segments.items[i];
        if (segment.is_match) {
            mlcc_ids_push(out, scratch->paths[segment.end].id);
            continue;
        }
        // The joined text may happen to be a piece, which then counts: so the reference does it.
        const char *text = word + segment.begin;
        size_t n_bytes = segment.end - segment.begin;
        int32_t id = find(unigram->visible, text, n_bytes);
        if (id >= 0 && (forbidden == NULL || !forbidden[id])) {
            mlcc_ids_push(out, id);
        } else if (!push_bytes(unigram, text, n_bytes, out)) {
            mlcc_ids_push(out, unigram->unknown_id);
        }
    }
    return mlcc_ids_check(out);
}

// ---- packing -------------------------------------------------------------------------------------------------

void mlcc_unigram_pack(const mlcc_unigram *unigram, mlcc_bytes *out) {
    mlcc_pack_u32(out, (uint32_t)(unigram->unknown_id + 1));
    mlcc_pack_f64(out, unigram->unknown_score);
    mlcc_pack_u32(out, unigram->has_all_bytes);
    mlcc_pack_u32(out, unigram->rounds_to_single);
    mlcc_pack_array(out, unigram->byte_ids, 256, sizeof *unigram->byte_ids);
    mlcc_pack_array(out, unigram->scores, unigram->n_pieces, sizeof *unigram->scores);
    mlcc_trie_pack(unigram->visible, out);
}

mlcc_status *mlcc_unigram_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_unigram **out) {
    (void)vocab;
    *out = NULL;
    mlcc_unigram *unigram = calloc(1, sizeof *unigram);
    if (unigram == NULL)
        return MLCC_ERROR(NO_MEMORY, "host memory ended while loading a tokenizer");
    size_t n_bytes;
    unigram->is_view = true;
    unigram->unknown_id = (int32_t)mlcc_unpack_below(in, n_tokens + 1) - 1;
    unigram->unknown_score = mlcc_unpack_f64(in);
    unigram->has_all_bytes = mlcc_unpack_bool(in);
    unigram->rounds_to_single = mlcc_unpack_bool(in);
    const int32_t *byte_ids = mlcc_unpack_ids(in, -1, n_tokens, &n_bytes);
    unigram->scores =
        (double *)(uintptr_t)mlcc_unpack_array(in, sizeof *unigram->scores, &unigram->n_pieces);
    // Members of the trie are pieces that have a score.
    size_t limit = unigram->n_pieces < n_tokens ? unigram->n_pieces : n_tokens;
    unigram->visible = unigram->all = mlcc_trie_unpack(in, limit);
    if (mlcc_unpack_require(in, n_bytes == 256 && unigram->visible != NULL)) {
        memcpy(unigram->byte_ids, byte_ids, sizeof unigram->byte_ids);
        *out = unigram;
    } else {
        mlcc_unigram_free(unigram);
    }
    return NULL;
}
