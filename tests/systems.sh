#!/bin/sh
# Builds tests for other systems with Debian's compiler and the sources of its standard library, and runs them here.
# Installs what is missing (Debian, root).
#
# tests/systems.sh [SYSTEM]...: these, or all.
#
# aarch64, armv7, s390x  under qemu: pointers of 64 and 32 bits, and big-endian. The contract on the built-in loop.
# windows                under Wine: the contract on each host that there is, Ctrl-C, children, and the C library.
# musl                   linked statically: the contract on the built-in loop, and the C library.
# android                type-checked.
#
# With ONELOOP_SYSTEMS=all, also the contract on all hosts, topics of the core and random programs; libcurl on Windows.
set -eu
cd "$(dirname "$0")/.."

export CARGO_PROFILE_DEV_DEBUG=line-tables-only
export CARGO_INCREMENTAL=0
export CARGO_TARGET_DIR="$PWD/target/systems"
export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
mkdir -p "$CARGO_TARGET_DIR"

step() {
    printf '\n== %s\n' "$*"
}

# install FILE PACKAGE...: installs the packages if the file is not there.
updated=
install() {
    [ -e "$1" ] && return
    shift
    step "installing $*"
    [ -n "$updated" ] || apt-get update -qq
    updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

rust() {
    case $(/usr/bin/rustc --version 2>/dev/null) in
    *" 1.85."*) ;;
    *) install "Rust 1.85" --allow-downgrades 'rustc-web=1.85.*' 'cargo-web=1.85.*' 'rust-web-src=1.85.*' \
        'libstd-rust-web-dev=1.85.*' ;;
    esac
}

# cargo_for TARGET COMMAND...: cargo, with a standard library that is built along.
cargo_for() {
    target=$1
    command=$2
    shift 2
    /usr/bin/cargo "$command" -Zbuild-std=std,panic_unwind,test --target "$target" "$@"
}

# Topics of the core. Others need a newer compiler (`seeing`), seccomp, which qemu does not have (`old_kernel`), or the
# right to set the clock (`clock`).
topics="--lib --test current --test forked --test futures --test handles --test limits --test moving --test nested
    --test rate --test signal --test stress"

# unix TARGET: the tests that run on any Linux. $skipped has the arguments for what cannot.
unix() {
    if [ "${ONELOOP_SYSTEMS:-}" != all ]; then
        # shellcheck disable=SC2086
        cargo_for "$1" test -p oneloop --test hosts -- built_in $skipped
        return
    fi
    # shellcheck disable=SC2086
    cargo_for "$1" test -p oneloop --test hosts -- $skipped
    # shellcheck disable=SC2086
    cargo_for "$1" test -p oneloop --no-fail-fast $topics -- $skipped
    ONELOOP_MODEL_STEPS=10000 cargo_for "$1" test -p oneloop-model --test programs
}

# qemu TARGET TRIPLET EMULATOR PACKAGE...
qemu() {
    target=$1 triplet=$2 emulator=$3
    shift 3
    install "/usr/bin/$emulator" qemu-user
    install "/usr/bin/$triplet-gcc" "gcc-$triplet" "$@"
    name=$(echo "$target" | tr a-z- A-Z_)
    export "CARGO_TARGET_${name}_LINKER=$triplet-gcc" "CARGO_TARGET_${name}_RUNNER=$emulator -L /usr/$triplet"
    export "CC_$(echo "$target" | tr - _)=$triplet-gcc"
    # They measure time, and qemu is too slow for that.
    skipped="--skip short_timers_are_good_to_well_under_a_millisecond
        --skip turns_that_find_nothing_do_not_sleep_beside_a_handler_with_a_priority"
    # qemu has no seccomp, does not clear pages in a child (by which alone a bare clone is noticed), and shows the signals
    # that its own threads block.
    skipped="$skipped --skip seccomp:: --skip a_child_of_clone_is_told
        --skip a_signal_that_every_thread_blocks_is_refused"
    unix "$target"
}

aarch64() {
    qemu aarch64-unknown-linux-gnu aarch64-linux-gnu qemu-aarch64 libc6-dev-arm64-cross
}

armv7() {
    qemu armv7-unknown-linux-gnueabihf arm-linux-gnueabihf qemu-arm libc6-dev-armhf-cross
}

s390x() {
    qemu s390x-unknown-linux-gnu s390x-linux-gnu qemu-s390x libc6-dev-s390x-cross
}

windows() {
    target=x86_64-pc-windows-gnu
    install /usr/bin/x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64-posix
    install /usr/lib/wine/wine64 wine64
    tools=$CARGO_TARGET_DIR/tools
    mkdir -p "$tools"
    # Called as gcc, by which rustc knows its options. The standard library's start-up objects do nothing on 64 bits, and
    # Debian does not have them.
    cat >"$tools/gcc" <<'SCRIPT'
#!/bin/sh
for argument; do
    shift
    case $argument in rsbegin.o | rsend.o) ;; *) set -- "$@" "$argument" ;; esac
done
exec x86_64-w64-mingw32-gcc "$@"
SCRIPT
    # Wine 8 lacks a library of which the standard library uses one function.
    cat >"$tools/random.c" <<'SOURCE'
__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *data, unsigned long long length) {
    return SystemFunction036(data, length);
}
SOURCE
    cat >"$tools/run" <<SCRIPT
#!/bin/sh
x86_64-w64-mingw32-gcc -shared -o "\$(dirname "\$1")/bcryptprimitives.dll" "$tools/random.c" -ladvapi32
exec /usr/lib/wine/wine64 "\$@"
SCRIPT
    # Wine gives a console to a program in a terminal.
    cat >"$tools/console" <<SCRIPT
#!/bin/sh
exec script -qec "$tools/run \$*" /dev/null
SCRIPT
    chmod +x "$tools"/*
    runner=CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER="$tools/gcc" $runner="$tools/run"
    export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc WINEPREFIX="$CARGO_TARGET_DIR/wine" WINEDEBUG=-all
    cargo_for $target test -p oneloop-conformance --test windows
    (
        export $runner="$tools/console"
        cargo_for $target test -p oneloop-conformance --test windows -- --ignored
    )
    # The C library, shared and static.
    cargo_for $target build -p oneloop-c
    built=$CARGO_TARGET_DIR/$target/debug
    for library in oneloop_c.dll liboneloop_c.a; do
        x86_64-w64-mingw32-gcc -std=c99 -pedantic -Wall -Wextra -Wshadow -Werror -Iadapters/c/include -o "$built/c.exe" \
            tests/c/windows.c "$built/$library" -lws2_32 -lbcrypt -lntdll -luserenv
        "$tools/run" "$built/c.exe"
    done
    # One at a time, because the numbers of closed sockets are used again at once. A process for each host, because there
    # are only so many ports.
    for host in built_in wake_loop tokio_current_thread tokio_multi_thread tokio_local_set async_io_block_on smol_executor; do
        cargo_for $target test -p oneloop-conformance --test no_descriptor -- $host --test-threads 1
    done
    # libcurl takes minutes to compile.
    if [ "${ONELOOP_SYSTEMS:-}" = all ]; then
        cargo_for $target test -p oneloop-curl --features curl/static-curl --test windows
    fi
}

musl() {
    target=x86_64-unknown-linux-musl
    install /usr/bin/musl-gcc musl-tools
    tools=$CARGO_TARGET_DIR/tools
    mkdir -p "$tools"
    # The unwinder of Debian's compiler, with what it expects of glibc: a function that finds the tables of an address,
    # and functions for threads, to which it has only weak references.
    cat >"$tools/find.c" <<'SOURCE'
#include <link.h>
#include <pthread.h>

void *const needed[] = {pthread_once,       pthread_mutex_lock,  pthread_mutex_unlock,
                        pthread_key_create, pthread_getspecific, pthread_setspecific};

struct found {
    unsigned long long flags;
    char *start, *end, *link_map, *tables;
};

struct search {
    char *address;
    struct found *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data) {
    struct search *search = data;
    int is_here = 0;
    (void)size;
    search->found->tables = 0;
    for (int n = 0; n < object->dlpi_phnum; n++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[n];
        char *start = (char *)object->dlpi_addr + part->p_vaddr, *end = start + part->p_memsz;
        if (part->p_type == PT_LOAD && start <= search->address && search->address < end) {
            search->found->start = start;
            search->found->end = end;
            is_here = 1;
        }
        if (part->p_type == PT_GNU_EH_FRAME)
            search->found->tables = start;
    }
    return is_here && search->found->tables;
}

int _dl_find_object(void *address, struct found *found) {
    struct search search = {address, found};
    return dl_iterate_phdr(look, &search) ? 0 : -1;
}
SOURCE
    cp "$(gcc -print-file-name=libgcc_eh.a)" "$tools/libunwind.a"
    musl-gcc -Wall -Wextra -Werror -c "$tools/find.c" -o "$tools/find.o"
    ar r "$tools/libunwind.a" "$tools/find.o"
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=musl-gcc CC_x86_64_unknown_linux_musl=musl-gcc
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Clink-self-contained=no -Crelocation-model=static
        -Lnative=$tools"
    unix $target
    cargo_for $target build -p oneloop-c
    musl-gcc -static -Iadapters/c/include -o "$CARGO_TARGET_DIR/$target/debug/echo" examples/c/echo.c \
        "$CARGO_TARGET_DIR/$target/debug/liboneloop_c.a" "$tools/libunwind.a"
    "$CARGO_TARGET_DIR/$target/debug/echo"
}

android() {
    RUSTFLAGS="-D warnings" /usr/bin/cargo check -Zbuild-std=std,panic_abort --target aarch64-linux-android --all-features \
        -p oneloop -p oneloop-c -p oneloop-tokio -p oneloop-async-io -p oneloop-conformance
}

rust
systems=${*:-aarch64 armv7 s390x windows musl android}
for system in $systems; do
    step "$system"
    skipped=
    start=$(date +%s)
    # Not as a condition, in which `set -e` does not count.
    "$system"
    step "$system: passed in $(($(date +%s) - start)) s"
done
