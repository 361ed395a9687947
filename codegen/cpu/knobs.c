#include "codegen/cpu/knobs.h"

#include <string.h>

#define LIST(...) {__VA_ARGS__}
static const cpu_knob_row rows[CPU_N_KNOBS] = {
#define KNOB(name, kernels, fallback, candidates, meaning) \
    {#name, kernels, fallback, LIST candidates, meaning},
#include "codegen/cpu/knobs.def"
};

const cpu_knob_row *cpu_knob_get(cpu_knob knob) {
    return &rows[knob];
}

int32_t cpu_knob_candidates(cpu_knob knob) {
    int32_t n = 0;
    while (n < CPU_KNOB_MAX_CANDIDATES && rows[knob].candidates[n] != 0) n++;
    return n;
}

cpu_knob cpu_knob_find(const char *name) {
    int32_t knob = 0;
    while (knob < (int32_t)CPU_N_KNOBS && strcmp(rows[knob].name, name) != 0) knob++;
    return (cpu_knob)knob;
}

bool cpu_knob_belongs(cpu_knob knob, const char *kernel) {
    const char *prefix = rows[knob].kernels;
    while (*prefix != '\0') {
        const size_t length = strcspn(prefix, " ");
        if (strncmp(kernel, prefix, length) == 0) return true;
        prefix += length + strspn(prefix + length, " ");
    }
    return false;
}

bool cpu_knob_accepts(cpu_knob knob, int64_t value) {
    for (int32_t i = 0; i < cpu_knob_candidates(knob); i++) {
        if (rows[knob].candidates[i] == value) return true;
    }
    return false;
}

cpu_knobs cpu_knobs_fallback(void) {
    cpu_knobs knobs;
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) knobs.values[i] = rows[i].fallback;
    return knobs;
}
