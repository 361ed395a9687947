// mlcc: the program that holds every command. To add one: a file cmd_<name>.c in run/ (runs models) or compile/ (makes them), its object in that
// folder's commands.h, a row here (and in mlcc_run.c if it is of the run side), a folder of tests in tests/cli.
#include "dist/cli/compile/commands.h"
#include "dist/cli/run/commands.h"

int main(int argc, char **argv) {
    static const args_command *const commands[] = {
        &cmd_gen_config, &cmd_convert_weight, &cmd_compile,    &cmd_calibrate, &cmd_chat,
        &cmd_generate,   &cmd_embed,          &cmd_perplexity, &cmd_tokenize,  &cmd_bench_compile,
        &cmd_inspect,    &cmd_diff,           &cmd_opt,
    };
    return args_main(
        "mlcc",
        "An ahead-of-time compiler for large language models: a Hugging Face model folder goes in, "
        "one self-contained\n"
        "lib.so comes out, and text comes out of that.\n\n"
        "  mlcc gen_config HF_DIR --quantization q4f16_1 --conv-template LM -o DIR\n"
        "  mlcc convert_weight HF_DIR --quantization q4f16_1 -o DIR\n"
        "  mlcc compile DIR -o DIR/lib.so\n"
        "  mlcc generate DIR --prompt 'Once upon a time'",
        commands, sizeof commands / sizeof commands[0], argc, argv);
}
