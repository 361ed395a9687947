#include "codegen/cuda/cuda_compile.h"

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/base/threads.h"

#include <stdlib.h>
#include <string.h>

typedef struct job {
    const cuda_unit *unit;
    const cuda_arch *arch;
    cuda_image *image; // where the answer goes
    char key[33];
    nvrtc_output output;
    bool is_from_cache;
    mlcc_status *status;
} job;

typedef struct work {
    const nvrtc_library *nvrtc;
    const char *folder; // of the cache, or NULL
    job *jobs;
    size_t n_jobs;
} work;

// ---- cache --------------------------------------------------------------------------------------------

// An entry: this head, then cubin, PTX with its NUL, log with its NUL.
typedef struct entry_head {
    char magic[8];
    uint64_t cubin_bytes, ptx_bytes, log_bytes;
    uint64_t hash; // XXH3-64 of what follows
} entry_head;

static const char magic[8] = "mlccrtc";

static void make_key(const nvrtc_library *nvrtc, job *j) {
    static const char *const options[] = NVRTC_OPTIONS;
    int major = 0, minor = 0;
    nvrtc_version(nvrtc, &major, &minor);
    mlcc_str head = {0};
    mlcc_str_printf(
        &head, "mlcc nvrtc 1\n%d.%d\n%s\n%s\n", major, minor, j->arch->text, j->unit->name);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        mlcc_str_printf(&head, "%s\n", options[i]);
    }
    mlcc_hasher *hasher = mlcc_hasher_create();
    mlcc_hasher_update(hasher, head.data, head.length);
    mlcc_hasher_update(hasher, j->unit->source, strlen(j->unit->source));
    mlcc_hash128_hex(mlcc_hasher_digest(hasher), j->key);
    mlcc_hasher_free(hasher);
    mlcc_str_free(&head);
}

static void *copy_bytes(const void *data, size_t size_bytes) {
    void *copy = malloc(size_bytes + 1);
    if (copy != NULL) memcpy(copy, data, size_bytes);
    return copy;
}

// Whether the entry is whole; then *head and the place of its body are set.
static bool check_entry(const char *data, size_t size_bytes, entry_head *head) {
    if (size_bytes < sizeof *head) return false;
    memcpy(head, data, sizeof *head);
    if (memcmp(head->magic, magic, sizeof magic) != 0) return false;
    const size_t body_bytes = size_bytes - sizeof *head;
    size_t sum = 0;
    if (!mlcc_size_add(head->cubin_bytes, head->ptx_bytes, &sum) ||
        !mlcc_size_add(sum, head->log_bytes, &sum) || sum != body_bytes) {
        return false;
    }
    if (head->ptx_bytes == 0 || head->log_bytes == 0) return false;
    const char *body = data + sizeof *head;
    return mlcc_hash64(body, body_bytes) == head->hash &&
           body[head->cubin_bytes + head->ptx_bytes - 1] == '\0' && body[body_bytes - 1] == '\0';
}

static bool read_entry(const char *path, nvrtc_output *out) {
    char *data = NULL;
    size_t size_bytes = 0;
    if (!mlcc_file_exists(path)) return false;
    mlcc_status *status = mlcc_file_read(path, 0, &data, &size_bytes);
    entry_head head;
    const bool is_whole = status == NULL && check_entry(data, size_bytes, &head);
    if (is_whole) {
        const char *body = data + sizeof head;
        out->cubin_bytes = head.cubin_bytes;
        out->cubin = head.cubin_bytes > 0 ? copy_bytes(body, head.cubin_bytes) : NULL;
        out->ptx = copy_bytes(body + head.cubin_bytes, head.ptx_bytes);
        out->log = copy_bytes(body + head.cubin_bytes + head.ptx_bytes, head.log_bytes);
    }
    mlcc_status_free(status);
    free(data);
    if (!is_whole) return false;
    if (out->ptx != NULL && out->log != NULL && (out->cubin != NULL || out->cubin_bytes == 0)) {
        return true;
    }
    nvrtc_output_free(out);
    return false;
}

static void write_entry(const char *path, const nvrtc_output *output) {
    entry_head head = {
        .cubin_bytes = output->cubin_bytes,
        .ptx_bytes = strlen(output->ptx) + 1,
        .log_bytes = strlen(output->log) + 1};
    memcpy(head.magic, magic, sizeof magic);
    mlcc_str body = {0};
    mlcc_str_append(&body, output->cubin, output->cubin_bytes);
    mlcc_str_append(&body, output->ptx, head.ptx_bytes);
    mlcc_str_append(&body, output->log, head.log_bytes);
    head.hash = mlcc_hash64(body.data, body.length);
    mlcc_str file = {0};
    mlcc_str_append(&file, (const char *)&head, sizeof head);
    mlcc_str_append(&file, body.data, body.length);
    mlcc_status *status = mlcc_file_write_atomic(path, file.data, file.length);
    if (status != NULL) {
        mlcc_log(
            MLCC_LOG_WARN, "codegen", "compiled code is not cached: %s",
            mlcc_status_message(status));
    }
    mlcc_status_free(status);
    mlcc_str_free(&file);
    mlcc_str_free(&body);
}

// ---- jobs ---------------------------------------------------------------------------------------------

static void run_job(const work *w, job *j) {
    mlcc_arena *scratch = mlcc_arena_create();
    make_key(w->nvrtc, j);
    const char *path = w->folder != NULL ? mlcc_path_join(scratch, w->folder, j->key) : NULL;
    j->is_from_cache = path != NULL && read_entry(path, &j->output);
    if (!j->is_from_cache) {
        j->status =
            nvrtc_compile(w->nvrtc, j->unit->name, j->unit->source, j->arch->text, &j->output);
        if (j->status == NULL && path != NULL) write_entry(path, &j->output);
    }
    mlcc_arena_free(scratch);
}

static void run_jobs(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const work *w = arg;
    for (int64_t i = begin; i < end; i++) run_job(w, &w->jobs[i]);
}

static mlcc_status *run_all(work *w, int32_t n_threads) {
    mlcc_pool *pool = NULL;
    if (n_threads == 0) n_threads = mlcc_physical_cores();
    if ((size_t)n_threads > w->n_jobs) n_threads = (int32_t)w->n_jobs;
    MLCC_TRY(mlcc_pool_create(n_threads, &pool));
    mlcc_pool_for(pool, (int64_t)w->n_jobs, 1, run_jobs, w);
    mlcc_pool_free(pool);
    return NULL;
}

static void keep_image(const job *j, mlcc_arena *keep, cuda_image *image) {
    const nvrtc_output *output = &j->output;
    const char *ptx = mlcc_arena_strdup(keep, output->ptx);
    *image = (cuda_image){
        .arch = j->arch,
        .ptx = ptx,
        .log = mlcc_arena_strdup(keep, output->log),
        .is_from_cache = j->is_from_cache,
    };
    if (j->arch->is_ptx) {
        image->data = ptx;
        image->size_bytes = strlen(ptx) + 1;
    } else {
        image->data = mlcc_arena_memdup(keep, output->cubin, output->cubin_bytes);
        image->size_bytes = output->cubin_bytes;
    }
}

// The first failure in the order of the jobs is the answer, whichever came first in time.
static mlcc_status *collect(work *w, mlcc_status *status, mlcc_arena *keep) {
    for (size_t i = 0; i < w->n_jobs; i++) {
        job *j = &w->jobs[i];
        if (status == NULL && j->status == NULL) {
            keep_image(j, keep, j->image);
        } else if (status == NULL) {
            status = j->status;
            j->status = NULL;
        }
        mlcc_status_free(j->status);
        nvrtc_output_free(&j->output);
    }
    return status;
}

static void add_jobs(work *w, cuda_unit *unit, mlcc_arena *keep) {
    unit->images = MLCC_NEW_ARRAY(keep, cuda_image, unit->n_archs + 1);
    for (size_t a = 0; a < unit->n_archs; a++) {
        w->jobs[w->n_jobs++] =
            (job){.unit = unit, .arch = unit->archs[a], .image = &unit->images[a]};
    }
}

mlcc_status *cuda_compile(
    const nvrtc_library *nvrtc, const cuda_compile_options *options, cuda_unit *units,
    size_t n_units, mlcc_arena *keep) {
    work w = {.nvrtc = nvrtc};
    size_t n_jobs = 0;
    for (size_t u = 0; u < n_units; u++) n_jobs += units[u].n_archs;
    if (n_jobs == 0) return NULL;
    if (options->cache_directory != NULL) {
        w.folder = mlcc_path_join(keep, options->cache_directory, "nvrtc");
        mlcc_status *status = mlcc_dir_make(w.folder);
        if (status != NULL) {
            mlcc_log(
                MLCC_LOG_WARN, "codegen", "compiled code is not cached: %s",
                mlcc_status_message(status));
            w.folder = NULL;
        }
        mlcc_status_free(status);
    }
    w.jobs = MLCC_NEW_ARRAY(keep, job, n_jobs);
    for (size_t u = 0; u < n_units; u++) add_jobs(&w, &units[u], keep);
    mlcc_status *status = run_all(&w, options->n_threads);
    return collect(&w, status, keep);
}

// ---- the log ------------------------------------------------------------------------------------------

// The number before `what` in a line such as "    0 bytes stack frame, 8 bytes spill stores, …"; -1 when it is not there.
static int32_t number_before(const char *line, size_t length, const char *what) {
    const char *at = memmem(line, length, what, strlen(what));
    if (at == NULL) return -1;
    const char *p = at;
    while (p > line && p[-1] >= '0' && p[-1] <= '9') p--;
    return p < at ? (int32_t)strtol(p, NULL, 10) : -1;
}

// ptxas writes for every function
//     ptxas info    : Compiling entry function 'NAME' for 'sm_80'
//     ptxas info    : Function properties for NAME
//         0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
//     ptxas info    : Used 40 registers, used 1 barriers, …
bool cuda_log_usage(const char *log, const char *entry, cuda_usage *usage) {
    mlcc_arena *scratch = mlcc_arena_create();
    const char *start = mlcc_arena_printf(scratch, "Compiling entry function '%s'", entry);
    const char *p = strstr(log, start);
    mlcc_arena_free(scratch);
    *usage = (cuda_usage){.registers = -1};
    while (p != NULL && usage->registers < 0) {
        p = strchr(p, '\n');
        if (p == NULL) return false;
        p++;
        const size_t length = strcspn(p, "\n");
        if (memmem(p, length, "Compiling entry function", 24) != NULL) return false;
        usage->registers = number_before(p, length, " registers");
        if (number_before(p, length, " bytes stack frame") < 0) continue;
        usage->stack_bytes = number_before(p, length, " bytes stack frame");
        usage->spill_store_bytes = number_before(p, length, " bytes spill stores");
        usage->spill_load_bytes = number_before(p, length, " bytes spill loads");
    }
    return p != NULL;
}
