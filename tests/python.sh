#!/bin/sh
# Builds the Python package and tests it: the crate's own tests, the wheel's, and the test suites of asyncio, Tornado,
# Twisted and uvloop on oneloop's loops, each compared test by test with asyncio's own loop. The suites come from Debian
# and PyPI.
#
# tests/python.sh [SUITE]...    SUITE is asyncio, tornado, twisted or uvloop, or all. Without one, a share of asyncio's
#                               runs.
#
# ONELOOP_WHEEL_PROFILE=release builds the wheel as it is to be published: for manylinux2014, by zig. ONELOOP_PYTHONS
# names the interpreters that the wheel is tried on; the suites run on the first (default: Debian's).
set -eu
cd "$(dirname "$0")/.."
root=$PWD
pythons=${ONELOOP_PYTHONS:-/usr/bin/python3}
python=${pythons%% *}
mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/python
export CARGO_TARGET_DIR="$target" CARGO_INCREMENTAL=0
# The crate is linked with this one, whose header files are installed.
export PYO3_PYTHON=/usr/bin/python3

cd adapters/python
cargo fmt --check
cargo clippy --all-targets --features tokio -- -D warnings
cargo test --features tokio
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features tokio

tools=$target/tools
[ -e "$tools/bin/maturin" ] ||
    pip3 install --quiet --target "$tools" --require-hashes --only-binary :all: -r "$root/tests/python-tools.txt"
rm -rf "$target/wheels" "$target/site"
profile=${ONELOOP_WHEEL_PROFILE:-dev}
linked=
if [ "$profile" = release ]; then
    [ -e "$tools/ziglang" ] || pip3 install --quiet --target "$tools" --only-binary :all: ziglang==0.17.1
    linked="--zig --compatibility manylinux2014"
fi
# shellcheck disable=SC2086
PYTHONPATH=$tools "$tools/bin/maturin" build --quiet --profile "$profile" $linked --out "$target/wheels"
$python -m pip install --quiet --root-user-action ignore --no-deps --target "$target/site" "$target"/wheels/*.whl
for each in $pythons; do
    echo "$each: $($each --version)"
    PYTHONPATH=$target/site $each -X dev -W error tests/test_oneloop.py
done

peers=$target/peers
[ -e "$peers/tornado" ] || $python -m pip install --quiet --root-user-action ignore --target "$peers" \
    tornado twisted pyopenssl service_identity hypothesis pyhamcrest uvloop
PYTHONPATH=$target/site:$peers $python tests/test_hosts.py

# The example has each framework's page, and the kernel has one thread.
PYTHONPATH=$peers cargo run --quiet --features tokio --example all_on_one_thread | tee "$target/example"
for page in "asyncio: asyncio" "Tornado: Tornado" "Twisted: Twisted" "hyper: hyper" "callbacks: callbacks" \
    "threads: all_on_one_thre"; do
    grep -qx "$page" "$target/example"
done

suites=$*
if [ -z "$suites" ]; then
    export ONELOOP_PEERS_ONLY=test_selector_events,test_unix_events,test_streams,test_futures
    suites=asyncio
elif [ "$suites" = all ]; then
    suites="asyncio tornado twisted uvloop"
fi
case $suites in
*uvloop*)
    # The wheel has no tests.
    version=$(PYTHONPATH=$peers $python -c "import uvloop; print(uvloop.__version__)")
    $python -m pip download --quiet --root-user-action ignore --no-deps --no-binary uvloop --dest "$target/uvloop" \
        "uvloop==$version"
    rm -rf "$peers/uvloop_tests"
    mkdir "$peers/uvloop_tests"
    tar -xf "$target/uvloop/uvloop-$version.tar.gz" -C "$peers/uvloop_tests" --strip-components 2 --wildcards '*/tests/*'
    ;;
esac
for suite in $suites; do
    PYTHONPATH=$target/site:$peers $python tests/peers.py "$suite"
done
