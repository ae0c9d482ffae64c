#!/usr/bin/env bash
# Fills the disk under a running daemon, 50 times unless ROUNDS says otherwise. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
ROUNDS="${ROUNDS:-50}" exec cargo test --locked --test storage_faults full_disk -- --nocapture
