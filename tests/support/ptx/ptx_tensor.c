// Boxes of two-dimensional tensors.
#include "tests/support/ptx/ptx_tensor.h"

#include <string.h>

#define MAP_ALIGNMENT 64u
#define CHUNK         16u

static uint32_t row_bytes_of(const ptx_box *box) {
    return box->map.box_columns * box->map.element_bytes;
}

uint32_t ptx_box_bytes(const ptx_box *box) {
    return row_bytes_of(box) * box->map.box_rows;
}

static const char *mistake_in(const ptx_box *box) {
    const ptx_tensor_map *map = &box->map;
    const uint32_t size = map->element_bytes, swizzle = map->swizzle_bytes;
    if (memcmp(map->mark, PTX_TENSOR_MARK, sizeof map->mark) != 0)
        return "no tensor map lies there";
    if (size != 1 && size != 2 && size != 4 && size != 8) return "the elements' size is none";
    if (map->box_columns == 0 || map->box_columns > 256 || map->box_rows == 0 ||
        map->box_rows > 256)
        return "the box must have 1 to 256 elements each way";
    if (row_bytes_of(box) % CHUNK != 0) return "a row of the box is no multiple of 16 bytes";
    if (map->row_bytes % CHUNK != 0 || map->address % CHUNK != 0)
        return "the tensor's address and rows must be multiples of 16 bytes";
    if (swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128)
        return "the swizzle is none";
    if (swizzle != 0 && row_bytes_of(box) != swizzle)
        return "a row of the box must be as long as the swizzle's";
    return NULL;
}

bool ptx_box_take(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint64_t map_address, ptx_box *out) {
    ptx_location location;
    if (!ptx_locate_range(
            warp, insn, lane, PTX_SPACE_GENERIC, map_address, sizeof out->map, MAP_ALIGNMENT,
            PTX_READS, &location))
        return false;
    memcpy(&out->map, location.data, sizeof out->map);
    const char *mistake = mistake_in(out);
    if (mistake == NULL) return true;
    ptx_fail(warp, insn, 1u << lane, "tensor map: %s", mistake);
    return false;
}

// The part of a row of the box that the tensor has: first element of the box and number. False: nothing.
static bool part_of_row(const ptx_box *box, uint32_t row, uint32_t *first, uint32_t *count) {
    const int64_t at = (int64_t)box->row + row, end = (int64_t)box->column + box->map.box_columns;
    const int64_t start = box->column < 0 ? 0 : box->column;
    const int64_t stop = end < (int64_t)box->map.columns ? end : (int64_t)box->map.columns;
    if (at < 0 || at >= (int64_t)box->map.rows || start >= stop) return false;
    *first = (uint32_t)(start - box->column);
    *count = (uint32_t)(stop - start);
    return true;
}

static uint64_t address_of(const ptx_box *box, uint32_t row, uint32_t column) {
    return box->map.address + (uint64_t)((int64_t)box->row + row) * box->map.row_bytes +
           (uint64_t)((int64_t)box->column + column) * box->map.element_bytes;
}

bool ptx_box_check(
    ptx_warp *warp, const ptx_insn *insn, int lane, const ptx_box *box, ptx_use use) {
    for (uint32_t row = 0; row < box->map.box_rows; row++) {
        uint32_t first = 0, count = 0;
        ptx_location location;
        if (!part_of_row(box, row, &first, &count)) continue;
        if (!ptx_locate_range(
                warp, insn, lane, PTX_SPACE_GLOBAL, address_of(box, row, first),
                count * box->map.element_bytes, box->map.element_bytes, use, &location))
            return false;
    }
    return true;
}

// Offset from the box's first byte in shared memory: the swizzle turns bits 4-6 of the address by bits 7-9.
static uint32_t place_of(const ptx_box *box, uint32_t row, uint32_t byte) {
    const uint32_t plain = box->shared_start + row * row_bytes_of(box) + byte;
    const uint32_t turns = box->map.swizzle_bytes == 0 ? 0 : box->map.swizzle_bytes / CHUNK - 1;
    return (plain ^ (plain >> 7 & turns) << 4) - box->shared_start;
}

void ptx_box_load(const ptx_box *box, uint8_t *shared) {
    const uint32_t size = box->map.element_bytes;
    memset(shared, 0, ptx_box_bytes(box));
    for (uint32_t row = 0; row < box->map.box_rows; row++) {
        uint32_t first = 0, count = 0;
        if (!part_of_row(box, row, &first, &count)) continue;
        for (uint32_t i = first; i < first + count; i++)
            memcpy(
                shared + place_of(box, row, i * size),
                (const void *)(uintptr_t)address_of(box, row, i), size);
    }
}

void ptx_box_store(const ptx_box *box, const uint8_t *shared) {
    const uint32_t size = box->map.element_bytes;
    for (uint32_t row = 0; row < box->map.box_rows; row++) {
        uint32_t first = 0, count = 0;
        if (!part_of_row(box, row, &first, &count)) continue;
        for (uint32_t i = first; i < first + count; i++)
            memcpy(
                (void *)(uintptr_t)address_of(box, row, i), shared + place_of(box, row, i * size),
                size);
    }
}
