// tune: knobs by timing (`--opt tune`). Every product of the plan that differs in kernel, weight format or shape is compiled with the candidates
// of its knobs, one knob after the other, and timed on this machine with all its cores: 1, 8 and 128 rows of x, weights that no cache holds. What is
// found is kept (tune_cache.h), so that the next compile asks nobody and gives the same bytes.
//
// Knobs change no bit of a result, so neither does tuning. Kernel rows stay the cost model's: results of two rows may differ in the last bits, and
// what a model says shall not depend on how busy the machine was that compiled it.
// Candidates run in turn and are compared launch by launch, because what a shared machine gives changes from second to second. 1, 8 and 128
// rows count alike, by percent; whoever is not one percent faster in a last comparison does not replace the model's choice.
#ifndef MLCC_CODEGEN_CPU_TUNE_H
#define MLCC_CODEGEN_CPU_TUNE_H

#include "codegen/cpu/emit_llvm.h"

// knobs: per instance, the model's choices, replaced by what was found. This machine must be able to run options->cpu's code.
mlcc_status *cpu_tune(
    const codegen_artifact *artifact, const emit_llvm_options *options,
    const codegen_tuning *tuning, cpu_knobs *knobs);

#endif
