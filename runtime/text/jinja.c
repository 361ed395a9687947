#include "runtime/text/jinja.h"

#include "runtime/text/buffer.h"
#include "runtime/text/jinja_run.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct mlcc_jinja {
    const char *what;
    jinja_nodes body;
};

// setjmp's caller must not keep changed locals in registers: what the work needs stands in the room's struct.
static mlcc_status *parse(jinja_room *room, const char *text, size_t length, jinja_nodes *body) {
    if (setjmp(room->exit) == 0) mlcc_jinja_parse(room, text, length, body);
    return room->status;
}

mlcc_status *mlcc_jinja_compile(
    const char *text, size_t length, const char *what, mlcc_arena *keep, const mlcc_jinja **out) {
    *out = NULL;
    if (length > MLCC_JINJA_MAX_TEMPLATE_BYTES)
        return MLCC_ERROR(
            INVALID, "%s has %zu bytes, at most %d are accepted", what, length,
            MLCC_JINJA_MAX_TEMPLATE_BYTES);
    mlcc_jinja *jinja = mlcc_arena_try_alloc(keep, sizeof *jinja);
    if (jinja == NULL) return MLCC_ERROR(NO_MEMORY, "host memory ended while reading %s", what);
    jinja->what = mlcc_arena_strdup(keep, what);
    mlcc_bytes valid = {0};
    mlcc_utf8_repair(text, length, &valid);
    mlcc_status *status = mlcc_bytes_check(&valid);
    jinja_room room = {
        .arena = keep,
        .max_bytes = (size_t)512 << 20, // a token and its node take some hundred bytes
        .max_steps = SIZE_MAX,
        .max_depth = 300,
        .what = jinja->what,
        .line = 1};
    if (status == NULL)
        status = parse(&room, valid.length == 0 ? "" : valid.data, valid.length, &jinja->body);
    mlcc_bytes_free(&valid);
    if (status == NULL) *out = jinja;
    return status;
}

void mlcc_jinja_output_free(mlcc_jinja_output *output) {
    free(output->text);
    free(output->user_ranges);
    *output = (mlcc_jinja_output){0};
}

static size_t limit_or(size_t limit, size_t fallback) {
    return limit == 0 ? fallback : limit;
}

static mlcc_status *run(
    jinja_run *r, const mlcc_jinja *jinja, const mlcc_jinja_variable *variables,
    size_t n_variables) {
    if (setjmp(r->room.exit) != 0) return r->room.status;
    jinja_scope *globals = mlcc_jinja_scope(r, NULL);
    for (size_t i = 0; i < n_variables; i++) {
        const mlcc_jinja_variable *v = &variables[i];
        bool is_text = v->value == NULL && v->text != NULL;
        mlcc_jinja_assign(
            r, globals, v->name,
            is_text ? mlcc_jinja_text_n(&r->room, v->text, strlen(v->text), v->is_user)
                    : mlcc_jinja_from_json(&r->room, v->value, v->is_user));
    }
    mlcc_jinja_exec(r, mlcc_jinja_scope(r, globals), &jinja->body);
    return NULL;
}

static mlcc_status *hand_over(const jinja_builder *text, mlcc_jinja_output *out) {
    out->text = malloc(text->length + 1);
    out->user_ranges = calloc(text->n_marks + 1, sizeof *out->user_ranges);
    if (out->text == NULL || out->user_ranges == NULL) {
        mlcc_jinja_output_free(out);
        return MLCC_ERROR(NO_MEMORY, "host memory ended while rendering a prompt");
    }
    if (text->length != 0) memcpy(out->text, text->data, text->length);
    out->text[text->length] = '\0';
    out->length = text->length;
    for (size_t i = 0; i < text->n_marks; i++)
        out->user_ranges[i] =
            (mlcc_text_range){.begin = text->marks[i].begin, .end = text->marks[i].end};
    out->n_user_ranges = text->n_marks;
    return NULL;
}

mlcc_status *mlcc_jinja_render(
    const mlcc_jinja *jinja, const mlcc_jinja_variable *variables, size_t n_variables,
    const mlcc_jinja_limits *limits, mlcc_jinja_output *out) {
    *out = (mlcc_jinja_output){0};
    const mlcc_jinja_limits none = {0};
    if (limits == NULL) limits = &none;
    jinja_run r = {
        .room =
            {.arena = mlcc_arena_create(),
             .max_bytes = limit_or(limits->max_value_bytes, (size_t)256 << 20),
             .max_steps = limit_or(limits->max_steps, 20000000),
             .max_depth = limit_or(limits->max_depth, 800),
             .what = jinja->what,
             .line = 1},
        .max_output_bytes = limit_or(limits->max_output_bytes, (size_t)32 << 20),
        .now_s = limits->now_s != 0 ? limits->now_s : (int64_t)time(NULL)};
    jinja_builder text = {.room = &r.room};
    r.out = &text;
    mlcc_status *status = run(&r, jinja, variables, n_variables);
    if (status == NULL) status = hand_over(&text, out);
    mlcc_arena_free(r.room.arena);
    return status;
}
