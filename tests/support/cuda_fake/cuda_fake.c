// Devices, contexts, memory, streams and events of the fake driver. Modules and launches: cuda_fake_module.c.
#include "tests/support/cuda_fake/cuda_fake.h"

#include "tests/support/ptx/ptx.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONTEXTS = 16, ALIGNMENT = 256 };

typedef struct fake_block {
    char *data;
    size_t size_bytes;
    bool is_host;
} fake_block;

typedef enum fake_work_kind {
    WORK_TO_DEVICE,
    WORK_TO_HOST,
    WORK_FILL,
    WORK_LAUNCH,
    WORK_EVENT
} fake_work_kind;

typedef struct fake_work {
    fake_work_kind kind;
    char *target;
    const char *source;
    char *copy; // of a source that is not page-locked
    size_t size_bytes;
    unsigned char value;
    fake_launch launch;
} fake_work;

struct mlcc_cu_context {
    int n_users;
};
struct mlcc_cu_event {
    int unused;
};

fake_settings fake_settings_now;

static struct {
    pthread_mutex_t lock;
    bool is_ready;
    mlcc_cu_context context; // of device 0, the only one that is ever started
    mlcc_cu_result lost;
    fake_block *blocks;
    size_t n_blocks, capacity;
    size_t used_bytes;
    fake_work *queue;
    size_t n_queued, queue_capacity;
    struct ptx_memory *memory;
    int n_streams, n_events, n_faults, n_to_device, n_to_host;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local mlcc_cu_context *contexts[MAX_CONTEXTS];
static _Thread_local int n_contexts;

// ---- faults and settings

void fake_fault(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("cuda_fake: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    __atomic_add_fetch(&fake.n_faults, 1, __ATOMIC_RELAXED);
}

int cuda_fake_n_faults(void) {
    return __atomic_load_n(&fake.n_faults, __ATOMIC_RELAXED);
}

int cuda_fake_n_copies_to_device(void) {
    return __atomic_load_n(&fake.n_to_device, __ATOMIC_RELAXED);
}

int cuda_fake_n_copies_to_host(void) {
    return __atomic_load_n(&fake.n_to_host, __ATOMIC_RELAXED);
}

bool fake_fails(fake_failure *failure) {
    return ++failure->n_calls == failure->number;
}

static int64_t number_of(const char *variable, int64_t fallback) {
    const char *text = getenv(variable);
    return text == NULL ? fallback : strtoll(text, NULL, 10);
}

// "N" or "N:CODE"
static fake_failure failure_of(const char *variable, mlcc_cu_result code) {
    const char *text = getenv(variable);
    if (text == NULL) return (fake_failure){0, code, 0};
    const char *colon = strchr(text, ':');
    if (colon != NULL) code = (mlcc_cu_result)strtol(colon + 1, NULL, 10);
    return (fake_failure){strtoll(text, NULL, 10), code, 0};
}

static void read_settings(void) {
    fake_settings *now = &fake_settings_now;
    const char *capability = getenv("MLCC_FAKE_CAPABILITY");
    if (capability == NULL) capability = "13.0";
    const char *point = strchr(capability, '.');
    *now = (fake_settings){
        .major = (int)strtol(capability, NULL, 10),
        .minor = point == NULL ? 0 : (int)strtol(point + 1, NULL, 10),
        .n_devices = (int)number_of("MLCC_FAKE_DEVICES", 1),
        .version = (int)number_of("MLCC_FAKE_VERSION", 13000),
        .memory_bytes = (size_t)number_of("MLCC_FAKE_MEMORY", (int64_t)4 << 30),
        .shared_bytes = (size_t)number_of("MLCC_FAKE_SHARED", 232448),
        .alloc = failure_of("MLCC_FAKE_FAIL_ALLOC", MLCC_CU_OUT_OF_MEMORY),
        .host_alloc = failure_of("MLCC_FAKE_FAIL_HOST_ALLOC", MLCC_CU_OUT_OF_MEMORY),
        .load = failure_of("MLCC_FAKE_FAIL_LOAD", MLCC_CU_INVALID_IMAGE),
        .launch = failure_of("MLCC_FAKE_FAIL_LAUNCH", MLCC_CU_INVALID_VALUE),
        .kernel = failure_of("MLCC_FAKE_FAIL_KERNEL", MLCC_CU_LAUNCH_FAILED),
        .capture = failure_of("MLCC_FAKE_FAIL_CAPTURE", MLCC_CU_CAPTURE_INVALIDATED),
        .instantiate = failure_of("MLCC_FAKE_FAIL_INSTANTIATE", MLCC_CU_OUT_OF_MEMORY),
        .graph = failure_of("MLCC_FAKE_FAIL_GRAPH", MLCC_CU_OUT_OF_MEMORY),
    };
}

// ---- driver and device

mlcc_cu_result cuInit(unsigned flags) {
    int64_t code = number_of("MLCC_FAKE_INIT", MLCC_CU_SUCCESS);
    if (flags != 0) return MLCC_CU_INVALID_VALUE;
    if (code != MLCC_CU_SUCCESS) return (mlcc_cu_result)code;
    pthread_mutex_lock(&fake.lock);
    // While a context is alive its settings stay.
    if (fake.context.n_users == 0) read_settings();
    if (fake.memory == NULL) fake.memory = ptx_memory_create();
    fake.is_ready = true;
    pthread_mutex_unlock(&fake.lock);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuDriverGetVersion(int *version) {
    *version = fake_settings_now.version;
    return MLCC_CU_SUCCESS;
}

static const struct {
    mlcc_cu_result code;
    const char *name, *text;
} errors[] = {
    {MLCC_CU_SUCCESS, "CUDA_SUCCESS", "no error"},
    {MLCC_CU_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {MLCC_CU_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {MLCC_CU_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {MLCC_CU_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {MLCC_CU_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {MLCC_CU_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {MLCC_CU_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {MLCC_CU_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available"},
    {MLCC_CU_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {MLCC_CU_UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "unsupported toolchain"},
    {MLCC_CU_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {MLCC_CU_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {MLCC_CU_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {MLCC_CU_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested"},
    {MLCC_CU_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {MLCC_CU_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {MLCC_CU_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

static mlcc_cu_result error_words(mlcc_cu_result result, const char **text, bool is_name) {
    *text = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (errors[i].code != result) continue;
        *text = is_name ? errors[i].name : errors[i].text;
        return MLCC_CU_SUCCESS;
    }
    return MLCC_CU_INVALID_VALUE;
}

mlcc_cu_result cuGetErrorName(mlcc_cu_result result, const char **text) {
    return error_words(result, text, true);
}

mlcc_cu_result cuGetErrorString(mlcc_cu_result result, const char **text) {
    return error_words(result, text, false);
}

mlcc_cu_result cuDeviceGetCount(int *n_devices) {
    if (!fake.is_ready) return MLCC_CU_NOT_INITIALIZED;
    *n_devices = fake_settings_now.n_devices;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuDeviceGet(mlcc_cu_device *device, int ordinal) {
    if (!fake.is_ready) return MLCC_CU_NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= fake_settings_now.n_devices) return MLCC_CU_INVALID_DEVICE;
    *device = ordinal;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuDeviceGetName(char *name, int size_bytes, mlcc_cu_device device) {
    (void)device;
    snprintf(name, (size_t)size_bytes, "Fake GPU");
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuDeviceGetAttribute(int *value, int attribute, mlcc_cu_device device) {
    (void)device;
    switch (attribute) {
    case MLCC_CU_DEVICE_MULTIPROCESSORS: *value = 4; return MLCC_CU_SUCCESS;
    case MLCC_CU_DEVICE_CAPABILITY_MAJOR: *value = fake_settings_now.major; return MLCC_CU_SUCCESS;
    case MLCC_CU_DEVICE_CAPABILITY_MINOR: *value = fake_settings_now.minor; return MLCC_CU_SUCCESS;
    case MLCC_CU_DEVICE_MAX_SHARED_OPTIN:
        *value = (int)fake_settings_now.shared_bytes;
        return MLCC_CU_SUCCESS;
    default: return MLCC_CU_INVALID_VALUE;
    }
}

mlcc_cu_result cuDeviceTotalMem_v2(size_t *size_bytes, mlcc_cu_device device) {
    (void)device;
    *size_bytes = fake_settings_now.memory_bytes;
    return MLCC_CU_SUCCESS;
}

// ---- contexts

mlcc_cu_result cuDevicePrimaryCtxRetain(mlcc_cu_context **context, mlcc_cu_device device) {
    if (!fake.is_ready) return MLCC_CU_NOT_INITIALIZED;
    if (device < 0 || device >= fake_settings_now.n_devices) return MLCC_CU_INVALID_DEVICE;
    pthread_mutex_lock(&fake.lock);
    fake.context.n_users++;
    *context = &fake.context;
    pthread_mutex_unlock(&fake.lock);
    return MLCC_CU_SUCCESS;
}

static void end_context(void) {
    if (n_contexts != 0) fake_fault("the context ends while it is current");
    for (size_t i = 0; i < fake.n_blocks; i++) {
        // A lost context gives nothing back: that is no leak of the caller.
        if (fake.lost == MLCC_CU_SUCCESS) {
            fake_fault(
                "leak: %zu bytes of %s memory", fake.blocks[i].size_bytes,
                fake.blocks[i].is_host ? "page-locked" : "device");
        }
        if (!fake.blocks[i].is_host) (void)ptx_memory_remove(fake.memory, fake.blocks[i].data);
        free(fake.blocks[i].data);
    }
    const int n_graphs = fake_n_graphs();
    if (fake.lost == MLCC_CU_SUCCESS &&
        fake.n_streams + fake.n_events + fake_n_modules() + n_graphs > 0) {
        fake_fault(
            "leak: %d streams, %d events, %d modules, %d graphs", fake.n_streams, fake.n_events,
            fake_n_modules(), n_graphs);
    }
    fake.n_blocks = 0;
    fake.used_bytes = 0;
    fake.lost = MLCC_CU_SUCCESS;
}

mlcc_cu_result cuDevicePrimaryCtxRelease_v2(mlcc_cu_device device) {
    (void)device;
    pthread_mutex_lock(&fake.lock);
    bool is_alive = fake.context.n_users > 0;
    if (is_alive && --fake.context.n_users == 0) end_context();
    pthread_mutex_unlock(&fake.lock);
    return is_alive ? MLCC_CU_SUCCESS : MLCC_CU_INVALID_CONTEXT;
}

mlcc_cu_result cuCtxPushCurrent_v2(mlcc_cu_context *context) {
    if (context != &fake.context || n_contexts == MAX_CONTEXTS) return MLCC_CU_INVALID_CONTEXT;
    contexts[n_contexts++] = context;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuCtxPopCurrent_v2(mlcc_cu_context **context) {
    if (n_contexts == 0) return MLCC_CU_INVALID_CONTEXT;
    *context = contexts[--n_contexts];
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result fake_context_state(void) {
    if (!fake.is_ready) return MLCC_CU_NOT_INITIALIZED;
    if (n_contexts == 0 || fake.context.n_users == 0) {
        fake_fault("a call without a current context");
        return MLCC_CU_INVALID_CONTEXT;
    }
    return fake.lost;
}

struct ptx_memory *fake_memory(void) {
    return fake.memory;
}

// ---- memory

static fake_block *block_of(const char *address, size_t size_bytes, bool is_host) {
    for (size_t i = 0; i < fake.n_blocks; i++) {
        fake_block *block = &fake.blocks[i];
        if (block->is_host != is_host || address < block->data) continue;
        size_t offset = (size_t)(address - block->data);
        if (offset <= block->size_bytes && size_bytes <= block->size_bytes - offset) return block;
    }
    return NULL;
}

static char *pointer_of(mlcc_cu_address address) {
    return (char *)(uintptr_t)address;
}

bool fake_in_device(mlcc_cu_address address, size_t size_bytes) {
    return block_of(pointer_of(address), size_bytes, false) != NULL;
}

static char *add_block(size_t size_bytes, bool is_host) {
    char *data = aligned_alloc(ALIGNMENT, (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (data == NULL) return NULL;
    memset(data, 0xa5, size_bytes);
    if (fake.n_blocks == fake.capacity) {
        fake.capacity = fake.capacity * 2 + 16;
        fake.blocks = realloc(fake.blocks, fake.capacity * sizeof *fake.blocks);
        if (fake.blocks == NULL) abort();
    }
    fake.blocks[fake.n_blocks++] = (fake_block){data, size_bytes, is_host};
    return data;
}

static mlcc_cu_result remove_block(const char *data, bool is_host) {
    for (size_t i = 0; i < fake.n_blocks; i++) {
        if (fake.blocks[i].data != data || fake.blocks[i].is_host != is_host) continue;
        if (!is_host) {
            (void)ptx_memory_remove(fake.memory, data);
            fake.used_bytes -= fake.blocks[i].size_bytes;
        }
        free(fake.blocks[i].data);
        fake.blocks[i] = fake.blocks[--fake.n_blocks];
        return MLCC_CU_SUCCESS;
    }
    fake_fault("%p is freed but not allocated", (const void *)data);
    return MLCC_CU_INVALID_VALUE;
}

mlcc_cu_result cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    *total_bytes = fake_settings_now.memory_bytes;
    *free_bytes = fake_settings_now.memory_bytes - fake.used_bytes;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuMemAlloc_v2(mlcc_cu_address *address, size_t size_bytes) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (size_bytes == 0) return MLCC_CU_INVALID_VALUE;
    if (fake_is_capturing("cuMemAlloc")) return MLCC_CU_CAPTURE_UNSUPPORTED;
    pthread_mutex_lock(&fake.lock);
    char *data = NULL;
    bool fails = fake_fails(&fake_settings_now.alloc);
    if (!fails && size_bytes <= fake_settings_now.memory_bytes - fake.used_bytes)
        data = add_block(size_bytes, false);
    if (data != NULL) {
        fake.used_bytes += size_bytes;
        ptx_memory_add(fake.memory, data, size_bytes, "device memory");
    }
    *address = (mlcc_cu_address)(uintptr_t)data;
    pthread_mutex_unlock(&fake.lock);
    return data == NULL ? MLCC_CU_OUT_OF_MEMORY : MLCC_CU_SUCCESS;
}

static mlcc_cu_result run_queue(const char *until);

mlcc_cu_result cuMemFree_v2(mlcc_cu_address address) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    pthread_mutex_lock(&fake.lock);
    mlcc_cu_result result = run_queue(NULL);
    mlcc_cu_result freed = remove_block(pointer_of(address), false);
    pthread_mutex_unlock(&fake.lock);
    return result != MLCC_CU_SUCCESS ? result : freed;
}

mlcc_cu_result cuMemAllocHost_v2(void **host, size_t size_bytes) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    pthread_mutex_lock(&fake.lock);
    bool fails = fake_fails(&fake_settings_now.host_alloc);
    *host = fails ? NULL : add_block(size_bytes, true);
    pthread_mutex_unlock(&fake.lock);
    return *host == NULL ? MLCC_CU_OUT_OF_MEMORY : MLCC_CU_SUCCESS;
}

mlcc_cu_result cuMemFreeHost(void *host) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    pthread_mutex_lock(&fake.lock);
    mlcc_cu_result result = run_queue(NULL);
    mlcc_cu_result freed = remove_block(host, true);
    pthread_mutex_unlock(&fake.lock);
    return result != MLCC_CU_SUCCESS ? result : freed;
}

// ---- the queue

static void enqueue(fake_work work) {
    if (fake.n_queued == fake.queue_capacity) {
        fake.queue_capacity = fake.queue_capacity * 2 + 64;
        fake.queue = realloc(fake.queue, fake.queue_capacity * sizeof *fake.queue);
        if (fake.queue == NULL) abort();
    }
    fake.queue[fake.n_queued++] = work;
}

void fake_enqueue_launch(fake_launch launch) {
    pthread_mutex_lock(&fake.lock);
    enqueue((fake_work){.kind = WORK_LAUNCH, .launch = launch});
    pthread_mutex_unlock(&fake.lock);
}

static mlcc_cu_result run_work(const fake_work *work) {
    // Only a launch can begin before the one before it has ended.
    if (work->kind != WORK_LAUNCH) fake_forget_launches();
    switch (work->kind) {
    case WORK_TO_DEVICE:
        memcpy(work->target, work->copy != NULL ? work->copy : work->source, work->size_bytes);
        break;
    case WORK_TO_HOST: memcpy(work->target, work->source, work->size_bytes); break;
    case WORK_FILL: memset(work->target, work->value, work->size_bytes); break;
    case WORK_LAUNCH: return fake_run_launch(&work->launch);
    case WORK_EVENT: break;
    }
    return MLCC_CU_SUCCESS;
}

// Runs what waits, up to the last record of the event `until` (NULL: all). The first error ends the context.
static mlcc_cu_result run_queue(const char *until) {
    size_t n = fake.n_queued;
    if (until != NULL) {
        while (n > 0 &&
               !(fake.queue[n - 1].kind == WORK_EVENT && fake.queue[n - 1].target == until))
            n--;
    }
    for (size_t i = 0; i < n; i++) {
        fake_work *work = &fake.queue[i];
        if (fake.lost == MLCC_CU_SUCCESS) fake.lost = run_work(work);
        free(work->copy);
        free(work->launch.arguments);
    }
    memmove(fake.queue, fake.queue + n, (fake.n_queued - n) * sizeof *fake.queue);
    fake.n_queued -= n;
    fake_forget_launches();
    return fake.lost;
}

static mlcc_cu_result add_copy(
    fake_work work, mlcc_cu_address device_side, const mlcc_cu_stream *stream) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (stream == NULL || stream->capture != NULL) {
        fake_fault("copies and fills are not captured");
        return MLCC_CU_CAPTURE_UNSUPPORTED;
    }
    if (work.kind == WORK_TO_DEVICE) __atomic_add_fetch(&fake.n_to_device, 1, __ATOMIC_RELAXED);
    if (work.kind == WORK_TO_HOST) __atomic_add_fetch(&fake.n_to_host, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&fake.lock);
    mlcc_cu_result result = MLCC_CU_SUCCESS;
    if (!fake_in_device(device_side, work.size_bytes)) {
        fake_fault("a copy or fill of %zu bytes leaves device memory", work.size_bytes);
        result = MLCC_CU_INVALID_VALUE;
    } else {
        // Like a driver: memory that is not page-locked is read at once.
        if (work.kind == WORK_TO_DEVICE && block_of(work.source, work.size_bytes, true) == NULL) {
            work.copy = malloc(work.size_bytes + 1);
            if (work.copy == NULL) abort();
            memcpy(work.copy, work.source, work.size_bytes);
        }
        enqueue(work);
    }
    pthread_mutex_unlock(&fake.lock);
    return result;
}

mlcc_cu_result cuMemcpyHtoDAsync_v2(
    mlcc_cu_address target, const void *source, size_t size_bytes, mlcc_cu_stream *stream) {
    return add_copy(
        (fake_work){.kind = WORK_TO_DEVICE,
                    .target = pointer_of(target),
                    .source = source,
                    .size_bytes = size_bytes},
        target, stream);
}

mlcc_cu_result cuMemcpyDtoHAsync_v2(
    void *target, mlcc_cu_address source, size_t size_bytes, mlcc_cu_stream *stream) {
    return add_copy(
        (fake_work){.kind = WORK_TO_HOST,
                    .target = target,
                    .source = pointer_of(source),
                    .size_bytes = size_bytes},
        source, stream);
}

mlcc_cu_result cuMemsetD8Async(
    mlcc_cu_address target, unsigned char value, size_t n_bytes, mlcc_cu_stream *stream) {
    return add_copy(
        (fake_work){
            .kind = WORK_FILL, .target = pointer_of(target), .value = value, .size_bytes = n_bytes},
        target, stream);
}

// ---- streams and events

mlcc_cu_result cuStreamCreate(mlcc_cu_stream **stream, unsigned flags) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (flags > MLCC_CU_STREAM_NON_BLOCKING) return MLCC_CU_INVALID_VALUE;
    *stream = calloc(1, sizeof **stream);
    if (*stream == NULL) abort();
    __atomic_add_fetch(&fake.n_streams, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuStreamDestroy_v2(mlcc_cu_stream *stream) {
    if (stream->capture != NULL) fake_fault("a stream ends while it is captured");
    free(stream);
    __atomic_sub_fetch(&fake.n_streams, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

static mlcc_cu_result synchronize(const char *until) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (fake_is_capturing("waiting")) return MLCC_CU_CAPTURE_UNSUPPORTED;
    pthread_mutex_lock(&fake.lock);
    mlcc_cu_result result = run_queue(until);
    pthread_mutex_unlock(&fake.lock);
    return result;
}

mlcc_cu_result cuStreamSynchronize(mlcc_cu_stream *stream) {
    return stream == NULL ? MLCC_CU_INVALID_HANDLE : synchronize(NULL);
}

mlcc_cu_result cuEventCreate(mlcc_cu_event **event, unsigned flags) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (flags != MLCC_CU_EVENT_DISABLE_TIMING) return MLCC_CU_INVALID_VALUE;
    *event = calloc(1, sizeof **event);
    if (*event == NULL) abort();
    __atomic_add_fetch(&fake.n_events, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuEventDestroy_v2(mlcc_cu_event *event) {
    free(event);
    __atomic_sub_fetch(&fake.n_events, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuEventRecord(mlcc_cu_event *event, mlcc_cu_stream *stream) {
    (void)stream;
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    pthread_mutex_lock(&fake.lock);
    enqueue((fake_work){.kind = WORK_EVENT, .target = (char *)event});
    pthread_mutex_unlock(&fake.lock);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuEventSynchronize(mlcc_cu_event *event) {
    return event == NULL ? MLCC_CU_INVALID_HANDLE : synchronize((const char *)event);
}
