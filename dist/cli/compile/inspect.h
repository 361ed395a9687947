// inspect: the parts of `mlcc inspect`, one per kind of thing. Each adds its sections to a report; on an error the report is dropped.
#ifndef MLCC_DIST_CLI_COMPILE_INSPECT_H
#define MLCC_DIST_CLI_COMPILE_INSPECT_H

#include "dist/cli/compile/inspect_report.h"
#include "runtime/base/status.h"

// A model directory (mlc-chat-config.json) or a Hugging Face folder (config.json); what is not there yet is shown as absent.
mlcc_status *inspect_directory(inspect_report *report, const char *path);
// lib.so. One for another CPU or architecture is shown as far as its metadata goes, with the reason why it does not run here.
mlcc_status *inspect_library(inspect_report *report, const char *path);
// A safetensors or torch file, or an index of either.
mlcc_status *inspect_checkpoint(inspect_report *report, const char *path);

// The tables that are built into the program: "modes", "kernels", "passes", "ops", "presets", "templates", "targets",
// "architectures".
void inspect_builtin_table(inspect_report *report, const char *name);

#endif
