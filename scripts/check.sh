#!/usr/bin/env bash
# What is checked without running anything: style, types, import rules, known-answer vectors.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
"$python" -m ruff check .
"$python" -m mypy crypto federation coordinator
"$python" -m pytest -q tests/test_imports.py
"$python" scripts/make_vectors.py --check
