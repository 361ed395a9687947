// mlcir_fuzz: any bytes as .mlcir. What parses is printed, read back and printed again: same
// structure, same text. What verifies is cloned.
#include "ir/fingerprint.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "ir/walk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(int condition) {
    if (!condition) abort();
}

static void check_round_trip(const ir_module *module, mlcc_arena *keep) {
    mlcc_str first = {0};
    mlcc_str second = {0};
    ir_module *again = NULL;
    ir_print_module(module, &first);
    mlcc_status *status = ir_parse_module(first.data, first.length, "printed.mlcir", keep, &again);
    need(status == NULL);
    ir_print_module(again, &second);
    need(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    need(mlcc_hash128_equal(ir_fingerprint_module(module), ir_fingerprint_module(again)));
    mlcc_str_free(&first);
    mlcc_str_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    mlcc_status *status = ir_parse_module((const char *)data, size, "fuzz.mlcir", keep, &module);
    if (status == NULL) {
        check_round_trip(module, keep);
        status = ir_verify(module, module->level);
        if (status == NULL) {
            const ir_module *clone = ir_module_clone(module, keep);
            need(mlcc_hash128_equal(ir_fingerprint_module(module), ir_fingerprint_module(clone)));
        }
    }
    mlcc_status_free(status);
    mlcc_arena_free(keep);
    return 0;
}
