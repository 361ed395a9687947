#include "codegen/object.h"

#include "runtime/abi.h"
#include "runtime/base/str.h"

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct elf_view {
    const unsigned char *data;
    size_t size_bytes;
    Elf64_Ehdr header;
} elf_view;

static bool in_range(const elf_view *elf, uint64_t offset, uint64_t size_bytes) {
    return offset <= elf->size_bytes && size_bytes <= elf->size_bytes - offset;
}

static bool read_section(const elf_view *elf, size_t index, Elf64_Shdr *out) {
    uint64_t offset = elf->header.e_shoff + (uint64_t)index * sizeof *out;
    if (index >= elf->header.e_shnum || !in_range(elf, offset, sizeof *out)) return false;
    memcpy(out, elf->data + offset, sizeof *out);
    return out->sh_type == SHT_NOBITS || in_range(elf, out->sh_offset, out->sh_size);
}

// What the objects of a library's levels show each other, and nobody else.
static bool is_between_levels(const Elf64_Sym *symbol, const char *name) {
    return ELF64_ST_VISIBILITY(symbol->st_other) == STV_HIDDEN &&
           mlcc_text_starts_with(name, CODEGEN_LEVEL_SYMBOL);
}

static bool is_allowed_outside(const char *name) {
    static const char *const allowed[] = {
        "", "memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"};
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (strcmp(name, allowed[i]) == 0) return true;
    }
    return false;
}

// Appends the symbol's name to `missing` or `extra` when it may not be there.
static void judge(const Elf64_Sym *symbol, const char *name, mlcc_str *missing, mlcc_str *extra) {
    if (ELF64_ST_BIND(symbol->st_info) == STB_LOCAL || is_between_levels(symbol, name)) return;
    if (symbol->st_shndx == SHN_UNDEF) {
        if (!is_allowed_outside(name)) mlcc_str_printf(missing, " %s", name);
    } else if (strcmp(name, MLCC_ABI_QUERY) != 0 && strcmp(name, MLCC_ABI_LEVELS) != 0) {
        mlcc_str_printf(extra, " %s", name);
    }
}

static mlcc_status *check_symbols(
    const elf_view *elf, const Elf64_Shdr *table, mlcc_str *missing, mlcc_str *extra) {
    Elf64_Shdr strings;
    if (!read_section(elf, table->sh_link, &strings) || strings.sh_size == 0 ||
        elf->data[strings.sh_offset + strings.sh_size - 1] != '\0') {
        return MLCC_ERROR(INTERNAL, "the emitted object has a damaged symbol table");
    }
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= table->sh_size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, elf->data + table->sh_offset + at, sizeof symbol);
        if (symbol.st_name >= strings.sh_size) {
            return MLCC_ERROR(INTERNAL, "the emitted object has a damaged symbol table");
        }
        const unsigned char *name = elf->data + strings.sh_offset + symbol.st_name;
        judge(&symbol, (const char *)name, missing, extra);
    }
    return NULL;
}

mlcc_status *codegen_object_check(const void *object, size_t size_bytes) {
    elf_view elf = {.data = object, .size_bytes = size_bytes};
    if (size_bytes < sizeof elf.header || memcmp(object, ELFMAG, SELFMAG) != 0) {
        return MLCC_ERROR(INTERNAL, "the emitted object is no ELF file");
    }
    memcpy(&elf.header, object, sizeof elf.header);
    mlcc_str missing = {0}, extra = {0};
    mlcc_status *status = NULL;
    for (size_t i = 0; status == NULL && i < elf.header.e_shnum; i++) {
        Elf64_Shdr section;
        if (!read_section(&elf, i, &section)) {
            status = MLCC_ERROR(INTERNAL, "the emitted object has a damaged section table");
        } else if (section.sh_type == SHT_SYMTAB) {
            status = check_symbols(&elf, &section, &missing, &extra);
        }
    }
    if (status == NULL && missing.length > 0) {
        status = MLCC_ERROR(
            INTERNAL,
            "the generated code needs functions that lib.so cannot bring along:%s; only memcpy, "
            "memmove and memset may come from outside",
            mlcc_str_text(&missing));
    } else if (status == NULL && extra.length > 0) {
        status = MLCC_ERROR(
            INTERNAL, "the generated code exports more than " MLCC_ABI_QUERY ":%s",
            mlcc_str_text(&extra));
    }
    mlcc_str_free(&missing);
    mlcc_str_free(&extra);
    return status;
}
