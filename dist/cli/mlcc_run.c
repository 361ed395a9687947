// mlcc-run: the run side only, for machines that have compiled models and no compiler. Links neither LLVM nor the compiler's rooms.
#include "dist/cli/run/commands.h"

int main(int argc, char **argv) {
    static const args_command *const commands[] = {&cmd_chat,       &cmd_generate, &cmd_embed,
                                                   &cmd_perplexity, &cmd_tokenize, &cmd_bench};
    return args_main(
        "mlcc-run", "Runs models compiled by mlcc.", commands, sizeof commands / sizeof commands[0],
        argc, argv);
}
