#include "runtime/text/buffer.h"

#include <stdlib.h>
#include <string.h>

static const size_t max_bytes = INT32_MAX;

// Grows *items to hold n + extra elements, at least doubling; false when memory or the limit ends.
static bool grow(void **items, size_t n, size_t extra, size_t *capacity, size_t element_bytes) {
    size_t limit = max_bytes / element_bytes;
    if (extra > limit || n > limit - extra) return false;
    size_t wanted = n + extra;
    if (wanted <= *capacity) return true;
    size_t grown = *capacity > limit / 2 ? limit : *capacity * 2;
    if (grown < wanted) grown = wanted;
    if (grown < 64) grown = 64;
    void *moved = realloc(*items, grown * element_bytes);
    if (moved == NULL) return false;
    *items = moved;
    *capacity = grown;
    return true;
}

static mlcc_status *check(bool failed) {
    if (!failed) return NULL;
    return MLCC_ERROR(
        NO_MEMORY,
        "the text needs more than %zu MiB of working memory or host memory ended; "
        "give the text in smaller parts",
        max_bytes >> 20);
}

bool mlcc_bytes_reserve(mlcc_bytes *bytes, size_t extra) {
    void *data = bytes->data;
    bool fits = grow(&data, bytes->length, extra, &bytes->capacity, 1);
    bytes->data = data;
    if (!fits) bytes->failed = true;
    return fits;
}

void mlcc_bytes_append(mlcc_bytes *bytes, const char *data, size_t length) {
    if (length == 0) return;
    if (length > bytes->capacity - bytes->length && !mlcc_bytes_reserve(bytes, length)) return;
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

void mlcc_bytes_put(mlcc_bytes *bytes, char byte) {
    if (bytes->length == bytes->capacity && !mlcc_bytes_reserve(bytes, 1)) return;
    bytes->data[bytes->length++] = byte;
}

void mlcc_bytes_clear(mlcc_bytes *bytes) {
    bytes->length = 0;
    bytes->failed = false;
}

void mlcc_bytes_free(mlcc_bytes *bytes) {
    free(bytes->data);
    *bytes = (mlcc_bytes){0};
}

mlcc_status *mlcc_bytes_check(const mlcc_bytes *bytes) {
    return check(bytes->failed);
}

const char *mlcc_bytes_keep(mlcc_arena *keep, const char *data, size_t length) {
    char *copy = mlcc_arena_alloc(keep, length + 1);
    if (length != 0) memcpy(copy, data, length);
    copy[length] = '\0';
    return copy;
}

void mlcc_pieces_push(mlcc_pieces *pieces, mlcc_piece piece) {
    if (pieces->n == pieces->capacity) {
        void *items = pieces->items;
        bool fits = grow(&items, pieces->n, 1, &pieces->capacity, sizeof piece);
        pieces->items = items;
        if (!fits) {
            pieces->failed = true;
            return;
        }
    }
    pieces->items[pieces->n++] = piece;
}

void mlcc_pieces_clear(mlcc_pieces *pieces) {
    pieces->n = 0;
    pieces->failed = false;
}

void mlcc_pieces_free(mlcc_pieces *pieces) {
    free(pieces->items);
    *pieces = (mlcc_pieces){0};
}

mlcc_status *mlcc_pieces_check(const mlcc_pieces *pieces) {
    return check(pieces->failed);
}

void mlcc_ids_append(mlcc_ids *ids, const int32_t *items, size_t n) {
    if (n == 0) return;
    if (n > ids->capacity - ids->n) {
        void *moved = ids->items;
        bool fits = grow(&moved, ids->n, n, &ids->capacity, sizeof *ids->items);
        ids->items = moved;
        if (!fits) {
            ids->failed = true;
            return;
        }
    }
    memcpy(ids->items + ids->n, items, n * sizeof *items);
    ids->n += n;
}

void mlcc_ids_push(mlcc_ids *ids, int32_t id) {
    if (ids->n < ids->capacity) {
        ids->items[ids->n++] = id;
    } else {
        mlcc_ids_append(ids, &id, 1);
    }
}

void mlcc_ids_clear(mlcc_ids *ids) {
    ids->n = 0;
    ids->failed = false;
}

void mlcc_ids_free(mlcc_ids *ids) {
    free(ids->items);
    *ids = (mlcc_ids){0};
}

mlcc_status *mlcc_ids_check(const mlcc_ids *ids) {
    return check(ids->failed);
}

void mlcc_ranges_push(mlcc_ranges *ranges, size_t begin, size_t end) {
    if (begin >= end) return;
    mlcc_text_range *last = ranges->n == 0 ? NULL : &ranges->items[ranges->n - 1];
    if (last != NULL && begin <= last->end) {
        if (end > last->end) last->end = end;
        return;
    }
    if (ranges->n == ranges->capacity) {
        void *items = ranges->items;
        bool fits = grow(&items, ranges->n, 1, &ranges->capacity, sizeof *ranges->items);
        ranges->items = items;
        if (!fits) {
            ranges->failed = true;
            return;
        }
    }
    ranges->items[ranges->n++] = (mlcc_text_range){.begin = begin, .end = end};
}

void mlcc_ranges_clear(mlcc_ranges *ranges) {
    ranges->n = 0;
    ranges->failed = false;
}

void mlcc_ranges_free(mlcc_ranges *ranges) {
    free(ranges->items);
    *ranges = (mlcc_ranges){0};
}

mlcc_status *mlcc_ranges_check(const mlcc_ranges *ranges) {
    return check(ranges->failed);
}
