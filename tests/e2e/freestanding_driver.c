// freestanding_driver: runs a model object under qemu-user, linked with it statically and with nothing else: no C library of the other machine is
// needed. Compiled by tests/unit/codegen/aarch64_test.c with clang for aarch64; the build of the project leaves it out.
//
//   stdin    per param its pieces; the values of the symbols (int64); the arguments in order
//   stdout   the results in order, then the arguments as they are after the call
#include "runtime/abi.h"

const mlcc_abi_model *mlcc_model_query(void);
void *memcpy(void *target, const void *source, size_t n);
void *memmove(void *target, const void *source, size_t n);
void *memset(void *target, int byte, size_t n);
void _start(void);

void *memcpy(void *target, const void *source, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)target)[i] = ((const char *)source)[i];
    return target;
}

void *memmove(void *target, const void *source, size_t n) {
    if ((uintptr_t)target <= (uintptr_t)source) return memcpy(target, source, n);
    for (size_t i = n; i-- > 0;) ((char *)target)[i] = ((const char *)source)[i];
    return target;
}

void *memset(void *target, int byte, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)target)[i] = (char)byte;
    return target;
}

static long system_call(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

static _Noreturn void leave(int code) {
    for (;;) system_call(93, code, 0, 0);
}

static void read_all(void *target, size_t size_bytes) {
    for (size_t done = 0; done < size_bytes;) {
        long n = system_call(63, 0, (long)((char *)target + done), (long)(size_bytes - done));
        if (n <= 0) leave(3);
        done += (size_t)n;
    }
}

static void write_all(const void *source, size_t size_bytes) {
    for (size_t done = 0; done < size_bytes;) {
        long n = system_call(64, 1, (long)((const char *)source + done), (long)(size_bytes - done));
        if (n <= 0) leave(4);
        done += (size_t)n;
    }
}

static char heap[64 << 20] __attribute__((aligned(64)));
static size_t heap_used;

static void *take(size_t size_bytes) {
    void *memory = heap + heap_used;
    heap_used += (size_bytes + 127) / 64 * 64;
    if (heap_used > sizeof heap) leave(5);
    return memory;
}

static size_t tensor_bytes(const mlcc_abi_tensor *tensor, const int64_t *dims) {
    size_t size_bytes = tensor->dtype == MLCC_ABI_F16 || tensor->dtype == MLCC_ABI_BF16 ? 2 : 4;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        int32_t symbol = tensor->symbols[i];
        size_bytes *= (size_t)(symbol >= 0 ? dims[symbol] : tensor->dims[i]);
    }
    return size_bytes;
}

static const void *load_param(const mlcc_abi_param *param) {
    const void *pieces[MLCC_ABI_MAX_PIECES];
    for (uint32_t i = 0; i < param->n_pieces; i++) {
        void *piece = take(param->pieces[i].size_bytes);
        read_all(piece, param->pieces[i].size_bytes);
        pieces[i] = piece;
    }
    if (param->prepare == NULL) return pieces[0];
    void *prepared = take(param->prepared_bytes);
    param->prepare(pieces, prepared, 0, param->n_prepare_items);
    return prepared;
}

static void no_barrier(void *state) {
    (void)state;
}

__attribute__((noreturn)) void _start(void) {
    const mlcc_abi_model *model = mlcc_model_query();
    if (model->magic != MLCC_ABI_MAGIC) leave(2);
    const mlcc_abi_function *function = &model->functions[0];
    const void **params = take(sizeof(void *) * model->n_params);
    for (uint32_t i = 0; i < model->n_params; i++) params[i] = load_param(&model->params[i]);
    int64_t *dims = take(sizeof(int64_t) * model->n_symbols);
    read_all(dims, sizeof(int64_t) * model->n_symbols);
    void **args = take(sizeof(void *) * function->n_args);
    for (uint32_t i = 0; i < function->n_args; i++) {
        args[i] = take(tensor_bytes(&function->args[i], dims));
        read_all(args[i], tensor_bytes(&function->args[i], dims));
    }
    void **results = take(sizeof(void *) * function->n_results);
    for (uint32_t i = 0; i < function->n_results; i++) {
        results[i] = take(tensor_bytes(&function->results[i], dims));
    }
    char *scratch = take(function->scratch_bytes);
    mlcc_abi_call call = {
        .args = args,
        .results = results,
        .params = params,
        .dims = dims,
        .workspace = take(function->workspace_bytes),
        .scratch = &scratch,
        .counters = take(sizeof(uint32_t) * function->n_counters),
        .barrier = no_barrier,
    };
    if (function->run(&call, 0, 1) != 0) leave(6);
    for (uint32_t i = 0; i < function->n_results; i++) {
        write_all(results[i], tensor_bytes(&function->results[i], dims));
    }
    for (uint32_t i = 0; i < function->n_args; i++) {
        write_all(args[i], tensor_bytes(&function->args[i], dims));
    }
    leave(0);
}
