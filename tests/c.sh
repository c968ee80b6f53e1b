#!/bin/sh
# Installs the C library as a package would, compiles programs and headers against it, and runs the tests from C and of C
# libraries under valgrind. Run tests/all.sh first: it installs what this needs.
set -eu
cd "$(dirname "$0")/.."

# As in tests/all.sh, which has built most of it.
export CARGO_INCREMENTAL=0

step() {
    printf '\n== %s\n' "$*"
}

step "C: installed, compiled by pkg-config, and looked at by valgrind"
prefix=$PWD/target/prefix
adapters/c/install.sh "$prefix"
others=$(nm -D --defined-only "$prefix/lib/liboneloop.so" | grep -v ' oneloop_' || true)
[ -z "$others" ] || { echo "liboneloop.so has names of others: $others" && exit 1; }
# As for a package.
DESTDIR=target/stage adapters/c/install.sh --libdir lib/some-triplet /usr
[ -e target/stage/usr/lib/some-triplet/liboneloop.so ]
[ -e target/stage/usr/include/oneloop-curl.h ]
if grep -r stage target/stage/usr/lib/some-triplet/pkgconfig; then exit 1; fi
rm -rf target/stage
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
# shellcheck disable=SC2046
cc -Wall -Wextra -Werror -o target/echo examples/c/echo.c $(pkg-config --cflags --libs oneloop)
LD_LIBRARY_PATH="$prefix/lib" target/echo --help | grep -q Usage:
LD_LIBRARY_PATH="$prefix/lib" target/echo
# shellcheck disable=SC2046
cc -o target/redis examples/c/redis.c $(pkg-config --cflags --libs oneloop hiredis) -Wl,-rpath,"$prefix/lib"
target/redis --help | grep -q Usage:
# shellcheck disable=SC2046
cc -o target/echo-static examples/c/echo.c $(pkg-config --cflags oneloop) "$prefix/lib/liboneloop.a" \
    -lpthread -ldl -lm
valgrind="valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite
    --errors-for-leak-kinds=definite --fair-sched=try"
# shellcheck disable=SC2086
$valgrind target/echo-static
# The headers are strict C99, and C++ as well. Those of the libraries need not be.
packages="dbus-1 libpq libpulse avahi-client xcb libzmq libsystemd libcares libcurl hiredis libusb-1.0 libmosquitto
    libmicrohttpd libmariadb libssh2 alsa wayland-client rdkafka"
for header in "$prefix"/include/*.h; do
    # It is C++, and tests/more.sh compiles it with Qt.
    [ "$(basename "$header")" != oneloop-qt.h ] || continue
    # shellcheck disable=SC2046,SC2086
    set -- -pedantic -Wall -Wextra -Wshadow -Werror -fsyntax-only $(pkg-config --cflags oneloop) \
        $(pkg-config --cflags $packages | sed "s/-I/-isystem/g")
    echo "#include <$(basename "$header")>" >target/header.c
    cc -std=c99 "$@" target/header.c
    c++ -std=c++11 -x c++ "$@" target/header.c
done

step "C: the loop ends before what was attached to it or after, under AddressSanitizer"
packages="hiredis libpq libcares libusb-1.0 alsa libmariadb libmosquitto libmicrohttpd rdkafka libssh2 wayland-client
    wayland-server avahi-client libcurl dbus-1 libpulse libsystemd xcb libzmq"
# shellcheck disable=SC2046,SC2086
(
    cd tests/c-libraries/src
    cc -g -fsanitize=address -I../../c/src -o ../../../target/late late_program.c late.c alsa.c mariadb.c \
        microhttpd.c mosquitto.c rdkafka.c ssh2.c wayland.c $(pkg-config --cflags --libs oneloop $packages) \
        -Wl,-rpath,"$prefix/lib" -pthread
)
mkfifo target/display
Xvfb -displayfd 3 -nolisten tcp -noreset 3>target/display 2>/dev/null &
xvfb=$!
read -r display <target/display
rm target/display
late=0
DISPLAY=:$display dbus-run-session -- target/late || late=$?
kill $xvfb
[ $late = 0 ]

step "C: musl, linked statically"
if rustup target add x86_64-unknown-linux-musl 2>/dev/null; then
    adapters/c/install.sh --target x86_64-unknown-linux-musl "$PWD/target/musl" 2>/dev/null
    # shellcheck disable=SC2046
    musl-gcc -static -o target/echo-musl examples/c/echo.c \
        $(PKG_CONFIG_PATH="$PWD/target/musl/lib/pkgconfig" pkg-config --cflags --libs oneloop)
    target/echo-musl
    rm -rf target/musl target/x86_64-unknown-linux-musl
else
    echo "no musl: the Rust target for it cannot be had here"
fi

step "the tests from C, and of C libraries, under valgrind"
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
under_valgrind() {
    env "CARGO_TARGET_${host}_RUNNER=$valgrind" RUST_TEST_THREADS=1 cargo test --workspace --all-features "$@"
}
under_valgrind --test abi
# Not the flood of sd-bus, which is to fill a socket: under valgrind the daemon empties it as fast. Nor
# what takes long there, and TLS, in whose assembler valgrind sees what is not there.
under_valgrind --test alsa --test avahi --test cares --test dbus --test glue --test hiredis --test late --test mariadb \
    --test mosquitto --test pollset --test pq --test pq_queries --test pulse --test rdkafka --test rubbish \
    --test sd_bus --test wayland --test xcb --test zmq -- --skip sends_or_calls --skip much_work --skip over_tls
# TLS again.
under_valgrind --test curl -- failures ended_inside

step "libverto's module, installed"
cc -DPROGRAM -Itests/c/src -o target/verto tests/c-libraries/src/verto.c -lverto
target/verto "$prefix/lib/libverto-oneloop.so" run reads timeouts_fire_in_order_and_not_early signals
