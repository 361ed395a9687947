#include "codegen/cpu/bitcode.h"

#include "runtime/base/str.h"

#include <string.h>

const codegen_bitcode *codegen_bitcode_find(const char *name, bool is_x86) {
    const char *family = "";
    if (mlcc_text_starts_with(name, "portable/")) family = is_x86 ? "x86_" : "arm_";
    size_t family_length = strlen(family);
    for (const codegen_bitcode *row = codegen_bitcode_table; row->name != NULL; row++) {
        if (strncmp(row->name, family, family_length) != 0) continue;
        if (strcmp(row->name + family_length, name) == 0) return row;
    }
    return NULL;
}
