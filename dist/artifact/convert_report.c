#include "dist/artifact/convert_report.h"

#include "runtime/base/log.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

// "model.layers.12.mlp.down_proj.weight" -> "model.layers.*.mlp.down_proj".
static void family_name(const char *param_name, char *out, size_t size) {
    size_t length = strlen(param_name), n = 0;
    if (mlcc_text_ends_with(param_name, ".weight")) length -= strlen(".weight");
    for (size_t i = 0; i < length && n + 1 < size; i++) {
        const bool is_digit = isdigit((unsigned char)param_name[i]) != 0,
                   begins_part = i == 0 || param_name[i - 1] == '.' || out[n - 1] == '*';
        if (!is_digit || !begins_part) {
            out[n++] = param_name[i];
        } else if (n == 0 || out[n - 1] != '*') {
            out[n++] = '*';
        }
    }
    out[n] = '\0';
}

static convert_family *find_family(convert_report *report, const char *name, const char *reason) {
    for (size_t i = 0; i < report->n_families; i++) {
        convert_family *family = &report->families[i];
        if (strcmp(family->name, name) == 0 && strcmp(family->reason, reason) == 0) return family;
    }
    if (report->n_families == CONVERT_MAX_FAMILIES) return NULL;
    convert_family *family = &report->families[report->n_families++];
    *family = (convert_family){.reason = reason};
    memcpy(family->name, name, strlen(name) + 1);
    return family;
}

void convert_report_add(
    convert_report *report, const convert_param *param, const convert_outcome *outcome) {
    if (param->param->has_fallback) {
        report->n_optional++;
        report->n_optional_missing += param->n_sources == 0;
    }
    if (outcome->way == CONVERT_UNCHANGED) report->n_unchanged += param->n_sources;
    if (outcome->way == CONVERT_DEQUANTIZED) report->n_dequantized += param->n_sources;
    if (outcome->way != CONVERT_REQUANTIZED) return;
    report->n_requantized += param->n_sources;
    char name[sizeof report->families[0].name];
    family_name(param->param->value.name, name, sizeof name);
    convert_family *family = find_family(report, name, outcome->reason);
    if (family == NULL) return;
    family->n_tensors += param->n_sources;
    family->error_squares += outcome->error_squares;
    family->value_squares += outcome->value_squares;
}

double convert_family_error(const convert_family *family) {
    return family->value_squares > 0 ? sqrt(family->error_squares / family->value_squares) : 0.0;
}

void convert_report_log(const convert_report *report) {
    for (size_t i = 0; i < report->n_families; i++) {
        const convert_family *family = &report->families[i];
        mlcc_log(
            MLCC_LOG_WARN, "convert_weight",
            "%s (%llu tensor%s): %s; quantized anew, relative error %.4f", family->name,
            (unsigned long long)family->n_tensors, family->n_tensors == 1 ? "" : "s",
            family->reason, convert_family_error(family));
    }
    if (report->n_optional_missing > 0) {
        mlcc_log(
            MLCC_LOG_WARN, "convert_weight",
            "%llu of %llu activation scales are not in the checkpoint; those inputs get theirs at "
            "run time, row by row. 'mlcc calibrate' records them",
            (unsigned long long)report->n_optional_missing, (unsigned long long)report->n_optional);
    }
}
