#include "dist/cli/run/roofline.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

// Of the document, and of the plot inside it; pixels.
enum { WIDTH = 1000, HEIGHT = 560, LEFT = 80, RIGHT = 660, TOP = 50, BOTTOM = 500, LINE = 17 };

static const char *const colours[] = {"#0b62a4", "#c2410c", "#15803d", "#7e22ce"};

// The ends of an axis: powers of ten.
typedef struct axis {
    double from, to;
    int low, high; // pixels of the ends
} axis;

static double place(const axis *a, double value) {
    const double part = log10(value / a->from) / log10(a->to / a->from);
    return a->low + part * (a->high - a->low);
}

static void widen(axis *a, double value) {
    if (value < a->from) a->from = pow(10.0, floor(log10(value)));
    if (value > a->to) a->to = pow(10.0, ceil(log10(value)));
}

static void put_escaped(mlcc_str *out, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': mlcc_str_puts(out, "&amp;"); break;
        case '<': mlcc_str_puts(out, "&lt;"); break;
        case '>': mlcc_str_puts(out, "&gt;"); break;
        default: mlcc_str_append(out, text, 1);
        }
    }
}

// `style`: attributes beside the place.
static void put_text(mlcc_str *out, double x, double y, const char *style, const char *text) {
    mlcc_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, style);
    put_escaped(out, text);
    mlcc_str_puts(out, "</text>\n");
}

static void put_line(mlcc_str *out, double x1, double y1, double x2, double y2, const char *style) {
    mlcc_str_printf(
        out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style);
}

static void put_axes(mlcc_str *out, const axis *x, const axis *y) {
    static const char grid[] = "stroke=\"#e2e8f0\"";
    char number[32];
    for (double tick = x->from; tick < x->to * 1.5; tick *= 10.0) {
        put_line(out, place(x, tick), TOP, place(x, tick), BOTTOM, grid);
        snprintf(number, sizeof number, "%g", tick);
        put_text(out, place(x, tick), BOTTOM + LINE, "text-anchor=\"middle\"", number);
    }
    for (double tick = y->from; tick < y->to * 1.5; tick *= 10.0) {
        put_line(out, LEFT, place(y, tick), RIGHT, place(y, tick), grid);
        snprintf(number, sizeof number, "%g", tick);
        put_text(out, LEFT - 8, place(y, tick) + 4, "text-anchor=\"end\"", number);
    }
    put_text(
        out, (LEFT + RIGHT) / 2.0, BOTTOM + 2.4 * LINE, "text-anchor=\"middle\"",
        "operations per byte");
    mlcc_str_printf(
        out,
        "<text transform=\"translate(%d %d) rotate(-90)\" text-anchor=\"middle\">10^9 operations "
        "per second</text>\n",
        LEFT - 55, (TOP + BOTTOM) / 2);
}

static double highest_roof(const roofline *r) {
    double highest = 0.0;
    for (size_t i = 0; i < r->n_roofs; i++) highest = fmax(highest, r->roofs[i].gop_per_s);
    return highest;
}

static void put_roofs(const roofline *r, mlcc_str *out, const axis *x, const axis *y) {
    static const char roof[] = "stroke=\"#334155\" stroke-width=\"2\"";
    char text[96];
    for (size_t i = 0; i < r->n_roofs; i++) {
        const roofline_roof *level = &r->roofs[i];
        const double height = place(y, level->gop_per_s);
        put_line(
            out, place(x, fmax(level->gop_per_s / r->gb_per_s, x->from)), height, RIGHT, height,
            roof);
        snprintf(text, sizeof text, "%s: %.0f", level->name, level->gop_per_s);
        put_text(out, RIGHT - 4, height - 5, "text-anchor=\"end\" fill=\"#334155\"", text);
    }
    // The memory's roof starts where the plot does: at its left end, or at its bottom.
    const double start = fmax(x->from, y->from / r->gb_per_s);
    const double end = fmin(x->to, highest_roof(r) / r->gb_per_s);
    snprintf(text, sizeof text, "memory read: %.1f GB/s", r->gb_per_s);
    put_text(out, LEFT + 8, TOP + LINE, "fill=\"#334155\"", text);
    if (start >= end) return;
    put_line(
        out, place(x, start), place(y, start * r->gb_per_s), place(x, end),
        place(y, end * r->gb_per_s), roof);
}

// A series' numbers stand on one side of its points, the next series' on the other, each below the one before.
static void put_series(
    const roofline_series *series, const char *colour, bool to_the_left, int number, mlcc_str *out,
    const axis *x, const axis *y) {
    char text[32], style[80];
    double last_x = 0.0, last_y = 0.0;
    snprintf(
        style, sizeof style, "fill=\"%s\" text-anchor=\"%s\"", colour,
        to_the_left ? "end" : "start");
    for (size_t i = 0; i < series->n_points; i++) {
        const roofline_point *point = &series->points[i];
        const double at_x = place(x, point->operations_per_byte);
        const double at_y = place(y, point->gop_per_s);
        double text_y = at_y + 4;
        if (i > 0 && fabs(at_x - last_x) < 2 * LINE && text_y < last_y + LINE * 0.65)
            text_y = last_y + LINE * 0.65;
        mlcc_str_printf(
            out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" fill-opacity=\"0.7\"/>\n",
            at_x, at_y, 3.0 + 8.0 * sqrt(point->share), colour);
        snprintf(text, sizeof text, "%d", number++);
        put_text(out, to_the_left ? at_x - 12 : at_x + 12, text_y, style, text);
        last_x = at_x;
        last_y = text_y;
    }
}

// Every series with its points' names beside the plot.
static void put_points(const roofline *r, mlcc_str *out, const axis *x, const axis *y) {
    char text[96], style[80];
    int number = 1;
    double line = TOP + LINE;
    for (size_t s = 0; s < r->n_series; s++) {
        const roofline_series *series = &r->series[s];
        const char *colour = colours[s % (sizeof colours / sizeof colours[0])];
        put_series(series, colour, s % 2 == 1, number, out, x, y);
        snprintf(style, sizeof style, "fill=\"%s\" font-weight=\"bold\"", colour);
        snprintf(text, sizeof text, "%.40s, share of its time", series->name);
        put_text(out, RIGHT + 30, line, style, text);
        line += LINE;
        for (size_t i = 0; i < series->n_points; i++, line += LINE) {
            const roofline_point *point = &series->points[i];
            snprintf(
                text, sizeof text, "%d  %.50s, %.0f %%", number++, point->label,
                point->share * 100);
            put_text(out, RIGHT + 30, line, "fill=\"#0f172a\"", text);
        }
        line += LINE / 2;
    }
}

void roofline_svg(const roofline *r, mlcc_str *out) {
    axis x = {1.0, 10.0, LEFT, RIGHT}, y = {1.0, 10.0, BOTTOM, TOP};
    for (size_t s = 0; s < r->n_series; s++) {
        for (size_t i = 0; i < r->series[s].n_points; i++) {
            widen(&x, r->series[s].points[i].operations_per_byte);
            widen(&y, r->series[s].points[i].gop_per_s);
        }
    }
    // All corners are seen, and the names of the level roofs beside them.
    widen(&x, 20.0 * highest_roof(r) / r->gb_per_s);
    widen(&y, 1.2 * highest_roof(r));
    mlcc_str_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_text(out, LEFT, TOP - 22, "font-size=\"15\" font-weight=\"bold\"", r->title);
    put_axes(out, &x, &y);
    put_roofs(r, out, &x, &y);
    put_points(r, out, &x, &y);
    mlcc_str_puts(out, "</svg>\n");
}
