#include "runtime/text/vocabulary.h"

#include "runtime/base/hash.h"
#include "runtime/base/str.h"
#include "runtime/text/unicode.h"

#include <string.h>

typedef struct entry {
    uint32_t begin, length; // in the text
    int32_t id;
    uint32_t hash;
} entry;

struct mlcc_vocabulary {
    const char *text; // every piece with a NUL behind it
    size_t text_bytes;
    const entry *entries;
    size_t n_entries;
    const uint32_t *slots; // number of an entry + 1; 0 is free
    size_t n_slots;        // power of two, at least 3/2 of the entries

    // Where these arrays lie while it grows; nothing for a view.
    mlcc_arena *arena;
    mlcc_str own_text;
    entry *own_entries;
    size_t capacity;
    uint32_t *own_slots;
};

static void index_rebuild(mlcc_vocabulary *v, size_t n_slots) {
    v->own_slots = MLCC_NEW_ARRAY(v->arena, uint32_t, n_slots);
    for (size_t i = 0; i < v->n_entries; i++) {
        size_t slot = v->entries[i].hash & (n_slots - 1);
        while (v->own_slots[slot] != 0) slot = (slot + 1) & (n_slots - 1);
        v->own_slots[slot] = (uint32_t)(i + 1);
    }
    v->slots = v->own_slots;
    v->n_slots = n_slots;
}

mlcc_vocabulary *mlcc_vocabulary_create(size_t expected_pieces) {
    enum { EXPECTED_MAX = 1 << 20 }; // a file's announcement is no reason to take more at once
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_vocabulary *v = MLCC_NEW(arena, mlcc_vocabulary);
    v->arena = arena;
    v->capacity = expected_pieces < EXPECTED_MAX ? expected_pieces + 8 : EXPECTED_MAX;
    v->own_entries = MLCC_NEW_ARRAY(arena, entry, v->capacity);
    v->entries = v->own_entries;
    size_t n_slots = 16;
    while (n_slots < v->capacity + v->capacity / 2) n_slots *= 2;
    index_rebuild(v, n_slots);
    return v;
}

void mlcc_vocabulary_free(mlcc_vocabulary *v) {
    if (v == NULL) return;
    mlcc_str_free(&v->own_text);
    mlcc_arena_free(v->arena);
}

size_t mlcc_vocabulary_count(const mlcc_vocabulary *v) {
    return v->n_entries;
}

static uint32_t hash_of(const char *piece, size_t length) {
    return (uint32_t)mlcc_hash64(piece, length);
}

// The entry's number + 1, or 0 and in *free_slot the place where it would go.
static uint32_t find(
    const mlcc_vocabulary *v, const char *piece, size_t length, uint32_t hash, size_t *free_slot) {
    size_t slot = hash & (v->n_slots - 1);
    for (; v->slots[slot] != 0; slot = (slot + 1) & (v->n_slots - 1)) {
        const entry *e = &v->entries[v->slots[slot] - 1];
        if (e->hash == hash && e->length == length &&
            (length == 0 || memcmp(v->text + e->begin, piece, length) == 0)) {
            return v->slots[slot];
        }
    }
    *free_slot = slot;
    return 0;
}

// Files are smaller than the 4 GiB that places in the text can say.
static void insert(
    mlcc_vocabulary *v, const char *piece, size_t length, int32_t id, uint32_t hash, size_t slot) {
    size_t begin = v->text_bytes;
    mlcc_str_append(&v->own_text, piece, length);
    mlcc_str_putc(&v->own_text, '\0');
    v->text = v->own_text.data;
    v->text_bytes = v->own_text.length;
    MLCC_ARENA_GROW(v->arena, v->own_entries, v->n_entries, v->capacity);
    v->entries = v->own_entries;
    v->own_entries[v->n_entries++] =
        (entry){.begin = (uint32_t)begin, .length = (uint32_t)length, .id = id, .hash = hash};
    v->own_slots[slot] = (uint32_t)v->n_entries;
    if (v->n_entries + v->n_entries / 2 > v->n_slots) index_rebuild(v, v->n_slots * 2);
}

bool mlcc_vocabulary_add(mlcc_vocabulary *v, const char *piece, size_t length, int32_t id) {
    uint32_t hash = hash_of(piece, length);
    size_t slot = 0;
    if (find(v, piece, length, hash, &slot) != 0) return false;
    insert(v, piece, length, id, hash, slot);
    return true;
}

void mlcc_vocabulary_set(mlcc_vocabulary *v, const char *piece, size_t length, int32_t id) {
    uint32_t hash = hash_of(piece, length);
    size_t slot = 0;
    uint32_t number = find(v, piece, length, hash, &slot);
    if (number != 0) {
        v->own_entries[number - 1].id = id;
    } else {
        insert(v, piece, length, id, hash, slot);
    }
}

int32_t mlcc_vocabulary_find(const mlcc_vocabulary *v, const char *piece, size_t length) {
    size_t slot = 0;
    uint32_t number = find(v, piece, length, hash_of(piece, length), &slot);
    return number == 0 ? -1 : v->entries[number - 1].id;
}

const char *mlcc_vocabulary_piece(
    const mlcc_vocabulary *v, size_t index, size_t *length, int32_t *id) {
    const entry *e = &v->entries[index];
    *length = e->length;
    *id = e->id;
    return v->text + e->begin;
}

// ---- packing -------------------------------------------------------------------------------------------------

void mlcc_vocabulary_pack(const mlcc_vocabulary *v, mlcc_bytes *out) {
    mlcc_pack_array(out, v->text, v->text_bytes, 1);
    mlcc_pack_array(out, v->entries, v->n_entries, sizeof *v->entries);
    mlcc_pack_array(out, v->slots, v->n_slots, sizeof *v->slots);
}

static bool has_good_entries(const mlcc_vocabulary *v, size_t n_tokens) {
    bool is_good = mlcc_utf8_is_valid(v->text, v->text_bytes);
    for (size_t i = 0; is_good && i < v->n_entries; i++) {
        const entry *e = &v->entries[i];
        is_good = e->begin < v->text_bytes && e->length < v->text_bytes - e->begin &&
                  v->text[e->begin + e->length] == '\0' &&
                  ((unsigned char)v->text[e->begin] & 0xC0) != 0x80 && e->id >= 0 &&
                  (size_t)e->id < n_tokens;
    }
    return is_good;
}

// A search ends at a free slot, so there must be one.
static bool has_good_slots(const mlcc_vocabulary *v) {
    uint32_t most = 0;
    size_t n_free = 0;
    for (size_t i = 0; i < v->n_slots; i++) {
        most = v->slots[i] > most ? v->slots[i] : most;
        n_free += v->slots[i] == 0;
    }
    return n_free != 0 && most <= v->n_entries && (v->n_slots & (v->n_slots - 1)) == 0;
}

mlcc_vocabulary *mlcc_vocabulary_unpack(mlcc_unpacker *in, size_t n_tokens) {
    mlcc_arena *arena = mlcc_arena_create();
    mlcc_vocabulary *v = MLCC_NEW(arena, mlcc_vocabulary);
    v->arena = arena;
    v->text = mlcc_unpack_array(in, 1, &v->text_bytes);
    v->entries = mlcc_unpack_array(in, sizeof *v->entries, &v->n_entries);
    v->slots = mlcc_unpack_array(in, sizeof *v->slots, &v->n_slots);
    bool is_good = !in->has_failed && has_good_entries(v, n_tokens) && has_good_slots(v);
    if (mlcc_unpack_require(in, is_good)) return v;
    mlcc_vocabulary_free(v);
    return NULL;
}
