#!/usr/bin/env bash
# MLC LLM's three steps of fp8 calibration on one directory, without a second conversion; the same seed gives the same bytes; killed at any moment the
# directory stays loadable; and the calibrated model is the one that ir/eval computes.
. tests/support/check.sh

eval_nll=$MLCC_BIN/eval_nll
observing=e4m3_e4m3_f16_max_calibrate calibrated=e4m3_e4m3_f16

cat >"$work/texts.txt" <<'TEXT'
One day, a little boy named Tom went to the garden. He had a brown hat and played with it every day. It was a snowy day, and the air was cold.

Anna was a little girl who lived near the river. Anna had a blue kite. She loved the kite very much. It was a windy day, and the air was cold.

Once upon a time, there was a little boy named Max.

At the farm, Rosa saw a little duck in the tall grass. The duck was lost and wanted to go home. Rosa took the duck home to its mother.
TEXT
grep . "$work/texts.txt" >"$work/lines.txt"
cat >"$work/sharegpt.json" <<'JSON'
[
  {"id": "a", "conversations": [{"from": "human", "value": "Once upon a time there was a boy who had a hat."},
                                {"from": "gpt", "value": "One day he went to the garden and played with it."}]},
  {"id": "b", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
  {"id": "c", "conversations": [{"from": "human", "value": "Anna was a little girl who lived near the river."},
                                {"from": "gpt", "value": "She had a blue kite. She loved the kite very much."},
                                {"from": "human", "value": "and then?"}]},
  {"id": "d", "conversations": [{"from": "human", "value": "There is only one turn in this conversation."}]}
]
JSON

# ---- the three steps ----
model=$work/model
make_model $tiny $observing "$model" native
shard_bytes=$(md5sum <"$model/params_shard_0.bin")
must "$mlcc" compile "$model" --quantization $calibrated -o "$work/early.so"
run "$mlcc" generate "$model" --model-lib "$work/early.so" --prompt Anna --max-tokens 2
expect 1 "a calibrated library before calibration" "q_calibration_scale" "run mlcc calibrate"
run "$mlcc" calibrate "$model" --dataset "$work/sharegpt.json" --num-calibration-samples 8 --seed 1 --json
expect 0 "calibrate" "has 2 usable entries, 8 were asked for" "2 of 4 entries" "16 scales: min" "16 scales new, 0 replaced"
expect_same "scales in the output" 16 "$(py get "$out" scales | grep -o q_calibration_scale | wc -l)"
expect_same "samples" 2 "$(py get "$out" samples)"
expect_same "the shards of the weights stay as they are" "$shard_bytes" "$(md5sum <"$model/params_shard_0.bin")"
must "$mlcc" inspect "$model"
expect_out "the store names the scales" "model.layers.3.mlp.down_proj.q_calibration_scale"
must "$mlcc" compile "$model" --quantization $calibrated
must "$mlcc" generate "$model" --verify --prompt Anna --max-tokens 16
must "$mlcc" gen_config $tiny --quantization $calibrated --conv-template LM -o "$model"
must "$mlcc" compile "$model"
must "$mlcc" generate "$model" --prompt Anna --max-tokens 16
if [ -x "$eval_nll" ]; then
    must "$eval_nll" "$model" "$work/lines.txt" 4
    expected=$(py get "$out" mean_nll)
    must "$mlcc" perplexity "$model" --text "$work/lines.txt" --lines 4 --json
    expect_near "calibrated model: mean nll of lib.so against ir/eval" "$(py get "$out" mean_nll)" "$expected" 0.002
else
    skip_part "no eval_nll: the tests were not built"
fi

# ---- the same seed, the same bytes; other texts, other scales ----
calibrate() { "$mlcc" calibrate "$1" --model-lib "$work/observing.so" --dataset "$work/texts.txt" --num-calibration-samples 2 --seed "$2" "${@:3}"; }
must "$mlcc" compile "$model" --quantization $observing -o "$work/observing.so"
must "$mlcc" convert_weight $tiny --quantization $observing -o "$model"
cp -r "$model" "$work/twin"
must calibrate "$model" 5
must calibrate "$work/twin" 5 --threads 1
expect_same "two directories, one seed" "" "$(diff -rq "$model" "$work/twin")"
must calibrate "$work/twin" 6
diff -q "$model/params_shard_1.bin" "$work/twin/params_shard_1.bin" >/dev/null && failed "another seed gives the same scales"
must calibrate "$work/twin" 5
expect_same "and back again" "" "$(diff -rq "$model" "$work/twin")"
run calibrate "$work/twin" 5
expect 0 "once more" "holds exactly these already"

# ---- the scales of one directory for the store of another ----
rm "$work/twin/params_shard_1.bin"
must "$mlcc" convert_weight $tiny --quantization $observing -o "$work/twin"
must calibrate "$model" 5 -o "$work/twin"
expect_same "--output" "" "$(diff -rq "$model" "$work/twin")"

# ---- a store of MLC before 2025-09; markers of a direct conversion ----
rm -r "$work/twin"
must "$mlcc" gen_config $tiny --quantization $calibrated --conv-template LM -o "$work/twin"
run "$mlcc" convert_weight $tiny --quantization $calibrated --f32-as-bf16 -o "$work/twin"
expect 0 "a direct conversion warns" "warning:" "mlcc calibrate"
mv "$work/twin/tensor-cache.json" "$work/twin/ndarray-cache.json"
mv "$work/twin/tensor-cache-b16.json" "$work/twin/ndarray-cache-b16.json"
run calibrate "$work/twin" 5
expect 0 "an old store" "0 scales new, 16 replaced"
[ -e "$work/twin/tensor-cache.json" ] && failed "the index got another name"
must "$mlcc" compile "$work/twin"
must "$mlcc" generate "$work/twin" --verify --prompt Anna --max-tokens 4

# ---- kill ----
must "$mlcc" compile "$model" --quantization $calibrated
must calibrate "$model" 6
cp -r "$model" "$work/before"
start_ns=$(date +%s%N)
must calibrate "$model" 5
run_ns=$(($(date +%s%N) - start_ns))
cp -r "$model" "$work/after"
n_tries=12
[ $quick = 1 ] && n_tries=3
for ((i = 1; i <= n_tries; i++)); do
    rm -rf "$model"
    cp -r "$work/before" "$model"
    calibrate "$model" 5 >/dev/null 2>&1 &
    pid=$!
    sleep "$(awk -v n=$i -v m=$n_tries -v t=$run_ns 'BEGIN { printf "%.4f", 1.2 * t * 1e-9 * n / m }')"
    kill -KILL $pid $(ps -o pid= --ppid $pid) 2>/dev/null
    wait $pid 2>/dev/null
    run "$mlcc" inspect "$model"
    expect 0 "inspect after a kill"
    run "$mlcc" generate "$model" --no-cache --verify --prompt Anna --max-tokens 4
    expect 0 "generate after a kill"
    run calibrate "$model" 5
    expect 0 "calibrate after a kill"
    expect_same "as if nothing had happened" "" "$(diff -rq "$model" "$work/after")"
done

# ---- Ctrl-C while a library is compiled leaves nothing ----
mkdir "$work/tmp"
TMPDIR=$work/tmp env --default-signal=INT,TERM "$mlcc" calibrate "$model" --dataset "$work/texts.txt" --overrides "max_batch_size=7" >/dev/null 2>&1 &
pid=$!
sleep 0.5
kill -INT $pid
wait $pid
expect_same "the exit code of Ctrl-C" 130 $?
expect_same "temporary files after Ctrl-C" "" "$(ls "$work/tmp")"
expect_same "the directory after Ctrl-C" "" "$(diff -rq "$model" "$work/after")"
check_done
