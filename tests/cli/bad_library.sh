#!/usr/bin/env bash
# What generate, perplexity and bench refuse when a model is opened: a lib.so of another model, ABI, CPU or machine, a damaged one, and a weight store
# that is damaged, incomplete or of another model.
. tests/support/check.sh

model=$work/model
make_model $tiny q0f16 "$model"
generate() { "$mlcc" generate "$model" --prompt "Anna" --max-tokens 4 "$@"; }
must generate
text=$(cat "$out")
run "$mlcc_run" generate "$model" --prompt "Anna" --max-tokens 4
expect 0 "mlcc-run runs what mlcc made"
expect_same "mlcc-run writes the same text" "$text" "$(cat "$out")"

# ---- the library ----
bad_library() { refuses "$model" "$@" -- generate --no-cache --model-lib "$work/lib.so"; }
fresh() { cp "$model/lib.so" "$work/lib.so"; }
refuses "$model" "a library that does not exist" "$work/lib.so" "mlcc compile" -- generate --model-lib "$work/lib.so"
: >"$work/lib.so"
bad_library "an empty library" lib.so "shared library"
echo 'int main;' >"$work/lib.so"
bad_library "a library that is text" lib.so "shared library"
fresh
truncate -s 20000 "$work/lib.so"
bad_library "a truncated library" lib.so truncated
fresh
py flip "$work/lib.so" 0
bad_library "a library without its magic number" lib.so "shared library"
other=$(ldd "$mlcc" | awk '/libm\.so/ { print $3 }')
if [ -f "$other" ]; then
    cp "$other" "$work/lib.so"
    bad_library "a library of somebody else" lib.so mlcc_model_query
fi
fresh
py abi "$work/lib.so" 99
bad_library "a library of another ABI" lib.so "ABI version 99" "version 3" "compile the model again"
run "$mlcc" inspect "$work/lib.so"
expect 0 "inspect of a library of another ABI"
expect_out "inspect says why it does not run" "runs here" "ABI version 99"
features=$(py get <("$mlcc" inspect "$model/lib.so" --json) library cpu_features)
if [[ $features == *cx16* ]]; then
    fresh
    # The list stands in the table and in the metadata, in an order that the linker chooses.
    py replace "$work/lib.so" cx16, cx99,
    py replace "$work/lib.so" cx16, cx99,
    bad_library "a library for another CPU" lib.so cx99 "--target native" "$any_cpu"
    run "$mlcc" inspect "$work/lib.so"
    expect 0 "inspect of a library for another CPU"
    expect_out "inspect names the feature" cx99
else
    skip_part "a library for another CPU: this one demands no feature that could be renamed"
fi
if [ $quick = 0 ]; then
    case $(uname -m) in x86_64) foreign=aarch64 ;; *) foreign=x86-64-v2 ;; esac
    must "$mlcc" compile "$model" --target $foreign -o "$work/lib.so"
    bad_library "a library for another machine" lib.so "$([ $foreign = aarch64 ] && echo aarch64 || echo x86-64)" "--target native"
    run "$mlcc" inspect "$work/lib.so" --json
    expect 0 "inspect of a library for another machine"
    expect_same "its target" $foreign "$(py get "$out" library target)"
    expect_same "it does not run here" false "$(py get "$out" library runs_here)"
fi

# ---- of another model ----
must "$mlcc" compile "$model" --quantization q0f32 --target "$any_cpu" -o "$work/lib.so"
bad_library "a library for another quantization" float32 float16 "another model or quantization"
if [ $quick = 0 ]; then
    mkdir "$work/hf"
    cp $tiny/* "$work/hf"/
    py set "$work/hf/config.json" intermediate_size=340
    must "$mlcc" compile "$work/hf" --quantization q0f16 --target "$any_cpu" -o "$work/lib.so"
    bad_library "a library for another shape" 680 688 "another model or quantization"
    py set "$work/hf/config.json" num_hidden_layers=5 intermediate_size=344
    must "$mlcc" compile "$work/hf" --quantization q0f16 --target "$any_cpu" -o "$work/lib.so"
    bad_library "a library for more layers" model.layers.4 tensor-cache.json missing
fi

# ---- the store ----
store=$work/store
renew() {
    rm -rf "$store"
    cp -r "$model" "$store"
}
bad_store() { refuses "$store" "$@" -- "$mlcc" generate "$store" --prompt Anna --max-tokens 4; }
renew
py flip "$store/params_shard_0.bin" 70000
refuses "$store" "a flipped byte with --verify" params_shard_0.bin md5 -- "$mlcc" generate "$store" --verify --prompt Anna --max-tokens 4
refuses "$store" "a flipped byte with --verify, perplexity" params_shard_0.bin md5 -- "$mlcc" perplexity "$store" --verify --text README.md --lines 1
renew
run "$mlcc" generate "$store" --verify --prompt Anna --max-tokens 4
expect 0 "--verify of a sound store"
rm "$store/params_shard_0.bin"
bad_store "a missing shard" params_shard_0.bin
renew
truncate -s -1 "$store/params_shard_0.bin"
bad_store "a shard that is one byte short" params_shard_0.bin bytes
renew
echo >>"$store/params_shard_0.bin"
bad_store "a shard that is one byte long" params_shard_0.bin bytes
renew
rm "$store/tensor-cache.json"
bad_store "no index" tensor-cache.json convert_weight
renew
head -c 500 "$model/tensor-cache.json" >"$store/tensor-cache.json"
bad_store "a truncated index" tensor-cache.json line
change_index() {
    renew
    sed -i "$1" "$store/tensor-cache.json"
}
change_index 's|"params_shard_0.bin"|"../model/params_shard_0.bin"|'
bad_store "an index that points outside" "../model/params_shard_0.bin"
change_index 's|"byteOffset": 0$|"byteOffset": 9999999999|; s|"byteOffset": 0,|"byteOffset": 9999999999,|'
bad_store "an offset beyond the shard" tensor-cache.json 9999999999
change_index '0,/"dtype": "float16"/s//"dtype": "float99"/'
bad_store "an unknown element type" tensor-cache.json float99
change_index '0,/"format": "f32-to-bf16"/s//"format": "zip"/'
bad_store "an unknown record format" tensor-cache.json zip
change_index '0,/model.norm.weight/s//model.nrom.weight/'
bad_store "a tensor that the library needs is missing" model.norm.weight "tensors are missing"
renew
mv "$store/tensor-cache.json" "$store/ndarray-cache.json"
run "$mlcc" generate "$store" --prompt Anna --max-tokens 4
expect 0 "the older name of the index"
expect_same "and the same text" "$text" "$(cat "$out")"

# ---- other parts ----
renew
rm "$store/lib.so"
bad_store "no lib.so" lib.so "mlcc compile"
renew
rm "$store/tokenizer.json"
bad_store "no tokenizer" tokenizer.json
renew
echo '{' >"$store/mlc-chat-config.json"
bad_store "a broken mlc-chat-config.json" mlc-chat-config.json line
refuses "$work" "no directory" no_such_model "is not a directory" -- "$mlcc" generate no_such_model --prompt Anna
refuses "$work" "a device of another kind" cuda cpu -- generate --device cuda
refuses "$work" "a prompt beyond the context window" 256 context -- "$mlcc" generate "$model" --prompt-file tests/README.md
refuses "$work" "a prompt file that does not exist" none.txt -- "$mlcc" generate "$model" --prompt-file "$work/none.txt"
refuses "$work" "a text file that does not exist" none.txt -- "$mlcc" perplexity "$model" --text "$work/none.txt"
: >"$work/empty.txt"
refuses "$work" "a text without tokens" empty.txt -- "$mlcc" perplexity "$model" --text "$work/empty.txt"
refuses "$work" "inspect of nothing" no_such_model -- "$mlcc" inspect no_such_model
refuses "$work" "inspect of another kind of file" README.md .so .safetensors -- "$mlcc" inspect tests/README.md
refuses "$work" "inspect of another folder" tests mlc-chat-config.json config.json -- "$mlcc" inspect tests
check_done
