// args: option tables. One table per command tells everything: parsing, --help, and the message for a wrong word come from it.
//
// Accepted forms: --name VALUE, --name=VALUE, -x VALUE, `_` for `-` in names (MLC's Python spelling), `--` ends options. Unknown options and
// values of the wrong kind are usage errors (exit code 2) that name the nearest option and the accepted range.
#ifndef MLCC_DIST_CLI_RUN_ARGS_H
#define MLCC_DIST_CLI_RUN_ARGS_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum args_kind { ARGS_FLAG, ARGS_TEXT, ARGS_INT, ARGS_REAL, ARGS_HEADING } args_kind;

typedef struct args_option {
    const char *name; // "max-tokens"; for ARGS_HEADING the heading text
    char letter;      // 'n', or 0
    args_kind kind;
    const char *value_name; // "N"; NULL for flags
    const char *help;       // may hold \n
    const char *fallback;   // default as text, shown in --help; NULL = none
    double min, max;        // INT and REAL: accepted range
} args_option;

typedef struct args_values args_values;

typedef struct args_command {
    const char *name;
    const char *
        old_name; // MLC LLM's documentation has this one, too: accepted with a warning; may be NULL
    const char *operands; // "DIR [PROMPT]" as shown in the usage line
    int min_operands, max_operands;
    const char *summary; // one line, for the list of commands
    const char *details; // paragraphs and examples for --help; may be NULL
    const args_option *options;
    size_t n_options;
    // NULL = done (exit code 0); a status is printed by the program (exit code 1, or 2 if args_usage made it).
    mlcc_status *(*run)(const args_values *values);
} args_command;

// A usage error: what is wrong; the program adds "see mlcc COMMAND --help" and exits with 2.
mlcc_status *args_usage(const char *format, ...) MLCC_PRINTF(1, 2);
bool args_is_usage(const mlcc_status *status);

// The values that a command line gave. Names must be in the table (assert).
bool args_given(const args_values *values, const char *name);
bool args_flag(const args_values *values, const char *name);
const char *args_text(
    const args_values *values, const char *name); // NULL when absent without default
int64_t args_int(const args_values *values, const char *name);
double args_real(const args_values *values, const char *name);
int args_n_operands(const args_values *values);
const char *args_operand(const args_values *values, int index); // NULL beyond the last

// Finds the command, parses, runs it, prints errors. Returns the exit code: 0 done, 1 failed, 2 usage.
int args_main(
    const char *program, const char *about, const args_command *const *commands, size_t n_commands,
    int argc, char **argv);

// Comma separated positive integers ("16,128,512") into at most max_items; a usage error names the option.
mlcc_status *args_int_list(
    const char *option, const char *text, int64_t min, int64_t max, int64_t *items,
    size_t max_items, size_t *n_items);

#endif
