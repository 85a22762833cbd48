#!/usr/bin/env bash
# Measures what a coordinator can reconstruct: `flop attack bench` with these options; --help lists them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
exec "$python" -m flop attack bench "$@"
