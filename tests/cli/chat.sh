#!/usr/bin/env bash
# mlcc chat: through a pipe (answers, slash commands, the cache, saving and loading, messages of several lines, wrong words) and on a terminal
# (line editing, Ctrl-C at the prompt and in an answer).
. tests/support/check.sh

model=$work/model
make_model $tiny q0f32 "$model" "$any_cpu"

# chat LINES OPTION…: what the lines get. Greedy unless the options say otherwise.
chat() {
    local lines=$1
    shift
    command_line="mlcc chat with: $lines"
    printf "$lines" | "$mlcc" chat "$model" --set 'temperature=0;max_tokens=20' "$@" >"$out" 2>"$err"
    rc=$?
}

# ---- answers ----
chat 'Once upon a time,\n/exit\nnot read\n'
expect 0 "a question" && expect_same "one answer" 1 "$(wc -l <"$out")"
first=$(cat "$out")
run "$mlcc" generate "$model" --prompt 'Once upon a time,' --max-tokens 20
expect_same "the LM template asks as generate does" "$first" "$(cat "$out")"
run "$mlcc_run" chat "$model" --prompt 'Once upon a time,' --set 'temperature=0;max_tokens=20'
expect 0 "--prompt, and mlcc-run" && expect_same "--prompt" "$first" "$(cat "$out")"
chat '"""Once upon\na time,"""\n/save '"$work/lines.json"'\n'
expect 0 "a message of several lines"
expect_same "its newline" 'Once upon\na time,' "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["messages"][0]["content"].replace("\n", "\\n"))' "$work/lines.json")"
chat 'Once upon a time,\n' --set 'temperature=0;stop=boy,girl'
expect 0 "a stop string" && expect_same "neither of them is printed" 0 "$(grep -c 'boy\|girl' "$out")"
run "$mlcc" chat "$model" --prompt 'Once upon a time,' --set 'temperature=1;seed=7;max_tokens=30'
drawn=$(cat "$out")
run "$mlcc" chat "$model" --prompt 'Once upon a time,' --set 'temperature=1;seed=7;max_tokens=30'
expect_same "the same seed" "$drawn" "$(cat "$out")"

# ---- the cache ----
# What follows an answer reads only what is new, and says the same as a conversation that never stopped.
chat 'Once upon a time,\nTom had a red\n/stats\n'
expect 0 "two questions" "were in the cache"
second=$(sed -n 2p "$out")
read -r total reused new <<<"$(sed -n 's/.* of \([0-9]*\) before it \([0-9]*\) were in the cache, \([0-9]*\) were.*/\1 \2 \3/p' "$err")"
n_checks=$((n_checks + 1))
[ "$reused" -ge 20 ] && [ "$new" -le 12 ] && [ "$total" = $((reused + new)) ] || failed "of $total tokens $reused were reused and $new read"
chat 'Once upon a time,\n/save '"$work/one.json"'\n'
expect 0 "/save" "2 messages"
chat 'Tom had a red\n' --load "$work/one.json"
expect 0 "--load" && expect_same "the same second answer from a fresh cache" "$second" "$(cat "$out")"
chat 'Lily had a cat\n/undo\nOnce upon a time,\nThe dog\n/undo\nTom had a red\n'
expect 0 "/undo" && expect_same "as if the others were never asked" "$second" "$(tail -1 "$out")"
chat 'Once upon a time,\nTom had a red\n/regen\n'
expect 0 "/regen" && expect_same "greedy: the same answer again" "$second" "$(tail -1 "$out")"
chat 'Lily had a cat\n/reset\nOnce upon a time,\n'
expect 0 "/reset" && expect_same "a new beginning" "$first" "$(tail -1 "$out")"
chat '/set max_tokens=3;seed=1\nOnce upon a time,\n/set\n'
expect 0 "/set" "reached max_tokens" "max_tokens         3" "seed               1"
chat '/system Be brief.\n/save '"$work/system.json"'\n/system\n/help\n'
expect 0 "/system" "the template's own" "/regen" 'Ctrl-C'
expect_same "it is saved" 1 "$(grep -c '"system": "Be brief."' "$work/system.json")"

# ---- wrong words ----
chat '/hlp\n'
expect 1 "an unknown command" "'/hlp'" "did you mean '/help'"
chat '/reset all\n'
expect 1 "too many words" "/reset takes nothing behind it"
chat '/save\n'
expect 1 "no file" "/save needs the name of a file"
chat '/load '"$work/none.json"'\n'
expect 1 "a file that is not there" "none.json"
echo '{"messages": [{"role": "user", "content": "a"}, {"role": "robot", "content": "b"}]}' >"$work/bad.json"
chat '/load '"$work/bad.json"'\n'
expect 1 "a role that does not exist" "bad.json" "'robot'" "user, assistant" "message 1"
echo '{"messages": [7]}' >"$work/bad.json"
chat '/load '"$work/bad.json"'\n'
expect 1 "a message that is none" "message 0 is an integer"
chat '/regen\n'
expect 1 "nothing to give again" "no answer"
for set in 'temprature=1' 'temperature=-1' 'temperature=hot' 'top_k=1.5' 'seed' 'seed=nan'; do
    run "$mlcc" chat "$model" --set "$set"
    expect 1 "--set $set" "${set%%=*}" "reading --set"
done
# An error in the middle changes nothing of the line.
chat '/set seed=5;top_p=7\n'
expect 1 "half a setting" "top_p" "from 0 to 1"
printf 'Once upon a time,\n' | "$mlcc" chat "$model" >/dev/full 2>"$err"
rc=$?
expect 1 "a full disk" "standard output"
run "$mlcc" chat "$work/none"
expect 1 "no directory" "none"
long=$(head -c 6000 /dev/zero | tr '\0' 'a')
chat "$long"'\n'
expect 1 "a question that does not fit" "context window" "/reset"

# ---- tools, documents and variables of the model's own template ----
cat >"$work/tools.json" <<'END'
[{"type": "function", "function": {"name": "weather", "description": "<s> of a city", "parameters": {"type": "object"}}}]
END
cat >"$work/messages.json" <<'END'
{"messages": [{"role": "user", "content": "How warm"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
 "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "21"}]}
END
echo '[{"title": "a", "text": "Rome is old"}]' >"$work/documents.json"
run "$mlcc" chat "$model" --prompt x --tools "$work/tools.json"
expect 1 "a template of MLC LLM has no tools" "no place for tools" "--conv-template auto"
cat >"$model/own.jinja" <<'END'
{{ bos_token }}{% for t in tools or [] %}[{{ t.function.name }}: {{ t.function.description }}]{% endfor %}{% for d in documents or [] %}({{ d.text }}){% endfor %}
{%- if mood is defined %} {{ mood }}{% endif %}{% for m in messages %} {{ m.role }}:{{ m.content or "" }}{% for c in m.tool_calls or [] %}{{ c.function.name }}={{ c.function.arguments.city }}{% endfor %}{% endfor %} answer:
END
echo '{"bos_token": "<s>"}' >"$work/token.json"
[ -f "$model/tokenizer_config.json" ] || cp "$work/token.json" "$model/tokenizer_config.json"
py set "$model/tokenizer_config.json" 'bos_token="<s>"'
py set "$model/mlc-chat-config.json" 'chat_template="own.jinja"'
with_all=(--messages "$work/messages.json" --tools "$work/tools.json" --documents "$work/documents.json" --template-kwargs '{"mood": "glad"}')
run "$mlcc" tokenize "$model" "${with_all[@]}"
expect 0 "the ids of a conversation with everything"
ids=$(cat "$out")
expect_same "one BOS, the template's; the one in the tools is text" 1 "$(tr ' ' '\n' <"$out" | grep -cx 1)"
run "$mlcc" tokenize "$model" --decode --text "$ids"
expect 0 "its text" && expect_out "everything in its place" "[weather: <s> of a city](Rome is old) glad user:How warm assistant:weather=Rome tool:21 answer:"
run "$mlcc_run" generate "$model" "${with_all[@]}" --max-tokens 4 --echo
expect 0 "generate goes on from it" && expect_out "the prompt" "tool:21 answer:"
run "$mlcc" generate "$model" --prompt x --tools "$work/tools.json"
expect 2 "a plain prompt has no tools" "--messages"
run "$mlcc" generate "$model" --prompt x --messages "$work/messages.json"
expect 2 "two prompts" "one of"
chat '/tools '"$work/tools.json"'\n/documents '"$work/documents.json"'\n/template {"mood": 1}\nHow warm\n/tool 21\n/tools\n/save '"$work/tool.json"'\n'
expect 0 "the same in a chat" "taken away"
expect_same "a tool's answer is a message" 1 "$(grep -c '"role": "tool"' "$work/tool.json")"
chat '/load '"$work/messages.json"'\n/save '"$work/again.json"'\n/stats\n'
expect 0 "messages with calls are loaded and saved" "3 messages"
expect_same "with their calls" 1 "$(grep -c '"city": "Rome"' "$work/again.json")"
for kwargs in '{' '[]' '{"messages": 1}'; do
    run "$mlcc" chat "$model" --prompt x --template-kwargs "$kwargs"
    expect 1 "--template-kwargs $kwargs" "--template-kwargs"
done
echo '{"tools": []}' >"$work/bad.json"
run "$mlcc" chat "$model" --prompt x --tools "$work/bad.json"
expect 1 "tools that are no list" "bad.json" "a list of objects is expected"

# ---- a terminal ----
# libedit keeps the names of functions that are added to it when it ends.
echo 'leak:wcsdup' >"$work/libedit"
export LSAN_OPTIONS=suppressions=$work/libedit:print_suppressions=0
run python3 tests/support/chat_terminal.py "$mlcc" "$model" "$work/state"
expect 0 "a conversation on a terminal"
expect_same "the history is the user's alone" 600 "$(stat -c %a "$work/state/mlcc/chat_history")"

check_done
