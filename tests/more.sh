#!/bin/sh
# Runs at full length the tests of which tests/all.sh runs a share. Run tests/all.sh first: it installs what these need.
#
# tests/more.sh [PART]...: runs these parts, or all, one after the other. The output of each is in target/more. Fails
# if one of them does, after the others.
#
# part         here                                                       in tests/all.sh
# contract     the cases on all hosts 50 times, by twice as many threads  once
#              as there are processors
# model        50 million steps of random programs, others each time      800,000, always the same
# fuzz         an hour of byte strings, others each time                  40 seconds, always the same, in turn
# loom         orders with three preemptions of each thread               with two
# stress       each test for two minutes                                  1.5 seconds
# sanitizers   the contract on all hosts                                  on two, in turn
# versions     libcurl's newest, built from source, and the oldest of      the same, in turn
#              what the libraries use
# poll         the polling crate on poll(2)                               the same, in turn
# types        the oldest Rust, for macOS, FreeBSD and Windows            the same, in turn
# systems      all systems that tests/systems.sh has, on all hosts        Windows, armv7 and musl, in turn
# soak         each of four ways to drive, for half an hour               a minute of all in turn
# guests       each guest in each host rests for 10 seconds; 5,000 races  for 0.1 seconds; 60
# windows      windows of GTK, with either loop outside, of winit and of   -
#              Qt, under Xvfb
# benches      all rounds                                                 one, in turn
# python       the suites of asyncio, Tornado, Twisted and uvloop         a part of asyncio's
# mutants      all, one twentieth after the other                         a sample, in turn
#
# "In turn": each commit has one of these.
#
# ONELOOP_STRESS_SECONDS, ONELOOP_FUZZ_SECONDS, ONELOOP_MODEL_STEPS, ONELOOP_SOAK_MINUTES, ONELOOP_ROUNDS (of the
# contract) and ONELOOP_MUTANTS=K/N shorten or prolong a part.
set -u
cd "$(dirname "$0")/.."
logs=$PWD/target/more
mkdir -p "$logs"

export CARGO_INCREMENTAL=0

contract() {
    for _ in $(seq "${ONELOOP_ROUNDS:-50}"); do
        cargo test -q -p oneloop --all-features --test hosts -- --test-threads $((2 * $(nproc)))
    done
}

model() {
    export ONELOOP_MODEL_SEED=random ONELOOP_MODEL_STEPS="${ONELOOP_MODEL_STEPS:-50000000}"
    cargo test -p oneloop-model --all-features --test programs
}

fuzz() {
    export ONELOOP_FUZZ_SEED=0 ONELOOP_FUZZ_SECONDS="${ONELOOP_FUZZ_SECONDS:-3600}"
    tests/fuzz.sh
}

loom() {
    LOOM_MAX_PREEMPTIONS=3 RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
        cargo test --release -p oneloop-loom -- --nocapture
}

stress() {
    export ONELOOP_STRESS_SECONDS="${ONELOOP_STRESS_SECONDS:-120}"
    cargo test -p oneloop --all-features --test stress
}

sanitizers() {
    ONELOOP_SANITIZED_HOSTS='' tests/sanitizers.sh
}

versions() {
    cargo test -p oneloop-curl --features curl/static-curl
    tests/minimal-versions.sh
}

poll() {
    RUSTFLAGS="--cfg polling_test_poll_backend -D warnings" CARGO_TARGET_DIR=target/poll \
        cargo test -p oneloop-conformance --test no_descriptor
}

types() {
    tests/old-rust.sh x86_64-apple-darwin x86_64-unknown-freebsd x86_64-pc-windows-gnu
}

systems() {
    ONELOOP_SYSTEMS=all tests/systems.sh
}

soak() {
    cargo build --release -p oneloop-soak
    for host in builtin tokio async-io moving; do
        target/release/oneloop-soak --minutes "${ONELOOP_SOAK_MINUTES:-30}" --host $host
    done
}

guests() {
    ONELOOP_REST_MILLIS=10000 cargo test -p oneloop-guests-tests --test pairs -- --test-threads 64
    ONELOOP_GUEST_ROUNDS=5000 cargo test -p oneloop-guests-tests --test words -- falls_asleep
}

windows() {
    command -v Xvfb >/dev/null && pkg-config --exists gtk4 Qt6Widgets xkbcommon-x11 ||
        apt-get install -y -qq --no-install-recommends xvfb libgtk-4-dev qt6-base-dev libxkbcommon-x11-dev
    for package in gtk:adapters/glib/examples winit:examples/winit; do
        export CARGO_TARGET_DIR="$PWD/target/${package%%:*}"
        manifest=${package#*:}/Cargo.toml
        cargo fmt --manifest-path "$manifest" --check
        cargo clippy --manifest-path "$manifest" --all-targets -- -D warnings
        cargo test --manifest-path "$manifest"
    done
    unset CARGO_TARGET_DIR
    prefix=$PWD/target/prefix
    adapters/c/install.sh "$prefix"
    export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
    # shellcheck disable=SC2046
    set -- -std=c++17 -fPIC -Wall -Wextra -Werror $(pkg-config --cflags --libs oneloop Qt6Widgets) \
        -Wl,-rpath,"$prefix/lib" -pthread
    c++ -g -fsanitize=address -o target/qt tests/screen/tests/qt.cpp "$@"
    # With both of Qt's own loops.
    timeout 60 target/qt
    QT_NO_GLIB=1 timeout 60 target/qt
    c++ -o target/qt_window examples/c/qt_window.cpp "$@"
    target/qt_window --help | grep -q Usage:
    ONELOOP_QT_WINDOW=$PWD/target/qt_window cargo test -p oneloop-screen -- --ignored
}

python() {
    export ONELOOP_PYTHON_AWAITS=200000 ONELOOP_PYTHON_LOOPS=500
    ONELOOP_WHEEL_PROFILE=release tests/python.sh all
    target=$PWD/target/python
    CARGO_TARGET_DIR=$target PYO3_PYTHON=/usr/bin/python3 \
        cargo build --release --manifest-path adapters/python/bench/Cargo.toml
    cp "$target/release/libawaits.so" "$target/site/awaits.abi3.so"
    PYTHONPATH=$target/site:$target/peers /usr/bin/python3 adapters/python/bench/bench.py
}

benches() {
    cargo bench -p oneloop-benches --all-features
    cargo bench -p oneloop-guests-tests --bench cost
}

mutants() {
    # One share after the other, so that something is known after an hour.
    code=0
    for share in ${ONELOOP_MUTANTS:-$(seq -f %g/20 0 19)}; do
        ONELOOP_MUTANTS=$share tests/mutants.sh || code=$?
    done
    rm -rf target/mutants/build target/mutants/tree
    return $code
}

failed=
for part in ${*:-contract model fuzz loom stress sanitizers versions poll types systems soak guests windows python benches mutants}; do
    start=$(date +%s)
    # Not as a condition, in which `set -e` does not count.
    (set -e; "$part") >"$logs/$part" 2>&1
    code=$?
    echo "$part: $([ $code = 0 ] && echo passed || echo "FAILED, see $logs/$part"), $(($(date +%s) - start)) s"
    [ $code = 0 ] || failed=yes
done
[ -z "$failed" ]
