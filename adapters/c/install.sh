#!/bin/sh
# Builds liboneloop and installs it: library, header, glue for known libraries, pkg-config file; and,
# if libverto's header files are there, a libverto module.
#
#   adapters/c/install.sh PREFIX
set -eu
[ $# = 1 ] || { sed -n 's/^# *//p' "$0" | sed 1d >&2; exit 2; }
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")"

cargo build --release -p oneloop-c
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
version=$(cargo pkgid -p oneloop-c | sed 's/.*[#@]//')

mkdir -p "$prefix/lib/pkgconfig" "$prefix/include"
cp "$target/release/liboneloop_c.a" "$prefix/lib/liboneloop.a"
cp "$target/release/liboneloop_c.so" "$prefix/lib/liboneloop.so.$version"
ln -sf "liboneloop.so.$version" "$prefix/lib/liboneloop.so.0"
ln -sf liboneloop.so.0 "$prefix/lib/liboneloop.so"
cp include/oneloop.h "$prefix/include/"
for glue in glue/*.h; do
    [ ! -e "$glue" ] || cp "$glue" "$prefix/include/"
done
sed "s|@PREFIX@|$prefix|; s|@VERSION@|$version|" oneloop.pc.in >"$prefix/lib/pkgconfig/oneloop.pc"
if pkg-config --exists libverto; then
    cp verto/verto-oneloop.h "$prefix/include/"
    verto/build.sh "$prefix/lib"
else
    echo "no module for libverto: its header files are not installed" >&2
fi
