// tune_cache: no text breaks the reader of the tuning cache; what it accepts holds only candidates, and is written and read back the same.
#include "codegen/cpu/tune_cache.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const cpu_tune_result *result, const char *kernel) {
    if (result->n_trials < 0 || result->n_trials > CPU_TUNE_MAX_TRIALS) abort();
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (!cpu_knob_accepts((cpu_knob)i, result->knobs.values[i])) abort();
    }
    mlcc_str text = {0};
    cpu_tune_print(result, "k", kernel, &text);
    cpu_tune_result again;
    if (cpu_tune_parse(text.data, text.length, "again", "k", kernel, &again) != NULL) abort();
    if (memcmp(&again.knobs, &result->knobs, sizeof again.knobs) != 0) abort();
    if (again.n_trials != result->n_trials) abort();
    mlcc_str_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const kernels[] = {
        "linear_scaled_panel16__x86_avx512vnni", "linear_panel16__portable", "rms_norm__portable"};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        cpu_tune_result result;
        mlcc_status *status =
            cpu_tune_parse((const char *)data, size, "fuzz", "k", kernels[i], &result);
        if (status == NULL) check(&result, kernels[i]);
        mlcc_status_free(status);
    }
    return 0;
}
