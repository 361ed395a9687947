// program: a decoded kernel, and a warp that runs it.
//
// Every virtual register that a kernel names, every literal and every special register has a place in the warp's register file: an array of 32
// lanes of its width (a predicate: one 32-bit mask). An instruction is a function over such arrays, so that operands need no case distinction and
// the loops over lanes vectorise. Inactive lanes may be computed, they are not kept.
#ifndef MLCC_TESTS_PTX_PROGRAM_H
#define MLCC_TESTS_PTX_PROGRAM_H

#include "runtime/base/arena.h"
#include "runtime/base/str.h"
#include "tests/support/ptx/ptx.h"

#define PTX_LANES     32
#define PTX_ALL_LANES UINT32_MAX

#define PTX_MAX_WARPS 32

typedef struct ptx_warp ptx_warp;
typedef struct ptx_block ptx_block;
typedef struct ptx_insn ptx_insn;

// Executes one instruction for the lanes of `mask`; failures go to ptx_fail.
typedef void ptx_handler(ptx_warp *warp, const ptx_insn *insn, uint32_t mask);

// ---- types -------------------------------------------------------------------------------------------------------------------------------------

typedef enum ptx_kind { // what the bits of a type mean
    PTX_KIND_BITS,
    PTX_KIND_UNSIGNED,
    PTX_KIND_SIGNED,
    PTX_KIND_FLOAT,
    PTX_KIND_PREDICATE
} ptx_kind;

typedef struct ptx_type {
    const char *name; // "u32"
    ptx_kind kind;
    uint32_t bits; // of a register: 1 (predicate), 8, 16, 32, 64, 128
} ptx_type;

// NULL: no such type.
const ptx_type *ptx_type_find(const char *name, size_t length);

typedef enum ptx_space {
    PTX_SPACE_GENERIC,
    PTX_SPACE_GLOBAL, // and const: host pointers
    PTX_SPACE_SHARED,
    PTX_SPACE_LOCAL,
    PTX_SPACE_PARAM
} ptx_space;

// Generic addresses of the spaces that are not host memory: outside what a process can map.
#define PTX_SHARED_WINDOW           ((uint64_t)1 << 56)
#define PTX_LOCAL_WINDOW            ((uint64_t)2 << 56)
#define PTX_PARAM_WINDOW            ((uint64_t)3 << 56)
// The first dynamic shared and local address: 0 is never valid. Static shared memory lies behind all that dynamic memory can be, so that an overrun of
// one does not land in the other; both lie below 2^18, what a matrix descriptor can name (static variables beyond 27 KB do not).
#define PTX_FIRST_ADDRESS           1024u
#define PTX_STATIC_ADDRESS          (PTX_FIRST_ADDRESS + PTX_MAX_SHARED_BYTES)
#define PTX_MAX_STATIC_SHARED_BYTES 49152u
#define PTX_MAX_SHARED_BYTES        (228u << 10)

// ---- instructions ------------------------------------------------------------------------------------------------------------------------------

typedef struct ptx_operand {
    uint32_t place;    // byte offset in the register file
    uint32_t number;   // of the register, for its mask of written lanes; 0: always defined
    uint32_t bits;     // width of a lane
    uint32_t is_unset; // 1: "_", a result that is dropped
} ptx_operand;

typedef enum ptx_flow {
    PTX_FLOW_NEXT,
    PTX_FLOW_BRANCH, // target
    PTX_FLOW_EXIT,
    PTX_FLOW_BARRIER, // of the block: sources are the barrier's number and the number of threads
    PTX_FLOW_WARP,    // needs all lanes of its member mask: source number `member`
    PTX_FLOW_POLL // looks whether something has come: when not (ptx_warp.has_polled), others get their turn
} ptx_flow;

enum ptx_insn_flag {
    PTX_GUARDED = 1,
    PTX_GUARD_NEGATED = 2,
    PTX_FTZ = 4,       // subnormal f32 inputs and results are zero
    PTX_SAT = 8,       // results are kept within 0 … 1
    PTX_RELU = 16,     // negative results and NaN… are 0
    PTX_NAN = 32,      // min, max: NaN wins
    PTX_COPIES = 64,   // an unwritten source lane makes an unwritten result lane (mov)
    PTX_EXTRA = 128,   // meaning depends on the instruction
    PTX_WATCHED = 256, // uses registers that a wgmma of the function uses
    PTX_ASYNC = 512    // a wgmma: checks its registers itself
};

#define PTX_NO_MEMBER 0xff

struct ptx_insn {
    ptx_handler *run;
    const ptx_operand *operands; // results, then sources
    ptx_operand guard;
    const char *text; // "add.s32"
    int64_t offset;   // added to an address
    uint32_t line;    // of the PTX text
    uint32_t target;  // index of an instruction; columns of a wgmma
    uint16_t flags;   // ptx_insn_flag
    uint8_t n_results, n_sources;
    uint8_t flow;       // ptx_flow
    uint8_t member;     // which source is the member mask
    uint8_t space;      // ptx_space
    uint8_t n_elements; // of a vector access
    uint8_t element_bits;
    uint8_t is_signed; // loaded elements are sign-extended
    uint8_t detail[3]; // meaning depends on the instruction
};

typedef struct ptx_constant {
    uint64_t value;
    uint32_t place, bits;
} ptx_constant;

typedef struct ptx_special {
    uint32_t which; // index of ptx_special_names
    uint32_t place, bits;
} ptx_special;

typedef struct ptx_param {
    const char *name;
    uint32_t offset_bytes, size_bytes;
} ptx_param;

struct ptx_function {
    const ptx_module *module;
    const char *name;
    ptx_insn *code; // ends with an exit
    ptx_constant *constants;
    ptx_special *specials;
    ptx_param *params;
    const char *unsupported; // why the kernel cannot run, or NULL
    size_t n_code, n_constants, n_specials, n_params;
    uint32_t n_registers; // numbers 1 … n_registers
    bool has_wgmma;
    uint32_t file_bytes; // register file of one warp
    uint32_t param_bytes, local_bytes;
    uint32_t static_shared_bytes;
    uint32_t max_threads;
};

typedef struct ptx_variable {
    uint8_t *data;
    size_t size_bytes;
} ptx_variable;

struct ptx_module {
    mlcc_arena *arena;
    ptx_function **functions;
    ptx_variable *variables;
    size_t n_functions, n_variables;
    uint32_t target;
    bool is_arch_specific;
};

// Names of special registers, without the leading '%'; ends with NULL.
extern const char *const ptx_special_names[];

// ---- running -----------------------------------------------------------------------------------------------------------------------------------

// Lanes of a warp that stand at the same instruction.
typedef struct ptx_split {
    uint32_t pc, mask;
    bool waits_at_barrier, waits_for_warp, has_polled;
    uint32_t barrier;
} ptx_split;

// What a warp knows of the others: everything that warp w did up to time seen[w] comes before what this warp does now; its writes of shared memory up
// to time fenced[w] are also seen by the async proxy, since a proxy fence lies between. Barriers carry the same from those who arrive to those who
// wait.
typedef struct ptx_clock {
    uint32_t seen[PTX_MAX_WARPS], fenced[PTX_MAX_WARPS];
} ptx_clock;

#define PTX_N_BARRIERS 16

// A barrier of the block.
typedef struct ptx_barrier {
    uint32_t n_arrived;  // threads, since the last release
    uint32_t n_expected; // 0: not stated, all of the block
    bool is_used;        // somebody has arrived since the last release
    ptx_clock clock;
} ptx_barrier;

typedef struct ptx_mbarriers ptx_mbarriers; // of a block: ptx_mbarrier.c
typedef struct ptx_transfers ptx_transfers; // bulk copies of a block: ptx_bulk.c
typedef struct ptx_wgmma ptx_wgmma;         // of a warp: ptx_wgmma.c
typedef struct ptx_warpgroup ptx_warpgroup; // of four warps: ptx_wgmma.c

// A cp.async that has not been waited for.
typedef struct ptx_copy {
    const uint8_t *source;      // NULL: zeros
    uint32_t target;            // offset in the shared bytes
    uint32_t n_bytes, n_filled; // the rest is zero
    uint32_t lane, group;
    uint32_t number; // in order of issue
} ptx_copy;

struct ptx_warp {
    ptx_block *block;
    uint8_t *file;
    uint32_t *defined; // mask of written lanes per register number
    uint8_t *local;    // 32 times local_bytes
    ptx_copy *copies;  // in order of issue
    size_t n_copies, copies_capacity;
    uint32_t open_group[PTX_LANES]; // number of the group that the next commit closes
    uint32_t index;                 // in the block
    uint32_t first_thread;
    uint32_t members;    // lanes that exist
    uint32_t sync_epoch; // counts bar.warp.sync
    ptx_split splits[PTX_LANES];
    uint32_t n_splits;
    uint32_t n_copies_issued;
    uint32_t released_lanes; // have executed griddepcontrol.wait
    bool has_polled;         // set by an instruction that looked in vain
    ptx_clock clock;
    ptx_wgmma *wgmma; // NULL: the function has none
};

// What is known of the block's shared bytes (ptx_shadow.c).
typedef struct ptx_shadow {
    uint8_t *state;           // per byte: enum ptx_byte_state
    uint64_t *reads, *writes; // per word: who did it last
    uint32_t *read_pcs, *write_pcs;
    uint32_t *readers;     // per word: the warps that read it, unordered, since
    uint32_t *first_reads; // this time
    uint16_t *under_way;   // per word: reads of the async proxy that are not over
    uint32_t time;         // goes on with every barrier and fence
    uint32_t n_objects;    // mbarriers that are alive
} ptx_shadow;

struct ptx_block {
    const ptx_function *function;
    const ptx_memory *memory;
    const uint8_t *params;
    ptx_counters *counters; // never NULL
    uint8_t *shared;
    ptx_shadow shadow;
    ptx_warp *warps;
    ptx_barrier barriers[PTX_N_BARRIERS];
    ptx_mbarriers *mbarriers;
    ptx_transfers *transfers;
    ptx_warpgroup *warpgroups; // one for every four warps that are begun
    const ptx_history *before; // NULL: not a dependent launch
    ptx_history *touches;      // NULL: not recorded
    mlcc_status *failure;
    uint64_t n_events; // counts what may end somebody's waiting
    uint64_t n_instructions;
    uint64_t max_instructions;
    uint64_t range_start, range_end; // the registered range of the last access
    uint32_t checks;
    uint32_t n_warps, n_threads, shared_bytes;
    uint32_t grid[3], block[3], at[3];
    bool counts; // requests, sectors and wavefronts are wanted
};

// Where dynamic shared memory begins in the block's bytes.
static inline uint32_t ptx_dynamic_start(const ptx_function *function) {
    return (function->static_shared_bytes + 127u) & ~127u;
}

// Ends the launch with a message that names kernel, line, instruction, block and `lanes`; the first failure of a launch is kept.
void ptx_fail(ptx_warp *warp, const ptx_insn *insn, uint32_t lanes, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static inline void *ptx_result(const ptx_warp *warp, const ptx_insn *insn, int index) {
    return warp->file + insn->operands[index].place;
}

static inline const void *ptx_source(const ptx_warp *warp, const ptx_insn *insn, int index) {
    return warp->file + insn->operands[insn->n_results + index].place;
}

#define PTX_EACH_LANE for (int lane = 0; lane < PTX_LANES; lane++)

// Keeps the active lanes of a result.
#define PTX_KEEP(bits) \
    static inline void ptx_keep##bits( \
        const ptx_warp *warp, const ptx_insn *insn, int index, const void *values, \
        uint32_t mask) { \
        uint##bits##_t *kept = ptx_result(warp, insn, index); \
        const uint##bits##_t *value = values; \
        if (insn->operands[index].is_unset) return; \
        PTX_EACH_LANE kept[lane] = (mask >> lane & 1u) != 0 ? value[lane] : kept[lane]; \
    }
PTX_KEEP(16)
PTX_KEEP(32)
PTX_KEEP(64)
#undef PTX_KEEP

static inline void ptx_keep_predicate(
    const ptx_warp *warp, const ptx_insn *insn, int index, uint32_t value, uint32_t mask) {
    uint32_t *kept = ptx_result(warp, insn, index);
    if (insn->operands[index].is_unset) return;
    *kept = (*kept & ~mask) | (value & mask);
}

static inline uint32_t ptx_predicate(const ptx_warp *warp, const ptx_insn *insn, int index) {
    return *(const uint32_t *)ptx_source(warp, insn, index);
}

// One lane of a source of any width, zero-extended.
static inline uint64_t ptx_lane_value(
    const ptx_warp *warp, const ptx_insn *insn, int index, int lane) {
    const ptx_operand *operand = &insn->operands[insn->n_results + index];
    const uint8_t *place = warp->file + operand->place;
    switch (operand->bits) {
    case 1: return *(const uint32_t *)(const void *)place >> lane & 1u;
    case 16: return ((const uint16_t *)(const void *)place)[lane];
    case 32: return ((const uint32_t *)(const void *)place)[lane];
    default: return ((const uint64_t *)(const void *)place)[lane];
    }
}

#endif
