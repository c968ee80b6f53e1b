#!/bin/sh
# Counts instructions of the process and system calls for each event, and fails if either is more by a
# twentieth than tests/counts.txt says. With --write it writes that file: after a change that is worth
# it, or a new compiler. Needs valgrind and strace.
set -eu
cd "$(dirname "$0")/.."
baseline=tests/counts.txt
cargo build --quiet --release -p oneloop-benches --bin oneloop-benches
counts=${CARGO_TARGET_DIR:-target}/release/oneloop-benches
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

instructions() {
    valgrind -q --tool=callgrind --callgrind-out-file="$1" "$counts" count "$2" "$3" >"$1.log" 2>&1 ||
        { cat "$1.log" >&2; return 1; }
    awk '/^(totals|summary):/ { print $2; exit }' "$1"
}

calls() {
    strace -f -c -U calls,name -o "$1" "$counts" count "$2" "$3"
    awk '$2 == "total" { print $1 }' "$1"
}

# The cost of more events, without the cost of the beginning.
each() {
    few=$("$1" "$folder/$2.$1" "$2" 5000)
    many=$("$1" "$folder/$2.$1" "$2" 25000)
    awk "BEGIN { printf \"%.$3f\", ($many - $few) / 20000 }"
}

workloads="ring ring-beside-timer ring-inspected ring-50 ring-on-tokio toggle timer-fire timer-cancel timer-reset post post-to-host hook system-timer"
# Counts do not mind if others run beside them.
for workload in $workloads; do
    echo "$workload $(each instructions "$workload" 0) $(each calls "$workload" 2)" >"$folder/$workload" &
done
wait
for workload in $workloads; do
    cat "$folder/$workload"
done >"$folder/now"
echo "# for each event: instructions, system calls"
if [ "${1:-}" = --write ]; then
    cp "$folder/now" $baseline
    cat $baseline
    exit
fi
awk 'NR == FNR { instructions[$1] = $2; calls[$1] = $3; next }
    {
        more = NF < 3 || $2 > instructions[$1] * 1.05 || $3 > calls[$1] * 1.05 + 0.01
        print $0, more ? "<-- were " instructions[$1] " and " calls[$1] : ""
        failed = failed || more
    }
    END { exit failed }' $baseline "$folder/now"
