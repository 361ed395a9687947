#!/usr/bin/env bash
# What calibrate refuses: one clear message each, before anything in the directory changes.
. tests/support/check.sh

observing=e4m3_e4m3_f16_max_calibrate
model=$work/model
make_model $tiny $observing "$model"
make_model $tiny q4f16_1 "$work/q4"
text="Once upon a time there was a boy who had a hat."
echo "$text" >"$work/good.txt"

# ---- usage ----
run "$mlcc" calibrate "$model"
expect 2 "no dataset" "--dataset FILE is missing"
run "$mlcc" calibrate
expect 2 "no model" "missing argument: MODEL"
run "$mlcc" calibrate "$model" --dataset "$work/good.txt" --num-calibration-samples 0
expect 2 "no samples" "--num-calibration-samples is 0"
run "$mlcc" calibrate "$model" --dataset "$work/good.txt" --seed x
expect 2 "no seed" "--seed is 'x'"
run "$mlcc" calibrate "$model" --dataset "$work/good.txt" --model-lib a.so --overrides max_batch_size=4
expect 2 "overrides for a library that is there" "leave out --model-lib"

# ---- directories and libraries ----
good=(--dataset "$work/good.txt")
mkdir "$work/empty"
refuses "$work" "no such directory" "is no model directory" -- "$mlcc" calibrate "$work/absent" "${good[@]}"
refuses "$work" "no model directory" "is no model directory" -- "$mlcc" calibrate "$work/empty" "${good[@]}"
refuses "$work" "a mode without activation scales" "is quantized as q4f16_1" $observing -- "$mlcc" calibrate "$work/q4" "${good[@]}"
refuses "$work" "an output that is not there" "does not exist" "leave --output out" -- "$mlcc" calibrate "$model" "${good[@]}" -o "$work/absent"
refuses "$work" "an output without a store" "neither tensor-cache.json" "weight store" -- "$mlcc" calibrate "$model" "${good[@]}" -o "$work/empty"
refuses "$work" "an output of another model" "belongs to another model" -- "$mlcc" calibrate "$model" "${good[@]}" -o "$work/q4"
refuses "$work" "a library that records nothing" "records no maxima" $observing -- \
    "$mlcc" calibrate "$model" "${good[@]}" --model-lib "$work/q4/lib.so"
refuses "$work" "a device" "is compiled for the CPU" -- "$mlcc" calibrate "$model" "${good[@]}" --device cuda:0
refuses "$work" "unknown knobs" "--opt" -- "$mlcc" calibrate "$model" "${good[@]}" --overrides max_batch_size=3 --opt O9
refuses "$work" "unknown overrides" "spped" -- "$mlcc" calibrate "$model" "${good[@]}" --overrides spped=3
cp -r "$model" "$work/lfs"
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n' >"$work/lfs/params_shard_0.bin"
refuses "$work" "a truncated store" "params_shard_0.bin" -- "$mlcc" calibrate "$work/lfs" "${good[@]}"

# ---- datasets ----
# dataset NAME CONTENT WORD…
dataset() {
    local file=$work/$1
    printf '%s' "$2" >"$file"
    refuses "$model" "dataset $1" "${@:3}" -- "$mlcc" calibrate "$model" --dataset "$file"
}
refuses "$model" "no such dataset" "nowhere.json" -- "$mlcc" calibrate "$model" --dataset "$work/nowhere.json"
refuses "$model" "a directory" "is a directory" -- "$mlcc" calibrate "$model" --dataset "$work/empty"
refuses "$model" "binary" "neither JSON nor text" -- "$mlcc" calibrate "$model" --dataset "$model/params_shard_0.bin"
dataset empty.json "" "is empty"
dataset blank.txt $'\n \n' "is empty"
dataset words.json "$text" "is no JSON" "begins with 'O'"
dataset cut.json '[{}, {"conversations": []}' "no valid JSON" "does not end with ']'"
dataset broken.json $'[{},\n{"conversations": [}]' "entry 1" "from line 2"
dataset broken.jsonl $'{"text": "abc"}\n{"text": \n' "entry 1" "from line 2"
dataset object.json '{"data": []}' "no usable entry among 1"
dataset none.json '[]' "no usable entry among 0"
dataset one-turn.json "[{\"conversations\": [{\"value\": \"$text\"}]}]" "1 without text or two turns"
dataset short.json '[{"conversations": [{"value": "a"}, {"value": "b"}]}]' "1 with fewer than 4 tokens"
dataset long.json "[{\"conversations\": [{\"value\": \"$text\"}, {\"value\": \"$(printf 'the boy %.0s' {1..300})\"}]}]" "1 too long"

# ---- a directory that cannot be written ----
if [ "$(id -u)" != 0 ]; then
    chmod a-w "$model"
    refuses "$model" "a read-only directory" "cannot write into" -- "$mlcc" calibrate "$model" "${good[@]}"
    chmod u+w "$model"
else
    skip_part "root writes everywhere"
fi
run flock "$model" "$mlcc" calibrate "$model" "${good[@]}"
expect 1 "another writer is at work" "another process is writing weights"
run "$mlcc" calibrate "$model" "${good[@]}"
expect 0 "and then it works" "16 scales"
check_done
