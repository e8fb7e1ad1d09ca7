#!/usr/bin/env bash
# Builds the plugin: `plugin.wasm`. Needs Python 3.10 with venv.
set -euo pipefail
cd "$(dirname "$0")"
venv=${VENV:-.venv}
[ -x "$venv/bin/componentize-py" ] || {
    echo "fetching componentize-py, once"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'componentize-py==0.25'
}
"$venv/bin/componentize-py" -d wit -w capability componentize app -o plugin.wasm >/dev/null
