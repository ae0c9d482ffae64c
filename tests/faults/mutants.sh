#!/usr/bin/env bash
# Changes the program in small ways, each of which some test must notice: mutants.sh [how many], 60 by default.
#
# SEED says which are drawn. What comes out is kept in MUTANTS_DIR (target/mutants). IN_PLACE=1 changes this checkout instead of
# a copy, which must build everything anew. Exits with 1 when more than a tenth was not noticed.
set -euo pipefail
cd "$(dirname "$0")/../.."

count="${1:-60}"
seed="${SEED:-1}"
out="${MUTANTS_DIR:-target/mutants}"
# States, classification of answers, planning, authentication, doubts.
files=(
    src/domain/state.rs
    src/domain/doubt.rs
    src/gateway/wawp.rs
    src/gateway/wawp_answer.rs
    src/gateway/wawp_hook.rs
    src/gateway/signature.rs
    src/planner.rs
    src/store/sqlite_plan.rs
    src/http/webhook.rs
)
tests=(--locked --lib --bins)
for name in architecture doubts foretold future misfires reload reminders simulation store store_model zones; do
    tests+=(--test "$name")
done
# Nobody debugs a mutant: without it they are built in half the time.
export CARGO_PROFILE_DEV_DEBUG=0

if ! cargo mutants --version > /dev/null 2>&1; then
    cargo install --locked cargo-mutants
fi
args=()
for file in "${files[@]}"; do
    args+=(--file "$file")
done
mkdir -p "$out"
cargo mutants --list --line-col=true "${args[@]}" > "$out/all"
# Drawn by the hash of seed and name: the same on every machine.
while IFS= read -r name; do
    printf '%s %s\n' "$(sha256sum <<< "$seed $name" | cut -c 1-16)" "$name"
done < "$out/all" | sort | head -n "$count" | cut -d ' ' -f 2- | sort > "$out/drawn"
echo "seed $seed: $(wc -l < "$out/drawn") of $(wc -l < "$out/all") mutants of ${#files[@]} files"

chosen=()
while IFS= read -r name; do
    chosen+=(--re "^$(sed 's/[][\.*^$+?(){}|]/\\&/g' <<< "$name")$")
done < "$out/drawn"
# 2 says that some were missed, 3 that some ran into the limit of 400 seconds, which notices them too.
status=0
SEEDS="${SEEDS:-2000}" cargo mutants --line-col=true "${args[@]}" "${chosen[@]}" --output "$out" --no-shuffle \
    --timeout 400 ${IN_PLACE:+--in-place} "${tests[@]/#/--cargo-arg=}" || status=$?
case "$status" in 0 | 2 | 3) ;; *) exit "$status" ;; esac

lines() { wc -l < "$out/mutants.out/$1.txt"; }
missed="$(lines missed)"
noticed=$(($(lines caught) + $(lines timeout)))
echo "seed $seed: $noticed noticed, $missed not, $(lines unviable) could not be built"
[[ $((missed * 10)) -le $((noticed + missed)) ]]
