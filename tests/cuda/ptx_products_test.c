// The PTX interpreter's products of sm_89 and sm_90a: wgmma in every layout of shared memory, its rules, and mma.sync of bytes. Every rule has a kernel
// that keeps it, with a result worked out otherwise, and one that breaks it.
#include "ir/eval.h"
#include "tests/cuda/ptx_kernel.h"
#include "tests/support/ptx/numbers.h"

// ---- wgmma -------------------------------------------------------------------------------------------------------------------------------------

// Layouts of A and B in shared memory, written from the tables of the manual, not from the interpreter's formulas: rows of 16-byte chunks.
typedef enum swizzle { NO_SWIZZLE, SWIZZLE_128, SWIZZLE_64, SWIZZLE_32 } swizzle;

static float value_at(uint32_t seed, uint32_t row, uint32_t k) {
    return (float)((row * 5u + k * 3u + row * k + seed) % 11) - 5.0f;
}

// Place of element (row, k) of a K-major matrix of 2-byte elements with 32 bytes of k: atoms of 8 rows, one behind the other.
static uint32_t k_major_place(swizzle layout, uint32_t row, uint32_t byte, uint32_t first_byte) {
    static const uint32_t widths[] = {16, 128, 64, 32};
    const uint32_t width = widths[layout];
    if (layout ==
        NO_SWIZZLE) // cores of 8 rows by 16 bytes: those of the first 16 bytes of k, then the others
        return byte / 16 * 2048 + row / 8 * 128 + row % 8 * 16 + byte % 16;
    const uint32_t plain = row / 8 * 8 * width + row % 8 * width + first_byte + byte;
    const uint32_t chunk = plain / 16 % 8, line = plain / 128 % 8;
    return plain / 128 * 128 + (chunk ^ (line % (width / 16))) * 16 + plain % 16;
}

// Place of element (mn, k) of an MN-major matrix of 16 k: atoms of `width` bytes of mn by 8 k.
static uint32_t mn_major_place(swizzle layout, uint32_t mn, uint32_t k) {
    static const uint32_t widths[] = {16, 128, 64, 32};
    const uint32_t width = widths[layout], byte = 2 * mn;
    const uint32_t atom = byte / width * 2 + k / 8; // two atoms of k side by side
    const uint32_t plain = atom * 8 * width + k % 8 * width + byte % width;
    if (layout == NO_SWIZZLE) return plain;
    const uint32_t chunk = plain / 16 % 8, line = plain / 128 % 8;
    return plain / 128 * 128 + (chunk ^ (line % (width / 16))) * 16 + plain % 16;
}

static uint64_t descriptor(swizzle layout, uint32_t offset, uint32_t leading, uint32_t stride) {
    return (uint64_t)layout << 62 | (uint64_t)(stride / 16) << 32 | (uint64_t)(leading / 16) << 16 |
           offset / 16;
}

static void put_half(uint8_t *matrix, uint32_t place, float value, bool is_bf16) {
    const uint16_t bits = is_bf16 ? ptx_to_bf16(value) : ptx_to_f16(value);
    memcpy(matrix + place, &bits, sizeof bits);
}

typedef struct wgmma_case {
    swizzle layout;
    bool is_bf16, is_transposed_a, is_transposed_b, has_a_in_registers;
    uint32_t n;
    int factor;          // of A
    uint32_t first_byte; // of k within the swizzle's row
} wgmma_case;

// 16 KB of A at dyn and 16 KB of B behind it come from `in` by ordinary stores; one wgmma on accumulators of 1; all sums go to `out`.
static void write_wgmma_kernel(mlcc_str *text, const wgmma_case *at, uint64_t a, uint64_t b) {
    mlcc_str_printf(
        text, "mov.u32 %%r6, %%r0; L: mul.wide.u32 %%rd5, %%r6, 16; add.s64 %%rd6, %%rd0, %%rd5;"
              "ld.global.v4.u32 {%%r7,%%r8,%%r9,%%r10}, [%%rd6]; cvt.u32.u64 %%r11, %%rd5; add.u32 "
              "%%r11, %%r11, %%r3;"
              "st.shared.v4.u32 [%%r11], {%%r7,%%r8,%%r9,%%r10}; add.u32 %%r6, %%r6, 128; "
              "setp.lt.u32 %%p1, %%r6, 2048; @%%p1 bra L;"
              "fence.proxy.async; bar.sync 0;\n");
    // Registers of A: rows 16 warp + lane / 4 (+ 8), k 2 (lane % 4) (+ 8), from `in` + 32 KB, as the fragment stands there.
    mlcc_str_printf(
        text, "shl.b32 %%r12, %%r0, 4; cvt.u64.u32 %%rd5, %%r12; add.s64 %%rd6, %%rd0, %%rd5;"
              "ld.global.v4.u32 {%%r20,%%r21,%%r22,%%r23}, [%%rd6+32768];\n");
    mlcc_str_printf(
        text,
        "cvt.u64.u32 %%rd7, %%r3; shr.u64 %%rd7, %%rd7, 4; add.u64 %%rd8, %%rd7, %llu; add.u64 "
        "%%rd9, %%rd7, %llu;\n",
        (unsigned long long)a, (unsigned long long)b);
    for (uint32_t i = 0; i < at->n / 2; i++) mlcc_str_printf(text, "mov.f32 %%f%u, 0f3F800000;", i);
    mlcc_str_printf(
        text, "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n%uk16.f32.%s.%s {", at->n,
        at->is_bf16 ? "bf16" : "f16", at->is_bf16 ? "bf16" : "f16");
    for (uint32_t i = 0; i < at->n / 2; i++) mlcc_str_printf(text, "%s%%f%u", i == 0 ? "" : ",", i);
    if (at->has_a_in_registers)
        mlcc_str_printf(
            text, "}, {%%r20,%%r21,%%r22,%%r23}, %%rd9, 1, %d, 1, %d;", at->factor,
            at->is_transposed_b);
    else
        mlcc_str_printf(
            text, "}, %%rd8, %%rd9, 1, %d, 1, %d, %d;", at->factor, at->is_transposed_a,
            at->is_transposed_b);
    mlcc_str_printf(
        text,
        "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;"
        "mul.wide.u32 %%rd5, %%r0, %u; add.s64 %%rd6, %%rd1, %%rd5;\n",
        2 * at->n);
    for (uint32_t i = 0; i < at->n / 2; i++)
        mlcc_str_printf(text, "st.global.f32 [%%rd6+%u], %%f%u;", 4 * i, i);
}

static void check_wgmma(const wgmma_case *at) {
    static const uint32_t widths[] = {16, 128, 64, 32};
    uint8_t *in = (uint8_t *)data.in;
    const uint32_t width = widths[at->layout];
    const uint32_t k_leading = at->layout == NO_SWIZZLE ? 2048 : 16;
    const uint32_t k_stride = 8 * width;
    // MN-major: along mn two atoms further, along k the next one; without swizzle the fields change places.
    const uint32_t mn_along = 16 * width, mn_across = 8 * width;
    const uint64_t mn = at->layout == NO_SWIZZLE ? descriptor(at->layout, 0, mn_across, mn_along)
                                                 : descriptor(at->layout, 0, mn_along, mn_across);
    const uint64_t k_major = descriptor(at->layout, at->first_byte, k_leading, k_stride);
    fill_words();
    for (uint32_t k = 0; k < 16; k++) {
        for (uint32_t m = 0; m < 64; m++)
            put_half(
                in,
                at->is_transposed_a ? mn_major_place(at->layout, m, k)
                                    : k_major_place(at->layout, m, 2 * k, at->first_byte),
                value_at(1, m, k), at->is_bf16);
        for (uint32_t n = 0; n < at->n; n++)
            put_half(
                in + 16384,
                at->is_transposed_b ? mn_major_place(at->layout, n, k)
                                    : k_major_place(at->layout, n, 2 * k, at->first_byte),
                value_at(2, n, k), at->is_bf16);
    }
    for (uint32_t thread = 0; thread < 128; thread++)
        for (uint32_t i = 0; i < 8; i++) {
            const uint32_t m = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
            const uint32_t k = 2 * (thread % 4) + i % 2 + 8 * (i / 4);
            put_half(in + 32768, thread * 16 + 2 * i, value_at(1, m, k), at->is_bf16);
        }
    mlcc_str text = {0};
    write_wgmma_kernel(
        &text, at, at->is_transposed_a ? mn : k_major,
        (at->is_transposed_b ? mn : k_major) + 16384 / 16);
    run_well(text.data, 128);
    mlcc_str_free(&text);
    for (uint32_t thread = 0; thread < 128; thread++)
        for (uint32_t i = 0; i < at->n / 2; i++) {
            const uint32_t m = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
            const uint32_t n = i / 4 * 8 + 2 * (thread % 4) + i % 2;
            float expected = 1;
            for (uint32_t k = 0; k < 16; k++)
                expected += (float)at->factor * value_at(1, m, k) * value_at(2, n, k);
            const float found = ptx_float(data.out[thread * (at->n / 2) + i]);
            if (found != expected)
                fail_msg(
                    "swizzle %d, transposes %d %d, registers %d, n %u: row %u, column %u is %g, "
                    "expected %g",
                    (int)at->layout, at->is_transposed_a, at->is_transposed_b,
                    at->has_a_in_registers, at->n, m, n, (double)found, (double)expected);
        }
}

static void test_wgmma(void **state) {
    (void)state;
    static const uint32_t columns[] = {8, 24, 64, 128};
    for (int layout = 0; layout < 4; layout++)
        for (int form = 0; form < 6; form++)
            for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
                wgmma_case at = {
                    .layout = (swizzle)layout,
                    .is_bf16 = form == 1,
                    .is_transposed_a = form == 2 || form == 4,
                    .is_transposed_b = form == 3 || form == 4,
                    .has_a_in_registers = form == 5,
                    .n = columns[i],
                    .factor = form == 1 ? -1 : 1};
                // Whole atoms of mn only.
                static const uint32_t atoms[] = {8, 64, 32, 16};
                if (at.is_transposed_b && at.n % atoms[layout] != 0) continue;
                check_wgmma(&at);
                // Further along k within the swizzle's row: only the start address moves.
                at.first_byte = 32;
                if (form < 2 && (layout == SWIZZLE_128 || layout == SWIZZLE_64)) check_wgmma(&at);
            }
}

// Zeros in 1 KB of shared memory, fenced; %rd8 describes them without swizzle as A and B; %f0 … %f3 are zero.
#define ZEROS \
    "cvt.u64.u32 %rd7, %r3; shr.u64 %rd8, %rd7, 4; or.b64 %rd8, %rd8, 0x800080000; mov.u32 %r6, " \
    "0;" \
    "shl.b32 %r7, %r0, 5; add.u32 %r8, %r3, %r7; st.shared.v4.u32 [%r8], {%r6,%r6,%r6,%r6};" \
    "st.shared.v4.u32 [%r8+16], {%r6,%r6,%r6,%r6};" \
    "mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;"
#define FENCES "fence.proxy.async.shared::cta; bar.sync 0; wgmma.fence.sync.aligned;"
#define MULTIPLY \
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0,%f1,%f2,%f3}, %rd8, %rd8, 1, 1, 1, " \
    "0, 0;"
#define MULTIPLY_REGISTERS \
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0,%f1,%f2,%f3}, {%r20,%r21,%r22,%r23}, " \
    "%rd8, 1, 1, 1, 0;"
#define REGISTERS "mov.u32 %r20, 0; mov.u32 %r21, 0; mov.u32 %r22, 0; mov.u32 %r23, 0;"
#define COMMIT    "wgmma.commit_group.sync.aligned;"
#define WAIT_ALL  "wgmma.wait_group.sync.aligned 0;"

static void test_broken_wgmma(void **state) {
    (void)state;
    run_well(
        ZEROS FENCES MULTIPLY MULTIPLY COMMIT MULTIPLY COMMIT
        "wgmma.wait_group.sync.aligned 1;" WAIT_ALL "add.f32 %f4, %f0, %f1;",
        128);
    run_well(
        ZEROS FENCES MULTIPLY COMMIT
        "add.u32 %r9, %r0, 1;" WAIT_ALL
        "add.f32 %f0, %f0, %f1; wgmma.fence.sync.aligned;" MULTIPLY COMMIT WAIT_ALL,
        128);
    run_well(ZEROS REGISTERS FENCES MULTIPLY_REGISTERS COMMIT WAIT_ALL "mov.u32 %r20, 5;", 128);
    static const broken snippets[] = {
        {ZEROS "bar.sync 0; wgmma.fence.sync.aligned;" MULTIPLY COMMIT WAIT_ALL,
         "without a fence.proxy.async"},
        {ZEROS "fence.proxy.async; wgmma.fence.sync.aligned;" MULTIPLY COMMIT WAIT_ALL,
         "race: reads"},
        {ZEROS FENCES "st.shared.u32 [%r8], %r0; bar.sync 0;" MULTIPLY COMMIT WAIT_ALL,
         "without a fence.proxy.async"},
        {ZEROS "fence.proxy.async; bar.sync 0;" MULTIPLY COMMIT WAIT_ALL,
         "since the last wgmma.fence"},
        {ZEROS FENCES "mov.f32 %f1, 0f3F800000;" MULTIPLY COMMIT WAIT_ALL,
         "operand 2 is a register that was written since"},
        {ZEROS REGISTERS FENCES "add.u32 %r20, %r20, 1;" MULTIPLY_REGISTERS COMMIT WAIT_ALL,
         "since the last wgmma.fence"},
        {ZEROS FENCES MULTIPLY COMMIT "add.f32 %f4, %f0, %f1;" WAIT_ALL,
         "touches a register of the wgmma"},
        {ZEROS FENCES MULTIPLY COMMIT "mov.f32 %f2, 0f00000000;" WAIT_ALL,
         "touches a register of the wgmma"},
        {ZEROS REGISTERS FENCES MULTIPLY_REGISTERS COMMIT "mov.u32 %r21, 0;" WAIT_ALL,
         "touches a register of the wgmma"},
        // The open group is not waited for, nor the last of two.
        {ZEROS FENCES MULTIPLY WAIT_ALL "add.f32 %f4, %f0, %f1;",
         "touches a register of the wgmma"},
        {ZEROS FENCES MULTIPLY COMMIT MULTIPLY COMMIT
         "wgmma.wait_group.sync.aligned 1; add.f32 %f4, %f0, %f1;",
         "touches a register of the wgmma"},
        {ZEROS FENCES MULTIPLY COMMIT, "returns before this was waited for"},
        // Shared memory that is read meanwhile is written.
        {ZEROS FENCES MULTIPLY COMMIT "@%p0 st.shared.u32 [%r8], %r0;" WAIT_ALL,
         "it has not been waited for"},
        // … and behind the wait, by a warp that was not told.
        {ZEROS FENCES "setp.ge.u32 %p1, %r0, 96;" MULTIPLY COMMIT WAIT_ALL
                      "@%p1 st.shared.u32 [%r3], %r2;",
         "race: writes"},
        // Accumulators of another shape under way.
        {ZEROS
         "mov.f32 %f4, %f0; mov.f32 %f5, %f0; mov.f32 %f6, %f0; mov.f32 %f7, %f0;" FENCES MULTIPLY
         "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {%f0,%f1,%f2,%f3,%f4,%f5,%f6,%f7}, "
         "%rd8, %rd8, 1, 1, 1, 0, 0;" COMMIT WAIT_ALL,
         "touches a register of the wgmma"},
        {ZEROS FENCES "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f10,%f11,%f12,%f13}, "
                      "%rd8, %rd8, 1, 1, 1, 0, 0;" COMMIT WAIT_ALL,
         "has not been written"},
        // Lanes, warps and descriptors that differ.
        {ZEROS FENCES "setp.lt.u32 %p1, %r0, 96; @%p1 wgmma.fence.sync.aligned;",
         "others of its warpgroup do"},
        {ZEROS FENCES "setp.lt.u32 %p1, %r0, 32; @%p1 bra X;" MULTIPLY COMMIT WAIT_ALL
                      "bra.uni Y; X: " COMMIT "Y:",
         "another warp of the warpgroup"},
        {ZEROS FENCES "setp.lt.u32 %p1, %r0, 7; @%p1 wgmma.fence.sync.aligned;",
         "needs all 128 threads"},
        {ZEROS FENCES "@%p0 add.u64 %rd8, %rd8, 1;" MULTIPLY COMMIT WAIT_ALL,
         "differs between the lanes"},
        {ZEROS FENCES
         "setp.lt.u32 %p1, %r0, 32; @%p1 add.u64 %rd8, %rd8, 8;" MULTIPLY COMMIT WAIT_ALL,
         "the warps of the warpgroup give"},
        {ZEROS FENCES "or.b64 %rd8, %rd8, 0x4000;" MULTIPLY COMMIT WAIT_ALL,
         "has bits where none may be"},
        // The stride leads to where nothing was written, or nothing is.
        {ZEROS FENCES "or.b64 %rd8, %rd8, 0x80000000000;" MULTIPLY COMMIT WAIT_ALL,
         "which nothing has written"},
        {ZEROS FENCES "or.b64 %rd8, %rd8, 0x300000000000;" MULTIPLY COMMIT WAIT_ALL,
         "shared address"},
    };
    CHECK_BROKEN(snippets, 128);
    static const broken few[] = {
        {ZEROS FENCES, "needs all 128 threads"},
    };
    CHECK_BROKEN(few, 96);
}

// ---- products of bytes -------------------------------------------------------------------------------------------------------------------------

typedef struct byte_form {
    const char *form;
    int type_of_a, type_of_b; // 0 e4m3, 1 e5m2, 2 s8, 3 u8
    uint32_t n_k;
    bool is_f16;
} byte_form;

static uint8_t byte_of(int type, float value) {
    switch (type) {
    case 0: return ir_f32_to_f8e4m3(value);
    case 1: return ir_f32_to_f8e5m2(value);
    case 2: return (uint8_t)(int8_t)(value * 9);
    default: return (uint8_t)(value * 9 + 60);
    }
}

static float value_of(int type, float value) {
    return type < 2 ? value : type == 2 ? value * 9 : value * 9 + 60;
}

// mma.sync: lane (g, t) holds A's rows g and g + 8, k 4t … 4t + 3 (+ 16), B's column g and the same k, D's columns 2t, 2t + 1.
static void check_bytes(const byte_form *at) {
    uint8_t *in = (uint8_t *)data.in;
    const uint32_t n_a = at->n_k / 8, n_b = n_a / 2, n_c = at->is_f16 ? 2 : 4;
    mlcc_str text = {0};
    fill_words();
    memset(in, 0, 32 * 64);
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t i = 0; i < 4 * (n_a + n_b); i++) {
            const bool is_a = i < 4 * n_a;
            const uint32_t r = is_a ? i / 4 : i / 4 - n_a;
            const uint32_t k = 4 * (lane % 4) + i % 4 + 16 * (is_a ? r / 2 : r);
            const uint32_t row = lane / 4 + (is_a ? 8 * (r % 2) : 0);
            in[lane * 64 + i] =
                byte_of(is_a ? at->type_of_a : at->type_of_b, value_at(is_a ? 1 : 2, row, k));
        }
    mlcc_str_puts(
        &text, "shl.b32 %r6, %r0, 6; cvt.u64.u32 %rd5, %r6; add.s64 %rd6, %rd0, %rd5; shl.b32 %r6, "
               "%r0, 4; cvt.u64.u32 %rd5, %r6; add.s64 %rd7, %rd1, %rd5;");
    for (uint32_t i = 0; i < n_a + n_b; i++)
        mlcc_str_printf(&text, "ld.global.u32 %%r%u, [%%rd6+%u];", 20 + i, 4 * i);
    mlcc_str_puts(&text, "mov.u32 %r10, 0; mov.u32 %r11, 0; mov.u32 %r12, 0; mov.u32 %r13, 0;");
    mlcc_str_printf(&text, "mma.sync.aligned.%s ", at->form);
    for (int vector = 0; vector < 4; vector++) {
        const uint32_t n = vector == 1   ? n_a
                           : vector == 2 ? n_b
                                         : n_c,
                       first = vector == 1   ? 20
                               : vector == 2 ? 20 + n_a
                                             : 10;
        mlcc_str_puts(&text, vector == 0 ? "{" : ", {");
        for (uint32_t i = 0; i < n; i++)
            mlcc_str_printf(&text, "%s%%r%u", i == 0 ? "" : ",", first + i);
        mlcc_str_puts(&text, "}");
    }
    mlcc_str_puts(&text, "; st.global.v4.u32 [%rd7], {%r10,%r11,%r12,%r13};");
    run_well(text.data, 32);
    mlcc_str_free(&text);
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t m = lane / 4 + 8 * (i / 2), n = 2 * (lane % 4) + i % 2;
            float expected = 0;
            for (uint32_t k = 0; k < at->n_k; k++)
                expected += value_of(at->type_of_a, value_at(1, m, k)) *
                            value_of(at->type_of_b, value_at(2, n, k));
            const uint32_t word = data.out[lane * 4 + (at->is_f16 ? i / 2 : i)];
            const float found = at->is_f16          ? ptx_from_f16((uint16_t)(word >> 16 * (i % 2)))
                                : at->type_of_a < 2 ? ptx_float(word)
                                                    : (float)(int32_t)word;
            if (found != expected)
                fail_msg(
                    "%s: row %u, column %u is %g, expected %g", at->form, m, n, (double)found,
                    (double)expected);
        }
}

static void test_byte_products(void **state) {
    (void)state;
    static const byte_form forms[] = {
        {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 0, 0, 32, false},
        {"m16n8k32.row.col.f32.e4m3.e5m2.f32", 0, 1, 32, false},
        {"m16n8k32.row.col.f32.e5m2.e4m3.f32", 1, 0, 32, false},
        {"m16n8k32.row.col.f32.e5m2.e5m2.f32", 1, 1, 32, false},
        {"m16n8k16.row.col.f32.e4m3.e5m2.f32", 0, 1, 16, false},
        {"m16n8k32.row.col.f16.e4m3.e4m3.f16", 0, 0, 32, true},
        {"m16n8k16.row.col.f16.e5m2.e4m3.f16", 1, 0, 16, true},
        {"m16n8k32.row.col.s32.s8.s8.s32", 2, 2, 32, false},
        {"m16n8k32.row.col.satfinite.s32.s8.u8.s32", 2, 3, 32, false},
        {"m16n8k16.row.col.s32.u8.s8.s32", 3, 2, 16, false},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) check_bytes(&forms[i]);
    // Sums of integers go round, or stay at the end of their range.
    static const char *const bodies[] = {"", ".satfinite"};
    for (int i = 0; i < 2; i++) {
        mlcc_str text = {0};
        mlcc_str_printf(
            &text,
            "mov.u32 %%r6, 0x7fffffff; mov.u32 %%r7, 0x01010101; "
            "mma.sync.aligned.m16n8k32.row.col%s.s32.s8.s8.s32 "
            "{%%r8,%%r9,%%r10,%%r11}, {%%r7,%%r7,%%r7,%%r7}, {%%r7,%%r7}, {%%r6,%%r6,%%r6,%%r6}; "
            "st.global.u32 [%%rd4], %%r8;",
            bodies[i]);
        run_well(text.data, 32);
        mlcc_str_free(&text);
        assert_int_equal(data.out[5], i == 0 ? 0x8000001fu : 0x7fffffffu);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wgmma),
        cmocka_unit_test(test_broken_wgmma),
        cmocka_unit_test(test_byte_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
