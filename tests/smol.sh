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

# async-tungstenite-0.14 is the last version whose package has its tests. They run on async-std, and that on async-io.
everything="async-io async-net async-process async-signal async-fs smol async-tungstenite async-tungstenite-0.14 zbus"
case ${1:-} in
'') packages=async-io ;;
all) packages=$everything ;;
*) packages=$* ;;
esac

rm -rf "$suite"
mkdir -p "$suite/hosted/src" "$suite/members"

# Fetches a package, and prints where its source is.
published() {
    name=$1 wanted='*'
    case $1 in
    async-tungstenite-0.14) name=async-tungstenite wanted=0.14 ;;
    # The last version whose runtime is async-io.
    zbus) wanted=5 ;;
    esac
    fetch=$suite/fetch/$1
    mkdir -p "$fetch/src"
    touch "$fetch/src/lib.rs"
    cat >"$fetch/Cargo.toml" <<END
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
$name = "$wanted"
END
    (cd "$fetch" && cargo fetch --quiet)
    version=$(sed -n "/^name = \"$name\"\$/{n;s/^version = \"\(.*\)\"/\1/p;}" "$fetch/Cargo.lock")
    echo "$cargo_home"/registry/src/*/"$name-$version" | tr ' ' '\n' | tail -n 1
}

# async-io's own tests need its package's dependencies, and its documentation's examples a library to stand in.
make_async_io() {
    to=$suite/members/async-io/package
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

# use_async_io FOLDER: makes that folder the async-io of all packages. Each is in a workspace of its own.
use_async_io() {
    for package in $packages; do
        cat >"$suite/members/$package/Cargo.toml" <<END
[workspace]
resolver = "2"
members = ["package"]

[patch.crates-io]
async-io = { path = "$1" }

[profile.dev]
debug = "line-tables-only"
END
        rm -f "$suite/members/$package/Cargo.lock"
    done
}

for package in $packages; do
    source=$(published "$package")
    mkdir -p "$suite/members/$package"
    echo "${source##*/}" >"$target/version-$package"
    if [ "$package" = async-io ]; then
        make_async_io
    else
        cp -R "$source" "$suite/members/$package/package"
        # A published lock file would name the real async-io.
        rm -f "$suite/members/$package/package/Cargo.lock"
    fi
    if [ "$package" = zbus ]; then
        # Its tests use this package of its workspace, which the published manifest leaves out.
        printf '\n[dev-dependencies.zbus_xml]\nversion = "5"\n' >>"$suite/members/zbus/package/Cargo.toml"
    fi
done
make_hosted

# The services that the tests need. They end with this script.
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
# Two private buses, one of which stands for the system's.
*" zbus "*)
    start_bus
    export DBUS_SESSION_BUS_ADDRESS="$bus"
    start_bus
    export DBUS_SYSTEM_BUS_ADDRESS="$bus"
    ;;
esac
case " $packages " in
# An example of the documentation asks example.com for a page.
*" smol "*)
    mkdir "$suite/page"
    python3 -m http.server 80 --bind 127.0.0.80 --directory "$suite/page" >/dev/null 2>&1 &
    daemons="$daemons $!"
    { cat /etc/hosts && echo "127.0.0.80 example.com www.example.com"; } >"$suite/hosts"
    ;;
esac

# with_names PACKAGE COMMAND...: runs a command for which example.com is this machine, if the package needs that.
with_names() {
    package=$1
    shift
    case $package in
    # shellcheck disable=SC2016
    smol) unshare --mount sh -c 'mount --bind "$1" /etc/hosts && shift && exec "$@"' sh "$suite/hosts" "$@" ;;
    *) "$@" ;;
    esac
}

# Arguments of cargo for one package.
arguments() {
    case $1 in
    async-tungstenite) echo "--features smol-runtime" ;;
    async-tungstenite-0.14) echo "--features async-std-runtime" ;;
    # Its documentation describes tokio, GLib and services that are not here. The two tests want a running systemd.
    zbus) echo "--lib --tests -- --skip fdpass_systemd --skip unixexec_connection_async" ;;
    esac
}

failed=
# run WAY PACKAGE: runs a package's tests, and notes how many passed.
run() {
    log=$suite/$1-$2.log
    status=0
    # shellcheck disable=SC2046
    (cd "$suite/members/$2/package" && with_names "$2" timeout 1200 cargo test --quiet --no-fail-fast $(arguments "$2")) \
        >"$log" 2>&1 || status=$?
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed;.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    missed=$(sed -n 's/^test result: .* \([0-9]*\) failed;.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    echo "$1 $2 $passed $missed" >>"$target/results"
    echo "$2, $1: $passed passed, $missed failed"
    if [ $status != 0 ] || [ "$passed" = 0 ]; then
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
            row="| $(sed 's/-\([0-9.]*\)$/ \1/' "$target/version-$package") |"
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
