#!/bin/sh
# Counts the system calls of the ring example: a hop is one read and one write, a wait is one call
# for all tokens together, and there is to be not one call more. Needs strace.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release --example ring
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
hops=100000
for tokens in 1 50; do
    strace -f -c -U calls,name -o "$counts" "${CARGO_TARGET_DIR:-target}/release/examples/ring" 100 "$tokens" "$hops"
    total=$(awk '$2 == "total" { print $1 }' "$counts")
    start=1500 # To load the program, and to make and close a hundred pairs.
    most=$((2 * hops + hops / tokens + start))
    echo "$tokens tokens: $total system calls for $hops hops, at most $most"
    [ "$total" -le "$most" ]
done
