#include "dist/cli/run/chat_config.h"

#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"

static void add_stop(chat_config *config, const mlcc_json_value *id) {
    if (mlcc_json_kind_of(id) != MLCC_JSON_INT) return;
    int64_t value = mlcc_json_int(id);
    if (value < 0 || value > INT32_MAX || config->n_stop_ids == CHAT_CONFIG_MAX_STOPS) return;
    config->stop_ids[config->n_stop_ids++] = (int32_t)value;
}

mlcc_status *chat_config_read(const char *directory, chat_config *out) {
    *out = (chat_config){0};
    mlcc_arena *scratch = mlcc_arena_create();
    char *path = mlcc_path_join(scratch, directory, "mlc-chat-config.json");
    mlcc_status *status = NULL;
    if (mlcc_file_exists(path)) {
        mlcc_json *json;
        status = mlcc_json_read_file(path, 16u << 20, &json);
        if (status == NULL) {
            const mlcc_json_value *eos = mlcc_json_get(mlcc_json_root(json), "eos_token_id");
            add_stop(out, eos);
            for (size_t i = 0; i < mlcc_json_count(eos); i++) add_stop(out, mlcc_json_at(eos, i));
            mlcc_json_free(json);
        }
    }
    mlcc_arena_free(scratch);
    return status;
}

bool chat_config_is_stop(const chat_config *config, int32_t id) {
    for (size_t i = 0; i < config->n_stop_ids; i++) {
        if (config->stop_ids[i] == id) return true;
    }
    return false;
}
