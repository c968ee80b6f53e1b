#!/bin/sh
# The tests under AddressSanitizer (with LeakSanitizer), and those with threads under
# ThreadSanitizer; one of them with the argument `address` or `thread`. Says what it ran and what it
# could not run; fails on a finding.
#
# AddressSanitizer takes any toolchain of rustup, which has its runtime. ThreadSanitizer has to see
# the standard library's locks too, so that library is built again: from rustup's component rust-src,
# or from Debian's rustc and rust-src with the runtime of a toolchain of rustup. Helgrind and drd are
# no way out: they know pthread's locks only, and those of the standard library are its own.
#
# Left out, to be done in a few minutes: of the hosts of the contract all but the built-in loop and
# tokio on several threads, unless ONELOOP_SANITIZED_HOSTS names others. Left out always: TLS, which is
# others' code; and the C side under ThreadSanitizer, whose own threads are the same as Rust's. What is
# suppressed, and why, is in tests/sanitizers.txt.
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
runtimes=$(rustc --print sysroot)/lib/rustlib/$host/lib
# `-Zsanitizer`, on a stable compiler.
export RUSTC_BOOTSTRAP=1
export TSAN_OPTIONS="suppressions=$PWD/tests/sanitizers.txt"

# Of those in tests/hosts; all if it is empty.
hosts=${ONELOOP_SANITIZED_HOSTS-built_in:: tokio_multi_thread::}

ran="nothing"
note() {
    ran="$ran; $*"
    printf '\n== %s\n' "$*"
}

runtime() {
    find "$runtimes" -name "librustc-*_rt.$1.a" 2>/dev/null | head -n 1
}

address_sanitizer() {
    if [ -z "$(runtime asan)" ]; then
        note "no AddressSanitizer: the toolchain has no runtime of it"
        return
    fi
    note "AddressSanitizer: the core, the contract on two hosts, the C ABI"
    run_tests() {
        CARGO_TARGET_DIR=target/asan RUSTFLAGS="-Zsanitizer=address" \
            cargo test --target "$host" -p oneloop -p oneloop-c-tests "$@"
    }
    # A shared library has no runtime of the sanitizer, and does not find that of the tests.
    run_tests --lib --test clock --test forked --test futures --test handles --test limits --test local \
        --test moving --test old_kernel --test seeing --test signal --test stress --test abi \
        -- --skip another_copy
    # shellcheck disable=SC2086
    run_tests --test hosts -- $hosts
}

thread_sanitizer() {
    flags="-Zsanitizer=thread"
    if [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
        note "ThreadSanitizer, with the toolchain's own standard library built again"
        cargo=cargo
    elif [ -d /usr/lib/rustlib/src/rust/library ] && [ -n "$(runtime tsan)" ]; then
        note "ThreadSanitizer, with Debian's standard library built again"
        cargo=/usr/bin/cargo
        export RUSTC=/usr/bin/rustc
        flags="$flags -Zexternal-clangrt -Zpre-link-arg=-Wl,--whole-archive"
        flags="$flags -Zpre-link-arg=$(runtime tsan) -Zpre-link-arg=-Wl,--no-whole-archive"
        flags="$flags -Clink-arg=-lstdc++ -Clink-arg=-lm"
    else
        note "no ThreadSanitizer: there is no source of the standard library"
        return
    fi
    run_tests() {
        CARGO_TARGET_DIR=target/tsan RUSTFLAGS=$flags \
            "$cargo" test -Zbuild-std=std,panic_unwind,test --target "$host" -p oneloop "$@"
    }
    # ThreadSanitizer keeps a signal back until the thread that got it makes a call that it knows. A thread that waits
    # for another one, such as the test runner's, may never do so.
    run_tests --test forked --test futures --test handles --test local --test moving --test signal --test stress \
        -- --skip a_signal_wakes_a_loop_that_sleeps --skip a_signal_that_every_thread_blocks_is_refused
    # shellcheck disable=SC2086
    run_tests --test hosts -- $hosts
}

case ${1:-} in
address) address_sanitizer ;;
thread) thread_sanitizer ;;
*)
    address_sanitizer
    thread_sanitizer
    ;;
esac
printf '\n== ran: %s\n' "${ran#nothing; }"
