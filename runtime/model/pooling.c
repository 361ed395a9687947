#include "runtime/model/pooling.h"

#include "runtime/base/str.h"

#include <math.h>
#include <string.h>

typedef struct pooling_row {
    const char *name;
    mlcc_pooling pooling;
} pooling_row;

// The first name of each is the one that is written.
static const pooling_row rows[] = {
    {"cls", MLCC_POOLING_CLS},
    {"mean", MLCC_POOLING_MEAN},
    {"max", MLCC_POOLING_MAX},
    {"mean_sqrt_len", MLCC_POOLING_MEAN_SQRT},
    {"weighted_mean", MLCC_POOLING_WEIGHTED_MEAN},
    {"last", MLCC_POOLING_LAST},
    {"mean_sqrt_len_tokens", MLCC_POOLING_MEAN_SQRT},
    {"weightedmean", MLCC_POOLING_WEIGHTED_MEAN},
    {"lasttoken", MLCC_POOLING_LAST},
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

mlcc_status *mlcc_pooling_find(const char *name, mlcc_pooling *out) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].name, name) != 0) continue;
        *out = rows[i].pooling;
        return NULL;
    }
    mlcc_str accepted = {0};
    for (int pooling = MLCC_POOLING_CLS; pooling <= MLCC_POOLING_LAST; pooling++)
        mlcc_str_printf(
            &accepted, "%s%s", pooling == MLCC_POOLING_CLS ? "" : ", ",
            mlcc_pooling_name((mlcc_pooling)pooling));
    mlcc_status *status = MLCC_ERROR(
        INVALID, "pooling '%.80s' is unknown; accepted: %s", name, mlcc_str_text(&accepted));
    mlcc_str_free(&accepted);
    return status;
}

const char *mlcc_pooling_name(mlcc_pooling pooling) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].pooling == pooling) return rows[i].name;
    return "default";
}

// sum of weight(i) * column; weight i + 1, or 1.
static double sum_column(
    const float *column, int64_t n_rows, int64_t width, bool is_weighted, double *total) {
    double sum = 0;
    *total = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        const double weight = is_weighted ? (double)(i + 1) : 1.0;
        sum += weight * (double)column[i * width];
        *total += weight;
    }
    return sum;
}

static float largest(const float *column, int64_t n_rows, int64_t width) {
    float value = column[0];
    for (int64_t i = 1; i < n_rows; i++)
        if (!(column[i * width] <= value)) value = column[i * width];
    return value;
}

void mlcc_pooling_apply(
    mlcc_pooling pooling, const float *x, int64_t n_rows, int64_t width, float *out) {
    const bool is_last = pooling == MLCC_POOLING_LAST;
    if (pooling == MLCC_POOLING_CLS || is_last) {
        memcpy(out, is_last ? x + (n_rows - 1) * width : x, (size_t)width * sizeof *out);
        return;
    }
    for (int64_t c = 0; c < width; c++) {
        double total = 0;
        if (pooling == MLCC_POOLING_MAX) {
            out[c] = largest(x + c, n_rows, width);
            continue;
        }
        const double sum =
            sum_column(x + c, n_rows, width, pooling == MLCC_POOLING_WEIGHTED_MEAN, &total);
        out[c] = (float)(sum / (pooling == MLCC_POOLING_MEAN_SQRT ? sqrt(total) : total));
    }
}

void mlcc_pooling_normalize(float *vector, int64_t width) {
    double squares = 0;
    for (int64_t c = 0; c < width; c++) squares += (double)vector[c] * (double)vector[c];
    const double length = sqrt(squares), divisor = length > 1e-12 ? length : 1e-12;
    for (int64_t c = 0; c < width; c++) vector[c] = (float)((double)vector[c] / divisor);
}
