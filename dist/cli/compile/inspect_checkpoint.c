// What the files of a checkpoint hold, tensor by tensor, as they are stored.
#include "dist/cli/compile/inspect.h"
#include "frontend/hf/weight_files.h"
#include "runtime/base/str.h"

static const char *dtype_of(const hf_tensor *tensor) {
    return tensor->dtype_text != NULL ? tensor->dtype_text : ir_dtype_get(tensor->dtype)->text;
}

static void put_shape(inspect_report *report, const hf_tensor *tensor) {
    mlcc_str shape = {0};
    mlcc_str_putc(&shape, '[');
    for (int32_t i = 0; i < tensor->rank; i++)
        mlcc_str_printf(&shape, "%s%lld", i > 0 ? ", " : "", (long long)tensor->dims[i]);
    mlcc_str_putc(&shape, ']');
    inspect_cell_text(report, mlcc_str_text(&shape));
    mlcc_str_free(&shape);
}

static void put_tensors(inspect_report *report, const hf_weight_source *source) {
    static const inspect_column columns[] = {
        {"dtype", false}, {"shape", false}, {"bytes", true}, {"file", true}, {"name", false}};
    inspect_table(report, "tensors", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < source->n_tensors; i++) {
        const hf_tensor *tensor = &source->tensors[i];
        inspect_cell_text(report, dtype_of(tensor));
        put_shape(report, tensor);
        inspect_cell_bytes(report, tensor->size_bytes);
        inspect_cell_int(report, tensor->file);
        inspect_cell_text(report, tensor->name);
    }
    inspect_table_end(report);
}

mlcc_status *inspect_checkpoint(inspect_report *report, const char *path) {
    mlcc_arena *keep = mlcc_arena_create();
    hf_weight_source *source = NULL;
    const char *container = NULL;
    mlcc_status *status = hf_weight_container_open(path, keep, &container, &source);
    if (status == NULL) {
        uint64_t total_bytes = 0;
        int64_t n_files = 0;
        for (size_t i = 0; i < source->n_tensors; i++) {
            total_bytes += source->tensors[i].size_bytes;
            if (source->tensors[i].file >= n_files) n_files = source->tensors[i].file + 1;
        }
        inspect_section(report, container);
        inspect_put_text(report, "path", path);
        inspect_put_int(report, "files", n_files);
        inspect_put_int(report, "n_tensors", (int64_t)source->n_tensors);
        inspect_put_bytes(report, "bytes", total_bytes);
        put_tensors(report, source);
        inspect_section_end(report);
        source->close(source);
    }
    mlcc_arena_free(keep);
    return status;
}
