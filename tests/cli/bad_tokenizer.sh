#!/usr/bin/env bash
# tokenizer.json and token ids that make no sense: gen_config copies nothing, tokenize and generate say what is wrong.
. tests/support/check.sh

hf=$work/hf model=$work/model
mkdir "$hf"
cp $tiny/* "$hf"/
file=$hf/tokenizer.json

# broken WHAT WORD…: both readers refuse the file.
broken() {
    refuses "$work" "$1 (gen_config)" "${@:2}" -- "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template LM -o "$model"
    refuses "$work" "$1 (tokenize)" "${@:2}" -- "$mlcc" tokenize "$hf" --text abc
}
# What only encoding needs: gen_config may copy it, tokenize must refuse it.
unusable() { refuses "$work" "$1" "${@:2}" -- "$mlcc" tokenize "$hf" --text abc; }

head -c 1000 $tiny/tokenizer.json >"$file"
broken "a truncated file" tokenizer.json line
: >"$file"
broken "an empty file" tokenizer.json
printf '[]' >"$file"
broken "a list" tokenizer.json object
printf '{}' >"$file"
broken "an empty object" tokenizer.json model
cp $tiny/tokenizer.json "$file"
py drop "$file" model
broken "no model" tokenizer.json model
py set "$file" 'model={"type":"BPE","merges":[]}'
broken "no vocabulary" tokenizer.json vocab
py set "$file" 'model={"type":"BPE","vocab":7,"merges":[]}'
broken "a vocabulary that is no object" tokenizer.json vocab

py set "$file" 'added_tokens=[]'
py set "$file" 'model={"type":"Morpheme","vocab":{"a":0}}'
unusable "another kind of tokenizer" tokenizer.json Morpheme BPE
py set "$file" 'model={"type":"BPE","vocab":{"a":-1},"merges":[]}'
unusable "a negative id" tokenizer.json "'a'"
py set "$file" 'model={"type":"BPE","vocab":{"a":"x"},"merges":[]}'
unusable "an id that is no number" tokenizer.json "'a'"
py set "$file" 'model={"type":"BPE","vocab":{"a":999999999999},"merges":[]}'
unusable "an id beyond reason" tokenizer.json "'a'"
py set "$file" 'model={"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}'
unusable "a merge whose result is no token" tokenizer.json merge ab
py set "$file" 'model={"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a"]}'
unusable "a merge of one" tokenizer.json merge
py set "$file" 'model={"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[7]}'
unusable "a merge that is a number" tokenizer.json merge
cp $tiny/tokenizer.json "$file"
py set "$file" 'pre_tokenizer={"type":"Split","pattern":{"Regex":"(unclosed"},"behavior":"Isolated","invert":false}'
unusable "a regular expression that does not close" tokenizer.json "(unclosed"
py set "$file" 'pre_tokenizer={"type":"NoSuchPreTokenizer"}'
unusable "an unknown pre-tokenizer" tokenizer.json NoSuchPreTokenizer
cp $tiny/tokenizer.json "$file"
py set "$file" 'normalizer={"type":"NoSuchNormalizer"}'
unusable "an unknown normalizer" tokenizer.json NoSuchNormalizer
cp $tiny/tokenizer.json "$file"
replacements=
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do replacements+=${replacements:+,}'{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaaa"}'; done
py set "$file" "normalizer={\"type\":\"Sequence\",\"normalizers\":[$replacements]}"
unusable "a text that grows without end" normalizer "64 times"
cp $tiny/tokenizer.json "$file"
py set "$file" 'decoder={"type":"NoSuchDecoder"}'
unusable "an unknown decoder" tokenizer.json NoSuchDecoder
cp $tiny/tokenizer.json "$file"
py set "$file" 'added_tokens=[{"id":-5,"content":"<x>"}]'
unusable "an added token with a bad id" tokenizer.json id
cp $tiny/tokenizer.json "$file"
py set "$file" "decoder={\"type\":\"Sequence\",\"decoders\":[$replacements]}"
token=$("$mlcc" tokenize $tiny --text a --no-special)
refuses "$work" "a token that grows without end" decoder replacement accepted -- "$mlcc" tokenize "$hf" --decode --text "$token"

# ---- no tokenizer at all ----
rm "$file"
unusable "no tokenizer.json" tokenizer.json "$hf"
printf 'AA== x\n' >"$hf/qwen.tiktoken"
unusable "a broken tiktoken file" qwen.tiktoken "line 1"
printf '%s 7\n' "$(head -c 4000 /dev/zero | tr '\0' A)" >"$hf/qwen.tiktoken"
unusable "a token longer than any" qwen.tiktoken "3000 bytes" "at most 1024"
rm "$hf/qwen.tiktoken"
printf '\n\377' >"$hf/tokenizer.model"
unusable "a broken SentencePiece file" tokenizer.model byte
rm "$hf/tokenizer.model"
run "$mlcc" gen_config "$hf" --quantization q0f16 --conv-template LM -o "$model"
expect 0 "a folder without a tokenizer still gets a configuration" warning tokenizer.json
refuses "$work" "a folder that does not exist" no_such_folder -- "$mlcc" tokenize no_such_folder --text abc

# ---- ids ----
run "$mlcc" tokenize $tiny --decode --text "1 2 999999"
expect 1 "an id beyond the vocabulary" 999999
run "$mlcc" tokenize $tiny --decode --text "1 two"
expect 1 "an id that is no number" "'two'"
run "$mlcc" tokenize $tiny --decode --text "-1"
expect 1 "a negative id" "'-1'"
run "$mlcc" tokenize $tiny --file "$work/none.txt"
expect 1 "a file that does not exist" none.txt

# ---- what must work ----
text=$'Anna saw a \u00e9t\u00e9 and \u732b.\n\ttabs  and  spaces'
run "$mlcc" tokenize $tiny --text "$text" --json
expect 0 "tokenize --json"
py keys "$out" -- ids || failed "tokenize --json has other keys"
ids=$(tr -dc '0-9 ' <"$out")
run "$mlcc" tokenize $tiny --decode --text "$ids" --no-special --json
expect 0 "tokenize --decode"
expect_same "decode gives the text back" "$(printf '%s' "$text")" "$(py get "$out" text)"
printf 'one\0two' >"$work/nul.txt"
run "$mlcc" tokenize $tiny --file "$work/nul.txt" --no-special
expect 0 "a NUL byte in a file"
printf 'broken \xff\xfe utf-8 \xe2\x82' >"$work/broken.txt"
run "$mlcc" tokenize $tiny --file "$work/broken.txt"
expect 0 "broken UTF-8 in a file"
: >"$work/empty.txt"
run "$mlcc" tokenize $tiny --file "$work/empty.txt" --no-special --json
expect 0 "an empty file"
expect_same "no ids" '{"ids": []}' "$(cat "$out")"
check_done
