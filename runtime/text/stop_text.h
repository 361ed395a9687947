// stop_text: ends an answer at the first of some strings, however the pieces of the answer cut it.
//
// Text comes in as it is decoded and goes out as soon as it cannot be part of a stop string any more. The stop string itself and what
// follows never come out. Of strings that begin at the same place the shortest ends the text first; else the one that begins first.
#ifndef MLCC_RUNTIME_TEXT_STOP_TEXT_H
#define MLCC_RUNTIME_TEXT_STOP_TEXT_H

#include "runtime/text/buffer.h"
#include "runtime/text/conversation.h"

#include <stdbool.h>
#include <stddef.h>

// All zeros but for `stops`: ready.
typedef struct mlcc_stop_text {
    const mlcc_text *stops; // [n_stops], must outlive it; empty strings stop nothing
    size_t n_stops;
    mlcc_bytes held; // may become a stop string
    bool is_stopped;
} mlcc_stop_text;

// Appends to `out` what is certain. After a stop nothing comes out any more.
void mlcc_stop_text_push(mlcc_stop_text *stop, const char *text, size_t length, mlcc_bytes *out);
// The text has ended: what was held back comes out, unless a stop string was found.
void mlcc_stop_text_finish(mlcc_stop_text *stop, mlcc_bytes *out);
void mlcc_stop_text_free(mlcc_stop_text *stop); // what was held

#endif
