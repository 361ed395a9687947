#include "dist/cli/run/chat_input.h"

#include "runtime/base/arena.h"
#include "runtime/base/file.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_MESSAGE_BYTES = 16 << 20, MAX_HISTORY = 1000 };

struct chat_input {
    EditLine *edit;   // NULL: a pipe
    History *history; // NULL: a pipe
    char *history_path;
    bool is_continued; // inside """
    bool is_cancelled;
    char *line; // of a pipe
    size_t line_capacity;
};

// ---- the terminal -------------------------------------------------------------------------------------------

static chat_input *input_of(EditLine *edit) {
    void *data = NULL;
    el_get(edit, EL_CLIENTDATA, &data);
    return data;
}

static char *prompt(EditLine *edit) {
    static char first[] = ">>> ", next[] = "... ";
    return input_of(edit)->is_continued ? next : first;
}

// Ctrl-C: what is typed goes, and a new line begins.
static unsigned char cancel_line(EditLine *edit, int key) {
    (void)key;
    input_of(edit)->is_cancelled = true;
    return CC_EOF;
}

static unsigned char insert_newline(EditLine *edit, int key) {
    (void)key;
    return el_insertstr(edit, "\n") == 0 ? CC_REFRESH : CC_ERROR;
}

// NULL: there is no home to keep it in.
static char *make_history_path(void) {
    mlcc_arena *scratch = mlcc_arena_create();
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    const char *base = NULL;
    if (state != NULL && *state == '/') {
        base = mlcc_path_join(scratch, state, "mlcc");
    } else if (home != NULL && *home == '/') {
        base = mlcc_path_join(scratch, home, ".local/state/mlcc");
    }
    char *path = NULL;
    mlcc_status *status = base != NULL ? mlcc_dir_make(base) : NULL;
    if (base != NULL && status == NULL)
        path = strdup(mlcc_path_join(scratch, base, "chat_history"));
    // A conversation without remembered lines is still a conversation.
    mlcc_status_free(status);
    mlcc_arena_free(scratch);
    return path;
}

static mlcc_status *open_terminal(chat_input *input) {
    setlocale(LC_CTYPE, "");
    input->history = history_init();
    input->edit = el_init("mlcc", stdin, stdout, stderr);
    if (input->history == NULL || input->edit == NULL)
        return MLCC_ERROR(NO_MEMORY, "line editing cannot be started");
    HistEvent event;
    history(input->history, &event, H_SETSIZE, MAX_HISTORY);
    history(input->history, &event, H_SETUNIQUE, 1);
    input->history_path = make_history_path();
    if (input->history_path != NULL) history(input->history, &event, H_LOAD, input->history_path);
    el_set(input->edit, EL_CLIENTDATA, input);
    el_set(input->edit, EL_PROMPT, prompt);
    el_set(input->edit, EL_EDITOR, "emacs");
    el_set(input->edit, EL_HIST, history, input->history);
    el_set(input->edit, EL_ADDFN, "mlcc-cancel-line", "take the line back", cancel_line);
    el_set(input->edit, EL_ADDFN, "mlcc-insert-newline", "a newline in the line", insert_newline);
    el_set(input->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(input->edit, EL_BIND, "^C", "mlcc-cancel-line", NULL);
    el_set(input->edit, EL_BIND, "\\e\\r", "mlcc-insert-newline", NULL);
    el_set(input->edit, EL_BIND, "\\e\\n", "mlcc-insert-newline", NULL);
    el_source(input->edit, NULL); // ~/.editrc has the last word
    // While a line is edited, Ctrl-C is a key like any other.
    el_set(input->edit, EL_SETTY, "-d", "-isig", NULL);
    return NULL;
}

static void keep_history(chat_input *input) {
    if (input->history_path == NULL) return;
    HistEvent event;
    const mode_t before = umask(077);
    history(input->history, &event, H_SAVE, input->history_path);
    umask(before);
}

mlcc_status *chat_input_open(chat_input **out) {
    *out = NULL;
    chat_input *input = calloc(1, sizeof *input);
    if (input == NULL) return MLCC_ERROR(NO_MEMORY, "memory for input cannot be had");
    mlcc_status *status = isatty(0) && isatty(1) ? open_terminal(input) : NULL;
    if (status != NULL) {
        chat_input_close(input);
        return status;
    }
    *out = input;
    return NULL;
}

void chat_input_close(chat_input *input) {
    if (input == NULL) return;
    if (input->history != NULL) keep_history(input);
    if (input->edit != NULL) el_end(input->edit);
    if (input->history != NULL) history_end(input->history);
    free(input->history_path);
    free(input->line);
    free(input);
}

bool chat_input_is_terminal(const chat_input *input) {
    return input->edit != NULL;
}

// ---- lines --------------------------------------------------------------------------------------------------

// The next line without its newline, valid until the next call; NULL at the end or when it was cancelled.
static mlcc_status *read_terminal(chat_input *input, const char **line, size_t *length) {
    int n = 0;
    const char *text = el_gets(input->edit, &n);
    if (text == NULL || n <= 0) {
        putchar('\n');
        fflush(stdout);
        return NULL;
    }
    *line = text;
    *length = (size_t)n - (text[n - 1] == '\n');
    return NULL;
}

static mlcc_status *read_pipe(chat_input *input, const char **line, size_t *length) {
    errno = 0;
    const ssize_t n = getline(&input->line, &input->line_capacity, stdin);
    if (n < 0) {
        if (ferror(stdin)) return MLCC_ERROR(IO, "cannot read standard input: %s", strerror(errno));
        return NULL;
    }
    size_t end = (size_t)n;
    if (end > 0 && input->line[end - 1] == '\n') end--;
    if (end > 0 && input->line[end - 1] == '\r') end--;
    *line = input->line;
    *length = end;
    return NULL;
}

static mlcc_status *read_line(chat_input *input, const char **line, size_t *length) {
    *line = NULL;
    *length = 0;
    return input->edit != NULL ? read_terminal(input, line, length)
                               : read_pipe(input, line, length);
}

static mlcc_status *append(mlcc_str *text, const char *data, size_t length) {
    if (length > MAX_MESSAGE_BYTES || text->length > MAX_MESSAGE_BYTES - length)
        return MLCC_ERROR(INVALID, "a message holds at most %d MiB", MAX_MESSAGE_BYTES >> 20);
    mlcc_str_append(text, data, length);
    return NULL;
}

// Lines up to the one that ends with """. `line` is what followed the opening one.
static mlcc_status *read_block(
    chat_input *input, const char *line, size_t length, mlcc_str *text, bool *is_whole) {
    *is_whole = false;
    for (bool is_first = true;; is_first = false) {
        const bool is_last = length >= 3 && memcmp(line + length - 3, "\"\"\"", 3) == 0;
        if (is_last) length -= 3;
        // A newline beside the quotes belongs to them, not to the message.
        if (!is_first && text->length > 0 && !(is_last && length == 0)) mlcc_str_putc(text, '\n');
        MLCC_TRY(append(text, line, length));
        if (is_last) break;
        MLCC_TRY(read_line(input, &line, &length));
        if (line == NULL) return NULL;
    }
    *is_whole = true;
    return NULL;
}

static void remember(chat_input *input, const mlcc_str *text) {
    if (input->history == NULL || text->length == 0) return;
    HistEvent event;
    history(input->history, &event, H_ENTER, mlcc_str_text(text));
}

mlcc_status *chat_input_read(chat_input *input, mlcc_str *text, chat_read *result) {
    const char *line = NULL;
    size_t length = 0;
    mlcc_str_clear(text);
    input->is_cancelled = false;
    MLCC_TRY(read_line(input, &line, &length));
    bool is_whole = line != NULL;
    if (line != NULL && length >= 3 && memcmp(line, "\"\"\"", 3) == 0) {
        input->is_continued = true;
        mlcc_status *status = read_block(input, line + 3, length - 3, text, &is_whole);
        input->is_continued = false;
        MLCC_TRY(status);
    } else if (line != NULL) {
        MLCC_TRY(append(text, line, length));
    }
    *result = is_whole ? CHAT_READ_LINE : input->is_cancelled ? CHAT_READ_CANCELLED : CHAT_READ_END;
    if (is_whole) remember(input, text);
    // A pipe that ends inside """ has said something all the same.
    if (!is_whole && input->edit == NULL && text->length > 0) *result = CHAT_READ_LINE;
    return NULL;
}
