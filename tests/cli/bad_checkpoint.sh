#!/usr/bin/env bash
# Checkpoints that others quantized, damaged in one place: one message that names the tensor, what was expected and what was found. Nothing is written.
. tests/support/check.sh

hf=$work/hf model=$work/model
layer=model.layers.0
linear=$layer.mlp.down_proj

# good LAYOUT: an undamaged checkpoint in $hf
good() {
    [ -d "$work/$1" ] || must python3 -B tests/oracle/write_checkpoint.py "$work/$1" llama "$1"
    rm -rf "$hf"
    cp -r "$work/$1/quantized" "$hf"
}
damage() { python3 -B tests/oracle/damage.py "$hf/model.safetensors" "$@" || failed "the test's own change failed: $*"; }
# bad WHAT WORD…
bad() {
    local what=$1
    shift
    refuses "$model" "$what" "$@" -- "$mlcc" convert_weight "$hf" --quantization q4f16_1 -o "$model"
}

good awq-gemm
damage drop $linear.qzeros
bad "AWQ without zeros" $linear qzeros
good awq-gemm
damage drop $linear.scales
bad "AWQ without scales" $linear scales
good awq-gemm
damage shape $linear.qweight 256 15
bad "a wrong nibble count" $linear qweight 15
good awq-gemm
damage shape $linear.scales 3 128
bad "groups that do not divide" $linear
good awq-gemm
damage poke $linear.scales 0 007e
bad "a scale that is NaN" $linear.scales nan
good awq-gemm
damage poke $linear.scales 2 007c
bad "a scale that is infinite" $linear.scales inf
good awq-gemm
damage dtype $linear.scales I16
bad "scales that are integers" $linear.scales i16
good awq-gemm
py set "$hf/config.json" 'quantization_config={"quant_method":"awq","bits":4,"group_size":32,"version":"gemm","zero_point":true}'
bad "a config that contradicts the shapes" $layer "2 groups" "group size 32"
good awq-gemm
refuses "$model" "a family that the tensors are not of" gptq awq -- \
    "$mlcc" convert_weight "$hf" --source-format gptq --quantization q4f16_1 -o "$model"
refuses "$model" "quantized tensors in a format of floats" quantized huggingface-safetensor -- \
    "$mlcc" convert_weight "$hf" --source-format huggingface-safetensor --quantization q4f16_1 -o "$model"

good gptq-act-order
damage poke $linear.g_idx 8 ff7f0000
bad "an act-order map beyond the groups" $linear.g_idx 32767
good gptq-act-order
damage poke $linear.g_idx 12 ffffffff
bad "a negative act-order map" $linear.g_idx -1

good fp8-block
damage shape $linear.weight_scale_inv 3 2
bad "fp8 blocks of another shape" $linear weight_scale_inv
good fp8-tensor
damage poke $linear.weight_scale 0 0000c07f
bad "an fp8 scale that is NaN" $linear.weight_scale nan

# A torch file whose pickle wants to run something, and one whose zip lies.
good awq-gemm-torch
python3 - "$hf/pytorch_model.bin" <<'PY'
import sys, zipfile

with zipfile.ZipFile(sys.argv[1], "w") as archive:
    archive.writestr("archive/data.pkl", b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.")
    archive.writestr("archive/version", b"3\n")
PY
bad "a pickle that calls a program" pytorch_model.bin "posix" system
good awq-gemm-torch
python3 - "$hf/pytorch_model.bin" <<'PY'
import sys, zipfile

source = zipfile.ZipFile(sys.argv[1])
entries = [(name, source.read(name)) for name in source.namelist()]
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for name, data in entries:
        archive.writestr(name, data[:-2] if name.endswith("data/0") else data)
PY
bad "a storage that is too small" pytorch_model.bin data/0
good awq-gemm-torch
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 100\n' >"$hf/pytorch_model.bin"
bad "a git-lfs pointer in place of a torch file" pytorch_model.bin git

good awq-gemm-row
rm "$hf/model-00002-of-00003.safetensors"
bad "a shard that is missing" model-00002-of-00003.safetensors
check_done
