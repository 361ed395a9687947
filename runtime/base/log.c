#include "runtime/base/log.h"

#include "runtime/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    mlcc_log_sink *sink;
    void *user;
    mlcc_log_level level;
} logger;

void mlcc_log_set(mlcc_log_sink *sink, void *user, mlcc_log_level level) {
    logger.sink = sink;
    logger.user = user;
    logger.level = level;
}

void mlcc_log(mlcc_log_level level, const char *area, const char *format, ...) {
    if (logger.sink == NULL || level > logger.level) return;
    char small[512];
    char *message = small;
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length >= sizeof small) {
        char *large = malloc((size_t)length + 1);
        if (large != NULL) { // else the cut message must do
            vsnprintf(large, (size_t)length + 1, format, again);
            message = large;
        }
    }
    va_end(again);
    if (length >= 0) {
        mlcc_text_make_plain(message);
        logger.sink(logger.user, level, area, message);
    }
    if (message != small) free(message);
}
