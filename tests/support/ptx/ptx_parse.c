// Names, arguments and instructions.
#include "tests/support/ptx/ptx_decode.h"

#include <stdlib.h>
#include <string.h>

#define MAX_REGISTER_FILE_BYTES (8u << 20) // of one warp
#define MAX_NAME_BYTES          1000

// clang-format off
static const ptx_type types[] = {
    {"pred", PTX_KIND_PREDICATE, 1},
    {"b8", PTX_KIND_BITS, 8}, {"b16", PTX_KIND_BITS, 16}, {"b32", PTX_KIND_BITS, 32}, {"b64", PTX_KIND_BITS, 64}, {"b128", PTX_KIND_BITS, 128},
    {"u8", PTX_KIND_UNSIGNED, 8}, {"u16", PTX_KIND_UNSIGNED, 16}, {"u32", PTX_KIND_UNSIGNED, 32}, {"u64", PTX_KIND_UNSIGNED, 64},
    {"s8", PTX_KIND_SIGNED, 8}, {"s16", PTX_KIND_SIGNED, 16}, {"s32", PTX_KIND_SIGNED, 32}, {"s64", PTX_KIND_SIGNED, 64},
    {"f16", PTX_KIND_FLOAT, 16}, {"f16x2", PTX_KIND_FLOAT, 32}, {"bf16", PTX_KIND_FLOAT, 16}, {"bf16x2", PTX_KIND_FLOAT, 32},
    {"f32", PTX_KIND_FLOAT, 32}, {"f64", PTX_KIND_FLOAT, 64}, {"tf32", PTX_KIND_FLOAT, 32},
    {"e4m3x2", PTX_KIND_FLOAT, 16}, {"e5m2x2", PTX_KIND_FLOAT, 16},
};
// clang-format on

const ptx_type *ptx_type_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strlen(types[i].name) == length && memcmp(types[i].name, name, length) == 0)
            return &types[i];
    return NULL;
}

const ptx_type *ptx_type_at(const ptx_lexer *lexer) {
    const ptx_token *token = &lexer->token;
    if (token->kind != PTX_TOKEN_WORD || token->text[0] != '.') return NULL;
    return ptx_type_find(token->text + 1, token->length - 1);
}

// ---- symbols -----------------------------------------------------------------------------------------------------------------------------------

ptx_symbol *ptx_add_symbol(ptx_decoder *decoder, const char *name, size_t length) {
    MLCC_ARENA_GROW(decoder->keep, decoder->symbols, decoder->n_symbols, decoder->symbols_capacity);
    ptx_symbol *symbol = &decoder->symbols[decoder->n_symbols++];
    *symbol = (ptx_symbol){.name = name, .length = length, .id = decoder->next_symbol_id++};
    return symbol;
}

// The innermost symbol of this name; of a register family, also the member's number.
const ptx_symbol *ptx_find_symbol(
    const ptx_decoder *decoder, const char *name, size_t length, uint32_t *member) {
    *member = 0;
    size_t stem = length;
    while (stem > 1 && name[stem - 1] >= '0' && name[stem - 1] <= '9' && length - stem < 9) stem--;
    for (size_t i = decoder->n_symbols; i-- > 0;) {
        const ptx_symbol *symbol = &decoder->symbols[i];
        if (symbol->n_registers == 0) {
            if (symbol->length == length && memcmp(symbol->name, name, length) == 0) return symbol;
        } else if (
            symbol->length >= stem && symbol->length < length &&
            memcmp(symbol->name, name, symbol->length) == 0) {
            // The family's own name may end in digits.
            uint64_t value = 0;
            for (size_t k = symbol->length; k < length; k++)
                value = value * 10 + (uint64_t)(name[k] - '0');
            if (value < symbol->n_registers) {
                *member = (uint32_t)value;
                return symbol;
            }
        }
    }
    return NULL;
}

mlcc_status *ptx_place(ptx_decoder *decoder, uint32_t bits, uint32_t *place) {
    ptx_function *function = decoder->function;
    const uint32_t size_bytes = bits == 1 ? 64 : PTX_LANES * bits / 8;
    if (function->file_bytes + size_bytes > MAX_REGISTER_FILE_BYTES)
        return MLCC_ERROR(
            INVALID, "PTX line %u: the function has more than %u bytes of registers per warp",
            decoder->line, MAX_REGISTER_FILE_BYTES);
    *place = function->file_bytes;
    function->file_bytes += size_bytes;
    return NULL;
}

static mlcc_status *register_operand(
    ptx_decoder *decoder, const ptx_symbol *symbol, uint32_t member, ptx_operand *out) {
    const uint32_t key[2] = {symbol->id, member};
    uint64_t known = 0;
    *out = (ptx_operand){.bits = symbol->type->bits};
    if (!mlcc_map_get(decoder->registers, key, sizeof key, &known)) {
        MLCC_TRY(ptx_place(decoder, out->bits, &out->place));
        known = (uint64_t)++decoder->function->n_registers << 32 | out->place;
        mlcc_map_add(decoder->registers, key, sizeof key, known);
    }
    out->place = (uint32_t)known;
    out->number = (uint32_t)(known >> 32);
    return NULL;
}

const char *const ptx_special_names[] = {
    "tid.x",
    "tid.y",
    "tid.z",
    "ntid.x",
    "ntid.y",
    "ntid.z",
    "ctaid.x",
    "ctaid.y",
    "ctaid.z",
    "nctaid.x",
    "nctaid.y",
    "nctaid.z",
    "laneid",
    "warpid",
    "nwarpid",
    "lanemask_eq",
    "lanemask_lt",
    "lanemask_le",
    "lanemask_gt",
    "lanemask_ge",
    "smid",
    "nsmid",
    "dynamic_smem_size",
    "total_smem_size",
    "clock",
    "clock64",
    "globaltimer",
    NULL};

static mlcc_status *special_operand(
    ptx_decoder *decoder, const char *name, size_t length, ptx_arg *arg) {
    for (uint32_t which = 0; ptx_special_names[which] != NULL; which++) {
        const char *special = ptx_special_names[which];
        if (strlen(special) != length || memcmp(special, name, length) != 0) continue;
        arg->kind = PTX_ARG_REGISTER;
        arg->is_clock = special[0] == 'c' && special[1] == 'l';
        const bool is_long = strcmp(special, "clock64") == 0 || special[0] == 'g';
        arg->operand = (ptx_operand){.bits = is_long ? 64 : 32};
        ptx_function *function = decoder->function;
        for (size_t i = 0; i < function->n_specials; i++) {
            if (function->specials[i].which != which) continue;
            arg->operand.place = function->specials[i].place;
            return NULL;
        }
        MLCC_TRY(ptx_place(decoder, arg->operand.bits, &arg->operand.place));
        MLCC_ARENA_GROW(
            decoder->keep, function->specials, function->n_specials, decoder->specials_capacity);
        function->specials[function->n_specials++] =
            (ptx_special){.which = which, .place = arg->operand.place, .bits = arg->operand.bits};
        return NULL;
    }
    return MLCC_ERROR(
        UNSUPPORTED, "PTX line %u: register '%%%.*s' is neither declared nor a known special one",
        decoder->lexer.token.line, length < 60 ? (int)length : 60, name);
}

// ---- arguments ---------------------------------------------------------------------------------------------------------------------------------

// A literal with an optional minus.
mlcc_status *ptx_take_literal(ptx_lexer *lexer, ptx_arg *arg) {
    bool is_negative = false;
    if (ptx_at_sign(lexer, '-')) {
        is_negative = true;
        MLCC_TRY(ptx_next(lexer));
    }
    arg->value = lexer->token.value;
    switch (lexer->token.kind) {
    case PTX_TOKEN_INTEGER:
        arg->kind = PTX_ARG_INTEGER;
        if (is_negative) arg->value = 0 - arg->value;
        break;
    case PTX_TOKEN_F32:
        arg->kind = PTX_ARG_F32;
        if (is_negative) arg->value ^= 0x80000000u;
        break;
    case PTX_TOKEN_F64:
        arg->kind = PTX_ARG_F64;
        if (is_negative) arg->value ^= (uint64_t)1 << 63;
        break;
    default: return ptx_syntax(lexer, "a number");
    }
    return ptx_next(lexer);
}

static mlcc_status *take_name(ptx_decoder *decoder, ptx_arg *arg) {
    ptx_lexer *lexer = &decoder->lexer;
    const char *name = lexer->token.text;
    const size_t length = lexer->token.length;
    uint32_t member = 0;
    const ptx_symbol *symbol = ptx_find_symbol(decoder, name, length, &member);
    arg->text = name;
    arg->length = length;
    if (symbol != NULL && symbol->kind == PTX_SYMBOL_REGISTERS) {
        arg->kind = PTX_ARG_REGISTER;
        MLCC_TRY(register_operand(decoder, symbol, member, &arg->operand));
    } else if (symbol != NULL) {
        arg->kind = PTX_ARG_ADDRESS;
        arg->space = symbol->space;
        arg->value = symbol->address;
    } else if (length == 1 && name[0] == '_') {
        arg->kind = PTX_ARG_UNSET;
        arg->operand = (ptx_operand){.is_unset = 1};
    } else if (name[0] == '%') {
        MLCC_TRY(special_operand(decoder, name + 1, length - 1, arg));
    } else if (length == 7 && memcmp(name, "WARP_SZ", 7) == 0) {
        arg->kind = PTX_ARG_INTEGER;
        arg->value = PTX_LANES;
    } else {
        arg->kind = PTX_ARG_NAME;
    }
    return ptx_next(lexer);
}

mlcc_status *ptx_take_offset(ptx_lexer *lexer, ptx_arg *arg) {
    while (ptx_at_sign(lexer, '+') || ptx_at_sign(lexer, '-')) {
        if (ptx_at_sign(lexer, '+')) MLCC_TRY(ptx_next(lexer));
        ptx_arg offset = {0};
        MLCC_TRY(ptx_take_literal(lexer, &offset));
        if (offset.kind != PTX_ARG_INTEGER) return ptx_syntax(lexer, "an integer offset");
        arg->value += offset.value;
    }
    return NULL;
}

// A register, a literal, a name with an optional offset; `p|q`; `!p`.
mlcc_status *ptx_take_scalar(ptx_decoder *decoder, ptx_arg *arg) {
    ptx_lexer *lexer = &decoder->lexer;
    if (ptx_at_sign(lexer, '!')) {
        arg->is_negated = true;
        MLCC_TRY(ptx_next(lexer));
    }
    if (lexer->token.kind != PTX_TOKEN_WORD) return ptx_take_literal(lexer, arg);
    MLCC_TRY(take_name(decoder, arg));
    if (arg->kind == PTX_ARG_ADDRESS) return ptx_take_offset(lexer, arg);
    if (!ptx_at_sign(lexer, '|')) return NULL;
    MLCC_TRY(ptx_next(lexer));
    ptx_arg pair = {0};
    if (lexer->token.kind != PTX_TOKEN_WORD) return ptx_syntax(lexer, "a register");
    MLCC_TRY(take_name(decoder, &pair));
    if (pair.kind != PTX_ARG_REGISTER && pair.kind != PTX_ARG_UNSET)
        return ptx_syntax(lexer, "a register");
    arg->has_pair = true;
    arg->pair = pair.operand;
    return NULL;
}

static mlcc_status *take_vector(ptx_decoder *decoder, ptx_arg *arg);

// [register + offset], [variable + offset], [tensor map, {x, y}]
static mlcc_status *take_memory(ptx_decoder *decoder, ptx_arg *arg) {
    ptx_lexer *lexer = &decoder->lexer;
    ptx_arg base = {0};
    MLCC_TRY(ptx_expect(lexer, '['));
    if (lexer->token.kind == PTX_TOKEN_WORD)
        MLCC_TRY(take_name(decoder, &base));
    else
        MLCC_TRY(ptx_take_literal(lexer, &base));
    *arg = base;
    arg->kind = PTX_ARG_MEMORY;
    switch (base.kind) {
    case PTX_ARG_REGISTER:
        arg->has_register = true;
        arg->value = 0;
        break;
    case PTX_ARG_ADDRESS:
    case PTX_ARG_INTEGER: break;
    default: return ptx_syntax(lexer, "an address in a register or of a variable");
    }
    MLCC_TRY(ptx_take_offset(lexer, arg));
    if (ptx_at_sign(lexer, ',')) {
        ptx_arg place = {0};
        MLCC_TRY(ptx_next(lexer));
        MLCC_TRY(take_vector(decoder, &place));
        arg->first_element = place.first_element;
        arg->n_elements = place.n_elements;
    }
    return ptx_expect(lexer, ']');
}

static mlcc_status *take_vector(ptx_decoder *decoder, ptx_arg *arg) {
    ptx_lexer *lexer = &decoder->lexer;
    arg->kind = PTX_ARG_VECTOR;
    arg->first_element = decoder->n_elements;
    MLCC_TRY(ptx_expect(lexer, '{'));
    for (;;) {
        if (decoder->n_elements == PTX_MAX_ELEMENTS)
            return ptx_syntax(lexer, "fewer elements in this instruction");
        ptx_arg *element = &decoder->elements[decoder->n_elements++];
        *element = (ptx_arg){0};
        MLCC_TRY(ptx_take_scalar(decoder, element));
        arg->n_elements++;
        if (!ptx_at_sign(lexer, ',')) break;
        MLCC_TRY(ptx_next(lexer));
    }
    return ptx_expect(lexer, '}');
}

static mlcc_status *take_args(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    decoder->n_args = 0;
    decoder->n_elements = 0;
    decoder->policy = NULL;
    if (ptx_at_sign(lexer, ';')) return ptx_next(lexer);
    for (;;) {
        if (decoder->n_args == PTX_MAX_ARGS) return ptx_syntax(lexer, "fewer arguments");
        ptx_arg *arg = &decoder->args[decoder->n_args++];
        *arg = (ptx_arg){0};
        if (ptx_at_sign(lexer, '['))
            MLCC_TRY(take_memory(decoder, arg));
        else if (ptx_at_sign(lexer, '{'))
            MLCC_TRY(take_vector(decoder, arg));
        else
            MLCC_TRY(ptx_take_scalar(decoder, arg));
        if (!ptx_at_sign(lexer, ',')) break;
        MLCC_TRY(ptx_next(lexer));
    }
    return ptx_expect(lexer, ';');
}

// ---- statements --------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *split_opcode(ptx_decoder *decoder, const char *text, size_t length) {
    char *copy = mlcc_arena_strndup(decoder->scratch, text, length);
    decoder->opcode = mlcc_arena_strndup(decoder->keep, text, length);
    decoder->n_parts = 0;
    for (char *part = copy; part != NULL;) {
        char *dot = strchr(part, '.');
        if (dot != NULL) *dot++ = '\0';
        if (decoder->n_parts == PTX_MAX_PARTS)
            return MLCC_ERROR(
                INVALID, "PTX line %u: opcode '%.60s' has more than %d parts", decoder->line,
                decoder->opcode, PTX_MAX_PARTS);
        decoder->parts[decoder->n_parts++] = part;
        part = dot;
    }
    return NULL;
}

mlcc_status *ptx_label_key(
    mlcc_str *key, const ptx_decoder *decoder, uint32_t scope, const char *name, size_t length) {
    if (length > MAX_NAME_BYTES)
        return MLCC_ERROR(INVALID, "PTX line %u: a name has %zu bytes", decoder->line, length);
    mlcc_str_clear(key);
    mlcc_str_append(key, (const char *)&scope, sizeof scope);
    mlcc_str_append(key, name, length);
    return NULL;
}

mlcc_status *ptx_define_label(ptx_decoder *decoder, const char *name, size_t length) {
    mlcc_str key = {0};
    mlcc_status *status = ptx_label_key(&key, decoder, decoder->scope, name, length);
    if (status == NULL &&
        !mlcc_map_add(decoder->labels, key.data, key.length, decoder->function->n_code))
        status = MLCC_ERROR(
            INVALID, "PTX line %u: label '%.*s' stands twice", decoder->line, (int)length, name);
    mlcc_str_free(&key);
    return status;
}

static mlcc_status *take_guard(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    MLCC_TRY(ptx_expect(lexer, '@'));
    decoder->insn.flags |= PTX_GUARDED;
    if (ptx_at_sign(lexer, '!')) {
        decoder->insn.flags |= PTX_GUARD_NEGATED;
        MLCC_TRY(ptx_next(lexer));
    }
    ptx_arg guard = {0};
    if (lexer->token.kind != PTX_TOKEN_WORD) return ptx_syntax(lexer, "a predicate");
    const ptx_lexer before = *lexer;
    MLCC_TRY(take_name(decoder, &guard));
    if (guard.kind != PTX_ARG_REGISTER || guard.operand.bits != 1)
        return ptx_syntax(&before, "a predicate");
    decoder->insn.guard = guard.operand;
    return NULL;
}

void ptx_refuse(ptx_decoder *decoder, mlcc_status *status) {
    if (decoder->function->unsupported == NULL)
        decoder->function->unsupported =
            mlcc_arena_strdup(decoder->keep, mlcc_status_message(status));
    mlcc_status_free(status);
}

static void append_insn(ptx_decoder *decoder) {
    ptx_function *function = decoder->function;
    ptx_insn *insn = &decoder->insn;
    const size_t n_operands = (size_t)insn->n_results + insn->n_sources;
    insn->operands =
        mlcc_arena_memdup(decoder->keep, decoder->operands, n_operands * sizeof(ptx_operand));
    MLCC_ARENA_GROW(decoder->keep, function->code, function->n_code, decoder->code_capacity);
    function->code[function->n_code++] = *insn;
}

mlcc_status *ptx_take_instruction(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    decoder->insn = (ptx_insn){.line = lexer->token.line, .member = PTX_NO_MEMBER};
    decoder->line = lexer->token.line;
    if (ptx_at_sign(lexer, '@')) MLCC_TRY(take_guard(decoder));
    const char *text = NULL;
    size_t length = 0;
    MLCC_TRY(ptx_take_opcode(lexer, &text, &length));
    MLCC_TRY(split_opcode(decoder, text, length));
    decoder->insn.text = decoder->opcode;
    mlcc_status *status = ptx_check_opcode(decoder);
    if (status != NULL) {
        ptx_refuse(decoder, status);
        return ptx_skip_statement(lexer);
    }
    status = take_args(decoder);
    if (status != NULL && mlcc_status_code(status) == MLCC_UNSUPPORTED) {
        ptx_refuse(decoder, status);
        return ptx_skip_statement(lexer);
    }
    if (status == NULL) status = ptx_decode(decoder);
    if (status != NULL && mlcc_status_code(status) == MLCC_UNSUPPORTED) {
        ptx_refuse(decoder, status);
        return NULL;
    }
    MLCC_TRY(status);
    if (decoder->insn.flow == PTX_FLOW_BRANCH) {
        MLCC_ARENA_GROW(
            decoder->scratch, decoder->label_uses, decoder->n_label_uses,
            decoder->label_uses_capacity);
        decoder->label_uses[decoder->n_label_uses++] =
            (ptx_label_use){.insn = decoder->function->n_code,
                            .text = decoder->args[0].text,
                            .length = decoder->args[0].length,
                            .scope = decoder->scope,
                            .line = decoder->line};
    }
    append_insn(decoder);
    return NULL;
}
