#!/bin/sh
# Compiles the libraries with the oldest versions that their Cargo.toml allow of what they use, and runs the tokio
# adapter's tests with the oldest tokio, each in a copy. If it fails, something in a Cargo.toml is too low. Needs
# cargo-hack.
set -eu
cd "$(dirname "$0")/.."
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
copy=$target/minimal-versions
rm -rf "$copy"
mkdir -p "$copy/libraries" "$copy/tokio"
for what in libraries tokio; do
    cp -R Cargo.toml Cargo.lock build.rs README.md src adapters examples tests benches "$copy/$what"
done

tokio=$(sed -n 's/^tokio = "\([0-9.]*\)".*/\1/p' Cargo.toml)
cd "$copy/tokio"
cargo update --quiet tokio --precise "$tokio.0"
cargo tree -p oneloop-tokio --depth 1 --prefix none --edges normal | grep '^tokio '
CARGO_TARGET_DIR=$target cargo test -p oneloop-tokio

cd "$copy/libraries"
rm Cargo.lock
# What tests use says nothing about the libraries. (A command that resolves no versions.)
cargo hack --workspace --remove-dev-deps locate-project >/dev/null
# Nor does what is not published.
sed -i '/^members = \[$/,/^]$/c\members = ["adapters/*", "tests/conformance"]' Cargo.toml
sed -i '/^default-members = \[$/,/^]$/d' Cargo.toml
# The option is unstable, but not what it does.
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
cargo tree --workspace --all-features --depth 1 --prefix none --edges normal | grep -v '^\(oneloop\|$\)' | sort -u
CARGO_TARGET_DIR=$target/minimal RUSTFLAGS="-D warnings" cargo check --workspace --all-features
