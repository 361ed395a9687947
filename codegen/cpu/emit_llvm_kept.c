#include "codegen/cpu/emit_llvm_kept.h"

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

#include <llvm-c/BitWriter.h>
#include <llvm-c/Core.h>

#include <stdlib.h>
#include <string.h>

// In front of the object: its sum as hexadecimal digits.
enum { SUM_BYTES = 32, MAX_OBJECT_BYTES = 1 << 30 };

static const char *folder_of(const char *variable) {
    const char *folder = getenv(variable);
    return folder != NULL && *folder != '\0' ? folder : NULL;
}

static void add_text(mlcc_hasher *hasher, char *text) {
    mlcc_hasher_update(hasher, text, strlen(text) + 1);
    LLVMDisposeMessage(text);
}

// All that the object depends on, but for the passes themselves: a folder is for one version of mlcc.
static mlcc_hash128 name_of(LLVMModuleRef module, LLVMTargetMachineRef machine) {
    mlcc_hasher *hasher = mlcc_hasher_create();
    unsigned version[3];
    LLVMGetVersion(&version[0], &version[1], &version[2]);
    mlcc_hasher_update(hasher, version, sizeof version);
    add_text(hasher, LLVMGetTargetMachineTriple(machine));
    add_text(hasher, LLVMGetTargetMachineCPU(machine));
    add_text(hasher, LLVMGetTargetMachineFeatureString(machine));
    LLVMMemoryBufferRef bitcode = LLVMWriteBitcodeToMemoryBuffer(module);
    mlcc_hasher_update(hasher, LLVMGetBufferStart(bitcode), LLVMGetBufferSize(bitcode));
    LLVMDisposeMemoryBuffer(bitcode);
    const mlcc_hash128 name = mlcc_hasher_digest(hasher);
    mlcc_hasher_free(hasher);
    return name;
}

kept_object kept_object_of(LLVMModuleRef module, LLVMTargetMachineRef machine, mlcc_arena *keep) {
    const char *keep_in = folder_of("MLCC_OBJECTS_KEEP"),
               *reuse_of = folder_of("MLCC_OBJECTS_REUSE");
    if (keep_in == NULL && reuse_of == NULL) return (kept_object){0};
    char name[SUM_BYTES + 1];
    mlcc_hash128_hex(name_of(module, machine), name);
    return (kept_object){.keep_path = keep_in != NULL ? mlcc_path_join(keep, keep_in, name) : NULL,
                         .reuse_path =
                             reuse_of != NULL ? mlcc_path_join(keep, reuse_of, name) : NULL};
}

static void sum_of(const void *object, size_t object_bytes, char text[SUM_BYTES + 1]) {
    mlcc_hash128_hex(mlcc_hash128_of(object, object_bytes), text);
}

bool kept_object_take(
    const kept_object *kept, mlcc_arena *keep, const void **object, size_t *object_bytes) {
    if (kept->reuse_path == NULL || !mlcc_file_exists(kept->reuse_path)) return false;
    char *data = NULL, sum[SUM_BYTES + 1];
    size_t size_bytes = 0;
    mlcc_status *status = mlcc_file_read(kept->reuse_path, MAX_OBJECT_BYTES, &data, &size_bytes);
    bool is_whole = status == NULL && size_bytes > SUM_BYTES;
    if (is_whole) {
        sum_of(data + SUM_BYTES, size_bytes - SUM_BYTES, sum);
        is_whole = memcmp(data, sum, SUM_BYTES) == 0;
    }
    if (is_whole) {
        *object_bytes = size_bytes - SUM_BYTES;
        *object = mlcc_arena_memdup(keep, data + SUM_BYTES, *object_bytes);
    }
    mlcc_status_free(status);
    free(data);
    return is_whole;
}

mlcc_status *kept_object_put(const kept_object *kept, const void *object, size_t object_bytes) {
    if (kept->keep_path == NULL) return NULL;
    char sum[SUM_BYTES + 1];
    sum_of(object, object_bytes, sum);
    mlcc_writer *writer;
    mlcc_status *status = mlcc_writer_open(kept->keep_path, &writer);
    if (status != NULL) return mlcc_status_note(status, "keeping an object for MLCC_OBJECTS_KEEP");
    status = mlcc_writer_write(writer, sum, SUM_BYTES);
    if (status == NULL) status = mlcc_writer_write(writer, object, object_bytes);
    if (status == NULL) return mlcc_writer_commit(writer);
    mlcc_writer_abandon(writer);
    return status;
}
