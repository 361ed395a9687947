#!/usr/bin/env bash
# Source weights: truncated and lying safetensors files, missing shards and tensors. Every case names the file and what is wrong with it, and
# leaves the model directory as it was, whether or not there is a store in it.
. tests/support/check.sh

hf=$work/hf model=$work/model
mkdir "$hf"
cp $tiny/* "$hf"/
file=$hf/model.safetensors
must "$mlcc" convert_weight $tiny --quantization q0f16 -o "$model"
n_bytes=$(stat -c %s $tiny/model.safetensors)

# bad WHAT WORD…: model.safetensors as it stands is refused.
bad() {
    refuses "$work" "$@" -- "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$model"
    refuses "$work" "$1 (into a new folder)" "${@:2}" -- "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$work/new/deep"
    refuses "$work" "$1 (inspect)" -- "$mlcc" inspect "$file"
}
# A header of one tensor in place of the file.
header() {
    py safetensors "$file" "$1" "${2:-64}"
}

# ---- the length ----
: >"$file"
bad "an empty file" model.safetensors
head -c 7 $tiny/model.safetensors >"$file"
bad "seven bytes" model.safetensors 8
py length "$file" $tiny/model.safetensors 1099511627776
bad "a header length far beyond the file" model.safetensors 1099511627776
py length "$file" $tiny/model.safetensors 18446744073709551615
bad "a header length of 2^64 - 1" model.safetensors 18446744073709551615
py length "$file" $tiny/model.safetensors 0
bad "a header length of zero" model.safetensors
py length "$file" $tiny/model.safetensors 20
bad "a header length that is too short" model.safetensors header
head -c 300 $tiny/model.safetensors >"$file"
bad "a file that ends in its header" model.safetensors
head -c $((n_bytes - 1000)) $tiny/model.safetensors >"$file"
bad "a file that ends in its data" model.safetensors data_offsets
py length "$file" $tiny/model.safetensors 104857601
truncate -s 120M "$file"
bad "a header beyond 100 MiB" model.safetensors 104857601 "100 MiB"
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 100\n' >"$file"
bad "a git-lfs pointer" model.safetensors "git"

# ---- the header ----
header 'not json'
bad "no JSON" model.safetensors
header '["a"]'
bad "no object" model.safetensors object
header '{"a": 7}'
bad "an entry that is no object" "'a'" object
header '{"a": {"dtype": "F32", "shape": [4]}}'
bad "no offsets" "'a'" data_offsets
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0]}}'
bad "one offset" "'a'" data_offsets
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [60, 76]}}'
bad "offsets beyond the data" "'a'" data_offsets 76 64
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}'
bad "offsets backwards" "'a'" data_offsets
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}'
bad "a negative offset" "'a'" data_offsets
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0.5, 16]}}'
bad "an offset that is no integer" "'a'" data_offsets
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": {"dtype": "F32", "shape": [4], "data_offsets": [12, 28]}}'
bad "overlapping tensors" "'a'" "'b'" overlap
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}}'
bad "a shape that does not fill the bytes" "'a'" 12 16
header '{"a": {"dtype": "Q9", "shape": [4], "data_offsets": [0, 16]}}'
bad "an element type that does not exist" "'a'" "'Q9'" F32 BF16
header '{"a": {"dtype": "F32", "shape": [4294967296, 4294967296, 4], "data_offsets": [0, 16]}}'
bad "a shape that overflows" "'a'"
header '{"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}'
bad "a negative dimension" "'a'" shape
header '{"a": {"dtype": "F32", "shape": [1,1,1,1,1,1,1,1,1], "data_offsets": [0, 4]}}'
bad "nine dimensions" "'a'"
header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]}}'
bad "a name twice" model.safetensors '"a"'
header '{"__metadata__": 7, "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
bad "metadata that is no object" __metadata__

# ---- tensors that do not fit the config ----
header '{"model.norm.weight": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}'
refuses "$work" "missing tensors" model.embed_tokens.weight q_proj -- "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$model"
cp $tiny/* "$hf"/
py set "$hf/config.json" intermediate_size=340
refuses "$work" "a shape that does not fit" 340 344 -- "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$model"
cp $tiny/* "$hf"/
py replace "$file" '"dtype":"F16"' '"dtype":"I16"' 2>/dev/null || py replace "$file" '"dtype": "F16"' '"dtype": "I16"'
refuses "$work" "an element type that is of no use" I16 F32 F16 BF16 -- "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$model"

# ---- several files ----
cp $tiny/* "$hf"/
mv "$file" "$hf/model-00001-of-00001.safetensors"
index() { printf '{"metadata": {}, "weight_map": %s}' "$1" >"$hf/model.safetensors.index.json"; }
convert() { "$mlcc" convert_weight "$hf" --quantization q0f16 -o "$model"; }
index '{"model.norm.weight": "model-00002-of-00002.safetensors"}'
refuses "$work" "a missing shard" model-00002-of-00002.safetensors -- convert
index '{"model.norm.weight": "../../../etc/passwd"}'
refuses "$work" "a shard outside the folder" "../../../etc/passwd" -- convert
index '{"model.norm.weight": "/etc/passwd"}'
refuses "$work" "a shard with an absolute path" "/etc/passwd" -- convert
index '{"no.such.tensor": "model-00001-of-00001.safetensors"}'
refuses "$work" "an index that names a tensor its file lacks" no.such.tensor model-00001-of-00001.safetensors -- convert
index '{"model.norm.weight": 7}'
refuses "$work" "an index entry that is no text" model.norm.weight -- convert
printf '{"metadata": {}}' >"$hf/model.safetensors.index.json"
refuses "$work" "an index without a map" weight_map -- convert
printf '{"weight_map": {' >"$hf/model.safetensors.index.json"
refuses "$work" "an index that is cut off" model.safetensors.index.json -- convert
rm "$hf/model.safetensors.index.json"
refuses "$work" "no weights at all" "$hf" model.safetensors -- convert
refuses "$work" "--source that is not there" no_such_source -- "$mlcc" convert_weight "$hf" --source no_such_source --quantization q0f16 -o "$model"
refuses "$work" "a source format of another kind" torch pytorch_model.bin -- \
    "$mlcc" convert_weight $tiny --source-format huggingface-torch --quantization q0f16 -o "$model"
refuses "$work" "a quantized source format of float weights" awq "quantized" -- \
    "$mlcc" convert_weight $tiny --source-format awq --quantization q0f16 -o "$model"
refuses "$work" "a source format that does not exist" gguf huggingface-safetensor awq gptq -- \
    "$mlcc" convert_weight $tiny --source-format gguf --quantization q0f16 -o "$model"
refuses "$work" "a mode that does not exist" q4f16_9 q4f16_1 -- \
    "$mlcc" convert_weight $tiny --quantization q4f16_9 -o "$model"
check_done
