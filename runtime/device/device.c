#include "runtime/device/device_inside.h"

#include "runtime/base/str.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CPU = -1, MAX_ORDINAL = 1023 };

// CPU or the number of a CUDA device.
static mlcc_status *parse_name(const mlcc_abi_model *abi, const char *name, int *ordinal) {
    if (name == NULL || strcmp(name, "auto") == 0) name = abi->cuda != NULL ? "cuda" : "cpu";
    *ordinal = CPU;
    if (strcmp(name, "cpu") == 0) return NULL;
    *ordinal = 0;
    if (strcmp(name, "cuda") == 0) return NULL;
    const char *digits = name + strlen("cuda:");
    bool is_number = mlcc_text_starts_with(name, "cuda:") && *digits != '\0' &&
                     strlen(digits) <= 4 && strspn(digits, "0123456789") == strlen(digits);
    long number = is_number ? strtol(digits, NULL, 10) : -1;
    if (number < 0 || number > MAX_ORDINAL) {
        return MLCC_ERROR(
            INVALID, "there is no device '%s'; accepted are auto, cpu, cuda and cuda:N", name);
    }
    *ordinal = (int)number;
    return NULL;
}

mlcc_status *mlcc_device_open(
    const mlcc_abi_model *abi, const char *name, mlcc_pool *pool, mlcc_device **out) {
    *out = NULL;
    int ordinal = CPU;
    MLCC_TRY(parse_name(abi, name, &ordinal));
    if (ordinal == CPU && abi->cuda != NULL) {
        return MLCC_ERROR(
            MISMATCH,
            "the library is compiled for CUDA devices (target '%s') and cannot run on the CPU: "
            "choose device cuda, or compile the model with --device cpu",
            abi->target);
    }
    if (ordinal != CPU && abi->cuda == NULL) {
        return MLCC_ERROR(
            MISMATCH,
            "the library is compiled for the CPU (target '%s') and cannot run on device %s: choose "
            "device cpu, or compile the model with --device cuda",
            abi->target, name);
    }
    if (ordinal == CPU) return mlcc_device_open_cpu(abi, pool, out);
    return mlcc_status_note(
        mlcc_device_open_cuda(abi, ordinal, pool, out), "opening device cuda:%d", ordinal);
}

void mlcc_device_close(mlcc_device *device) {
    if (device != NULL) device->kind->close(device);
}

const mlcc_device_info *mlcc_device_get_info(const mlcc_device *device) {
    return &device->info;
}

// ---- memory

mlcc_status *mlcc_device_alloc(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_memory *out) {
    *out = (mlcc_memory){0};
    return device->kind->alloc(device, size_bytes, what, out);
}

void mlcc_device_free(mlcc_device *device, mlcc_memory *memory) {
    if (memory->address != NULL) device->kind->free(device, memory);
    *memory = (mlcc_memory){0};
}

mlcc_status *mlcc_device_alloc_mirror(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_mirror *out) {
    *out = (mlcc_mirror){0};
    MLCC_TRY(mlcc_device_alloc(device, size_bytes, what, &out->memory));
    if (device->kind->alloc_host == NULL) {
        out->host = out->memory.address;
        return NULL;
    }
    mlcc_status *status = device->kind->alloc_host(device, size_bytes, what, out);
    if (status != NULL) mlcc_device_free(device, &out->memory);
    return status;
}

void mlcc_device_free_mirror(mlcc_device *device, mlcc_mirror *mirror) {
    if (mirror->host != NULL && device->kind->free_host != NULL)
        device->kind->free_host(device, mirror);
    mlcc_device_free(device, &mirror->memory);
    *mirror = (mlcc_mirror){0};
}

mlcc_status *mlcc_device_push(
    mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end) {
    assert(begin <= end && end <= mirror->memory.size_bytes);
    if (device->kind->push == NULL || begin == end) return NULL;
    return device->kind->push(device, mirror, begin, end);
}

mlcc_status *mlcc_device_pull(
    mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end) {
    assert(begin <= end && end <= mirror->memory.size_bytes);
    if (device->kind->pull == NULL || begin == end) return mlcc_device_synchronize(device);
    return device->kind->pull(device, mirror, begin, end);
}

mlcc_status *mlcc_device_upload(
    mlcc_device *device, const mlcc_memory *target, size_t offset_bytes, const void *source,
    size_t size_bytes) {
    assert(offset_bytes <= target->size_bytes && size_bytes <= target->size_bytes - offset_bytes);
    void *address = (char *)target->address + offset_bytes;
    return device->kind->upload(device, address, source, size_bytes);
}

mlcc_status *mlcc_device_stage(mlcc_device *device, size_t size_bytes, void **stage) {
    assert(!device->info.is_host);
    return device->kind->stage(device, size_bytes, stage);
}

mlcc_status *mlcc_device_send(
    mlcc_device *device, const mlcc_memory *target, size_t offset_bytes, size_t size_bytes) {
    assert(offset_bytes <= target->size_bytes && size_bytes <= target->size_bytes - offset_bytes);
    return device->kind->send(device, (char *)target->address + offset_bytes, size_bytes);
}

mlcc_status *mlcc_device_end_uploads(mlcc_device *device) {
    return device->kind->end_uploads == NULL ? NULL : device->kind->end_uploads(device);
}

mlcc_status *mlcc_device_free_bytes(mlcc_device *device, uint64_t *free_bytes) {
    size_t free_now = 0, total = 0;
    *free_bytes = UINT64_MAX;
    if (device->kind->memory_info == NULL) return NULL;
    MLCC_TRY(device->kind->memory_info(device, &free_now, &total));
    *free_bytes = free_now;
    return NULL;
}

static double gib(uint64_t size_bytes) {
    return (double)size_bytes / (1024.0 * 1024.0 * 1024.0);
}

mlcc_status *mlcc_device_check_room(
    mlcc_device *device, const mlcc_memory_item *items, size_t n_items, const char *advice) {
    if (device->kind->memory_info == NULL) return NULL;
    size_t free_bytes = 0, total_bytes = 0;
    MLCC_TRY(device->kind->memory_info(device, &free_bytes, &total_bytes));
    uint64_t left_bytes = free_bytes;
    bool fits = true;
    mlcc_str list = {0};
    double needed_gib = 0;
    for (size_t i = 0; i < n_items; i++) {
        mlcc_str_printf(
            &list, "%s%s %.3f GiB%s", i == 0 ? "" : ", ", items[i].what, gib(items[i].size_bytes),
            items[i].is_held ? " (there already)" : "");
        if (items[i].is_held) continue;
        fits = fits && items[i].size_bytes <= left_bytes;
        if (fits) left_bytes -= items[i].size_bytes;
        needed_gib += gib(items[i].size_bytes);
    }
    mlcc_status *status = NULL;
    if (!fits) {
        status = MLCC_ERROR(
            NO_MEMORY, "device %s has %.3f GiB free of %.3f GiB, %.3f GiB more are needed: %s; %s",
            device->info.name, gib(free_bytes), gib(total_bytes), needed_gib, mlcc_str_text(&list),
            advice);
    }
    mlcc_str_free(&list);
    return status;
}

// ---- work

mlcc_status *mlcc_runner_create(
    mlcc_device *device, uint32_t function, const void *const *params, mlcc_runner **out) {
    *out = NULL;
    return device->kind->runner_create(device, function, params, out);
}

void mlcc_runner_free(mlcc_runner *runner) {
    if (runner != NULL) runner->device->kind->runner_free(runner);
}

mlcc_status *mlcc_runner_run(
    mlcc_runner *runner, void *const *args, void *const *results, const int64_t *dims) {
    return runner->device->kind->runner_run(runner, args, results, dims);
}

void mlcc_runner_trace(mlcc_runner *runner, mlcc_run_trace *trace) {
    runner->trace = trace;
}

mlcc_status *mlcc_device_synchronize(mlcc_device *device) {
    return device->kind->synchronize == NULL ? NULL : device->kind->synchronize(device);
}
