// Filters of lists and dicts (jinja2's filters.py).
#include "runtime/text/jinja_run.h"

#include <string.h>

#define ROWS(table) table, sizeof(table) / sizeof *(table)

// ---- attributes and names of other filters -----------------------------------------------------------------------

// item.a.b for "a.b"; parts of digits are indices. `fallback` where one is undefined.
static jinja_value attribute_path(
    jinja_run *r, jinja_value item, jinja_value path, jinja_value fallback) {
    if (path.kind == JINJA_INT) return mlcc_jinja_item(r, item, path);
    const char *text = mlcc_jinja_cstring(&r->room, mlcc_jinja_str(&r->room, path));
    while (true) {
        size_t n = strcspn(text, ".");
        bool is_index = n != 0 && n < 10 && strspn(text, "0123456789") == n;
        int64_t index = 0;
        for (size_t i = 0; is_index && i < n; i++) index = index * 10 + (text[i] - '0');
        jinja_value key =
            is_index ? mlcc_jinja_int(index) : mlcc_jinja_text_n(&r->room, text, n, false);
        item = mlcc_jinja_item(r, item, key);
        if (item.kind == JINJA_UNDEFINED && mlcc_jinja_is_given(fallback)) item = fallback;
        if (text[n] == '\0') return item;
        text += n + 1;
    }
}

static jinja_value lowered(jinja_run *r, jinja_value value) {
    return mlcc_jinja_is_string(value)
               ? mlcc_jinja_change_case(&r->room, value.as.string, JINJA_LOWER)
               : value;
}

static jinja_value named(const jinja_arguments *a, const char *name) {
    for (size_t i = 0; i < a->n_named; i++)
        if (strcmp(a->names[i], name) == 0) return a->named[i];
    return (jinja_value){0};
}

static jinja_arguments behind(const jinja_arguments *a, size_t n) {
    jinja_arguments rest = *a;
    n = n < a->n ? n : a->n;
    rest.items += n;
    rest.n -= n;
    return rest;
}

static jinja_value run_map(jinja_run *r, const jinja_call *call) {
    const jinja_arguments *a = call->arguments;
    jinja_value broken = mlcc_jinja_broken_generator(&r->room, call->self);
    if (mlcc_jinja_is_given(broken)) return broken;
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    jinja_value path = named(a, "attribute");
    jinja_value fallback = named(a, "default");
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_GENERATOR, items->n);
    const jinja_builtin *filter = NULL;
    jinja_arguments rest = behind(a, 1);
    if (a->n != 0) {
        const char *name = mlcc_jinja_cstring(&r->room, mlcc_jinja_str(&r->room, a->items[0]));
        filter = mlcc_jinja_find_filter(name);
        if (filter == NULL)
            mlcc_jinja_fail(&r->room, MLCC_INVALID, "no filter named '%.80s'", name);
    } else if (!mlcc_jinja_is_given(path)) {
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "map requires a filter argument");
    }
    for (size_t i = 0; i < items->n; i++) {
        mlcc_jinja_charge(&r->room, 1);
        mlcc_jinja_push(
            &r->room, out,
            filter != NULL ? mlcc_jinja_call_builtin(r, filter, items->items[i], &rest)
                           : attribute_path(r, items->items[i], path, fallback));
    }
    return out;
}

static jinja_value choose(jinja_run *r, const jinja_call *call, bool by_attribute, bool keeps) {
    const jinja_arguments *a = call->arguments;
    jinja_value broken = mlcc_jinja_broken_generator(&r->room, call->self);
    if (mlcc_jinja_is_given(broken)) return broken;
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    size_t n_own = by_attribute ? 1 : 0;
    if (a->n < n_own)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "%s() needs an attribute", call->name);
    const jinja_builtin *test = NULL;
    jinja_arguments rest = behind(a, n_own + 1);
    if (a->n > n_own) {
        const char *name = mlcc_jinja_cstring(&r->room, mlcc_jinja_str(&r->room, a->items[n_own]));
        test = mlcc_jinja_find_test(name);
        if (test == NULL) mlcc_jinja_fail(&r->room, MLCC_INVALID, "no test named '%.80s'", name);
    }
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_GENERATOR, 0);
    for (size_t i = 0; i < items->n; i++) {
        mlcc_jinja_charge(&r->room, 1);
        jinja_value value = items->items[i];
        if (by_attribute) value = attribute_path(r, value, a->items[0], (jinja_value){0});
        if (test != NULL) value = mlcc_jinja_call_builtin(r, test, value, &rest);
        if (mlcc_jinja_is_true(&r->room, value) == keeps)
            mlcc_jinja_push(&r->room, out, items->items[i]);
    }
    return out;
}

static jinja_value run_select(jinja_run *r, const jinja_call *call) {
    return choose(r, call, false, true);
}
static jinja_value run_reject(jinja_run *r, const jinja_call *call) {
    return choose(r, call, false, false);
}
static jinja_value run_selectattr(jinja_run *r, const jinja_call *call) {
    return choose(r, call, true, true);
}
static jinja_value run_rejectattr(jinja_run *r, const jinja_call *call) {
    return choose(r, call, true, false);
}

// ---- ends, order -------------------------------------------------------------------------------------------------

static jinja_value end_of(jinja_run *r, const jinja_call *call, bool is_last) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    if (items->n != 0) return items->items[is_last ? items->n - 1 : 0];
    return mlcc_jinja_undefined(
        &r->room,
        is_last ? "No last item, sequence was empty." : "No first item, sequence was empty.");
}
static jinja_value run_first(jinja_run *r, const jinja_call *call) {
    return end_of(r, call, false);
}
static jinja_value run_last(jinja_run *r, const jinja_call *call) {
    return end_of(r, call, true);
}

static jinja_value run_reverse(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_GENERATOR, items->n);
    for (size_t i = items->n; i-- > 0;) mlcc_jinja_push(&r->room, out, items->items[i]);
    if (!mlcc_jinja_is_string(call->self)) return out;
    jinja_builder b = {.room = &r->room};
    for (size_t i = 0; i < items->n; i++)
        mlcc_jinja_put_string(&b, out.as.list->items[i].as.string);
    return mlcc_jinja_finish(&b);
}

typedef struct sort_entry {
    jinja_value key, value;
} sort_entry;

// Stable, smallest first (or last, as Python's reverse=True keeps equal items in order).
static void merge_sort(
    jinja_run *r, sort_entry *items, sort_entry *spare, size_t n, bool is_reversed) {
    if (n < 2) return;
    size_t half = n / 2;
    merge_sort(r, items, spare, half, is_reversed);
    merge_sort(r, items + half, spare, n - half, is_reversed);
    memcpy(spare, items, n * sizeof *items);
    size_t a = 0;
    size_t b = half;
    for (size_t i = 0; i < n; i++) {
        bool takes_b = a == half;
        if (!takes_b && b < n) {
            bool is_same =
                mlcc_jinja_equal(&r->room, spare[b].key, spare[a].key); // also what has no order
            int order = is_same ? 0 : mlcc_jinja_order(&r->room, spare[b].key, spare[a].key, "<");
            takes_b = is_reversed ? order > 0 : order < 0;
        }
        items[i] = spare[takes_b ? b++ : a++];
    }
}

static jinja_value sort_values(
    jinja_run *r, const jinja_list *values, const jinja_value *keys, bool is_reversed) {
    sort_entry *entries = mlcc_jinja_alloc(&r->room, values->n, 2 * sizeof *entries);
    for (size_t i = 0; i < values->n; i++) entries[i] = (sort_entry){keys[i], values->items[i]};
    merge_sort(r, entries, entries + values->n, values->n, is_reversed);
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, values->n);
    for (size_t i = 0; i < values->n; i++) mlcc_jinja_push(&r->room, out, entries[i].value);
    return out;
}

// What an item is sorted or compared by: itself or its attributes, without case unless told otherwise.
static jinja_value *sort_keys(
    jinja_run *r, const jinja_list *items, jinja_value path, bool with_case) {
    jinja_value *keys = mlcc_jinja_alloc(&r->room, items->n, sizeof *keys);
    bool has_path = mlcc_jinja_is_given(path) && path.kind != JINJA_NONE;
    for (size_t i = 0; i < items->n; i++) {
        jinja_value key = items->items[i];
        if (has_path) key = attribute_path(r, key, path, (jinja_value){0});
        keys[i] = with_case ? key : lowered(r, key);
    }
    return keys;
}

static jinja_value run_sort(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    bool is_reversed = mlcc_jinja_arg_true(r, call, 0, false);
    bool with_case = mlcc_jinja_arg_true(r, call, 1, false);
    return sort_values(r, items, sort_keys(r, items, call->at[2], with_case), is_reversed);
}

static jinja_value run_dictsort(jinja_run *r, const jinja_call *call) {
    if (call->self.kind == JINJA_UNDEFINED) mlcc_jinja_fail_undefined(&r->room, call->self);
    if (call->self.kind != JINJA_DICT)
        mlcc_jinja_fail(
            &r->room, MLCC_INVALID, "dictsort needs a dict, not %s",
            mlcc_jinja_type_name(call->self));
    bool with_case = mlcc_jinja_arg_true(r, call, 0, false);
    bool by_value = mlcc_jinja_string_is(call->at[1], "value");
    const jinja_list *items =
        mlcc_jinja_dict_view(&r->room, call->self.as.dict, JINJA_ITEMS).as.list;
    jinja_value *keys = sort_keys(r, items, mlcc_jinja_int(by_value ? 1 : 0), with_case);
    return sort_values(r, items, keys, mlcc_jinja_arg_true(r, call, 2, false));
}

static jinja_value run_unique(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    jinja_value *keys = sort_keys(r, items, call->at[1], mlcc_jinja_arg_true(r, call, 0, false));
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_GENERATOR, 0);
    for (size_t i = 0; i < items->n; i++) {
        bool is_new = true;
        for (size_t k = 0; is_new && k < i; k++)
            is_new = !mlcc_jinja_equal(&r->room, keys[k], keys[i]);
        mlcc_jinja_charge(&r->room, i / 8);
        if (is_new) mlcc_jinja_push(&r->room, out, items->items[i]);
    }
    return out;
}

static jinja_value extreme(jinja_run *r, const jinja_call *call, bool is_max) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    if (items->n == 0)
        return mlcc_jinja_undefined(&r->room, "No aggregated item, sequence was empty.");
    jinja_value *keys = sort_keys(r, items, call->at[1], mlcc_jinja_arg_true(r, call, 0, false));
    size_t best = 0;
    for (size_t i = 1; i < items->n; i++) {
        int order = mlcc_jinja_order(&r->room, keys[i], keys[best], "<");
        if (is_max ? order > 0 : order < 0) best = i;
    }
    return items->items[best];
}
static jinja_value run_min(jinja_run *r, const jinja_call *call) {
    return extreme(r, call, false);
}
static jinja_value run_max(jinja_run *r, const jinja_call *call) {
    return extreme(r, call, true);
}

static jinja_value run_sum(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    bool has_path = mlcc_jinja_is_given(call->at[0]) && call->at[0].kind != JINJA_NONE;
    jinja_value sum = mlcc_jinja_is_given(call->at[1]) ? call->at[1] : mlcc_jinja_int(0);
    for (size_t i = 0; i < items->n; i++) {
        jinja_value item = items->items[i];
        if (has_path) item = attribute_path(r, item, call->at[0], (jinja_value){0});
        sum = mlcc_jinja_operate(r, '+', sum, item);
    }
    return sum;
}

// ---- shapes ------------------------------------------------------------------------------------------------------

static jinja_value run_join(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    bool has_path = mlcc_jinja_is_given(call->at[1]) && call->at[1].kind != JINJA_NONE;
    jinja_builder b = {.room = &r->room};
    for (size_t i = 0; i < items->n; i++) {
        jinja_value item = items->items[i];
        if (has_path) item = attribute_path(r, item, call->at[1], (jinja_value){0});
        if (i != 0 && mlcc_jinja_is_given(call->at[0])) mlcc_jinja_put_str(&b, call->at[0]);
        mlcc_jinja_put_str(&b, item);
    }
    return mlcc_jinja_finish(&b);
}

static jinja_value copy_as(jinja_run *r, jinja_value of, jinja_flavor flavor) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, of);
    jinja_value out = mlcc_jinja_list(&r->room, flavor, items->n);
    for (size_t i = 0; i < items->n; i++) mlcc_jinja_push(&r->room, out, items->items[i]);
    return out;
}

static jinja_value run_list(jinja_run *r, const jinja_call *call) {
    return copy_as(r, call->self, JINJA_PLAIN_LIST);
}

static jinja_value run_items(jinja_run *r, const jinja_call *call) {
    if (call->self.kind == JINJA_UNDEFINED) return mlcc_jinja_list(&r->room, JINJA_GENERATOR, 0);
    if (call->self.kind != JINJA_DICT)
        mlcc_jinja_fail(&r->room, MLCC_INVALID, "Can only get item pairs from a mapping.");
    return copy_as(
        r, mlcc_jinja_dict_view(&r->room, call->self.as.dict, JINJA_ITEMS), JINJA_GENERATOR);
}

static jinja_value run_batch(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    int64_t size = mlcc_jinja_arg_int(r, call, 0, 1);
    jinja_value fill = call->at[1];
    if (size < 1) mlcc_jinja_fail(&r->room, MLCC_INVALID, "batch() needs a size of at least 1");
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_GENERATOR, 0);
    jinja_value row = {0};
    for (size_t i = 0; i < items->n; i++) {
        if (i % (size_t)size == 0) {
            row = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
            mlcc_jinja_push(&r->room, out, row);
        }
        mlcc_jinja_push(&r->room, row, items->items[i]);
    }
    bool fills = mlcc_jinja_is_given(fill) && fill.kind != JINJA_NONE && items->n != 0;
    while (fills && (int64_t)row.as.list->n < size) mlcc_jinja_push(&r->room, row, fill);
    return out;
}

// So many columns, the first ones longer.
static jinja_value run_slice(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    int64_t n = mlcc_jinja_arg_int(r, call, 0, 1);
    jinja_value fill = call->at[1];
    if (n < 1) mlcc_jinja_fail(&r->room, MLCC_INVALID, "slice() needs at least 1 column");
    size_t each = items->n / (size_t)n;
    size_t extra = items->n % (size_t)n;
    bool fills = mlcc_jinja_is_given(fill) && fill.kind != JINJA_NONE;
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_GENERATOR, 0);
    size_t at = 0;
    for (size_t i = 0; i < (size_t)n; i++) {
        mlcc_jinja_charge(&r->room, 1);
        jinja_value column = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
        size_t length = each + (i < extra);
        for (size_t k = 0; k < length; k++) mlcc_jinja_push(&r->room, column, items->items[at++]);
        if (fills && i >= extra) mlcc_jinja_push(&r->room, column, fill);
        mlcc_jinja_push(&r->room, out, column);
    }
    return out;
}

static jinja_value run_groupby(jinja_run *r, const jinja_call *call) {
    const jinja_list *items = mlcc_jinja_iterate(&r->room, call->self);
    bool with_case = mlcc_jinja_arg_true(r, call, 2, false);
    jinja_value *keys = sort_keys(r, items, call->at[0], with_case);
    const jinja_list *sorted = sort_values(r, items, keys, false).as.list;
    keys = sort_keys(r, sorted, call->at[0], with_case);
    jinja_value out = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
    jinja_value group = {0};
    for (size_t i = 0; i < sorted->n; i++) {
        if (i == 0 || !mlcc_jinja_equal(&r->room, keys[i - 1], keys[i])) {
            jinja_value pair = mlcc_jinja_list(&r->room, JINJA_TUPLE, 2);
            group = mlcc_jinja_list(&r->room, JINJA_PLAIN_LIST, 0);
            mlcc_jinja_push(
                &r->room, pair, attribute_path(r, sorted->items[i], call->at[0], (jinja_value){0}));
            mlcc_jinja_push(&r->room, pair, group);
            mlcc_jinja_push(&r->room, out, pair);
        }
        mlcc_jinja_push(&r->room, group, sorted->items[i]);
    }
    return out;
}

// clang-format off
static const jinja_builtin filters[] = {
    {"map", 0, "*", run_map}, {"select", 0, "*", run_select}, {"reject", 0, "*", run_reject},
    {"selectattr", 0, "*", run_selectattr}, {"rejectattr", 0, "*", run_rejectattr},
    {"first", 0, "", run_first}, {"last", 0, "", run_last}, {"reverse", 0, "", run_reverse},
    {"sort", 0, "reverse case_sensitive attribute", run_sort}, {"dictsort", 0, "case_sensitive by reverse", run_dictsort},
    {"unique", 0, "case_sensitive attribute", run_unique}, {"min", 0, "case_sensitive attribute", run_min},
    {"max", 0, "case_sensitive attribute", run_max}, {"sum", 0, "attribute start", run_sum},
    {"join", 0, "d attribute", run_join}, {"list", 0, "", run_list}, {"items", 0, "", run_items},
    {"batch", 1, "linecount fill_with", run_batch}, {"slice", 1, "slices fill_with", run_slice},
    {"groupby", 1, "attribute default case_sensitive", run_groupby},
};
// clang-format on

const jinja_builtin *mlcc_jinja_find_list_filter(const char *name) {
    return mlcc_jinja_find_row(ROWS(filters), name);
}
