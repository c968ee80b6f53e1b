#!/bin/sh
# Compiles the libraries with the oldest versions that their Cargo.toml allow of what they use, and runs the tokio
# adapter's tests with the oldest tokio, each in a copy. So does the drop-in async-io, with a libc that is older than
# tokio's. If it fails, something in a Cargo.toml is too low. Needs cargo-hack.
set -eu
cd "$(dirname "$0")/.."
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
copy=$target/minimal-versions
rm -rf "$copy"
mkdir -p "$copy/libraries" "$copy/tokio" "$copy/smol"
for what in libraries tokio smol; do
    cp -R Cargo.toml Cargo.lock build.rs README.md src adapters examples tests benches "$copy/$what"
done

tokio=$(sed -n 's/^tokio = "\([0-9.]*\)".*/\1/p' Cargo.toml)
cd "$copy/tokio"
cargo update --quiet tokio --precise "$tokio.0"
cargo tree -p oneloop-tokio --depth 1 --prefix none --edges normal | grep '^tokio '
CARGO_TARGET_DIR=$target cargo test -p oneloop-tokio

libc=$(sed -n 's/^libc = "\([0-9.]*\)" # As rustix.*/\1/p' Cargo.toml)
cd "$copy/smol/adapters/smol"
rm Cargo.lock
sed -i '/^members = /d' Cargo.toml
cargo hack --remove-dev-deps locate-project >/dev/null
# Also what its dependencies use: no other version of libc is older than the one that is stated.
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z minimal-versions
cargo tree --prefix none --edges normal | sort -u
cargo tree --prefix none --edges normal | grep -qx "libc v$libc"
CARGO_TARGET_DIR=$target/minimal RUSTFLAGS="-D warnings" cargo check

cd "$copy/libraries"
rm Cargo.lock
# All packages have one libc, and tokio's is newer.
sed -i 's/^libc = .* # As rustix.*/libc.workspace = true/' Cargo.toml
# The versions that tests use say nothing about the libraries. (A command that resolves no versions.)
cargo hack --workspace --remove-dev-deps locate-project >/dev/null
# One of each version serves all packages, and compio asks for newer ones than the rest.
rm -r adapters/compio
# Nor does what is not published.
sed -i '/^members = \[$/,/^]$/c\members = ["adapters/*", "tests/conformance"]' Cargo.toml
sed -i '/^default-members = \[$/,/^]$/d' Cargo.toml
# The option is unstable, but not what it does.
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
cargo tree --workspace --all-features --depth 1 --prefix none --edges normal | grep -v '^\(oneloop\|$\)' | sort -u
CARGO_TARGET_DIR=$target/minimal RUSTFLAGS="-D warnings" cargo check --workspace --all-features
