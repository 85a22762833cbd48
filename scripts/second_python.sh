#!/usr/bin/env bash
# Runs the tests of the rooms that need no PyTorch under another Python than that of .venv, if the machine has one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

first=$("$python" -c 'import sys; print(sys.version_info.minor)')
for minor in 13 12 11; do
    other=$(command -v "python3.$minor" || true)
    if [ "$minor" != "$first" ] && [ -n "$other" ] && "$other" -c 'import ensurepip, venv' 2>/dev/null; then
        break
    fi
    other=
done
if [ -z "$other" ]; then
    echo "no second Python from 3.11 to 3.13 on this machine: skipped"
    exit 0
fi

venv=$root/.venv-3.$minor
if [ ! -e "$venv/installed" ] || [ pyproject.toml -nt "$venv/installed" ]; then
    "$other" -m venv --clear "$venv"
    # the dependencies of pyproject.toml, but for those of training
    mapfile -t needed < <("$python" - <<'PY'
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
for line in project["dependencies"] + extras["test"]:
    if re.match(r"[\w-]+", line)[0] not in {"torch", "torchvision", "torchmetrics", "mypy", "ruff"}:
        print(line)
PY
    )
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${needed[@]}"
    touch "$venv/installed"
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$venv/bin/python" -m pytest -n auto -m "not slow" tests/crypto tests/federation tests/coordinator "$@"
