// Entries lie in an array in insertion order; an open-addressing index of 32-bit entry numbers
// points into it. Keys live in an arena, so their addresses stay valid until the map is freed.
#include "runtime/base/map.h"

#include "runtime/base/arena.h"
#include "runtime/base/hash.h"
#include "runtime/base/memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct map_entry {
    const char *key; // NUL-terminated copy
    size_t key_bytes;
    uint64_t hash;
    uint64_t value;
} map_entry;

struct mlcc_map {
    mlcc_arena *keys;
    map_entry *entries;
    size_t n_entries;
    size_t capacity;
    uint32_t *slots; // entry number + 1; 0 is free
    size_t n_slots;  // power of two, at least 3/2 of the entries
};

static void index_rebuild(mlcc_map *map, size_t n_slots) {
    free(map->slots);
    map->slots = mlcc_memory_get(n_slots, sizeof *map->slots);
    memset(map->slots, 0, n_slots * sizeof *map->slots);
    map->n_slots = n_slots;
    for (size_t i = 0; i < map->n_entries; i++) {
        size_t slot = map->entries[i].hash & (n_slots - 1);
        while (map->slots[slot] != 0) slot = (slot + 1) & (n_slots - 1);
        map->slots[slot] = (uint32_t)(i + 1);
    }
}

mlcc_map *mlcc_map_create(size_t expected_entries) {
    if (expected_entries > UINT32_MAX / 4) expected_entries = UINT32_MAX / 4;
    mlcc_map *map = mlcc_memory_get(1, sizeof *map);
    *map = (mlcc_map){.keys = mlcc_arena_create()};
    map->capacity = expected_entries > 8 ? expected_entries : 8;
    map->entries = mlcc_memory_get(map->capacity, sizeof *map->entries);
    size_t n_slots = 16;
    while (n_slots < map->capacity + map->capacity / 2) n_slots *= 2;
    index_rebuild(map, n_slots);
    return map;
}

void mlcc_map_free(mlcc_map *map) {
    if (map == NULL) return;
    mlcc_arena_free(map->keys);
    free(map->entries);
    free(map->slots);
    free(map);
}

size_t mlcc_map_count(const mlcc_map *map) {
    return map->n_entries;
}

// The entry of the key, or NULL and in *free_slot the place where it would go.
static map_entry *find(
    const mlcc_map *map, const void *key, size_t key_bytes, uint64_t hash, size_t *free_slot) {
    size_t slot = hash & (map->n_slots - 1);
    for (; map->slots[slot] != 0; slot = (slot + 1) & (map->n_slots - 1)) {
        map_entry *entry = &map->entries[map->slots[slot] - 1];
        if (entry->hash == hash && entry->key_bytes == key_bytes &&
            (key_bytes == 0 || memcmp(entry->key, key, key_bytes) == 0)) {
            return entry;
        }
    }
    *free_slot = slot;
    return NULL;
}

static void insert(
    mlcc_map *map, const void *key, size_t key_bytes, uint64_t hash, uint64_t value, size_t slot) {
    if (map->n_entries == map->capacity) {
        // Entry numbers are 32 bits wide; a map of four billion keys has left every use of this
        // program behind.
        if (map->capacity > UINT32_MAX / 2) mlcc_memory_stop(SIZE_MAX);
        map->capacity *= 2;
        map->entries = mlcc_memory_resize(map->entries, map->capacity, sizeof *map->entries);
    }
    char *copy = mlcc_arena_alloc(map->keys, key_bytes + 1);
    if (key_bytes != 0) memcpy(copy, key, key_bytes);
    map->entries[map->n_entries] =
        (map_entry){.key = copy, .key_bytes = key_bytes, .hash = hash, .value = value};
    map->n_entries++;
    map->slots[slot] = (uint32_t)map->n_entries;
    if (map->n_entries + map->n_entries / 2 > map->n_slots) index_rebuild(map, map->n_slots * 2);
}

bool mlcc_map_add(mlcc_map *map, const void *key, size_t key_bytes, uint64_t value) {
    uint64_t hash = mlcc_hash64(key, key_bytes);
    size_t slot = 0;
    if (find(map, key, key_bytes, hash, &slot) != NULL) return false;
    insert(map, key, key_bytes, hash, value, slot);
    return true;
}

void mlcc_map_set(mlcc_map *map, const void *key, size_t key_bytes, uint64_t value) {
    uint64_t hash = mlcc_hash64(key, key_bytes);
    size_t slot = 0;
    map_entry *entry = find(map, key, key_bytes, hash, &slot);
    if (entry != NULL) {
        entry->value = value;
    } else {
        insert(map, key, key_bytes, hash, value, slot);
    }
}

bool mlcc_map_get(const mlcc_map *map, const void *key, size_t key_bytes, uint64_t *value) {
    size_t slot = 0;
    const map_entry *entry = find(map, key, key_bytes, mlcc_hash64(key, key_bytes), &slot);
    if (entry == NULL) return false;
    if (value != NULL) *value = entry->value;
    return true;
}

void mlcc_map_entry(
    const mlcc_map *map, size_t index, const char **key, size_t *key_bytes, uint64_t *value) {
    const map_entry *entry = &map->entries[index];
    if (key != NULL) *key = entry->key;
    if (key_bytes != NULL) *key_bytes = entry->key_bytes;
    if (value != NULL) *value = entry->value;
}

bool mlcc_map_add_text(mlcc_map *map, const char *key, uint64_t value) {
    return mlcc_map_add(map, key, strlen(key), value);
}

void mlcc_map_set_text(mlcc_map *map, const char *key, uint64_t value) {
    mlcc_map_set(map, key, strlen(key), value);
}

bool mlcc_map_get_text(const mlcc_map *map, const char *key, uint64_t *value) {
    return mlcc_map_get(map, key, strlen(key), value);
}
