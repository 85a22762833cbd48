#!/usr/bin/env bash
# Runs a whole federation on this machine: `flop sim` with these options; --help lists them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
exec "$python" -m flop sim "$@"
