// inspect_report: one description, two renderings. The parts of `mlcc inspect` say what they found once; it becomes aligned text or one JSON object.
//
//   inspect_report *report = inspect_report_open(as_json);
//   inspect_section(report, "weights");
//   inspect_put_bytes(report, "stored_bytes", 1 << 20);             text: "stored bytes       1.0 MB"; JSON: "stored_bytes": 1048576
//   inspect_table(report, "shards", (inspect_column[]){{"name", false}, {"bytes", true}}, 2);
//   inspect_cell_text(report, name); inspect_cell_bytes(report, n);  one call per column, row after row
//   inspect_table_end(report);
//   inspect_section_end(report);
//   inspect_report_close(report, true);
//
// Keys are snake_case; text shows them with spaces.
#ifndef MLCC_DIST_CLI_COMPILE_INSPECT_REPORT_H
#define MLCC_DIST_CLI_COMPILE_INSPECT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct inspect_report inspect_report;

typedef struct inspect_column {
    const char *key;
    bool is_number; // right-aligned
} inspect_column;

#define INSPECT_MAX_COLUMNS 12

inspect_report *inspect_report_open(bool as_json);
// Prints what was collected to standard output (or drops it: after an error) and frees the report.
void inspect_report_close(inspect_report *report, bool print);

void inspect_section(inspect_report *report, const char *key);
void inspect_section_end(inspect_report *report);

void inspect_put_text(inspect_report *report, const char *key, const char *text); // NULL: null, "-"
void inspect_put_int(inspect_report *report, const char *key, int64_t value);
void inspect_put_real(inspect_report *report, const char *key, double value);
void inspect_put_bytes(inspect_report *report, const char *key, uint64_t size_bytes);
void inspect_put_bool(inspect_report *report, const char *key, bool value); // text: yes, no

// `columns` must stay alive until the end of the table.
void inspect_table(
    inspect_report *report, const char *key, const inspect_column *columns, size_t n_columns);
void inspect_cell_text(inspect_report *report, const char *text); // NULL: null, "-"
void inspect_cell_int(inspect_report *report, int64_t value);
void inspect_cell_real(inspect_report *report, double value, int n_decimals); // in JSON all digits
void inspect_cell_bytes(inspect_report *report, uint64_t size_bytes);
void inspect_table_end(inspect_report *report);

#endif
