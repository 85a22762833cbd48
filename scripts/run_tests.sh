#!/usr/bin/env bash
# Runs the tests on all cores; options go to pytest.
#   scripts/run_tests.sh              everything, as CI does
#   scripts/run_tests.sh --fast       the inner loop: unit tests only, nothing marked slow; under a minute on two cores
#   scripts/run_tests.sh --coverage   all unit tests, and fails if a room falls below its floor in tests/coverage.toml
# FLOP_DATA names a folder of real image sets.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

unit=(--ignore tests/end_to_end)
case ${1:-} in
--fast)
    shift
    exec "$python" -m pytest -n auto -m "not slow" "${unit[@]}" "$@"
    ;;
--coverage)
    shift
    report=$(mktemp)
    trap 'rm -f "$report"' EXIT
    "$python" -m pytest -n auto "${unit[@]}" --cov --cov-report "json:$report" --cov-report= "$@"
    "$python" scripts/check_coverage.py "$report"
    ;;
*)
    exec "$python" -m pytest -n auto "$@"
    ;;
esac
