// str: text that grows. One builder type, heap-backed; always NUL-terminated, may hold NUL bytes inside.
//
//   mlcc_str s = {0};                       an empty builder is all zeros
//   mlcc_str_printf(&s, "%d items", n);
//   … s.data, s.length …
//   mlcc_str_free(&s);
//
// Appending stops the program when memory ends (it is used by the compiler, the commands and at load time, never while decoding).
#ifndef MLCC_RUNTIME_BASE_STR_H
#define MLCC_RUNTIME_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_str {
    char *data; // NULL while empty
    size_t length;
    size_t capacity;
} mlcc_str;

void mlcc_str_free(mlcc_str *str);
void mlcc_str_clear(mlcc_str *str); // length 0, memory kept
void mlcc_str_append(mlcc_str *str, const char *data, size_t length);
void mlcc_str_puts(mlcc_str *str, const char *text);
void mlcc_str_putc(mlcc_str *str, char byte);
void mlcc_str_printf(mlcc_str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *mlcc_str_text(const mlcc_str *str); // "" while empty
// The shortest decimal digits that read back to the same bits, always with '.' or 'e' ("1.0", "1e-05", "0.1"); inf and nan spelled so.
void mlcc_str_put_f64(mlcc_str *str, double value);
void mlcc_str_put_f32(mlcc_str *str, float value);
// Quoted and escaped as a JSON string, everything outside printable ASCII as \uXXXX when ascii_only.
void mlcc_str_put_json(mlcc_str *str, const char *data, size_t length, bool ascii_only);

bool mlcc_text_starts_with(const char *text, const char *prefix);
bool mlcc_text_ends_with(const char *text, const char *suffix);
// Makes text that may quote a file fit to be shown: control characters, which a terminal would obey, become '?'; only '\n' and '\t' stay.
void mlcc_text_make_plain(char *text);
// The candidate nearest to `text` by edit distance, or NULL when none is near: for "did you mean".
const char *mlcc_text_nearest(const char *text, const char *const *candidates, size_t n_candidates);

// Checked arithmetic for sizes that come from files or requests; false on overflow (result then undefined).
bool mlcc_size_add(size_t a, size_t b, size_t *sum);
bool mlcc_size_mul(size_t a, size_t b, size_t *product);
bool mlcc_i64_mul(int64_t a, int64_t b, int64_t *product);

#endif
