// What a lib.so says about itself: the tables of runtime/abi.h and the metadata JSON in it.
//
// A library for this architecture is opened the way the runtime does it. For another one the dynamic loader is of no use: then the metadata text,
// which begins like every mlcc metadata does and ends with a NUL, is looked for in the file, and the tables are left out.
#include "dist/cli/compile/inspect.h"
#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/device/cpu_features.h"
#include "runtime/model/library.h"
#include "runtime/model/tensor_cache.h"

#include <string.h>

// ---- metadata ---------------------------------------------------------------------------------------------

static const char *text_of(const mlcc_json_value *object, const char *key) {
    return mlcc_json_text(mlcc_json_get(object, key), NULL);
}

// The metadata of every CPU level, in the library's order.
typedef struct level_list {
    mlcc_json *metadata[MLCC_ABI_MAX_LEVELS];
    size_t n;
} level_list;

static void free_levels(level_list *levels) {
    for (size_t i = 0; i < levels->n; i++) mlcc_json_free(levels->metadata[i]);
}

static const mlcc_json_value *own_keys(const mlcc_json *metadata) {
    return mlcc_json_get(mlcc_json_root(metadata), "mlcc");
}

static void put_numbers(
    inspect_report *report, const char *section, const mlcc_json_value *object) {
    if (mlcc_json_kind_of(object) != MLCC_JSON_OBJECT) return;
    inspect_section(report, section);
    for (const mlcc_json_iter *it = mlcc_json_first(object); it != NULL;
         it = mlcc_json_next(object, it)) {
        inspect_put_int(report, mlcc_json_iter_key(it), mlcc_json_int(mlcc_json_iter_value(it)));
    }
    inspect_section_end(report);
}

static void put_model(inspect_report *report, const mlcc_json_value *root) {
    static const char *const numbers[] = {
        "context_window_size", "prefill_chunk_size", "max_batch_size", "active_vocab_size"};
    inspect_section(report, "model");
    inspect_put_text(report, "model_type", text_of(root, "model_type"));
    inspect_put_text(report, "quantization", text_of(root, "quantization"));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (mlcc_json_kind_of(mlcc_json_get(root, numbers[i])) == MLCC_JSON_INT)
            inspect_put_int(report, numbers[i], mlcc_json_int(mlcc_json_get(root, numbers[i])));
    }
    inspect_section_end(report);
}

// The kernels of all levels; a library with one level does not say whose they are.
static void put_kernels(inspect_report *report, const level_list *levels) {
    static const inspect_column columns[] = {
        {"level", false}, {"launches", true}, {"kernel", false}, {"group", false}};
    enum { N_COLUMNS = sizeof columns / sizeof columns[0] };
    const size_t first = levels->n > 1 ? 0 : 1;
    inspect_table(report, "kernels", columns + first, N_COLUMNS - first);
    for (size_t l = 0; l < levels->n; l++) {
        const mlcc_json_value *own = own_keys(levels->metadata[l]);
        const mlcc_json_value *kernels = mlcc_json_get(own, "kernels");
        for (size_t i = 0; i < mlcc_json_count(kernels); i++) {
            const mlcc_json_value *row = mlcc_json_at(kernels, i);
            if (levels->n > 1) inspect_cell_text(report, text_of(own, "target"));
            inspect_cell_int(report, mlcc_json_int(mlcc_json_get(row, "launches")));
            inspect_cell_text(report, text_of(row, "kernel"));
            inspect_cell_text(report, text_of(row, "group"));
        }
    }
    inspect_table_end(report);
}

static void put_memory_plan(inspect_report *report, const mlcc_json_value *plan) {
    static const inspect_column columns[] = {
        {"function", false},
        {"values", true},
        {"bytes_without_reuse", true},
        {"workspace_bytes", true}};
    inspect_table(report, "memory_plan", columns, sizeof columns / sizeof columns[0]);
    for (const mlcc_json_iter *it = mlcc_json_first(plan); it != NULL;
         it = mlcc_json_next(plan, it)) {
        const mlcc_json_value *row = mlcc_json_iter_value(it);
        inspect_cell_text(report, mlcc_json_iter_key(it));
        for (size_t c = 1; c < sizeof columns / sizeof columns[0]; c++) {
            int64_t value = mlcc_json_int(mlcc_json_get(row, columns[c].key));
            if (c == 1) {
                inspect_cell_int(report, value);
            } else {
                inspect_cell_bytes(report, (uint64_t)value);
            }
        }
    }
    inspect_table_end(report);
}

// The params as MLC's loader sees them: every stored tensor.
static void put_stored_params(inspect_report *report, const mlcc_json_value *params) {
    static const inspect_column columns[] = {{"dtype", false}, {"shape", false}, {"name", false}};
    inspect_table(report, "stored_params", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < mlcc_json_count(params); i++) {
        const mlcc_json_value *row = mlcc_json_at(params, i), *shape = mlcc_json_get(row, "shape");
        const char *dtype = text_of(row, "dtype"), *name = text_of(row, "name");
        mlcc_str dims = {0};
        mlcc_str_putc(&dims, '[');
        for (size_t k = 0; k < mlcc_json_count(shape); k++)
            mlcc_str_printf(
                &dims, "%s%lld", k > 0 ? ", " : "",
                (long long)mlcc_json_int(mlcc_json_at(shape, k)));
        mlcc_str_putc(&dims, ']');
        inspect_cell_text(report, dtype);
        inspect_cell_text(report, mlcc_str_text(&dims));
        inspect_cell_text(report, name);
        mlcc_str_free(&dims);
    }
    inspect_table_end(report);
}

static void put_metadata(
    inspect_report *report, const mlcc_json_value *root, const level_list *levels) {
    const mlcc_json_value *own = mlcc_json_get(root, "mlcc");
    put_model(report, root);
    put_numbers(report, "bounds", mlcc_json_get(own, "bounds"));
    put_memory_plan(report, mlcc_json_get(own, "memory_plan"));
    put_kernels(report, levels);
}

// ---- tables -------------------------------------------------------------------------------------------------

static void put_functions(inspect_report *report, const mlcc_abi_model *abi) {
    static const inspect_column columns[] = {
        {"name", false},
        {"inputs", true},
        {"outputs", true},
        {"workspace_bytes", true},
        {"scratch_bytes_per_thread", true}};
    inspect_table(report, "functions", columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < abi->n_functions; i++) {
        inspect_cell_text(report, abi->functions[i].name);
        inspect_cell_int(report, abi->functions[i].n_args);
        inspect_cell_int(report, abi->functions[i].n_results);
        inspect_cell_bytes(report, abi->functions[i].workspace_bytes);
        inspect_cell_bytes(report, abi->functions[i].scratch_bytes);
    }
    inspect_table_end(report);
}

static bool is_same_arch(const mlcc_abi_cuda_image *a, const mlcc_abi_cuda_image *b) {
    return a->arch == b->arch && a->is_ptx == b->is_ptx &&
           a->is_arch_specific == b->is_arch_specific;
}

typedef struct image_sum {
    const mlcc_abi_cuda_image *first; // the first image for the architecture
    int64_t n_modules;
    uint64_t size_bytes;
} image_sum;

static image_sum sum_images(const mlcc_abi_cuda *cuda, const mlcc_abi_cuda_image *like) {
    image_sum sum = {0};
    for (uint32_t m = 0; m < cuda->n_modules; m++) {
        for (uint32_t i = 0; i < cuda->modules[m].n_images; i++) {
            const mlcc_abi_cuda_image *image = &cuda->modules[m].images[i];
            if (!is_same_arch(image, like)) continue;
            if (sum.first == NULL) sum.first = image;
            sum.n_modules++;
            sum.size_bytes += image->size_bytes;
        }
    }
    return sum;
}

// Compiled forms of the kernels of a library for CUDA devices: one row per architecture, which not all modules have.
static void put_images(inspect_report *report, const mlcc_abi_cuda *cuda) {
    static const inspect_column columns[] = {{"arch", false}, {"modules", true}, {"bytes", true}};
    inspect_put_int(report, "nvrtc_version", cuda->nvrtc_version);
    inspect_put_bytes(report, "constant_bytes", cuda->consts_bytes);
    inspect_table(report, "images", columns, sizeof columns / sizeof columns[0]);
    mlcc_str text = {0};
    for (uint32_t m = 0; m < cuda->n_modules; m++) {
        for (uint32_t i = 0; i < cuda->modules[m].n_images; i++) {
            const mlcc_abi_cuda_image *image = &cuda->modules[m].images[i];
            const image_sum sum = sum_images(cuda, image);
            if (sum.first != image) continue;
            mlcc_str_clear(&text);
            mlcc_str_printf(
                &text, "%s_%u%s", image->is_ptx ? "compute" : "sm", image->arch,
                image->is_arch_specific ? "a" : "");
            inspect_cell_text(report, mlcc_str_text(&text));
            inspect_cell_int(report, sum.n_modules);
            inspect_cell_bytes(report, sum.size_bytes);
        }
    }
    mlcc_str_free(&text);
    inspect_table_end(report);
}

static uint64_t stored_bytes_of(const mlcc_abi_param *param) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < param->n_pieces; i++) sum += param->pieces[i].size_bytes;
    return sum;
}

static void put_params(inspect_report *report, const mlcc_abi_model *abi) {
    static const inspect_column columns[] = {{"format", false},      {"layout", false},
                                             {"stored_bytes", true}, {"prepared_bytes", true},
                                             {"name", false},        {"stored_as", false}};
    inspect_table(report, "params", columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < abi->n_params; i++) {
        const mlcc_abi_param *param = &abi->params[i];
        mlcc_str pieces = {0};
        for (uint32_t k = 0; k < param->n_pieces; k++) {
            const mlcc_abi_piece *piece = &param->pieces[k];
            if (k > 0) mlcc_str_puts(&pieces, " + ");
            mlcc_tensor_shape_text(
                mlcc_abi_dtype_text(piece->dtype), piece->rank, piece->dims, &pieces);
        }
        inspect_cell_text(report, param->format);
        inspect_cell_text(report, param->layout);
        inspect_cell_bytes(report, stored_bytes_of(param));
        inspect_cell_bytes(report, param->prepared_bytes);
        inspect_cell_text(report, param->name);
        inspect_cell_text(report, mlcc_str_text(&pieces));
        mlcc_str_free(&pieces);
    }
    inspect_table_end(report);
}

static void put_totals(inspect_report *report, const mlcc_abi_model *abi) {
    uint64_t stored = 0, prepared = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        stored += stored_bytes_of(&abi->params[i]);
        prepared += abi->params[i].prepared_bytes;
    }
    inspect_put_int(report, "n_params", abi->n_params);
    inspect_put_bytes(report, "stored_bytes", stored);
    inspect_put_bytes(report, "prepared_bytes", prepared);
}

static const char *fingerprint_text(const uint8_t bytes[16], char hex[33]) {
    for (int i = 0; i < 16; i++) {
        static const char digits[] = "0123456789abcdef";
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[32] = '\0';
    return hex;
}

// Levels with the same layout fingerprint share prepared weights.
static void put_levels(inspect_report *report, const mlcc_library *library) {
    static const inspect_column columns[] = {
        {"level", false},
        {"prepared_bytes", true},
        {"layout_fingerprint", false},
        {"missing_features", false}};
    char hex[33];
    inspect_table(report, "levels", columns, sizeof columns / sizeof columns[0]);
    for (uint32_t l = 0; l < library->n_levels; l++) {
        const mlcc_abi_model *level = library->levels[l];
        uint64_t prepared = 0;
        for (uint32_t i = 0; i < level->n_params; i++) prepared += level->params[i].prepared_bytes;
        mlcc_str missing = {0};
        const bool misses = mlcc_cpu_missing(level->cpu_features, &missing) > 0;
        inspect_cell_text(report, level->target);
        inspect_cell_bytes(report, prepared);
        inspect_cell_text(report, fingerprint_text(level->layout_fingerprint, hex));
        inspect_cell_text(report, misses ? mlcc_str_text(&missing) : NULL);
        mlcc_str_free(&missing);
    }
    inspect_table_end(report);
}

// ---- the file -----------------------------------------------------------------------------------------------

// What both ways of looking share: where the library belongs and what it is.
static void put_head(
    inspect_report *report, const char *path, const mlcc_mapping *file, const mlcc_json_value *root,
    const char *does_not_run) {
    const mlcc_json_value *own = mlcc_json_get(root, "mlcc");
    char hex[33];
    inspect_put_text(report, "path", path);
    inspect_put_bytes(report, "bytes", file->size_bytes);
    inspect_put_text(report, "device", text_of(own, "device"));
    if (text_of(own, "cuda_archs") != NULL) {
        inspect_put_text(report, "cuda_archs", text_of(own, "cuda_archs"));
    }
    if (text_of(own, "cpu_levels") != NULL) {
        inspect_put_text(report, "cpu_levels", text_of(own, "cpu_levels"));
    }
    inspect_put_text(report, "target", text_of(own, "target"));
    inspect_put_text(report, "triple", text_of(own, "triple"));
    inspect_put_text(report, "cpu_features", text_of(own, "features"));
    inspect_put_int(report, "abi_version", mlcc_json_int(mlcc_json_get(own, "abi_version")));
    inspect_put_text(report, "made_by_version", text_of(own, "version"));
    inspect_put_bool(report, "runs_here", does_not_run == NULL);
    if (does_not_run != NULL) inspect_put_text(report, "reason", does_not_run);
    mlcc_hash128_hex(mlcc_hash128_of(file->data, file->size_bytes), hex);
    inspect_put_text(report, "file_fingerprint", hex);
    inspect_put_text(report, "module_fingerprint", text_of(own, "module_fingerprint"));
}

static mlcc_status *read_levels(const mlcc_library *library, level_list *levels) {
    for (; levels->n < library->n_levels; levels->n++) {
        const char *text = library->levels[levels->n]->metadata;
        MLCC_TRY(mlcc_json_parse(
            text, strlen(text), "the library's metadata", 0, &levels->metadata[levels->n]));
    }
    return NULL;
}

static void put_opened(
    inspect_report *report, const char *path, const mlcc_mapping *file, const mlcc_library *library,
    const level_list *levels) {
    const mlcc_abi_model *abi = library->abi;
    uint32_t chosen = 0;
    while (library->levels[chosen] != abi) chosen++;
    const mlcc_json_value *root = mlcc_json_root(levels->metadata[chosen]);
    mlcc_status *refusal = mlcc_library_check_cpu(library);
    char hex[33];
    put_head(report, path, file, root, refusal != NULL ? mlcc_status_message(refusal) : NULL);
    mlcc_status_free(refusal);
    inspect_put_text(report, "param_fingerprint", fingerprint_text(abi->param_fingerprint, hex));
    inspect_put_text(report, "layout_fingerprint", fingerprint_text(abi->layout_fingerprint, hex));
    put_totals(report, abi);
    if (library->n_levels > 1) put_levels(report, library);
    put_metadata(report, root, levels);
    if (abi->cuda != NULL) put_images(report, abi->cuda);
    put_functions(report, abi);
    put_params(report, abi);
    put_stored_params(report, mlcc_json_get(root, "params"));
}

// Where the level's name stands in the library's list of levels.
static size_t place_of_level(const mlcc_json_value *own) {
    const char *list = text_of(own, "cpu_levels"), *name = text_of(own, "target");
    const size_t length = name != NULL ? strlen(name) : 0;
    size_t place = 0;
    for (; list != NULL && *list != '\0'; place++) {
        const size_t n = strcspn(list, ",");
        if (n == length && strncmp(list, name, n) == 0) return place;
        list += n + (list[n] == ',');
    }
    return place;
}

// Every metadata text in the file. The linker may have changed their order.
static void find_levels(const char *path, const mlcc_mapping *file, level_list *levels) {
    static const char mark[] = "{\"model_type\": \"";
    const char *at = file->data, *end = at + file->size_bytes;
    while (at != NULL && levels->n < MLCC_ABI_MAX_LEVELS) {
        const char *text = memmem(at, (size_t)(end - at), mark, sizeof mark - 1);
        const char *nul = text != NULL ? memchr(text, '\0', (size_t)(end - text)) : NULL;
        if (nul == NULL) break;
        at = nul;
        mlcc_json *json = NULL;
        mlcc_status *status = mlcc_json_parse(text, (size_t)(nul - text), path, 0, &json);
        if (status != NULL) {
            mlcc_status_free(status);
            continue;
        }
        size_t place = levels->n++;
        const size_t own_place = place_of_level(own_keys(json));
        for (; place > 0; place--) {
            if (place_of_level(own_keys(levels->metadata[place - 1])) <= own_place) break;
            levels->metadata[place] = levels->metadata[place - 1];
        }
        levels->metadata[place] = json;
    }
}

static void put_unopened(
    inspect_report *report, const char *path, const mlcc_mapping *file, const level_list *levels,
    const mlcc_status *refusal) {
    const mlcc_json_value *root = mlcc_json_root(levels->metadata[0]);
    put_head(report, path, file, root, mlcc_status_message(refusal));
    inspect_put_text(
        report, "param_fingerprint", text_of(mlcc_json_get(root, "mlcc"), "param_fingerprint"));
    put_metadata(report, root, levels);
    put_stored_params(report, mlcc_json_get(root, "params"));
}

mlcc_status *inspect_library(inspect_report *report, const char *path) {
    mlcc_mapping file;
    MLCC_TRY(mlcc_file_map(path, &file));
    mlcc_library library;
    level_list levels = {0};
    mlcc_status *status = mlcc_library_open(path, &library);
    inspect_section(report, "library");
    if (status == NULL) {
        status = mlcc_status_note(read_levels(&library, &levels), "while reading %s", path);
        if (status == NULL) put_opened(report, path, &file, &library, &levels);
    } else if (mlcc_status_code(status) == MLCC_MISMATCH) {
        find_levels(path, &file, &levels);
        // The answer is the refusal itself where the file holds no metadata either.
        if (levels.n > 0) {
            put_unopened(report, path, &file, &levels, status);
            mlcc_status_free(status);
            status = NULL;
        }
    }
    inspect_section_end(report);
    free_levels(&levels);
    mlcc_library_close(&library);
    mlcc_file_unmap(&file);
    return status;
}
