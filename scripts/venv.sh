# Makes .venv if there is none, and refreshes it when pyproject.toml is newer. Sourced by the other scripts; sets $python.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python

find_python() {
    local name
    for name in ${PYTHON:-} python3.12 python3.11 python3.13 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Python 3.11 to 3.13 is needed and none was found; install one, or name it: PYTHON=/path/to/python3.11 $0" >&2
    exit 2
}

if [ ! -x "$python" ] || [ ! -e "$root/.venv/installed" ] || [ "$root/pyproject.toml" -nt "$root/.venv/installed" ]; then
    found=$(find_python) || exit 2
    echo "installing into .venv (once; a few minutes and about 5 GB, most of it PyTorch)" >&2
    [ -x "$python" ] || "$found" -m venv "$root/.venv" || exit 1
    log=$root/.venv/install.log
    if ! "$python" -m pip install --quiet --disable-pip-version-check --editable "$root[test]" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "the installation failed; the whole of it is in .venv/install.log" >&2
        exit 1
    fi
    touch "$root/.venv/installed"
fi
