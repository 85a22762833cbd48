#!/usr/bin/env bash
# Runs the tests; options go to pytest, e.g. scripts/run_tests.sh -m 'not slow'. FLOP_DATA names a folder of real image sets.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" -m pytest "$@"
