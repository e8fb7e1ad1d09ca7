#!/usr/bin/env bash
# Builds the plugin: `plugin.wasm`. Needs node 20 and npm.
set -euo pipefail
cd "$(dirname "$0")"
modules=${MODULES:-.}
[ -d "$modules/node_modules/@bytecodealliance/componentize-js" ] || {
    echo "fetching componentize-js, once"
    npm install --silent --no-audit --no-fund --prefix "$modules" '@bytecodealliance/componentize-js@0.23'
}
MODULES=$modules node build.mjs
