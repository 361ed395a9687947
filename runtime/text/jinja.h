// jinja: the chat template of a model, read once and rendered into prompts. A sandboxed interpreter of jinja2's language with the settings
// that transformers uses for chat templates (utils/chat_template_utils.py: trim_blocks, lstrip_blocks, loopcontrols, {% generation %},
// raise_exception, strftime_now, tojson without HTML escapes), equal to jinja2 3.1.6 byte for byte where both render.
//
// A template is not trusted: it reaches the values it is given and nothing else, no file, no network, no process; it cannot change them; and it
// ends at a limit of steps, depth, bytes of values or bytes of output, each with a message that names the line. Integers are 64 bits wide.
//
// User text is not trusted either: every string keeps account of which bytes came from variables marked as the user's. The rendered prompt comes
// with those ranges, so that the tokenizer can refuse to read "<|im_start|>" in them as anything but text.
//
// Thread rule: a compiled template is only read; any number of threads may render it at the same time.
#ifndef MLCC_RUNTIME_TEXT_JINJA_H
#define MLCC_RUNTIME_TEXT_JINJA_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/status.h"
#include "runtime/mlcc.h"

typedef struct mlcc_jinja mlcc_jinja;

enum { MLCC_JINJA_MAX_TEMPLATE_BYTES = 1 << 20 };

// Reads a template; `what` names it in errors ("chat_template of '/models/x'"). Errors: INVALID, with the line, for what is not a template;
// UNSUPPORTED for tags that reach outside it (include, import, extends). The result lives in `keep`.
mlcc_status *mlcc_jinja_compile(
    const char *text, size_t length, const char *what, mlcc_arena *keep, const mlcc_jinja **out);

// A variable that the template can read.
typedef struct mlcc_jinja_variable {
    const char *name;
    const mlcc_json_value *value; // NULL: the text below; without that None
    const char *text;             // NUL-terminated
    bool is_user;                 // every string inside, keys too, counts as user text
} mlcc_jinja_variable;

// What a rendering may use up; 0 means the default that stands beside.
typedef struct mlcc_jinja_limits {
    size_t max_steps;        // 20 million: expressions and statements, passes of loops, comparisons
    size_t max_depth;        // 800 levels of expressions, blocks and calls inside each other
    size_t max_value_bytes;  // 256 MiB of values, all together; below 2 GiB
    size_t max_output_bytes; // 32 MiB
    int64_t now_s;           // what strftime_now shows, seconds since 1970; 0: the clock
} mlcc_jinja_limits;

typedef struct mlcc_jinja_output {
    char *text; // malloc'ed, NUL-terminated
    size_t length;
    mlcc_text_range
        *user_ranges; // malloc'ed: the user's bytes of text, ascending, apart from each other
    size_t n_user_ranges;
} mlcc_jinja_output;

// `limits` may be NULL. Errors: INVALID with the template's line, also for what the template itself refuses by raise_exception.
mlcc_status *mlcc_jinja_render(
    const mlcc_jinja *jinja, const mlcc_jinja_variable *variables, size_t n_variables,
    const mlcc_jinja_limits *limits, mlcc_jinja_output *out);
void mlcc_jinja_output_free(mlcc_jinja_output *output);

#endif
