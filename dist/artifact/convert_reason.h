// convert_reason: why a format does not take a quantized weight as it is, in words.
#ifndef MLCC_DIST_ARTIFACT_CONVERT_REASON_H
#define MLCC_DIST_ARTIFACT_CONVERT_REASON_H

#include "quantization/format.h"

// `rows` are the first rows that were refused; NULL: the sources of one range cannot be joined.
const char *convert_reason(
    const quant_format *format, const quant_canon *canon, const quant_canon_rows *rows);

#endif
