#!/usr/bin/env bash
# Kills the daemon at random moments, 10,000 times unless KILLS says otherwise.
set -euo pipefail
cd "$(dirname "$0")/../.."
KILLS="${KILLS:-10000}" exec cargo test --locked --test kills -- --nocapture
