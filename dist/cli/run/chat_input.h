// chat_input: what a person types, or a pipe brings: the only door to libedit.
//
// On a terminal lines are edited and remembered (arrow keys, Ctrl-R); history lies in $XDG_STATE_HOME/mlcc/chat_history or
// ~/.local/state/mlcc/chat_history, readable for the user alone. From a pipe lines are read as they are and no prompt is shown.
#ifndef MLCC_DIST_CLI_RUN_CHAT_INPUT_H
#define MLCC_DIST_CLI_RUN_CHAT_INPUT_H

#include "runtime/base/status.h"
#include "runtime/base/str.h"

#include <stdbool.h>

typedef struct chat_input chat_input;

typedef enum chat_read { CHAT_READ_LINE, CHAT_READ_CANCELLED, CHAT_READ_END } chat_read;

mlcc_status *chat_input_open(chat_input **out);
void chat_input_close(chat_input *input); // writes the history
bool chat_input_is_terminal(const chat_input *input);

// The next message, without its newline: a line, or what stands between two """ on lines of their own or at a line's ends. Escape + Enter
// puts a newline into a line. CANCELLED: Ctrl-C took the line back (terminal only). END: Ctrl-D, or the pipe has ended.
// Errors: a message above 16 MiB, IO.
mlcc_status *chat_input_read(chat_input *input, mlcc_str *text, chat_read *result);

#endif
