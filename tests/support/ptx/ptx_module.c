// Modules: functions, scopes, labels; the public functions about them.
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_sync.h"

#include <stdlib.h>
#include <string.h>

// ---- bodies ------------------------------------------------------------------------------------------------------------------------------------

static void open_scope(ptx_decoder *decoder) {
    MLCC_ARENA_GROW(
        decoder->scratch, decoder->parent_scopes, decoder->n_scopes, decoder->scopes_capacity);
    decoder->parent_scopes[decoder->n_scopes] = decoder->scope;
    decoder->scope = (uint32_t)decoder->n_scopes++;
}

// .loc and .file have no ';': they end with their line.
static mlcc_status *skip_line(ptx_lexer *lexer) {
    const uint32_t line = lexer->token.line;
    while (lexer->token.kind != PTX_TOKEN_END && lexer->token.line == line)
        MLCC_TRY(ptx_next(lexer));
    return NULL;
}

// A directive within a function. Those that do not matter here: .pragma, .loc, .maxntid of nested ones, …
static mlcc_status *take_body_directive(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    if (ptx_at_word(lexer, ".reg")) return ptx_take_registers(decoder);
    if (ptx_at_word(lexer, ".shared")) return ptx_take_variable_of_block(decoder, PTX_SPACE_SHARED);
    if (ptx_at_word(lexer, ".local")) return ptx_take_variable_of_block(decoder, PTX_SPACE_LOCAL);
    if (ptx_at_word(lexer, ".global") || ptx_at_word(lexer, ".const"))
        return ptx_take_variable_of_module(decoder);
    if (ptx_at_word(lexer, ".loc")) return skip_line(lexer);
    return ptx_skip_statement(lexer);
}

// A label, or an instruction whose first word has been looked at.
static mlcc_status *take_statement(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    if (lexer->token.kind == PTX_TOKEN_WORD && lexer->token.text[0] == '.')
        return take_body_directive(decoder);
    if (lexer->token.kind == PTX_TOKEN_WORD) {
        ptx_lexer after = *lexer;
        MLCC_TRY(ptx_next(&after));
        if (ptx_at_sign(&after, ':')) {
            MLCC_TRY(ptx_define_label(decoder, lexer->token.text, lexer->token.length));
            *lexer = after;
            return ptx_next(lexer);
        }
    }
    return ptx_take_instruction(decoder);
}

static mlcc_status *find_label(
    const ptx_decoder *decoder, const ptx_label_use *use, mlcc_str *key, uint64_t *insn) {
    for (uint32_t scope = use->scope;; scope = decoder->parent_scopes[scope]) {
        MLCC_TRY(ptx_label_key(key, decoder, scope, use->text, use->length));
        if (mlcc_map_get(decoder->labels, key->data, key->length, insn)) return NULL;
        if (scope == 0) break;
    }
    return MLCC_ERROR(
        INVALID, "PTX line %u: there is no label '%.*s'", use->line, (int)use->length, use->text);
}

static mlcc_status *resolve_labels(ptx_decoder *decoder) {
    mlcc_str key = {0};
    mlcc_status *status = NULL;
    for (size_t i = 0; i < decoder->n_label_uses && status == NULL; i++) {
        const ptx_label_use *use = &decoder->label_uses[i];
        uint64_t insn = 0;
        status = find_label(decoder, use, &key, &insn);
        decoder->function->code[use->insn].target = (uint32_t)insn;
    }
    mlcc_str_free(&key);
    return status;
}

// { statements }, scopes included; an exit is appended, so that code cannot run off its end.
static mlcc_status *take_body(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    const size_t n_outer_symbols = decoder->n_symbols;
    size_t *marks = NULL;
    size_t n_marks = 0, marks_capacity = 0;
    decoder->scope = 0;
    do {
        if (ptx_at_sign(lexer, '{')) {
            MLCC_ARENA_GROW(decoder->scratch, marks, n_marks, marks_capacity);
            marks[n_marks++] = decoder->n_symbols;
            open_scope(decoder);
            MLCC_TRY(ptx_next(lexer));
        } else if (ptx_at_sign(lexer, '}')) {
            decoder->n_symbols = marks[--n_marks];
            decoder->scope = decoder->parent_scopes[decoder->scope];
            MLCC_TRY(ptx_next(lexer));
        } else if (ptx_at_sign(lexer, ';')) {
            MLCC_TRY(ptx_next(lexer));
        } else {
            MLCC_TRY(take_statement(decoder));
        }
    } while (n_marks > 0);
    decoder->n_symbols = n_outer_symbols;
    ptx_function *function = decoder->function;
    MLCC_ARENA_GROW(decoder->keep, function->code, function->n_code, decoder->code_capacity);
    function->code[function->n_code++] = (ptx_insn){
        .text = "(end)", .line = lexer->token.line, .flow = PTX_FLOW_EXIT, .member = PTX_NO_MEMBER};
    return resolve_labels(decoder);
}

// ---- functions ---------------------------------------------------------------------------------------------------------------------------------

// .maxntid 256, 1, 1 and others between the params and the body.
static mlcc_status *take_function_directives(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    while (lexer->token.kind == PTX_TOKEN_WORD && lexer->token.text[0] == '.') {
        const bool is_threads = ptx_at_word(lexer, ".maxntid") || ptx_at_word(lexer, ".reqntid");
        uint64_t product = 1;
        MLCC_TRY(ptx_next(lexer));
        while (lexer->token.kind == PTX_TOKEN_INTEGER || ptx_at_sign(lexer, ',') ||
               lexer->token.kind == PTX_TOKEN_STRING) {
            if (lexer->token.kind == PTX_TOKEN_INTEGER && lexer->token.value <= 1024)
                product *= lexer->token.value;
            MLCC_TRY(ptx_next(lexer));
        }
        if (ptx_at_sign(lexer, ';')) MLCC_TRY(ptx_next(lexer)); // .pragma "…";
        if (is_threads && product > 0 && product <= 1024)
            decoder->function->max_threads = (uint32_t)product;
    }
    return NULL;
}

static void start_function(ptx_decoder *decoder) {
    mlcc_arena_reset(decoder->scratch);
    decoder->registers = mlcc_map_create(256);
    decoder->constants = mlcc_map_create(64);
    decoder->labels = mlcc_map_create(64);
    decoder->parent_scopes = NULL;
    decoder->label_uses = NULL;
    decoder->n_scopes = decoder->scopes_capacity = 0;
    decoder->n_label_uses = decoder->label_uses_capacity = 0;
    decoder->code_capacity = decoder->constants_capacity = 0;
    decoder->specials_capacity = decoder->params_capacity = 0;
    decoder->local_end = 0;
    decoder->function = MLCC_NEW(decoder->keep, ptx_function);
    decoder->function->module = decoder->module;
    decoder->function->max_threads = 1024;
}

static void end_function(ptx_decoder *decoder) {
    mlcc_map_free(decoder->registers);
    mlcc_map_free(decoder->constants);
    mlcc_map_free(decoder->labels);
    decoder->registers = decoder->constants = decoder->labels = NULL;
}

static mlcc_status *take_function_rest(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    const char *name = NULL;
    size_t length = 0;
    // Shared variables of the module are seen by all its functions, those of a function only by it.
    const uint64_t shared_of_module = decoder->shared_end;
    const size_t n_symbols = decoder->n_symbols;
    MLCC_TRY(ptx_expect_word(lexer, &name, &length));
    ptx_function *function = decoder->function;
    function->name = mlcc_arena_strndup(decoder->keep, name, length);
    MLCC_TRY(ptx_take_params(decoder));
    MLCC_TRY(take_function_directives(decoder));
    if (!ptx_at_sign(lexer, '{')) return ptx_syntax(lexer, "'{'");
    MLCC_TRY(take_body(decoder));
    decoder->n_symbols = n_symbols;
    function->static_shared_bytes = (uint32_t)decoder->shared_end;
    function->local_bytes = (uint32_t)decoder->local_end;
    ptx_wgmma_mark(function, decoder->scratch);
    decoder->shared_end = shared_of_module;
    ptx_module *module = decoder->module;
    MLCC_ARENA_GROW(
        decoder->keep, module->functions, module->n_functions, decoder->functions_capacity);
    module->functions[module->n_functions++] = function;
    return NULL;
}

static mlcc_status *take_entry(ptx_decoder *decoder) {
    MLCC_TRY(ptx_next(&decoder->lexer));
    start_function(decoder);
    mlcc_status *status = take_function_rest(decoder);
    end_function(decoder);
    return status;
}

// .func: declarations and bodies are passed over; a kernel that calls one is refused at its call.
static mlcc_status *skip_device_function(ptx_lexer *lexer) {
    while (!ptx_at_sign(lexer, '{') && !ptx_at_sign(lexer, ';')) {
        if (lexer->token.kind == PTX_TOKEN_END) return ptx_syntax(lexer, "';' or '{'");
        MLCC_TRY(ptx_next(lexer));
    }
    int depth = 0;
    do {
        if (lexer->token.kind == PTX_TOKEN_END) return ptx_syntax(lexer, "'}'");
        if (ptx_at_sign(lexer, '{')) depth++;
        if (ptx_at_sign(lexer, '}')) depth--;
        MLCC_TRY(ptx_next(lexer));
    } while (depth > 0);
    return NULL;
}

// ---- modules -----------------------------------------------------------------------------------------------------------------------------------

// .target sm_90a, texmode_independent
static mlcc_status *take_target(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    MLCC_TRY(ptx_next(lexer));
    const ptx_token *token = &lexer->token;
    uint32_t target = 0;
    size_t at = 3;
    if (token->kind != PTX_TOKEN_WORD || token->length < 5 || token->length > 8 ||
        memcmp(token->text, "sm_", 3) != 0)
        return ptx_syntax(lexer, "a target like sm_80");
    while (at < token->length && token->text[at] >= '0' && token->text[at] <= '9')
        target = target * 10 + (uint32_t)(token->text[at++] - '0');
    decoder->module->target = target;
    decoder->module->is_arch_specific = at < token->length;
    MLCC_TRY(ptx_next(lexer));
    while (ptx_at_sign(lexer, ',')) {
        MLCC_TRY(ptx_next(lexer));
        MLCC_TRY(ptx_next(lexer));
    }
    return NULL;
}

static mlcc_status *take_version(ptx_lexer *lexer) {
    MLCC_TRY(ptx_next(lexer));
    double version = 0;
    if (lexer->token.kind != PTX_TOKEN_F64) return ptx_syntax(lexer, "a version like 8.0");
    memcpy(&version, &lexer->token.value, sizeof version);
    if (!(version >= 6.0 && version < 10.0))
        return ptx_syntax(lexer, "a PTX version from 6.0 to 9.x");
    return ptx_next(lexer);
}

static mlcc_status *take_item(ptx_decoder *decoder) {
    ptx_lexer *lexer = &decoder->lexer;
    if (ptx_at_word(lexer, ".version")) return take_version(lexer);
    if (ptx_at_word(lexer, ".target")) return take_target(decoder);
    if (ptx_at_word(lexer, ".address_size")) {
        MLCC_TRY(ptx_next(lexer));
        if (lexer->token.kind != PTX_TOKEN_INTEGER || lexer->token.value != 64)
            return ptx_syntax(lexer, "64");
        return ptx_next(lexer);
    }
    if (ptx_at_word(lexer, ".visible") || ptx_at_word(lexer, ".weak") ||
        ptx_at_word(lexer, ".extern") || ptx_at_word(lexer, ".common"))
        return ptx_next(lexer);
    if (ptx_at_word(lexer, ".entry")) return take_entry(decoder);
    if (ptx_at_word(lexer, ".func")) return skip_device_function(lexer);
    if (ptx_at_word(lexer, ".shared")) return ptx_take_variable_of_block(decoder, PTX_SPACE_SHARED);
    if (ptx_at_word(lexer, ".global") || ptx_at_word(lexer, ".const"))
        return ptx_take_variable_of_module(decoder);
    if (ptx_at_word(lexer, ".section")) return skip_device_function(lexer);
    if (ptx_at_word(lexer, ".file")) return skip_line(lexer);
    if (ptx_at_word(lexer, ".pragma") || ptx_at_word(lexer, ".alias"))
        return ptx_skip_statement(lexer);
    return ptx_syntax(lexer, "a module directive");
}

static mlcc_status *take_module(ptx_decoder *decoder, const char *text, size_t length) {
    MLCC_TRY(ptx_lexer_start(&decoder->lexer, text, length));
    if (!ptx_at_word(&decoder->lexer, ".version"))
        return ptx_syntax(&decoder->lexer, "'.version' first");
    while (decoder->lexer.token.kind != PTX_TOKEN_END) MLCC_TRY(take_item(decoder));
    return NULL;
}

mlcc_status *ptx_module_load(const char *text, size_t length, ptx_module **out) {
    *out = NULL;
    ptx_module *module = calloc(1, sizeof *module);
    ptx_decoder *decoder = calloc(1, sizeof *decoder);
    if (module == NULL || decoder == NULL) {
        free(module);
        free(decoder);
        return MLCC_ERROR(NO_MEMORY, "a PTX module does not fit into memory");
    }
    module->arena = mlcc_arena_create();
    decoder->module = module;
    decoder->keep = module->arena;
    decoder->scratch = mlcc_arena_create();
    mlcc_status *status = take_module(decoder, text, length);
    mlcc_arena_free(decoder->scratch);
    free(decoder);
    if (status != NULL) {
        ptx_module_free(module);
        return status;
    }
    *out = module;
    return NULL;
}

void ptx_module_free(ptx_module *module) {
    if (module == NULL) return;
    mlcc_arena_free(module->arena);
    free(module);
}

size_t ptx_module_n_functions(const ptx_module *module) {
    return module->n_functions;
}

const char *ptx_module_function_name(const ptx_module *module, size_t index) {
    return module->functions[index]->name;
}

mlcc_status *ptx_module_function(
    const ptx_module *module, const char *name, const ptx_function **out) {
    *out = NULL;
    for (size_t i = 0; i < module->n_functions; i++) {
        const ptx_function *function = module->functions[i];
        if (strcmp(function->name, name) != 0) continue;
        if (function->unsupported != NULL)
            return MLCC_ERROR(
                UNSUPPORTED, "kernel '%s' cannot be interpreted: %s", name, function->unsupported);
        *out = function;
        return NULL;
    }
    return MLCC_ERROR(INVALID, "the PTX has no kernel '%s'", name);
}

void ptx_function_describe(const ptx_function *function, ptx_function_info *out) {
    *out = (ptx_function_info){.name = function->name,
                               .n_params = (uint32_t)function->n_params,
                               .param_bytes = function->param_bytes,
                               .static_shared_bytes = function->static_shared_bytes,
                               .local_bytes = function->local_bytes,
                               .max_threads = function->max_threads,
                               .n_registers = function->n_registers,
                               .target = function->module->target,
                               .is_arch_specific = function->module->is_arch_specific};
}

bool ptx_function_param(
    const ptx_function *function, uint32_t index, uint32_t *offset_bytes, uint32_t *size_bytes) {
    if (index >= function->n_params) return false;
    *offset_bytes = function->params[index].offset_bytes;
    *size_bytes = function->params[index].size_bytes;
    return true;
}
