// map: one hash map, byte-string keys to 64-bit values. Open addressing over XXH3-64; keys are copied.
// Insertion order is kept: entries 0 … n-1 can be walked in the order in which they were added (deterministic output).
// Thread rule: many readers or one writer.
#ifndef MLCC_RUNTIME_BASE_MAP_H
#define MLCC_RUNTIME_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_map mlcc_map;

mlcc_map *mlcc_map_create(size_t expected_entries); // stops the program when memory ends
void mlcc_map_free(mlcc_map *map);
size_t mlcc_map_count(const mlcc_map *map);
// Adds a key; false (and nothing changed) when it was there.
bool mlcc_map_add(mlcc_map *map, const void *key, size_t key_bytes, uint64_t value);
// Adds or replaces.
void mlcc_map_set(mlcc_map *map, const void *key, size_t key_bytes, uint64_t value);
bool mlcc_map_get(const mlcc_map *map, const void *key, size_t key_bytes, uint64_t *value);
// Entry `index` in insertion order.
// The same for NUL-terminated keys.
void mlcc_map_entry(
    const mlcc_map *map, size_t index, const char **key, size_t *key_bytes, uint64_t *value);
bool mlcc_map_add_text(mlcc_map *map, const char *key, uint64_t value);
void mlcc_map_set_text(mlcc_map *map, const char *key, uint64_t value);
bool mlcc_map_get_text(const mlcc_map *map, const char *key, uint64_t *value);

#endif
