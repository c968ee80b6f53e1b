#!/bin/sh
# Runs the tests of async-io and of crates that use it on the drop-in async-io of adapters/smol. They come from the
# registry as they are published, and run unchanged, in three ways:
#
#   own      on the drop-in's own loop, one test at a time
#   threads  the same, eight tests at a time
#   tokio    on a reactor that was installed before `main` and is driven inside tokio
#
# Without arguments, only async-io's own tests and examples of its documentation run. `tests/smol.sh all` runs
# everything, and names of packages choose those. ONELOOP_SMOL_TABLE=yes writes the table in docs/smol.md, of all
# results since the target folder was made.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/smol
suite=$target/suite
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export CARGO_TARGET_DIR="$target" CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0

everything="async-io async-net async-process async-signal async-fs smol async-tungstenite zbus"
case ${1:-} in
'') packages=async-io ;;
all) packages=$everything ;;
*) packages=$* ;;
esac

rm -rf "$suite"
mkdir -p "$suite/fetch/src" "$suite/hosted/src" "$suite/members"

# Fetches the packages, and copies each to where it is a member of a workspace that names the drop-in.
{
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
    for package in $everything; do
        echo "$package = '*'"
    done
} >"$suite/fetch/Cargo.toml"
touch "$suite/fetch/src/lib.rs"
(cd "$suite/fetch" && cargo fetch --quiet)
version() {
    sed -n "/^name = \"$1\"\$/{n;s/^version = \"\(.*\)\"/\1/p;}" "$suite/fetch/Cargo.lock" | sort -V | tail -n 1
}
published() {
    echo "$cargo_home"/registry/src/*/"$1-$(version "$1")" | tr ' ' '\n' | tail -n 1
}

# async-io's own tests need its package's dependencies, and its documentation's examples a library to stand in.
make_async_io() {
    source=$(published async-io)
    to=$suite/members/async-io
    mkdir -p "$to/src"
    cp -R "$source/tests" "$source/examples" "$to"
    # The published manifest, whose library the drop-in is.
    sed -e 's/^name = "async-io"$/name = "async-io-tests"/' -e '/^build = /d' \
        -e '/^\[\[bench\]\]/,/^$/d' -e '/^\[dev-dependencies.criterion\]/,/^$/d' \
        -e 's/^name = "async_io"$/name = "async_io_tests"/' -e '/^\[build-dependencies/,/^$/d' "$source/Cargo.toml" >"$to/Cargo.toml"
    printf '\n[dependencies.async-io]\nversion = "2"\n' >>"$to/Cargo.toml"
    find "$source/src" -name '*.rs' ! -name kqueue.rs ! -name windows.rs | sort | xargs cat |
        awk '
            /^ *\/\/[\/!]/ { sub(/^ *\/\/[\/!]/, "///"); print; inside = 1; next }
            inside { print "pub struct Documented" ++n ";\n"; inside = 0 }
        ' >"$to/src/lib.rs"
}

# The drop-in beside a constructor that installs a reactor.
make_hosted() {
    cat >"$suite/hosted/Cargo.toml" <<END
[package]
name = "async-io"
version = "2.6.99"
edition = "2024"

[features]
tracing = ["drop-in/tracing"]

[dependencies]
drop-in = { package = "async-io", path = "$root/adapters/smol" }
oneloop = { path = "$root", default-features = false }
oneloop-tokio = { path = "$root/adapters/tokio" }
tokio = { version = "1", features = ["net", "rt"] }
END
    cat >"$suite/hosted/src/lib.rs" <<'END'
pub use drop_in::*;

#[used]
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install;

extern "C" fn install() {
    let reactor = oneloop::Reactor::new().unwrap();
    drop_in::install(&reactor).unwrap();
    let drive = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.unwrap().block_on(oneloop_tokio::drive(&reactor)).unwrap();
    };
    std::thread::Builder::new().name("tokio".into()).spawn(drive).unwrap();
}
END
}

# use_async_io FOLDER: writes the workspace whose async-io is in that folder.
use_async_io() {
    {
        printf '[workspace]\nresolver = "2"\nmembers = [\n'
        for package in $packages; do
            echo "    \"members/$package\","
        done
        printf ']\n\n[patch.crates-io]\nasync-io = { path = "%s" }\n\n' "$1"
        # The published crates enforce lints for their authors.
        printf '[profile.dev]\ndebug = "line-tables-only"\n'
    } >"$suite/Cargo.toml"
    rm -f "$suite/Cargo.lock"
    for package in $packages; do
        # A published lock file would name the real async-io.
        rm -f "$suite/members/$package/Cargo.lock"
    done
}

for package in $packages; do
    if [ "$package" = async-io ]; then
        make_async_io
    else
        cp -R "$(published "$package")" "$suite/members/$package"
    fi
done
make_hosted

# Two private buses for zbus, one of which stands for the system's.
daemons=
cleanup() {
    for daemon in $daemons; do
        kill "$daemon" 2>/dev/null || true
    done
}
trap cleanup EXIT
start_bus() {
    mkfifo "$suite/address"
    dbus-daemon --session --nofork --print-address=1 >"$suite/address" 2>/dev/null &
    daemons="$daemons $!"
    read -r bus <"$suite/address"
    rm "$suite/address"
}
case " $packages " in
*" zbus "*)
    start_bus
    export DBUS_SESSION_BUS_ADDRESS="$bus"
    start_bus
    export DBUS_SYSTEM_BUS_ADDRESS="$bus"
    ;;
esac

# Arguments of cargo for one package.
arguments() {
    case $1 in
    async-tungstenite) echo "--features smol-runtime" ;;
    # Its documentation describes tokio, GLib and services that are not here.
    zbus) echo "--lib --tests" ;;
    esac
}

failed=
# run WAY PACKAGE: runs a package's tests, and notes how many passed.
run() {
    log=$suite/$1-$2.log
    status=0
    # shellcheck disable=SC2046
    (cd "$suite/members/$2" && timeout 1200 cargo test --quiet --no-fail-fast $(arguments "$2")) >"$log" 2>&1 ||
        status=$?
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed;.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    missed=$(sed -n 's/^test result: .* \([0-9]*\) failed;.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    echo "$1 $2 $passed $missed" >>"$target/results"
    echo "$2, $1: $passed passed, $missed failed"
    if [ $status != 0 ]; then
        grep -E '^(error|failures:|    [a-z_:]+$|thread .* panicked)' "$log" | sort -u | head -n 30 >&2
        failed="$failed $1/$2"
    fi
}

touch "$target/results"
use_async_io "$root/adapters/smol"
for package in $packages; do
    RUST_TEST_THREADS=1 run own "$package"
    RUST_TEST_THREADS=8 run threads "$package"
done
use_async_io "$suite/hosted"
for package in $packages; do
    RUST_TEST_THREADS=8 run tokio "$package"
done

if [ "${ONELOOP_SMOL_TABLE:-}" = yes ]; then
    {
        sed '/^<!-- begin/q' docs/smol.md
        echo "| package | its own loop | eight threads | installed, inside tokio |"
        echo "|---|---:|---:|---:|"
        for package in $everything; do
            grep -q " $package " "$target/results" || continue
            row="| $package $(version "$package") |"
            for way in own threads tokio; do
                row="$row $(awk -v w=$way -v p="$package" '$1 == w && $2 == p { n = $3 " of " $3 + $4 } END { print n }' \
                    "$target/results") |"
            done
            echo "$row"
        done
        sed -n '/^<!-- end/,$p' docs/smol.md
    } >"$suite/smol.md"
    cp "$suite/smol.md" docs/smol.md
fi

if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
