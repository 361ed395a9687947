#!/usr/bin/env bash
# A context of several stretches of attention (codegen/cpu/kernels/paged_attention_body.h): logits and text are the same bits with any number of
# threads, which share the positions of a head where there are more of them than heads, and whether the prompt goes in four tokens at a time or at once.
. tests/support/check.sh

model=$work/model
must "$mlcc" gen_config $tiny --quantization q4f16_1 --conv-template LM --context-window-size 2048 --prefill-chunk-size 4 -o "$model"
must "$mlcc" convert_weight $tiny --quantization q4f16_1 -o "$model"
must "$mlcc" compile "$model" --target native
cp -r "$model" "$work/at_once"
must "$mlcc" gen_config $tiny --quantization q4f16_1 --conv-template LM --context-window-size 2048 --prefill-chunk-size 1024 -o "$work/at_once"
must "$mlcc" compile "$work/at_once" --target native
for _ in $(seq 40); do printf 'Once upon a time, there was a little girl named Anna. One day, Tom had a red ball and he liked to play. '; done >"$work/prompt.txt"

# continue_prompt MODEL LOGITS OPTION…: token ids on standard output
continue_prompt() {
    must "$mlcc" generate "$work/$1" --prompt-file "$work/prompt.txt" --max-tokens 12 --ignore-eos --json --logits "$work/$2.npy" "${@:3}"
    py get "$out" token_ids
}

ids=$(continue_prompt model one --threads 1)
tokens=$(py get "$out" prompt_tokens)
expect_same "the prompt has more than two stretches: $tokens tokens" 1 $((tokens > 1024 && tokens < 2000))
for threads in 2 3 8; do
    expect_same "$threads threads: ids" "$ids" "$(continue_prompt model many --threads $threads)"
    expect_same "$threads threads: logits" "$(cksum <"$work/one.npy")" "$(cksum <"$work/many.npy")"
done
expect_same "the prompt at once: ids" "$ids" "$(continue_prompt at_once many --threads 2)"
expect_same "the prompt at once: logits" "$(cksum <"$work/one.npy")" "$(cksum <"$work/many.npy")"
expect_same "a batch of three" "$ids" "$(continue_prompt model many --threads 8 --batch 3)"

# Times of layers: both parts of a launch count as one.
run "$mlcc" bench "$model" --threads 8 --prompt-tokens 4 --gen-tokens 4 --depth 1200 --svg "$work/layers.svg"
expect 0 "the times of layers" ""
check_done
