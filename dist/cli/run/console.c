#include "dist/cli/run/console.h"

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_log(void *user, mlcc_log_level level, const char *area, const char *message) {
    static const char *const names[] = {"error", "warning", "info", "debug", "trace"};
    (void)user;
    fprintf(stderr, "%s: %s: ", names[level], area);
    for (const char *at = message; *at != '\0'; at++) {
        fputc(*at, stderr);
        if (*at == '\n') fputs("    ", stderr); // not to pass for a message of ours
    }
    fputc('\n', stderr);
}

static const char *volatile interrupt_note;

void console_interrupt_note(const char *text) {
    interrupt_note = text;
}

static volatile sig_atomic_t is_caught, is_interrupted;

void console_interrupt_catch(bool is_on) {
    is_interrupted = 0;
    is_caught = is_on;
}

const volatile sig_atomic_t *console_interrupted(void) {
    return &is_interrupted;
}

void console_interrupt_end(void) {
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
    exit(130); // where it is blocked
}

// Temporaries go, then the signal does what it would have done without us (exit code 130 for Ctrl-C).
static void on_signal(int number) {
    if (number == SIGINT && is_caught) {
        is_interrupted = 1;
        return;
    }
    mlcc_writer_remove_all_temporaries();
    static const char newline = '\n';
    if (isatty(2)) {
        ssize_t ignored = write(2, &newline, 1);
        (void)ignored;
    }
    const char *note = interrupt_note;
    if (note != NULL) {
        ssize_t ignored = write(2, note, strlen(note));
        (void)ignored;
    }
    signal(number, SIG_DFL);
    raise(number);
}

static mlcc_log_level level_from_environment(bool *is_known) {
    static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
    const char *text = getenv("MLCC_LOG");
    *is_known = true;
    if (text == NULL || *text == '\0') return MLCC_LOG_WARN;
    for (int i = 0; i < 5; i++) {
        if (strcmp(text, names[i]) == 0) return (mlcc_log_level)i;
    }
    *is_known = false;
    return MLCC_LOG_WARN;
}

void console_start(void) {
    bool is_known;
    mlcc_log_set(print_log, NULL, level_from_environment(&is_known));
    if (!is_known)
        fprintf(
            stderr, "warning: MLCC_LOG is '%s'; accepted: error, warn, info, debug, trace\n",
            getenv("MLCC_LOG"));
    static const int deadly[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        struct sigaction action, inherited;
        // Ignored by whoever started us (nohup, a script's background job): then it stays so.
        if (sigaction(deadly[i], NULL, &inherited) == 0 && inherited.sa_handler == SIG_IGN)
            continue;
        action = (struct sigaction){.sa_handler = on_signal};
        sigaction(deadly[i], &action, NULL);
    }
    // Writing then fails with a reason, and the command ends with a message and without leftovers.
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void console_print_status(const mlcc_status *status) {
    bool is_known;
    char *text = mlcc_status_format(status, level_from_environment(&is_known) >= MLCC_LOG_DEBUG);
    fputs(text != NULL ? text : "error: out of memory\n", stderr);
    free(text);
}

const char *console_bytes(uint64_t size_bytes, char text[24]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)size_bytes;
    int unit = 0;
    while (value >= 1000.0 && unit < 4) {
        value /= 1000.0;
        unit++;
    }
    snprintf(text, 24, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

static void print_seconds_left(double seconds) {
    if (seconds < 90.0) {
        fprintf(stderr, "%.0f s left", seconds);
    } else {
        fprintf(stderr, "%.0f min left", seconds / 60.0);
    }
}

size_t console_width(const char *text) {
    size_t width = 0;
    for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

// "1.2 GB of 3.4 GB, 250.0 MB/s", or "340 of 512 tokens, 12.5 tokens/s".
static void print_amounts(
    const console_progress *progress, uint64_t done, uint64_t total, double rate) {
    char done_text[24], total_text[24], rate_text[24];
    if (progress->unit == NULL) {
        fprintf(
            stderr, "%s of %s, %s/s", console_bytes(done, done_text),
            console_bytes(total, total_text), console_bytes((uint64_t)rate, rate_text));
    } else {
        fprintf(
            stderr, "%llu of %llu %s, %.*f %s/s", (unsigned long long)done,
            (unsigned long long)total, progress->unit, rate < 100.0 ? 1 : 0, rate, progress->unit);
    }
}

static void print_line(console_progress *progress, uint64_t done, uint64_t total, int is_terminal) {
    double seconds = mlcc_clock_s() - progress->start_s;
    double rate = seconds > 0.0 ? (double)(done - progress->start_bytes) / seconds : 0.0;
    if (is_terminal) {
        char bar[21];
        uint64_t filled = total > 0 ? done / (total / 20 + 1) : 20;
        for (uint64_t i = 0; i < 20; i++) bar[i] = i < filled || done >= total ? '#' : '.';
        bar[20] = '\0';
        fprintf(stderr, "\r\033[K%-18s [%s] ", progress->phase, bar);
    } else {
        fprintf(stderr, "%s: ", progress->phase);
    }
    print_amounts(progress, done, total, rate);
    fputs(", ", stderr);
    if (done >= total) {
        fprintf(stderr, "%.1f s", seconds);
    } else {
        print_seconds_left(rate > 0.0 ? (double)(total - done) / rate : 0.0);
    }
    if (!is_terminal) fputc('\n', stderr);
    fflush(stderr);
    progress->is_open = is_terminal;
}

void console_progress_report(
    void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes) {
    console_progress *progress = user;
    int is_terminal = isatty(2);
    double now = mlcc_clock_s();
    if (strncmp(progress->phase, phase, sizeof progress->phase - 1) != 0) {
        console_progress_end(progress);
        snprintf(progress->phase, sizeof progress->phase, "%s", phase);
        progress->start_s = progress->shown_s = now;
        progress->start_bytes = done_bytes;
    }
    int is_done = done_bytes >= total_bytes;
    double interval_s = is_terminal ? 0.1 : 10.0;
    // Short phases pass without a word; a long one always ends with its figures.
    int is_due = now - progress->shown_s >= interval_s;
    if (is_done ? progress->is_open || now - progress->start_s >= 1.0 : is_due) {
        progress->shown_s = now;
        print_line(progress, done_bytes, total_bytes, is_terminal);
    }
    if (is_done) console_progress_end(progress);
}

void console_progress_end(console_progress *progress) {
    if (progress->is_open) fputc('\n', stderr);
    progress->is_open = 0;
    progress->phase[0] = '\0';
}
