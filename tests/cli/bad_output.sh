#!/usr/bin/env bash
# Output that cannot be written: a path under a file, a missing folder, a read-only file system, a full disk, a full pipe; and writers that meet.
# Nothing half-written stays behind, and what was there stays loadable.
. tests/support/check.sh

echo "plain file" >"$work/file"
model=$work/model
must "$mlcc" gen_config $tiny --quantization q0f16 --conv-template LM -o "$model"

# every_writer DIR WHAT WORD…: the commands that write a model directory, into DIR.
every_writer() {
    local dir=$1 what=$2
    shift 2
    refuses "$work" "gen_config: $what" "$@" -- "$mlcc" gen_config $tiny --quantization q0f16 --conv-template LM -o "$dir"
    refuses "$work" "convert_weight: $what" "$@" -- "$mlcc" convert_weight $tiny --quantization q0f16 -o "$dir"
}

every_writer "$work/file" "a file in place of the folder" "$work/file"
every_writer "$work/file/below" "a folder below a file" "$work/file"
every_writer /proc/no_such_folder "a folder in /proc" /proc/no_such_folder
every_writer "" "an empty name" "the name of the output directory is empty"
refuses "$work" "compile: no such folder" no/lib.so -- "$mlcc" compile "$model" --target "$any_cpu" -o "$work/no/lib.so"
refuses "$work" "compile: below a file" file/lib.so -- "$mlcc" compile "$model" --target "$any_cpu" -o "$work/file/lib.so"
mkdir "$work/folder.so"
refuses "$work" "compile: the output is a folder" folder.so directory -- "$mlcc" compile "$model" --target "$any_cpu" -o "$work/folder.so"
refuses "$work" "compile: --debug-dump below a file" "$work/file" -- "$mlcc" compile "$model" --target "$any_cpu" --debug-dump "$work/file/dump" -o "$work/lib.so"

# ---- a user who may not write ----
if [ "$(id -u)" != 0 ]; then
    mkdir "$work/locked"
    chmod 500 "$work/locked"
    every_writer "$work/locked/below" "a folder without permission" "$work/locked" "Permission denied"
else
    skip_part "a folder without permission: root may write everywhere"
fi

# ---- disks: of one's own, in a mount namespace, where the system allows that ----
small=$work/small
mkdir "$small"
trap 'umount -l "$small" 2>/dev/null; rm -rf "$temporary"' EXIT
if mount -t tmpfs -o size=1m none "$small" 2>/dev/null; then
    refuses "$small" "convert_weight onto a full disk" "$small" -- "$mlcc" convert_weight $tiny --quantization q0f32 -o "$small/model"
    must "$mlcc" convert_weight $tiny --quantization q4f16_1 -o "$small/model"
    must "$mlcc" gen_config $tiny --quantization q4f16_1 --conv-template LM -o "$small/model"
    refuses "$small" "convert_weight onto a full disk, over an old store" "$small" -- "$mlcc" convert_weight $tiny --quantization q0f32 -o "$small/model"
    head -c 2000000 /dev/zero >"$small/filler" 2>/dev/null
    refuses "$small" "gen_config onto a full disk" "$small" -- "$mlcc" gen_config $tiny --quantization q0f32 --conv-template LM -o "$small/model"
    refuses "$small" "compile onto a full disk" "$small" -- "$mlcc" compile "$small/model" --target "$any_cpu"
    rm "$small/filler"
    run "$mlcc" inspect "$small/model" --json
    expect 0 "the old store is still there"
    expect_same "with the old mode" q4f16_1 "$(py get "$out" config quantization)"
    if mount -o remount,ro "$small" 2>/dev/null; then
        refuses "$small" "gen_config onto a read-only disk" "Read-only file system" -- "$mlcc" gen_config $tiny --quantization q0f32 --conv-template LM -o "$small/model"
        refuses "$small" "convert_weight onto a read-only disk" "Read-only file system" -- "$mlcc" convert_weight $tiny --quantization q0f32 -o "$small/model"
        refuses "$small" "compile onto a read-only disk" "Read-only file system" -- "$mlcc" compile "$small/model" --target "$any_cpu"
    fi
    umount "$small"
else
    skip_part "full and read-only disks: this user may not mount a tmpfs"
fi

# ---- a limit in the middle of a file ----
make_model $tiny q0f16 "$model"
limited() { (ulimit -f 300 && "$@"); }
refuses "$model" "convert_weight beyond the file size limit" .mlcc-store "File too large" -- limited "$mlcc" convert_weight $tiny --quantization q0f32 -o "$model"
refuses "$work" "convert_weight beyond the limit, new folder" .mlcc-store "File too large" -- limited "$mlcc" convert_weight $tiny --quantization q0f32 -o "$work/new/deep"
tight() { (ulimit -f 1 && "$@"); }
refuses "$work" "gen_config beyond the limit, new folder" "File too large" -- tight "$mlcc" gen_config $tiny --quantization q0f16 --conv-template LM -o "$work/new/deep"
run "$mlcc" generate "$model" --verify --prompt Anna --max-tokens 2
expect 0 "the old store after a failed conversion"

# ---- said before the work, not after it ----
run "$mlcc" bench "$model" -p 4 -n 4 -r 1 --svg "$work/none/layers.svg"
expect 1 "a drawing that cannot be written" "$work/none/layers.svg"
expect_same "nothing was measured" "" "$(cat "$out")"
run "$mlcc" generate "$work/none" --prompt Anna --logits "$work/none/logits.npy"
expect 1 "logits that cannot be written" "$work/none/logits.npy"

# ---- devices and standard output ----
if [ -c /dev/full ]; then
    refuses "$model" "--logits onto a full device" /dev/full "the disk is full" -- "$mlcc" generate "$model" --prompt Anna --max-tokens 2 --logits /dev/full
    [ -c /dev/full ] || failed "/dev/full was replaced by a file"
    for command in "generate $model --prompt Anna --max-tokens 200" "generate $model --prompt Anna --json" "inspect $model" "tokenize $model --text Anna" \
        "gen_config --help" "inspect --ops"; do
        # shellcheck disable=SC2086
        "$mlcc" $command >/dev/full 2>"$err"
        rc=$? command_line=$command
        expect 1 "standard output is full: ${command%% *}" "cannot write to standard output"
    done
    cp "$work/file" "$work/module.mlcir"
    printf 'module @m level=graph\n' >"$work/module.mlcir"
    refuses "$work" "opt -o onto a full device" /dev/full -- "$mlcc" opt "$work/module.mlcir" --passes=none -o /dev/full
else
    skip_part "full devices: there is no /dev/full"
fi
run "$mlcc" generate "$model" --prompt Anna --max-tokens 2 --logits /dev/null
expect 0 "--logits /dev/null"
[ -c /dev/null ] || failed "/dev/null was replaced by a file"
refuses "$model" "--logits below a file" "$work/file/x.npy" -- "$mlcc" generate "$model" --prompt Anna --max-tokens 2 --logits "$work/file/x.npy"

# ---- a cache that cannot be written is no reason to fail ----
MLCC_CACHE_DIR=$work/file/cache run "$mlcc" generate "$model" --prompt Anna --max-tokens 2
expect 0 "a cache folder below a file"

# ---- two writers of one directory ----
"$mlcc" convert_weight $tiny --quantization q0f16 -o "$model" >/dev/null 2>"$temporary/err1" &
first=$!
"$mlcc" convert_weight $tiny --quantization q0f16 -o "$model" >/dev/null 2>"$temporary/err2"
second_rc=$?
wait $first
first_rc=$?
n_checks=$((n_checks + 1))
for i in 1 2; do
    code=$([ $i = 1 ] && echo $first_rc || echo $second_rc)
    [ "$code" = 0 ] || grep -q "another" "$temporary/err$i" || failed "a second writer failed without saying why: $(cat "$temporary/err$i")"
done
run "$mlcc" generate "$model" --verify --prompt Anna --max-tokens 2
expect 0 "the store after two writers"
check_done
