// ir: the one language every room speaks. Read this file first, then ops.def.
//
// A module holds symbols (named dimensions), params (weights, by name), constants, and functions in order. A function is a straight list
// of nodes in SSA form; every node has operands and results, all of them values. There is one data structure and three levels:
//
//   GRAPH  tensors and ops
//   FUSED  the entry function consists of `call`s of group functions; a group function holds one anchor op (or only element-wise ops)
//          with its element-wise prologue and epilogue. Equal groups are one function, called many times.
//   PLAN   calls became `launch`es with a kernel each; every result has an offset in the workspace; params have device layouts
//
// Text form (.mlcir) equals memory form: parse(print(m)) is structurally equal to m.
//
//   module @llama level=graph
//   symbol n_tokens <= 512
//   param @model.norm.weight : f16[64]
//   param @model.layers.0.self_attn.qkv_proj.weight : q4g32_f16[128, 64] from "…q_proj.weight", "…k_proj.weight", "…v_proj.weight"
//   param @model.layers.0.mlp.gate_proj.weight : f32[172, 64] from "model.layers.0.mlp.gate_proj.weight" fused "model.layers.0.mlp.gate_up_proj.weight"
//   param @model.layers.0.mlp.down_proj.q_calibration_scale : f32[1] from "….mlp.down_proj.input_scale" else 0.0
//   const @inv_freq : f32[4] = [1.0, 0.1, 0.01, 0.001]
//   func @forward(%ids: i32[n_tokens]) {
//       %0 = embedding %ids, @model.embed_tokens.weight : f16[n_tokens, 64]
//       %1 = rms_norm %0, @model.norm.weight {eps = 1e-06} : f16[n_tokens, 64]
//       return %1
//   }
//
// Memory: everything of a module lives in the arena given to ir_module_create. Nothing is freed singly.
// Thread rule: one writer, or many readers.
#ifndef MLCC_IR_IR_H
#define MLCC_IR_IR_H

#include "ir/dim.h"
#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IR_MAX_RANK           6
#define IR_MAX_OPERANDS       64
// Of a mixture of experts: in all, and chosen for one row.
#define IR_MAX_EXPERTS        4096
#define IR_MAX_CHOSEN_EXPERTS 64

typedef enum ir_dtype {
#define DTYPE(id, text, kind, bits, group, scale, meaning) IR_##id,
#include "ir/dtypes.def"
    IR_N_DTYPES
} ir_dtype;

typedef enum ir_dtype_kind {
    IR_KIND_FLOAT,
    IR_KIND_INT,
    IR_KIND_GROUPED,
    IR_KIND_STORED,
    IR_KIND_FLOAT8
} ir_dtype_kind;

typedef struct ir_dtype_info {
    const char *text;
    ir_dtype_kind kind;
    int32_t bits;
    int32_t group;
    ir_dtype scale;
    const char *meaning;
} ir_dtype_info;
const ir_dtype_info *ir_dtype_get(ir_dtype dtype);
bool ir_dtype_parse(const char *text, ir_dtype *out);
// Bytes of one element of a FLOAT, INT, STORED or FLOAT8 dtype.
size_t ir_dtype_bytes(ir_dtype dtype);

typedef enum ir_op {
#define OP(id, ...) IR_OP_##id,
#include "ir/ops.def"
    IR_N_OPS
} ir_op;

typedef enum ir_level { IR_LEVEL_GRAPH, IR_LEVEL_FUSED, IR_LEVEL_PLAN } ir_level;
const char *ir_level_text(ir_level level); // "graph", …

enum ir_op_flags { IR_ELEMENTWISE = 1, IR_ANCHOR = 2, IR_IN_PLACE = 4, IR_COMMUTES = 8 };

typedef struct ir_op_info {
    const char *text;
    ir_level level;
    int32_t min_operands, max_operands;
    int32_t n_results; // -1: as many as the callee returns
    uint32_t flags;
    uint32_t prologue; // bit mask of operands
    const char *meaning;
} ir_op_info;
const ir_op_info *ir_op_get(ir_op op);
bool ir_op_parse(const char *text, ir_op *out);

typedef struct ir_type {
    ir_dtype dtype;
    int32_t rank;
    ir_dim dims[IR_MAX_RANK];
} ir_type;
bool ir_type_equal(const ir_type *a, const ir_type *b);
bool ir_type_same_shape(const ir_type *a, const ir_type *b); // whatever the dtypes are
ir_type ir_type_vector(ir_dtype dtype, ir_dim d0);
ir_type ir_type_matrix(ir_dtype dtype, ir_dim d0, ir_dim d1);
// A stack of matrices [E, N, K] as the matrix [E*N, K] that its elements are in memory; any other type as it is.
ir_type ir_type_flat(const ir_type *type);
// Elements, and bytes of a FLOAT, INT or FLOAT8 tensor, with every symbol at its bound; false when 63 bits do not hold it.
bool ir_type_bound_elements(const ir_type *type, int64_t *elements);
bool ir_type_bound_bytes(const ir_type *type, int64_t *size_bytes);

typedef struct ir_node ir_node;
typedef struct ir_function ir_function;
typedef struct ir_module ir_module;

typedef enum ir_value_kind {
    IR_VALUE_PARAM,
    IR_VALUE_CONST,
    IR_VALUE_ARG,
    IR_VALUE_RESULT
} ir_value_kind;

typedef struct ir_value {
    ir_value_kind kind;
    const char *name; // params, consts, args; results are numbered when printed
    ir_type type;
    ir_node *def;  // results: the node
    int32_t index; // results: which one; args, params, consts: place in their list
    // PLAN level: place in the workspace; -1 = none (args, function results that go to caller memory, in-place results)
    int64_t offset_bytes;
    void *user; // scratch for the pass that is running; garbage otherwise
} ir_value;

// Where a param's data comes from: source tensors (Hugging Face names) joined along axis 0 in this order, then cast, then encoded.
typedef struct ir_param {
    // first, so that ir_param_of can cast back; value.name is MLC's name ("….weight")
    ir_value value;
    const char **sources;
    int32_t n_sources;
    // MLC's name of the joined weight, shared by the params that fuse_projections may join; NULL = stays alone
    const char *fused_name;
    // Where no source tensor exists (n_sources 0, or none of them is in the checkpoint), every element is this.
    bool has_fallback;
    double fallback;
    // PLAN level: device layout chosen by the target, e.g. "panel16"; NULL before
    const char *layout;
} ir_param;

// A constant: `data` holds bound_elements elements of value.type.dtype (FLOAT or INT), C order; the type has constant dims only.
typedef struct ir_const {
    ir_value value;
    void *data;
} ir_const;

typedef enum ir_attr_kind { IR_ATTR_I64, IR_ATTR_F64, IR_ATTR_BOOL, IR_ATTR_TEXT } ir_attr_kind;
typedef struct ir_attr {
    const char *name;
    ir_attr_kind kind;
    union {
        int64_t i64;
        double f64;
        bool boolean;
        const char *text;
    } as;
} ir_attr;

struct ir_node {
    ir_op op;
    ir_value **operands;
    int32_t n_operands;
    ir_value **results;
    int32_t n_results;
    ir_attr *attrs; // all of the op's attributes, in attrs.def order, defaults filled in
    int32_t n_attrs;
    ir_function *function;
    ir_node *prev, *next; // list order is execution order
};

struct ir_function {
    const char *name;
    bool is_group; // printed as `group @name(…)`; otherwise `func`
    ir_value **args;
    int32_t n_args;
    ir_node *first, *last;
    ir_value **returns;
    int32_t n_returns;
    int64_t workspace_bytes; // PLAN level, entry functions; -1 before
    ir_module *module;
};

struct ir_module {
    mlcc_arena *keep;
    const char *name;
    ir_level level;
    ir_symbol **symbols;
    size_t n_symbols, symbols_capacity;
    ir_param **params;
    size_t n_params, params_capacity;
    ir_const **consts;
    size_t n_consts, consts_capacity;
    ir_function **functions;
    size_t n_functions, functions_capacity;
};

static inline ir_param *ir_param_of(ir_value *value) {
    return value->kind == IR_VALUE_PARAM ? (ir_param *)(void *)value : NULL;
}
static inline ir_const *ir_const_of(ir_value *value) {
    return value->kind == IR_VALUE_CONST ? (ir_const *)(void *)value : NULL;
}

// Attributes by name; the name must be one of the op's (assert).
int64_t ir_attr_i64(const ir_node *node, const char *name);
double ir_attr_f64(const ir_node *node, const char *name);
bool ir_attr_bool(const ir_node *node, const char *name);
const char *ir_attr_text(const ir_node *node, const char *name);
void ir_attr_set_i64(ir_node *node, const char *name, int64_t value);
void ir_attr_set_f64(ir_node *node, const char *name, double value);
void ir_attr_set_bool(ir_node *node, const char *name, bool value);
// copied into the module's arena
void ir_attr_set_text(ir_node *node, const char *name, const char *value);

ir_function *ir_module_find(const ir_module *module, const char *function_name); // NULL when absent
ir_param *ir_module_find_param(const ir_module *module, const char *name);

#endif
