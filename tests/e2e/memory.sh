#!/usr/bin/env bash
# convert_weight streams: its peak memory stays below 2 x the largest tensor + 64 MiB, whatever the model's size; shards follow the 32 MiB rule; a store
# of several shards loads, and replacing it by a smaller one leaves no shard behind.
. tests/support/check.sh
[ $quick = 0 ] || skip_all "the sanitizers' own memory would be measured"

hf=$work/hf model=$work/model
py llama "$hf" 10 768 2048 12 4 32000
largest=$((32000 * 768 * 2))
total=$(stat -c %s "$hf/model.safetensors")
limit=$((2 * largest + 64 * 1024 * 1024))
[ "$total" -gt $limit ] || failed "the model is too small to show anything"
for mode in q0f32 q0f16 q4f16_0 q4f16_autoawq q4f16_ft e4m3_e4m3_f16_max_calibrate fp8_e4m3fn_bf16_block_scale q4f16_1; do
    run py peak "$mlcc" convert_weight "$hf" --quantization $mode -o "$model"
    expect 0 "convert_weight $mode"
    peak=$(cat "$out")
    n_checks=$((n_checks + 1))
    echo "$mode: peak $peak bytes, limit $limit, model $total"
    [ "$peak" -le $limit ] || failed "convert_weight $mode took $peak bytes, more than $limit"
    # Every shard but those of one big tensor is at most 32 MiB, and only what the index names is there.
    must "$mlcc" gen_config "$hf" --quantization $mode --conv-template LM -o "$model"
    must "$mlcc" inspect "$model" --json
    n_shards=$(py get "$out" weights n_shards)
    expect_same "$mode: shards in the folder" "$n_shards" "$(ls "$model" | grep -c '^params_shard_.*\.bin$')"
    for ((i = 0; i < n_shards; i++)); do
        size=$(py get "$out" weights shards $i bytes)
        n_records=$(grep -c '"name"' <(py get "$model/tensor-cache.json" records $i records | tr '{' '\n'))
        [ "$size" -le 33554432 ] || [ "$n_records" = 1 ] || failed "$mode: shard $i has $size bytes in $n_records records"
    done
done

# Zeros everywhere: every token is as good as any other, so the first one comes.
cp $tiny/tokenizer.json "$model"
must "$mlcc" compile "$model" --target "$any_cpu"
must "$mlcc" generate "$model" --verify --prompt Anna --max-tokens 3 --json
expect_same "a store of several shards runs" "[0, 0, 0]" "$(py get "$out" token_ids)"
check_done
