#!/usr/bin/env bash
# Steps the clock under a running daemon, 200 times unless STEPS says otherwise. Needs libfaketime.
set -euo pipefail
cd "$(dirname "$0")/../.."
STEPS="${STEPS:-200}" STOPPED="${STOPPED:-60}" exec cargo test --locked --test clock_steps -- --nocapture
