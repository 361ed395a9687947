#include "dist/cli/compile/inspect_report.h"

#include "dist/cli/run/console.h"
#include "runtime/base/arena.h"
#include "runtime/base/json.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct inspect_report {
    mlcc_arena *keep;
    bool as_json;
    mlcc_str out;
    mlcc_json_writer json;
    int depth; // sections that are open
    // the open table
    const inspect_column *columns;
    size_t n_columns;
    const char **cells; // [n_cells], text form; row after row
    size_t n_cells, cells_capacity;
};

inspect_report *inspect_report_open(bool as_json) {
    mlcc_arena *keep = mlcc_arena_create();
    inspect_report *report = MLCC_NEW(keep, inspect_report);
    report->keep = keep;
    report->as_json = as_json;
    mlcc_json_writer_init(&report->json, &report->out, 1, false);
    if (as_json) mlcc_json_begin_object(&report->json);
    return report;
}

void inspect_report_close(inspect_report *report, bool print) {
    if (print) {
        if (report->as_json) {
            mlcc_json_end(&report->json);
            mlcc_str_putc(&report->out, '\n');
        }
        fwrite(report->out.data, 1, report->out.length, stdout);
    }
    mlcc_str_free(&report->out);
    mlcc_arena_free(report->keep);
}

// ---- text -----------------------------------------------------------------------------------------------

enum { INDENT = 2, KEY_WIDTH = 28 };

static void indent(inspect_report *report) {
    for (int i = 0; i < INDENT * report->depth; i++) mlcc_str_putc(&report->out, ' ');
}

static void put_words(inspect_report *report, const char *key) {
    for (const char *c = key; *c != '\0'; c++) mlcc_str_putc(&report->out, *c == '_' ? ' ' : *c);
}

// Names come from files: control characters must not reach the terminal as such, and a cell stays on its line.
static const char *printable(inspect_report *report, const char *text) {
    mlcc_str out = {0};
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '\n') {
            mlcc_str_puts(&out, "\\n");
        } else if (byte < 0x20 || byte == 0x7f) {
            mlcc_str_printf(&out, "\\x%02x", byte);
        } else {
            mlcc_str_putc(&out, *c);
        }
    }
    char *kept = mlcc_arena_strdup(report->keep, mlcc_str_text(&out));
    mlcc_str_free(&out);
    return kept;
}

static void put_line(inspect_report *report, const char *key, const char *value) {
    indent(report);
    put_words(report, key);
    size_t used = strlen(key) + (size_t)(INDENT * report->depth);
    for (size_t i = used; i < KEY_WIDTH || i == used; i++) mlcc_str_putc(&report->out, ' ');
    mlcc_str_puts(&report->out, value);
    mlcc_str_putc(&report->out, '\n');
}

static void put_padding(inspect_report *report, size_t n) {
    for (size_t i = 0; i < n; i++) mlcc_str_putc(&report->out, ' ');
}

static void put_cell(inspect_report *report, size_t column, const char *text, size_t width) {
    size_t padding = width - console_width(text);
    bool is_last = column + 1 == report->n_columns;
    if (report->columns[column].is_number) put_padding(report, padding);
    mlcc_str_puts(&report->out, text);
    if (!report->columns[column].is_number && !is_last) put_padding(report, padding);
    mlcc_str_puts(&report->out, is_last ? "\n" : "  ");
}

static void put_table(inspect_report *report) {
    size_t widths[INSPECT_MAX_COLUMNS];
    const size_t n = report->n_columns;
    for (size_t c = 0; c < n; c++) widths[c] = console_width(report->columns[c].key);
    for (size_t i = 0; i < report->n_cells; i++) {
        size_t width = console_width(report->cells[i]);
        if (width > widths[i % n]) widths[i % n] = width;
    }
    report->depth++;
    indent(report);
    for (size_t c = 0; c < n; c++) {
        char *title = mlcc_arena_strdup(report->keep, report->columns[c].key);
        for (char *at = title; *at != '\0'; at++) *at = *at == '_' ? ' ' : *at;
        put_cell(report, c, title, widths[c]);
    }
    for (size_t i = 0; i < report->n_cells; i++) {
        if (i % n == 0) indent(report);
        put_cell(report, i % n, report->cells[i], widths[i % n]);
    }
    report->depth--;
}

// ---- sections and values --------------------------------------------------------------------------------

void inspect_section(inspect_report *report, const char *key) {
    if (report->as_json) {
        mlcc_json_key(&report->json, key);
        mlcc_json_begin_object(&report->json);
    } else {
        if (report->depth == 0 && report->out.length > 0) mlcc_str_putc(&report->out, '\n');
        indent(report);
        put_words(report, key);
        mlcc_str_putc(&report->out, '\n');
    }
    report->depth++;
}

void inspect_section_end(inspect_report *report) {
    assert(report->depth > 0);
    if (report->as_json) mlcc_json_end(&report->json);
    report->depth--;
}

static void put_json_text(inspect_report *report, const char *text) {
    if (text != NULL) {
        mlcc_json_put_text(&report->json, text);
    } else {
        mlcc_json_put_null(&report->json);
    }
}

void inspect_put_text(inspect_report *report, const char *key, const char *text) {
    if (!report->as_json) {
        put_line(report, key, text != NULL ? printable(report, text) : "-");
        return;
    }
    mlcc_json_key(&report->json, key);
    put_json_text(report, text);
}

void inspect_put_int(inspect_report *report, const char *key, int64_t value) {
    if (report->as_json) {
        mlcc_json_key(&report->json, key);
        mlcc_json_put_i64(&report->json, value);
    } else {
        put_line(report, key, mlcc_arena_printf(report->keep, "%lld", (long long)value));
    }
}

void inspect_put_real(inspect_report *report, const char *key, double value) {
    if (report->as_json) {
        mlcc_json_key(&report->json, key);
        mlcc_json_put_f64(&report->json, value);
    } else {
        put_line(report, key, mlcc_arena_printf(report->keep, "%.6g", value));
    }
}

void inspect_put_bytes(inspect_report *report, const char *key, uint64_t size_bytes) {
    if (report->as_json) {
        mlcc_json_key(&report->json, key);
        mlcc_json_put_i64(&report->json, (int64_t)size_bytes);
    } else {
        char text[24];
        put_line(report, key, console_bytes(size_bytes, text));
    }
}

void inspect_put_bool(inspect_report *report, const char *key, bool value) {
    if (report->as_json) {
        mlcc_json_key(&report->json, key);
        mlcc_json_put_bool(&report->json, value);
    } else {
        put_line(report, key, value ? "yes" : "no");
    }
}

// ---- tables ---------------------------------------------------------------------------------------------

void inspect_table(
    inspect_report *report, const char *key, const inspect_column *columns, size_t n_columns) {
    assert(n_columns > 0 && n_columns <= INSPECT_MAX_COLUMNS && report->columns == NULL);
    report->columns = columns;
    report->n_columns = n_columns;
    report->n_cells = 0;
    if (report->as_json) {
        mlcc_json_key(&report->json, key);
        mlcc_json_begin_array(&report->json);
    } else {
        if (report->depth == 0 && report->out.length > 0) mlcc_str_putc(&report->out, '\n');
        indent(report);
        put_words(report, key);
        mlcc_str_putc(&report->out, '\n');
    }
}

// Opens a JSON row before its first cell.
static void begin_cell(inspect_report *report) {
    size_t column = report->n_cells % report->n_columns;
    if (column == 0) mlcc_json_begin_object(&report->json);
    mlcc_json_key(&report->json, report->columns[column].key);
}

static void end_cell(inspect_report *report) {
    if (++report->n_cells % report->n_columns == 0) mlcc_json_end(&report->json);
}

static void keep_cell(inspect_report *report, const char *text) {
    MLCC_ARENA_GROW(report->keep, report->cells, report->n_cells, report->cells_capacity);
    report->cells[report->n_cells++] = printable(report, text);
}

void inspect_cell_text(inspect_report *report, const char *text) {
    if (report->as_json) {
        begin_cell(report);
        put_json_text(report, text);
        end_cell(report);
    } else {
        keep_cell(report, text != NULL ? text : "-");
    }
}

void inspect_cell_int(inspect_report *report, int64_t value) {
    if (report->as_json) {
        begin_cell(report);
        mlcc_json_put_i64(&report->json, value);
        end_cell(report);
    } else {
        keep_cell(report, mlcc_arena_printf(report->keep, "%lld", (long long)value));
    }
}

void inspect_cell_real(inspect_report *report, double value, int n_decimals) {
    if (report->as_json) {
        begin_cell(report);
        mlcc_json_put_f64(&report->json, value);
        end_cell(report);
    } else {
        keep_cell(report, mlcc_arena_printf(report->keep, "%.*f", n_decimals, value));
    }
}

void inspect_cell_bytes(inspect_report *report, uint64_t size_bytes) {
    char text[24];
    if (report->as_json) {
        inspect_cell_int(report, (int64_t)size_bytes);
    } else {
        keep_cell(report, console_bytes(size_bytes, text));
    }
}

void inspect_table_end(inspect_report *report) {
    assert(report->n_cells % report->n_columns == 0);
    if (report->as_json) {
        mlcc_json_end(&report->json);
    } else {
        put_table(report);
    }
    report->columns = NULL;
}
