#include "dist/cli/run/open_model.h"

#include "dist/cli/run/console.h"
#include "runtime/base/file.h"

#include <string.h>

mlcc_status *open_model_check_device(const char *device) {
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) return NULL;
    return MLCC_ERROR(UNSUPPORTED, "device '%s' is not supported; accepted: cpu, auto", device);
}

mlcc_status *open_model_check_directory(const char *directory) {
    if (mlcc_dir_exists(directory)) return NULL;
    return MLCC_ERROR(
        INVALID,
        "'%s' is not a directory; expected a model directory written by gen_config, "
        "convert_weight and compile",
        directory);
}

mlcc_status *open_model_with(
    const char *directory, const char *library, int32_t n_threads, bool verify, bool no_cache,
    mlcc_model **out) {
    console_progress progress = {0};
    mlcc_model_options options = {
        .directory = directory,
        .library = library,
        .n_threads = n_threads,
        .verify = verify,
        .no_cache = no_cache,
        .progress = console_progress_report,
        .progress_user = &progress,
    };
    mlcc_status *status = mlcc_model_open(&options, out);
    console_progress_end(&progress);
    return status;
}

mlcc_status *open_model(const char *directory, const args_values *values, mlcc_model **out) {
    *out = NULL;
    MLCC_TRY(open_model_check_device(args_text(values, "device")));
    MLCC_TRY(open_model_check_directory(directory));
    return open_model_with(
        directory, args_text(values, "model-lib"), (int32_t)args_int(values, "threads"),
        args_flag(values, "verify"), args_flag(values, "no-cache"), out);
}
