// Which global memory launches touched: for launches that may begin before the ones before them have ended.
//
// A bit for every 4 bytes that were read and one for those written, in pages found by hash.
#include "tests/support/ptx/ptx_history.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_SHIFT 16 // bytes
#define PAGE_WORDS (1u << (PAGE_SHIFT - 2))
#define WORD_SHIFT 2

typedef struct page {
    uint64_t number;                   // address >> PAGE_SHIFT; 0: none
    uint64_t bits[2][PAGE_WORDS / 64]; // read, written
} page;

struct ptx_history {
    page **pages; // a hash table of a power of two
    size_t n_pages, capacity;
    page *last;
};

ptx_history *ptx_history_create(void) {
    ptx_history *history = calloc(1, sizeof *history);
    if (history == NULL) abort();
    return history;
}

void ptx_history_clear(ptx_history *history) {
    for (size_t i = 0; i < history->capacity; i++) free(history->pages[i]);
    free(history->pages);
    *history = (ptx_history){0};
}

void ptx_history_free(ptx_history *history) {
    if (history == NULL) return;
    ptx_history_clear(history);
    free(history);
}

static size_t slot_of(const ptx_history *history, uint64_t number) {
    size_t slot = (size_t)((number * 0x9e3779b97f4a7c15u) >> 32) & (history->capacity - 1);
    while (history->pages[slot] != NULL && history->pages[slot]->number != number)
        slot = (slot + 1) & (history->capacity - 1);
    return slot;
}

static const page *find_page(const ptx_history *history, uint64_t number) {
    return history->capacity == 0 ? NULL : history->pages[slot_of(history, number)];
}

static void grow(ptx_history *history) {
    const ptx_history before = *history;
    history->capacity = before.capacity == 0 ? 256 : 2 * before.capacity;
    history->pages = calloc(history->capacity, sizeof *history->pages);
    if (history->pages == NULL) abort();
    for (size_t i = 0; i < before.capacity; i++)
        if (before.pages[i] != NULL)
            history->pages[slot_of(history, before.pages[i]->number)] = before.pages[i];
    free(before.pages);
}

static page *take_page(ptx_history *history, uint64_t number) {
    if (history->last != NULL && history->last->number == number) return history->last;
    if (2 * (history->n_pages + 1) > history->capacity) grow(history);
    const size_t slot = slot_of(history, number);
    if (history->pages[slot] == NULL) {
        page *made = calloc(1, sizeof *made);
        if (made == NULL) abort();
        made->number = number;
        history->pages[slot] = made;
        history->n_pages++;
    }
    return history->last = history->pages[slot];
}

void ptx_history_add(ptx_history *history, uint64_t address, uint64_t n_bytes, bool is_write) {
    const uint64_t end = (address + n_bytes + 3) >> WORD_SHIFT;
    for (uint64_t word = address >> WORD_SHIFT; word < end; word++) {
        page *at = take_page(history, word >> (PAGE_SHIFT - WORD_SHIFT));
        const uint32_t bit = (uint32_t)word % PAGE_WORDS;
        at->bits[is_write][bit / 64] |= (uint64_t)1 << bit % 64;
    }
}

void ptx_history_merge(ptx_history *into, const ptx_history *from) {
    for (size_t i = 0; i < from->capacity; i++) {
        const page *source = from->pages[i];
        if (source == NULL) continue;
        page *target = take_page(into, source->number);
        for (size_t k = 0; k < PAGE_WORDS / 64; k++) {
            target->bits[0][k] |= source->bits[0][k];
            target->bits[1][k] |= source->bits[1][k];
        }
    }
}

bool ptx_history_has(
    const ptx_history *history, uint64_t address, uint64_t n_bytes, bool is_write) {
    const uint64_t end = (address + n_bytes + 3) >> WORD_SHIFT;
    for (uint64_t word = address >> WORD_SHIFT; word < end; word++) {
        const page *at = find_page(history, word >> (PAGE_SHIFT - WORD_SHIFT));
        const uint32_t bit = (uint32_t)word % PAGE_WORDS;
        if (at != NULL && (at->bits[is_write][bit / 64] >> bit % 64 & 1u) != 0) return true;
    }
    return false;
}
