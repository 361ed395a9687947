// lib_driver: runs a lib.so of any architecture with nothing beneath it: no C library, no dynamic loader, no runtime of ours. Built for the library's
// architecture with clang -ffreestanding -nostdlib -static, it runs there or under qemu-user, and shows that lib.so is as self-contained as
// runtime/abi.h says: it maps the segments, applies relative relocations (there are no others), and calls mlcc_model_query.
//
//   lib_driver LIB.so PIECES N_NEW ID…        prints the greedy ids that follow the prompt ids, then "logit" and the first step's largest logit
//
// PIECES holds the stored pieces in the order of the library's tables, each at a multiple of 64 bytes (check_tool.py pieces). One sequence, one thread.
#include "runtime/abi.h"

#include <stddef.h>
#include <stdint.h>

// ---- the system ---------------------------------------------------------------------------------------------

#if defined(__aarch64__)
enum {
    SYS_OPENAT = 56,
    SYS_READ = 63,
    SYS_WRITE = 64,
    SYS_EXIT = 94,
    SYS_MMAP = 222,
    SYS_LSEEK = 62
};
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n bl start\n");
// What was written as data is to be executed (Arm ARM, B2.4.4).
static void make_visible_to_fetch(char *begin, char *end) {
    uint64_t lines;
    __asm__("mrs %0, ctr_el0" : "=r"(lines));
    const uint64_t data_line = 4u << (lines >> 16 & 15), code_line = 4u << (lines & 15);
    for (uint64_t at = (uint64_t)begin & -data_line; at < (uint64_t)end; at += data_line)
        __asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish" : : : "memory");
    for (uint64_t at = (uint64_t)begin & -code_line; at < (uint64_t)end; at += code_line)
        __asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish\n isb" : : : "memory");
}
#elif defined(__x86_64__)
enum { SYS_OPENAT = 257, SYS_READ = 0, SYS_WRITE = 1, SYS_EXIT = 231, SYS_MMAP = 9, SYS_LSEEK = 8 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(n)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return n;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
static void make_visible_to_fetch(char *begin, char *end) {
    (void)begin, (void)end;
}
#else
#    error "lib_driver knows x86-64 and aarch64"
#endif

void *memset(void *to, int byte, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
_Noreturn void start(long *stack);

void *memset(void *to, int byte, size_t n) {
    for (volatile char *at = to; n-- > 0;) *at++ = (char)byte;
    return to;
}
void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    volatile char *at = to;
    for (const char *source = from; n-- > 0;) *at++ = *source++;
    return to;
}

static size_t text_length(const char *text) {
    size_t n = 0;
    while (text[n] != '\0') n++;
    return n;
}
static int text_equal(const char *a, const char *b) {
    while (*a != '\0' && *a == *b) a++, b++;
    return *a == *b;
}
static void put_text(int file, const char *text) {
    system_call(SYS_WRITE, file, (long)text, (long)text_length(text), 0, 0, 0);
}
static _Noreturn void leave(int code) {
    for (;;) system_call(SYS_EXIT, code, 0, 0, 0, 0, 0);
}
static _Noreturn void stop(const char *why, const char *what) {
    put_text(2, "lib_driver: ");
    put_text(2, why);
    put_text(2, what);
    put_text(2, "\n");
    leave(1);
}
static void put_number(long value) {
    char digits[24], *at = digits + sizeof digits - 1;
    const int is_negative = value < 0;
    *at = '\0';
    do *--at = (char)('0' + (is_negative ? -(value % 10) : value % 10));
    while ((value /= 10) != 0);
    if (is_negative) *--at = '-';
    put_text(1, at);
}
static long read_number(const char *text) {
    long value = 0;
    for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (*text - '0');
    if (*text != '\0') stop("not a number: ", text);
    return value;
}

// Zeroed, page-aligned, executable when asked for.
static char *pages(size_t size_bytes, int is_code) {
    const int anonymous_private = 0x22, protection = is_code ? 7 : 3;
    long at =
        system_call(SYS_MMAP, 0, (long)(size_bytes + 1), protection, anonymous_private, -1, 0);
    if (at < 0 && at > -4096) stop("no memory", "");
    return (char *)at;
}
static char *read_file(const char *path, size_t *size_bytes) {
    long file = system_call(SYS_OPENAT, -100, (long)path, 0, 0, 0, 0);
    if (file < 0) stop("cannot open ", path);
    *size_bytes = (size_t)system_call(SYS_LSEEK, file, 0, 2, 0, 0, 0);
    system_call(SYS_LSEEK, file, 0, 0, 0, 0, 0);
    char *data = pages(*size_bytes, 0);
    for (size_t done = 0; done < *size_bytes;) {
        long n =
            system_call(SYS_READ, file, (long)(data + done), (long)(*size_bytes - done), 0, 0, 0);
        if (n <= 0) stop("cannot read ", path);
        done += (size_t)n;
    }
    return data;
}

// ---- the loader (System V ABI, chapter 5; only what lib.so holds) ---------------------------------------------

typedef struct elf_header {
    unsigned char ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, segments_offset, sections_offset;
    uint32_t flags;
    uint16_t header_bytes, segment_bytes, n_segments, section_bytes, n_sections, names;
} elf_header;
typedef struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_bytes, memory_bytes, alignment;
} elf_segment;
typedef struct elf_symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size_bytes;
} elf_symbol;
typedef struct elf_relocation {
    uint64_t offset, info;
    int64_t addend;
} elf_relocation;

enum { SEGMENT_LOAD = 1, SEGMENT_DYNAMIC = 2 };
enum {
    DYNAMIC_STRTAB = 5,
    DYNAMIC_SYMTAB = 6,
    DYNAMIC_RELA = 7,
    DYNAMIC_RELASZ = 8,
    DYNAMIC_NEEDED = 1,
    DYNAMIC_JMPREL = 23
};
enum { RELATIVE_AARCH64 = 1027, RELATIVE_X86_64 = 8 };

static const mlcc_abi_model *load(const char *path) {
    size_t file_bytes;
    const char *file = read_file(path, &file_bytes);
    const elf_header *header = (const elf_header *)(const void *)file;
    const elf_segment *segments =
        (const elf_segment *)(const void *)(file + header->segments_offset);
    uint64_t end = 0;
    for (int i = 0; i < header->n_segments; i++) {
        uint64_t segment_end = segments[i].address + segments[i].memory_bytes;
        if (segments[i].type == SEGMENT_LOAD && segment_end > end) end = segment_end;
    }
    char *base = pages(end, 1);
    const uint64_t *dynamic = NULL;
    for (int i = 0; i < header->n_segments; i++) {
        if (segments[i].type == SEGMENT_LOAD)
            memcpy(base + segments[i].address, file + segments[i].offset, segments[i].file_bytes);
        if (segments[i].type == SEGMENT_DYNAMIC)
            dynamic = (const uint64_t *)(const void *)(base + segments[i].address);
    }
    uint64_t facts[32] = {0};
    for (; dynamic != NULL && dynamic[0] != 0; dynamic += 2) {
        if (dynamic[0] == DYNAMIC_NEEDED || dynamic[0] == DYNAMIC_JMPREL)
            stop("the library needs other libraries: ", path);
        if (dynamic[0] < 32) facts[dynamic[0]] = dynamic[1];
    }
    const elf_relocation *relocations =
        (const elf_relocation *)(const void *)(base + facts[DYNAMIC_RELA]);
    for (uint64_t i = 0; i < facts[DYNAMIC_RELASZ] / sizeof *relocations; i++) {
        if (relocations[i].info != RELATIVE_AARCH64 && relocations[i].info != RELATIVE_X86_64)
            stop("a relocation that is not relative: ", path);
        const char *value = base + relocations[i].addend;
        memcpy(base + relocations[i].offset, &value, sizeof value);
    }
    // The library exports one symbol; the table begins with an empty one.
    const elf_symbol *symbol = (const elf_symbol *)(const void *)(base + facts[DYNAMIC_SYMTAB]) + 1;
    if (!text_equal(base + facts[DYNAMIC_STRTAB] + symbol->name, MLCC_ABI_QUERY))
        stop("the library does not begin with ", MLCC_ABI_QUERY);
    make_visible_to_fetch(base, base + end);
    mlcc_abi_query *query = NULL;
    const char *code = base + symbol->value;
    memcpy(&query, &code, sizeof query);
    const mlcc_abi_model *model = query();
    if (model->magic != MLCC_ABI_MAGIC || model->version != MLCC_ABI_VERSION ||
        model->struct_bytes != sizeof *model)
        stop("the model table is of another ABI: ", path);
    return model;
}

// ---- the model ------------------------------------------------------------------------------------------------

static const void **prepare_params(
    const mlcc_abi_model *model, const char *pieces, size_t size_bytes) {
    const void **params = (const void **)(void *)pages(model->n_params * sizeof *params, 0);
    size_t at = 0;
    for (uint32_t i = 0; i < model->n_params; i++) {
        const mlcc_abi_param *param = &model->params[i];
        const void *inputs[MLCC_ABI_MAX_PIECES] = {0};
        for (uint32_t k = 0; k < param->n_pieces; k++) {
            inputs[k] = pieces + at;
            at = (at + param->pieces[k].size_bytes + 63) / 64 * 64;
        }
        if (at > size_bytes) stop("too few pieces for ", param->name);
        params[i] = inputs[0];
        if (param->prepare == NULL) continue;
        char *prepared = pages(param->prepared_bytes, 0);
        param->prepare(inputs, prepared, 0, param->n_prepare_items);
        params[i] = prepared;
    }
    if (at != size_bytes) stop("too many pieces", "");
    return params;
}

static size_t bytes_of(uint32_t dtype) {
    switch (dtype) {
    case MLCC_ABI_F16:
    case MLCC_ABI_BF16: return 2;
    case MLCC_ABI_I8:
    case MLCC_ABI_U8: return 1;
    default: return 4;
    }
}

typedef struct session {
    const mlcc_abi_model *model;
    const mlcc_abi_function *forward;
    mlcc_abi_call call;
    int64_t dims[16];
    int32_t *ids, *positions, *logit_row;
    const float *logits;
    int64_t vocab;
} session;

static void wait_for_nobody(void *state) {
    (void)state;
}

static void set_symbol(session *s, const char *name, int64_t value) {
    for (uint32_t i = 0; i < s->model->n_symbols; i++)
        if (text_equal(s->model->symbols[i].name, name)) s->dims[i] = value;
}

static size_t tensor_bytes(const session *s, const mlcc_abi_tensor *tensor, int64_t n_tokens) {
    size_t size_bytes = bytes_of(tensor->dtype);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        int64_t dim = tensor->symbols[i] >= 0 ? s->dims[tensor->symbols[i]] : tensor->dims[i];
        size_bytes *= (size_t)(dim > n_tokens ? dim : dim < 1 ? 1 : dim);
    }
    return size_bytes;
}

// Room for steps of up to n_tokens tokens in a context of as many.
static void open_session(session *s, const void **params, int64_t n_tokens) {
    const int64_t n_pages = (n_tokens + MLCC_PAGE_TOKENS - 1) / MLCC_PAGE_TOKENS;
    s->forward = &s->model->functions[0];
    if (s->model->n_symbols > 16) stop("too many symbols", "");
    set_symbol(s, "n_tokens", n_tokens);
    set_symbol(s, "n_seqs", 1);
    set_symbol(s, "n_logits", 1);
    set_symbol(s, "n_page_slots", n_pages);
    set_symbol(s, "n_pages", n_pages);
    void **args = (void **)(void *)pages(s->forward->n_args * sizeof *args, 0);
    void **results = (void **)(void *)pages(s->forward->n_results * sizeof *results, 0);
    for (uint32_t i = 0; i < s->forward->n_args; i++) {
        const mlcc_abi_tensor *arg = &s->forward->args[i];
        args[i] = pages(tensor_bytes(s, arg, 0), 0);
        if (text_equal(arg->name, "ids")) s->ids = args[i];
        if (text_equal(arg->name, "positions")) s->positions = args[i];
        if (text_equal(arg->name, "logit_rows")) s->logit_row = args[i];
        if (!text_equal(arg->name, "page_table")) continue;
        for (int64_t k = 0; k < n_pages; k++) ((int32_t *)args[i])[k] = (int32_t)(n_pages - 1 - k);
    }
    for (uint32_t i = 0; i < s->forward->n_results; i++)
        results[i] = pages(tensor_bytes(s, &s->forward->results[i], 0), 0);
    s->logits = results[0];
    s->vocab = s->forward->results[0].dims[1];
    char **scratch = (char **)(void *)pages(sizeof *scratch, 0);
    scratch[0] = pages(s->forward->scratch_bytes, 0);
    s->call = (mlcc_abi_call){
        .args = args,
        .results = results,
        .params = params,
        .dims = s->dims,
        .workspace = pages(s->forward->workspace_bytes, 0),
        .scratch = scratch,
        .counters = (uint32_t *)(void *)pages(s->forward->n_counters * sizeof(uint32_t), 0),
        .barrier = wait_for_nobody,
    };
}

// Runs `n` tokens that stand at `position` and after; returns the likeliest next one.
static int32_t step(session *s, int64_t position, int64_t n) {
    for (int64_t i = 0; i < n; i++) s->positions[i] = (int32_t)(position + i);
    s->logit_row[0] = (int32_t)(n - 1);
    set_symbol(s, "n_tokens", n);
    for (uint32_t i = 0; i < s->forward->n_counters; i++) s->call.counters[i] = 0;
    if (s->forward->run(&s->call, 0, 1) != 0) stop("the library reports a failure", "");
    int64_t best = 0;
    for (int64_t i = 1; i < s->vocab; i++)
        if (s->logits[i] > s->logits[best]) best = i;
    return (int32_t)best;
}

_Noreturn void start(long *stack) {
    const long argc = stack[0];
    char **argv = (char **)(void *)(stack + 1);
    if (argc < 5) stop("usage: lib_driver LIB.so PIECES N_NEW ID…", "");
    const long n_new = read_number(argv[3]), n_prompt = argc - 4;
    size_t pieces_bytes;
    session s = {.model = load(argv[1])};
    const char *pieces = read_file(argv[2], &pieces_bytes);
    open_session(&s, prepare_params(s.model, pieces, pieces_bytes), n_prompt + n_new);
    for (long i = 0; i < n_prompt; i++) s.ids[i] = (int32_t)read_number(argv[4 + i]);
    int32_t id = step(&s, 0, n_prompt);
    const float first_logit = s.logits[id];
    for (long i = 0; i < n_new; i++) {
        if (i > 0) put_text(1, " ");
        put_number(id);
        s.ids[0] = id;
        if (i + 1 < n_new) id = step(&s, n_prompt + i, 1);
    }
    put_text(1, "\nlogit ");
    put_number((long)(first_logit * 1000000.0f));
    put_text(1, "e-6\n");
    leave(0);
}
