#!/usr/bin/env bash
# Puts faults of the past back, one by one, in a copy of this checkout: the world of tests/world.rs must find each.
# put_back.sh [how many seeds], 5000 by default. Exits with 1 where one is not found.
set -euo pipefail
cd "$(dirname "$0")/../.."

seeds="${1:-5000}"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR="${PUT_BACK_TARGET:-$copy/target}"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
cd "$copy"
status=0
for fault in tests/faults/put_back/*.patch; do
    name="$(basename "$fault" .patch)"
    patch --quiet -p1 < "$fault"
    log="$(SEEDS="$seeds" MOST=1 cargo test --locked --test world -- --nocapture 2>&1)" && found=no || found=yes
    first="$(sed -n 's/^\(SEED=[0-9]*\): .*/\1/p' <<< "$log" | head -n 1)"
    if [[ "$found" == yes && -n "$first" ]]; then
        echo "$name: found, $first"
    else
        echo "$name: NOT FOUND in $seeds histories"
        tail -n 5 <<< "$log"
        status=1
    fi
    patch --quiet -R -p1 < "$fault"
done
exit "$status"
