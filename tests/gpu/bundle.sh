#!/usr/bin/env bash
# Packs the programs that tests/gpu/run.sh needs, with every shared library they use but those that come with a C compiler, into
# build-bundle/bundle.tar.xz: for a GPU machine that cannot compile mlcc. That machine needs a C library and a C compiler that are not older than this
# one's, and NVRTC.
# usage: tests/gpu/bundle.sh [BUILD_FOLDER]     default: build
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build} out=build-bundle/bundle.tar.xz
work=$(mktemp -d)
trap 'rm -rf "$work" "$out.part"' EXIT
mkdir -p "$work/bin" "$work/lib" build-bundle
pack() { strip -o "$work/bin/$1" "$build/bin/$1"; }
for program in mlcc mlcc-run cuda_bench; do
    [ -x "$build/bin/$program" ] || { echo "$build/bin/$program is missing: build it first (./run build)"; exit 1; }
    pack "$program"
done
for file in $(grep -l cuda_subject_check tests/cuda/*_test.c); do
    program=cuda_$(basename "$file" _test.c)
    if [ -x "$build/bin/$program" ]; then pack "$program"; else echo "left out: $build/bin/$program is not built"; fi
done
ldd "$work"/bin/* | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u | while read -r name path; do
    case $name in libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux* | libresolv.so.* | libgcc_s.so.* | libstdc++.so.* | libz.so.*) continue ;; esac
    cp -L "$path" "$work/lib/$name"
done
tar -C "$work" -c bin lib | xz -T0 -6 >"$out.part"
mv "$out.part" "$out"
size_mib=$(($(stat -c %s "$out") >> 20))
echo "$out: $size_mib MiB"
[ $size_mib -lt 56 ] || echo "larger than what some GPU machines take along (64 MiB with the sources)"
