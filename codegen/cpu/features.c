#include "codegen/cpu/features.h"

#include "codegen/cpu/emit_llvm.h"

#include <stdlib.h>
#include <string.h>

#define V2_FEATURES "cx16,popcnt,sahf,sse3,sse4.1,sse4.2,ssse3"
#define V3_FEATURES V2_FEATURES ",avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe,xsave"
#define V4_FEATURES V3_FEATURES ",avx512bw,avx512cd,avx512dq,avx512f,avx512vl"
#define V8_FEATURES "neon"

#define X86_TRIPLE "x86_64-unknown-linux-gnu"
#define ARM_TRIPLE "aarch64-unknown-linux-gnu"

// What "native" may find on a machine: the union of all rows.
#define X86_KNOWN \
    V4_FEATURES ",amx-bf16,amx-int8,amx-tile,avx512bf16,avx512bitalg,avx512fp16,avx512ifma," \
                "avx512vbmi,avx512vbmi2,avx512vnni,avx512vpopcntdq,avxvnni"
#define ARM_KNOWN V8_FEATURES ",bf16,dotprod,fullfp16,i8mm,lse"

typedef struct cpu_row {
    const char *name;
    const char *triple;
    const char *level; // name of the level for LLVM's scheduling
    const char *level_features;
    const char *features;
    int since;
} cpu_row;

#define TRIPLE_X86 X86_TRIPLE
#define TRIPLE_ARM ARM_TRIPLE
#define LEVEL_V2   "x86-64-v2"
#define LEVEL_V3   "x86-64-v3"
#define LEVEL_V4   "x86-64-v4"
#define LEVEL_V8   "generic"

static const cpu_row rows[] = {
#define CPU(name, family, level, features, since) \
    {name, TRIPLE_##family, LEVEL_##level, level##_FEATURES, features, since},
#include "codegen/cpu/cpus.def"
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const cpu_row *find_row(const char *name) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    }
    return NULL;
}

static bool list_has(const char *list, const char *word, size_t length) {
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (n == length && strncmp(list, word, n) == 0) return true;
        list += n;
        if (*list == ',') list++;
    }
    return false;
}

static int by_text(const void *a, const void *b) {
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

// Splits, sorts and joins again, without repeats.
static const char *sorted_list(mlcc_arena *keep, const char *list) {
    char *copy = mlcc_arena_strdup(keep, list), *state = NULL;
    const char **words = MLCC_NEW_ARRAY(keep, const char *, strlen(list) / 2 + 1);
    size_t n_words = 0;
    for (char *word = strtok_r(copy, ",", &state); word != NULL;
         word = strtok_r(NULL, ",", &state)) {
        words[n_words++] = word;
    }
    qsort(words, n_words, sizeof *words, by_text);
    mlcc_str text = {0};
    for (size_t i = 0; i < n_words; i++) {
        if (i > 0 && strcmp(words[i], words[i - 1]) == 0) continue;
        mlcc_str_printf(&text, "%s%s", text.length > 0 ? "," : "", words[i]);
    }
    const char *result = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return result;
}

static mlcc_status *resolve_native(mlcc_arena *keep, codegen_cpu *out) {
    const char *host_name = NULL, *host_features = NULL;
    emit_llvm_host_cpu(keep, &host_name, &host_features);
#if defined(__x86_64__)
    out->triple = X86_TRIPLE;
    const char *known = X86_KNOWN, *floor = V2_FEATURES;
#elif defined(__aarch64__)
    out->triple = ARM_TRIPLE;
    const char *known = ARM_KNOWN, *floor = V8_FEATURES;
#else
#    error "mlcc runs on x86-64 and aarch64"
#endif
    mlcc_str list = {0};
    for (const char *p = host_features; *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n > 1 && *p == '+' && list_has(known, p + 1, n - 1)) {
            mlcc_str_append(&list, p + 1, n - 1);
            mlcc_str_putc(&list, ',');
        }
        p += n;
        if (*p == ',') p++;
    }
    out->name = host_name;
    out->llvm_cpu = host_name;
    out->features = sorted_list(keep, mlcc_str_text(&list));
    mlcc_str_free(&list);
    const char *missing = codegen_cpu_lacks(out, floor, keep);
    if (missing != NULL) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "this CPU ('%s') lacks '%s', which the portable kernels need; compile for "
            "another machine with --target",
            host_name, missing);
    }
    return NULL;
}

static mlcc_status *unknown_target(const char *target) {
    const char *names[N_ROWS + 1] = {"native"};
    mlcc_str all = {0};
    mlcc_str_puts(&all, "native");
    for (size_t i = 0; i < N_ROWS; i++) {
        names[i + 1] = rows[i].name;
        mlcc_str_printf(&all, ", %s", rows[i].name);
    }
    const char *nearest = mlcc_text_nearest(target, names, N_ROWS + 1);
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED, "unknown target '%s'%s%s%s; accepted are %s", target,
        nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "'?" : "", mlcc_str_text(&all));
    mlcc_str_free(&all);
    return status;
}

mlcc_status *codegen_cpu_resolve(const char *target, mlcc_arena *keep, codegen_cpu *out) {
    *out = (codegen_cpu){0};
    if (strcmp(target, "native") == 0) return resolve_native(keep, out);
    const cpu_row *row = find_row(target);
    if (row == NULL) return unknown_target(target);
    out->name = row->name;
    out->triple = row->triple;
    out->llvm_cpu = row->name;
    out->features =
        sorted_list(keep, mlcc_arena_printf(keep, "%s,%s", row->level_features, row->features));
    return NULL;
}

bool codegen_cpu_is_x86(const codegen_cpu *cpu) {
    return mlcc_text_starts_with(cpu->triple, "x86_64");
}

bool codegen_cpu_has(const codegen_cpu *cpu, const char *feature) {
    return list_has(cpu->features, feature, strlen(feature));
}

const char *codegen_cpu_lacks(const codegen_cpu *cpu, const char *needs, mlcc_arena *keep) {
    while (*needs != '\0') {
        size_t n = strcspn(needs, ",");
        if (n > 0 && !list_has(cpu->features, needs, n)) return mlcc_arena_strndup(keep, needs, n);
        needs += n;
        if (*needs == ',') needs++;
    }
    return NULL;
}

const char *codegen_cpu_tune(const codegen_cpu *cpu) {
    const cpu_row *row = find_row(cpu->llvm_cpu);
    if (row == NULL) return cpu->llvm_cpu; // the host's own name, given by this LLVM
    if (strcmp(row->name, "aarch64") == 0 || row->since > MLCC_LLVM_MAJOR) return row->level;
    return row->name;
}
