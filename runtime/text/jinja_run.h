// jinja_run: one rendering: scopes, expressions, statements, calls.
#ifndef MLCC_RUNTIME_TEXT_JINJA_RUN_H
#define MLCC_RUNTIME_TEXT_JINJA_RUN_H

#include "runtime/text/jinja_builtin.h"
#include "runtime/text/jinja_tree.h"

typedef struct jinja_variable {
    struct jinja_variable *next;
    const char *name;
    jinja_value value;
} jinja_variable;

// Names are looked up through the parents. A loop's pass, a macro's call and a block each have one; `if` has none.
typedef struct jinja_scope {
    struct jinja_scope *parent;
    jinja_variable *variables;
} jinja_scope;

struct jinja_run {
    jinja_room room;
    jinja_builder *out; // where text goes now: the prompt, or the inside of a macro or block
    size_t max_output_bytes;
    int64_t now_s; // for strftime_now, seconds since 1970
};

struct jinja_closure {
    const jinja_macro *macro;
    jinja_scope *scope; // where it was defined
};

struct jinja_loop {
    const jinja_list *items;
    size_t at, depth;
    const jinja_node *node; // for loop(…)
    jinja_scope *scope;
    jinja_value last_changed; // of loop.changed
};

jinja_scope *mlcc_jinja_scope(jinja_run *r, jinja_scope *parent);
void mlcc_jinja_assign(jinja_run *r, jinja_scope *scope, const char *name, jinja_value value);

// jinja_exec.c
typedef enum jinja_jump { JINJA_GO_ON, JINJA_LEAVE_LOOP, JINJA_NEXT_PASS } jinja_jump;
jinja_jump mlcc_jinja_exec(jinja_run *r, jinja_scope *scope, const jinja_nodes *body);
jinja_value mlcc_jinja_call_macro(
    jinja_run *r, const jinja_closure *closure, const jinja_arguments *arguments);
jinja_value mlcc_jinja_call_loop(jinja_run *r, const jinja_loop *loop, jinja_value items);

// jinja_eval.c
jinja_value mlcc_jinja_eval(jinja_run *r, jinja_scope *scope, const jinja_node *node);
jinja_value mlcc_jinja_eval_filters(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, jinja_value body);
void mlcc_jinja_eval_arguments(
    jinja_run *r, jinja_scope *scope, const jinja_node *node, jinja_arguments *arguments);
void mlcc_jinja_add_named(
    jinja_run *r, jinja_arguments *arguments, const char *name, jinja_value value);
jinja_value mlcc_jinja_call(jinja_run *r, jinja_value callee, const jinja_arguments *arguments);

// jinja_operate.c
jinja_value mlcc_jinja_operate(jinja_run *r, int operator_, jinja_value a, jinja_value b);
jinja_value mlcc_jinja_negate(jinja_run *r, jinja_value a);
jinja_value mlcc_jinja_attribute(jinja_run *r, jinja_value of, jinja_value name); // x.name
jinja_value mlcc_jinja_item(jinja_run *r, jinja_value of, jinja_value index);     // x[index]
jinja_value mlcc_jinja_slice(jinja_run *r, jinja_value of, const jinja_value parts[3]);
jinja_value mlcc_jinja_loop_attribute(jinja_run *r, jinja_value loop, jinja_value name);

#endif
