// fingerprint: structural XXH3-128 of a module, function or parameter list: "did this pass change anything", cache keys, deduplication.
// Names of results do not count; names of params, attributes, types, offsets and layouts do.
#ifndef MLCC_IR_FINGERPRINT_H
#define MLCC_IR_FINGERPRINT_H

#include "ir/ir.h"
#include "runtime/base/hash.h"

mlcc_hash128 ir_fingerprint_module(const ir_module *module);
// Without the function's own name: equal groups have equal fingerprints.
mlcc_hash128 ir_fingerprint_function(const ir_function *function);

#endif
