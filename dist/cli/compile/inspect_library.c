// What a lib.so says about itself: the tables of runtime/abi.h and the metadata JSON in it.
//
// A library for this architecture is opened the way the runtime does it. For another one the dynamic loader is of no use: then the metadata text,
// which begins like every mlcc metadata does and ends with a NUL, is looked for in the file, and the tables are left out.
#include "dist/cli/compile/inspect.h"
#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/model/library.h"
#include "runtime/model/tensor_cache.h"

#include <string.h>

// ---- metadata ---------------------------------------------------------------------------------------------

static const char *text_of(const mlcc_json_value *object, const char *key) {
    return mlcc_json_text(mlcc_json_get(object, key), NULL);
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

static void put_kernels(inspect_report *report, const mlcc_json_value *kernels) {
    static const inspect_column columns[] = {
        {"launches", true}, {"kernel", false}, {"group", false}};
    inspect_table(report, "kernels", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < mlcc_json_count(kernels); i++) {
        const mlcc_json_value *row = mlcc_json_at(kernels, i);
        const char *kernel = text_of(row, "kernel"), *group = text_of(row, "group");
        inspect_cell_int(report, mlcc_json_int(mlcc_json_get(row, "launches")));
        inspect_cell_text(report, kernel);
        inspect_cell_text(report, group);
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

static void put_metadata(inspect_report *report, const mlcc_json_value *root) {
    const mlcc_json_value *own = mlcc_json_get(root, "mlcc");
    put_model(report, root);
    put_numbers(report, "bounds", mlcc_json_get(own, "bounds"));
    put_memory_plan(report, mlcc_json_get(own, "memory_plan"));
    put_kernels(report, mlcc_json_get(own, "kernels"));
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

static void put_fingerprint(inspect_report *report, const char *key, const uint8_t bytes[16]) {
    char hex[33];
    for (int i = 0; i < 16; i++) {
        static const char digits[] = "0123456789abcdef";
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[32] = '\0';
    inspect_put_text(report, key, hex);
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

static mlcc_status *put_opened(
    inspect_report *report, const char *path, const mlcc_mapping *file,
    const mlcc_library *library) {
    const mlcc_abi_model *abi = library->abi;
    mlcc_json *json = NULL;
    MLCC_TRY_NOTE(
        mlcc_json_parse(abi->metadata, strlen(abi->metadata), "the library's metadata", 0, &json),
        "while reading %s", path);
    mlcc_status *refusal = mlcc_library_check_cpu(library);
    put_head(
        report, path, file, mlcc_json_root(json),
        refusal != NULL ? mlcc_status_message(refusal) : NULL);
    put_fingerprint(report, "param_fingerprint", abi->param_fingerprint);
    put_fingerprint(report, "layout_fingerprint", abi->layout_fingerprint);
    put_totals(report, abi);
    put_metadata(report, mlcc_json_root(json));
    if (abi->cuda != NULL) put_images(report, abi->cuda);
    put_functions(report, abi);
    put_params(report, abi);
    put_stored_params(report, mlcc_json_get(mlcc_json_root(json), "params"));
    mlcc_status_free(refusal);
    mlcc_json_free(json);
    return NULL;
}

// Consumes `refusal`: the answer is the refusal itself where the file holds no metadata either.
static mlcc_status *put_unopened(
    inspect_report *report, const char *path, const mlcc_mapping *file, mlcc_status *refusal) {
    static const char mark[] = "{\"model_type\": \"";
    const char *data = file->data, *end = data + file->size_bytes;
    const char *text = data != NULL ? memmem(data, file->size_bytes, mark, sizeof mark - 1) : NULL;
    const char *nul = text != NULL ? memchr(text, '\0', (size_t)(end - text)) : NULL;
    if (nul == NULL) return refusal;
    mlcc_json *json = NULL;
    mlcc_status *status = mlcc_json_parse(text, (size_t)(nul - text), path, 0, &json);
    if (status != NULL) {
        mlcc_status_free(status);
        return refusal;
    }
    const mlcc_json_value *root = mlcc_json_root(json);
    const mlcc_json_value *own = mlcc_json_get(root, "mlcc");
    put_head(report, path, file, root, mlcc_status_message(refusal));
    inspect_put_text(report, "param_fingerprint", text_of(own, "param_fingerprint"));
    put_metadata(report, root);
    put_stored_params(report, mlcc_json_get(root, "params"));
    mlcc_json_free(json);
    mlcc_status_free(refusal);
    return NULL;
}

mlcc_status *inspect_library(inspect_report *report, const char *path) {
    mlcc_mapping file;
    MLCC_TRY(mlcc_file_map(path, &file));
    mlcc_library library;
    mlcc_status *status = mlcc_library_open(path, &library);
    inspect_section(report, "library");
    if (status == NULL) {
        status = put_opened(report, path, &file, &library);
    } else if (mlcc_status_code(status) == MLCC_MISMATCH) {
        status = put_unopened(report, path, &file, status);
    }
    inspect_section_end(report);
    mlcc_library_close(&library);
    mlcc_file_unmap(&file);
    return status;
}
