// commands: one object per command of the run side. To add a command: a file cmd_<name>.c, a line here, a row in run_commands.c.
#ifndef MLCC_DIST_CLI_RUN_COMMANDS_H
#define MLCC_DIST_CLI_RUN_COMMANDS_H

#include "dist/cli/run/args.h"

extern const args_command cmd_chat, cmd_generate, cmd_embed, cmd_perplexity, cmd_tokenize,
    cmd_bench;

#endif
