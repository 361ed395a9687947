// Methods of list, tuple and dict that do not change them, and which kind of value has which.
#include "runtime/text/jinja_run.h"

#define ROWS(table) table, sizeof(table) / sizeof *(table)

static jinja_value run_items(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_dict_view(&r->room, call->self.as.dict, JINJA_ITEMS);
}
static jinja_value run_keys(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_dict_view(&r->room, call->self.as.dict, JINJA_KEYS);
}
static jinja_value run_values(jinja_run *r, const jinja_call *call) {
    return mlcc_jinja_dict_view(&r->room, call->self.as.dict, JINJA_VALUES);
}

static jinja_value run_get(jinja_run *r, const jinja_call *call) {
    const jinja_value *found = mlcc_jinja_dict_get(&r->room, call->self.as.dict, call->at[0]);
    if (found != NULL) return *found;
    return mlcc_jinja_is_given(call->at[1]) ? call->at[1] : mlcc_jinja_none();
}

static jinja_value run_copy(jinja_run *r, const jinja_call *call) {
    (void)r; // nothing changes a list or a dict, so it may be its own copy
    return call->self;
}

static jinja_value run_index(jinja_run *r, const jinja_call *call) {
    const jinja_list *list = call->self.as.list;
    for (size_t i = 0; i < list->n; i++)
        if (mlcc_jinja_equal(&r->room, list->items[i], call->at[0]))
            return mlcc_jinja_int((int64_t)i);
    mlcc_jinja_fail(&r->room, MLCC_INVALID, "the value is not in the list");
}

static jinja_value run_count(jinja_run *r, const jinja_call *call) {
    int64_t n = 0;
    for (size_t i = 0; i < call->self.as.list->n; i++)
        n += mlcc_jinja_equal(&r->room, call->self.as.list->items[i], call->at[0]);
    return mlcc_jinja_int(n);
}

static const jinja_builtin dict_methods[] = {
    {"items", 0, "", run_items}, {"keys", 0, "", run_keys},          {"values", 0, "", run_values},
    {"copy", 0, "", run_copy},   {"get", 1, "key default", run_get},
};
static const jinja_builtin list_methods[] = {
    {"index", 1, "value", run_index},
    {"count", 1, "value", run_count},
    {"copy", 0, "", run_copy},
};

const jinja_builtin *mlcc_jinja_find_method(jinja_value self, const char *name) {
    if (self.kind == JINJA_STRING) return mlcc_jinja_find_string_method(name);
    if (self.kind == JINJA_DICT) return mlcc_jinja_find_row(ROWS(dict_methods), name);
    bool is_list = self.kind == JINJA_LIST && self.as.list->flavor <= JINJA_RANGE;
    return is_list ? mlcc_jinja_find_row(ROWS(list_methods), name) : NULL;
}
