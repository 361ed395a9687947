// parse: .mlcir becomes a module. Top level here: header, symbols, params, constants. No recursion;
// every limit is checked before memory is taken.
#include "ir/parse.h"

#include "ir/builder.h"
#include "ir/eval.h"
#include "ir/module.h"
#include "ir/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

mlcc_status *parse_error_taken(const parser *p, const lex_token *token, const char *what) {
    return lex_place_at(
        &p->lex, token, MLCC_ERROR(INVALID, "%s '%.64s' is defined twice", what, token->text));
}

// ---- types -------------------------------------------------------------------------------------

static mlcc_status *parse_dim(parser *p, ir_dim *out) {
    const lex_token token = p->lex.token;
    if (token.kind == LEX_WORD || token.kind == LEX_STRING) {
        uint64_t address = 0;
        if (!mlcc_map_get_text(p->symbols, token.text, &address)) {
            return lex_place(
                &p->lex,
                MLCC_ERROR(
                    INVALID,
                    "symbol '%.64s' is not declared, a line 'symbol %.64s <= N' is missing",
                    token.text, token.text));
        }
        *out = ir_dim_symbol((const ir_symbol *)(uintptr_t)address);
        return lex_next(&p->lex);
    }
    int64_t value = 0;
    MLCC_TRY(lex_need_i64(&p->lex, "a dimension (number or symbol)", 0, INT64_MAX, &value));
    *out = ir_dim_const(value);
    return NULL;
}

mlcc_status *parse_type(parser *p, ir_type *out) {
    *out = (ir_type){0};
    const lex_token token = p->lex.token;
    if (token.kind != LEX_WORD || !ir_dtype_parse(token.text, &out->dtype)) {
        return lex_expected(&p->lex, "a type like f32[4, 8]");
    }
    MLCC_TRY(lex_next(&p->lex));
    MLCC_TRY(lex_need_sign(&p->lex, "["));
    bool more = !lex_is_sign(&p->lex, "]");
    while (more) {
        if (out->rank == IR_MAX_RANK) {
            return lex_place(
                &p->lex, MLCC_ERROR(INVALID, "a type has at most %d dimensions", IR_MAX_RANK));
        }
        MLCC_TRY(parse_dim(p, &out->dims[out->rank++]));
        MLCC_TRY(lex_take_sign(&p->lex, ",", &more));
    }
    MLCC_TRY(lex_need_sign(&p->lex, "]"));
    int64_t elements = 0;
    if (!ir_type_bound_elements(out, &elements) || elements > INT64_MAX / 8) {
        return lex_place_at(&p->lex, &token, MLCC_ERROR(INVALID, "type has too many elements"));
    }
    return NULL;
}

// ---- symbols and params ------------------------------------------------------------------------

static mlcc_status *parse_symbol(parser *p) {
    const lex_token token = p->lex.token;
    if (token.kind != LEX_WORD && token.kind != LEX_STRING) {
        return lex_expected(&p->lex, "the name of a symbol");
    }
    if (*token.text == '\0') return lex_expected(&p->lex, "a name that is not empty");
    MLCC_TRY(lex_next(&p->lex));
    MLCC_TRY(lex_need_sign(&p->lex, "<="));
    int64_t bound = 0;
    MLCC_TRY(lex_need_i64(&p->lex, "the bound of the symbol", 1, INT64_MAX, &bound));
    ir_symbol *symbol = ir_module_append_symbol(p->module, token.text, bound);
    if (!mlcc_map_add_text(p->symbols, token.text, (uint64_t)(uintptr_t)symbol)) {
        return parse_error_taken(p, &token, "symbol");
    }
    return NULL;
}

// @name ":" type, at the start of params and constants.
static mlcc_status *parse_global_head(
    parser *p, const char *expected, lex_token *name, ir_type *type) {
    *name = p->lex.token;
    if (name->kind != LEX_GLOBAL) return lex_expected(&p->lex, expected);
    MLCC_TRY(lex_next(&p->lex));
    MLCC_TRY(lex_need_sign(&p->lex, ":"));
    return parse_type(p, type);
}

static mlcc_status *add_global(parser *p, const lex_token *name, ir_value *value) {
    if (mlcc_map_add_text(p->globals, name->text, (uint64_t)(uintptr_t)value)) return NULL;
    return parse_error_taken(p, name, "param or constant");
}

static mlcc_status *parse_sources(parser *p, const char ***sources, int32_t *n_sources) {
    size_t capacity = 0;
    size_t n = 0;
    const char **items = NULL;
    bool more = false;
    MLCC_TRY(lex_take_word(&p->lex, "from", &more));
    while (more) {
        MLCC_ARENA_GROW(p->lex.scratch, items, n, capacity);
        MLCC_TRY(lex_need_string(&p->lex, "the name of a source tensor in quotes", &items[n++]));
        MLCC_TRY(lex_take_sign(&p->lex, ",", &more));
    }
    *sources = items;
    *n_sources = (int32_t)n;
    return NULL;
}

static mlcc_status *parse_param(parser *p) {
    lex_token name;
    ir_type type;
    MLCC_TRY(parse_global_head(p, "the name of a param like @model.norm.weight", &name, &type));
    const char **sources = NULL;
    int32_t n_sources = 0;
    MLCC_TRY(parse_sources(p, &sources, &n_sources));
    ir_param *param = ir_module_append_param(p->module, name.text, type, sources, n_sources);
    MLCC_TRY(add_global(p, &name, &param->value));
    const char *text = NULL;
    bool found = false;
    MLCC_TRY(lex_take_word(&p->lex, "fused", &found));
    if (found) {
        MLCC_TRY(lex_need_string(&p->lex, "the fused name in quotes", &text));
        param->fused_name = mlcc_arena_strdup(p->module->keep, text);
    }
    MLCC_TRY(lex_take_word(&p->lex, "else", &param->has_fallback));
    if (param->has_fallback) {
        MLCC_TRY(lex_need_f64(&p->lex, "the value of every element", &param->fallback));
    }
    MLCC_TRY(lex_take_word(&p->lex, "layout", &found));
    if (found) {
        MLCC_TRY(lex_need_string(&p->lex, "the layout in quotes", &text));
        param->layout = mlcc_arena_strdup(p->module->keep, text);
    }
    return NULL;
}

// ---- constants ---------------------------------------------------------------------------------

// 0x…: the bits of a float element, for NaNs that are not the usual one.
static bool parse_bits(const char *text, uint32_t max, uint32_t *bits) {
    if (text[0] != '0' || text[1] != 'x') return false;
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text + 2, &end, 16);
    if (end == text + 2 || *end != '\0' || errno == ERANGE || value > max) return false;
    *bits = (uint32_t)value;
    return true;
}

static mlcc_status *parse_float_element(parser *p, ir_dtype dtype, void *data, int64_t i) {
    const char *text = p->lex.token.text;
    bool word = lex_is_word(&p->lex, "inf") || lex_is_word(&p->lex, "nan");
    if (p->lex.token.kind != LEX_NUMBER && !word) return lex_expected(&p->lex, "a number");
    uint32_t bits = 0;
    if (!parse_bits(text, dtype == IR_F32 ? UINT32_MAX : UINT16_MAX, &bits)) {
        char *end = NULL;
        float value = strtof(text, &end);
        if (*end != '\0' || strpbrk(text, "xX") != NULL) return lex_expected(&p->lex, "a number");
        float rounded = ir_round_to(dtype, value);
        if (isinf(rounded) && strstr(text, "inf") == NULL) {
            return lex_place(
                &p->lex,
                MLCC_ERROR(INVALID, "%s does not fit into %s", text, ir_dtype_get(dtype)->text));
        }
        memcpy(&bits, &rounded, sizeof bits);
        if (dtype == IR_F16) bits = ir_f32_to_f16(rounded);
        if (dtype == IR_BF16) bits = ir_f32_to_bf16(rounded);
    }
    if (dtype == IR_F32)
        ((uint32_t *)data)[i] = bits;
    else
        ((uint16_t *)data)[i] = (uint16_t)bits;
    return lex_next(&p->lex);
}

static mlcc_status *parse_int_element(parser *p, ir_dtype dtype, void *data, int64_t i) {
    static const struct {
        int64_t min, max;
    } ranges[IR_N_DTYPES] = {
        [IR_I32] = {INT32_MIN, INT32_MAX},
        [IR_U32] = {0, UINT32_MAX},
        [IR_I8] = {INT8_MIN, INT8_MAX},
        [IR_U8] = {0, UINT8_MAX},
    };
    int64_t value = 0;
    MLCC_TRY(lex_need_i64(&p->lex, "an integer", ranges[dtype].min, ranges[dtype].max, &value));
    switch (ir_dtype_bytes(dtype)) {
    case 4: ((uint32_t *)data)[i] = (uint32_t)value; break;
    default: ((uint8_t *)data)[i] = (uint8_t)value; break;
    }
    return NULL;
}

static mlcc_status *parse_elements(parser *p, const ir_type *type, int64_t n_elements, void *data) {
    bool is_float = ir_dtype_get(type->dtype)->kind == IR_KIND_FLOAT;
    MLCC_TRY(lex_need_sign(&p->lex, "="));
    MLCC_TRY(lex_need_sign(&p->lex, "["));
    for (int64_t i = 0; i < n_elements; i++) {
        if (i > 0) MLCC_TRY(lex_need_sign(&p->lex, ","));
        if (is_float)
            MLCC_TRY(parse_float_element(p, type->dtype, data, i));
        else
            MLCC_TRY(parse_int_element(p, type->dtype, data, i));
    }
    if (lex_is_sign(&p->lex, "]")) return lex_next(&p->lex);
    return lex_place(
        &p->lex, MLCC_ERROR(
                     INVALID, "expected ']' after %lld elements, found '%.64s'",
                     (long long)n_elements, p->lex.token.text));
}

static mlcc_status *parse_const(parser *p) {
    lex_token name;
    ir_type type;
    MLCC_TRY(parse_global_head(p, "the name of a constant like @inv_freq", &name, &type));
    bool constant = ir_dtype_get(type.dtype)->kind != IR_KIND_GROUPED;
    for (int32_t i = 0; i < type.rank; i++) constant = constant && type.dims[i].symbol == NULL;
    if (!constant) {
        return lex_place_at(
            &p->lex, &name,
            MLCC_ERROR(
                INVALID, "constant '%.64s' needs a plain dtype and constant dimensions",
                name.text));
    }
    int64_t n_elements = 0;
    int64_t size_bytes = 0;
    bool fits = ir_type_bound_elements(&type, &n_elements) &&
                ir_type_bound_bytes(&type, &size_bytes) &&
                n_elements <= PARSE_MAX_CONST_ELEMENTS - p->n_const_elements;
    if (!fits) {
        return lex_place_at(
            &p->lex, &name,
            MLCC_ERROR(
                INVALID, "constants have more than %d elements in all", PARSE_MAX_CONST_ELEMENTS));
    }
    p->n_const_elements += n_elements;
    void *data = mlcc_arena_alloc(p->module->keep, size_bytes == 0 ? 1 : (size_t)size_bytes);
    MLCC_TRY(parse_elements(p, &type, n_elements, data));
    return add_global(p, &name, &ir_module_append_const(p->module, name.text, type, data)->value);
}

// ---- the module --------------------------------------------------------------------------------

static mlcc_status *parse_header(parser *p) {
    MLCC_TRY(lex_need_word(&p->lex, "module"));
    const lex_token name = p->lex.token;
    if (name.kind != LEX_GLOBAL) return lex_expected(&p->lex, "the name of the module like @llama");
    MLCC_TRY(lex_next(&p->lex));
    MLCC_TRY(lex_need_word(&p->lex, "level"));
    MLCC_TRY(lex_need_sign(&p->lex, "="));
    p->module->name = mlcc_arena_strdup(p->module->keep, name.text);
    for (ir_level level = IR_LEVEL_GRAPH; level <= IR_LEVEL_PLAN; level++) {
        if (!lex_is_word(&p->lex, ir_level_text(level))) continue;
        p->module->level = level;
        return lex_next(&p->lex);
    }
    return lex_expected(&p->lex, "graph, fused or plan");
}

static mlcc_status *parse_items(parser *p) {
    while (p->lex.token.kind != LEX_END) {
        bool found = false;
        MLCC_TRY(lex_take_word(&p->lex, "symbol", &found));
        if (found) {
            MLCC_TRY(parse_symbol(p));
            continue;
        }
        MLCC_TRY(lex_take_word(&p->lex, "param", &found));
        if (found) {
            MLCC_TRY(parse_param(p));
            continue;
        }
        MLCC_TRY(lex_take_word(&p->lex, "const", &found));
        if (found) {
            MLCC_TRY(parse_const(p));
            continue;
        }
        bool is_group = lex_is_word(&p->lex, "group");
        if (!is_group && !lex_is_word(&p->lex, "func")) {
            return lex_expected(&p->lex, "symbol, param, const, group or func");
        }
        MLCC_TRY(lex_next(&p->lex));
        MLCC_TRY(parse_function(p, is_group));
    }
    return NULL;
}

static mlcc_status *parse_text(
    parser *p, const char *text, size_t length, const char *what, mlcc_arena *scratch) {
    MLCC_TRY(lex_start(&p->lex, text, length, what, scratch));
    MLCC_TRY(parse_header(p));
    return parse_items(p);
}

mlcc_status *ir_parse_module(
    const char *text, size_t length, const char *what, mlcc_arena *keep, ir_module **out) {
    *out = NULL;
    if (length > PARSE_MAX_TEXT_BYTES) {
        return MLCC_ERROR(
            INVALID, "%s has %zu bytes, at most %d are accepted", what, length,
            PARSE_MAX_TEXT_BYTES);
    }
    mlcc_arena *scratch = mlcc_arena_create();
    parser p = {
        .module = ir_module_create(keep, ""),
        .symbols = mlcc_map_create(8),
        .globals = mlcc_map_create(256),
        .functions = mlcc_map_create(64),
    };
    mlcc_status *status = parse_text(&p, text, length, what, scratch);
    mlcc_map_free(p.symbols);
    mlcc_map_free(p.globals);
    mlcc_map_free(p.functions);
    mlcc_arena_free(scratch);
    if (status == NULL) *out = p.module;
    return status;
}
