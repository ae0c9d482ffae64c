#!/usr/bin/env bash
# Ten daemons at once, stops in a broadcast, flipped bytes: 200 rounds, 1,000 stops and 1,000 flips unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/../.."
ROUNDS="${ROUNDS:-200}" STOPS="${STOPS:-1000}" FLIPS="${FLIPS:-1000}" exec cargo test --locked --test starts_and_stops -- --nocapture
