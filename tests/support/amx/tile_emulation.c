#include "tests/support/amx/tile_emulation.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TILES = 8, MAX_ROWS = 16, MAX_ROW_BYTES = 64 };

typedef struct tile_register {
    int rows, row_bytes;
    bool is_filled; // something was put into it
    uint8_t bytes[MAX_ROWS][MAX_ROW_BYTES];
} tile_register;

static _Thread_local tile_register tiles[N_TILES];
static _Thread_local bool is_configured;
static atomic_long n_configured, n_products[3];

static void fault(const char *instruction, int tile, const char *why) {
    fprintf(stderr, "tile emulation: %s, tile %d: %s\n", instruction, tile, why);
    abort();
}

long tile_threads_configured(void) {
    return atomic_load(&n_configured);
}

long tile_products(int kind) {
    return atomic_load(&n_products[kind]);
}

// ---- configuration ------------------------------------------------------------------------------------

void tile_configure(const void *shapes) {
    static const char name[] = "LDTILECFG";
    const uint8_t *bytes = shapes;
    if ((uintptr_t)shapes % 64 != 0) fault(name, -1, "crosses a line, which is slow");
    if (bytes[0] != 1) fault(name, -1, "palette 1 is the only one with tiles");
    for (int i = 1; i < 16; i++) {
        if (bytes[i] != 0) fault(name, -1, "a reserved byte, or the start row, is not zero");
    }
    for (int i = 0; i < 16; i++) {
        uint16_t row_bytes;
        memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof row_bytes);
        const int rows = bytes[48 + i];
        if (i >= N_TILES) {
            if (rows != 0 || row_bytes != 0) fault(name, i, "there is no such tile");
            continue;
        }
        if (rows > MAX_ROWS || row_bytes > MAX_ROW_BYTES) fault(name, i, "is too large");
        if ((rows == 0) != (row_bytes == 0)) fault(name, i, "has only one extent");
        tiles[i] = (tile_register){.rows = rows, .row_bytes = row_bytes};
    }
    if (!is_configured) atomic_fetch_add(&n_configured, 1);
    is_configured = true;
}

void tile_release(void) {
    memset(tiles, 0, sizeof tiles);
    if (is_configured) atomic_fetch_sub(&n_configured, 1);
    is_configured = false;
}

static tile_register *find(const char *instruction, int tile) {
    if (tile < 0 || tile >= N_TILES) fault(instruction, tile, "there is no such tile");
    if (!is_configured) fault(instruction, tile, "nothing is configured");
    if (tiles[tile].rows == 0) fault(instruction, tile, "is not configured");
    return &tiles[tile];
}

// ---- movement -----------------------------------------------------------------------------------------

// Bytes beyond the tile's shape become zero.
void tile_zero(int tile) {
    tile_register *t = find("TILEZERO", tile);
    memset(t->bytes, 0, sizeof t->bytes);
    t->is_filled = true;
}

void tile_load(int tile, const void *from, size_t stride) {
    tile_register *t = find("TILELOADD", tile);
    memset(t->bytes, 0, sizeof t->bytes);
    for (int r = 0; r < t->rows; r++)
        memcpy(t->bytes[r], (const char *)from + (size_t)r * stride, (size_t)t->row_bytes);
    t->is_filled = true;
}

void tile_store(int tile, void *to, size_t stride) {
    const tile_register *t = find("TILESTORED", tile);
    if (!t->is_filled) fault("TILESTORED", tile, "holds nothing");
    for (int r = 0; r < t->rows; r++)
        memcpy((char *)to + (size_t)r * stride, t->bytes[r], (size_t)t->row_bytes);
}

// ---- products -----------------------------------------------------------------------------------------

static int32_t product_of(
    const tile_register *a, const tile_register *b, int row, int k, int n, int s) {
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t byte = b->bytes[k][4 * n + i];
        sum += (int8_t)a->bytes[row][4 * k + i] * (s ? (int8_t)byte : (int32_t)byte);
    }
    return sum;
}

// What every product wants of its operands.
static void check_product(const char *name, int c_tile, int a_tile, int b_tile) {
    if (c_tile == a_tile || c_tile == b_tile || a_tile == b_tile)
        fault(name, c_tile, "is named twice");
    const tile_register *c = find(name, c_tile);
    const tile_register *a = find(name, a_tile), *b = find(name, b_tile);
    if (a->row_bytes % 4 != 0 || b->row_bytes % 4 != 0 || c->row_bytes % 4 != 0)
        fault(name, c_tile, "rows are no 32-bit elements");
    if (c->rows != a->rows) fault(name, c_tile, "has other rows than A");
    if (c->row_bytes != b->row_bytes) fault(name, c_tile, "has other columns than B");
    if (b->rows != a->row_bytes / 4) fault(name, b_tile, "has other rows than A has columns");
    if (!a->is_filled || !b->is_filled || !c->is_filled) fault(name, c_tile, "an operand is empty");
}

void tile_dot(int c_tile, int a_tile, int b_tile, int is_b_signed) {
    check_product(is_b_signed ? "TDPBSSD" : "TDPBSUD", c_tile, a_tile, b_tile);
    tile_register *c = &tiles[c_tile];
    const tile_register *a = &tiles[a_tile], *b = &tiles[b_tile];
    for (int row = 0; row < c->rows; row++) {
        for (int n = 0; n < c->row_bytes / 4; n++) {
            uint32_t sum; // wraps around, as the instruction's does
            memcpy(&sum, c->bytes[row] + 4 * n, sizeof sum);
            for (int k = 0; k < b->rows; k++)
                sum += (uint32_t)product_of(a, b, row, k, n, is_b_signed);
            memcpy(c->bytes[row] + 4 * n, &sum, sizeof sum);
        }
    }
    atomic_fetch_add(&n_products[is_b_signed != 0], 1);
}

// As the processor's products of pairs do it: rounded once, denormals in and out are zero.
static float without_denormals(float value) {
    return fpclassify(value) == FP_SUBNORMAL ? copysignf(0.0f, value) : value;
}

static float multiply_add(float a, float b, float c) {
    a = without_denormals(a), b = without_denormals(b), c = without_denormals(c);
    return without_denormals(fmaf(a, b, c));
}

static float pair_of(const uint8_t *bytes, int i) {
    uint16_t half;
    memcpy(&half, bytes + 2 * i, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The even elements of the rows of A and B are one chain, the odd ones another; both end before C.
void tile_dot_pairs(int c_tile, int a_tile, int b_tile) {
    check_product("TDPBF16PS", c_tile, a_tile, b_tile);
    tile_register *c = &tiles[c_tile];
    const tile_register *a = &tiles[a_tile], *b = &tiles[b_tile];
    for (int row = 0; row < c->rows; row++) {
        for (int n = 0; n < c->row_bytes / 4; n++) {
            float even = 0.0f, odd = 0.0f, sum;
            for (int k = 0; k < b->rows; k++) {
                const uint8_t *x = a->bytes[row] + 4 * k, *w = b->bytes[k] + 4 * n;
                even = multiply_add(pair_of(x, 0), pair_of(w, 0), even);
                odd = multiply_add(pair_of(x, 1), pair_of(w, 1), odd);
            }
            memcpy(&sum, c->bytes[row] + 4 * n, sizeof sum);
            sum = multiply_add(1.0f, multiply_add(1.0f, even, odd), sum);
            memcpy(c->bytes[row] + 4 * n, &sum, sizeof sum);
        }
    }
    atomic_fetch_add(&n_products[2], 1);
}
