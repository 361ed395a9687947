#include "dist/artifact/convert_queue.h"

#include <stdlib.h>
#include <string.h>

enum {
    WRITE_BYTES = 4 * 1024 * 1024,
    MAX_ENTRIES = 2, // waiting, before everything is written
    KEPT_BUFFERS = 4,
    KEPT_BYTES = 16 * 1024 * 1024, // larger memory goes back to the system
};

typedef struct queue_buffer {
    void *data;
    size_t capacity_bytes;
    bool is_used;
} queue_buffer;

typedef struct queue_entry {
    const convert_param *param;
    int32_t piece;
    bool begins;
    void *data;
    size_t size_bytes, written_bytes;
} queue_entry;

struct convert_queue {
    artifact_store *store;
    queue_entry *entries;
    size_t first, n_entries, entries_capacity;
    queue_buffer *buffers;
    size_t n_buffers, buffers_capacity;
};

convert_queue *convert_queue_create(artifact_store *store) {
    convert_queue *queue = calloc(1, sizeof *queue);
    if (queue != NULL) queue->store = store;
    return queue;
}

void convert_queue_free(convert_queue *queue) {
    if (queue == NULL) return;
    for (size_t i = 0; i < queue->n_buffers; i++) free(queue->buffers[i].data);
    free(queue->buffers);
    free(queue->entries);
    free(queue);
}

static void drop_buffer(convert_queue *queue, size_t index) {
    free(queue->buffers[index].data);
    queue->buffers[index] = queue->buffers[--queue->n_buffers];
}

void *convert_queue_take(convert_queue *queue, size_t size_bytes) {
    size_t n_free = 0, smallest = 0;
    for (size_t i = 0; i < queue->n_buffers; i++) {
        queue_buffer *buffer = &queue->buffers[i];
        if (buffer->is_used) continue;
        if (buffer->capacity_bytes >= size_bytes && buffer->capacity_bytes / 4 <= size_bytes) {
            buffer->is_used = true;
            return buffer->data;
        }
        if (n_free++ == 0 || buffer->capacity_bytes < queue->buffers[smallest].capacity_bytes)
            smallest = i;
    }
    if (n_free >= KEPT_BUFFERS) drop_buffer(queue, smallest);
    if (queue->n_buffers == queue->buffers_capacity) {
        const size_t capacity = 2 * queue->buffers_capacity + 8;
        queue_buffer *larger = realloc(queue->buffers, capacity * sizeof *larger);
        if (larger == NULL) return NULL;
        queue->buffers = larger;
        queue->buffers_capacity = capacity;
    }
    void *data = malloc(size_bytes == 0 ? 1 : size_bytes);
    if (data != NULL) queue->buffers[queue->n_buffers++] = (queue_buffer){data, size_bytes, true};
    return data;
}

void convert_queue_give_back(convert_queue *queue, void *data) {
    for (size_t i = 0; i < queue->n_buffers; i++) {
        if (queue->buffers[i].data != data) continue;
        queue->buffers[i].is_used = false;
        if (queue->buffers[i].capacity_bytes > KEPT_BYTES) drop_buffer(queue, i);
        return;
    }
}

mlcc_status *convert_queue_push(
    convert_queue *queue, const convert_param *param, int32_t piece, bool begins, void *data,
    size_t size_bytes) {
    if (queue->first > 0 && queue->first == queue->n_entries) queue->first = queue->n_entries = 0;
    if (queue->n_entries == queue->entries_capacity) {
        const size_t capacity = 2 * queue->entries_capacity + 8;
        queue_entry *larger = realloc(queue->entries, capacity * sizeof *larger);
        if (larger == NULL)
            return MLCC_ERROR(NO_MEMORY, "host memory ended while weights were written");
        queue->entries = larger;
        queue->entries_capacity = capacity;
    }
    queue->entries[queue->n_entries++] = (queue_entry){
        .param = param, .piece = piece, .begins = begins, .data = data, .size_bytes = size_bytes};
    return NULL;
}

bool convert_queue_is_empty(const convert_queue *queue) {
    return queue->first == queue->n_entries;
}

static mlcc_status *begin_record(artifact_store *store, const queue_entry *entry) {
    const quant_piece *piece = &entry->param->pieces[entry->piece];
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = artifact_store_begin(
        store, quant_piece_name(scratch, entry->param->param->value.name, piece), piece->dtype,
        piece->rank, piece->dims);
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *write_up_to(convert_queue *queue, size_t max_bytes) {
    while (!convert_queue_is_empty(queue) && max_bytes > 0) {
        queue_entry *entry = &queue->entries[queue->first];
        if (entry->begins && entry->written_bytes == 0) MLCC_TRY(begin_record(queue->store, entry));
        const size_t left = entry->size_bytes - entry->written_bytes,
                     part = left < max_bytes ? left : max_bytes;
        MLCC_TRY(artifact_store_append(
            queue->store, (const char *)entry->data + entry->written_bytes, part));
        entry->written_bytes += part;
        max_bytes -= part;
        if (entry->written_bytes < entry->size_bytes) return NULL;
        convert_queue_give_back(queue, entry->data);
        queue->first++;
    }
    return NULL;
}

mlcc_status *convert_queue_write_some(convert_queue *queue) {
    const bool is_full = queue->n_entries - queue->first > MAX_ENTRIES;
    return write_up_to(queue, is_full ? SIZE_MAX : WRITE_BYTES);
}

mlcc_status *convert_queue_write_all(convert_queue *queue) {
    return write_up_to(queue, SIZE_MAX);
}
