#!/usr/bin/env bash
# Builds the documentation site into site/; any warning (a dead link, an unknown parameter in a docstring) fails.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
if ! "$python" -c 'import mkdocs, material, mkdocstrings' 2>/dev/null; then
    "$python" -m pip install --quiet --disable-pip-version-check --editable "$root[docs]"
fi
export NO_MKDOCS_2_WARNING=1
exec "$python" -m mkdocs build --strict --quiet --clean "$@"
