#!/bin/sh
# Builds the libverto module, libverto-oneloop.so, in a folder that has liboneloop.so. When the module runs,
# it looks for that library in LIBDIR, which is FOLDER if it is not given.
#
#   adapters/c/verto/build.sh FOLDER [LIBDIR]
set -eu
[ $# = 1 ] || [ $# = 2 ] || { sed -n 's/^# *//p' "$0" | sed 1d >&2; exit 2; }
folder=$(cd "$1" && pwd)
libdir=${2:-$folder}
cd "$(dirname "$0")"

# shellcheck disable=SC2046,SC2086
${CC:-cc} ${CFLAGS:--O2} -Wall -Wextra -shared -fPIC -I../include -o "$folder/libverto-oneloop.so" \
    verto-oneloop.c "$folder/liboneloop.so" $(pkg-config --cflags --libs libverto) \
    -Wl,-rpath,"$libdir"
# The name by which libverto finds it, if that is in the same folder.
ln -sf libverto-oneloop.so "$folder/libverto-oneloop.so.1"
