// share: groups that differ in extents only are one function, and so are prepare functions.
//
// A layer has several linears of one weight format, and compiling one is most of what compiling a layer takes; their inner loops are the same code
// whatever the extents are. So instances whose groups are equal but for the dimensions of their tensors are compiled once, from a copy of the first
// one's group in which every dimension that differs is a symbol behind those of the module; each launch hands over its own.
//
// They have the same kernel row and the same knobs. Constant extents differ among products only (share.c says which, and where K stays constant);
// other groups share where the symbols differ, as the norm of all rows and that of the last ones. What all dimensions in one place are multiples of is
// kept: the function gets a count of such units, so that its loops need no tail that no member of the class has.
#ifndef MLCC_CODEGEN_CPU_SHARE_H
#define MLCC_CODEGEN_CPU_SHARE_H

#include "codegen/artifact.h"
#include "codegen/cpu/knobs.h"

typedef struct cpu_extent {
    ir_dim dim; // of this instance
    int64_t
        unit; // a power of two that divides the dimension in every instance of the class; 0: in some of them it is a symbol
} cpu_extent;

typedef struct cpu_share {
    int32_t owner; // whose function the launches of this instance call; its own index: it has one
    const codegen_instance *instance; // of an owner: what the function is made from
    const cpu_extent *extents;        // in the order of their symbols
    int32_t n_extents;
} cpu_share;

// How every instance of the artifact is compiled, in `keep`, which the result refers to together with the artifact.
cpu_share *cpu_share_instances(
    const codegen_artifact *artifact, const cpu_knobs *knobs, mlcc_arena *keep);

// The same for prepare functions, which are equal but for the extents where layout and element format are.
typedef struct cpu_prepare_share {
    int32_t owner;
    ir_type type; // of an owner: the symbols of its extents are numbered from 0
    const cpu_extent *extents;
    int32_t n_extents;
} cpu_prepare_share;

cpu_prepare_share *cpu_share_prepares(const codegen_artifact *artifact, mlcc_arena *keep);

// Every instance with a function of its own.
cpu_share *cpu_share_nothing(const codegen_artifact *artifact, mlcc_arena *keep);

#endif
