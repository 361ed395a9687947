// Tests: what stands behind `is` (jinja2's tests.py).
#include "runtime/text/jinja_run.h"

#include <string.h>

#define ROWS(table) table, sizeof(table) / sizeof *(table)

static jinja_value is_kind(const jinja_call *call, jinja_kind kind) {
    return mlcc_jinja_bool(call->self.kind == kind);
}

static jinja_value run_defined(jinja_run *r, const jinja_call *call) {
    (void)r;
    return mlcc_jinja_bool(call->self.kind != JINJA_UNDEFINED);
}
static jinja_value run_undefined(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_UNDEFINED);
}
static jinja_value run_none(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_NONE);
}
static jinja_value run_boolean(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_BOOL);
}
static jinja_value run_true(jinja_run *r, const jinja_call *call) {
    (void)r;
    return mlcc_jinja_bool(call->self.kind == JINJA_BOOL && call->self.as.boolean);
}
static jinja_value run_false(jinja_run *r, const jinja_call *call) {
    (void)r;
    return mlcc_jinja_bool(call->self.kind == JINJA_BOOL && !call->self.as.boolean);
}
static jinja_value run_integer(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_INT);
}
static jinja_value run_float(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_FLOAT);
}
static jinja_value run_number(jinja_run *r, const jinja_call *call) {
    (void)r;
    jinja_kind kind = call->self.kind;
    return mlcc_jinja_bool(kind == JINJA_INT || kind == JINJA_FLOAT || kind == JINJA_BOOL);
}
static jinja_value run_string(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_STRING);
}
static jinja_value run_mapping(jinja_run *r, const jinja_call *call) {
    (void)r;
    return is_kind(call, JINJA_DICT);
}
static jinja_value run_iterable(jinja_run *r, const jinja_call *call) {
    (void)r;
    jinja_kind kind = call->self.kind;
    return mlcc_jinja_bool(
        kind == JINJA_STRING || kind == JINJA_LIST || kind == JINJA_DICT ||
        kind == JINJA_UNDEFINED || kind == JINJA_LOOP);
}
static jinja_value run_sequence(jinja_run *r, const jinja_call *call) {
    (void)r;
    jinja_kind kind = call->self.kind;
    return mlcc_jinja_bool(
        kind == JINJA_STRING || kind == JINJA_DICT || kind == JINJA_UNDEFINED ||
        (kind == JINJA_LIST && call->self.as.list->flavor <= JINJA_RANGE));
}
static jinja_value run_callable(jinja_run *r, const jinja_call *call) {
    (void)r;
    jinja_kind kind = call->self.kind;
    // jinja2's Undefined has __call__, and a loop can be called when recursive
    return mlcc_jinja_bool(
        kind == JINJA_BUILTIN || kind == JINJA_MACRO || kind == JINJA_LOOP ||
        kind == JINJA_UNDEFINED);
}

// ---- numbers -----------------------------------------------------------------------------------------------------

static int64_t rest(jinja_run *r, const jinja_call *call, jinja_value divisor) {
    jinja_value rest_value = mlcc_jinja_operate(r, '%', call->self, divisor);
    return rest_value.kind == JINJA_INT ? rest_value.as.integer
           : rest_value.kind == JINJA_FLOAT
               ? (rest_value.as.real != 0) * (rest_value.as.real == 1 ? 1 : 2)
               : 2;
}
static jinja_value run_odd(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(rest(r, call, mlcc_jinja_int(2)) == 1);
}
static jinja_value run_even(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(rest(r, call, mlcc_jinja_int(2)) == 0);
}
static jinja_value run_divisibleby(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(rest(r, call, call->at[0]) == 0);
}

// ---- comparisons -------------------------------------------------------------------------------------------------

static jinja_value run_eq(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(mlcc_jinja_equal(&r->room, call->self, call->at[0]));
}
static jinja_value run_ne(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(!mlcc_jinja_equal(&r->room, call->self, call->at[0]));
}
static jinja_value run_lt(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(mlcc_jinja_order(&r->room, call->self, call->at[0], "<") < 0);
}
static jinja_value run_le(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(mlcc_jinja_order(&r->room, call->self, call->at[0], "<=") <= 0);
}
static jinja_value run_gt(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(mlcc_jinja_order(&r->room, call->self, call->at[0], ">") > 0);
}
static jinja_value run_ge(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(mlcc_jinja_order(&r->room, call->self, call->at[0], ">=") >= 0);
}
static jinja_value run_in(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(mlcc_jinja_contains(&r->room, call->at[0], call->self));
}
static jinja_value run_sameas(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(
        call->self.kind == call->at[0].kind && mlcc_jinja_equal(&r->room, call->self, call->at[0]));
}

// ---- text --------------------------------------------------------------------------------------------------------

static jinja_value has_case(jinja_run *r, const jinja_call *call, jinja_case to) {
    jinja_value text = mlcc_jinja_str(&r->room, call->self);
    jinja_value same = mlcc_jinja_change_case(&r->room, text.as.string, to);
    jinja_case opposite = to == JINJA_UPPER ? JINJA_LOWER : JINJA_UPPER;
    jinja_value other = mlcc_jinja_change_case(&r->room, text.as.string, opposite);
    return mlcc_jinja_bool(
        mlcc_jinja_equal(&r->room, same, text) && !mlcc_jinja_equal(&r->room, other, text));
}
static jinja_value run_upper(jinja_run *r, const jinja_call *call) {
    return has_case(r, call, JINJA_UPPER);
}
static jinja_value run_lower(jinja_run *r, const jinja_call *call) {
    return has_case(r, call, JINJA_LOWER);
}

static jinja_value run_filter(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(
        mlcc_jinja_is_string(call->self) &&
        mlcc_jinja_find_filter(mlcc_jinja_cstring(&r->room, call->self)) != NULL);
}
static jinja_value run_test(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_bool(
        mlcc_jinja_is_string(call->self) &&
        mlcc_jinja_find_test(mlcc_jinja_cstring(&r->room, call->self)) != NULL);
}
static jinja_value run_escaped(jinja_run *r, const jinja_call *call) {
    (void)r;
    (void)call;
    return mlcc_jinja_bool(false);
}

// clang-format off
static const jinja_builtin tests[] = {
    {"defined", 0, "", run_defined}, {"undefined", 0, "", run_undefined}, {"none", 0, "", run_none},
    {"boolean", 0, "", run_boolean}, {"true", 0, "", run_true}, {"false", 0, "", run_false},
    {"integer", 0, "", run_integer}, {"float", 0, "", run_float}, {"number", 0, "", run_number},
    {"string", 0, "", run_string}, {"mapping", 0, "", run_mapping}, {"iterable", 0, "", run_iterable},
    {"sequence", 0, "", run_sequence}, {"callable", 0, "", run_callable}, {"escaped", 0, "", run_escaped},
    {"odd", 0, "", run_odd}, {"even", 0, "", run_even}, {"divisibleby", 1, "num", run_divisibleby},
    {"eq", 1, "other", run_eq}, {"equalto", 1, "other", run_eq}, {"==", 1, "other", run_eq},
    {"ne", 1, "other", run_ne}, {"!=", 1, "other", run_ne},
    {"lt", 1, "other", run_lt}, {"lessthan", 1, "other", run_lt}, {"<", 1, "other", run_lt},
    {"le", 1, "other", run_le}, {"<=", 1, "other", run_le},
    {"gt", 1, "other", run_gt}, {"greaterthan", 1, "other", run_gt}, {">", 1, "other", run_gt},
    {"ge", 1, "other", run_ge}, {">=", 1, "other", run_ge},
    {"in", 1, "seq", run_in}, {"sameas", 1, "other", run_sameas},
    {"upper", 0, "", run_upper}, {"lower", 0, "", run_lower},
    {"filter", 0, "", run_filter}, {"test", 0, "", run_test},
};
// clang-format on

const jinja_builtin *mlcc_jinja_find_test(const char *name) {
    return mlcc_jinja_find_row(ROWS(tests), name);
}
