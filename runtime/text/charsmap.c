#include "runtime/text/charsmap.h"

#include "runtime/text/unicode.h"

#include <string.h>

static const char metaspace[] = "\xE2\x96\x81"; // ▁, U+2581
enum { METASPACE_BYTES = 3, GRAPHEME_RULE_BYTES_MAX = 5 };

// ---- the table -----------------------------------------------------------------------------------------------

mlcc_status *mlcc_charsmap_read(
    const char *blob, size_t size_bytes, mlcc_arena *keep, mlcc_charsmap *out) {
    *out = (mlcc_charsmap){0};
    if (size_bytes == 0) return NULL;
    const unsigned char *bytes = (const unsigned char *)blob;
    size_t trie_bytes = 0;
    if (size_bytes >= 4) {
        trie_bytes = bytes[0] | ((size_t)bytes[1] << 8) | ((size_t)bytes[2] << 16) |
                     ((size_t)bytes[3] << 24);
    }
    if (size_bytes < 4 || trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes > size_bytes - 4) {
        return MLCC_ERROR(
            INVALID,
            "the precompiled charsmap has %zu bytes and announces a trie of %zu; expected are 4 "
            "bytes of size, "
            "a multiple of 4 bytes of trie, and the texts",
            size_bytes, trie_bytes);
    }
    size_t n_units = trie_bytes / 4;
    uint32_t *units = mlcc_arena_try_alloc(keep, n_units * sizeof *units);
    if (units == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended while reading a charsmap");
    for (size_t i = 0; i < n_units; i++) {
        const unsigned char *unit = bytes + 4 + 4 * i;
        units[i] = unit[0] | ((uint32_t)unit[1] << 8) | ((uint32_t)unit[2] << 16) |
                   ((uint32_t)unit[3] << 24);
    }
    out->text_bytes = size_bytes - 4 - trie_bytes;
    out->texts = mlcc_bytes_keep(keep, blob + 4 + trie_bytes, out->text_bytes);
    if (!mlcc_utf8_is_valid(out->texts, out->text_bytes)) {
        return MLCC_ERROR(INVALID, "the texts of the precompiled charsmap are no valid UTF-8");
    }
    out->units = units;
    out->n_units = n_units;
    return NULL;
}

static size_t unit_offset(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

// A place in the blob is good when a character begins there.
static const char *text_at(const mlcc_charsmap *map, uint32_t unit) {
    size_t at = unit & 0x7FFFFFFFu;
    if (at > map->text_bytes || ((unsigned char)map->texts[at] & 0xC0) == 0x80) return NULL;
    return map->texts + at;
}

bool mlcc_charsmap_find(
    const mlcc_charsmap *map, const char *text, size_t length, bool takes_longest,
    const char **replacement, size_t *rule_bytes) {
    *rule_bytes = 0;
    if (map->n_units == 0) return false;
    size_t node = unit_offset(map->units[0]);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (byte == 0 || node >= map->n_units) break;
        uint32_t unit = map->units[node];
        if ((unit & ((1u << 31) | 0xFF)) != byte) break;
        node ^= unit_offset(unit);
        if ((unit >> 8 & 1) == 0) continue;
        const char *found = node < map->n_units ? text_at(map, map->units[node]) : NULL;
        if (found == NULL) break;
        *replacement = found;
        *rule_bytes = i + 1;
        if (!takes_longest) break;
    }
    // A rule that ends inside a character would leave half of it behind.
    if (*rule_bytes != 0 && *rule_bytes < length &&
        ((unsigned char)text[*rule_bytes] & 0xC0) == 0x80) {
        *rule_bytes = 0;
    }
    return *rule_bytes != 0;
}

// ---- Hugging Face's way --------------------------------------------------------------------------------------

static void normalize_characters(
    const mlcc_charsmap *map, const char *text, size_t length, mlcc_bytes *out) {
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n_bytes = mlcc_utf8_decode(text + i, &code);
        const char *replacement;
        size_t rule_bytes;
        if (mlcc_charsmap_find(map, text + i, n_bytes, false, &replacement, &rule_bytes)) {
            mlcc_bytes_append(out, replacement, strlen(replacement));
        } else {
            mlcc_bytes_append(out, text + i, n_bytes);
        }
        i += n_bytes;
    }
}

void mlcc_charsmap_normalize(
    const mlcc_charsmap *map, const char *text, size_t length, mlcc_bytes *out) {
    for (size_t i = 0; i < length;) {
        size_t n_bytes = mlcc_grapheme_bytes(text + i, length - i);
        const char *replacement;
        size_t rule_bytes;
        // The rule may be shorter than the grapheme, which it replaces all the same: so the reference does it.
        if (n_bytes <= GRAPHEME_RULE_BYTES_MAX &&
            mlcc_charsmap_find(map, text + i, n_bytes, false, &replacement, &rule_bytes)) {
            mlcc_bytes_append(out, replacement, strlen(replacement));
        } else {
            normalize_characters(map, text + i, n_bytes, out);
        }
        i += n_bytes;
    }
}

// ---- SentencePiece's way -------------------------------------------------------------------------------------

// What the start of the text becomes; returns the bytes of text that it stands for.
static size_t normalize_prefix(
    const mlcc_sentencepiece_rules *rules, const char *text, size_t length, const char **piece,
    size_t *piece_bytes) {
    size_t n_bytes;
    if (rules->verbatim != NULL && rules->verbatim->starts[(unsigned char)text[0]] &&
        mlcc_trie_longest(rules->verbatim, text, length, &n_bytes) >= 0) {
        *piece = text;
        *piece_bytes = n_bytes;
        return n_bytes;
    }
    if (mlcc_charsmap_find(&rules->charsmap, text, length, true, piece, &n_bytes)) {
        *piece_bytes = strlen(*piece);
        return n_bytes;
    }
    uint32_t code;
    *piece = text;
    *piece_bytes = mlcc_utf8_decode(text, &code);
    return *piece_bytes;
}

static void append_escaped(
    const mlcc_sentencepiece_rules *rules, const char *text, size_t length, mlcc_bytes *out) {
    for (size_t i = 0; i < length; i++) {
        if (rules->escapes_spaces && text[i] == ' ') {
            mlcc_bytes_append(out, metaspace, METASPACE_BYTES);
        } else {
            mlcc_bytes_put(out, text[i]);
        }
    }
}

static size_t skip_leading_spaces(
    const mlcc_sentencepiece_rules *rules, const char *text, size_t length) {
    size_t i = 0;
    while (i < length) {
        const char *piece;
        size_t piece_bytes;
        size_t n_bytes = normalize_prefix(rules, text + i, length - i, &piece, &piece_bytes);
        if (piece_bytes != 1 || piece[0] != ' ') break;
        i += n_bytes;
    }
    return i;
}

static void drop_trailing_spaces(
    const mlcc_sentencepiece_rules *rules, size_t begin, mlcc_bytes *out) {
    const char *space = rules->escapes_spaces ? metaspace : " ";
    size_t n_bytes = strlen(space);
    while (out->length >= begin + n_bytes &&
           memcmp(out->data + out->length - n_bytes, space, n_bytes) == 0) {
        out->length -= n_bytes;
    }
}

void mlcc_sentencepiece_normalize(
    const mlcc_sentencepiece_rules *rules, const char *text, size_t length, mlcc_bytes *out) {
    size_t begin = out->length;
    size_t i = rules->removes_extra_spaces ? skip_leading_spaces(rules, text, length) : 0;
    if (i == length) return;
    if (rules->adds_dummy_prefix) append_escaped(rules, " ", 1, out);
    bool is_behind_space = rules->removes_extra_spaces;
    while (i < length) {
        const char *piece;
        size_t piece_bytes;
        i += normalize_prefix(rules, text + i, length - i, &piece, &piece_bytes);
        while (is_behind_space && piece_bytes > 0 && piece[0] == ' ') {
            piece++;
            piece_bytes--;
        }
        if (piece_bytes > 0) {
            append_escaped(rules, piece, piece_bytes, out);
            is_behind_space = piece[piece_bytes - 1] == ' ';
        }
        if (!rules->removes_extra_spaces) is_behind_space = false;
    }
    if (rules->removes_extra_spaces) drop_trailing_spaces(rules, begin, out);
}
