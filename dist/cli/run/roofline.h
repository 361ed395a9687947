// roofline: a drawing of what was reached beside what the machine allows: operations a second over operations per byte, both logarithmic. The
// slanted roof is the memory, the level ones are arithmetic units.
#ifndef MLCC_DIST_CLI_RUN_ROOFLINE_H
#define MLCC_DIST_CLI_RUN_ROOFLINE_H

#include "runtime/base/str.h"

#include <stddef.h>

typedef struct roofline_roof {
    const char *name;
    double gop_per_s;
} roofline_roof;

typedef struct roofline_point {
    const char *label;
    double operations_per_byte, gop_per_s;
    double share; // of its series' time, 0 to 1; drawn larger
} roofline_point;

// Points of one colour, with a heading in the list beside the drawing; the fastest first.
typedef struct roofline_series {
    const char *name;
    const roofline_point *points;
    size_t n_points;
} roofline_series;

typedef struct roofline {
    const char *title;
    double gb_per_s;
    const roofline_roof *roofs;
    size_t n_roofs;
    const roofline_series *series; // at most four colours
    size_t n_series;
} roofline;

// Appends a whole SVG document. Texts are escaped; rates and points are above zero, there is one roof or more.
void roofline_svg(const roofline *r, mlcc_str *out);

#endif
