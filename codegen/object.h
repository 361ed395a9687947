// object: looks into an emitted ELF object before it is linked: a model may need nothing from outside but memcpy, memmove and memset, and shows
// nothing but mlcc_model_query, and mlcc_model_levels where it has several CPU levels.
#ifndef MLCC_CODEGEN_OBJECT_H
#define MLCC_CODEGEN_OBJECT_H

#include "runtime/base/status.h"

#include <stddef.h>

// Name of the hidden model table of level N in the object of that level: this and N. Only the first level's object refers to them.
#define CODEGEN_LEVEL_SYMBOL "mlcc_model_level."

// INTERNAL with the offending names: a kernel or the code generator used a function that lib.so cannot bring along.
mlcc_status *codegen_object_check(const void *object, size_t size_bytes);

#endif
