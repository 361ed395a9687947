// chat: a conversation with a compiled model, on a terminal or through a pipe.
#include "dist/cli/run/chat_input.h"
#include "dist/cli/run/chat_session.h"
#include "dist/cli/run/commands.h"
#include "dist/cli/run/console.h"
#include "dist/cli/run/open_model.h"
#include "dist/cli/run/template_args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const args_option options[] = {
    {.name = "system", .kind = ARGS_TEXT, .value_name = "TEXT", .help = "the system message; without it the template's own is used"},
    {.name = "set", .kind = ARGS_TEXT, .value_name = "K=V;K=V", .help = "how tokens are chosen, as /set: temperature, top_p, top_k, min_p, repetition_penalty,\npresence_penalty, frequency_penalty, max_tokens, seed, stop (strings between commas)"},
    {.name = "prompt", .letter = 'p', .kind = ARGS_TEXT, .value_name = "TEXT", .help = "ask this, print the answer, and end"},
    {.name = "load", .kind = ARGS_TEXT, .value_name = "FILE", .help = "go on with a conversation that /save wrote"},
    TEMPLATE_OPTIONS,
    OPEN_MODEL_OPTIONS,
};
// clang-format on

typedef struct chat {
    mlcc_model *model;
    chat_session *session;
    chat_settings settings;
    chat_input *input;
    chat_figures last;
    bool has_answered;
} chat;

// ---- one question ---------------------------------------------------------------------------------------------

static mlcc_status *print_text(void *user, const char *text, size_t length) {
    (void)user;
    if (fwrite(text, 1, length, stdout) != length || fflush(stdout) != 0)
        return MLCC_ERROR(IO, "cannot write to standard output: %s", strerror(errno));
    return NULL;
}

static void print_end(const chat_figures *figures) {
    static const char *const texts[] = {
        [CHAT_STOPPED] = NULL,
        [CHAT_LENGTH] = "(the answer reached max_tokens; /set max_tokens=0 lifts the limit)",
        [CHAT_WINDOW_FULL] = "(the context window is full; /undo or /reset makes room)",
        [CHAT_INTERRUPTED] = "(stopped)",
    };
    if (texts[figures->end] != NULL) fprintf(stderr, "%s\n", texts[figures->end]);
}

// On a terminal Ctrl-C never ends the program: it stops an answer or takes a line back.
static void catch_interrupts(const chat *c, bool is_answering) {
    const bool is_terminal = c->input != NULL && chat_input_is_terminal(c->input);
    console_interrupt_catch(is_answering || is_terminal);
}

typedef mlcc_status *chat_answer_fn(
    chat_session *session, const chat_settings *settings, const volatile sig_atomic_t *interrupted,
    chat_sink *sink, void *user, chat_figures *figures);

static mlcc_status *answer(chat *c, chat_answer_fn *give) {
    chat_figures figures;
    catch_interrupts(c, true);
    mlcc_status *status =
        give(c->session, &c->settings, console_interrupted(), print_text, NULL, &figures);
    catch_interrupts(c, false);
    if (status != NULL) return status;
    putchar('\n');
    fflush(stdout);
    print_end(&figures);
    c->last = figures;
    c->has_answered = true;
    return NULL;
}

static mlcc_status *ask_as(chat *c, const char *role, const char *text, size_t length) {
    MLCC_TRY(chat_session_add(c->session, role, text, length));
    mlcc_status *status = answer(c, chat_session_answer);
    // The question that could not be answered must not stand in front of the next one.
    if (status != NULL) chat_session_undo(c->session);
    return status;
}

static mlcc_status *ask(chat *c, const char *text, size_t length) {
    return ask_as(c, "user", text, length);
}

// ---- slash commands -------------------------------------------------------------------------------------------

typedef struct slash {
    const char *name, *operand, *help;
    mlcc_status *(*run)(chat *c, const char *operand);
} slash;

static mlcc_status *slash_help(chat *c, const char *operand);

static mlcc_status *slash_stats(chat *c, const char *operand) {
    (void)operand;
    const chat_figures *f = &c->last;
    if (!c->has_answered) {
        fprintf(stderr, "nothing was asked yet\n");
        return NULL;
    }
    const int64_t n_read = f->n_prompt_tokens - f->n_reused_tokens;
    // The first new token is the prefill's.
    const double decode =
        f->decode_s > 0 && f->n_new_tokens > 1 ? (double)(f->n_new_tokens - 1) / f->decode_s : 0.0;
    fprintf(
        stderr, "prefill: %.1f tok/s, decode: %.1f tok/s\n",
        f->prefill_s > 0 ? (double)n_read / f->prefill_s : 0.0, decode);
    fprintf(
        stderr,
        "the last answer has %lld tokens; of %lld before it %lld were in the cache, %lld were "
        "read in %.2f s\n",
        (long long)f->n_new_tokens, (long long)f->n_prompt_tokens, (long long)f->n_reused_tokens,
        (long long)n_read, f->prefill_s);
    return NULL;
}

static mlcc_status *slash_reset(chat *c, const char *operand) {
    (void)operand;
    chat_session_reset(c->session);
    fprintf(stderr, "the conversation is empty\n");
    return NULL;
}

static mlcc_status *slash_set(chat *c, const char *operand) {
    if (*operand != '\0') return chat_settings_set(&c->settings, operand);
    mlcc_str out = {0};
    chat_settings_print(&c->settings, &out);
    fputs(mlcc_str_text(&out), stderr);
    mlcc_str_free(&out);
    return NULL;
}

static mlcc_status *slash_system(chat *c, const char *operand) {
    MLCC_TRY(chat_session_set_system(c->session, *operand != '\0' ? operand : NULL));
    fprintf(
        stderr, *operand != '\0' ? "the system message is set\n"
                                 : "the system message is the template's own\n");
    return NULL;
}

static mlcc_status *set_file(chat *c, mlcc_chat_input input, const char *operand) {
    mlcc_arena *keep;
    mlcc_conversation *conversation = chat_session_template(c->session, &keep);
    const bool is_given = *operand != '\0';
    MLCC_TRY(template_args_set_file(conversation, input, is_given ? operand : NULL, keep));
    fprintf(stderr, is_given ? "from the next question on\n" : "taken away\n");
    return NULL;
}

static mlcc_status *slash_tools(chat *c, const char *operand) {
    return set_file(c, MLCC_CHAT_TOOLS, operand);
}

static mlcc_status *slash_documents(chat *c, const char *operand) {
    return set_file(c, MLCC_CHAT_DOCUMENTS, operand);
}

static mlcc_status *slash_template(chat *c, const char *operand) {
    mlcc_arena *keep;
    mlcc_conversation *conversation = chat_session_template(c->session, &keep);
    const char *json = *operand != '\0' ? operand : NULL;
    return mlcc_conversation_set_input(
        conversation, MLCC_CHAT_VARIABLES, json, strlen(operand), "/template", keep);
}

// What a tool answered, which the model goes on from.
static mlcc_status *slash_tool(chat *c, const char *operand) {
    if (*operand == '\0') return MLCC_ERROR(INVALID, "/tool needs the tool's answer");
    return ask_as(c, "tool", operand, strlen(operand));
}

static mlcc_status *slash_save(chat *c, const char *operand) {
    if (*operand == '\0') return MLCC_ERROR(INVALID, "/save needs the name of a file");
    MLCC_TRY(chat_session_save(c->session, operand));
    fprintf(stderr, "%zu messages are in %s\n", chat_session_n_messages(c->session), operand);
    return NULL;
}

static mlcc_status *slash_load(chat *c, const char *operand) {
    if (*operand == '\0') return MLCC_ERROR(INVALID, "/load needs the name of a file");
    MLCC_TRY(chat_session_load(c->session, operand));
    fprintf(stderr, "%zu messages from %s\n", chat_session_n_messages(c->session), operand);
    return NULL;
}

static mlcc_status *slash_undo(chat *c, const char *operand) {
    (void)operand;
    fprintf(
        stderr, chat_session_undo(c->session) ? "the last question is taken back\n"
                                              : "there is no question to take back\n");
    return NULL;
}

static mlcc_status *slash_regen(chat *c, const char *operand) {
    (void)operand;
    return answer(c, chat_session_regenerate);
}

// clang-format off
static const slash slashes[] = {
    {"/help",   NULL,      "this list",                                                                   slash_help},
    {"/exit",   NULL,      "leave; so does Ctrl-D",                                                       NULL},
    {"/stats",  NULL,      "how fast the last answer came, and what of the conversation the cache held",  slash_stats},
    {"/reset",  NULL,      "forget the conversation",                                                     slash_reset},
    {"/set",    "K=V;K=V", "temperature, top_p, max_tokens, seed, stop, …; alone: shows them",             slash_set},
    {"/system", "TEXT",    "the system message; alone: the template's own",                               slash_system},
    {"/tools",  "FILE",    "functions that the model may call, as JSON; alone: none",                     slash_tools},
    {"/documents", "FILE", "texts that it may look things up in, as JSON; alone: none",                   slash_documents},
    {"/template", "JSON",  "more variables of the template: {\"enable_thinking\": false}; alone: none",   slash_template},
    {"/tool",   "TEXT",    "what a tool answered",                                                        slash_tool},
    {"/save",   "FILE",    "write the conversation as JSON",                                              slash_save},
    {"/load",   "FILE",    "read one",                                                                    slash_load},
    {"/regen",  NULL,      "another answer to the last question",                                         slash_regen},
    {"/undo",   NULL,      "take the last question and its answer back",                                  slash_undo},
};
// clang-format on
enum { N_SLASHES = sizeof slashes / sizeof slashes[0] };

static mlcc_status *slash_help(chat *c, const char *operand) {
    (void)c;
    (void)operand;
    for (size_t i = 0; i < N_SLASHES; i++) {
        const slash *s = &slashes[i];
        fprintf(
            stderr, "  %-10s %-8s %s\n", s->name, s->operand != NULL ? s->operand : "", s->help);
    }
    fputs(
        "  \"\"\"                 begins and ends a message of several lines\n"
        "  Ctrl-C              stops the answer, nothing else\n",
        stderr);
    return NULL;
}

// Splits "/set  a=b" in place and finds its row.
static mlcc_status *find_slash(char *line, const slash **found, const char **operand) {
    char *end = line + strcspn(line, " \t");
    *operand = end + strspn(end, " \t");
    *end = '\0';
    const char *names[N_SLASHES];
    for (size_t i = 0; i < N_SLASHES; i++) {
        names[i] = slashes[i].name;
        if (strcmp(names[i], line) == 0) *found = &slashes[i];
    }
    if (*found == NULL) {
        const char *near = mlcc_text_nearest(line, names, N_SLASHES);
        return MLCC_ERROR(
            INVALID, "there is no command '%s'; %s%s%s/help lists them", line,
            near != NULL ? "did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'? " : "");
    }
    if (**operand != '\0' && (*found)->operand == NULL)
        return MLCC_ERROR(INVALID, "%s takes nothing behind it", (*found)->name);
    return NULL;
}

// *leaves: /exit.
static mlcc_status *run_line(chat *c, const mlcc_str *line, bool *leaves) {
    if (line->length == 0) return NULL;
    if (line->data[0] != '/') return ask(c, line->data, line->length);
    char *copy = strdup(line->data);
    if (copy == NULL) return MLCC_ERROR(NO_MEMORY, "cannot copy the command");
    const slash *row = NULL;
    const char *operand = "";
    mlcc_status *status = find_slash(copy, &row, &operand);
    if (status == NULL) {
        *leaves = row->run == NULL;
        if (row->run != NULL) status = row->run(c, operand);
    }
    free(copy);
    return status;
}

// ---- the command ----------------------------------------------------------------------------------------------

static mlcc_status *converse(chat *c) {
    mlcc_str line = {0};
    mlcc_status *status = NULL;
    bool leaves = false;
    const bool is_terminal = chat_input_is_terminal(c->input);
    catch_interrupts(c, false);
    if (is_terminal) fprintf(stderr, "/help lists the commands, Ctrl-D leaves\n");
    while (!leaves) {
        chat_read what = CHAT_READ_END;
        status = chat_input_read(c->input, &line, &what);
        if (status != NULL || what == CHAT_READ_END) break;
        if (what == CHAT_READ_CANCELLED) continue;
        status = run_line(c, &line, &leaves);
        if (status == NULL) continue;
        // A person reads what was wrong and goes on; a script must not take the next line for an answer to it.
        if (!is_terminal || mlcc_status_code(status) == MLCC_INTERNAL) break;
        console_print_status(status);
        mlcc_status_free(status);
        status = NULL;
    }
    mlcc_str_free(&line);
    return status;
}

static mlcc_status *prepare(const args_values *values, chat *c) {
    const char *directory = args_operand(values, 0);
    MLCC_TRY(open_model_check_directory(directory));
    MLCC_TRY(chat_settings_read(directory, &c->settings));
    if (args_given(values, "set"))
        MLCC_TRY_NOTE(chat_settings_set(&c->settings, args_text(values, "set")), "reading --set");
    MLCC_TRY(open_model(directory, values, &c->model));
    MLCC_TRY(chat_session_open(directory, c->model, args_flag(values, "no-cache"), &c->session));
    mlcc_arena *keep;
    mlcc_conversation *conversation = chat_session_template(c->session, &keep);
    MLCC_TRY(template_args_apply(values, keep, conversation));
    if (args_given(values, "load"))
        MLCC_TRY(chat_session_load(c->session, args_text(values, "load")));
    if (args_given(values, "system"))
        MLCC_TRY(chat_session_set_system(c->session, args_text(values, "system")));
    return NULL;
}

static mlcc_status *run_chat(const args_values *values) {
    chat c = {0};
    mlcc_status *status = prepare(values, &c);
    const char *prompt = args_text(values, "prompt");
    if (status == NULL && prompt != NULL) {
        status = ask(&c, prompt, strlen(prompt));
    } else if (status == NULL) {
        status = chat_input_open(&c.input);
        if (status == NULL) status = converse(&c);
    }
    chat_input_close(c.input);
    chat_session_close(c.session);
    mlcc_model_close(c.model);
    chat_settings_free(&c.settings);
    // Whoever asked one thing and stopped it has ended the program; a script sees it from the exit code.
    if (status == NULL && prompt != NULL && c.last.end == CHAT_INTERRUPTED) console_interrupt_end();
    return status;
}

const args_command cmd_chat = {
    .name = "chat",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "talk with a compiled model",
    .details =
        "DIR is a model directory: configuration and tokenizer (gen_config), weights "
        "(convert_weight) and lib.so (compile).\n"
        "The directory's conversation template makes the prompt. What was said before stays in the "
        "KV cache, so a follow-up costs its own tokens only.\n"
        "/help lists what can be typed beside questions; Ctrl-C stops an answer. Input may come "
        "from a pipe: a line is a question, an error ends it.\n\n"
        "examples\n  mlcc chat ./model --system 'You answer in one sentence.' --set "
        "'temperature=0.7;max_tokens=200'\n"
        "  mlcc chat ./model --prompt 'What is a compiler?' --set temperature=0",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .run = run_chat,
};
