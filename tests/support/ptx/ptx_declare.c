// Declarations: registers, variables, params.
#include "tests/support/ptx/ptx_decode.h"

#include <string.h>

#define MAX_VARIABLE_BYTES (256u << 20)
#define MAX_LOCAL_BYTES    (512u << 10) // of one thread

// .reg .b32 %r<9>;  .reg .pred p, q;
mlcc_status *ptx_take_registers(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    MLCC_TRY(ptx_next(lexer));
    const ptx_type *type = ptx_type_at(lexer);
    if (type == NULL) return ptx_syntax(lexer, "a register type");
    if (type->bits == 8 || type->bits == 128) {
        ptx_refuse(
            decoder,
            MLCC_ERROR(
                UNSUPPORTED, "PTX line %u: registers of type .%s", lexer->token.line, type->name));
        return ptx_skip_statement(lexer);
    }
    MLCC_TRY(ptx_next(lexer));
    for (;;) {
        const char *name = NULL;
        size_t length = 0;
        MLCC_TRY(ptx_expect_word(lexer, &name, &length));
        ptx_symbol *symbol = ptx_add_symbol(decoder, name, length);
        symbol->kind = PTX_SYMBOL_REGISTERS;
        symbol->type = type;
        if (ptx_at_sign(lexer, '<')) {
            MLCC_TRY(ptx_next(lexer));
            if (lexer->token.kind != PTX_TOKEN_INTEGER || lexer->token.value == 0 ||
                lexer->token.value > UINT32_MAX)
                return ptx_syntax(lexer, "a number of registers");
            symbol->n_registers = (uint32_t)lexer->token.value;
            MLCC_TRY(ptx_next(lexer));
            MLCC_TRY(ptx_expect(lexer, '>'));
        }
        if (!ptx_at_sign(lexer, ',')) break;
        MLCC_TRY(ptx_next(lexer));
    }
    return ptx_expect(lexer, ';');
}

typedef struct declaration {
    const ptx_type *type;
    const char *name;
    size_t length;
    uint64_t alignment, n_elements;
    bool is_unsized; // name[]
} declaration;

// .align 16 .b8 name[4][8]: what stands behind the space.
static mlcc_status *take_declaration(ptx_lexer *lexer, declaration *out) {
    *out = (declaration){.n_elements = 1};
    while (lexer->token.kind == PTX_TOKEN_WORD && lexer->token.text[0] == '.') {
        const ptx_type *type = ptx_type_at(lexer);
        const bool is_alignment = ptx_at_word(lexer, ".align");
        if (type != NULL) out->type = type;
        MLCC_TRY(ptx_next(lexer));
        if (!is_alignment) continue;
        const uint64_t alignment = lexer->token.value;
        if (lexer->token.kind != PTX_TOKEN_INTEGER || alignment == 0 || alignment > 4096 ||
            (alignment & (alignment - 1)) != 0)
            return ptx_syntax(lexer, "an alignment");
        out->alignment = alignment;
        MLCC_TRY(ptx_next(lexer));
    }
    if (out->type == NULL) return ptx_syntax(lexer, "a type");
    const uint64_t natural = out->type->bits < 8 ? 1 : out->type->bits / 8;
    if (out->alignment < natural) out->alignment = natural;
    MLCC_TRY(ptx_expect_word(lexer, &out->name, &out->length));
    while (ptx_at_sign(lexer, '[')) {
        MLCC_TRY(ptx_next(lexer));
        if (ptx_at_sign(lexer, ']')) {
            out->is_unsized = true;
        } else {
            if (lexer->token.kind != PTX_TOKEN_INTEGER || lexer->token.value > MAX_VARIABLE_BYTES)
                return ptx_syntax(lexer, "a number of elements");
            out->n_elements *= lexer->token.value;
            if (out->n_elements > MAX_VARIABLE_BYTES)
                return ptx_syntax(lexer, "a smaller variable");
            MLCC_TRY(ptx_next(lexer));
        }
        MLCC_TRY(ptx_expect(lexer, ']'));
    }
    return NULL;
}

static uint64_t align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) & ~(alignment - 1);
}

static uint64_t declared_bytes(const declaration *declared) {
    return declared->is_unsized ? 0 : declared->n_elements * ((declared->type->bits + 7) / 8);
}

// .shared and .local variables: addresses in the block's and the thread's own memory.
mlcc_status *ptx_take_variable_of_block(ptx_decoder *decoder, ptx_space space) {
    ptx_lexer *lexer = &decoder->lexer;
    declaration declared;
    MLCC_TRY(ptx_next(lexer));
    MLCC_TRY(take_declaration(lexer, &declared));
    uint64_t *end = space == PTX_SPACE_SHARED ? &decoder->shared_end : &decoder->local_end;
    ptx_symbol *symbol = ptx_add_symbol(decoder, declared.name, declared.length);
    symbol->kind = PTX_SYMBOL_ADDRESS;
    symbol->space = space;
    if (space == PTX_SPACE_SHARED && declared.is_unsized) {
        symbol->address = PTX_FIRST_ADDRESS;
    } else {
        *end = align_up(*end, declared.alignment);
        symbol->address =
            (space == PTX_SPACE_SHARED ? PTX_STATIC_ADDRESS : PTX_FIRST_ADDRESS) + *end;
        *end += declared_bytes(&declared);
        const uint64_t most =
            space == PTX_SPACE_SHARED ? PTX_MAX_STATIC_SHARED_BYTES : MAX_LOCAL_BYTES;
        if (*end > most)
            return MLCC_ERROR(
                INVALID, "PTX line %u: more than %llu bytes of %s variables", lexer->token.line,
                (unsigned long long)most, space == PTX_SPACE_SHARED ? "shared" : "local");
    }
    return ptx_expect(lexer, ';');
}

static mlcc_status *take_variable_name(ptx_decoder *decoder, ptx_arg *arg) {
    const ptx_token *token = &decoder->lexer.token;
    uint32_t member = 0;
    const ptx_symbol *symbol = token->kind != PTX_TOKEN_WORD
                                   ? NULL
                                   : ptx_find_symbol(decoder, token->text, token->length, &member);
    if (symbol == NULL || symbol->kind != PTX_SYMBOL_ADDRESS)
        return ptx_syntax(&decoder->lexer, "a variable declared above");
    return ptx_take_scalar(decoder, arg);
}

// One element of an initialiser: a number or an address.
static mlcc_status *take_initial_value(ptx_decoder *decoder, const ptx_type *type, void *target) {
    ptx_arg arg = {0};
    ptx_lexer *lexer = &decoder->lexer;
    if (ptx_at_word(lexer, "generic")) {
        MLCC_TRY(ptx_next(lexer));
        MLCC_TRY(ptx_expect(lexer, '('));
        MLCC_TRY(take_variable_name(decoder, &arg));
        MLCC_TRY(ptx_expect(lexer, ')'));
        MLCC_TRY(ptx_take_offset(lexer, &arg));
    } else if (lexer->token.kind == PTX_TOKEN_WORD) {
        MLCC_TRY(take_variable_name(decoder, &arg));
    } else {
        MLCC_TRY(ptx_take_literal(lexer, &arg));
    }
    if (arg.kind == PTX_ARG_F64 && type->bits == 32) {
        double wide;
        memcpy(&wide, &arg.value, sizeof wide);
        const float narrow = (float)wide;
        memcpy(target, &narrow, sizeof narrow);
        return NULL;
    }
    memcpy(target, &arg.value, type->bits / 8); // little-endian hosts only
    return NULL;
}

// = 5   or   = {1, 2, {3, 4}}
static mlcc_status *take_initialiser(
    ptx_decoder *decoder, const declaration *declared, ptx_variable *variable) {
    ptx_lexer *lexer = &decoder->lexer;
    const size_t element_bytes = declared->type->bits / 8;
    size_t at = 0;
    int depth = 0;
    MLCC_TRY(ptx_next(lexer));
    do {
        if (ptx_at_sign(lexer, '{')) {
            depth++;
            MLCC_TRY(ptx_next(lexer));
        } else if (ptx_at_sign(lexer, '}')) {
            depth--;
            MLCC_TRY(ptx_next(lexer));
        } else if (ptx_at_sign(lexer, ',') && depth > 0) {
            MLCC_TRY(ptx_next(lexer));
        } else {
            if (element_bytes == 0 || at + element_bytes > variable->size_bytes)
                return ptx_syntax(lexer, "no more values than the variable has elements");
            MLCC_TRY(take_initial_value(decoder, declared->type, variable->data + at));
            at += element_bytes;
        }
    } while (depth > 0);
    return NULL;
}

// .global and .const variables: host memory of the module.
mlcc_status *ptx_take_variable_of_module(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    ptx_module *module = decoder->module;
    declaration declared;
    MLCC_TRY(ptx_next(lexer));
    MLCC_TRY(take_declaration(lexer, &declared));
    uint64_t total = declared_bytes(&declared);
    for (size_t i = 0; i < module->n_variables; i++) total += module->variables[i].size_bytes;
    if (total > MAX_VARIABLE_BYTES)
        return MLCC_ERROR(
            INVALID, "PTX line %u: more than %u bytes of variables", lexer->token.line,
            MAX_VARIABLE_BYTES);
    MLCC_ARENA_GROW(
        decoder->keep, module->variables, module->n_variables, decoder->variables_capacity);
    ptx_variable *variable = &module->variables[module->n_variables++];
    const size_t size_bytes = (size_t)declared_bytes(&declared);
    *variable = (ptx_variable){
        .size_bytes = size_bytes,
        .data = mlcc_arena_alloc_aligned(
            decoder->keep, size_bytes, declared.alignment < 16 ? 16 : (size_t)declared.alignment)};
    if (ptx_at_sign(lexer, '=')) MLCC_TRY(take_initialiser(decoder, &declared, variable));
    ptx_symbol *symbol = ptx_add_symbol(decoder, declared.name, declared.length);
    symbol->kind = PTX_SYMBOL_ADDRESS;
    symbol->space = PTX_SPACE_GLOBAL;
    symbol->address = (uint64_t)(uintptr_t)variable->data;
    return ptx_expect(lexer, ';');
}

// (.param .u64 a, .param .align 8 .b8 b[80])
mlcc_status *ptx_take_params(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    ptx_function *function = decoder->function;
    uint64_t end = 0;
    if (!ptx_at_sign(lexer, '(')) return NULL;
    MLCC_TRY(ptx_next(lexer));
    while (!ptx_at_sign(lexer, ')')) {
        declaration declared;
        if (!ptx_at_word(lexer, ".param")) return ptx_syntax(lexer, "'.param'");
        MLCC_TRY(ptx_next(lexer));
        MLCC_TRY(take_declaration(lexer, &declared));
        end = align_up(end, declared.alignment);
        const uint64_t size_bytes = declared_bytes(&declared);
        if (end + size_bytes > 32764)
            return MLCC_ERROR(
                INVALID, "PTX line %u: the params have more than 32764 bytes", lexer->token.line);
        ptx_symbol *symbol = ptx_add_symbol(decoder, declared.name, declared.length);
        symbol->kind = PTX_SYMBOL_ADDRESS;
        symbol->space = PTX_SPACE_PARAM;
        symbol->address = end;
        MLCC_ARENA_GROW(
            decoder->keep, function->params, function->n_params, decoder->params_capacity);
        function->params[function->n_params++] =
            (ptx_param){.name = mlcc_arena_strndup(decoder->keep, declared.name, declared.length),
                        .offset_bytes = (uint32_t)end,
                        .size_bytes = (uint32_t)size_bytes};
        end += size_bytes;
        if (!ptx_at_sign(lexer, ',')) break;
        MLCC_TRY(ptx_next(lexer));
    }
    function->param_bytes = (uint32_t)end;
    return ptx_expect(lexer, ')');
}
