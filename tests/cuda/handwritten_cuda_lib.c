// The tiny model of tests/unit/runtime/handwritten_lib.c for CUDA devices, its kernels in PTX written by hand: the CUDA side of the runtime is tested
// without the compiler and without NVRTC. It computes the same logits from the same store (tests/unit/runtime/tiny_model.h).
//
// Two launches: `append` writes a thread's token into the paged cache, `logits` computes a row with one block. Steps with one row take the entry
// `logits_few`, which asks for more shared memory than a block has without asking; its text is the same.
//
// Compile definitions make variants: HANDWRITTEN_OBSERVING records maxima of id + 1 ("embed") and position + 1 ("mix"); HANDWRITTEN_EARLY has kernels
// that wait for the launch before, as sm_90 may; HANDWRITTEN_CUBINS has no PTX; HANDWRITTEN_BROKEN_PTX, HANDWRITTEN_UNKNOWN_ENTRY and HANDWRITTEN_MUCH_SHARED must be refused by the driver or the device.
#include "tests/unit/runtime/handwritten_tables.h"

enum { KIB = 1024 };

// ---- PTX. Words of an argument: the places of its launch in order, then the symbols.
// clang-format off

#ifdef HANDWRITTEN_EARLY
#    define WAIT_PTX "griddepcontrol.wait;\n"
#else
#    define WAIT_PTX
#endif

// The cache is [n_pages, 2, 1, MLCC_PAGE_TOKENS = 16, HEAD_DIM = 2] of float: a token's key at (page * 32 + position % 16) * 8 bytes, its value 128
// bytes behind.
#define APPEND_PTX \
    ".visible .entry append(.param .align 8 .b8 env[96])\n" /* ids positions seq_ids page_table kv.0 kv.1 workspace; symbols from 56 */ \
    "{\n" \
    ".reg .pred %p<2>;\n.reg .b32 %r<16>;\n.reg .f32 %f<5>;\n.reg .b64 %q<16>;\n" \
    WAIT_PTX \
    "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\nmov.u32 %r3, %tid.x;\n" \
    "mad.lo.s32 %r4, %r1, %r2, %r3;\n" \
    "cvt.u64.u32 %q1, %r4;\n" \
    "ld.param.u64 %q2, [env+56];\n"                                        /* n_tokens */ \
    "setp.ge.s64 %p1, %q1, %q2;\n" \
    "@%p1 bra done;\n" \
    "shl.b64 %q3, %q1, 2;\n" \
    "ld.param.u64 %q4, [env];\nadd.s64 %q4, %q4, %q3;\nld.global.u32 %r5, [%q4];\n"   /* id */ \
    "ld.param.u64 %q5, [env+8];\n add.s64 %q5, %q5, %q3;\nld.global.u32 %r6, [%q5];\n"   /* position */ \
    "ld.param.u64 %q6, [env+16];\nadd.s64 %q6, %q6, %q3;\nld.global.u32 %r7, [%q6];\n"   /* seq_id */ \
    "ld.param.u64 %q7, [env+80];\n"                                        /* n_page_slots */ \
    "cvt.u64.u32 %q8, %r7;\nshr.u32 %r8, %r6, 4;\ncvt.u64.u32 %q9, %r8;\n" \
    "mad.lo.s64 %q10, %q8, %q7, %q9;\nshl.b64 %q10, %q10, 2;\n" \
    "ld.param.u64 %q11, [env+24];\nadd.s64 %q11, %q11, %q10;\nld.global.u32 %r9, [%q11];\n" /* page */ \
    "shl.b32 %r10, %r9, 5;\nand.b32 %r11, %r6, 15;\nadd.s32 %r10, %r10, %r11;\n" \
    "mul.wide.u32 %q12, %r10, 8;\n" \
    "ld.param.u64 %q13, [env+32];\nadd.s64 %q13, %q13, %q12;\n"       /* kv.0 */ \
    "add.s32 %r12, %r5, 1;\ncvt.rn.f32.s32 %f1, %r12;\nst.global.f32 [%q13], %f1;\n" \
    "add.s32 %r13, %r6, 1;\ncvt.rn.f32.s32 %f2, %r13;\nst.global.f32 [%q13+132], %f2;\n" \
    "ld.param.u64 %q14, [env+40];\nadd.s64 %q14, %q14, %q12;\n"       /* kv.1 */ \
    "mov.f32 %f3, 0f3F800000;\nst.global.f32 [%q14+128], %f3;\n" \
    "ld.param.u64 %q15, [env+48];\nadd.s64 %q15, %q15, %q3;\n"        /* workspace */ \
    "mul.lo.s32 %r14, %r6, 3;\ncvt.rn.f32.s32 %f4, %r14;\nst.global.f32 [%q15], %f4;\n" \
    "done:\n  ret;\n" \
    "}\n"

// ids positions seq_ids page_table logit_rows kv.0 kv.1 workspace embed mix one logits; symbols from 96
#define LOGITS_PTX(name) \
    ".visible .entry " name "(.param .align 8 .b8 env[136])\n" \
    "{\n" \
    ".reg .pred %p<3>;\n.reg .b32 %r<16>;\n.reg .f32 %f<16>;\n.reg .b64 %q<32>;\n" \
    WAIT_PTX \
    "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\n" \
    "setp.ge.u32 %p1, %r1, 23;\n@%p1 bra done;\n" \
    "ld.param.u64 %q1, [env+32];\nmul.wide.u32 %q2, %r2, 4;\nadd.s64 %q1, %q1, %q2;\nld.global.u32 %r3, [%q1];\n" /* token */ \
    "mul.wide.u32 %q3, %r3, 4;\n" \
    "ld.param.u64 %q4, [env];\nadd.s64 %q4, %q4, %q3;\nld.global.u32 %r4, [%q4];\n"   /* id */ \
    "ld.param.u64 %q5, [env+8];\n add.s64 %q5, %q5, %q3;\nld.global.u32 %r5, [%q5];\n"   /* position */ \
    "ld.param.u64 %q6, [env+16];\nadd.s64 %q6, %q6, %q3;\nld.global.u32 %r6, [%q6];\n"   /* seq_id */ \
    "ld.param.u64 %q7, [env+56];\nadd.s64 %q7, %q7, %q3;\nld.global.f32 %f1, [%q7];\n"   /* workspace */ \
    "ld.param.u64 %q8, [env+120];\ncvt.u64.u32 %q9, %r6;\nmul.lo.s64 %q9, %q9, %q8;\nshl.b64 %q9, %q9, 2;\n" \
    "ld.param.u64 %q10, [env+24];\nadd.s64 %q10, %q10, %q9;\n"        /* the sequence's pages */ \
    "ld.param.u64 %q11, [env+40];\nld.param.u64 %q12, [env+48];\n"      /* kv.0 kv.1 */ \
    "mov.f32 %f2, 0f00000000;\nmov.f32 %f3, 0f00000000;\nmov.u32 %r7, 0;\n"   /* sum, count, j */ \
    "loop:\n" \
    "shr.u32 %r8, %r7, 4;\nmul.wide.u32 %q13, %r8, 4;\nadd.s64 %q13, %q10, %q13;\nld.global.u32 %r9, [%q13];\n" \
    "shl.b32 %r10, %r9, 5;\nand.b32 %r11, %r7, 15;\nadd.s32 %r10, %r10, %r11;\nmul.wide.u32 %q14, %r10, 8;\n" \
    "add.s64 %q15, %q11, %q14;\nld.global.f32 %f4, [%q15];\nld.global.f32 %f5, [%q15+132];\n" \
    "fma.rn.f32 %f2, %f4, %f5, %f2;\n" \
    "add.s64 %q16, %q12, %q14;\nld.global.f32 %f6, [%q16+128];\nadd.f32 %f3, %f3, %f6;\n" \
    "add.s32 %r7, %r7, 1;\nsetp.le.s32 %p2, %r7, %r5;\n@%p2 bra loop;\n" \
    "mul.wide.u32 %q17, %r1, 4;\n" \
    "mul.lo.s32 %r12, %r4, 23;\nadd.s32 %r12, %r12, %r1;\nmul.wide.u32 %q18, %r12, 4;\n" \
    "ld.param.u64 %q19, [env+64];\nadd.s64 %q19, %q19, %q18;\nld.global.f32 %f7, [%q19];\n" /* embed */ \
    "ld.param.u64 %q20, [env+72];\nadd.s64 %q20, %q20, %q17;\nld.global.f32 %f8, [%q20];\n" /* mix */ \
    "ld.param.u64 %q21, [env+80];\nld.global.f32 %f9, [%q21];\n"        /* one */ \
    "add.f32 %f10, %f7, %f1;\nfma.rn.f32 %f10, %f8, %f2, %f10;\nfma.rn.f32 %f10, %f3, %f9, %f10;\n" \
    "mul.lo.s32 %r13, %r2, 23;\nadd.s32 %r13, %r13, %r1;\nmul.wide.u32 %q22, %r13, 4;\n" \
    "ld.param.u64 %q23, [env+88];\nadd.s64 %q23, %q23, %q22;\nst.global.f32 [%q23], %f10;\n" /* logits */ \
    "done:\n  ret;\n" \
    "}\n"

// One thread. ids positions embed_max mix_max; symbols from 32
#define OBSERVE_PTX \
    ".visible .entry observe(.param .align 8 .b8 env[72])\n" \
    "{\n" \
    ".reg .pred %p<2>;\n.reg .b32 %r<6>;\n.reg .f32 %f<5>;\n.reg .b64 %q<10>;\n" \
    "ld.param.u64 %q1, [env];\nld.param.u64 %q2, [env+8];\nld.param.u64 %q3, [env+16];\nld.param.u64 %q4, [env+24];\n" \
    "ld.param.u64 %q5, [env+32];\nmov.u64 %q6, 0;\n" \
    "ld.global.f32 %f1, [%q3];\nld.global.f32 %f2, [%q4];\n" \
    "loop:\n" \
    "shl.b64 %q7, %q6, 2;\n" \
    "add.s64 %q8, %q1, %q7;\nld.global.u32 %r1, [%q8];\nadd.s32 %r1, %r1, 1;\ncvt.rn.f32.s32 %f3, %r1;\nmax.f32 %f1, %f1, %f3;\n" \
    "add.s64 %q9, %q2, %q7;\nld.global.u32 %r2, [%q9];\nadd.s32 %r2, %r2, 1;\ncvt.rn.f32.s32 %f4, %r2;\nmax.f32 %f2, %f2, %f4;\n" \
    "add.s64 %q6, %q6, 1;\nsetp.lt.s64 %p1, %q6, %q5;\n@%p1 bra loop;\n" \
    "st.global.f32 [%q3], %f1;\nst.global.f32 [%q4], %f2;\n" \
    "ret;\n" \
    "}\n"

#ifdef HANDWRITTEN_EARLY
#    define HEADER_PTX ".version 8.0\n.target sm_90\n.address_size 64\n"
#else
#    define HEADER_PTX ".version 7.0\n.target sm_80\n.address_size 64\n"
#endif

#ifndef HANDWRITTEN_CUBINS
#    ifdef HANDWRITTEN_BROKEN_PTX
static const char append_ptx[] = HEADER_PTX "this is not an entry\n";
#    else
static const char append_ptx[] = HEADER_PTX APPEND_PTX OBSERVE_PTX;
#    endif
static const char logits_ptx[] = HEADER_PTX LOGITS_PTX("logits") LOGITS_PTX("logits_few");
#endif
// clang-format on

// ---- CUDA tables
static const char no_cubin[64] = "\177ELF";
#ifdef HANDWRITTEN_EARLY
enum { PTX_ARCH = 90 };
#elif !defined(HANDWRITTEN_CUBINS)
enum { PTX_ARCH = 80 };
#endif
#ifdef HANDWRITTEN_CUBINS
#    define IMAGES(text) {.arch = 80, .data = no_cubin, .size_bytes = sizeof no_cubin}
#else
#    define IMAGES(text) \
        {.arch = 90, .is_arch_specific = 1, .data = no_cubin, .size_bytes = sizeof no_cubin}, \
            {.arch = 80, .data = no_cubin, .size_bytes = sizeof no_cubin}, { \
            .arch = PTX_ARCH, .is_ptx = 1, .data = text, .size_bytes = sizeof text \
        }
#endif
static const mlcc_abi_cuda_image append_images[] = {IMAGES(append_ptx)};
static const mlcc_abi_cuda_image logits_images[] = {IMAGES(logits_ptx)};
static const mlcc_abi_cuda_image newer_images[] = {
    {.arch = 199, .data = no_cubin, .size_bytes = sizeof no_cubin},
};

enum { APPEND_MODULE, LOGITS_MODULE, NEWER_MODULE, N_MODULES };
static const mlcc_abi_cuda_module modules[N_MODULES] = {
    {"append_token", append_images, sizeof append_images / sizeof append_images[0], 0},
    {"compute_rows", logits_images, sizeof logits_images / sizeof logits_images[0], 0},
    {"compute_rows_newer", newer_images, 1, 0},
};

#define ONE_BLOCK  {-1, 0, 1, 1}
#define ARG(index) {MLCC_ABI_CUDA_ARG, index, 0}
static const mlcc_abi_cuda_entry append_entries[] = {
    {"append", 0, {{N_TOKENS, 0, 1, 4}, ONE_BLOCK, ONE_BLOCK}, 4, 0},
};
static const mlcc_abi_cuda_place append_places[] = {
    ARG(IDS),
    ARG(POSITIONS),
    ARG(SEQ_IDS),
    ARG(PAGE_TABLE),
    ARG(KV_0),
    ARG(KV_1),
    {MLCC_ABI_CUDA_WORKSPACE, 0, 64},
};

static const struct {
    float before[16], one;
} consts = {.before = {7.0f}, .one = 1.0f};

#ifdef HANDWRITTEN_MUCH_SHARED
enum { FEW_SHARED = 300 * KIB };
#else
enum { FEW_SHARED = 64 * KIB };
#endif
#ifdef HANDWRITTEN_UNKNOWN_ENTRY
#    define MANY_ENTRY "no_such_kernel"
#else
#    define MANY_ENTRY "logits"
#endif
static const mlcc_abi_cuda_entry logits_entries[] = {
    {"logits_few", 1, {{N_LOGITS, 0, 1, 1}, ONE_BLOCK, ONE_BLOCK}, 32, FEW_SHARED},
    {MANY_ENTRY, 0, {{N_LOGITS, 0, 1, 1}, ONE_BLOCK, ONE_BLOCK}, 32, 0},
};
static const mlcc_abi_cuda_place logits_places[] = {
    ARG(IDS),
    ARG(POSITIONS),
    ARG(SEQ_IDS),
    ARG(PAGE_TABLE),
    ARG(LOGIT_ROWS),
    ARG(KV_0),
    ARG(KV_1),
    {MLCC_ABI_CUDA_WORKSPACE, 0, 64},
    {MLCC_ABI_CUDA_PARAM, EMBED, 0},
    {MLCC_ABI_CUDA_PARAM, MIX, 0},
    {MLCC_ABI_CUDA_CONST, 0, sizeof consts.before},
    {MLCC_ABI_CUDA_RESULT, 0, 0},
};

#ifdef HANDWRITTEN_OBSERVING
static const mlcc_abi_cuda_entry observe_entries[] = {
    {"observe", 0, {ONE_BLOCK, ONE_BLOCK, ONE_BLOCK}, 1, 0},
};
static const mlcc_abi_cuda_place observe_places[] = {
    ARG(IDS), ARG(POSITIONS), ARG(EMBED_MAX), ARG(MIX_MAX)};
#endif

#define VARIANT(module, entries) {module, sizeof(entries) / sizeof((entries)[0]), entries}
static const mlcc_abi_cuda_variant append_variants[] = {VARIANT(APPEND_MODULE, append_entries)};
static const mlcc_abi_cuda_variant logits_variants[] = {
    VARIANT(NEWER_MODULE, logits_entries), // of no use before the next architecture
    VARIANT(LOGITS_MODULE, logits_entries),
};
#ifdef HANDWRITTEN_OBSERVING
static const mlcc_abi_cuda_variant observe_variants[] = {VARIANT(APPEND_MODULE, observe_entries)};
#endif

#define LAUNCH(symbol, variants, places) \
    {symbol, sizeof(variants) / sizeof((variants)[0]), 1, 0, 0, variants, \
     places, sizeof(places) / sizeof((places)[0]),     0}
static const mlcc_abi_cuda_launch launches[] = {
    LAUNCH(N_TOKENS, append_variants, append_places),
    LAUNCH(N_LOGITS, logits_variants, logits_places),
#ifdef HANDWRITTEN_OBSERVING
    LAUNCH(-1, observe_variants, observe_places),
#endif
    // Its rows never are so many: never run.
    {N_LOGITS, 2, 0, 1000, 2000, logits_variants, logits_places,
     sizeof logits_places / sizeof logits_places[0], 0},
};
static const mlcc_abi_cuda_function cuda_functions[] = {
    {launches, sizeof launches / sizeof launches[0], 0},
};

static const mlcc_abi_cuda cuda = {
    .modules = modules,
    .functions = cuda_functions,
    .consts = &consts,
    .consts_bytes = sizeof consts,
    .n_modules = N_MODULES,
    .nvrtc_version = 1300,
};

static const mlcc_abi_function functions[] = {
    {.name = "forward",
     .args = forward_args,
     .results = forward_results,
     .n_args = N_ARGS,
     .n_results = 1,
     .workspace_bytes = 64 + MAX_TOKENS * sizeof(float)},
};

static const mlcc_abi_model model = {
    .magic = MLCC_ABI_MAGIC,
    .version = MLCC_ABI_VERSION,
    .struct_bytes = sizeof(mlcc_abi_model),
    .target = "cuda:80;90a",
    .cpu_features = "",
    .metadata =
        "{\"model_type\": \"handwritten\", \"quantization\": \"q8\", \"context_window_size\": 96}",
    .param_fingerprint = {1, 2, 3},
    .layout_fingerprint = {4, 5, 6, 7},
    .symbols = symbols,
    .params = params,
    .functions = functions,
    .n_symbols = N_SYMBOLS,
    .n_params = N_PARAMS,
    .n_functions = 1,
    .cuda = &cuda,
};

mlcc_abi_query mlcc_model_query;
__attribute__((visibility("default"))) const mlcc_abi_model *mlcc_model_query(void) {
    return &model;
}
