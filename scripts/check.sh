#!/usr/bin/env bash
# What is checked without running the program: format, style, spelling, types, import rules, and what is generated.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

strict=(crypto coordinator attacks simulation/bench scripts/*.py)  # without an error under mypy --strict; grows until it is everything

"$python" -m ruff format --check --quiet .
"$python" -m ruff check --quiet .
"$python" -m codespell_lib
"$python" -m mypy --strict --follow-imports=silent "${strict[@]}"
"$python" -m pytest tests/test_imports.py
"$python" scripts/make_vectors.py --check
"$python" scripts/make_diagrams.py --check
