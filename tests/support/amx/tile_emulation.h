// tile_emulation: Intel's tile registers (AMX) in C, what tile_trap.h does in the place of their instructions. Registers belong to a thread.
// What the processor answers with a fault ends the program with a message: a product of shapes that do not fit, a tile or a
// configuration that does not exist, a reserved byte. So does what would only be wrong or slow: to read a tile that nothing has
// been put into since it was configured, a configuration across two lines.
//
// After the Intel SDM, volume 2: LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBSSD, TDPBSUD, TDPBF16PS.
#ifndef MLCC_TESTS_SUPPORT_AMX_TILE_EMULATION_H
#define MLCC_TESTS_SUPPORT_AMX_TILE_EMULATION_H

#include <stddef.h>

// `shapes`: 64 bytes: palette, start row, 14 reserved, bytes of a row (16 of 16 bits), rows (16 bytes).
void tile_configure(const void *shapes);
void tile_release(void);
void tile_zero(int tile);
void tile_load(int tile, const void *from, size_t stride);
void tile_store(int tile, void *to, size_t stride);
// c [rows][n] += a [rows][k], signed bytes, times b [k / 4][n][4], bytes; 32-bit sums.
void tile_dot(int c, int a, int b, int is_b_signed);

// c [rows][n] += a [rows][k] times b [k / 2][n][2], bfloat16 in pairs; float32 sums, denormals are zero.
void tile_dot_pairs(int c, int a, int b);

// How many threads have tiles configured now; how many products there were, by B: 0 bytes without a sign, 1 signed bytes, 2 bfloat16.
long tile_threads_configured(void);
long tile_products(int kind);

#endif
