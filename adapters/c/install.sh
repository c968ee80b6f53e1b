#!/bin/sh
# Builds liboneloop and installs it: the library, shared and static; the headers, with the glue for known
# libraries; a pkg-config file; and, if libverto's header files are there, a libverto module.
#
#   adapters/c/install.sh [OPTION]... PREFIX
#
#   --libdir DIR       for libraries (default: PREFIX/lib)
#   --includedir DIR   for headers (default: PREFIX/include)
#   --target TRIPLE    for another system, as for cargo
#   --features LIST    as for cargo: inspect, for oneloop_inspect()
#
# DIR may be relative to PREFIX. If the variable DESTDIR is set, the files are put below that folder, as for a
# package, and are found by the other paths when they run.
set -eu
usage() {
    sed -n 's/^# \{0,1\}//p' "$0" | sed 1d >&2
    exit 2
}
libdir=lib includedir=include target= features= prefix=
while [ $# -gt 0 ]; do
    case $1 in
    --libdir | --includedir | --target | --features)
        [ $# -gt 1 ] || usage
        case $1 in
        --libdir) libdir=$2 ;;
        --includedir) includedir=$2 ;;
        --target) target=$2 ;;
        --features) features=$2 ;;
        esac
        shift
        ;;
    -*) usage ;;
    *) [ -z "$prefix" ] && prefix=$1 || usage ;;
    esac
    shift
done
[ -n "$prefix" ] || usage

absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$2/$1" ;;
    esac
}
prefix=$(absolute "$prefix" "$PWD")
libdir=$(absolute "$libdir" "$prefix")
includedir=$(absolute "$includedir" "$prefix")
staged=${DESTDIR:+$(absolute "$DESTDIR" "$PWD")}
lib=$staged$libdir include=$staged$includedir
cd "$(dirname "$0")"

cargo build --release -p oneloop-c ${target:+--target "$target"} ${features:+--features "$features"}
built=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
built=$built/${target:+$target/}release
version=$(cargo pkgid -p oneloop-c | sed 's/.*[#@]//')

mkdir -p "$lib/pkgconfig" "$include"
cp "$built/liboneloop_c.a" "$lib/liboneloop.a"
# A target without shared libraries, such as musl's, has the static one alone.
if [ -e "$built/liboneloop_c.so" ]; then
    cp "$built/liboneloop_c.so" "$lib/liboneloop.so.$version"
    ln -sf "liboneloop.so.$version" "$lib/liboneloop.so.0"
    ln -sf liboneloop.so.0 "$lib/liboneloop.so"
fi
libs=-loneloop
# musl has no unwinder, and GCC's is for glibc. Rust has one for musl.
unwind=$(rustc --print sysroot)/lib/rustlib/$target/lib/self-contained/libunwind.a
if [ -n "$target" ] && [ -e "$unwind" ]; then
    cp "$unwind" "$lib/liboneloop_unwind.a"
    libs="-loneloop -loneloop_unwind"
fi
cp include/oneloop.h glue/*.h "$include/"
sed "s|@PREFIX@|$prefix|; s|@LIBDIR@|$libdir|; s|@INCLUDEDIR@|$includedir|; s|@VERSION@|$version|; s|@LIBS@|$libs|" \
    oneloop.pc.in >"$lib/pkgconfig/oneloop.pc"
if [ -n "$target" ]; then
    echo "no module for libverto, which is built for this system only" >&2
elif pkg-config --exists libverto; then
    cp verto/verto-oneloop.h "$include/"
    verto/build.sh "$lib" "$libdir"
else
    echo "no module for libverto: its header files are not installed" >&2
fi
