#include "runtime/model/batch.h"

#include "runtime/base/str.h"

#include <string.h>

mlcc_status *mlcc_batch_create(
    mlcc_device *device, const mlcc_forward *forward, int64_t max_slots, mlcc_batch *out) {
    *out = (mlcc_batch){
        .max_tokens = forward->bounds[MLCC_SYMBOL_N_TOKENS],
        .max_seqs = forward->bounds[MLCC_SYMBOL_N_SEQS],
        .max_rows = forward->bounds[MLCC_SYMBOL_N_LOGITS],
        .device = device,
        .max_slots = max_slots,
    };
    // Each list at a multiple of 64 bytes; bounds are below 2^31, only the page table's product can be
    // too much.
    size_t table_entries = 0, total = 0;
    bool fits = mlcc_size_mul((size_t)out->max_seqs, (size_t)max_slots, &table_entries) &&
                table_entries < SIZE_MAX / 8;
    int32_t **const lists[] = {
        &out->ids, &out->positions, &out->seq_ids, &out->logit_rows, &out->page_table};
    const size_t counts[] = {
        (size_t)out->max_tokens, (size_t)out->max_tokens, (size_t)out->max_tokens,
        (size_t)out->max_rows, fits ? table_entries : 0};
    size_t at[sizeof counts / sizeof counts[0]];
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        at[i] = total;
        fits = fits && mlcc_size_add(total, (counts[i] * sizeof(int32_t) + 63) / 64 * 64, &total);
    }
    if (!fits) return MLCC_ERROR(NO_MEMORY, "the inputs of one pass exceed 64 bits of bytes");
    mlcc_status *status = mlcc_block_alloc(
        (size_t)out->max_seqs * sizeof(mlcc_batch_slice), "the slices of one pass", &out->block);
    if (status == NULL) {
        status = mlcc_device_alloc_mirror(device, total, "the inputs of one pass", &out->inputs);
    }
    if (status != NULL) {
        mlcc_batch_free(out);
        return status;
    }
    out->slices = out->block.data;
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        *lists[i] = (int32_t *)(void *)((char *)out->inputs.host + at[i]);
    return NULL;
}

void mlcc_batch_free(mlcc_batch *batch) {
    if (batch->device != NULL) mlcc_device_free_mirror(batch->device, &batch->inputs);
    mlcc_block_free(&batch->block);
    *batch = (mlcc_batch){0};
}

void *mlcc_batch_address(const mlcc_batch *batch, const int32_t *array) {
    return (char *)batch->inputs.memory.address +
           ((const char *)array - (char *)batch->inputs.host);
}

mlcc_status *mlcc_batch_push(const mlcc_batch *batch) {
    const int32_t *end = batch->page_table + batch->n_seqs * batch->n_page_slots;
    size_t used_bytes = (size_t)((const char *)end - (const char *)batch->inputs.host);
    return mlcc_device_push(batch->device, &batch->inputs, 0, used_bytes);
}

int64_t mlcc_batch_rows_of(const mlcc_batch_item *item) {
    if (item->logits == MLCC_LOGITS_NONE) return 0;
    return item->logits == MLCC_LOGITS_LAST ? 1 : item->n_tokens;
}

bool mlcc_batch_is_single(const mlcc_batch *batch, const mlcc_batch_item *items, int32_t n_items) {
    if (n_items > batch->max_seqs) return false;
    int64_t n_tokens = 0, n_rows = 0;
    for (int32_t i = 0; i < n_items; i++) {
        if (items[i].n_tokens > batch->max_tokens - n_tokens) return false;
        n_tokens += items[i].n_tokens;
        n_rows += mlcc_batch_rows_of(&items[i]);
    }
    return n_rows <= batch->max_rows;
}

void mlcc_batch_rewind(mlcc_batch *batch) {
    batch->next_item = 0;
    batch->next_token = 0;
}

// Takes as much of the next item as still fits; false when nothing does.
static bool take(mlcc_batch *batch, const mlcc_batch_item *item) {
    int64_t n_left = item->n_tokens - batch->next_token;
    int64_t n_taken = batch->max_tokens - batch->n_tokens;
    int64_t rows_room = batch->max_rows - batch->n_rows;
    if (n_taken > n_left) n_taken = n_left;
    int64_t n_rows = 0;
    if (item->logits == MLCC_LOGITS_ALL) {
        if (n_taken > rows_room) n_taken = rows_room;
        n_rows = n_taken;
    } else if (item->logits == MLCC_LOGITS_LAST && n_taken == n_left) {
        // Without room for its row the last token waits for the next pass.
        if (rows_room == 0) {
            n_taken--;
        } else {
            n_rows = 1;
        }
    }
    if (n_taken < 1) return false;
    batch->slices[batch->n_seqs++] = (mlcc_batch_slice){.item = batch->next_item,
                                                        .begin = batch->next_token,
                                                        .n_tokens = n_taken,
                                                        .n_rows = n_rows};
    batch->n_tokens += n_taken;
    batch->n_rows += n_rows;
    batch->next_token += n_taken;
    if (batch->next_token < item->n_tokens) return false;
    batch->next_item++;
    batch->next_token = 0;
    return true;
}

// Position of the first token of a slice. The cache counts the step's tokens already.
static int64_t first_position(
    const mlcc_batch_slice *slice, const mlcc_batch_item *item, const mlcc_kv_cache *cache) {
    return cache->lengths[item->sequence] - item->n_tokens + slice->begin;
}

// Slots of the page table's rows. A device keeps the launches of calls with equal dimensions, so there
// they grow in few steps: powers of two.
static int64_t slots_of(const mlcc_batch *batch, int64_t n_needed) {
    enum { LEAST_SLOTS = 16 };
    if (mlcc_device_get_info(batch->device)->is_host) return n_needed;
    int64_t n_slots = LEAST_SLOTS;
    while (n_slots < n_needed) n_slots *= 2;
    return n_slots < batch->max_slots ? n_slots : batch->max_slots;
}

static void fill(mlcc_batch *batch, const mlcc_batch_item *items, const mlcc_kv_cache *cache) {
    int64_t n_slots = 1;
    for (int64_t s = 0; s < batch->n_seqs; s++) {
        const mlcc_batch_slice *slice = &batch->slices[s];
        int64_t end = first_position(slice, &items[slice->item], cache) + slice->n_tokens;
        if (mlcc_kv_pages_of(end) > n_slots) n_slots = mlcc_kv_pages_of(end);
    }
    n_slots = slots_of(batch, n_slots);
    batch->n_page_slots = n_slots;
    int64_t token = 0, row = 0;
    for (int64_t s = 0; s < batch->n_seqs; s++) {
        const mlcc_batch_slice *slice = &batch->slices[s];
        const mlcc_batch_item *item = &items[slice->item];
        int64_t position = first_position(slice, item, cache);
        size_t n_pages = (size_t)mlcc_kv_pages_of(position + slice->n_tokens);
        int32_t *table = batch->page_table + s * n_slots;
        memcpy(table, cache->pages + item->sequence * cache->max_slots, n_pages * sizeof *table);
        memset(table + n_pages, 0, ((size_t)n_slots - n_pages) * sizeof *table);
        for (int64_t i = 0; i < slice->n_tokens; i++, token++) {
            batch->ids[token] = item->tokens[slice->begin + i];
            batch->positions[token] = (int32_t)(position + i);
            batch->seq_ids[token] = (int32_t)s;
            if (i >= slice->n_tokens - slice->n_rows) batch->logit_rows[row++] = (int32_t)token;
        }
    }
    if (row == 0) batch->logit_rows[0] = (int32_t)(token - 1);
}

bool mlcc_batch_next(
    mlcc_batch *batch, const mlcc_batch_item *items, int32_t n_items, const mlcc_kv_cache *cache) {
    batch->n_seqs = batch->n_tokens = batch->n_rows = 0;
    while (batch->next_item < n_items && batch->n_seqs < batch->max_seqs &&
           take(batch, &items[batch->next_item])) {
    }
    if (batch->n_seqs == 0) return false;
    fill(batch, items, cache);
    return true;
}
