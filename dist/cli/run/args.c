#include "dist/cli/run/args.h"

#include "dist/cli/run/console.h"
#include "runtime/base/str.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPERANDS 16
static const char usage_mark[] = "usage: ";

struct args_values {
    const args_command *command;
    const char **texts; // per option; NULL = not given
    const char *operands[MAX_OPERANDS];
    int n_operands;
};

mlcc_status *args_usage(const char *format, ...) {
    char message[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    return MLCC_ERROR(INVALID, "%s%s", usage_mark, message);
}

bool args_is_usage(const mlcc_status *status) {
    return mlcc_text_starts_with(mlcc_status_message(status), usage_mark);
}

// ---- access ----------------------------------------------------------------------------------------

static size_t index_of(const args_values *values, const char *name) {
    for (size_t i = 0; i < values->command->n_options; i++) {
        const args_option *option = &values->command->options[i];
        if (option->kind != ARGS_HEADING && strcmp(option->name, name) == 0) return i;
    }
    assert(false && "the option is in the command's table");
    abort();
}

bool args_given(const args_values *values, const char *name) {
    return values->texts[index_of(values, name)] != NULL;
}
bool args_flag(const args_values *values, const char *name) {
    return args_given(values, name);
}
const char *args_text(const args_values *values, const char *name) {
    size_t i = index_of(values, name);
    return values->texts[i] != NULL ? values->texts[i] : values->command->options[i].fallback;
}
int64_t args_int(const args_values *values, const char *name) {
    const char *text = args_text(values, name);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}
double args_real(const args_values *values, const char *name) {
    const char *text = args_text(values, name);
    return text != NULL ? strtod(text, NULL) : 0.0;
}
int args_n_operands(const args_values *values) {
    return values->n_operands;
}
const char *args_operand(const args_values *values, int index) {
    return index < values->n_operands ? values->operands[index] : NULL;
}

// ---- parsing ---------------------------------------------------------------------------------------

// `_` counts as `-`.
static bool same_name(const char *name, const char *word, size_t length) {
    if (strlen(name) != length) return false;
    for (size_t i = 0; i < length; i++) {
        char given = word[i] == '_' ? '-' : word[i], wanted = name[i] == '_' ? '-' : name[i];
        if (given != wanted) return false;
    }
    return true;
}

static mlcc_status *unknown_option(const args_command *command, const char *word, size_t length) {
    const char *names[128];
    size_t n_names = 0;
    char plain[64];
    for (size_t i = 0; i < command->n_options && n_names < 128; i++) {
        if (command->options[i].kind != ARGS_HEADING) names[n_names++] = command->options[i].name;
    }
    snprintf(plain, sizeof plain, "%.*s", (int)length, word);
    const char *near = mlcc_text_nearest(plain, names, n_names);
    return args_usage(
        "unknown option '--%s'%s%s%s", plain, near ? "; did you mean '--" : "", near ? near : "",
        near ? "'?" : "");
}

static mlcc_status *check_value(const args_option *option, const char *text) {
    if (option->kind != ARGS_INT && option->kind != ARGS_REAL) return NULL;
    char *end;
    errno = 0;
    double value = option->kind == ARGS_INT ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    bool is_number = *text != '\0' && *end == '\0' && errno == 0 && !isnan(value);
    if (!is_number) {
        return args_usage(
            "--%s is '%s'; expected %s", option->name, text,
            option->kind == ARGS_INT ? "a whole number" : "a number");
    }
    if (value < option->min || value > option->max) {
        return args_usage(
            "--%s is %s; accepted: %.15g to %.15g", option->name, text, option->min, option->max);
    }
    return NULL;
}

static const args_option *find_long(const args_command *command, const char *word, size_t length) {
    for (size_t i = 0; i < command->n_options; i++) {
        const args_option *option = &command->options[i];
        if (option->kind != ARGS_HEADING && same_name(option->name, word, length)) return option;
    }
    return NULL;
}

static const args_option *find_letter(const args_command *command, char letter) {
    for (size_t i = 0; i < command->n_options; i++) {
        if (command->options[i].letter == letter && letter != 0) return &command->options[i];
    }
    return NULL;
}

static mlcc_status *parse_option(
    args_values *values, int argc, char **argv, int *at, const char *word) {
    const args_command *command = values->command;
    const args_option *option;
    const char *value = NULL;
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        option = find_long(command, word + 2, length);
        if (option == NULL) return unknown_option(command, word + 2, length);
        if (equals != NULL) value = equals + 1;
    } else {
        option = find_letter(command, word[1]);
        if (option == NULL) return args_usage("unknown option '-%c'", word[1]);
        if (word[2] != '\0') value = word + 2;
    }
    if (option->kind == ARGS_FLAG) {
        if (value != NULL) return args_usage("--%s takes no value", option->name);
        value = "";
    } else if (value == NULL) {
        if (*at + 1 >= argc) {
            return args_usage("--%s needs a value: %s", option->name, option->value_name);
        }
        value = argv[++*at];
    }
    MLCC_TRY(check_value(option, value));
    values->texts[option - command->options] = value;
    return NULL;
}

static mlcc_status *parse(args_values *values, int argc, char **argv) {
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && word[0] == '-' && word[1] != '\0') {
            MLCC_TRY(parse_option(values, argc, argv, &i, word));
        } else {
            if (values->n_operands >= values->command->max_operands ||
                values->n_operands == MAX_OPERANDS) {
                return args_usage("'%s' is one argument too many", word);
            }
            values->operands[values->n_operands++] = word;
        }
    }
    if (values->n_operands < values->command->min_operands) {
        return args_usage("missing argument: %s", values->command->operands);
    }
    return NULL;
}

// ---- help ------------------------------------------------------------------------------------------

static void print_option(const args_option *option) {
    if (option->kind == ARGS_HEADING) {
        printf("\n%s\n", option->name);
        return;
    }
    mlcc_str left = {0};
    if (option->letter != 0) {
        mlcc_str_printf(&left, "  -%c, --%s", option->letter, option->name);
    } else {
        mlcc_str_printf(&left, "      --%s", option->name);
    }
    if (option->value_name != NULL) mlcc_str_printf(&left, " %s", option->value_name);
    const size_t width = console_width(mlcc_str_text(&left));
    fputs(mlcc_str_text(&left), stdout);
    if (width > 33) printf("\n%34s", "");
    for (size_t i = width; i <= 33; i++) putchar(' ');
    for (const char *c = option->help; *c != '\0'; c++) {
        putchar(*c);
        if (*c == '\n') printf("%34s", "");
    }
    if (option->fallback != NULL && option->fallback[0] != '\0') {
        printf(" [default: %s]", option->fallback);
    }
    putchar('\n');
    mlcc_str_free(&left);
}

static void print_command_help(const char *program, const args_command *command) {
    printf(
        "usage: %s %s %s [options]\n\n%s\n", program, command->name, command->operands,
        command->summary);
    if (command->n_options > 0 && command->options[0].kind != ARGS_HEADING) printf("\noptions\n");
    for (size_t i = 0; i < command->n_options; i++) print_option(&command->options[i]);
    printf("  -h, --help                      this text\n");
    if (command->details != NULL) printf("\n%s\n", command->details);
}

static void print_help(
    FILE *stream, const char *program, const char *about, const args_command *const *commands,
    size_t n_commands) {
    fprintf(stream, "usage: %s COMMAND …\n\n%s\n\ncommands\n", program, about);
    for (size_t i = 0; i < n_commands; i++) {
        fprintf(stream, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(
        stream,
        "\n'%s COMMAND --help' or 'help COMMAND' explains a command. Exit codes: 0 done, 1 failed, "
        "2 usage.\n"
        "Results go to standard output, everything else to standard error. MLCC_LOG=debug says "
        "more.\n",
        program);
}

static bool wants_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    }
    return false;
}

// ---- the program -----------------------------------------------------------------------------------

// What was printed must have arrived. A write that failed on the way leaves only the mark, and no longer its reason.
static mlcc_status *check_output(void) {
    if (fflush(stdout) != 0)
        return MLCC_ERROR(IO, "cannot write to standard output: %s", strerror(errno));
    if (ferror(stdout))
        return MLCC_ERROR(IO, "cannot write to standard output: an earlier write failed");
    return NULL;
}

// Prints an error and gives its exit code. `command` NULL: of no command.
static int finish(const char *program, const args_command *command, mlcc_status *status) {
    if (status == NULL) status = check_output();
    if (status == NULL) return 0;
    int exit_code = args_is_usage(status) ? 2 : 1;
    if (exit_code == 2) {
        fprintf(
            stderr, "error: %s\nsee '%s%s%s --help'\n",
            mlcc_status_message(status) + strlen(usage_mark), program, command ? " " : "",
            command ? command->name : "");
    } else {
        console_print_status(status);
    }
    mlcc_status_free(status);
    return exit_code;
}

static int run_command(const char *program, const args_command *command, int argc, char **argv) {
    if (wants_help(argc, argv)) {
        print_command_help(program, command);
        return finish(program, command, NULL);
    }
    args_values values = {.command = command};
    values.texts = calloc(command->n_options + 1, sizeof *values.texts);
    if (values.texts == NULL) return 1;
    mlcc_status *status = parse(&values, argc, argv);
    if (status == NULL) status = command->run(&values);
    free(values.texts);
    if (status != NULL) fflush(stdout);
    return finish(program, command, status);
}

// The command of that name, or the one that had it once; NULL: neither.
static const args_command *find_command(
    const args_command *const *commands, size_t n_commands, const char *word) {
    for (size_t i = 0; i < n_commands; i++) {
        const args_command *command = commands[i];
        if (same_name(command->name, word, strlen(word))) return command;
        if (command->old_name == NULL || !same_name(command->old_name, word, strlen(word)))
            continue;
        fprintf(stderr, "warning: '%s' is now called '%s'\n", word, command->name);
        return command;
    }
    return NULL;
}

static int refuse_command(
    const char *program, const args_command *const *commands, size_t n_commands, const char *word) {
    const char *names[64];
    for (size_t i = 0; i < n_commands; i++) names[i] = commands[i]->name;
    const char *near = mlcc_text_nearest(word, names, n_commands);
    fprintf(
        stderr, "error: unknown command '%s'%s%s%s\nsee '%s --help'\n", word,
        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", program);
    return 2;
}

int args_main(
    const char *program, const char *about, const args_command *const *commands, size_t n_commands,
    int argc, char **argv) {
    console_start();
    if (argc < 2) {
        print_help(stderr, program, about, commands, n_commands);
        return 2;
    }
    const char *word = argv[1];
    const bool is_help_word = strcmp(word, "help") == 0;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (is_help_word && argc == 2)) {
        print_help(stdout, program, about, commands, n_commands);
        return finish(program, NULL, NULL);
    }
    if (strcmp(word, "--version") == 0) {
        printf("%s %s\n", program, MLCC_VERSION);
        return finish(program, NULL, NULL);
    }
    if (is_help_word) word = argv[2];
    const args_command *command = find_command(commands, n_commands, word);
    if (command == NULL) return refuse_command(program, commands, n_commands, word);
    if (!is_help_word) return run_command(program, command, argc - 2, argv + 2);
    print_command_help(program, command);
    return finish(program, command, NULL);
}

mlcc_status *args_int_list(
    const char *option, const char *text, int64_t min, int64_t max, int64_t *items,
    size_t max_items, size_t *n_items) {
    *n_items = 0;
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        long long value = strtoll(at, &end, 10);
        if (end == at || errno != 0 || (*end != ',' && *end != '\0')) {
            return args_usage("--%s is '%s'; expected whole numbers with commas", option, text);
        }
        if (value < min || value > max) {
            return args_usage(
                "--%s holds %lld; accepted: %lld to %lld", option, value, (long long)min,
                (long long)max);
        }
        if (*n_items == max_items) {
            return args_usage("--%s: at most %zu numbers", option, max_items);
        }
        items[(*n_items)++] = value;
        if (*end == '\0') return NULL;
        at = end + 1;
    }
}
