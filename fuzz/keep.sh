#!/usr/bin/env bash
# Keeps what the last runs of run.sh found: of each target the inputs up to 2 KiB that reach something of their own, in found.tar.xz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

build="${FUZZ_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/onthedot-fuzz-target}"
host="$(rustc +nightly -vV | sed -n 's/^host: //p')"
kept="$(mktemp -d)"
trap 'rm -rf "$kept"' EXIT
ulimit -s 2048
for target in found/*; do
    target="$(basename "$target")"
    mkdir "$kept/$target"
    "$build/$host/release/$target" -merge=1 -max_len=2048 "$kept/$target" "corpus/$target" "found/$target" > /dev/null 2>&1
    echo "$target: $(find "$kept/$target" -type f | wc -l) inputs"
done
tar --sort=name --mtime=@0 --owner=0 --group=0 -C "$kept" -cf - . | xz -9e > found.tar.xz
