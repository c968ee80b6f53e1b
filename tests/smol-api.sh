#!/bin/sh
# Compares the public interface of the drop-in async-io in adapters/smol with that of async-io itself, which comes from
# the registry. Fails if an item, an implementation of a trait or a signature is missing.
#
# tests/smol-api.sh [TARGET]: for this system, or for another one by Debian's compiler, whose sources of the standard
# library tests/all.sh installs.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p "${CARGO_TARGET_DIR:-target}"
CARGO_TARGET_DIR=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
export CARGO_TARGET_DIR
files=$CARGO_TARGET_DIR/smol-api
rm -rf "$files"
mkdir -p "$files/fetch/src"

# The version of the drop-in is that of async-io whose interface it has.
version=$(sed -n 's/^version = "\([0-9.]*\)".*/\1/p' adapters/smol/Cargo.toml)
touch "$files/fetch/src/lib.rs"
cat >"$files/fetch/Cargo.toml" <<END
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
async-io = "=$version"
END
(cd "$files/fetch" && cargo fetch --quiet)
cp -R "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"async-io-$version" "$files/async-io"
printf '\n[workspace]\n' >>"$files/async-io/Cargo.toml"

# The format is unstable. smol-api says so if it cannot read it any more.
document() {
    RUSTC_BOOTSTRAP=1 "$@" -- -Z unstable-options --output-format json
}
for source in "$files/async-io" "$root/adapters/smol"; do
    cd "$source"
    if [ $# = 0 ]; then
        document cargo rustdoc --quiet --lib
        folder=$CARGO_TARGET_DIR/doc
    else
        RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc document /usr/bin/cargo rustdoc --quiet --lib \
            -Zbuild-std=std,panic_abort --target "$1"
        folder=$CARGO_TARGET_DIR/$1/doc
    fi
    mv "$folder/async_io.json" "$files/$(basename "$source").json"
done
CARGO_TARGET_DIR="$CARGO_TARGET_DIR/tool" cargo run --quiet --manifest-path "$root/adapters/smol/Cargo.toml" \
    -p smol-api -- "$files/async-io.json" "$files/smol.json"
