#!/usr/bin/env bash
# Cuts the power under a running daemon, 300 times unless CUTS says otherwise. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
CUTS="${CUTS:-300}" exec cargo test --locked --test power_cuts -- --nocapture
