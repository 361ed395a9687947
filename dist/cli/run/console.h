// console: what the programs share with a person: errors, log lines, progress with rate and time left, Ctrl-C. Only dist/cli prints.
#ifndef MLCC_DIST_CLI_RUN_CONSOLE_H
#define MLCC_DIST_CLI_RUN_CONSOLE_H

#include "runtime/base/status.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

// Log sink (level from MLCC_LOG: error, warn, info, debug, trace; default warn) and the Ctrl-C handler, which removes temporaries.
void console_start(void);
// A line that Ctrl-C prints last, for commands that can be continued; a constant text; NULL = none.
void console_interrupt_note(const char *text);
// While on, Ctrl-C only raises console_interrupted, which switching on lowers.
void console_interrupt_catch(bool is_on);
const volatile sig_atomic_t *console_interrupted(void);
// Ends the program as Ctrl-C does that was not caught (exit code 130), for a command that has tidied up behind one that was.
_Noreturn void console_interrupt_end(void);
void console_print_status(
    const mlcc_status *status); // to stderr; MLCC_LOG=debug adds the source place

// A progress callback for mlcc_model_options.progress and the artifact functions; user = a console_progress. On a terminal one line that is
// rewritten: phase, bar, bytes, rate, time left; otherwise a plain line every ten seconds and at the end of a phase that took longer than one.
typedef struct console_progress {
    char phase[64];
    double start_s, shown_s;
    uint64_t start_bytes;
    int is_open;      // a line without its newline is on the screen
    const char *unit; // what is counted: "tokens"; NULL = bytes
} console_progress;
void console_progress_report(
    void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes);
void console_progress_end(console_progress *progress);

// "1.2 GB", "340.1 MB" (powers of ten).
const char *console_bytes(uint64_t size_bytes, char text[24]);
// Terminal columns of UTF-8 text without wide characters.
size_t console_width(const char *text);

#endif
