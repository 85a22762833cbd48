#!/usr/bin/env bash
# Runs a whole federation on this machine
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
exec "$python" -m flop  flop sim with these options (--help lists them).:sim "$@"
