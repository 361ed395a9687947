#include "dist/artifact/compile_metadata.h"

#include "codegen/artifact.h"
#include "dist/artifact/tensor_cache_write.h"
#include "ir/fingerprint.h"
#include "passes/analysis/cost.h"
#include "quantization/format.h"
#include "runtime/abi.h"
#include "runtime/base/json.h"

#include <string.h>

static void put_i64(mlcc_json_writer *json, const char *key, int64_t value) {
    mlcc_json_key(json, key);
    mlcc_json_put_i64(json, value);
}

static void put_text(mlcc_json_writer *json, const char *key, const char *value) {
    mlcc_json_key(json, key);
    mlcc_json_put_text(json, value);
}

// One stored tensor, as MLC's loader wants to see it. Shapes are those of one worker, which is all
// there is; nothing is done to them at load time that MLC would have to know (device layouts are
// prepared by functions in lib.so).
static void put_param_piece(mlcc_json_writer *json, const char *name, const quant_piece *piece) {
    mlcc_json_begin_object(json);
    put_text(json, "name", name);
    mlcc_json_key(json, "shape");
    mlcc_json_begin_array(json);
    for (int32_t i = 0; i < piece->rank; i++) mlcc_json_put_i64(json, piece->dims[i]);
    mlcc_json_end(json);
    put_text(json, "dtype", artifact_dtype_name(piece->dtype));
    mlcc_json_key(json, "preprocs");
    mlcc_json_begin_array(json);
    mlcc_json_end(json);
    mlcc_json_key(json, "pipeline_stages");
    mlcc_json_begin_array(json);
    mlcc_json_put_i64(json, 0);
    mlcc_json_end(json);
    mlcc_json_end(json);
}

static mlcc_status *put_params(
    mlcc_json_writer *json, const ir_module *module, mlcc_arena *scratch) {
    mlcc_json_key(json, "params");
    mlcc_json_begin_array(json);
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        quant_piece pieces[QUANT_MAX_PIECES];
        int32_t n_pieces = 0;
        MLCC_TRY(quant_format_of(param->value.type.dtype)
                     ->pieces(&param->value.type, pieces, &n_pieces));
        for (int32_t j = 0; j < n_pieces; j++)
            put_param_piece(
                json, quant_piece_name(scratch, param->value.name, &pieces[j]), &pieces[j]);
    }
    mlcc_json_end(json);
    return NULL;
}

static void put_mlc_keys(mlcc_json_writer *json, const compile_facts *facts) {
    const hf_model_config *config = facts->config;
    put_text(json, "model_type", config->model_type);
    put_text(json, "quantization", facts->mode->name);
    put_i64(json, "context_window_size", config->context_window_size);
    put_i64(json, "sliding_window_size", config->sliding_window_size);
    put_i64(json, "attention_sink_size", config->attention_sink_size);
    put_i64(json, "prefill_chunk_size", facts->max_tokens);
    put_i64(json, "tensor_parallel_shards", config->tensor_parallel_shards);
    put_i64(json, "pipeline_parallel_stages", config->pipeline_parallel_stages);
    mlcc_json_key(json, "disaggregation");
    mlcc_json_put_bool(json, config->disaggregation);
    put_text(json, "kv_state_kind", "kv_cache");
    put_i64(json, "max_batch_size", facts->max_sequences);
    mlcc_json_key(json, "active_vocab_size");
    if (facts->active_vocab_size < 0) {
        mlcc_json_put_null(json);
    } else {
        mlcc_json_put_i64(json, facts->active_vocab_size);
    }
    put_text(json, "model_task", facts->model_task);
    if (facts->embedding_metadata == NULL) return;
    mlcc_json_key(json, "embedding_metadata");
    mlcc_json_put_value(json, facts->embedding_metadata);
}

// What a library runs: "forward", or "embed" of an encoder.
static const ir_function *entry_of(const ir_module *module) {
    const ir_function *forward = ir_module_find(module, "forward");
    return forward != NULL ? forward : ir_module_find(module, "embed");
}

static void put_kv_cache(mlcc_json_writer *json, const hf_model_config *config) {
    mlcc_json_key(json, "kv_cache");
    mlcc_json_begin_object(json);
    put_i64(json, "num_hidden_layers", config->n_layers);
    put_i64(json, "num_attention_heads", config->n_heads);
    const bool is_latent = config->latent_rank > 0; // one row for all heads
    put_i64(json, "num_key_value_heads", is_latent ? 1 : config->n_kv_heads);
    put_i64(
        json, "head_dim", is_latent ? config->latent_rank + config->rotary_dim : config->head_dim);
    mlcc_json_end(json);
}

static void put_memory_usage(mlcc_json_writer *json, const ir_module *module) {
    mlcc_json_key(json, "memory_usage");
    mlcc_json_begin_object(json);
    for (size_t i = 0; i < module->n_functions; i++) {
        if (!module->functions[i]->is_group)
            put_i64(json, module->functions[i]->name, module->functions[i]->workspace_bytes);
    }
    mlcc_json_end(json);
}

typedef struct group_use {
    const ir_function *group;
    const ir_node *first; // of its launches
    int64_t n_launches;
} group_use;

// Every group with its kernel and the number of its launches, in module order.
static size_t list_groups(const ir_module *module, mlcc_arena *scratch, group_use **out) {
    group_use *uses = MLCC_NEW_ARRAY(scratch, group_use, module->n_functions + 1);
    size_t n = 0;
    for (size_t i = 0; i < module->n_functions; i++) {
        if (module->functions[i]->is_group) uses[n++].group = module->functions[i];
    }
    for (size_t i = 0; i < module->n_functions; i++) {
        if (module->functions[i]->is_group) continue;
        for (const ir_node *node = module->functions[i]->first; node != NULL; node = node->next) {
            if (node->op != IR_OP_LAUNCH) continue;
            for (size_t j = 0; j < n; j++) {
                if (strcmp(uses[j].group->name, ir_attr_text(node, "callee")) != 0) continue;
                if (uses[j].first == NULL) uses[j].first = node;
                uses[j].n_launches++;
            }
        }
    }
    *out = uses;
    return n;
}

// The matrix that a launch multiplies with, as it is called in the model; "" where there is none.
static const char *weight_of(const ir_node *launch) {
    for (int32_t i = 0; launch != NULL && i < launch->n_operands; i++) {
        const ir_param *param = ir_param_of(launch->operands[i]);
        if (param != NULL && param->value.type.rank == 2) return param->value.name;
    }
    return "";
}

static void put_cost(mlcc_json_writer *json, const cost_step *cost) {
    put_i64(json, "flop_per_token", cost->flop_per_token);
    put_i64(json, "flop_per_logits_row", cost->flop_per_logits_row);
    put_i64(json, "weight_bytes_per_step", cost->weight_bytes_per_step);
}

// Groups with their kernels, and what one launch of each costs.
static mlcc_status *put_kernels(mlcc_json_writer *json, const group_use *uses, size_t n_uses) {
    mlcc_json_key(json, "kernels");
    mlcc_json_begin_array(json);
    for (size_t i = 0; i < n_uses; i++) {
        const ir_node *first = uses[i].first;
        cost_step cost = {0};
        if (first != NULL) MLCC_TRY(cost_add_launch(first, &cost));
        mlcc_json_begin_object(json);
        put_text(json, "group", uses[i].group->name);
        put_text(json, "kernel", first != NULL ? ir_attr_text(first, "kernel") : "");
        put_i64(json, "launches", uses[i].n_launches);
        put_text(json, "weight", weight_of(first));
        put_cost(json, &cost);
        mlcc_json_end(json);
    }
    mlcc_json_end(json);
    return NULL;
}

// The launches of the entry function in order, as indices into "kernels", one list for each stretch that runs without waiting: what `bench --svg` times.
static mlcc_status *put_stretches(
    mlcc_json_writer *json, const ir_module *module, const group_use *uses, size_t n_uses,
    mlcc_arena *scratch) {
    codegen_artifact *artifact = NULL;
    MLCC_TRY(codegen_artifact_build(module, scratch, &artifact));
    mlcc_json_key(json, "stretches");
    mlcc_json_begin_array(json);
    for (int32_t f = 0; f < artifact->n_functions; f++) {
        const codegen_function *function = &artifact->functions[f];
        if (function->function != entry_of(module)) continue;
        for (int32_t i = 0; i < function->n_launches; i++) {
            const codegen_launch *launch = &function->launches[i];
            if (launch->waits && i > 0) mlcc_json_end(json);
            if (launch->waits || i == 0) mlcc_json_begin_array(json);
            for (size_t j = 0; j < n_uses; j++) {
                if (uses[j].group == artifact->instances[launch->instance].group)
                    mlcc_json_put_i64(json, (int64_t)j);
            }
        }
        if (function->n_launches > 0) mlcc_json_end(json);
    }
    mlcc_json_end(json);
    return NULL;
}

// What the intermediates would need one after the other, and what they need with dead space used
// again.
static void plan_sizes(const ir_function *function, int64_t *n_values, int64_t *plain_bytes) {
    *n_values = *plain_bytes = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_results; i++) {
            int64_t size_bytes = 0;
            if (node->results[i]->offset_bytes < 0 ||
                !ir_type_bound_bytes(&node->results[i]->type, &size_bytes))
                continue;
            *plain_bytes += (size_bytes + 63) / 64 * 64;
            ++*n_values;
        }
    }
}

static void put_memory_plan(mlcc_json_writer *json, const ir_module *module) {
    mlcc_json_key(json, "memory_plan");
    mlcc_json_begin_object(json);
    for (size_t i = 0; i < module->n_functions; i++) {
        const ir_function *function = module->functions[i];
        if (function->is_group) continue;
        int64_t n_values = 0, plain_bytes = 0;
        plan_sizes(function, &n_values, &plain_bytes);
        mlcc_json_key(json, function->name);
        mlcc_json_begin_object(json);
        put_i64(json, "values", n_values);
        put_i64(json, "bytes_without_reuse", plain_bytes);
        put_i64(json, "workspace_bytes", function->workspace_bytes);
        mlcc_json_end(json);
    }
    mlcc_json_end(json);
}

static void put_symbols(mlcc_json_writer *json, const ir_module *module) {
    mlcc_json_key(json, "bounds");
    mlcc_json_begin_object(json);
    for (size_t i = 0; i < module->n_symbols; i++)
        put_i64(json, module->symbols[i]->name, module->symbols[i]->bound);
    mlcc_json_end(json);
}

static mlcc_status *put_work(
    mlcc_json_writer *json, const compile_facts *facts, mlcc_arena *scratch) {
    group_use *uses = NULL;
    const size_t n_uses = list_groups(facts->module, scratch, &uses);
    cost_step cost;
    MLCC_TRY(put_kernels(json, uses, n_uses));
    // A device orders its launches by itself.
    if (facts->cuda_archs == NULL)
        MLCC_TRY(put_stretches(json, facts->module, uses, n_uses, scratch));
    MLCC_TRY(cost_of_step(entry_of(facts->module), &cost));
    put_cost(json, &cost);
    return NULL;
}

static mlcc_status *put_own_keys(
    mlcc_json_writer *json, const compile_facts *facts, mlcc_arena *scratch) {
    char hex[33];
    mlcc_json_key(json, "mlcc");
    mlcc_json_begin_object(json);
    put_text(json, "version", MLCC_VERSION);
    put_i64(json, "abi_version", MLCC_ABI_VERSION);
    put_text(json, "device", facts->cuda_archs != NULL ? "cuda" : "cpu");
    if (facts->cuda_archs != NULL) put_text(json, "cuda_archs", facts->cuda_archs);
    if (facts->cpu_levels != NULL) put_text(json, "cpu_levels", facts->cpu_levels);
    put_text(json, "target", facts->cpu->name);
    put_text(json, "triple", facts->cpu->triple);
    put_text(json, "cpu", facts->cpu->llvm_cpu);
    put_text(json, "features", facts->cpu->features);
    put_i64(json, "vocab_size", facts->config->vocab);
    put_text(json, "kv_dtype", artifact_dtype_name(facts->kv_dtype));
    put_i64(json, "page_tokens", MLCC_PAGE_TOKENS);
    mlcc_hash128_hex(codegen_param_fingerprint(facts->module), hex);
    put_text(json, "param_fingerprint", hex);
    mlcc_hash128_hex(ir_fingerprint_module(facts->module), hex);
    put_text(json, "module_fingerprint", hex);
    put_symbols(json, facts->module);
    put_memory_plan(json, facts->module);
    mlcc_status *status = put_work(json, facts, scratch);
    mlcc_json_end(json);
    return status;
}

mlcc_status *compile_metadata_json(const compile_facts *facts, mlcc_str *out) {
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_json_writer json;
    mlcc_json_writer_init(&json, out, 0, true);
    mlcc_json_begin_object(&json);
    put_mlc_keys(&json, facts);
    mlcc_status *status = put_params(&json, facts->module, scratch);
    put_kv_cache(&json, facts->config);
    put_memory_usage(&json, facts->module);
    if (status == NULL) status = put_own_keys(&json, facts, scratch);
    mlcc_json_end(&json);
    mlcc_arena_free(scratch);
    return status;
}
