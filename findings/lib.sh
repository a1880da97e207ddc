# Read by each script here. `packages NAME==VERSION ...` installs them into a temporary folder, and PYTHON runs with them;
# the folder is removed at the end. `expect WORDS` reads what was seen, shows it, and fails where WORDS are not in it.
set -euo pipefail

FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"

packages() {
    "${PYTHON3:-python3}" -m venv "$FOLDER/venv"
    PYTHON=$FOLDER/venv/bin/python
    (($# == 0)) || "$PYTHON" -m pip install --quiet --quiet --disable-pip-version-check "$@"
    echo "packages: ${*:-none}"
    "$PYTHON" -c 'import platform; print("python: ", platform.python_version())'
}

expect() {
    local seen
    seen=$(cat)
    printf 'seen: %s\n' "$seen"
    if [[ $seen != *"$1"* ]]; then
        echo "changed: expected '$1'" >&2
        exit 1
    fi
}
