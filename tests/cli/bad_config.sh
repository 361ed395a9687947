#!/usr/bin/env bash
# config.json, modes, templates, overrides: what is wrong, where, and what would be accepted. Nothing is written.
. tests/support/check.sh

hf=$work/hf model=$work/model
mkdir "$hf"
fresh() { cp $tiny/* "$hf"/; }
config() { "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template LM -o "$model"; }
# wrong WHAT WORD… -- [TOOL COMMAND…]: changes config.json, then all three readers of it must refuse it alike.
wrong() {
    local what=$1 words=() command
    shift
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    fresh
    py "$1" "$hf/config.json" "${@:2}" || failed "$what: the test's own change failed"
    for command in "gen_config $hf --conv-template LM -o $model" "convert_weight $hf -o $model" "compile $hf -o $model.so"; do
        refuses "$work" "$what (${command%% *})" "${words[@]}" -- "$mlcc" $command --quantization q0f16
    done
}

# ---- keys that matter ----
for key in hidden_size intermediate_size num_hidden_layers num_attention_heads rms_norm_eps vocab_size; do
    wrong "without $key" "config.json" "$key" -- drop $key
done
wrong "a text for a number" hidden_size '"128"' integer -- set 'hidden_size="128"'
wrong "a negative number" hidden_size -128 -- set hidden_size=-128
wrong "zero layers" num_hidden_layers -- set num_hidden_layers=0
wrong "a number beyond reason" vocab_size 1000000000000 -- set vocab_size=1000000000000
wrong "a fraction" num_hidden_layers -- set num_hidden_layers=4.5
wrong "heads that do not divide" num_attention_heads num_key_value_heads -- set num_key_value_heads=3
wrong "another activation" hidden_act gelu silu -- set 'hidden_act="gelu"'
wrong "interleaved rotation" rope_interleaved true false -- set rope_interleaved=true
wrong "a key that changes the arithmetic" scale_emb 12 -- set scale_emb=12
wrong "a language model that is a list" "text_config" object -- set 'text_config=[1]'
wrong "another RoPE scaling" rope_scaling ntk llama3 -- set 'rope_scaling={"rope_type":"ntk","factor":4.0}'
wrong "incomplete RoPE scaling" rope_scaling low_freq_factor -- set 'rope_scaling={"rope_type":"llama3","factor":8.0}'
wrong "quantized with an unknown method" quantization_config quip awq gptq -- set 'quantization_config={"quant_method":"quip","bits":4}'
wrong "quantized to five bits" quantization_config bits 5 -- set 'quantization_config={"quant_method":"gptq","bits":5,"group_size":128}'
wrong "quantized in groups of none" quantization_config group_size 0 -- set 'quantization_config={"quant_method":"awq","bits":4,"group_size":0}'
wrong "an unknown model type" mamba llama -- set 'model_type="mamba"'
wrong "a near model type" "lama" "'llama'" -- set 'model_type="lama"'
wrong "no model type" model_type -- drop model_type

# ---- a recurrent type has a configuration and no graph ----
fresh
py set "$hf/config.json" 'model_type="rwkv5"' 'model_version="5_2"'
run "$mlcc" gen_config "$hf" --quantization q0f16 -o "$work/recurrent"
expect 0 "the configuration of a recurrent model" "warning: gen_config: model type 'rwkv5' is recurrent"
expect_same "its template" rwkv_world "$(py get "$work/recurrent/mlc-chat-config.json" conv_template name)"
for command in "convert_weight $hf --quantization q0f16 -o $model" "compile $hf --quantization q0f16 -o $model.so" "compile $work/recurrent" \
    "compile rwkv5_3b --quantization q4f16_1 --dry-run" "bench --preset rwkv5_3b" "inspect $work/recurrent"; do
    refuses "$work" "a recurrent model (${command%% *})" "'rwkv5' is recurrent" gen_config "accepted here: llama" -- "$mlcc" $command
done
rm -r "$work/recurrent"

# ---- keys that nobody knows are reported, once, and change nothing ----
fresh
py set "$hf/config.json" 'some_new_key=1' 'another_new_key="x"'
run config
expect 0 "unknown keys" some_new_key another_new_key warning
expect_same "one warning lists them all" 1 "$(grep -c warning "$err")"
rm -r "$model"

# ---- no JSON, no file ----
fresh
head -c 100 $tiny/config.json >"$hf/config.json"
refuses "$work" "a truncated config.json" config.json line -- config
printf '' >"$hf/config.json"
refuses "$work" "an empty config.json" config.json -- config
printf '[1, 2]' >"$hf/config.json"
refuses "$work" "a list instead of an object" config.json object -- config
printf '{"model_type": "llama", "model_type": "llama"}' >"$hf/config.json"
refuses "$work" "a key twice" config.json model_type -- config
fresh
py set "$hf/config.json" 'hidden_act="\u001b[2J"'
refuses "$work" "a value that a terminal would obey" hidden_act -- config
py set "$hf/config.json" 'hidden_act="silu"' $'\033[2J=1'
run config
expect 0 "a key that a terminal would obey" warning "[2J"
expect_same "no control character in messages" 0 "$(grep -c $'\033' "$err")"
rm -rf "$model"
printf '{"chat_template": "a\\u0000b{{ messages }}"}' >"$hf/tokenizer_config.json"
must "$mlcc" gen_config "$hf" --quantization q0f16 -o "$model"
expect_same "a template with a NUL byte is taken whole" "61006" "$(head -c 3 "$model/chat_template.jinja" | od -An -tx1 | tr -d ' ' | head -c 5)"
expect_same "and to its end" "}}" "$(tail -c 2 "$model/chat_template.jinja")"
rm -r "$model" "$hf/tokenizer_config.json"
rm "$hf/config.json"
refuses "$work" "a folder without config.json" config.json -- config
refuses "$work" "no such folder and no preset" tinyllama_1b_chat "tinyllama_1b_chat_v1.0" -- \
    "$mlcc" gen_config tinyllama_1b_chat --quantization q0f16 --conv-template LM -o "$model"

# ---- mode, template, overrides ----
fresh
for command in gen_config convert_weight compile; do
    extra=()
    [ $command = gen_config ] && extra=(--conv-template LM)
    target=$model
    [ $command = compile ] && target=$model.so
    refuses "$work" "an unknown mode ($command)" q4f16_9 "did you mean 'q4f16_0'" q0f32 q0f16 -- "$mlcc" $command "$hf" --quantization q4f16_9 "${extra[@]}" -o "$target"
done
refuses "$work" "an unknown template" chatlm "'chatml'" LM llama-2 llama-3 -- "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template chatlm -o "$model"
refuses "$work" "an unknown model type on the command line" mamba llama -- \
    "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template LM --model-type mamba -o "$model"
refuses "$work" "an unknown override" context_window "context_window_size" -- "$mlcc" compile "$hf" --quantization q0f16 --overrides context_window=5 -o "$model.so"
refuses "$work" "an override without a number" max_batch_size many -- "$mlcc" compile "$hf" --quantization q0f16 --overrides max_batch_size=many -o "$model.so"
refuses "$work" "an unknown target" x86-64-v9 x86-64-v3 native aarch64 -- "$mlcc" compile "$hf" --quantization q0f16 --target x86-64-v9 -o "$model.so"
refuses "$work" "an unknown optimisation" O7 O0 -- "$mlcc" compile "$hf" --quantization q0f16 --opt O7 -o "$model.so"
refuses "$work" "a suffix that is not written" .tar .so -- "$mlcc" compile "$hf" --quantization q0f16 -o "$model.tar"
refuses "$work" "a linker that is not there" no-such-linker -- "$mlcc" compile "$hf" --quantization q0f16 --target "$any_cpu" --linker no-such-linker -o "$model.so"
refuses "$work" "a device of another kind" metal cuda cpu -- "$mlcc" compile "$hf" --quantization q0f16 --device metal -o "$model.so"
refuses "$work" "CUDA without NVRTC" NVRTC /nonexistent MLCC_NVRTC_PATH -- env MLCC_NVRTC_PATH=/nonexistent "$mlcc" compile "$hf" --quantization q0f16 --device cuda -o "$model.so"
refuses "$work" "an unknown pass in --dump-ir" fuse_nrom fuse_norm -- "$mlcc" compile "$hf" --quantization q0f16 --target "$any_cpu" --dump-ir=after:fuse_nrom -o "$model.so"

# As MLC does it, a chunk beyond the window becomes the window.
must "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template LM --context-window-size 64 --prefill-chunk-size 128 -o "$work/clamped"
expect_same "a chunk beyond the window" 64 "$(py get "$work/clamped/mlc-chat-config.json" prefill_chunk_size)"

# ---- mlc-chat-config.json ----
must "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template LM -o "$work/made"
for change in "drop model_type" "drop model_config" "drop quantization" 'set quantization="q9"' 'set model_type="mamba"' 'set model_config=7'; do
    cp -r "$work/made" "$work/changed"
    # shellcheck disable=SC2086
    py ${change%% *} "$work/changed/mlc-chat-config.json" ${change#* }
    case $change in *q9*) words=("$work/changed" "'q9'" q4f16_1) ;; *mamba*) words=(mlc-chat-config.json mamba llama) ;; *) words=(mlc-chat-config.json "${change#* }") ;; esac
    words[-1]=${words[-1]%%=*}
    refuses "$work/changed" "mlc-chat-config.json: $change" "${words[@]}" -- "$mlcc" compile "$work/changed" --target "$any_cpu"
    rm -r "$work/changed"
done
refuses "$work" "compile of a folder without a config" mlc-chat-config.json -- "$mlcc" compile "$work/hf/nothing" -o "$model.so"
check_done
