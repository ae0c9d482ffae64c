#!/usr/bin/env bash
# Lets the n-th flush fail, for every n up to FLUSHES (60). Needs strace.
set -euo pipefail
cd "$(dirname "$0")/../.."
FLUSHES="${FLUSHES:-60}" exec cargo test --locked --test storage_faults flush -- --nocapture
