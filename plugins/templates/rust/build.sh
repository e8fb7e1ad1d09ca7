#!/usr/bin/env bash
# Builds the plugin: `plugin.wasm`. Once before: `rustup target add wasm32-wasip2`.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2
cp "target/wasm32-wasip2/release/CRATE.wasm" plugin.wasm
