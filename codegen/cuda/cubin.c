#include "codegen/cuda/cubin.h"

#include "runtime/base/str.h"

#include <elf.h>
#include <string.h>

typedef struct file {
    const unsigned char *data;
    size_t size_bytes;
    Elf64_Ehdr head;
    Elf64_Shdr *sections;
    size_t n_sections;
    mlcc_arena *keep;
} file;

enum { INSTRUCTION_BYTES = 16 };
enum { PADDING_OPCODE = 0x918, GRID_WAIT_OPCODE = 0x82e }; // NOP; ACQBULK: griddepcontrol.wait

// ---- ELF ----------------------------------------------------------------------------------------------

static mlcc_status *cut_off(const char *what) {
    return MLCC_ERROR(INVALID, "the cubin's %s reaches beyond its end", what);
}

static bool is_inside(const file *f, uint64_t offset, uint64_t size_bytes) {
    return offset <= f->size_bytes && size_bytes <= f->size_bytes - offset;
}

// A NUL-terminated text of a string table section; NULL when it is none.
static const char *text_at(const file *f, const Elf64_Shdr *table, uint64_t offset) {
    if (!is_inside(f, table->sh_offset, table->sh_size) || offset >= table->sh_size) return NULL;
    const unsigned char *begin = f->data + table->sh_offset + offset;
    return memchr(begin, 0, (size_t)(table->sh_size - offset)) != NULL ? (const char *)begin : NULL;
}

static const Elf64_Shdr *section_at(const file *f, uint64_t index) {
    return index < f->n_sections ? &f->sections[index] : NULL;
}

static const char *section_name(const file *f, const Elf64_Shdr *section) {
    const Elf64_Shdr *table = section_at(f, f->head.e_shstrndx);
    const char *name = table != NULL ? text_at(f, table, section->sh_name) : NULL;
    return name != NULL ? name : "";
}

static mlcc_status *read_sections(file *f) {
    if (f->size_bytes < sizeof f->head) return MLCC_ERROR(INVALID, "a cubin is no ELF file");
    memcpy(&f->head, f->data, sizeof f->head);
    const Elf64_Ehdr *head = &f->head;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64 ||
        head->e_machine != EM_CUDA) {
        return MLCC_ERROR(INVALID, "the bytes are no cubin: no 64-bit ELF file for machine CUDA");
    }
    if (head->e_shentsize != sizeof(Elf64_Shdr)) {
        return MLCC_ERROR(INVALID, "the cubin's section headers have %d bytes", head->e_shentsize);
    }
    const uint64_t table_bytes = (uint64_t)head->e_shnum * sizeof(Elf64_Shdr);
    if (!is_inside(f, head->e_shoff, table_bytes)) return cut_off("section table");
    f->n_sections = head->e_shnum;
    f->sections = MLCC_NEW_ARRAY(f->keep, Elf64_Shdr, f->n_sections + 1);
    memcpy(f->sections, f->data + head->e_shoff, (size_t)table_bytes);
    return NULL;
}

// Since CUDA 13 in bits 8-15 of the flags, before in bits 0-7.
static int32_t arch_of(const Elf64_Ehdr *head) {
    const uint32_t newer = head->e_flags >> 8 & 0xffu;
    return (int32_t)(newer >= 70 ? newer : head->e_flags & 0xffu);
}

// ---- instructions -------------------------------------------------------------------------------------

typedef struct instruction {
    uint64_t low, high;
} instruction;

static instruction instruction_at(const unsigned char *code, int32_t index) {
    instruction i;
    memcpy(&i.low, code + (size_t)index * INSTRUCTION_BYTES, 8);
    memcpy(&i.high, code + (size_t)index * INSTRUCTION_BYTES + 8, 8);
    return i;
}

static uint32_t opcode_of(instruction i) {
    return (uint32_t)(i.low & 0xfffu);
}

// What an opcode is counted as: an offset into cubin_counts.
typedef struct opcode_row {
    uint32_t opcode;
    size_t counter;
} opcode_row;

#define COUNTER(name) offsetof(cubin_counts, name)
// clang-format off
static const opcode_row opcodes[] = {
    {0x23c, COUNTER(n_matrix)},       // HMMA
    {0x237, COUNTER(n_matrix)},       // IMMA
    {0x27a, COUNTER(n_matrix)},       // QMMA: fp8 mma.sync
    {0x9f0, COUNTER(n_matrix)},       // HGMMA, both operands in shared memory
    {0xdf0, COUNTER(n_matrix)},       // HGMMA, the first operand in registers
    {0x9f1, COUNTER(n_matrix)},       // IGMMA
    {0x9f3, COUNTER(n_matrix)},       // QGMMA, likewise
    {0xdf3, COUNTER(n_matrix)},
    {0x981, COUNTER(n_global_loads)}, // LDG
    {0xfae, COUNTER(n_global_loads)}, // LDGSTS: cp.async
    {0x983, COUNTER(n_local)},        // LDL
    {0x387, COUNTER(n_local)},        // STL
    {0x987, COUNTER(n_local)},        // STL
    {GRID_WAIT_OPCODE, COUNTER(n_grid_waits)},
};
// clang-format on

// Width of a load: bits 73-75; 6 = 16 bytes.
static bool is_wide(instruction i) {
    return (i.high >> 9 & 7u) == 6;
}

static void count_instruction(instruction i, cubin_counts *counts) {
    counts->n_instructions++;
    for (size_t k = 0; k < sizeof opcodes / sizeof opcodes[0]; k++) {
        if (opcodes[k].opcode != opcode_of(i)) continue;
        *(int32_t *)(void *)((char *)counts + opcodes[k].counter) += 1;
        if (opcodes[k].counter == COUNTER(n_global_loads)) counts->n_wide_loads += is_wide(i);
        return;
    }
}

static cubin_counts count(const unsigned char *code, int32_t first, int32_t end) {
    cubin_counts counts = {0};
    for (int32_t i = first; i < end; i++) count_instruction(instruction_at(code, i), &counts);
    return counts;
}

// Target of a branch, or -1: the distance from the next instruction in words, bits 34-81; from sm_90 on its low 8 bits stand in bits 16-23.
static int32_t branch_target(instruction i, int32_t index, int32_t arch) {
    enum { BRA = 0x947 };
    if (opcode_of(i) != BRA) return -1;
    const uint64_t field = i.low >> 34 | (i.high & 0x3ffffu) << 30;
    int64_t words = (int64_t)(field << 16) >> 16; // 48 bits with sign
    if (arch >= 90) words = words * 256 + (int64_t)(i.low >> 16 & 0xffu);
    if (words % 4 != 0 || words < -(1 << 28) || words > 1 << 28) return -1;
    const int64_t target = index + 1 + words / 4;
    return target >= 0 && target <= INT32_MAX ? (int32_t)target : -1;
}

// Loops by backward branches. A branch to itself ends the code and is none.
static void find_loops(
    const unsigned char *code, int32_t n, int32_t arch, mlcc_arena *keep, cubin_kernel *kernel) {
    size_t capacity = 0;
    for (int32_t last = 0; last < n; last++) {
        const int32_t first = branch_target(instruction_at(code, last), last, arch);
        if (first < 0 || first >= last) continue;
        bool contains_other = false;
        for (int32_t i = 0; i < kernel->n_loops; i++) {
            contains_other = contains_other || kernel->loops[i].first >= first;
        }
        if (contains_other) continue;
        kernel->loops = mlcc_arena_grow(
            keep, kernel->loops, (size_t)kernel->n_loops, &capacity, sizeof *kernel->loops);
        kernel->loops[kernel->n_loops++] =
            (cubin_loop){.first = first, .last = last, .counts = count(code, first, last + 1)};
    }
}

// 0 when there is none.
static int32_t first_wait(const unsigned char *code, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (opcode_of(instruction_at(code, i)) == GRID_WAIT_OPCODE) return i;
    }
    return 0;
}

static mlcc_status *read_code(
    file *f, const Elf64_Shdr *section, int32_t arch, cubin_kernel *kernel) {
    if (!is_inside(f, section->sh_offset, section->sh_size)) return cut_off("code");
    if (section->sh_size / INSTRUCTION_BYTES > INT32_MAX / 2) return cut_off("code");
    const unsigned char *code = f->data + section->sh_offset;
    int32_t n = (int32_t)(section->sh_size / INSTRUCTION_BYTES);
    while (n > 0 && opcode_of(instruction_at(code, n - 1)) == PADDING_OPCODE) n--;
    kernel->counts = count(code, 0, n);
    kernel->n_early_loads = count(code, 0, first_wait(code, n)).n_wide_loads;
    find_loops(code, n, arch, f->keep, kernel);
    return NULL;
}

// ---- attributes ---------------------------------------------------------------------------------------

static const Elf64_Shdr *symbol_table(const file *f) {
    for (size_t i = 0; i < f->n_sections; i++) {
        if (f->sections[i].sh_type == SHT_SYMTAB) return &f->sections[i];
    }
    return NULL;
}

// Name of a symbol; NULL when it has none.
static const char *symbol_name(const file *f, uint32_t index) {
    const Elf64_Shdr *table = symbol_table(f);
    if (table == NULL || !is_inside(f, table->sh_offset, table->sh_size)) return NULL;
    if (index >= table->sh_size / sizeof(Elf64_Sym)) return NULL;
    Elf64_Sym symbol;
    memcpy(&symbol, f->data + table->sh_offset + index * sizeof symbol, sizeof symbol);
    const Elf64_Shdr *names = section_at(f, table->sh_link);
    return names != NULL ? text_at(f, names, symbol.st_name) : NULL;
}

static cubin_kernel *find_kernel(cubin *all, const char *name) {
    for (size_t i = 0; name != NULL && i < all->n_kernels; i++) {
        if (strcmp(all->kernels[i].name, name) == 0) return &all->kernels[i];
    }
    return NULL;
}

static void take_attribute(
    const file *f, cubin *all, unsigned attribute, const unsigned char *value) {
    enum { FRAME_SIZE = 0x11, REGISTER_COUNT = 0x2f };
    uint32_t words[2];
    memcpy(words, value, sizeof words);
    cubin_kernel *kernel = find_kernel(all, symbol_name(f, words[0]));
    if (kernel == NULL || words[1] > INT32_MAX) return;
    if (attribute == FRAME_SIZE) kernel->frame_bytes = (int32_t)words[1];
    if (attribute == REGISTER_COUNT) kernel->registers = (int32_t)words[1];
}

// Section .nv.info: records of format, attribute and a 16-bit number; format 4 is followed by so many bytes, which begin with a symbol.
static mlcc_status *read_attributes(const file *f, const Elf64_Shdr *section, cubin *all) {
    if (!is_inside(f, section->sh_offset, section->sh_size)) return cut_off("attributes");
    const unsigned char *data = f->data + section->sh_offset;
    const size_t n = (size_t)section->sh_size;
    for (size_t at = 0; at + 4 <= n;) {
        const unsigned format = data[at], attribute = data[at + 1];
        const size_t size_bytes = data[at + 2] | (size_t)data[at + 3] << 8;
        at += 4;
        if (format != 4) continue; // the number itself is the value
        if (size_bytes > n - at) return cut_off("attributes");
        if (size_bytes == 8) take_attribute(f, all, attribute, data + at);
        at += size_bytes;
    }
    return NULL;
}

// ---- all ----------------------------------------------------------------------------------------------

mlcc_status *cubin_read(const void *data, size_t size_bytes, mlcc_arena *keep, cubin **out) {
    static const char code[] = ".text.";
    *out = NULL;
    file f = {.data = data, .size_bytes = size_bytes, .keep = keep};
    MLCC_TRY(read_sections(&f));
    cubin *all = MLCC_NEW(keep, cubin);
    all->arch = arch_of(&f.head);
    all->kernels = MLCC_NEW_ARRAY(keep, cubin_kernel, f.n_sections + 1);
    for (size_t i = 0; i < f.n_sections; i++) {
        const char *name = section_name(&f, &f.sections[i]);
        if (!mlcc_text_starts_with(name, code)) continue;
        cubin_kernel *kernel = &all->kernels[all->n_kernels++];
        *kernel =
            (cubin_kernel){.name = mlcc_arena_strdup(keep, name + strlen(code)), .registers = -1};
        MLCC_TRY(read_code(&f, &f.sections[i], all->arch, kernel));
    }
    for (size_t i = 0; i < f.n_sections; i++) {
        if (strcmp(section_name(&f, &f.sections[i]), ".nv.info") != 0) continue;
        MLCC_TRY(read_attributes(&f, &f.sections[i], all));
    }
    *out = all;
    return NULL;
}

const cubin_kernel *cubin_find(const cubin *all, const char *name) {
    for (size_t i = 0; i < all->n_kernels; i++) {
        if (strcmp(all->kernels[i].name, name) == 0) return &all->kernels[i];
    }
    return NULL;
}

// Loops that load and multiply, before loops that only bring something to shared memory.
static bool is_streaming(const cubin_counts *counts) {
    return counts->n_wide_loads > 0 && counts->n_matrix > 0;
}

double cubin_issue_per_unit(const cubin_kernel *kernel, cubin_unit unit) {
    int32_t most = 0, n_instructions = 0;
    bool has_streaming = false;
    for (int32_t i = 0; i < kernel->n_loops; i++)
        has_streaming = has_streaming || is_streaming(&kernel->loops[i].counts);
    for (int32_t i = 0; i < kernel->n_loops; i++) {
        const cubin_counts *counts = &kernel->loops[i].counts;
        const int32_t n = unit == CUBIN_MATRIX ? counts->n_matrix : counts->n_wide_loads;
        if (n <= most) continue;
        if (unit == CUBIN_WIDE_LOADS && has_streaming && !is_streaming(counts)) continue;
        most = n;
        n_instructions = counts->n_instructions;
    }
    return most > 0 ? (double)n_instructions / most : 0.0;
}
