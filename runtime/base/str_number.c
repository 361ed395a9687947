// Shortest decimal text of a floating-point number, in the form of Python's repr.
//
// N digits are enough when they read back to the same bits. A decimal of up to 15 digits survives
// the way through a double (6 through a float), so rounding to 15 and dropping zeros finds every
// shorter form at once; only 16 and 17 remain to be tried. Subnormal numbers have fewer bits and
// are searched from one digit on.
#include "runtime/base/str.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIGITS = 17, NUMBER_TEXT = 40 };

typedef struct decimal {
    char digits[MAX_DIGITS + 1]; // d1 d2 …, without the point and without zeros at the end
    int n_digits;
    int exponent; // value = d1.d2d3… * 10^exponent
} decimal;

static bool reads_back(const char *text, double value, bool is_f32) {
    // strtof, not (float)strtod: rounding twice is not rounding once.
    return is_f32 ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value;
}

// Adds one unit in the last digit of "d.ddde±xx"; false when that would carry out of the first
// digit.
static bool next_decimal(char *text) {
    for (char *p = strchr(text, 'e') - 1; p >= text; p--) {
        if (*p < '0' || *p > '9') continue;
        if (*p < '9') {
            (*p)++;
            return true;
        }
        *p = '0';
    }
    return false;
}

static void split(const char *text, decimal *out) {
    const char *p = text;
    out->n_digits = 0;
    for (; *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9')
            out->digits[out->n_digits++] = *p; // skips the point of any locale
    }
    out->exponent = atoi(p + 1);
    while (out->n_digits > 1 && out->digits[out->n_digits - 1] == '0') out->n_digits--;
}

// The fewest digits for a positive, finite value.
static void shortest(double value, bool is_f32, decimal *out) {
    char text[NUMBER_TEXT];
    int safe = is_f32 ? FLT_DIG : DBL_DIG;
    bool subnormal = value < (is_f32 ? (double)FLT_MIN : DBL_MIN);
    for (int n_digits = subnormal ? 1 : safe; n_digits <= MAX_DIGITS; n_digits++) {
        snprintf(text, sizeof text, "%.*e", n_digits - 1, value);
        if (reads_back(text, value, is_f32)) break;
        // At a power of two the gap below is half the gap above: the nearest decimal may fall out
        // below while the next one above is still in.
        char above[NUMBER_TEXT];
        memcpy(above, text, sizeof above);
        if (next_decimal(above) && reads_back(above, value, is_f32)) {
            memcpy(text, above, sizeof text);
            break;
        }
    }
    split(text, out);
}

static void put_float(mlcc_str *str, double value, bool is_f32) {
    if (isnan(value)) {
        mlcc_str_puts(str, "nan");
        return;
    }
    if (signbit(value)) mlcc_str_putc(str, '-');
    value = fabs(value);
    if (isinf(value)) {
        mlcc_str_puts(str, "inf");
        return;
    }
    if (value == 0.0) {
        mlcc_str_puts(str, "0.0");
        return;
    }
    decimal d;
    shortest(value, is_f32, &d);
    if (d.exponent < -4 || d.exponent >= 16) {
        mlcc_str_putc(str, d.digits[0]);
        if (d.n_digits > 1) {
            mlcc_str_putc(str, '.');
            mlcc_str_append(str, d.digits + 1, (size_t)d.n_digits - 1);
        }
        mlcc_str_printf(str, "e%c%02d", d.exponent < 0 ? '-' : '+', abs(d.exponent));
    } else if (d.exponent < 0) {
        mlcc_str_puts(str, "0.");
        for (int i = -1; i > d.exponent; i--) mlcc_str_putc(str, '0');
        mlcc_str_append(str, d.digits, (size_t)d.n_digits);
    } else {
        for (int i = 0; i <= d.exponent || i < d.n_digits; i++) {
            if (i == d.exponent + 1) mlcc_str_putc(str, '.');
            mlcc_str_putc(str, i < d.n_digits ? d.digits[i] : '0');
        }
        if (d.n_digits <= d.exponent + 1) mlcc_str_puts(str, ".0");
    }
}

void mlcc_str_put_f64(mlcc_str *str, double value) {
    put_float(str, value, false);
}

void mlcc_str_put_f32(mlcc_str *str, float value) {
    put_float(str, (double)value, true);
}
