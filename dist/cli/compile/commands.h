// commands: one object per command of the compile side. To add a command: a file cmd_<name>.c, a line here, a row in mlcc.c.
#ifndef MLCC_DIST_CLI_COMPILE_COMMANDS_H
#define MLCC_DIST_CLI_COMPILE_COMMANDS_H

#include "dist/cli/run/args.h"

extern const args_command cmd_gen_config, cmd_convert_weight, cmd_compile, cmd_bench_compile,
    cmd_inspect, cmd_opt, cmd_diff, cmd_calibrate;

#endif
