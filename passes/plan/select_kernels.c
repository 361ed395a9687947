// select_kernels: every call becomes a launch with the kernel that the target chooses for its group.
//
//     %3 = call %0, @w {callee = "linear"}   becomes   %3 = launch %0, @w {callee = "linear", kernel = "linear_panel16__x86_avx512"}
//
// Equal groups are one function, so the target is asked once per group, and every layer shares the compiled code.
// Needs: fused level with calls only. Leaves: plan level. Cost: one question per group.
#include "ir/builder.h"
#include "ir/text.h"
#include "ir/walk.h"
#include "passes/pass.h"

static mlcc_status *choose(ir_function *group, pass_context *context, const char **kernel) {
    mlcc_str why = {0};
    mlcc_status *status =
        context->target->choose_kernel(context->target->user, group, kernel, &why);
    if (context->explain != NULL) {
        mlcc_str_printf(
            context->explain, "%s: %s\n%s", group->name, status == NULL ? *kernel : "no kernel",
            mlcc_str_text(&why));
    }
    mlcc_str_free(&why);
    return mlcc_status_note(status, "choosing a kernel for group @%s", group->name);
}

static mlcc_status *lower_call(ir_node *call, const char *kernel) {
    ir_attr attrs[2] = {
        {.name = "callee", .kind = IR_ATTR_TEXT, .as.text = ir_attr_text(call, "callee")},
        {.name = "kernel", .kind = IR_ATTR_TEXT, .as.text = kernel},
    };
    ir_build b = ir_build_start(call->function);
    b.before = call;
    ir_node *launch =
        ir_build_node(&b, IR_OP_LAUNCH, call->operands, call->n_operands, attrs, 2, IR_N_DTYPES);
    MLCC_TRY(b.status);
    for (int32_t r = 0; r < call->n_results; r++) {
        ir_value_replace(call->function, call->results[r], launch->results[r]);
    }
    ir_node_erase(call);
    return NULL;
}

static mlcc_status *no_call(const ir_node *node) {
    mlcc_str text = {0};
    ir_print_node(node, &text);
    mlcc_status *status = MLCC_ERROR(INTERNAL, "belongs to no group: %s", mlcc_str_text(&text));
    mlcc_str_free(&text);
    return status;
}

// `kernels` lies beside module->functions.
static mlcc_status *lower_function(ir_function *function, const char *const *kernels) {
    const ir_module *module = function->module;
    for (ir_node *node = function->first, *next; node != NULL; node = next) {
        next = node->next;
        if (node->op != IR_OP_CALL) return no_call(node);
        const ir_function *callee = ir_module_find(module, ir_attr_text(node, "callee"));
        size_t index = 0;
        while (module->functions[index] != callee) index++;
        MLCC_TRY(lower_call(node, kernels[index]));
    }
    return NULL;
}

mlcc_status *pass_select_kernels(ir_module *module, pass_context *context) {
    if (context->target == NULL) {
        return MLCC_ERROR(
            INVALID, "no target is given; pass --target, for example --target native");
    }
    const char **kernels = MLCC_NEW_ARRAY(context->scratch, const char *, module->n_functions);
    for (size_t f = 0; f < module->n_functions; f++) {
        if (!module->functions[f]->is_group) continue;
        MLCC_TRY(choose(module->functions[f], context, &kernels[f]));
    }
    for (size_t f = 0; f < module->n_functions; f++) {
        if (module->functions[f]->is_group) continue;
        MLCC_TRY(lower_function(module->functions[f], kernels));
    }
    module->level = IR_LEVEL_PLAN;
    return NULL;
}
