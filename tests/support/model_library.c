#include "tests/support/model_library.h"

#include "tests/support/random_module.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { GUARD_BYTES = 64, GUARD_BYTE = 0xa5 };

// ---- guarded memory -----------------------------------------------------------------------------------

typedef struct guarded {
    unsigned char *base;
    unsigned char *data; // 64-byte aligned
    size_t size_bytes;
} guarded;

static guarded guarded_create(size_t size_bytes, int fill) {
    size_t rounded = (size_bytes + 63) / 64 * 64;
    guarded g = {.size_bytes = size_bytes};
    g.base = aligned_alloc(64, rounded + 2 * (size_t)GUARD_BYTES);
    assert_non_null(g.base);
    memset(g.base, GUARD_BYTE, rounded + 2 * (size_t)GUARD_BYTES);
    g.data = g.base + GUARD_BYTES;
    memset(g.data, fill, size_bytes);
    return g;
}

static void guarded_free(guarded *g, const char *what, int64_t index) {
    bool intact = true;
    for (int i = 0; i < GUARD_BYTES; i++) {
        intact =
            intact && g->base[i] == GUARD_BYTE && g->data[g->size_bytes + (size_t)i] == GUARD_BYTE;
    }
    free(g->base);
    if (!intact) fail_msg("%s %lld: memory beyond its ends was written", what, (long long)index);
}

// ---- elements -----------------------------------------------------------------------------------------

static size_t abi_bytes(uint32_t dtype) {
    switch (dtype) {
    case MLCC_ABI_F16:
    case MLCC_ABI_BF16: return 2;
    case MLCC_ABI_I8:
    case MLCC_ABI_U8: return 1;
    default: return 4;
    }
}

void model_encode(const ir_tensor *tensor, void *out) {
    int64_t count = ir_tensor_count(tensor);
    for (int64_t i = 0; i < count; i++) {
        switch (tensor->dtype) {
        case IR_F16: ((uint16_t *)out)[i] = ir_f32_to_f16(tensor->f32[i]); break;
        case IR_BF16: ((uint16_t *)out)[i] = ir_f32_to_bf16(tensor->f32[i]); break;
        case IR_F32: ((float *)out)[i] = tensor->f32[i]; break;
        case IR_F8E4M3: ((uint8_t *)out)[i] = ir_f32_to_f8e4m3(tensor->f32[i]); break;
        case IR_F8E5M2: ((uint8_t *)out)[i] = ir_f32_to_f8e5m2(tensor->f32[i]); break;
        case IR_I8: ((int8_t *)out)[i] = (int8_t)tensor->i32[i]; break;
        default: ((int32_t *)out)[i] = tensor->i32[i]; break;
        }
    }
}

void model_decode(const void *data, ir_tensor *out) {
    int64_t count = ir_tensor_count(out);
    for (int64_t i = 0; i < count; i++) {
        switch (out->dtype) {
        case IR_F16: out->f32[i] = ir_f16_to_f32(((const uint16_t *)data)[i]); break;
        case IR_BF16: out->f32[i] = ir_bf16_to_f32(((const uint16_t *)data)[i]); break;
        case IR_F32: out->f32[i] = ((const float *)data)[i]; break;
        case IR_F8E4M3: out->f32[i] = ir_f8e4m3_to_f32(((const uint8_t *)data)[i]); break;
        case IR_F8E5M2: out->f32[i] = ir_f8e5m2_to_f32(((const uint8_t *)data)[i]); break;
        case IR_I8: out->i32[i] = ((const int8_t *)data)[i]; break;
        default: out->i32[i] = ((const int32_t *)data)[i]; break;
        }
    }
}

// ---- weights ------------------------------------------------------------------------------------------

static uint64_t seed_of(const char *text) {
    uint64_t seed = 1469598103934665603u; // FNV-1a
    for (; *text != '\0'; text++) seed = (seed ^ (unsigned char)*text) * 1099511628211u;
    return seed;
}

static ir_tensor *random_weight(const ir_param *param, mlcc_arena *keep) {
    int64_t dims[IR_MAX_RANK];
    for (int32_t i = 0; i < param->value.type.rank; i++) dims[i] = param->value.type.dims[i].value;
    ir_tensor *tensor = ir_tensor_create(keep, IR_F32, param->value.type.rank, dims);
    random_state random = {seed_of(param->value.name)};
    for (int64_t i = 0; i < ir_tensor_count(tensor); i++) {
        tensor->f32[i] = (float)random_unit(&random);
    }
    return tensor;
}

static void make_weight(
    const ir_param *param, ir_eval_param *value, mlcc_arena *keep, model_weight *out) {
    const ir_type *type = &param->value.type;
    ir_tensor *source = NULL;
    if (value != NULL) {
        assert_null(value(NULL, param, keep, &source));
    } else {
        source = random_weight(param, keep);
    }
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    const quant_format *format = quant_format_of(type->dtype);
    assert_null(format->pieces(type, pieces, &n_pieces));
    for (int32_t i = 0; i < n_pieces; i++) {
        out->pieces[i] = mlcc_arena_alloc_aligned(keep, pieces[i].size_bytes + 64, 64);
    }
    out->name = param->value.name;
    int64_t columns = type->rank > 0 ? source->dims[type->rank - 1] : 1;
    int64_t n_rows = columns > 0 ? ir_tensor_count(source) / columns : 0;
    const quant_range range = quant_range_all(n_rows, columns);
    const float largest =
        format->measure != NULL ? format->measure(source->f32, IR_F32, n_rows, columns) : 0.0f;
    format->encode(source->f32, IR_F32, &range, largest, out->pieces);
    out->decoded = ir_tensor_create(keep, type->dtype, type->rank, source->dims);
    const void *inputs[QUANT_MAX_PIECES];
    for (int32_t i = 0; i < n_pieces; i++) inputs[i] = out->pieces[i];
    format->decode(inputs, &range, out->decoded->f32);
}

model_weights *model_weights_make(const ir_module *module, ir_eval_param *value, mlcc_arena *keep) {
    model_weights *all = MLCC_NEW(keep, model_weights);
    all->n_weights = module->n_params;
    all->weights = MLCC_NEW_ARRAY(keep, model_weight, module->n_params + 1);
    for (size_t i = 0; i < module->n_params; i++) {
        make_weight(module->params[i], value, keep, &all->weights[i]);
    }
    return all;
}

const model_weight *model_weights_find(const model_weights *weights, const char *name) {
    for (size_t i = 0; i < weights->n_weights; i++) {
        if (strcmp(weights->weights[i].name, name) == 0) return &weights->weights[i];
    }
    fail_msg("no weight '%s'", name);
    return NULL;
}

mlcc_status *model_weights_eval(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out) {
    (void)keep;
    *out = model_weights_find(user, param->value.name)->decoded;
    return NULL;
}

// ---- opening ------------------------------------------------------------------------------------------

// In two halves from the back, as two threads might do it.
static const void *prepare(
    const mlcc_abi_param *param, const model_weight *weight, mlcc_arena *keep) {
    if (param->prepare == NULL) return weight->pieces[0];
    const void *pieces[QUANT_MAX_PIECES];
    for (uint32_t i = 0; i < param->n_pieces; i++) pieces[i] = weight->pieces[i];
    assert_int_equal(param->prepared_bytes % 64, 0);
    char *prepared = mlcc_arena_alloc_aligned(keep, (size_t)param->prepared_bytes + 64, 64);
    memset(prepared, GUARD_BYTE, (size_t)param->prepared_bytes + 64);
    int64_t middle = param->n_prepare_items / 2;
    param->prepare(pieces, prepared, middle, param->n_prepare_items);
    param->prepare(pieces, prepared, 0, middle);
    for (int i = 0; i < GUARD_BYTES; i++) {
        assert_int_equal((unsigned char)prepared[param->prepared_bytes + (uint64_t)i], GUARD_BYTE);
    }
    return prepared;
}

static const mlcc_abi_model *ask_first(void *handle) {
    void *symbol = dlsym(handle, MLCC_ABI_QUERY);
    assert_non_null(symbol);
    mlcc_abi_query *query = NULL;
    memcpy(&query, &symbol, sizeof query);
    return query();
}

// NULL behind the last level.
static const mlcc_abi_model *ask_level(void *handle, int32_t level) {
    void *symbol = dlsym(handle, MLCC_ABI_LEVELS);
    assert_non_null(symbol);
    mlcc_abi_levels *levels = NULL;
    memcpy(&levels, &symbol, sizeof levels);
    const mlcc_abi_model *const *list = levels();
    assert_ptr_equal(list[0], ask_first(handle));
    for (int32_t i = 0; i < level; i++)
        if (list[i] == NULL) return NULL;
    return list[level];
}

// Where the processor has tile registers, a process asks the kernel for them before it uses them (runtime/device/cpu_features.c).
static void ask_for_tiles(const mlcc_abi_model *abi) {
#if defined(__x86_64__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILEDATA = 18 };
    if (strstr(abi->cpu_features, "amx-") != NULL)
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA);
#else
    (void)abi;
#endif
}

model_library *model_library_open_level(
    const char *path, int32_t level, const model_weights *weights, mlcc_arena *keep) {
    model_library *library = MLCC_NEW(keep, model_library);
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL) fail_msg("dlopen: %s", dlerror());
    library->abi = level < 0 ? ask_first(library->handle) : ask_level(library->handle, level);
    if (library->abi == NULL) {
        model_library_close(library);
        return NULL;
    }
    assert_int_equal(library->abi->magic, MLCC_ABI_MAGIC);
    assert_int_equal(library->abi->version, MLCC_ABI_VERSION);
    assert_int_equal(library->abi->struct_bytes, sizeof(mlcc_abi_model));
    ask_for_tiles(library->abi);
    library->prepared = MLCC_NEW_ARRAY(keep, const void *, (size_t)library->abi->n_params + 1);
    for (uint32_t i = 0; i < library->abi->n_params; i++) {
        const mlcc_abi_param *param = &library->abi->params[i];
        library->prepared[i] = prepare(param, model_weights_find(weights, param->name), keep);
    }
    return library;
}

model_library *model_library_open(
    const char *path, const model_weights *weights, mlcc_arena *keep) {
    return model_library_open_level(path, -1, weights, keep);
}

void model_library_close(model_library *library) {
    dlclose(library->handle);
    library->handle = NULL;
}

// ---- running ------------------------------------------------------------------------------------------

typedef struct thread_job {
    const mlcc_abi_function *function;
    const mlcc_abi_call *call;
    int32_t thread, n_threads, answer;
} thread_job;

static void *run_thread(void *arg) {
    thread_job *job = arg;
    job->answer = job->function->run(job->call, job->thread, job->n_threads);
    return NULL;
}

static void wait_barrier(void *state) {
    pthread_barrier_wait(state);
}

static void run_threads(const mlcc_abi_function *function, mlcc_abi_call *call, int32_t n_threads) {
    enum { MAX_THREADS = 16 };
    pthread_t threads[MAX_THREADS];
    thread_job jobs[MAX_THREADS];
    pthread_barrier_t barrier;
    assert_true(n_threads >= 1 && n_threads <= MAX_THREADS);
    pthread_barrier_init(&barrier, NULL, (unsigned)n_threads);
    call->barrier = wait_barrier;
    call->barrier_state = &barrier;
    for (int32_t i = 0; i < n_threads; i++) {
        jobs[i] = (thread_job){function, call, i, n_threads, -1};
        if (i > 0) assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &jobs[i]), 0);
    }
    run_thread(&jobs[0]);
    for (int32_t i = 1; i < n_threads; i++) pthread_join(threads[i], NULL);
    for (int32_t i = 0; i < n_threads; i++) assert_int_equal(jobs[i].answer, 0);
    pthread_barrier_destroy(&barrier);
}

// Values of the symbols, found in the shapes of the arguments.
static int64_t *find_dims(
    const model_library *library, const mlcc_abi_function *function, ir_tensor *const *args,
    mlcc_arena *keep) {
    int64_t *dims = MLCC_NEW_ARRAY(keep, int64_t, (size_t)library->abi->n_symbols + 1);
    for (uint32_t i = 0; i < function->n_args; i++) {
        const mlcc_abi_tensor *arg = &function->args[i];
        assert_int_equal(arg->rank, args[i]->rank);
        for (uint32_t axis = 0; axis < arg->rank; axis++) {
            if (arg->symbols[axis] >= 0) {
                dims[arg->symbols[axis]] = args[i]->dims[axis];
            } else {
                assert_int_equal(arg->dims[axis], args[i]->dims[axis]);
            }
        }
    }
    return dims;
}

static size_t tensor_bytes(const mlcc_abi_tensor *tensor, const int64_t *dims) {
    size_t size_bytes = abi_bytes(tensor->dtype);
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
        int32_t symbol = tensor->symbols[axis];
        size_bytes *= (size_t)(symbol >= 0 ? dims[symbol] : tensor->dims[axis]);
    }
    return size_bytes;
}

const ir_value *model_in_place_arg(const ir_value *value) {
    while (value->kind == IR_VALUE_RESULT) {
        const ir_node *launch = value->def;
        const ir_function *group =
            ir_module_find(launch->function->module, ir_attr_text(launch, "callee"));
        const ir_value *inner = group->returns[value->index];
        while (inner->kind == IR_VALUE_RESULT && (ir_op_get(inner->def->op)->flags & IR_IN_PLACE)) {
            inner = inner->def->operands[0];
        }
        if (inner->kind != IR_VALUE_ARG) return NULL;
        value = launch->operands[inner->index];
    }
    return value->kind == IR_VALUE_ARG ? value : NULL;
}

static ir_tensor *read_result(
    const ir_function *function, int32_t index, const mlcc_abi_tensor *tensor, const void *memory,
    const int64_t *dims, mlcc_arena *keep) {
    int64_t extents[IR_MAX_RANK];
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
        int32_t symbol = tensor->symbols[axis];
        extents[axis] = symbol >= 0 ? dims[symbol] : tensor->dims[axis];
    }
    ir_tensor *out = ir_tensor_create(
        keep, function->returns[index]->type.dtype, (int32_t)tensor->rank, extents);
    model_decode(memory, out);
    return out;
}

// Every return of the IR function from the results of the ABI, or from the argument whose memory it is.
static void read_results(
    const mlcc_abi_function *abi, const ir_function *function, void *const *args,
    void *const *outputs, const int64_t *dims, mlcc_arena *keep, ir_tensor **results) {
    uint32_t next = 0;
    for (int32_t i = 0; i < function->n_returns; i++) {
        const ir_value *arg = model_in_place_arg(function->returns[i]);
        if (arg != NULL) {
            results[i] =
                read_result(function, i, &abi->args[arg->index], args[arg->index], dims, keep);
        } else {
            results[i] = read_result(function, i, &abi->results[next], outputs[next], dims, keep);
            next++;
        }
    }
    assert_int_equal(next, abi->n_results);
}

static const mlcc_abi_function *find_function(const model_library *library, const char *name) {
    for (uint32_t i = 0; i < library->abi->n_functions; i++) {
        if (strcmp(library->abi->functions[i].name, name) == 0) return &library->abi->functions[i];
    }
    fail_msg("lib.so has no function '%s'", name);
    return NULL;
}

void model_library_run(
    const model_library *library, const ir_function *function, ir_tensor *const *args,
    int32_t n_threads, mlcc_arena *keep, ir_tensor **results) {
    const mlcc_abi_function *abi = find_function(library, function->name);
    assert_int_equal(abi->n_args, function->n_args);
    int64_t *dims = find_dims(library, abi, args, keep);
    guarded *inputs = MLCC_NEW_ARRAY(keep, guarded, (size_t)abi->n_args + 1);
    guarded *outputs = MLCC_NEW_ARRAY(keep, guarded, (size_t)abi->n_results + 1);
    guarded *scratch = MLCC_NEW_ARRAY(keep, guarded, (size_t)n_threads);
    void **arg_pointers = MLCC_NEW_ARRAY(keep, void *, (size_t)abi->n_args + 1);
    void **result_pointers = MLCC_NEW_ARRAY(keep, void *, (size_t)abi->n_results + 1);
    char **scratch_pointers = MLCC_NEW_ARRAY(keep, char *, (size_t)n_threads);
    for (uint32_t i = 0; i < abi->n_args; i++) {
        inputs[i] = guarded_create(tensor_bytes(&abi->args[i], dims), 0);
        model_encode(args[i], inputs[i].data);
        arg_pointers[i] = inputs[i].data;
    }
    for (uint32_t i = 0; i < abi->n_results; i++) {
        outputs[i] = guarded_create(tensor_bytes(&abi->results[i], dims), 0xff);
        result_pointers[i] = outputs[i].data;
    }
    for (int32_t i = 0; i < n_threads; i++) {
        scratch[i] = guarded_create((size_t)abi->scratch_bytes, 0xff);
        scratch_pointers[i] = (char *)scratch[i].data;
    }
    guarded workspace = guarded_create((size_t)abi->workspace_bytes, 0xff);
    uint32_t *counters = MLCC_NEW_ARRAY(keep, uint32_t, (size_t)abi->n_counters + 1);
    mlcc_abi_call call = {
        .args = arg_pointers,
        .results = result_pointers,
        .params = library->prepared,
        .dims = dims,
        .workspace = (char *)workspace.data,
        .scratch = scratch_pointers,
        .counters = counters,
    };
    run_threads(abi, &call, n_threads);

    read_results(abi, function, arg_pointers, result_pointers, dims, keep, results);
    for (uint32_t i = 0; i < abi->n_args; i++) guarded_free(&inputs[i], "argument", i);
    for (uint32_t i = 0; i < abi->n_results; i++) guarded_free(&outputs[i], "result", i);
    for (int32_t i = 0; i < n_threads; i++) guarded_free(&scratch[i], "scratch of thread", i);
    guarded_free(&workspace, "workspace", 0);
}

// ---- another machine ----------------------------------------------------------------------------------

void model_library_pack(
    const model_library *library, const model_weights *weights, const ir_function *function,
    ir_tensor *const *args, mlcc_arena *scratch, mlcc_str *out) {
    const mlcc_abi_function *abi = find_function(library, function->name);
    for (uint32_t i = 0; i < library->abi->n_params; i++) {
        const mlcc_abi_param *param = &library->abi->params[i];
        const model_weight *weight = model_weights_find(weights, param->name);
        for (uint32_t p = 0; p < param->n_pieces; p++) {
            mlcc_str_append(out, weight->pieces[p], (size_t)param->pieces[p].size_bytes);
        }
    }
    int64_t *dims = find_dims(library, abi, args, scratch);
    mlcc_str_append(out, (const char *)dims, library->abi->n_symbols * sizeof *dims);
    for (uint32_t i = 0; i < abi->n_args; i++) {
        size_t size_bytes = tensor_bytes(&abi->args[i], dims);
        void *encoded = mlcc_arena_alloc(scratch, size_bytes);
        model_encode(args[i], encoded);
        mlcc_str_append(out, encoded, size_bytes);
    }
}

void model_library_unpack(
    const model_library *library, const ir_function *function, ir_tensor *const *args,
    const char *data, size_t size_bytes, mlcc_arena *keep, ir_tensor **results) {
    const mlcc_abi_function *abi = find_function(library, function->name);
    int64_t *dims = find_dims(library, abi, args, keep);
    void **outputs = MLCC_NEW_ARRAY(keep, void *, (size_t)abi->n_results + 1);
    void **inputs = MLCC_NEW_ARRAY(keep, void *, (size_t)abi->n_args + 1);
    size_t at = 0;
    for (uint32_t i = 0; i < abi->n_results + abi->n_args; i++) {
        bool is_result = i < abi->n_results;
        uint32_t index = is_result ? i : i - abi->n_results;
        size_t n = tensor_bytes(is_result ? &abi->results[index] : &abi->args[index], dims);
        assert_true(at + n <= size_bytes);
        *(is_result ? &outputs[index] : &inputs[index]) = mlcc_arena_memdup(keep, data + at, n);
        at += n;
    }
    assert_int_equal(at, size_bytes);
    read_results(abi, function, inputs, outputs, dims, keep, results);
}

// ---- comparing ----------------------------------------------------------------------------------------

void assert_tensors_near(
    const ir_tensor *actual, const ir_tensor *expected, double absolute, double relative,
    const char *what) {
    assert_int_equal(actual->rank, expected->rank);
    for (int32_t i = 0; i < actual->rank; i++) {
        assert_int_equal(actual->dims[i], expected->dims[i]);
    }
    int64_t count = ir_tensor_count(expected);
    for (int64_t i = 0; i < count; i++) {
        if (expected->f32 == NULL) {
            assert_int_equal(actual->i32[i], expected->i32[i]);
            continue;
        }
        double a = (double)actual->f32[i], e = (double)expected->f32[i];
        if ((isnan(a) && isnan(e)) || a == e) continue;
        double error = fabs(a - e);
        if (!(error <= absolute + relative * fabs(e))) {
            fail_msg(
                "%s: element %lld is %.9g, expected %.9g (off by %.3g, allowed %.3g)", what,
                (long long)i, a, e, error, absolute + relative * fabs(e));
        }
    }
}
