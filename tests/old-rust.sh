#!/bin/sh
# Type-checks the libraries with the oldest supported Rust, warnings denied. Run tests/all.sh first: it installs Debian's
# compiler and the sources of its standard library.
#
# tests/old-rust.sh [TARGET]...: for these systems, or for this one.
set -eu
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=target/old RUSTC=/usr/bin/rustc RUSTFLAGS="-D warnings" CARGO_INCREMENTAL=0

# check PACKAGES ARGUMENT...: these packages, and the drop-in async-io, which is a workspace of its own.
check() {
    packages=$1
    shift
    # shellcheck disable=SC2086
    /usr/bin/cargo check $packages --all-features "$@"
    /usr/bin/cargo check --manifest-path adapters/smol/Cargo.toml -p async-io --all-features "$@"
}

# The libraries, not their tests.
everywhere="-p oneloop -p oneloop-tokio -p oneloop-async-io -p oneloop-conformance"
on_unix="$everywhere -p oneloop-c"
if [ $# = 0 ]; then
    check "$on_unix -p oneloop-curl -p oneloop-inspect"
    exit
fi
for target in "$@"; do
    echo "for $target"
    case $target in
    *-windows-*)
        libraries=$everywhere
        # Its feature `inspect` is for Unix.
        RUSTC_BOOTSTRAP=1 /usr/bin/cargo check -p oneloop-c -Zbuild-std=std,panic_abort --target "$target"
        ;;
    *) libraries=$on_unix ;;
    esac
    RUSTC_BOOTSTRAP=1 check "$libraries" -Zbuild-std=std,panic_abort --target "$target"
    # The environment's compiler is not for the interface's check.
    env -u RUSTC tests/smol-api.sh "$target"
done
