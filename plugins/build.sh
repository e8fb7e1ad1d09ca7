#!/usr/bin/env bash
# Builds the example plugins of this folder: each becomes `plugin.wasm` beside its `plugin.toml`.
#
#   plugins/build.sh           all that can be built here
#   plugins/build.sh loyalty   this one
#
# Rust: `rustup target add wasm32-wasip2` is the ordinary way. Where that target cannot be had, Debian's packages for
# WebAssembly are taken (see `debian_rust`), which give a component that imports nothing but Storehand's own interface.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p ../target/plugins
target=$(cd ../target/plugins && pwd)
compilers=$target

# A compiler for WebAssembly out of Debian's packages, unpacked below target/: nothing is installed.
debian_rust() {
    local at="$compilers/rust-web"
    if [ ! -x "$at/usr/bin/rustc" ]; then
        command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
        mkdir -p "$at/debs"
        apt-cache show rustc-web >/dev/null 2>&1 || apt-get update -qq || return 1
        local std llvm
        std=$(apt-cache depends libstd-rust-web-dev | sed -n 's/.*Depends: \(libstd-rust-web-[0-9].*\)/\1/p' | head -1)
        llvm=$(apt-cache depends "$std" rustc-web | sed -n 's/.*Depends: \(libllvm[0-9]*\)/\1/p' | head -1)
        (cd "$at/debs" && apt-get download -qq rustc-web "$std" libstd-rust-web-dev rust-web-src "$llvm" 2>/dev/null) || return 1
        for package in "$at"/debs/*.deb; do dpkg -x "$package" "$at"; done
        rm -rf "$at/debs"
    fi
    local bin
    bin="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
    [ -x "$bin/wasm-component-ld" ] || return 1
    export LD_LIBRARY_PATH="$at/usr/lib/x86_64-linux-gnu" RUSTC="$at/usr/bin/rustc" RUSTC_BOOTSTRAP=1
    export PATH="$bin/gcc-ld:$bin:$PATH"
}

rust() {
    local folder=$1 name=$2
    local file="${name//-/_}.wasm"
    if rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip2; then
        cargo build --locked --release --target wasm32-wasip2 --target-dir "$target" -p "$name"
        cp "$target/wasm32-wasip2/release/$file" "$folder/plugin.wasm"
    else
        (
            debian_rust || { echo "SKIPPED: $folder: no way to compile Rust to WebAssembly here (rustup target add wasm32-wasip2)" >&2; exit 3; }
            cargo rustc --locked --release --target wasm32-unknown-unknown -Zbuild-std=std,panic_abort --target-dir "$target" -p "$name" -- \
                -Clinker=wasm-component-ld -Clinker-flavor=wasm-lld -Clink-arg=-zstack-size=65536
            cp "$target/wasm32-unknown-unknown/release/$file" "$folder/plugin.wasm"
        ) || { [ $? -eq 3 ] && return 0; return 1; }
    fi
    echo "$folder/plugin.wasm: $(stat -c %s "$folder/plugin.wasm") bytes"
}

# JavaScript: componentize-js, which brings its own engine (12 MB); through its API, since its command fails.
javascript() {
    local folder=$1 modules="$target/componentize-js"
    command -v npm >/dev/null && command -v node >/dev/null || { echo "SKIPPED: $folder: no node and npm" >&2; return 0; }
    [ -d "$modules/node_modules/@bytecodealliance/componentize-js" ] ||
        npm install --silent --no-audit --no-fund --prefix "$modules" '@bytecodealliance/componentize-js@0.23' ||
        { echo "SKIPPED: $folder: componentize-js cannot be had" >&2; return 0; }
    MODULES=$modules node "$folder/build.mjs"
    echo "$folder/plugin.wasm: $(stat -c %s "$folder/plugin.wasm") bytes"
}

# Python: componentize-py, which brings its own interpreter (18 MB).
python() {
    local folder=$1 module=$2 venv="$target/componentize-py"
    [ -x "$venv/bin/componentize-py" ] || { python3 -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check 'componentize-py==0.25'; } ||
        { echo "SKIPPED: $folder: componentize-py cannot be had" >&2; return 0; }
    (cd "$folder" && "$venv/bin/componentize-py" -d ../wit -w capability componentize "$module" -o plugin.wasm >/dev/null)
    echo "$folder/plugin.wasm: $(stat -c %s "$folder/plugin.wasm") bytes"
}

# `--crate FOLDER NAME`: a project of its own, as `storehand plugin new` makes it.
if [ "${1:-}" = --crate ]; then
    cd "$2"
    target="$target/$3"
    [ -e Cargo.lock ] || cargo generate-lockfile
    rust . "$3"
    exit
fi

wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=(bench-rule loyalty wechat-shop address-check price-text)
for plugin in "${wanted[@]}"; do
    case $plugin in
    bench-rule) rust bench-rule bench-rule ;;
    loyalty) rust loyalty acme-loyalty ;;
    wechat-shop) rust wechat-shop wechat-shop ;;
    address-check) javascript address-check ;;
    price-text) python price-text app ;;
    *) echo "there is no plugin $plugin here" >&2; exit 2 ;;
    esac
done
