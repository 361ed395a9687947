#!/usr/bin/env bash
# mlcc embed: vectors of texts against transformers', every way in and out, and bad input: a decoder, texts that are too long, empty or no UTF-8, options
# that do not exist; and the other commands on an encoder.
. tests/support/check.sh

encoders=tests/families/encoders
texts=$encoders/bert_mean/texts.txt
n_texts=$(wc -l <"$texts")

# make NAME MODE: $work/NAME, compiled.
make() {
    run "$mlcc" gen_config "$encoders/$1" --quantization "$2" -o "$work/$1" && expect 0 "gen_config $1"
    run "$mlcc" convert_weight "$encoders/$1" --quantization "$2" -o "$work/$1" && expect 0 "convert_weight $1"
    expect_same "convert_weight $1 leaves nothing unread that it should read" 0 "$(grep -c unused "$err")"
    run "$mlcc" compile "$work/$1" --target "$any_cpu" -o "$work/$1/lib.so" && expect 0 "compile $1"
}
make bert_mean q0f32
make bert_hub q0f32
model=$work/bert_mean

# near FILE.safetensors TENSOR: whether $out (lines of numbers, JSON, or .npy) holds its numbers within 2e-3.
near() {
    python3 - "$1" "$2" "$3" <<'PY'
import json, struct, sys
with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    begin, end = header[sys.argv[2]]["data_offsets"]
    file.seek(begin, 1)
    wanted = struct.unpack("<%df" % ((end - begin) // 4), file.read(end - begin))
data = open(sys.argv[3], "rb").read()
if data[:6] == b"\x93NUMPY":
    data = data[10 + struct.unpack("<H", data[8:10])[0]:]
    found = struct.unpack("<%df" % (len(data) // 4), data)
elif data[:1] == b"{":
    found = sum([e["embedding"] for e in json.loads(data)["embeddings"]], [])
else:
    found = [float(word) for word in data.split()]
print("near" if len(found) == len(wanted) and all(abs(a - b) < 2e-3 for a, b in zip(found, wanted)) else "%d numbers of %d, or others" % (len(found), len(wanted)))
PY
}
expected=$encoders/bert_mean/expected.safetensors

# ---- ways in and out ----
run "$mlcc" embed "$model" --file "$texts"
expect 0 "a file" "mean pooling, normalized" "$n_texts texts"
expect_same "a line each" "$n_texts" "$(wc -l <"$out")"
expect_same "as transformers and the folder's files say" near "$(near "$expected" embedding "$out")"
cp "$out" "$work/lines"
"$mlcc_run" embed "$model" <"$texts" >"$out" 2>"$err"
rc=$? command_line="mlcc-run embed < texts"
expect 0 "standard input, mlcc-run" && expect_same "the same" "$(cat "$work/lines")" "$(cat "$out")"
run "$mlcc" embed "$model" --text "$(head -1 "$texts")"
expect 0 "--text" && expect_same "the first line" "$(head -1 "$work/lines")" "$(cat "$out")"
run "$mlcc" embed "$model" --file "$texts" --output "$work/vectors.npy"
expect 0 "--output" && expect_same "as NumPy's" near "$(near "$expected" embedding "$work/vectors.npy")"
expect_same "nothing is printed" "" "$(cat "$out")"
for pooling in cls mean max mean_sqrt_len weighted_mean last; do
    run "$mlcc" embed "$model" --file "$texts" --pooling $pooling --normalize off
    expect 0 "--pooling $pooling" "$pooling pooling, not normalized"
    expect_same "--pooling $pooling" near "$(near "$expected" pooled.$pooling "$out")"
done
run "$mlcc" embed "$model" --file "$texts" --json
expect 0 "--json" && expect_same "--json" near "$(near "$expected" embedding "$out")"
expect_same "its shape" "['embeddings', 'normalize', 'pooling', 'width'] ['embedding', 'index', 'is_cut', 'n_tokens'] True mean 36 [0, 1, 2, 3, 4, 5]" "$(python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
print(sorted(j), sorted(j["embeddings"][0]), j["normalize"], j["pooling"], j["width"], [e["index"] for e in j["embeddings"]])' "$out")"
run "$mlcc" embed "$work/bert_hub" --file "$texts"
expect 0 "names of old files" "cls pooling, normalized"
expect_same "old files" near "$(near "$encoders/bert_hub/expected.safetensors" embedding "$out")"

# ---- too long ----
long=$(printf 'the cat %.0s' {1..60})
run "$mlcc" embed "$model" --text "$long" --json
expect 0 "a long text is cut" "1 of 1 texts cut to 56 tokens"
expect_same "to what the model reads" "56 True" "$(python3 -c 'import json, sys; e = json.load(open(sys.argv[1]))["embeddings"][0]; print(e["n_tokens"], e["is_cut"])' "$out")"
cut=$(cat "$out")
run "$mlcc" embed "$model" --text "$(printf 'the cat %.0s' {1..27})" --json
expect 0 "what is left of it" && expect_same "[CLS] and [SEP] stay" "${cut/\"is_cut\": true/\"is_cut\": false}" "$(cat "$out")"
run "$mlcc" embed "$model" --text "$long" --too-long refuse
expect 1 "--too-long refuse" "line 1 of --text has 122 tokens, the model reads 56"

# ---- bad input ----
run "$mlcc" embed --help
expect_out "help" "--pooling" "--normalize" "--too-long" "embedding_metadata" "examples"
run "$mlcc" embed
expect 2 "no directory" "DIR"
run "$mlcc" embed "$model" --text a --pooling sum
expect 2 "an unknown pooling" "'sum'" "weighted_mean"
run "$mlcc" embed "$model" --text a --normalize perhaps
expect 2 "neither on nor off" "'perhaps'" "on, off"
run "$mlcc" embed "$model" --text a --too-long drop
expect 2 "neither cut nor refuse" "'drop'"
run "$mlcc" embed "$model" --text a --file "$texts"
expect 2 "two texts" "not both"
run "$mlcc" embed "$model" --text a --json --output "$work/x.npy"
expect 2 "two forms" "not both"
run "$mlcc" embed "$work/nowhere" --text a
expect 1 "no such directory" "is not a directory"
run "$mlcc" embed "$model" --file "$work/nowhere.txt"
expect 1 "no such file" "nowhere.txt"
run "$mlcc" embed "$model" --text '  '
expect 1 "a blank text" "line 1 of --text is empty"
printf 'a\n\nb\n' >"$work/empty.txt"
run "$mlcc" embed "$model" --file "$work/empty.txt"
expect 1 "an empty line" "line 2 of $work/empty.txt is empty"
printf '' >"$work/empty.txt"
run "$mlcc" embed "$model" --file "$work/empty.txt"
expect 1 "an empty file" "holds no text"
run "$mlcc" embed "$model"
expect 1 "empty standard input" "standard input holds no text"
printf 'good\nb\xff\xfed\n' >"$work/bytes.txt"
run "$mlcc" embed "$model" --file "$work/bytes.txt"
expect 1 "no UTF-8" "line 2 of $work/bytes.txt is not valid UTF-8"
run "$mlcc" embed "$model" --text a --output "$work/no/such/x.npy"
expect 1 "no such folder" "no/such"

# ---- the tokenizer's cache: of files of 256 KiB and more, which white space makes of any ----
cp -r "$model" "$work/padded"
head -c 300000 /dev/zero | tr '\0' ' ' >>"$work/padded/tokenizer.json"
run "$mlcc" embed "$work/padded" --text a --no-cache
expect 0 "--no-cache"
expect_same "--no-cache leaves the folder alone" no "$([ -e "$work/padded/tokenizer.cache" ] && echo yes || echo no)"
run "$mlcc" embed "$work/padded" --text a
expect_same "without it the cache is kept" yes "$([ -e "$work/padded/tokenizer.cache" ] && echo yes || echo no)"

# ---- encoders and decoders ----
run "$mlcc" generate "$model" --prompt a
expect 1 "generate with an encoder" "is an encoder" "mlcc embed"
run "$mlcc" chat "$model" --prompt a
expect 1 "chat with an encoder" "is an encoder"
run "$mlcc" inspect "$model/lib.so"
expect 0 "inspect"
make_model $tiny q0f32 "$work/decoder" "$any_cpu"
run "$mlcc" embed "$work/decoder" --text a
expect 1 "embed with a decoder" "is a decoder" "mlcc generate"

# ---- files beside the config ----
cp -r $encoders/bert_mean "$work/source"
sed -i 's/"Normalize"/"Dense"/; s/models.Normalize/models.Dense/' "$work/source/modules.json"
run "$mlcc" gen_config "$work/source" --quantization q0f32 -o "$work/other"
expect 1 "a dense layer" "models.Dense" "not supported"
sed -i 's/"pooling_strategy": "mean"/"pooling_strategy": "sum"/' "$model/mlc-chat-config.json"
run "$mlcc" embed "$model" --text a
expect 1 "a config with an unknown pooling" "mlc-chat-config.json" "'sum'"
run "$mlcc" gen_config $encoders/bert_mean --quantization q0f32 --context-window-size 100 -o "$work/other"
run "$mlcc" compile "$work/other" --target "$any_cpu" -o "$work/other/lib.so"
expect 1 "more context than positions" "positions for 64 tokens"

check_done
