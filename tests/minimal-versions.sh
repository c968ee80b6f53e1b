#!/bin/sh
# The libraries, with the oldest versions that their Cargo.toml allow of what they use, in a copy. If it
# fails, something in a Cargo.toml is too low. Needs cargo-hack.
set -eu
cd "$(dirname "$0")/.."
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
copy=$target/minimal-versions
rm -rf "$copy"
mkdir "$copy"
cp -R Cargo.toml build.rs README.md src adapters examples tests benches "$copy"
cd "$copy"
# What tests use says nothing about the libraries. (A command that resolves no versions.)
cargo hack --workspace --remove-dev-deps locate-project >/dev/null
# Nor does what is not published.
sed -i '/^members = \[$/,/^]$/c\members = ["adapters/*", "tests/conformance"]' Cargo.toml
sed -i '/^default-members/d' Cargo.toml
# The option is unstable, but not what it does.
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
cargo tree --workspace --all-features --depth 1 --prefix none --edges normal | grep -v '^\(oneloop\|$\)' | sort -u
CARGO_TARGET_DIR=$target/minimal RUSTFLAGS="-D warnings" cargo check --workspace --all-features
