// jinja_builtin: what a template can call without defining it: filters, tests, global functions, methods of values. One row each, in the
// tables of jinja_filters*.c, jinja_tests.c, jinja_globals.c and jinja_methods*.c. There is no file, network or process access, and, as in
// jinja2's ImmutableSandboxedEnvironment, no method that changes a list or a dict.
#ifndef MLCC_RUNTIME_TEXT_JINJA_BUILTIN_H
#define MLCC_RUNTIME_TEXT_JINJA_BUILTIN_H

#include "runtime/text/jinja_value.h"

enum { JINJA_MAX_PARAMETERS = 6 };

typedef struct jinja_run jinja_run;

typedef struct jinja_arguments {
    jinja_value *items; // positional
    size_t n;
    const char **names; // named
    jinja_value *named;
    size_t n_named;
} jinja_arguments;

typedef struct jinja_call {
    const char *name;
    jinja_value self;                     // what is filtered or tested, or the method's object
    jinja_value at[JINJA_MAX_PARAMETERS]; // by parameter; JINJA_ABSENT where none was given
    const jinja_arguments *arguments;     // all of them, for those that take any number
} jinja_call;

struct jinja_builtin {
    const char *name;
    size_t n_required;
    const char *parameters; // names with blanks between; "*" at the end: any others, too
    jinja_value (*run)(jinja_run *r, const jinja_call *call);
};

struct jinja_bound {
    const jinja_builtin *builtin;
    jinja_value self;
};

// NULL when there is none of this name.
const jinja_builtin *mlcc_jinja_find_filter(const char *name);
const jinja_builtin *mlcc_jinja_find_list_filter(const char *name); // the second table of filters
const jinja_builtin *mlcc_jinja_find_test(const char *name);
const jinja_builtin *mlcc_jinja_find_global(const char *name);
const jinja_builtin *mlcc_jinja_find_method(jinja_value self, const char *name);
const jinja_builtin *mlcc_jinja_find_string_method(const char *name);
const jinja_builtin *mlcc_jinja_find_row(
    const jinja_builtin *rows, size_t n_rows, const char *name);

jinja_value mlcc_jinja_call_builtin(
    jinja_run *r, const jinja_builtin *builtin, jinja_value self, const jinja_arguments *arguments);

// Arguments as C values; `fallback` when absent.
const jinja_string *mlcc_jinja_arg_string(
    jinja_run *r, const jinja_call *call, size_t i); // fails for others
int64_t mlcc_jinja_arg_int(jinja_run *r, const jinja_call *call, size_t i, int64_t fallback);
bool mlcc_jinja_arg_true(jinja_run *r, const jinja_call *call, size_t i, bool fallback);

// Methods of text that filters use, too.
typedef enum jinja_side { JINJA_LEFT = 1, JINJA_RIGHT = 2, JINJA_BOTH = 3 } jinja_side;
jinja_value mlcc_jinja_strip(
    jinja_room *room, const jinja_string *s, const jinja_string *set, jinja_side side);
jinja_value mlcc_jinja_replace(
    jinja_room *room, const jinja_string *s, const jinja_string *old, const jinja_string *new_,
    int64_t count);
typedef enum jinja_case {
    JINJA_UPPER,
    JINJA_LOWER,
    JINJA_TITLE,
    JINJA_CAPITALIZE,
    JINJA_SWAP
} jinja_case;
jinja_value mlcc_jinja_change_case(jinja_room *room, const jinja_string *s, jinja_case to);
jinja_value mlcc_jinja_split_lines(jinja_room *room, const jinja_string *s, bool keeps_ends);
// "%s and %d" % values; "{} and {name}".format(…).
jinja_value mlcc_jinja_format_percent(jinja_run *r, const jinja_string *format, jinja_value values);
jinja_value mlcc_jinja_format_braces(
    jinja_run *r, const jinja_string *format, const jinja_arguments *arguments);

#endif
