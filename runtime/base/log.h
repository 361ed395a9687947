// log: what the library wants to say goes to a callback of the host program; silent by default.
// Levels mean: error (something failed), warn (it goes on, but look), info (once per phase), debug (once per pass or request), trace (once per node or step).
#ifndef MLCC_RUNTIME_BASE_LOG_H
#define MLCC_RUNTIME_BASE_LOG_H

typedef enum mlcc_log_level {
    MLCC_LOG_ERROR,
    MLCC_LOG_WARN,
    MLCC_LOG_INFO,
    MLCC_LOG_DEBUG,
    MLCC_LOG_TRACE
} mlcc_log_level;
typedef void mlcc_log_sink(void *user, mlcc_log_level level, const char *area, const char *message);

// Process-wide. `sink` NULL silences. Call before threads start.
void mlcc_log_set(mlcc_log_sink *sink, void *user, mlcc_log_level level);
// `area` is the room or pass: "passes", "convert_weight".
void mlcc_log(mlcc_log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
