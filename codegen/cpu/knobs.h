// knobs: the table of knobs.def, and the values that a group gets.
#ifndef MLCC_CODEGEN_CPU_KNOBS_H
#define MLCC_CODEGEN_CPU_KNOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cpu_knob {
#define KNOB(name, kernels, fallback, candidates, meaning) CPU_KNOB_##name,
#include "codegen/cpu/knobs.def"
    CPU_N_KNOBS
} cpu_knob;

enum { CPU_KNOB_MAX_CANDIDATES = 4 };

typedef struct cpu_knob_row {
    const char *name;
    const char *kernels; // what the names of its kernel rows begin with
    int64_t fallback;
    int64_t candidates[CPU_KNOB_MAX_CANDIDATES]; // ascending; zeros behind the last
    const char *meaning;
} cpu_knob_row;

const cpu_knob_row *cpu_knob_get(cpu_knob knob);
int32_t cpu_knob_candidates(cpu_knob knob); // how many there are
// CPU_N_KNOBS when no row has that name.
cpu_knob cpu_knob_find(const char *name);
bool cpu_knob_belongs(cpu_knob knob, const char *kernel);
bool cpu_knob_accepts(cpu_knob knob, int64_t value);

// A value for every knob; those of other kernels keep their fallback and mean nothing.
typedef struct cpu_knobs {
    int64_t values[CPU_N_KNOBS];
} cpu_knobs;

cpu_knobs cpu_knobs_fallback(void);

#endif
