#!/usr/bin/env bash
# Measures what a coordinator can reconstruct
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
exec "$python" -m flop  flop attack bench with these options.:attack bench "$@"
