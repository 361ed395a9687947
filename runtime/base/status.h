// status: how every failure travels, from the place that saw it to the one place that prints it.
//
// A function that can fail returns `mlcc_status *`; NULL is success. The value owns a code, which says
// what the caller should do, and a chain of messages, innermost first. Whoever receives a status either
// passes it up (MLCC_TRY, MLCC_TRY_NOTE) or ends its life (mlcc_status_free). Only dist/cli prints.
//
// Messages are lower case, without a full stop, quote the offending value, give numbers with units and
// say what would be accepted. Notes complete "while …". Out parameters come last and are cleared first.
// Thread rule: a status belongs to one thread at a time.
#ifndef MLCC_RUNTIME_BASE_STATUS_H
#define MLCC_RUNTIME_BASE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

// clang-format off
#define MLCC_CODES(X)                                                                              \
    X(INVALID,     "invalid input")    /* the user's file or argument is wrong: fix it */          \
    X(UNSUPPORTED, "unsupported")      /* valid, but mlcc cannot do it: use another model/target */ \
    X(IO,          "input/output")     /* file trouble, disk full: may be retried */               \
    X(NO_MEMORY,   "out of memory")    /* make the problem smaller */                              \
    X(DEVICE,      "device")           /* driver or kernel launch failed */                        \
    X(MISMATCH,    "mismatch")         /* two artifacts disagree: rebuild one of them */           \
    X(CANCELLED,   "cancelled")        /* the user pressed Ctrl-C */                               \
    X(INTERNAL,    "internal error")   /* a bug in mlcc: report it */
// clang-format on

typedef enum mlcc_code {
    MLCC_OK = 0,
#define X(id, text) MLCC_##id,
    MLCC_CODES(X)
#undef X
} mlcc_code;

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mlcc_status mlcc_status;

#if defined(__GNUC__)
#    define MLCC_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#    define MLCC_NODISCARD                   __attribute__((warn_unused_result))
#else
#    define MLCC_PRINTF(format_index, first)
#    define MLCC_NODISCARD
#endif

#if defined(__GNUC__)
#    pragma GCC visibility push(default) // part of the public API (mlcc.h)
#endif
// Makes a status. Never returns NULL: when memory is short it returns a static NO_MEMORY status.
mlcc_status *mlcc_status_make(mlcc_code code, const char *file, int line, const char *format, ...)
    MLCC_PRINTF(4, 5);
// Adds one line of context ("while …") to a non-NULL status and returns it; NULL stays NULL.
mlcc_status *mlcc_status_note(mlcc_status *status, const char *format, ...) MLCC_PRINTF(2, 3);
// MLCC_OK for NULL.
mlcc_code mlcc_status_code(const mlcc_status *status);
// "invalid input", …
const char *mlcc_code_text(mlcc_code code);
// The innermost message, without notes. "" for NULL.
const char *mlcc_status_message(const mlcc_status *status);
// The whole chain as text: "error: CODE: MESSAGE\n  while NOTE\n  while NOTE\n". The caller frees it with free().
// With `with_place` a last line "  (file.c:123)" tells where it was made.
char *mlcc_status_format(const mlcc_status *status, int with_place);
// Ends the life of a status; NULL is fine.
void mlcc_status_free(mlcc_status *status);

#if defined(__GNUC__)
#    pragma GCC visibility pop
#endif

// Makes an error:  return MLCC_ERROR(INVALID, "key '%s' is missing", key);
#define MLCC_ERROR(code, ...) mlcc_status_make(MLCC_##code, __FILE__, __LINE__, __VA_ARGS__)

// Passes an error up.
#define MLCC_TRY(call) \
    do { \
        mlcc_status *mlcc_try_status = (call); \
        if (mlcc_try_status != NULL) return mlcc_try_status; \
    } while (0)

// Passes an error up with a line of context; use it at module borders only.
#define MLCC_TRY_NOTE(call, ...) \
    do { \
        mlcc_status *mlcc_try_status = (call); \
        if (mlcc_try_status != NULL) return mlcc_status_note(mlcc_try_status, __VA_ARGS__); \
    } while (0)

// For functions with a single exit:  `status` must be in scope.
#define MLCC_GOTO(call, label) \
    do { \
        status = (call); \
        if (status != NULL) goto label; \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
