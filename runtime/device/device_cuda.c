// A CUDA device: its context, its memory and copies. Launches are in cuda_runner.c.
#include "runtime/device/device_cuda.h"

#include "runtime/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGE_BYTES = 16 << 20, COPY_CHUNK_BYTES = 1 << 20 };

static mlcc_cu_address cu_address(const void *address) {
    return (mlcc_cu_address)(uintptr_t)address;
}

// ---- context

mlcc_status *mlcc_cuda_enter(mlcc_cuda_device *device) {
    pthread_mutex_lock(&device->lock);
    mlcc_cu_result lost = device->lost;
    pthread_mutex_unlock(&device->lock);
    if (lost != MLCC_CU_SUCCESS) {
        char error[160];
        return MLCC_ERROR(
            DEVICE,
            "device %s failed before (%s) and is lost to this model: close the model and open it "
            "again",
            device->base.info.name, mlcc_cuda_error_text(&device->driver, lost, error));
    }
    return mlcc_cuda_check(
        &device->driver, device->driver.ctx_push_current(device->context),
        "making the device's context current");
}

void mlcc_cuda_leave(mlcc_cuda_device *device) {
    mlcc_cu_context *mine = NULL;
    (void)device->driver.ctx_pop_current(&mine);
}

// Errors of kernels are 700 … 719, and 214 an uncorrectable memory error: the manual says of each
// that the process's context must be made anew. The one exception is a launch that asks too much.
static bool ends_context(mlcc_cu_result result) {
    enum { ECC_UNCORRECTABLE = 214, FIRST = 700, LAST = 719 };
    if (result == MLCC_CU_LAUNCH_OUT_OF_RESOURCES) return false;
    return result == ECC_UNCORRECTABLE || (result >= FIRST && result <= LAST);
}

mlcc_status *mlcc_cuda_done(mlcc_cuda_device *device, mlcc_cu_result result, const char *what) {
    if (result == MLCC_CU_SUCCESS) return NULL;
    if (ends_context(result)) {
        pthread_mutex_lock(&device->lock);
        if (device->lost == MLCC_CU_SUCCESS) device->lost = result;
        pthread_mutex_unlock(&device->lock);
    }
    return mlcc_cuda_check(&device->driver, result, what);
}

void mlcc_cuda_set_running(mlcc_cuda_device *device, const char *function) {
    pthread_mutex_lock(&device->lock);
    device->running = function;
    pthread_mutex_unlock(&device->lock);
}

// ---- memory

static mlcc_status *cuda_memory_info(mlcc_device *device, size_t *free_bytes, size_t *total_bytes) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_cu_result result = self->driver.mem_get_info(free_bytes, total_bytes);
    mlcc_cuda_leave(self);
    return mlcc_cuda_done(self, result, "asking for free memory");
}

static mlcc_status *no_room(mlcc_cuda_device *self, size_t size_bytes, const char *what) {
    size_t free_bytes = 0, total_bytes = 0;
    (void)self->driver.mem_get_info(&free_bytes, &total_bytes);
    return MLCC_ERROR(
        NO_MEMORY,
        "%zu bytes (%.1f MiB) for %s cannot be had on device %s: %.1f MiB of %.1f MiB are free",
        size_bytes, (double)size_bytes / 1048576.0, what, self->base.info.name,
        (double)free_bytes / 1048576.0, (double)total_bytes / 1048576.0);
}

static mlcc_status *allocate(
    mlcc_cuda_device *self, size_t size_bytes, const char *what, mlcc_memory *out) {
    mlcc_cu_address address = 0;
    size_t taken_bytes = size_bytes == 0 ? 1 : size_bytes;
    mlcc_cu_result result = self->driver.mem_alloc(&address, taken_bytes);
    if (result == MLCC_CU_OUT_OF_MEMORY) return no_room(self, size_bytes, what);
    MLCC_TRY(mlcc_cuda_done(self, result, what));
    result = self->driver.memset_d8_async(address, 0, taken_bytes, self->stream);
    if (result != MLCC_CU_SUCCESS) {
        (void)self->driver.mem_free(address);
        return mlcc_cuda_done(self, result, "clearing memory");
    }
    out->address = (void *)(uintptr_t)address;
    out->size_bytes = size_bytes;
    return NULL;
}

static mlcc_status *cuda_alloc(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_memory *out) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = allocate(self, size_bytes, what, out);
    mlcc_cuda_leave(self);
    return status;
}

// Freeing waits for work that uses the memory; a lost context gives nothing back, the driver cleans up.
static void cuda_free(mlcc_device *device, mlcc_memory *memory) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    (void)self->driver.ctx_push_current(self->context);
    (void)self->driver.mem_free(cu_address(memory->address));
    mlcc_cuda_leave(self);
}

static mlcc_status *cuda_alloc_host(
    mlcc_device *device, size_t size_bytes, const char *what, mlcc_mirror *out) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    size_t taken_bytes = size_bytes == 0 ? 1 : size_bytes;
    mlcc_cu_result result = self->driver.mem_alloc_host(&out->host, taken_bytes);
    mlcc_cuda_leave(self);
    if (result == MLCC_CU_SUCCESS) {
        out->is_pinned = true;
        memset(out->host, 0, taken_bytes);
        return NULL;
    }
    // Page-locked memory may be limited; other memory is only slower.
    mlcc_log(MLCC_LOG_WARN, "device", "no page-locked memory for %s, copies are slower", what);
    MLCC_TRY(mlcc_block_alloc(size_bytes, what, &out->block));
    out->host = out->block.data;
    return NULL;
}

static void cuda_free_host(mlcc_device *device, mlcc_mirror *mirror) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    if (mirror->is_pinned) {
        (void)self->driver.ctx_push_current(self->context);
        (void)self->driver.mem_free_host(mirror->host);
        mlcc_cuda_leave(self);
    }
    mlcc_block_free(&mirror->block);
}

static mlcc_status *cuda_push(
    mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_cu_result result = self->driver.memcpy_htod_async(
        cu_address(mirror->memory.address) + begin, (const char *)mirror->host + begin, end - begin,
        self->stream);
    mlcc_cuda_leave(self);
    return mlcc_cuda_done(self, result, "copying to the device");
}

static mlcc_status *wait_for_stream(mlcc_cuda_device *self) {
    mlcc_cu_result result = self->driver.stream_synchronize(self->stream);
    if (result == MLCC_CU_SUCCESS) return NULL;
    char what[160] = "a copy failed";
    pthread_mutex_lock(&self->lock);
    if (self->running != NULL)
        snprintf(what, sizeof what, "a kernel of function '%s' failed", self->running);
    pthread_mutex_unlock(&self->lock);
    return mlcc_status_note(
        mlcc_cuda_done(self, result, what),
        "waiting for the device (MLCC_CUDA_SYNC=1 finds the kernel)");
}

static mlcc_status *cuda_pull(
    mlcc_device *device, const mlcc_mirror *mirror, size_t begin, size_t end) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_cu_result result = self->driver.memcpy_dtoh_async(
        (char *)mirror->host + begin, cu_address(mirror->memory.address) + begin, end - begin,
        self->stream);
    mlcc_status *status = mlcc_cuda_done(self, result, "copying from the device");
    if (status == NULL) status = wait_for_stream(self);
    mlcc_cuda_leave(self);
    return status;
}

static mlcc_status *cuda_synchronize(mlcc_device *device) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = wait_for_stream(self);
    mlcc_cuda_leave(self);
    return status;
}

// ---- large copies

static void free_stage_memory(mlcc_cuda_device *self, mlcc_cuda_stage *stage) {
    if (stage->is_pinned) {
        (void)self->driver.mem_free_host(stage->host);
    } else {
        free(stage->host);
    }
    stage->host = NULL;
    stage->is_pinned = false;
}

// The next stage, with nothing under way out of it and room for size_bytes.
static mlcc_status *next_stage(mlcc_cuda_device *self, size_t size_bytes, mlcc_cuda_stage **out) {
    mlcc_cuda_stage *stage = &self->stages[self->next_stage];
    *out = stage;
    if (stage->copied == NULL) {
        MLCC_TRY(mlcc_cuda_done(
            self, self->driver.event_create(&stage->copied, MLCC_CU_EVENT_DISABLE_TIMING),
            "making an event"));
    }
    MLCC_TRY(mlcc_cuda_done(
        self, self->driver.event_synchronize(stage->copied), "waiting for a copy to the device"));
    if (stage->host != NULL && stage->size_bytes >= size_bytes) return NULL;
    free_stage_memory(self, stage);
    stage->size_bytes = size_bytes < STAGE_BYTES ? STAGE_BYTES : size_bytes;
    stage->is_pinned =
        self->driver.mem_alloc_host(&stage->host, stage->size_bytes) == MLCC_CU_SUCCESS;
    if (!stage->is_pinned) stage->host = malloc(stage->size_bytes);
    if (stage->host == NULL)
        return MLCC_ERROR(NO_MEMORY, "%zu bytes for copying cannot be had", stage->size_bytes);
    return NULL;
}

static mlcc_status *send_stage(mlcc_cuda_device *self, mlcc_cu_address target, size_t size_bytes) {
    mlcc_cuda_stage *stage = &self->stages[self->next_stage];
    self->next_stage = 1 - self->next_stage;
    MLCC_TRY(mlcc_cuda_done(
        self, self->driver.memcpy_htod_async(target, stage->host, size_bytes, self->stream),
        "copying to the device"));
    return mlcc_cuda_done(
        self, self->driver.event_record(stage->copied, self->stream), "copying to the device");
}

static mlcc_status *cuda_stage(mlcc_device *device, size_t size_bytes, void **host) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    mlcc_cuda_stage *stage = NULL;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = next_stage(self, size_bytes, &stage);
    mlcc_cuda_leave(self);
    *host = stage->host;
    return status;
}

static mlcc_status *cuda_send(mlcc_device *device, void *target, size_t size_bytes) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = send_stage(self, cu_address(target), size_bytes);
    mlcc_cuda_leave(self);
    return status;
}

static void free_stages(mlcc_cuda_device *self) {
    for (int i = 0; i < 2; i++) {
        mlcc_cuda_stage *stage = &self->stages[i];
        if (stage->copied != NULL) (void)self->driver.event_destroy(stage->copied);
        free_stage_memory(self, stage);
        *stage = (mlcc_cuda_stage){0};
    }
}

typedef struct copy_work {
    char *target;
    const char *source;
    size_t size_bytes;
} copy_work;

static void run_copy(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const copy_work *work = arg;
    size_t first = (size_t)begin * COPY_CHUNK_BYTES, limit = (size_t)end * COPY_CHUNK_BYTES;
    if (limit > work->size_bytes) limit = work->size_bytes;
    memcpy(work->target + first, work->source + first, limit - first);
}

// The source may be a mapped file: all threads fetch it, while the other stage is on its way.
static mlcc_status *upload_chunk(
    mlcc_cuda_device *self, mlcc_cu_address target, const char *source, size_t size_bytes) {
    mlcc_cuda_stage *stage = NULL;
    MLCC_TRY(next_stage(self, size_bytes, &stage));
    copy_work work = {stage->host, source, size_bytes};
    int64_t n_chunks = (int64_t)((size_bytes + COPY_CHUNK_BYTES - 1) / COPY_CHUNK_BYTES);
    if (n_chunks > 1) {
        mlcc_pool_for(self->base.pool, n_chunks, 1, run_copy, &work);
    } else {
        memcpy(stage->host, source, size_bytes);
    }
    return send_stage(self, target, size_bytes);
}

static mlcc_status *cuda_upload(
    mlcc_device *device, void *target, const void *source, size_t size_bytes) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = NULL;
    for (size_t at = 0; status == NULL && at < size_bytes; at += STAGE_BYTES) {
        size_t left_bytes = size_bytes - at;
        status = upload_chunk(
            self, cu_address(target) + at, (const char *)source + at,
            left_bytes < STAGE_BYTES ? left_bytes : STAGE_BYTES);
    }
    mlcc_cuda_leave(self);
    return status;
}

static mlcc_status *cuda_end_uploads(mlcc_device *device) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = wait_for_stream(self);
    free_stages(self);
    mlcc_cuda_leave(self);
    return status;
}

// ---- life

static void cuda_close(mlcc_device *device) {
    mlcc_cuda_device *self = (mlcc_cuda_device *)device;
    mlcc_device_free(device, &self->consts);
    if (self->context != NULL) {
        (void)self->driver.ctx_push_current(self->context);
        free_stages(self);
        mlcc_cuda_modules_free(&self->modules);
        if (self->stream != NULL) (void)self->driver.stream_destroy(self->stream);
        mlcc_cuda_leave(self);
        (void)self->driver.primary_ctx_release(self->number);
    }
    mlcc_cuda_driver_close(&self->driver);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const mlcc_device_kind cuda_kind = {
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .alloc_host = cuda_alloc_host,
    .free_host = cuda_free_host,
    .push = cuda_push,
    .pull = cuda_pull,
    .upload = cuda_upload,
    .stage = cuda_stage,
    .send = cuda_send,
    .end_uploads = cuda_end_uploads,
    .memory_info = cuda_memory_info,
    .synchronize = cuda_synchronize,
    .runner_create = mlcc_cuda_runner_create,
    .runner_free = mlcc_cuda_runner_free,
    .runner_run = mlcc_cuda_runner_run,
};

typedef struct cuda_facts {
    int major, minor, max_shared_bytes;
} cuda_facts;

static mlcc_status *read_facts(mlcc_cuda_device *self, int ordinal, cuda_facts *facts) {
    const mlcc_cuda_driver *driver = &self->driver;
    if (ordinal >= driver->n_devices) {
        return MLCC_ERROR(
            INVALID, "there is no device cuda:%d: the driver sees %d device%s, cuda:0%s%.0d",
            ordinal, driver->n_devices, driver->n_devices == 1 ? "" : "s",
            driver->n_devices == 1 ? "" : " … cuda:", driver->n_devices - 1);
    }
    char name[96] = "";
    size_t total_bytes = 0;
    mlcc_cu_result result = driver->device_get(&self->number, ordinal);
    const struct {
        int attribute;
        int *value;
    } wanted[] = {
        {MLCC_CU_DEVICE_CAPABILITY_MAJOR, &facts->major},
        {MLCC_CU_DEVICE_CAPABILITY_MINOR, &facts->minor},
        {MLCC_CU_DEVICE_MAX_SHARED_OPTIN, &facts->max_shared_bytes},
    };
    for (size_t i = 0; result == MLCC_CU_SUCCESS && i < sizeof wanted / sizeof wanted[0]; i++) {
        result = driver->device_get_attribute(wanted[i].value, wanted[i].attribute, self->number);
    }
    if (result == MLCC_CU_SUCCESS)
        result = driver->device_get_name(name, (int)sizeof name, self->number);
    if (result == MLCC_CU_SUCCESS) result = driver->device_total_mem(&total_bytes, self->number);
    MLCC_TRY(mlcc_cuda_check(driver, result, "asking what the device is"));
    snprintf(
        self->base.info.description, sizeof self->base.info.description,
        "%s, compute capability %d.%d, %.1f GiB", name, facts->major, facts->minor,
        (double)total_bytes / (1024.0 * 1024.0 * 1024.0));
    return NULL;
}

// With the context current.
static mlcc_status *load_library(mlcc_cuda_device *self, const cuda_facts *facts) {
    const mlcc_abi_model *abi = self->base.abi;
    uint32_t arch = (uint32_t)(facts->major * 10 + facts->minor);
    MLCC_TRY(mlcc_cuda_done(
        self, self->driver.stream_create(&self->stream, MLCC_CU_STREAM_NON_BLOCKING),
        "making a stream"));
    MLCC_TRY(mlcc_cuda_modules_load(
        &self->driver, abi, arch, (uint32_t)facts->max_shared_bytes, &self->modules));
    MLCC_TRY(
        allocate(self, (size_t)abi->cuda->consts_bytes, "the library's constants", &self->consts));
    MLCC_TRY(mlcc_device_upload(
        &self->base, &self->consts, 0, abi->cuda->consts, (size_t)abi->cuda->consts_bytes));
    return mlcc_device_end_uploads(&self->base);
}

static bool is_set(const char *variable, const char *value) {
    const char *text = getenv(variable);
    return text != NULL && strcmp(text, value) == 0;
}

static void choose_ways(mlcc_cuda_device *self, const cuda_facts *facts) {
    enum { FIRST_EARLY_MAJOR = 9, FIRST_EARLY_GRAPHS = 12030 };
    const mlcc_cuda_driver *driver = &self->driver;
    self->waits_after_launch = is_set("MLCC_CUDA_SYNC", "1");
    if (self->waits_after_launch) return;
    self->launches_early = driver->launch_kernel_ex != NULL && facts->major >= FIRST_EARLY_MAJOR &&
                           !is_set("MLCC_CUDA_PDL", "0");
    self->captures_early = self->launches_early && driver->version >= FIRST_EARLY_GRAPHS;
    self->has_graphs = driver->stream_begin_capture != NULL && driver->stream_end_capture != NULL &&
                       driver->graph_instantiate != NULL && driver->graph_destroy != NULL &&
                       driver->graph_launch != NULL && driver->graph_exec_destroy != NULL &&
                       !is_set("MLCC_CUDA_GRAPHS", "0");
}

static mlcc_status *open_device(mlcc_cuda_device *self, int ordinal) {
    cuda_facts facts = {0};
    MLCC_TRY(mlcc_cuda_driver_open(&self->driver));
    MLCC_TRY(read_facts(self, ordinal, &facts));
    choose_ways(self, &facts);
    MLCC_TRY(mlcc_cuda_check(
        &self->driver, self->driver.primary_ctx_retain(&self->context, self->number),
        "starting the device"));
    MLCC_TRY(mlcc_cuda_enter(self));
    mlcc_status *status = load_library(self, &facts);
    mlcc_cuda_leave(self);
    return status;
}

mlcc_status *mlcc_device_open_cuda(
    const mlcc_abi_model *abi, int ordinal, mlcc_pool *pool, mlcc_device **out) {
    mlcc_cuda_device *self = calloc(1, sizeof *self);
    if (self == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a device cannot be had");
    self->base = (mlcc_device){.kind = &cuda_kind, .abi = abi, .pool = pool};
    snprintf(self->base.info.name, sizeof self->base.info.name, "cuda:%d", ordinal);
    pthread_mutex_init(&self->lock, NULL);
    mlcc_status *status = open_device(self, ordinal);
    if (status != NULL) {
        cuda_close(&self->base);
        return status;
    }
    *out = &self->base;
    return NULL;
}
