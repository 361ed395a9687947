// foreign: the table of layouts, and which of them a set of stored tensors is.
#include "quantization/foreign/foreign.h"

#include "quantization/foreign/foreign_parts.h"
#include "quantization/foreign/layouts.h"
#include "runtime/base/str.h"

#include <string.h>

// More general first: among layouts that fit equally well the first one wins.
static const quant_foreign_layout *const layouts[] = {
    &quant_foreign_awq_gemm,    &quant_foreign_awq_gemv,  &quant_foreign_awq_gemv_fast,
    &quant_foreign_gptq,        &quant_foreign_gptq_v2,   &quant_foreign_awq_marlin,
    &quant_foreign_ct_packed,   &quant_foreign_ct_int,    &quant_foreign_fp8_tensor,
    &quant_foreign_fp8_channel, &quant_foreign_fp8_block,
};
#define N_LAYOUTS (sizeof layouts / sizeof *layouts)

const quant_foreign_layout *const *quant_foreign_layouts(size_t *n_layouts) {
    *n_layouts = N_LAYOUTS;
    return layouts;
}

const quant_foreign_layout *quant_foreign_find(const char *name) {
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        if (strcmp(layouts[i]->name, name) == 0) return layouts[i];
    }
    return NULL;
}

bool quant_foreign_is_of(const quant_foreign_layout *layout, const char *family) {
    return strcmp(layout->family, family) == 0 ||
           (layout->other_family != NULL && strcmp(layout->other_family, family) == 0);
}

// Index of the part that has this suffix; -1: none.
static int32_t part_of(
    const quant_foreign_layout *layout, const char *suffix, bool *is_alternative) {
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS && layout->parts[p].suffix != NULL; p++) {
        const quant_foreign_part *part = &layout->parts[p];
        *is_alternative = part->alternative != NULL && strcmp(part->alternative, suffix) == 0;
        if (*is_alternative || strcmp(part->suffix, suffix) == 0) return p;
    }
    *is_alternative = false;
    return -1;
}

bool quant_foreign_knows(const char *suffix) {
    bool is_alternative = false;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        if (part_of(layouts[i], suffix, &is_alternative) >= 0) return true;
    }
    return false;
}

void quant_foreign_weight_init(
    quant_foreign_weight *weight, const quant_foreign_layout *layout, const char *name,
    const char *const *suffixes, const quant_foreign_tensor *tensors, size_t n_tensors) {
    *weight = (quant_foreign_weight){.layout = layout, .name = name};
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS; p++) weight->parts[p].rank = -1;
    for (size_t i = 0; i < n_tensors; i++) {
        bool is_alternative = false;
        const int32_t p = part_of(layout, suffixes[i], &is_alternative);
        // The proper name wins over the alternative.
        if (p < 0 || (is_alternative && weight->parts[p].rank >= 0)) continue;
        weight->parts[p] = tensors[i];
        weight->uses_alternative[p] = is_alternative;
    }
}

// Tensors that some layout names but this weight does not use.
static size_t n_strangers(
    const quant_foreign_layout *layout, const char *const *suffixes, size_t n_tensors) {
    bool is_alternative = false;
    size_t n = 0;
    for (size_t i = 0; i < n_tensors; i++)
        n += part_of(layout, suffixes[i], &is_alternative) < 0 && quant_foreign_knows(suffixes[i]);
    return n;
}

static bool is_meant(const quant_foreign_layout *layout, const char *format_hint) {
    for (size_t i = 0; format_hint != NULL && i < 4 && layout->formats[i] != NULL; i++) {
        if (strcmp(layout->formats[i], format_hint) == 0) return true;
    }
    return false;
}

// Tiny matrices can be read in two ways, of which one has groups that nobody uses.
static bool has_usual_groups(const quant_canon *canon) {
    return canon->group == canon->columns || (canon->group >= 16 && canon->group % 8 == 0);
}

const quant_foreign_layout *quant_foreign_detect(
    const char *const *suffixes, const quant_foreign_tensor *tensors, size_t n_tensors,
    const char *format_hint) {
    const quant_foreign_hints nothing = {0};
    const quant_foreign_layout *best = NULL;
    int best_score = -1;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        if (n_strangers(layouts[i], suffixes, n_tensors) > 0) continue;
        quant_foreign_weight weight;
        quant_canon canon;
        quant_foreign_weight_init(&weight, layouts[i], NULL, suffixes, tensors, n_tensors);
        mlcc_status *status = layouts[i]->describe(&weight, &nothing, &canon);
        if (status != NULL) {
            mlcc_status_free(status);
            continue;
        }
        const int score = 2 * is_meant(layouts[i], format_hint) + has_usual_groups(&canon);
        if (score > best_score) best_score = score, best = layouts[i];
    }
    return best;
}

// How much of a layout is there: parts with an element type that could be right count most.
static int nearness(
    const quant_foreign_layout *layout, const char *const *suffixes,
    const quant_foreign_tensor *tensors, size_t n_tensors, const char *format_hint) {
    quant_foreign_weight weight;
    quant_foreign_weight_init(&weight, layout, NULL, suffixes, tensors, n_tensors);
    int score = is_meant(layout, format_hint) ? 3 : 0;
    for (int32_t p = 0; p < QUANT_FOREIGN_MAX_PARTS && layout->parts[p].suffix != NULL; p++)
        score += quant_part_exists(&weight, p) ? 4 : layout->parts[p].is_required ? -1 : 0;
    score -= 2 * (int)n_strangers(layout, suffixes, n_tensors);
    return score;
}

mlcc_status *quant_foreign_explain(
    const char *name, const char *const *suffixes, const quant_foreign_tensor *tensors,
    size_t n_tensors, const char *family, const char *format_hint,
    const quant_foreign_hints *hints) {
    const quant_foreign_layout *best = NULL;
    int best_score = 0;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        if (family != NULL && !quant_foreign_is_of(layouts[i], family)) continue;
        const int score = nearness(layouts[i], suffixes, tensors, n_tensors, format_hint);
        if (best == NULL || score > best_score) best_score = score, best = layouts[i];
    }
    mlcc_str found = {0};
    for (size_t i = 0; i < n_tensors; i++) {
        if (!quant_foreign_knows(suffixes[i])) continue;
        mlcc_str_printf(
            &found, "%s%s %s", found.length > 0 ? ", " : "", suffixes[i],
            quant_part_describe(&tensors[i]).text);
    }
    mlcc_str objection = {0};
    if (best != NULL) {
        quant_foreign_weight weight;
        quant_canon canon;
        quant_foreign_weight_init(&weight, best, name, suffixes, tensors, n_tensors);
        mlcc_status *status = best->describe(&weight, hints, &canon);
        mlcc_str_printf(
            &objection, "; nearest is %s: %s", best->name,
            status != NULL ? mlcc_status_message(status) : "there are parts of another layout too");
        mlcc_status_free(status);
    }
    mlcc_status *status = MLCC_ERROR(
        MISMATCH, "%s: no%s%s layout of quantized weights fits %s%s", name,
        family != NULL ? " " : "", family != NULL ? family : "", mlcc_str_text(&found),
        mlcc_str_text(&objection));
    mlcc_str_free(&objection);
    mlcc_str_free(&found);
    return status;
}
