#include "runtime/base/status.h"

#include "runtime/base/str.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct status_note {
    struct status_note *next;
    char text[];
} status_note;

struct mlcc_status {
    mlcc_code code;
    int line;
    const char *file; // __FILE__ of the maker, static
    char *message;
    status_note *first_note; // innermost first
    status_note *last_note;
};

// What is handed out when a status itself cannot be allocated. It is never written to or freed.
static mlcc_status out_of_memory = {
    .code = MLCC_NO_MEMORY,
    .file = "runtime/base/status.c",
    .line = 0,
    .message = (char[]){"host memory is exhausted"}};

mlcc_status *mlcc_status_make(mlcc_code code, const char *file, int line, const char *format, ...) {
    mlcc_status *status = calloc(1, sizeof *status);
    if (status == NULL) return &out_of_memory;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&status->message, format, args);
    va_end(args);
    if (length < 0) {
        free(status);
        return &out_of_memory;
    }
    mlcc_text_make_plain(status->message);
    status->code = code;
    status->file = file;
    status->line = line;
    return status;
}

mlcc_status *mlcc_status_note(mlcc_status *status, const char *format, ...) {
    if (status == NULL || status == &out_of_memory) return status;
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return status; // the error itself matters more than its context
    mlcc_text_make_plain(text);
    length = (int)strlen(text);
    status_note *note = malloc(sizeof *note + (size_t)length + 1);
    if (note != NULL) {
        note->next = NULL;
        memcpy(note->text, text, (size_t)length + 1);
        if (status->last_note != NULL) {
            status->last_note->next = note;
        } else {
            status->first_note = note;
        }
        status->last_note = note;
    }
    free(text);
    return status;
}

mlcc_code mlcc_status_code(const mlcc_status *status) {
    return status != NULL ? status->code : MLCC_OK;
}

const char *mlcc_code_text(mlcc_code code) {
    switch (code) {
    case MLCC_OK: return "ok";
#define X(id, text) \
    case MLCC_##id: return text;
        MLCC_CODES(X)
#undef X
    }
    return "unknown";
}

const char *mlcc_status_message(const mlcc_status *status) {
    return status != NULL ? status->message : "";
}

// The lines behind the first are indented: what a file says does not pass for a message.
static void put_lines(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        fputc(*text, out);
        if (*text == '\n') fputs("    ", out);
    }
}

char *mlcc_status_format(const mlcc_status *status, int with_place) {
    if (status == NULL) return strdup("");
    // Not mlcc_str: that one stops the program when memory ends, and this function reports exactly
    // that.
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    fprintf(out, "error: %s: ", mlcc_code_text(status->code));
    put_lines(out, status->message);
    fputc('\n', out);
    for (const status_note *note = status->first_note; note != NULL; note = note->next) {
        fputs("  while ", out);
        put_lines(out, note->text);
        fputc('\n', out);
    }
    if (with_place) fprintf(out, "  (%s:%d)\n", status->file, status->line);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

void mlcc_status_free(mlcc_status *status) {
    if (status == NULL || status == &out_of_memory) return;
    for (status_note *note = status->first_note; note != NULL;) {
        status_note *next = note->next;
        free(note);
        note = next;
    }
    free(status->message);
    free(status);
}
