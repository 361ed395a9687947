// Global functions, what a loop knows of itself, and the arguments of builtins.
#include "runtime/text/jinja_run.h"

#include <string.h>
#include <time.h>

#define ROWS(table) table, sizeof(table) / sizeof *(table)

const jinja_builtin *mlcc_jinja_find_row(
    const jinja_builtin *rows, size_t n_rows, const char *name) {
    for (size_t i = 0; i < n_rows; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

// ---- arguments ---------------------------------------------------------------------------------------------------

const jinja_string *mlcc_jinja_arg_string(jinja_run *r, const jinja_call *call, size_t i) {
    jinja_value value = call->at[i];
    if (value.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, value);
    if (value.kind == JINJA_STRING) return value.as.string;
    mlcc_jinja_fail(
        &r->room, MLCC_INVALID, "%s() needs a str as argument %zu, not %s", call->name, i + 1,
        mlcc_jinja_type_name(value));
}

int64_t mlcc_jinja_arg_int(jinja_run *r, const jinja_call *call, size_t i, int64_t fallback) {
    jinja_value value = call->at[i];
    if (!mlcc_jinja_is_given(value)) return fallback;
    if (value.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, value);
    if (value.kind == JINJA_INT) return value.as.integer;
    if (value.kind == JINJA_BOOL) return value.as.boolean;
    mlcc_jinja_fail(
        &r->room, MLCC_INVALID, "%s() needs an int as argument %zu, not %s", call->name, i + 1,
        mlcc_jinja_type_name(value));
}

bool mlcc_jinja_arg_true(jinja_run *r, const jinja_call *call, size_t i, bool fallback) {
    return mlcc_jinja_is_given(call->at[i]) ? mlcc_jinja_is_true(&r->room, call->at[i]) : fallback;
}

// ---- functions ---------------------------------------------------------------------------------------------------

static jinja_value run_range(jinja_run *r, const jinja_call *call) {
    enum { MAX_RANGE = 100000 }; // jinja2's sandbox has the same
    bool has_stop = mlcc_jinja_is_given(call->at[1]);
    int64_t start = has_stop ? mlcc_jinja_arg_int(r, call, 0, 0) : 0;
    int64_t stop = mlcc_jinja_arg_int(r, call, has_stop ? 1 : 0, 0);
    int64_t step = mlcc_jinja_arg_int(r, call, 2, 1);
    if (step == 0) mlcc_jinja_fail(&r->room, MLCC_INVALID, "range() arg 3 must not be zero");
    jinja_value list = mlcc_jinja_list(&r->room, JINJA_RANGE, 0);
    for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
        if (list.as.list->n == MAX_RANGE)
            mlcc_jinja_fail(&r->room, MLCC_INVALID, "range() of more than %d numbers", MAX_RANGE);
        mlcc_jinja_push(&r->room, list, mlcc_jinja_int(i));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return list;
}

static void fill_dict(jinja_run *r, const jinja_call *call, jinja_dict *dict) {
    jinja_value from = call->at[0];
    if (from.kind == JINJA_DICT || from.kind == JINJA_NAMESPACE) {
        for (size_t i = 0; i < from.as.dict->n; i++)
            mlcc_jinja_dict_set(
                &r->room, dict, from.as.dict->items[i].key, from.as.dict->items[i].value);
    } else if (mlcc_jinja_is_given(from)) {
        const jinja_list *items = mlcc_jinja_iterate(&r->room, from);
        for (size_t i = 0; i < items->n; i++) {
            const jinja_list *pair = mlcc_jinja_iterate(&r->room, items->items[i]);
            if (pair->n != 2)
                mlcc_jinja_fail(
                    &r->room, MLCC_INVALID, "%s() needs pairs of key and value", call->name);
            mlcc_jinja_dict_set(&r->room, dict, pair->items[0], pair->items[1]);
        }
    }
    const jinja_arguments *a = call->arguments;
    for (size_t i = 0; i < a->n_named; i++)
        mlcc_jinja_dict_set(&r->room, dict, mlcc_jinja_text(&r->room, a->names[i]), a->named[i]);
}

static jinja_value run_dict(jinja_run *r, const jinja_call *call) {
    jinja_value dict = mlcc_jinja_dict(&r->room);
    fill_dict(r, call, dict.as.dict);
    return dict;
}

static jinja_value run_namespace(jinja_run *r, const jinja_call *call) {
    jinja_value space = run_dict(r, call);
    space.kind = JINJA_NAMESPACE;
    for (size_t i = 0; i < space.as.dict->n; i++) {
        jinja_value key = space.as.dict->items[i].key;
        if (mlcc_jinja_is_string(key) && key.as.string->length != 0 &&
            key.as.string->data[0] == '_')
            mlcc_jinja_fail(
                &r->room, MLCC_INVALID, "a namespace holds no names that begin with '_'");
    }
    return space;
}

static jinja_value run_raise_exception(jinja_run *r, const jinja_call *call) {
    mlcc_jinja_fail(
        &r->room, MLCC_INVALID, "the template refuses the conversation: %s",
        mlcc_jinja_cstring(&r->room, mlcc_jinja_str(&r->room, call->at[0])));
}

// One directive at a time, so that none needs more than the buffer. The time has no zone, as Python's datetime.now().
static jinja_value run_strftime_now(jinja_run *r, const jinja_call *call) {
    const jinja_string *format = mlcc_jinja_arg_string(r, call, 0);
    time_t now = (time_t)r->now_s;
    struct tm local;
    if (localtime_r(&now, &local) == NULL) memset(&local, 0, sizeof local);
    jinja_builder b = {.room = &r->room};
    for (size_t i = 0; i < format->length;) {
        size_t n = 1;
        if (format->data[i] == '%' && i + 1 < format->length)
            n = strchr("-_0^#EO", format->data[i + 1]) != NULL && i + 2 < format->length ? 3 : 2;
        char last = format->data[i + n - 1];
        if (n == 1) {
            mlcc_jinja_put(&b, format->data + i, 1, false);
        } else if (last == 'f') {
            mlcc_jinja_puts(&b, "000000");
        } else if (last != 'Z' && last != 'z' && last != '\0') {
            char directive[4] = {0};
            char text[256];
            memcpy(directive, format->data + i, n);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            size_t n_text = strftime(text, sizeof text, directive, &local);
#pragma GCC diagnostic pop
            mlcc_jinja_put(&b, text, n_text, false);
        }
        i += n;
    }
    return mlcc_jinja_finish(&b);
}

static const jinja_builtin functions[] = {
    {"range", 1, "start stop step", run_range},
    {"dict", 0, "from *", run_dict},
    {"namespace", 0, "from *", run_namespace},
    {"raise_exception", 1, "message", run_raise_exception},
    {"strftime_now", 1, "format", run_strftime_now},
};

const jinja_builtin *mlcc_jinja_find_global(const char *name) {
    return mlcc_jinja_find_row(ROWS(functions), name);
}

// ---- loop --------------------------------------------------------------------------------------------------------

static jinja_value run_cycle(jinja_run *r, const jinja_call *call) {
    const jinja_arguments *a = call->arguments;
    if (a->n == 0) mlcc_jinja_fail(&r->room, MLCC_INVALID, "no items for cycling given");
    return a->items[call->self.as.loop->at % a->n];
}

static jinja_value run_changed(jinja_run *r, const jinja_call *call) {
    jinja_loop *loop = call->self.as.loop;
    jinja_value now = mlcc_jinja_list(&r->room, JINJA_TUPLE, call->arguments->n);
    for (size_t i = 0; i < call->arguments->n; i++)
        mlcc_jinja_push(&r->room, now, call->arguments->items[i]);
    if (mlcc_jinja_is_given(loop->last_changed) &&
        mlcc_jinja_equal(&r->room, loop->last_changed, now))
        return mlcc_jinja_bool(false);
    loop->last_changed = now;
    return mlcc_jinja_bool(true);
}

static const jinja_builtin loop_methods[] = {
    {"cycle", 0, "*", run_cycle},
    {"changed", 0, "*", run_changed},
};

jinja_value mlcc_jinja_loop_attribute(jinja_run *r, jinja_value of, jinja_value name) {
    static const char *const names[] = {"index", "index0", "revindex", "revindex0", "length",
                                        "depth", "depth0", "first",    "last"};
    const jinja_loop *loop = of.as.loop;
    int64_t at = (int64_t)loop->at;
    int64_t n = (int64_t)loop->items->n;
    const int64_t numbers[] = {
        at + 1, at, n - at, n - at - 1, n, (int64_t)loop->depth + 1, (int64_t)loop->depth};
    const char *text = name.kind == JINJA_STRING ? mlcc_jinja_cstring(&r->room, name) : "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], text) != 0) continue;
        if (i < 7) return mlcc_jinja_int(numbers[i]);
        return mlcc_jinja_bool(i == 7 ? at == 0 : at == n - 1);
    }
    if (strcmp(text, "previtem") == 0)
        return at > 0 ? loop->items->items[at - 1]
                      : mlcc_jinja_undefined(&r->room, "there is no previous item");
    if (strcmp(text, "nextitem") == 0)
        return at + 1 < n ? loop->items->items[at + 1]
                          : mlcc_jinja_undefined(&r->room, "there is no next item");
    const jinja_builtin *method = mlcc_jinja_find_row(ROWS(loop_methods), text);
    if (method == NULL) return mlcc_jinja_undefined(&r->room, "a loop has no such attribute");
    jinja_bound *bound = mlcc_jinja_alloc(&r->room, 1, sizeof *bound);
    *bound = (jinja_bound){.builtin = method, .self = of};
    return (jinja_value){.kind = JINJA_BUILTIN, .as.bound = bound};
}
