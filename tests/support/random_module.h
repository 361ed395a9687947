// random_module: random but valid GRAPH-level modules with inputs and weights, so that a pass can
// be judged by evaluating before and after it.
//
//   ir_module *module = random_module(seed, keep);
//   ir_function *forward = ir_module_find(module, "forward");
//   ir_tensor **args = random_inputs(forward, seed, keep);
//   ir_eval_options options = {.param = random_param};
//
// Modules look like a decoder: embedding, layers of norm, projections with shared fused names,
// rope, kv cache, attention, gated products and residual adds, a head; with odd sizes, and strewn
// with what passes are there to remove: no-op scales, casts and slices, constant expressions, dead
// nodes. The same seed gives the same module on every machine.
#ifndef MLCC_TESTS_SUPPORT_RANDOM_MODULE_H
#define MLCC_TESTS_SUPPORT_RANDOM_MODULE_H

#include "ir/eval.h"
#include "ir/ir.h"

// splitmix64 (Steele, Lea, Flood 2014): all random numbers of the tests.
typedef struct random_state {
    uint64_t state;
} random_state;
uint64_t random_u64(random_state *random);
// 0 … n-1
int64_t random_below(random_state *random, int64_t n);
// -1 … 1
double random_unit(random_state *random);
// Numbers from -size to size, rounded to `dtype`.
ir_tensor *random_tensor(
    ir_dtype dtype, int32_t rank, const int64_t *dims, double size, uint64_t seed,
    mlcc_arena *keep);
ir_tensor *random_matrix(
    ir_dtype dtype, int64_t rows, int64_t columns, double size, uint64_t seed, mlcc_arena *keep);

ir_module *random_module(uint64_t seed, mlcc_arena *keep);
// What a module may hold besides; a bit mask. Without any it is random_module's.
enum random_features {
    // Rows of linears are rounded to fp8 with every kind of scale (a constant, a param, computed; for
    // the row, for groups of columns), and maxima are recorded: arguments "observed.N", returned.
    RANDOM_FLOAT8 = 1
};
ir_module *random_module_with(uint64_t seed, uint32_t features, mlcc_arena *keep);

// One tensor per argument of `f`: a ragged batch over 1 to 3 sequences, each with tokens from
// before in the cache. The arguments ids, positions, seq_ids, page_table, logit_rows and kv.N get
// what their names promise; any other argument random numbers. Depends on names, types and seed
// only.
ir_tensor **random_inputs(const ir_function *f, uint64_t seed, mlcc_arena *keep);

// ir_eval_param: a param's value follows from the names of its sources alone, so a joined param is
// the concatenation of what its sources were alone. A source's name ends in ".rowsN", its extent
// along axis 0; a param without sources, or with one whose name does not end so, is one piece. All
// values are exact in bf16, f16 and f32; a GROUPED param is given as if it were not quantized. A
// param with a fallback, a scale, is the fallback or small positive numbers, as its name decides.
// `user` is not used.
mlcc_status *random_param(void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out);

#endif
