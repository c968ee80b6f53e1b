#!/bin/sh
# Byte strings as programs of calls, beside the model: in safe Rust, with raw descriptors, and in C.
# ONELOOP_FUZZ_SECONDS says for how long in all, ONELOOP_FUZZ_SEED where chance begins: always at the same point, so
# that a change is to blame for what is found; 0 is for exploring. Needs a nightly compiler, and says so where there
# is none; cargo-fuzz is installed if it is not there.
set -eu
cd "$(dirname "$0")/.."
targets="safe raw c"
seed=${ONELOOP_FUZZ_SEED:-1}
seconds=$((${ONELOOP_FUZZ_SECONDS:-40} / 3))

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "NOT FUZZED: there is no nightly compiler here"
    exit 0
fi
tools=$PWD/target/tools
PATH=$PATH:$tools/bin
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --quiet --locked --debug --root "$tools" cargo-fuzz
fi

cargo +nightly fuzz build --target-dir target/fuzz
fuzz() {
    # Finds go there. The programs in the repository are only read.
    found=target/fuzz-corpus/$1
    mkdir -p "$found"
    # A program that hangs is stopped, and told of, long before that timeout.
    cargo +nightly fuzz run --target-dir target/fuzz "$1" "$found" fuzz/seeds -- \
        -seed=$seed -max_total_time=$seconds -max_len=512 -len_control=0 -timeout=300 -rss_limit_mb=4096 \
        -verbosity=0 -print_final_stats=1 2>"target/fuzz-$1.log"
}
# Beside each other: what each waits for is mostly itself.
running=
for target in $targets; do
    fuzz "$target" &
    running="$running $!:$target"
done
failed=
for one in $running; do
    target=${one#*:}
    if wait "${one%:*}"; then
        executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "target/fuzz-$target.log")
        echo "$target: $executions executions in $seconds s, and nothing was found"
    else
        cat "target/fuzz-$target.log"
        failed=yes
    fi
done
[ -z "$failed" ]
