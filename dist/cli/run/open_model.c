#include "dist/cli/run/open_model.h"

#include "dist/cli/run/console.h"
#include "runtime/base/file.h"

#include <stdio.h>
#include <string.h>

mlcc_status *open_model_check_device(const char *device) {
    const char *digits = device + strcspn(device, ":") + 1;
    bool is_cuda =
        strcmp(device, "cuda") == 0 || (strncmp(device, "cuda:", 5) == 0 && *digits != '\0' &&
                                        strspn(digits, "0123456789") == strlen(digits));
    if (is_cuda || strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED, "device '%s' is not supported; accepted: cpu, cuda, cuda:N, auto", device);
}

mlcc_status *open_model_check_directory(const char *directory) {
    if (mlcc_dir_exists(directory)) return NULL;
    return MLCC_ERROR(
        INVALID,
        "'%s' is not a directory; expected a model directory written by gen_config, "
        "convert_weight and compile",
        directory);
}

static mlcc_status *read_weights_memory(const char *text, mlcc_weights_memory *out) {
    static const char *const names[] = {
        [MLCC_WEIGHTS_AUTO] = "auto",
        [MLCC_WEIGHTS_MAPPED] = "map",
        [MLCC_WEIGHTS_COPIED] = "copy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *out = (mlcc_weights_memory)i;
        return NULL;
    }
    return args_usage("--weights-memory is '%s'; accepted: auto, map, copy", text);
}

mlcc_status *open_model_check_options(const args_values *values) {
    mlcc_weights_memory memory;
    MLCC_TRY(open_model_check_device(args_text(values, "device")));
    return read_weights_memory(args_text(values, "weights-memory"), &memory);
}

static void print_device(const mlcc_model *model) {
    mlcc_model_info info;
    mlcc_model_get_info(model, &info);
    if (strcmp(info.device, "cpu") == 0) {
        const bool has_levels = strcmp(info.cpu_levels, info.target) != 0;
        fprintf(
            stderr, "device: cpu (the library is compiled for the CPU, target %s%s%s)\n",
            info.target, has_levels ? " of " : "", has_levels ? info.cpu_levels : "");
        return;
    }
    fprintf(
        stderr, "device: %s, %s (the library is compiled for CUDA)\n", info.device,
        info.device_description);
}

static mlcc_status *open_with(
    const char *directory, const char *library, const args_values *values, bool made_up_weights,
    mlcc_model **out) {
    *out = NULL;
    const char *device = args_text(values, "device");
    MLCC_TRY(open_model_check_device(device));
    mlcc_weights_memory memory = MLCC_WEIGHTS_AUTO;
    MLCC_TRY(read_weights_memory(args_text(values, "weights-memory"), &memory));
    MLCC_TRY(open_model_check_directory(directory));
    console_progress progress = {0};
    mlcc_model_options options = {
        .directory = directory,
        .library = library,
        .n_threads = (int32_t)args_int(values, "threads"),
        .verify = args_flag(values, "verify"),
        .no_cache = args_flag(values, "no-cache"),
        .progress = console_progress_report,
        .progress_user = &progress,
        .device = device,
        .made_up_weights = made_up_weights,
        .weights_memory = memory,
    };
    mlcc_status *status = mlcc_model_open(&options, out);
    console_progress_end(&progress);
    if (status == NULL && strcmp(device, "auto") == 0) print_device(*out);
    return status;
}

mlcc_status *open_model_for_speed(
    const char *directory, const args_values *values, bool made_up_weights, mlcc_model **out) {
    return open_with(directory, args_text(values, "model-lib"), values, made_up_weights, out);
}

mlcc_status *open_model(const char *directory, const args_values *values, mlcc_model **out) {
    return open_model_for_speed(directory, values, false, out);
}

mlcc_status *open_model_library(
    const char *directory, const char *library, const args_values *values, mlcc_model **out) {
    return open_with(directory, library, values, false, out);
}
