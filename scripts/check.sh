#!/usr/bin/env bash
# What is checked without running the program: format, style, spelling, types, import rules, and what is generated.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

rooms=(crypto federation learning hospital_node coordinator simulation attacks)

"$python" -m ruff format --check --quiet .
"$python" -m ruff check --quiet .
"$python" -m codespell_lib
"$python" -m mypy --strict "${rooms[@]}" flop.py scripts
"$python" -m mypy tests
"$python" -m pytest tests/test_imports.py tests/test_house.py
for generated in scripts/make_*.py; do
    "$python" "$generated" --check
done
