#!/usr/bin/env bash
# Fuzzes the parsers: run.sh [seconds] [target…], by default 60 seconds each of all targets, two at a time.
#
# It goes on from what earlier runs found: found/, or found.tar.xz where that is not there yet (keep.sh makes it).
# FUZZ_TARGET_DIR is where it builds and logs; FUZZ_SANITIZER is none, or such as address.
# Exits with 1 when a target crashed, 2 for a wrong call or a failed build, 3 without a nightly toolchain.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

build="${FUZZ_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/onthedot-fuzz-target}"
# The program forbids unsafe code, and without a sanitizer a run does several times as much.
sanitizer="${FUZZ_SANITIZER:-none}"
seconds=60
if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
    seconds="$1"
    shift
fi
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
    for file in fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi
for target in "${targets[@]}"; do
    if [[ ! -f "fuzz_targets/$target.rs" ]]; then
        echo "fuzz: there is no target '$target'; known: $(basename -s .rs fuzz_targets/*.rs | paste -sd' ')" >&2
        exit 2
    fi
done

export RUSTUP_AUTO_INSTALL=0
if ! cargo +nightly --version > /dev/null 2>&1; then
    echo "fuzz: NOTHING WAS FUZZED: there is no nightly toolchain (rustup toolchain install nightly)" >&2
    exit 3
fi
if ! cargo fuzz --version > /dev/null 2>&1; then
    cargo install --locked cargo-fuzz || exit 2
fi

limits=(-timeout=10 -rss_limit_mb=1024)
options=(--sanitizer "$sanitizer" --target-dir "$build")
if [[ $# -eq 0 ]]; then
    cargo +nightly fuzz build "${options[@]}" || exit 2
else
    for target in "${targets[@]}"; do
        cargo +nightly fuzz build "${options[@]}" "$target" || exit 2
    done
fi
host="$(rustc +nightly -vV | sed -n 's/^host: //p')"

# Two targets write a file each time: in memory where that can be.
scratch="$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$build/logs"

# What earlier runs found is where this one begins.
if [[ ! -d found ]] && command -v xz > /dev/null; then
    mkdir found
    tar -xJf found.tar.xz -C found
fi

# Fuzzes one target and tells in one line how it went.
fuzz() {
    local target="$1" log="$build/logs/$1.log" executions coverage crashes=0
    # What is found goes to the first folder; the seeds are only read.
    mkdir -p "found/$target" "artifacts/$target" "corpus/$target"
    # The program's own threads have no larger stack.
    ulimit -s 2048
    TMPDIR="$scratch" "$build/$host/release/$target" "found/$target" "corpus/$target" \
        "${limits[@]}" -max_total_time="$seconds" -max_len=65536 \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 > "$log" 2>&1 < /dev/null || crashes=1
    executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)"
    coverage="$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | tr -dc '0-9')" || true
    printf '%-24s %10s executions  coverage %6s  crashes %s\n' \
        "$target" "${executions:-?}" "${coverage:-?}" "$crashes"
    if [[ $crashes -ne 0 ]]; then
        touch "$scratch/crashed.$target"
    fi
}

running=0
for target in "${targets[@]}"; do
    if [[ $running -ge 2 ]]; then
        wait -n || true
        running=$((running - 1))
    fi
    fuzz "$target" &
    running=$((running + 1))
done
wait

failed=0
for target in "${targets[@]}"; do
    [[ -e "$scratch/crashed.$target" ]] || continue
    failed=1
    log="$build/logs/$target.log"
    echo
    echo "$target crashed: $(grep -m 1 -A 1 -E 'panicked at|ERROR: libFuzzer|ALARM' "$log" | paste -sd' ' || true)"
    artifact="$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
    if [[ -n "$artifact" ]]; then
        run="cargo +nightly fuzz run ${options[*]} $target $artifact -- ${limits[*]}"
        echo "  replay: (cd $(printf '%q' "$PWD") && ulimit -s 2048 && $run)"
    fi
    echo "  log:    $log"
done
exit "$failed"
