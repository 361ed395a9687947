// The PTX interpreter: every family of instructions against values worked out by hand, and every check against a snippet that breaks its rule.
#include "tests/support/ptx/ptx.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER ".version 8.0\n.target sm_80\n.address_size 64\n"

static const ptx_function *load_kernel(const char *text, ptx_module **module) {
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_load(text, strlen(text), module);
    if (status == NULL) status = ptx_module_function(*module, "k", &function);
    if (status != NULL) fail_msg("%s\n%s", mlcc_status_message(status), text);
    return function;
}

// Launches kernel `k` with params {in, out}; `in` and `out` are registered. What went wrong, to be freed.
static mlcc_status *run_text(
    const char *text, ptx_shape shape, void *in, size_t in_bytes, void *out, size_t out_bytes,
    const ptx_options *options) {
    ptx_module *module = NULL;
    const ptx_function *function = load_kernel(text, &module);
    ptx_memory *memory = ptx_memory_create();
    const uint64_t params[2] = {(uint64_t)(uintptr_t)in, (uint64_t)(uintptr_t)out};
    ptx_memory_add(memory, in, in_bytes, "in");
    ptx_memory_add(memory, out, out_bytes, "out");
    mlcc_status *status = ptx_launch(function, &shape, params, sizeof params, memory, options);
    ptx_memory_free(memory);
    ptx_module_free(module);
    return status;
}

// ---- one instruction ---------------------------------------------------------------------------------------------------------------------------

// %a %b %c (b32), %A %B %C (b64), %ha %hb %hc (b16: low halves) hold the inputs; the result is %d with %e above it, or %D moved there.
typedef struct snippet {
    const char *body;
    uint64_t a, b, c, expected;
} snippet;

#define INPUTS \
    HEADER \
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n" \
    ".reg .pred %p<4>;\n.reg .b16 %ha, %hb, %hc, %hd, %h<8>;\n" \
    ".reg .b32 %a, %b, %c, %d, %e, %t, %r<16>;\n.reg .b64 %A, %B, %C, %D, %in, %out, %rd<8>;\n" \
    "ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\n" \
    "mov.u32 %t, %tid.x;\nmul.wide.u32 %rd0, %t, 8;\nadd.s64 %out, %out, %rd0;\n" \
    "ld.global.u64 %A, [%in];\nld.global.u64 %B, [%in+8];\nld.global.u64 %C, [%in+16];\n" \
    "cvt.u32.u64 %a, %A;\ncvt.u32.u64 %b, %B;\ncvt.u32.u64 %c, %C;\n" \
    "cvt.u16.u32 %ha, %a;\ncvt.u16.u32 %hb, %b;\ncvt.u16.u32 %hc, %c;\nmov.u32 %e, 0;\n"
#define OUTPUTS "\nst.global.v2.u32 [%out], {%d, %e};\nret;\n}\n"
#define WIDE    "mov.b64 {%d,%e}, %D;"
#define HALF    "cvt.u32.u16 %d, %hd;"
#define BOOL    "selp.u32 %d, 1, 0, %p0;"

static void check_snippets(const snippet *snippets, size_t n_snippets) {
    for (size_t i = 0; i < n_snippets; i++) {
        mlcc_str text = {0};
        uint64_t in[3] = {snippets[i].a, snippets[i].b, snippets[i].c}, out[32] = {0};
        mlcc_str_printf(&text, "%s%s%s", INPUTS, snippets[i].body, OUTPUTS);
        const ptx_shape shape = {{1, 1, 1}, {32, 1, 1}, 0};
        mlcc_status *status = run_text(text.data, shape, in, sizeof in, out, sizeof out, NULL);
        if (status != NULL) fail_msg("%s: %s", snippets[i].body, mlcc_status_message(status));
        for (int lane = 0; lane < 32; lane++)
            if (out[lane] != snippets[i].expected)
                fail_msg(
                    "%s: lane %d gives 0x%llx, expected 0x%llx", snippets[i].body, lane,
                    (unsigned long long)out[lane], (unsigned long long)snippets[i].expected);
        mlcc_str_free(&text);
    }
}
#define CHECK(table) check_snippets(table, sizeof table / sizeof table[0])

#define MINUS(x) ((uint32_t)(0u - (x)))

// clang-format off
static void test_integers(void **state) {
    (void)state;
    static const snippet snippets[] = {
        {"add.s32 %d, %a, %b;", 7, MINUS(9), 0, MINUS(2)}, {"sub.u32 %d, %a, -1;", 7, 0, 0, 8},
        {"add.s64 %D, %A, %B;" WIDE, 0xffffffffu, 1, 0, 0x100000000u}, {"sub.s16 %hd, %ha, %hb;" HALF, 1, 2, 0, 0xffff},
        {"add.sat.s32 %d, %a, %b;", 0x7fffffff, 5, 0, 0x7fffffff},
        {"mul.lo.s32 %d, %a, %b;", 0x10001, 0x10001, 0, 0x20001}, {"mul.hi.u32 %d, %a, %b;", 0x80000000u, 6, 0, 3},
        {"mul.hi.s32 %d, %a, %b;", MINUS(2), 3, 0, 0xffffffffu}, {"mul.wide.s32 %D, %a, %b;" WIDE, MINUS(2), 3, 0, 0xfffffffffffffffau},
        {"mul.wide.u32 %D, %a, %b;" WIDE, 0xffffffffu, 2, 0, 0x1fffffffeu}, {"mul.wide.u16 %d, %ha, %hb;", 0xffff, 0xffff, 0, 0xfffe0001u},
        {"mul.hi.u64 %D, %A, %B;" WIDE, (uint64_t)1 << 63, 4, 0, 2}, {"mad.lo.s32 %d, %a, %b, %c;", 3, 4, 5, 17},
        {"mad.wide.s32 %D, %a, %b, %C;" WIDE, MINUS(1), 1, 0, UINT64_MAX}, {"mad.hi.u32 %d, %a, %b, %c;", 0x80000000u, 2, 9, 10},
        {"div.s32 %d, %a, %b;", MINUS(7), 2, 0, MINUS(3)}, {"rem.s32 %d, %a, %b;", MINUS(7), 2, 0, MINUS(1)},
        {"div.u32 %d, %a, %b;", MINUS(7), 2, 0, 0x7ffffffc}, {"div.u64 %D, %A, %B;" WIDE, 100, 7, 0, 14}, {"rem.u64 %D, %A, %B;" WIDE, 100, 7, 0, 2},
        {"div.s32 %d, %a, %b;", 0x80000000u, 0xffffffffu, 0, 0x80000000u}, {"div.u32 %d, %a, %b;", 5, 0, 0, 0xffffffffu},
        {"abs.s32 %d, %a;", MINUS(7), 0, 0, 7}, {"neg.s32 %d, %a;", 7, 0, 0, MINUS(7)},
        {"min.s32 %d, %a, %b;", MINUS(7), 2, 0, MINUS(7)}, {"min.u32 %d, %a, %b;", MINUS(7), 2, 0, 2},
        {"max.s32 %d, %a, %b;", MINUS(7), 2, 0, 2}, {"max.u64 %D, %A, %B;" WIDE, 9, 10, 0, 10},
        {"dp4a.s32.s32 %d, %a, %b, %c;", 0xff020304u, 0x01010101, 10, 18}, {"dp4a.u32.u32 %d, %a, %b, %c;", 0xff020304u, 0x01010101, 10, 274},
    };
    CHECK(snippets);
}

static void test_bits(void **state) {
    (void)state;
    static const snippet snippets[] = {
        {"and.b32 %d, %a, %b;", 0xff00ff00u, 0x0ff00ff0, 0, 0x0f000f00}, {"or.b32 %d, %a, 3;", 4, 0, 0, 7}, {"xor.b64 %D, %A, %B;" WIDE, 5, 6, 0, 3},
        {"not.b32 %d, %a;", 0, 0, 0, 0xffffffffu}, {"cnot.b32 %d, %a;", 0, 0, 0, 1}, {"and.b16 %hd, %ha, %hb;" HALF, 0xf0f0, 0xff, 0, 0xf0},
        {"shl.b32 %d, %a, %b;", 1, 31, 0, 0x80000000u}, {"shl.b32 %d, %a, %b;", 1, 32, 0, 0}, {"shl.b64 %D, %A, %b;" WIDE, 1, 40, 0, (uint64_t)1 << 40},
        {"shr.u32 %d, %a, %b;", 0x80000000u, 31, 0, 1}, {"shr.s32 %d, %a, %b;", 0x80000000u, 40, 0, 0xffffffffu}, {"shr.s64 %D, %A, %b;" WIDE, UINT64_MAX << 8, 8, 0, UINT64_MAX},
        {"shf.l.wrap.b32 %d, %a, %b, %c;", 0x80000001u, 0x2, 33, 5}, {"shf.r.clamp.b32 %d, %a, %b, %c;", 0x80000001u, 0x2, 40, 2}, {"shf.r.wrap.b32 %d, %a, %b, %c;", 0x10, 0x3, 4, 0x30000001},
        {"prmt.b32 %d, %a, %b, 0x5410;", 0x33221100, 0x77665544, 0, 0x55441100}, {"prmt.b32 %d, %a, %b, %c;", 0x80221100, 0x77665544, 0x7b63, 0x77ff6680u},
        {"lop3.b32 %d, %a, %b, %c, 0xea;", 0xf0f0, 0xff00, 0x000f, 0xf00f}, {"lop3.b32 %d, %a, %b, %c, 0x96;", 1, 2, 4, 7}, {"lop3.b32 %d, %a, %b, %c, 0x01;", 0xff, 0xff00, 0xff0000, 0xff000000u},
        {"bfe.u32 %d, %a, 8, 8;", 0x12345678, 0, 0, 0x56}, {"bfe.s32 %d, %a, 4, 4;", 0x80, 0, 0, MINUS(8)}, {"bfe.s32 %d, %a, 28, 8;", 0x80000000u, 0, 0, MINUS(8)}, {"bfe.u32 %d, %a, 8, 0;", 0xffff, 0, 0, 0},
        {"bfi.b32 %d, %a, %b, 8, 8;", 0xab, 0xffffffffu, 0, 0xffffabffu}, {"bfi.b64 %D, %A, %B, 32, 8;" WIDE, 0x1ff, 0, 0, 0xff00000000u},
        {"bfind.u32 %d, %a;", 0x10, 0, 0, 4}, {"bfind.s32 %d, %a;", MINUS(1), 0, 0, 0xffffffffu}, {"bfind.shiftamt.u32 %d, %a;", 0x10, 0, 0, 27}, {"bfind.u64 %d, %A;", (uint64_t)1 << 40, 0, 0, 40},
        {"clz.b32 %d, %a;", 1, 0, 0, 31}, {"clz.b64 %d, %A;", 0, 0, 0, 64}, {"popc.b32 %d, %a;", 0xf1, 0, 0, 5}, {"popc.b64 %d, %A;", UINT64_MAX, 0, 0, 64},
        {"brev.b32 %d, %a;", 1, 0, 0, 0x80000000u}, {"brev.b64 %D, %A;" WIDE, 1, 0, 0, (uint64_t)1 << 63},
        {"mov.b32 {%h0,%h1}, %a; mov.b32 %d, {%h1,%h0};", 0x12345678, 0, 0, 0x56781234}, {"mov.b64 {_,%d}, %A;", (uint64_t)9 << 32, 0, 0, 9},
        {"mov.b64 %D, {%h0,%h1,%h0,%h1};" WIDE, 0, 0, 0, 0}, {"mov.u32 %d, WARP_SZ;", 0, 0, 0, 32}, {"mov.f32 %d, 0f3F800000;", 0, 0, 0, 0x3f800000}, {"mov.f32 %d, 1.5;", 0, 0, 0, 0x3fc00000},
    };
    // The pack of four needs its registers set first.
    snippet fixed[sizeof snippets / sizeof snippets[0]];
    memcpy(fixed, snippets, sizeof snippets);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (strstr(fixed[i].body, "{%h0,%h1,%h0,%h1}") != NULL)
            fixed[i] = (snippet){"mov.u16 %h0, 1; mov.u16 %h1, 2; mov.b64 %D, {%h0,%h1,%h0,%h1};" WIDE, 0, 0, 0, 0x0002000100020001u};
    CHECK(fixed);
}

#define ONE   0x3f800000u
#define TWO   0x40000000u
#define THREE 0x40400000u
#define NAN32 0x7fffffffu
#define INF32 0x7f800000u

static void test_floats(void **state) {
    (void)state;
    static const snippet snippets[] = {
        {"add.f32 %d, %a, %b;", ONE, TWO, 0, THREE}, {"sub.ftz.f32 %d, %a, %b;", THREE, TWO, 0, ONE}, {"mul.rn.f32 %d, %a, %b;", TWO, THREE, 0, 0x40c00000},
        {"add.ftz.f32 %d, %a, %b;", 1, 2, 0, 0}, {"add.f32 %d, %a, %b;", 1, 2, 0, 3}, {"mul.ftz.f32 %d, %a, 0fBF800000;", 1, 0, 0, 0x80000000u}, {"add.sat.f32 %d, %a, %b;", ONE, TWO, 0, ONE},
        {"fma.rn.f32 %d, %a, %b, %c;", 0x3f800001, 0x3f800001, 0xbf800002u, 0x28800000}, {"fma.rn.ftz.f32 %d, %a, %b, %c;", TWO, TWO, 0xbf800000u, THREE},
        {"add.rz.f32 %d, %a, %b;", ONE, 0xb0000000u, 0, 0x3f7fffff}, {"add.rp.f32 %d, %a, %b;", ONE, 0x30000000, 0, 0x3f800001}, {"fma.rm.f32 %d, %a, %b, %c;", ONE, ONE, 0xb0000000u, 0x3f7fffff},
        {"mul.rz.f32 %d, %a, %b;", 0x3f800001, 0x3f800001, 0, 0x3f800002}, {"sub.rm.f32 %d, %a, %b;", ONE, ONE, 0, 0},
        {"div.rn.f32 %d, %a, %b;", ONE, THREE, 0, 0x3eaaaaab}, {"div.approx.ftz.f32 %d, %a, %b;", THREE, ONE, 0, THREE}, {"rcp.approx.f32 %d, %a;", TWO, 0, 0, 0x3f000000},
        {"sqrt.rn.f32 %d, %a;", 0x40800000, 0, 0, TWO}, {"rsqrt.approx.ftz.f32 %d, %a;", 0x40800000, 0, 0, 0x3f000000}, {"ex2.approx.ftz.f32 %d, %a;", THREE, 0, 0, 0x41000000},
        {"lg2.approx.f32 %d, %a;", 0x41000000, 0, 0, THREE}, {"sin.approx.f32 %d, %a;", 0, 0, 0, 0}, {"cos.approx.f32 %d, %a;", 0, 0, 0, ONE}, {"tanh.approx.f32 %d, %a;", 0, 0, 0, 0},
        {"min.f32 %d, %a, %b;", ONE, NAN32, 0, ONE}, {"max.NaN.f32 %d, %a, %b;", ONE, 0x7fc00000, 0, NAN32}, {"max.f32 %d, %a, %b;", 0x80000000u, 0, 0, 0},
        {"abs.f32 %d, %a;", 0xbf800000u, 0, 0, ONE}, {"neg.f32 %d, %a;", ONE, 0, 0, 0xbf800000u}, {"copysign.f32 %d, %a, %b;", 0x80000000u, ONE, 0, 0xbf800000u},
        {"testp.infinite.f32 %p0, %a;" BOOL, INF32, 0, 0, 1}, {"testp.notanumber.f32 %p0, %a;" BOOL, INF32, 0, 0, 0}, {"testp.subnormal.f32 %p0, %a;" BOOL, 5, 0, 0, 1},
        {"add.f64 %D, %A, 0d3FF0000000000000;" WIDE, 0x3ff0000000000000u, 0, 0, 0x4000000000000000u}, {"fma.rn.f64 %D, %A, %B, %C;" WIDE, 0x4000000000000000u, 0x4000000000000000u, 0, 0x4010000000000000u},
        {"add.f16x2 %d, %a, %b;", 0x3c004000, 0x3c003c00, 0, 0x40004200}, {"sub.f16x2 %d, %a, %b;", 0x64076408, 0x64076407, 0, 0x00003c00}, {"mul.f16x2 %d, %a, %b;", 0x40003c00, 0x40004000, 0, 0x44004000},
        {"fma.rn.f16x2 %d, %a, %b, %c;", 0x40003c00, 0x40004000, 0xbc00bc00u, 0x42003c00}, {"fma.rn.relu.f16x2 %d, %a, %b, %c;", 0x40003c00, 0x40004000, 0xc800c800u, 0},
        {"fma.rn.f16 %hd, %ha, %hb, %hc;" HALF, 0x3c01, 0x3c01, 0xbc02, 0x0010}, {"add.f16 %hd, %ha, %hb;" HALF, 0x7bff, 0x7bff, 0, 0x7c00}, {"max.f16x2 %d, %a, %b;", 0x3c004000, 0x40003c00, 0, 0x40004000},
        {"min.bf16x2 %d, %a, %b;", 0x3f804000, 0x40003f80, 0, 0x3f803f80}, {"fma.rn.bf16x2 %d, %a, %b, %c;", 0x40003f80, 0x40004000, 0x3f803f80, 0x40a04040}, {"add.bf16 %hd, %ha, %hb;" HALF, 0x3f80, 0x3f80, 0, 0x4000},
        {"neg.f16x2 %d, %a;", 0x3c00bc00, 0, 0, 0xbc003c00u}, {"abs.bf16x2 %d, %a;", 0xbf80bf80u, 0, 0, 0x3f803f80}, {"ex2.approx.f16x2 %d, %a;", 0x40003c00, 0, 0, 0x44004000}, {"tanh.approx.f16 %hd, %ha;" HALF, 0, 0, 0, 0},
    };
    CHECK(snippets);
}

static void test_conversions(void **state) {
    (void)state;
    static const snippet snippets[] = {
        {"cvt.f32.f16 %d, %ha;", 0x3c00, 0, 0, ONE}, {"cvt.f32.f16 %d, %ha;", 0x0001, 0, 0, 0x33800000}, {"cvt.f32.f16 %d, %ha;", 0xfc00, 0, 0, 0xff800000u}, {"cvt.f32.bf16 %d, %ha;", 0x3f80, 0, 0, ONE},
        {"cvt.rn.f16.f32 %hd, %a;" HALF, 0x3f802000, 0, 0, 0x3c01}, {"cvt.rn.f16.f32 %hd, %a;" HALF, 0x3f801000, 0, 0, 0x3c00}, {"cvt.rn.f16.f32 %hd, %a;" HALF, 0x477ff000, 0, 0, 0x7c00},
        {"cvt.rn.f16.f32 %hd, %a;" HALF, 0x33800000, 0, 0, 1}, {"cvt.rn.f16.f32 %hd, %a;" HALF, 0x33000000, 0, 0, 0}, {"cvt.rn.f16.f32 %hd, %a;" HALF, NAN32, 0, 0, 0x7fff}, {"cvt.rz.f16.f32 %hd, %a;" HALF, 0x3f803fff, 0, 0, 0x3c01},
        {"cvt.rn.bf16.f32 %hd, %a;" HALF, 0x3f818000, 0, 0, 0x3f82}, {"cvt.rn.f16x2.f32 %d, %a, %b;", ONE, TWO, 0, 0x3c004000}, {"cvt.rn.bf16x2.f32 %d, %a, %b;", ONE, TWO, 0, 0x3f804000}, {"cvt.rn.relu.f16x2.f32 %d, %a, %b;", 0xbf800000u, TWO, 0, 0x4000},
        {"cvt.rn.satfinite.e4m3x2.f32 %hd, %a, %b;" HALF, ONE, 0x47000000, 0, 0x387e}, {"cvt.rn.satfinite.e5m2x2.f32 %hd, %a, %b;" HALF, ONE, 0xbf800000u, 0, 0x3cbc}, {"cvt.rn.f16x2.e4m3x2 %d, %ha;", 0x38b8, 0, 0, 0x3c00bc00},
        {"cvt.rn.satfinite.e4m3x2.f16x2 %hd, %a;" HALF, 0x3c00bc00, 0, 0, 0x38b8}, {"cvt.rn.f16x2.e5m2x2 %d, %ha;", 0x3cbc, 0, 0, 0x3c00bc00},
        {"cvt.rn.f32.s32 %d, %a;", MINUS(2), 0, 0, 0xc0000000u}, {"cvt.rn.f32.u32 %d, %a;", 0xffffffffu, 0, 0, 0x4f800000}, {"cvt.rz.f32.u32 %d, %a;", 0xffffffffu, 0, 0, 0x4f7fffff}, {"cvt.rn.f32.u64 %d, %A;", 3, 0, 0, THREE},
        {"cvt.rzi.s32.f32 %d, %a;", 0xc0200000u, 0, 0, MINUS(2)}, {"cvt.rni.s32.f32 %d, %a;", 0x40200000, 0, 0, 2}, {"cvt.rmi.s32.f32 %d, %a;", 0xc0200000u, 0, 0, MINUS(3)}, {"cvt.rpi.s32.f32 %d, %a;", 0x40200000, 0, 0, 3},
        {"cvt.rzi.u32.f32 %d, %a;", 0xbf800000u, 0, 0, 0}, {"cvt.rzi.s32.f32 %d, %a;", 0x4f800000, 0, 0, 0x7fffffff}, {"cvt.rzi.s32.f32 %d, %a;", NAN32, 0, 0, 0}, {"cvt.rni.f32.f32 %d, %a;", 0x40200000, 0, 0, TWO}, {"cvt.sat.f32.f32 %d, %a;", THREE, 0, 0, ONE},
        {"cvt.s64.s32 %D, %a;" WIDE, MINUS(1), 0, 0, UINT64_MAX}, {"cvt.u64.u32 %D, %a;" WIDE, MINUS(1), 0, 0, 0xffffffffu}, {"cvt.s32.s8 %d, %a;", 0x180, 0, 0, MINUS(128)}, {"cvt.u32.u8 %d, %a;", 0x180, 0, 0, 0x80},
        {"cvt.s16.s8 %hd, %ha;" HALF, 0x80, 0, 0, 0xff80}, {"cvt.sat.s8.s32 %d, %a;", 300, 0, 0, 127}, {"cvt.sat.u8.s32 %d, %a;", MINUS(5), 0, 0, 0}, {"cvt.f64.f32 %D, %a;" WIDE, ONE, 0, 0, 0x3ff0000000000000u}, {"cvt.rn.f32.f64 %d, %A;", 0x3ff0000000000000u, 0, 0, ONE},
    };
    CHECK(snippets);
}

static void test_comparisons(void **state) {
    (void)state;
    static const snippet snippets[] = {
        {"setp.lt.s32 %p0, %a, %b;" BOOL, MINUS(1), 0, 0, 1}, {"setp.lt.u32 %p0, %a, %b;" BOOL, MINUS(1), 0, 0, 0}, {"setp.ge.s64 %p0, %A, %B;" BOOL, 5, 5, 0, 1}, {"setp.hi.u32 %p0, %a, %b;" BOOL, 2, 1, 0, 1}, {"setp.ne.b32 %p0, %a, 0;" BOOL, 2, 0, 0, 1},
        {"setp.eq.s16 %p0, %ha, %hb;" BOOL, 5, 5, 0, 1}, {"setp.eq.f32 %p0, %a, %b;" BOOL, 0x80000000u, 0, 0, 1}, {"setp.lt.f32 %p0, %a, %b;" BOOL, ONE, NAN32, 0, 0}, {"setp.ltu.f32 %p0, %a, %b;" BOOL, ONE, NAN32, 0, 1},
        {"setp.neu.f32 %p0, %a, %b;" BOOL, NAN32, NAN32, 0, 1}, {"setp.ne.f32 %p0, %a, %b;" BOOL, NAN32, NAN32, 0, 0}, {"setp.num.f32 %p0, %a, %b;" BOOL, ONE, TWO, 0, 1}, {"setp.nan.f32 %p0, %a, %b;" BOOL, ONE, TWO, 0, 0},
        {"setp.eq.ftz.f32 %p0, %a, %b;" BOOL, 1, 0, 0, 1}, {"setp.gt.f16 %p0, %ha, %hb;" BOOL, 0x4000, 0x3c00, 0, 1}, {"setp.gt.f64 %p0, %A, %B;" BOOL, 0x4000000000000000u, 0x3ff0000000000000u, 0, 1},
        {"setp.eq.s32 %p1, %a, %b; setp.lt.and.s32 %p0, %a, %c, !%p1;" BOOL, 1, 2, 3, 1}, {"setp.eq.s32 %p0|%p1, %a, %b; selp.u32 %d, 1, 0, %p1;", 1, 2, 0, 1},
        {"mov.pred %p1, -1; mov.pred %p2, 0; and.pred %p0, %p1, %p2;" BOOL, 0, 0, 0, 0}, {"mov.pred %p1, -1; not.pred %p0, %p1;" BOOL, 0, 0, 0, 0},
        {"set.lt.u32.s32 %d, %a, %b;", 1, 2, 0, 0xffffffffu}, {"set.lt.f32.s32 %d, %a, %b;", 1, 2, 0, ONE}, {"setp.ne.s32 %p1, %a, 0; selp.b64 %D, %A, %B, %p1;" WIDE, 7, 8, 0, 7},
        {"mov.u32 %d, 1; setp.eq.s32 %p0, %a, %b; @%p0 mov.u32 %d, 2; @!%p0 mov.u32 %d, 3;", 1, 2, 0, 3}, {"{ .reg .pred %p0; .reg .b32 %a; mov.u32 %a, 4; mov.u32 %d, %a; } add.u32 %d, %d, %a;", 1, 0, 0, 5},
        {"mov.u32 %d, 0; LOOP: add.u32 %d, %d, %a; setp.lt.u32 %p0, %d, 100; @%p0 bra LOOP;", 7, 0, 0, 105}, {"bra.uni SKIP; mov.u32 %d, 1; SKIP: mov.u32 %d, 2;", 0, 0, 0, 2},
    };
    CHECK(snippets);
}
// clang-format on

// ---- lanes -------------------------------------------------------------------------------------------------------------------------------------

typedef uint64_t lane_function(uint32_t lane);

static void check_lanes(const char *body, lane_function *expected) {
    mlcc_str text = {0};
    uint64_t in[3] = {0}, out[32] = {0};
    mlcc_str_printf(&text, "%s%s%s", INPUTS, body, OUTPUTS);
    const ptx_shape shape = {{1, 1, 1}, {32, 1, 1}, 0};
    mlcc_status *status = run_text(text.data, shape, in, sizeof in, out, sizeof out, NULL);
    if (status != NULL) fail_msg("%s: %s", body, mlcc_status_message(status));
    for (uint32_t lane = 0; lane < 32; lane++)
        if (out[lane] != expected(lane))
            fail_msg(
                "%s: lane %u gives %llu, expected %llu", body, lane, (unsigned long long)out[lane],
                (unsigned long long)expected(lane));
    mlcc_str_free(&text);
}

static uint64_t lane_xor_5(uint32_t lane) {
    return lane ^ 5u;
}
static uint64_t lane_three(uint32_t lane) {
    return (void)lane, 3;
}
static uint64_t lane_up_2(uint32_t lane) {
    return lane >= 2 ? lane - 2 : lane + ((uint64_t)1 << 32);
}
static uint64_t lane_down_8(uint32_t lane) {
    return lane % 16 < 8 ? lane + 8 : lane;
}
static uint64_t lane_sum(uint32_t lane) {
    return (void)lane, 496;
}
static uint64_t lane_odd(uint32_t lane) {
    return (void)lane, 0xaaaaaaaau;
}
static uint64_t lane_same_parity(uint32_t lane) {
    return lane % 2 != 0 ? 0xaaaaaaaau : 0x55555555u;
}
static uint64_t lane_path(uint32_t lane) {
    return lane < 5 ? 110 : lane < 9 ? 120 : 130;
}
static uint64_t lane_low_half(uint32_t lane) {
    return lane < 16 ? 0xffffu : 0xffff0000u;
}
static uint64_t lane_below(uint32_t lane) {
    return ((uint64_t)1 << lane) - 1;
}
static uint64_t lane_steps(uint32_t lane) {
    return lane * (lane + 1) / 2;
}

static void test_warp(void **state) {
    (void)state;
    check_lanes("shfl.sync.bfly.b32 %d, %t, 5, 31, -1;", lane_xor_5);
    check_lanes("shfl.sync.idx.b32 %d, %t, 3, 0x1f, 0xffffffff;", lane_three);
    check_lanes("shfl.sync.up.b32 %d|%p0, %t, 2, 0, -1; selp.u32 %e, 0, 1, %p0;", lane_up_2);
    check_lanes("shfl.sync.down.b32 %d, %t, 8, 0x100f, -1;", lane_down_8);
    check_lanes("redux.sync.add.u32 %d, %t, -1;", lane_sum);
    check_lanes(
        "and.b32 %r0, %t, 1; setp.ne.u32 %p0, %r0, 0; vote.sync.ballot.b32 %d, %p0, -1;", lane_odd);
    check_lanes("and.b32 %r0, %t, 1; match.any.sync.b32 %d, %r0, -1;", lane_same_parity);
    check_lanes(
        "setp.lt.u32 %p0, %t, 5; setp.lt.u32 %p1, %t, 9; @%p0 bra A; @%p1 bra B; mov.u32 %r0, 30;"
        "bra.uni END; B: mov.u32 %r0, 20; bra.uni END; A: mov.u32 %r0, 10; END:"
        "shfl.sync.idx.b32 %r1, %r0, 31, 31, -1; setp.ne.u32 %p2, %r1, 30; @%p2 trap;"
        "add.u32 %d, %r0, 100;",
        lane_path);
    check_lanes(
        "setp.lt.u32 %p0, %t, 16; @%p0 bra L; activemask.b32 %d; bra.uni J; L: activemask.b32 %d; "
        "J:",
        lane_low_half);
    check_lanes("mov.u32 %d, %lanemask_lt;", lane_below);
    // A loop that lanes leave at different times.
    check_lanes(
        "mov.u32 %d, 0; mov.u32 %r0, 0; N: add.u32 %d, %d, %r0; add.u32 %r0, %r0, 1;"
        "setp.le.u32 %p0, %r0, %t; @%p0 bra N;",
        lane_steps);
    check_lanes(
        "mov.pred %p1, -1; vote.sync.all.pred %p0, %p1, -1; selp.u32 %d, 3, 0, %p0;", lane_three);
}

// ---- memory ------------------------------------------------------------------------------------------------------------------------------------

#define BLOCK_KERNEL \
    HEADER \
    ".extern .shared .align 128 .b8 dyn[];\n" \
    ".const .align 4 .b32 table[4] = {5, 6, 7, 0xffffffff};\n" \
    ".global .align 8 .u64 pointer = generic(table)+4;\n" \
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n" \
    ".local .align 8 .b8 depot[32];\n.shared .align 16 .b8 fixed[512];\n" \
    ".reg .pred %p<8>;\n.reg .b16 %h<8>;\n.reg .b32 %r<32>;\n.reg .b64 %rd<32>;\n" \
    "ld.param.u64 %rd0, [in];\nld.param.u64 %rd1, [out];\nmov.u32 %r0, %tid.x;\n" \
    "mul.wide.u32 %rd2, %r0, 4;\nadd.s64 %rd3, %rd0, %rd2;\nadd.s64 %rd4, %rd1, %rd2;\n" \
    "mov.u32 %r1, fixed;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r3, %r1, %r2;\nmov.u32 %r30, dyn;\n" \
    "shl.b32 %r4, %r0, 4;\nadd.s32 %r5, %r30, %r4;\nmul.wide.u32 %rd5, %r0, 16;\n" \
    "add.s64 %rd6, %rd0, %rd5;\nadd.s64 %rd7, %rd1, %rd5;\n"
#define BLOCK_END "\nret;\n}\n"
#define N_WORDS   1024

typedef struct words {
    _Alignas(128) uint32_t in[N_WORDS], out[N_WORDS];
} words;

static mlcc_status *run_body(
    const char *body, uint32_t n_threads, uint32_t n_blocks, words *data,
    const ptx_options *options) {
    mlcc_str text = {0};
    for (uint32_t i = 0; i < N_WORDS; i++) {
        data->in[i] = i * 3 + 1;
        data->out[i] = 0;
    }
    mlcc_str_printf(&text, "%s%s%s", BLOCK_KERNEL, body, BLOCK_END);
    const ptx_shape shape = {{n_blocks, 1, 1}, {n_threads, 1, 1}, 4096};
    mlcc_status *status =
        run_text(text.data, shape, data->in, sizeof data->in, data->out, sizeof data->out, options);
    mlcc_str_free(&text);
    return status;
}

static void run_well(const char *body, uint32_t n_threads, uint32_t n_blocks, words *data) {
    mlcc_status *status = run_body(body, n_threads, n_blocks, data, NULL);
    if (status != NULL) fail_msg("%s: %s", body, mlcc_status_message(status));
}

static void test_memory(void **state) {
    (void)state;
    words data;
    run_well(
        "ld.global.nc.L1::no_allocate.u32 %r6, [%rd3]; st.global.u32 [%rd4], %r6;", 128, 1, &data);
    for (uint32_t i = 0; i < 128; i++) assert_int_equal(data.out[i], i * 3 + 1);
    // Through shared memory, to the neighbour.
    run_well(
        "ld.global.u32 %r6, [%rd3]; st.shared.u32 [%r3], %r6; bar.sync 0; xor.b32 %r7, %r3, 4;"
        "ld.shared.u32 %r8, [%r7]; st.global.u32 [%rd4], %r8;",
        128, 1, &data);
    for (uint32_t i = 0; i < 128; i++) assert_int_equal(data.out[i], (i ^ 1) * 3 + 1);
    // Vectors, generic addresses, bytes with sign.
    run_well(
        "ld.global.v4.u32 {%r6,%r7,%r8,%r9}, [%rd6]; cvt.u64.u32 %rd8, %r5; cvta.shared.u64 %rd9, "
        "%rd8;"
        "st.v4.b32 [%rd9], {%r9,%r8,%r7,%r6}; ld.v2.u64 {%rd10,%rd11}, [%rd9];"
        "st.global.v2.u64 [%rd7], {%rd10,%rd11};",
        64, 1, &data);
    for (uint32_t i = 0; i < 256; i++) assert_int_equal(data.out[i], (i ^ 3) * 3 + 1);
    run_well(
        "mov.u32 %r6, 0x8180; st.shared.u16 [%r3], %r6; st.shared.u8 [%r3+2], %r6;"
        "ld.shared.s8 %r7, [%r3]; ld.shared.u8 %r8, [%r3+1]; ld.shared.s16 %r9, [%r3];"
        "add.s32 %r7, %r7, %r8; add.s32 %r7, %r7, %r9; st.global.u32 [%rd4], %r7;",
        32, 1, &data);
    assert_int_equal((int32_t)data.out[3], -128 + 129 - 32384);
    run_well(
        "add.u64 %rd8, %rd0, 0; mov.u64 %rd9, depot; cvta.local.u64 %rd10, %rd9; st.u32 [%rd10+8], "
        "%r0;"
        "ld.local.u32 %r6, [%rd9+8]; ld.const.u32 %r7, [table+8]; ld.global.u64 %rd11, [pointer];"
        "ld.u32 %r8, [%rd11]; add.s32 %r6, %r6, %r7; add.s32 %r6, %r6, %r8; st.global.u32 [%rd4], "
        "%r6;",
        64, 1, &data);
    assert_int_equal(data.out[9], 9 + 7 + 6);
    run_well(
        "mov.b64 %rd8, in; ld.param.u64 %rd9, [%rd8]; sub.u64 %rd9, %rd9, %rd0; st.global.u32 "
        "[%rd4], %rd9;",
        32, 1, &data);
    assert_int_equal(data.out[0], 0);
    run_well(
        "mov.u32 %r6, %ctaid.x; mov.u32 %r7, %nctaid.x; mad.lo.s32 %r6, %r6, 100, %r7; mov.u32 "
        "%r9, %warpid; add.u32 %r6, %r6, %r9; st.global.u32 [%rd4], %r6;",
        64, 3, &data);
    assert_int_equal(data.out[0], 203);
    assert_int_equal(data.out[40], 204);
}

static void test_copies(void **state) {
    (void)state;
    words data;
    run_well(
        "and.b32 %r6, %r0, 1; shl.b32 %r6, %r6, 4; cp.async.cg.shared.global [%r5], [%rd6], 16, "
        "%r6;"
        "cp.async.commit_group; cp.async.wait_group 0; bar.sync 0; xor.b32 %r7, %r5, 16;"
        "ld.shared.v4.u32 {%r8,%r9,%r10,%r11}, [%r7]; st.global.v4.u32 [%rd7], "
        "{%r8,%r9,%r10,%r11};",
        64, 1, &data);
    for (uint32_t i = 0; i < 256; i++) {
        const uint32_t thread = (i / 4) ^ 1;
        assert_int_equal(data.out[i], thread % 2 != 0 ? (thread * 4 + i % 4) * 3 + 1 : 0);
    }
}

static void test_atomics(void **state) {
    (void)state;
    words data;
    run_well(
        "red.global.add.u32 [%rd1], 1; atom.global.add.u32 %r6, [%rd1+4], 2; red.global.max.u32 "
        "[%rd1+8], %r0;"
        "cvt.rn.f32.u32 %r7, %r0; red.global.add.f32 [%rd1+12], %r7; atom.global.exch.b32 %r8, "
        "[%rd1+16], %r0;"
        "atom.global.cas.b32 %r9, [%rd1+20], %r0, 77; red.global.add.u64 [%rd1+24], 1;"
        "red.relaxed.gpu.global.min.s32 [%rd1+32], -5;",
        64, 2, &data);
    assert_int_equal(data.out[0], 128);
    assert_int_equal(data.out[1], 256);
    assert_int_equal(data.out[2], 63);
    float sum;
    memcpy(&sum, &data.out[3], sizeof sum);
    assert_true(sum == 2 * 2016.0f);
    assert_int_equal(data.out[4], 63);
    assert_int_equal(data.out[5], 77);
    assert_int_equal(data.out[6], 128);
    assert_int_equal((int32_t)data.out[8], -5);
    run_well(
        "setp.ne.u32 %p0, %r0, 0; @%p0 bra W; mov.u32 %r6, 0; st.shared.u32 [fixed], %r6; W: "
        "bar.sync 0;"
        "atom.shared.add.u32 %r7, [fixed], %r0; bar.sync 0; ld.shared.u32 %r8, [fixed];"
        "st.global.u32 [%rd4], %r8;",
        128, 1, &data);
    assert_int_equal(data.out[100], 127 * 64);
}

// A (16x16) row by row and B (8 columns of 16) as f16 in shared memory, read by ldmatrix; D = A B.
static void test_matrices(void **state) {
    (void)state;
    static const char body[] =
        // Every lane stores 16 bytes of A (16 rows of 32 bytes), lanes below 16 also of B (8 rows of 32 bytes).
        "shl.b32 %r6, %r0, 3; mov.u32 %r7, 0; mov.u32 %r9, dyn;"
        "F: add.u32 %r8, %r6, %r7; cvt.rn.f32.u32 %r10, %r8; mul.f32 %r10, %r10, 0f3D800000;"
        "cvt.rn.f16.f32 %h0, %r10; shl.b32 %r11, %r8, 1; add.u32 %r12, %r9, %r11; st.shared.b16 "
        "[%r12], %h0;"
        "and.b32 %r13, %r8, 7; cvt.rn.f32.u32 %r10, %r13; cvt.rn.f16.f32 %h1, %r10; add.u32 %r12, "
        "%r12, 1024;"
        "setp.lt.u32 %p0, %r8, 128; @%p0 st.shared.b16 [%r12], %h1;"
        "add.u32 %r7, %r7, 1; setp.lt.u32 %p1, %r7, 8; @%p1 bra F; bar.sync 0;"
        "and.b32 %r14, %r0, 15; shl.b32 %r14, %r14, 5; shr.u32 %r15, %r0, 4; shl.b32 %r15, %r15, 4;"
        "add.u32 %r14, %r14, %r15; add.u32 %r14, %r14, %r9;"
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r16,%r17,%r18,%r19}, [%r14];"
        "and.b32 %r15, %r0, 7; shl.b32 %r15, %r15, 5; shr.u32 %r20, %r0, 3; and.b32 %r20, %r20, 1;"
        "shl.b32 %r20, %r20, 4; add.u32 %r15, %r15, %r20; add.u32 %r15, %r15, %r9;"
        "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r21,%r22}, [%r15+1024];"
        "mov.f32 %r23, 0f00000000; mov.f32 %r24, 0f00000000; mov.f32 %r25, 0f3F800000; mov.f32 "
        "%r26, 0f00000000;"
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r23,%r24,%r25,%r26}, "
        "{A0,A1,%r18,%r19}, {%r21,%r22}, {%r23,%r24,%r25,%r26};"
        "st.global.v4.f32 [%rd7], {%r23,%r24,%r25,%r26};";
    for (int is_swapped = 0; is_swapped < 2; is_swapped++) {
        mlcc_str text = {0};
        const char *at = strstr(body, "{A0,A1");
        mlcc_str_append(&text, body, (size_t)(at - body));
        mlcc_str_puts(&text, is_swapped ? "{%r17,%r16" : "{%r16,%r17");
        mlcc_str_puts(&text, at + strlen("{A0,A1"));
        words data;
        run_well(text.data, 32, 1, &data);
        mlcc_str_free(&text);
        int n_wrong = 0;
        for (uint32_t lane = 0; lane < 32; lane++)
            for (uint32_t r = 0; r < 4; r++) {
                const uint32_t row = lane / 4 + 8 * (r >> 1), column = 2 * (lane % 4) + (r & 1);
                float expected = r == 2 ? 1.0f : 0.0f, found;
                for (uint32_t k = 0; k < 16; k++)
                    expected += (float)(row * 16 + k) / 16.0f * (float)((column * 16 + k) % 8);
                memcpy(&found, &data.out[lane * 4 + r], sizeof found);
                n_wrong += found != expected;
            }
        // Exact as it is; a swap of two registers of A does not go unseen.
        if (is_swapped)
            assert_true(n_wrong > 100);
        else
            assert_int_equal(n_wrong, 0);
    }
    // Transposed twice is the same.
    words data;
    run_well(
        "mov.u32 %r6, %r0; stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%r5], {%r6}; bar.sync 0;"
        "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r7}, [%r5]; st.global.u32 [%rd4], %r7;",
        32, 1, &data);
    for (uint32_t i = 0; i < 32; i++) assert_int_equal(data.out[i], i);
}

// ---- checks ------------------------------------------------------------------------------------------------------------------------------------

typedef struct broken {
    const char *body;
    const char *reports; // part of the message
} broken;

static void test_checks(void **state) {
    (void)state;
    static const broken snippets[] = {
        {"ld.global.u32 %r6, [%rd0+-4];", "reads 4 bytes at offset -4 of 'in'"},
        {"st.global.u32 [%rd4+4096], %r0;", "writes 4 bytes at offset 4096 of 'out'"},
        {"mov.u64 %rd8, 16; ld.global.u32 %r6, [%rd8];", "which is no global memory"},
        {"mov.u64 %rd8, -4; ld.global.u32 %r6, [%rd8];", "which is no global memory"},
        {"ld.global.u32 %r6, [%rd3+2];", "misaligned"},
        {"ld.global.v4.u32 {%r6,%r7,%r8,%r9}, [%rd3];", "misaligned"},
        {"st.shared.u32 [%r3+512], %r0;", "shared address"},
        {"st.shared.v4.u32 [%r5+4096], {%r0,%r0,%r0,%r0};", "shared address"},
        {"mov.u32 %r6, 0; ld.shared.u32 %r7, [%r6];", "shared address 0"},
        {"mov.u64 %rd8, depot; st.local.u32 [%rd8+32], %r0;", "of 32 local bytes"},
        {"ld.param.u64 %rd8, [in+16];", "param bytes"},
        {"add.u32 %r6, %r7, 1;", "source 1 is a register that has not been written"},
        {"setp.lt.u32 %p0, %r0, 7; @%p0 mov.u32 %r6, 1; add.u32 %r7, %r6, 1;", "thread 7-31"},
        {"mov.u32 %r6, %r7; add.u32 %r8, %r6, 1;", "not been written"},
        {"@%p3 add.u32 %r6, %r0, 1;", "the guard is a predicate"},
        {"ld.shared.u32 %r6, [%r3];", "which nothing has written"},
        {"cp.async.cg.shared.global [%r5], [%rd6], 16; cp.async.commit_group; ld.shared.u32 %r6, "
         "[%r5];",
         "was not waited for"},
        // Two groups under way, the wait lets one be: the second is not there.
        {"cp.async.cg.shared.global [%r5], [%rd6], 16; cp.async.commit_group; add.u32 %r6, %r5, "
         "2048;"
         "cp.async.cg.shared.global [%r6], [%rd6], 16; cp.async.commit_group; cp.async.wait_group "
         "1;"
         "ld.shared.u32 %r7, [%r5]; ld.shared.u32 %r8, [%r6];",
         "was not waited for"},
        {"st.shared.u32 [%r3], %r0; xor.b32 %r6, %r3, 128; ld.shared.u32 %r7, [%r6];",
         "nothing has written"},
        // The barrier before orders the first writes; what follows is a read and a write of two warps, in either order.
        {"st.shared.u32 [%r3], %r0; bar.sync 0; setp.lt.u32 %p0, %r0, 32; xor.b32 %r6, %r3, 128;"
         "@%p0 ld.shared.u32 %r7, [%r6]; @!%p0 st.shared.u32 [%r3], %r30;",
         "race: writes"},
        {"st.shared.u32 [%r3], %r0; bar.sync 0; setp.lt.u32 %p0, %r0, 32; @%p0 st.shared.u32 "
         "[%r3], %r30; "
         "xor.b32 %r6, %r3, 128; ld.shared.u32 %r7, [%r6];",
         "race: reads"},
        {"st.shared.u32 [fixed], %r0;", "race: writes"},
        {"st.shared.u32 [%r3], %r0; xor.b32 %r6, %r3, 4; ld.shared.u32 %r7, [%r6];", "race: reads"},
        {"setp.lt.u32 %p0, %r0, 40; @%p0 bra S; bar.sync 0; S:",
         "waits for threads that never come"},
        {"setp.lt.u32 %p0, %r0, 4; @%p0 bra S; bar.sync 0; bra.uni T; S: bar.sync 0; T:",
         "never come"},
        {"setp.lt.u32 %p0, %r0, 4; @%p0 bra S; shfl.sync.bfly.b32 %r6, %r0, 1, 31, -1; bra.uni T; "
         "S: "
         "shfl.sync.bfly.b32 %r6, %r0, 2, 31, -1; T:",
         "never come"},
        {"setp.lt.u32 %p0, %r0, 4; @%p0 ret; shfl.sync.idx.b32 %r6, %r0, 2, 31, -1;",
         "does not take part"},
        {"setp.lt.u32 %p0, %r0, 4; @%p0 ret; bar.sync 0;", "thread 0-3 has returned"},
        {"L: bra L;", "does not end"},
        {"trap;", "gave up"},
    };
    const ptx_options options = {.checks = PTX_CHECK_ALL, .max_block_instructions = 200000};
    for (size_t i = 0; i < sizeof snippets / sizeof snippets[0]; i++) {
        words data;
        mlcc_status *status = run_body(snippets[i].body, 64, 1, &data, &options);
        if (status == NULL) fail_msg("nothing is reported: %s", snippets[i].body);
        assert_int_equal(mlcc_status_code(status), MLCC_DEVICE);
        if (strstr(mlcc_status_message(status), snippets[i].reports) == NULL)
            fail_msg("%s: %s", snippets[i].body, mlcc_status_message(status));
        mlcc_status_free(status);
    }
}

// What a check would report is let through when it is off, and no rule is broken by these.
static void test_allowed(void **state) {
    (void)state;
    words data;
    const ptx_options none = {0};
    assert_null(
        run_body("ld.shared.u32 %r6, [%r3]; st.global.u32 [%rd4], %r6;", 32, 1, &data, &none));
    assert_int_equal(data.out[0], 0xffffffffu);
    assert_null(run_body("setp.lt.u32 %p0, %r0, 4; @%p0 ret; bar.sync 0;", 64, 1, &data, &none));
    run_well(
        "mov.u32 %r6, 5; st.shared.u32 [fixed], %r6; bar.sync 0; ld.shared.u32 %r7, [fixed];", 64,
        1, &data);
    run_well(
        "st.shared.u32 [%r3], %r0; bar.warp.sync -1; xor.b32 %r6, %r3, 4; ld.shared.u32 %r7, "
        "[%r6];",
        64, 1, &data);
    run_well("setp.ge.u32 %p0, %r0, 32; @%p0 bra S; bar.sync 1, 32; S: bar.sync 0;", 64, 1, &data);
    run_well(
        "st.shared.u32 [%r3], %r0; ld.shared.u32 %r6, [%r3]; add.u32 %r6, %r6, 1; st.shared.u32 "
        "[%r3], %r6;",
        64, 1, &data);
}

static void test_counters(void **state) {
    (void)state;
    words data;
    ptx_counters counters = {0};
    const ptx_options options = {.checks = PTX_CHECK_ALL, .counters = &counters};
    assert_null(run_body(
        "ld.global.u32 %r6, [%rd3]; shl.b32 %r7, %r0, 6; add.u32 %r7, %r7, %r30; st.shared.u32 "
        "[%r7], %r6; "
        "bar.sync 0; st.global.v4.u32 [%rd7], {%r6,%r6,%r6,%r6};",
        32, 1, &data, &options));
    assert_int_equal(counters.blocks, 1);
    assert_int_equal(counters.global_requests, 2);
    assert_int_equal(counters.global_sectors, 4 + 16);
    assert_int_equal(counters.global_bytes, 128 + 512);
    assert_int_equal(counters.shared_requests, 1);
    assert_int_equal(counters.shared_wavefronts, 16); // a stride of 64 bytes hits two banks
    assert_int_equal(counters.barriers, 1);
    assert_int_equal(counters.lane_instructions, 32 * counters.warp_instructions);
}

// ---- texts -------------------------------------------------------------------------------------------------------------------------------------

static void check_refused(const char *text, mlcc_code code, const char *part) {
    ptx_module *module = NULL;
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_load(text, strlen(text), &module);
    if (status == NULL) status = ptx_module_function(module, "k", &function);
    assert_non_null(status);
    if (mlcc_status_code(status) != code || strstr(mlcc_status_message(status), part) == NULL)
        fail_msg("%s\n%s", mlcc_status_message(status), text);
    mlcc_status_free(status);
    ptx_module_free(module);
}

#define IN_KERNEL(body) \
    HEADER ".entry k()\n{\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n.reg .pred %p;\n" body "\nret;\n}" \
           "\n"

static void test_refusals(void **state) {
    (void)state;
    check_refused(
        IN_KERNEL("wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {%r0}, %rd0, %rd1, 1, 1, 1;"),
        MLCC_UNSUPPORTED,
        "line 9: the interpreter lacks instruction "
        "'wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32'");
    check_refused(
        IN_KERNEL("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier [%r0], [%rd0, {%r1, "
                  "%r2}], [%r3];"),
        MLCC_UNSUPPORTED, "cp.async.bulk");
    check_refused(IN_KERNEL("tcgen05.wait::ld.sync.aligned;"), MLCC_UNSUPPORTED, "tcgen05.wait");
    check_refused(IN_KERNEL("frobnicate.b32 %r0, %r1;"), MLCC_UNSUPPORTED, "frobnicate");
    check_refused(IN_KERNEL("div.rz.f32 %r0, %r1, %r2;"), MLCC_UNSUPPORTED, "div.rz.f32");
    check_refused(IN_KERNEL("add.u32 %r0, %r1;"), MLCC_INVALID, "2 arguments");
    check_refused(IN_KERNEL("add.u32 %r0, %r1, %rd1;"), MLCC_INVALID, "64 bits");
    check_refused(IN_KERNEL("add.u32 %r0, %r9, %r1;"), MLCC_UNSUPPORTED, "%r9");
    check_refused(IN_KERNEL("bra NOWHERE;"), MLCC_INVALID, "no label 'NOWHERE'");
    check_refused(IN_KERNEL("L: L:"), MLCC_INVALID, "stands twice");
    check_refused(IN_KERNEL("ld.global.v4.u32 {%r0,%r1}, [%rd0];"), MLCC_INVALID, "2 elements");
    check_refused(IN_KERNEL(".reg .b32 %q<99999999999>;"), MLCC_INVALID, "number of registers");
    check_refused(IN_KERNEL(".shared .b8 big[60000];"), MLCC_INVALID, "49152");
    check_refused(HEADER ".entry k() { add.u32", MLCC_INVALID, "the text ends");
    check_refused(HEADER "/* ", MLCC_INVALID, "no end");
    check_refused("kernel", MLCC_INVALID, "'.version' first");
    check_refused(HEADER ".entry other() { ret; }", MLCC_INVALID, "no kernel 'k'");
}

static void test_launch_refusals(void **state) {
    (void)state;
    ptx_module *module = NULL;
    const char *text = HEADER ".entry k(.param .u32 a, .param .u64 b) .maxntid 64, 1, 1 { ret; }";
    const ptx_function *function = load_kernel(text, &module);
    ptx_function_info info;
    uint32_t offset = 0, size = 0;
    ptx_function_describe(function, &info);
    assert_int_equal(info.param_bytes, 16);
    assert_int_equal(info.max_threads, 64);
    assert_int_equal(info.target, 80);
    assert_true(ptx_function_param(function, 1, &offset, &size));
    assert_int_equal(offset, 8);
    assert_int_equal(size, 8);
    assert_false(ptx_function_param(function, 2, &offset, &size));
    ptx_memory *memory = ptx_memory_create();
    uint64_t params[2] = {0};
    static const struct {
        ptx_shape shape;
        size_t params_bytes;
    } cases[] = {
        {{{1, 1, 1}, {65, 1, 1}, 0}, 16},
        {{{1, 1, 1}, {32, 1, 1}, 0}, 8},
        {{{0, 1, 1}, {32, 1, 1}, 0}, 16},
        {{{1, 1, 1}, {32, 1, 1}, 1 << 20}, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mlcc_status *status =
            ptx_launch(function, &cases[i].shape, params, cases[i].params_bytes, memory, NULL);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        mlcc_status_free(status);
    }
    const ptx_shape good = {{1, 1, 1}, {64, 1, 1}, 0};
    assert_null(ptx_launch(function, &good, params, 16, memory, NULL));
    ptx_memory_free(memory);
    ptx_module_free(module);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_floats),          cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_comparisons),     cmocka_unit_test(test_warp),
        cmocka_unit_test(test_memory),          cmocka_unit_test(test_copies),
        cmocka_unit_test(test_atomics),         cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_checks),          cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_counters),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_launch_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
