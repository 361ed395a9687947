// ptx_decode: one statement of PTX (opcode and arguments, as the parser read them) becomes one instruction.
//
// ptx_module.c reads modules, ptx_declare.c declarations, ptx_parse.c arguments and statements; ptx_decode.c finds the row or the function for an
// opcode; the families' files hold the handlers and say how their arguments become operands. To add an instruction: a row in its family's table, or
// a decode function in `families` of ptx_decode.c for one whose suffixes matter.
#ifndef MLCC_TESTS_PTX_PTX_DECODE_H
#define MLCC_TESTS_PTX_PTX_DECODE_H

#include "runtime/base/map.h"
#include "tests/support/ptx/program.h"
#include "tests/support/ptx/ptx_lex.h"

#define PTX_MAX_PARTS    24
#define PTX_MAX_ARGS     12
#define PTX_MAX_ELEMENTS 136 // of all vectors of one instruction
#define PTX_MAX_OPERANDS 144

typedef enum ptx_arg_kind {
    PTX_ARG_REGISTER,
    PTX_ARG_INTEGER,
    PTX_ARG_F32,
    PTX_ARG_F64,
    PTX_ARG_ADDRESS, // of a variable: value, space
    PTX_ARG_MEMORY, // [register + value] or [value]; of a tensor's map, elements first_element … are the place in it
    PTX_ARG_VECTOR, // {…}: elements first_element …
    PTX_ARG_UNSET,  // _
    PTX_ARG_NAME    // a label or a function
} ptx_arg_kind;

typedef struct ptx_arg {
    ptx_arg_kind kind;
    bool is_negated;   // !p
    bool has_register; // of a memory argument
    bool is_clock;     // a special register that is read when the instruction runs
    ptx_operand operand;
    ptx_space space;
    uint64_t value;
    const char *text;
    size_t length;
    uint32_t first_element, n_elements;
    bool has_pair; // p|q
    ptx_operand pair;
} ptx_arg;

typedef enum ptx_symbol_kind { PTX_SYMBOL_REGISTERS, PTX_SYMBOL_ADDRESS } ptx_symbol_kind;

typedef struct ptx_symbol {
    const char *name; // in the module's text
    size_t length;
    ptx_symbol_kind kind;
    const ptx_type *type; // of registers
    uint32_t n_registers; // of a family "%r<9>": 0 … 8; 0 = a single register
    uint32_t id;
    ptx_space space; // of an address
    uint64_t address;
} ptx_symbol;

typedef struct ptx_label_use {
    size_t insn;
    const char *text;
    size_t length;
    uint32_t scope, line;
} ptx_label_use;

typedef struct ptx_decoder {
    ptx_lexer lexer;
    mlcc_arena *keep;    // the module's
    mlcc_arena *scratch; // of the function at hand
    ptx_module *module;
    size_t functions_capacity, variables_capacity;
    ptx_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    uint32_t next_symbol_id;

    // The function at hand.
    ptx_function *function;
    mlcc_map *registers; // {symbol id, number in the family} -> place, number
    mlcc_map *constants; // {bits, value} -> place
    mlcc_map *labels;    // {scope, name} -> instruction
    uint32_t *parent_scopes;
    size_t n_scopes, scopes_capacity;
    uint32_t scope;
    ptx_label_use *label_uses;
    size_t n_label_uses, label_uses_capacity;
    size_t code_capacity, constants_capacity, specials_capacity, params_capacity;
    uint64_t shared_end, local_end;

    // The statement at hand.
    const char *opcode;
    const char *parts[PTX_MAX_PARTS]; // "ld", "global", "v4", "u32"
    size_t n_parts;
    uint32_t line;
    ptx_arg args[PTX_MAX_ARGS];
    size_t n_args;
    const ptx_arg *policy; // taken from the arguments; NULL: none
    ptx_arg elements[PTX_MAX_ELEMENTS];
    uint32_t n_elements;
    ptx_insn insn;
    ptx_operand operands[PTX_MAX_OPERANDS];
} ptx_decoder;

// ---- ptx_parse.c -------------------------------------------------------------------------------------------------------------------------------

ptx_symbol *ptx_add_symbol(ptx_decoder *decoder, const char *name, size_t length);
// The innermost symbol of this name; of a register family ("%r<9>") also the member's number. NULL: none.
const ptx_symbol *ptx_find_symbol(
    const ptx_decoder *decoder, const char *name, size_t length, uint32_t *member);
// ".u32" at the lexer; NULL when there is no type.
const ptx_type *ptx_type_at(const ptx_lexer *lexer);
// A number with an optional minus.
mlcc_status *ptx_take_literal(ptx_lexer *lexer, ptx_arg *arg);
// "+4-8", added to arg->value; may be absent.
mlcc_status *ptx_take_offset(ptx_lexer *lexer, ptx_arg *arg);
// A register, a literal, a name with an optional offset; `p|q`; `!p`.
mlcc_status *ptx_take_scalar(ptx_decoder *decoder, ptx_arg *arg);
mlcc_status *ptx_label_key(
    mlcc_str *key, const ptx_decoder *decoder, uint32_t scope, const char *name, size_t length);
mlcc_status *ptx_define_label(ptx_decoder *decoder, const char *name, size_t length);
// An instruction with its guard, appended to the function's code.
mlcc_status *ptx_take_instruction(ptx_decoder *decoder);
// The function cannot run, for the reason of `status` (which is freed).
void ptx_refuse(ptx_decoder *decoder, mlcc_status *status);
// Room in the register file for lanes of `bits`.
mlcc_status *ptx_place(ptx_decoder *decoder, uint32_t bits, uint32_t *place);

// ---- ptx_declare.c -----------------------------------------------------------------------------------------------------------------------------

// Each stands at its directive (".reg", ".shared", …), params at '(' or behind.
mlcc_status *ptx_take_registers(ptx_decoder *decoder);
mlcc_status *ptx_take_variable_of_block(ptx_decoder *decoder, ptx_space space);
mlcc_status *ptx_take_variable_of_module(ptx_decoder *decoder);
mlcc_status *ptx_take_params(ptx_decoder *decoder);

// ---- ptx_decode.c ------------------------------------------------------------------------------------------------------------------------------

// NULL when the opcode can be decoded; otherwise UNSUPPORTED. Asked before arguments are parsed.
mlcc_status *ptx_check_opcode(const ptx_decoder *decoder);
// Fills decoder->insn and decoder->operands from parts and args.
mlcc_status *ptx_decode(ptx_decoder *decoder);

bool ptx_has_part(const ptx_decoder *decoder, const char *part);
const char *ptx_last_part(const ptx_decoder *decoder);
mlcc_status *ptx_expect_args(const ptx_decoder *decoder, size_t least, size_t most);
mlcc_status *ptx_bad_arg(const ptx_decoder *decoder, size_t index, const char *expected);
mlcc_status *ptx_unsupported(const ptx_decoder *decoder);

// Results must be added before sources. `bits` 0: any width. A literal becomes a constant of `bits`.
mlcc_status *ptx_add_result(ptx_decoder *decoder, const ptx_arg *arg, uint32_t bits);
mlcc_status *ptx_add_source(ptx_decoder *decoder, const ptx_arg *arg, uint32_t bits);
mlcc_status *ptx_add_constant(ptx_decoder *decoder, uint64_t value, uint32_t bits);
// Every element of a vector argument (a single register counts as a vector of one).
mlcc_status *ptx_add_results(
    ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements, uint32_t bits);
mlcc_status *ptx_add_sources(
    ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements, uint32_t bits);
// [register + offset]: adds the register (a constant 0 of 64 bits without one) as a source and sets insn.offset and, for variables, insn.space.
mlcc_status *ptx_add_address(ptx_decoder *decoder, const ptx_arg *arg);
// The same with the offset as a source of its own, for instructions of several addresses; `n_elements` of a place in a tensor are further sources.
mlcc_status *ptx_add_place(ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements);

// The predicate behind '|' of a result, when there is one: a further result.
mlcc_status *ptx_add_pair(ptx_decoder *decoder, const ptx_arg *arg);

// The instruction needs the lanes of a mask, its source number `member`.
void ptx_need_members(ptx_decoder *decoder, uint8_t member);
// A further source, a mask of all lanes: the instruction needs the whole warp.
mlcc_status *ptx_need_whole_warp(ptx_decoder *decoder);
// The one argument of a wait, how many groups may stay under way, up to 255: detail[0].
mlcc_status *ptx_take_groups(ptx_decoder *decoder);

// ---- families ----------------------------------------------------------------------------------------------------------------------------------

// An instruction of plain operands: results and sources in order, all literals allowed. `name` is the opcode without the suffixes that are flags
// (ftz, sat, relu, NaN) or change nothing (rn, approx, full).
typedef struct ptx_row {
    const char *name;
    ptx_handler *run;
    uint8_t result_bits;
    uint8_t source_bits[4]; // 0 ends
} ptx_row;

const ptx_row *ptx_integer_rows(size_t *n_rows);
const ptx_row *ptx_float_rows(size_t *n_rows);
const ptx_row *ptx_half_rows(size_t *n_rows);

typedef mlcc_status *ptx_decode_function(ptx_decoder *decoder);
ptx_decode_function ptx_decode_lop3;                                 // ptx_integer.c
ptx_decode_function ptx_decode_setp, ptx_decode_set;                 // ptx_compare.c
ptx_decode_function ptx_decode_mov, ptx_decode_cvta, ptx_decode_cvt; // ptx_convert.c
ptx_decode_function ptx_decode_load, ptx_decode_store, ptx_decode_atomic, ptx_decode_cp,
    ptx_decode_policy, ptx_decode_discard; // ptx_access.c
ptx_decode_function ptx_decode_shfl, ptx_decode_vote, ptx_decode_match, ptx_decode_redux,
    ptx_decode_activemask;                             // ptx_warp.c
ptx_decode_function ptx_decode_mma, ptx_decode_matrix; // ptx_matrix.c
ptx_decode_function ptx_decode_barrier, ptx_decode_fence, ptx_decode_nanosleep,
    ptx_decode_griddepcontrol, ptx_decode_setmaxnreg, ptx_decode_elect; // ptx_barrier.c
ptx_decode_function ptx_decode_mbarrier, ptx_decode_copies_arrive;      // ptx_mbarrier.c
ptx_decode_function ptx_decode_bulk;                                    // ptx_bulk.c
ptx_decode_function ptx_decode_wgmma;                                   // ptx_wgmma.c

#endif
