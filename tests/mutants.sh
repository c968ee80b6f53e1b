#!/bin/sh
# Measures the tests: cargo-mutants changes one operator, branch or result of the library at a time, and some test has
# to fail for each. Fails if a mutant survives that is not in tests/mutants.txt, which gives the reason for those
# that no test can tell from the original. .cargo/mutants.toml says which files are changed.
#
# tests/mutants.sh [REGEX]: takes only mutants whose name matches, FILE:LINE:COLUMN: CHANGE.
# ONELOOP_MUTANTS=k/n takes every nth of these, beginning with number k; 1/1 takes all, which is many hours of work.
# Without it, some ten are taken, others for each commit. cargo-mutants is installed if it is not there.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$root/target/mutants
tree=$work/tree
list=$root/tests/mutants.txt
mkdir -p "$tree"

tools=$root/target/tools
PATH=$PATH:$tools/bin
if ! cargo mutants --version >/dev/null 2>&1; then
    cargo install --quiet --locked --debug --root "$tools" cargo-mutants
fi

# The files are changed in a copy, which is kept: only what a mutant touches is compiled again.
git ls-files --cached --others --exclude-standard >"$work/files"
(cd "$tree" && find . -type f | sed 's|^\./||') | grep -Fxv -f "$work/files" | while read -r file; do
    rm "$tree/$file"
done
while read -r file; do
    # By content: what an interrupted run has left changed is to look new to cargo.
    if [ -f "$file" ] && ! cmp -s "$file" "$tree/$file"; then
        mkdir -p "$tree/$(dirname "$file")"
        cp "$file" "$tree/$file"
    fi
done <"$work/files"
export CARGO_TARGET_DIR="$work/build"
export CARGO_PROFILE_DEV_DEBUG=none # It takes a good part of the time to compile.
cd "$tree"

# The tests in three steps: what survives one meets the next. Compiling takes most of the time, and of that the
# contract most; three hosts of nine catch nearly all.
small="--lib --test=budget --test=clock --test=drive --test=forked --test=futures --test=handles --test=io
    --test=limits --test=local --test=nested --test=old_kernel --test=park --test=seeing --test=signal --test=tracing"
contract="--test=hosts"
not_all_hosts="--skip tokio_multi_thread:: --skip tokio_local_set:: --skip async_io_block_on:: --skip smol_executor::
    --skip epoll_loop:: --skip reactor_in_reactor_in_tokio::"
more="--test=consumed --test=hosts --test=moving --test=stress --test=programs --test=abi"
more_packages="--test-package oneloop --test-package oneloop-c-tests --test-package oneloop-model"
packages="-p oneloop -p oneloop-tokio -p oneloop-async-io"

mutants() {
    # shellcheck disable=SC2086
    cargo mutants $packages --in-place --colors never "$@"
}

# FILE:LINE:COLUMN: CHANGE as FILE: CHANGE, and what stands there: both still hold when lines have moved.
named() {
    while IFS=: read -r file line column change; do
        echo "$file:$change: $(sed -n "${line}p" "$tree/$file" | cut -c"$column"-)"
    done
}

# What is listed and does not exist any more would hide one that comes to have its name.
mutants --list >"$work/all"
named <"$work/all" >"$work/names"
sed '/^#/d; /^$/d; s/ -- .*//' "$list" >"$work/listed"
if grep -Fxv -f "$work/names" "$work/listed"; then
    echo "^ not to be found any more: to be taken out of tests/mutants.txt"
    exit 1
fi
grep -v ' in tests::' "$work/all" | grep -E -- "${1:-.}" >"$work/matching"
total=$(wc -l <"$work/matching")
if [ -z "${ONELOOP_MUTANTS:-}" ]; then
    shards=$((total / 10 + 1))
    commit=$(git -C "$root" rev-parse HEAD | cut -c1-6)
    ONELOOP_MUTANTS=$((0x$commit % shards + 1))/$shards
fi
awk -v k="${ONELOOP_MUTANTS%/*}" -v n="${ONELOOP_MUTANTS#*/}" 'NR % n == k % n' "$work/matching" >"$work/missed"
echo "$ONELOOP_MUTANTS of $total mutants: $(wc -l <"$work/missed")"

# First without one: the tests have to pass, and how long they take is a measure.
unmutated() {
    # shellcheck disable=SC2086
    cargo test --quiet $packages --all-features $small $contract "$@" >"$work/unmutated.log" 2>&1 ||
        { cat "$work/unmutated.log"; exit 1; }
}
unmutated --no-run
start=$(date +%s)
# shellcheck disable=SC2086
unmutated -- $not_all_hosts
seconds=$((30 + 2 * ($(date +%s) - start)))

cd "$work"
: >caught
: >late
# step TARGETS SECONDS ARGUMENT...: tries the tests in these targets of cargo on what is missed up to now.
step() {
    [ -s missed ] || return 0
    targets=$(printf ' -C %s' $1)
    limit=$2
    shift 2
    # It leaves out what was caught before; its filters let some mutants pass.
    rm -rf mutants.out
    mkdir mutants.out
    grep -Fxv -f missed all >mutants.out/caught.txt || true
    code=0
    # shellcheck disable=SC2086
    (cd "$tree" && mutants --iterate --baseline skip --output "$work" --timeout "$limit" $targets "$@") || code=$?
    # 2: some were missed. 3: some took too long.
    case $code in
    0 | 2 | 3) ;;
    *) exit "$code" ;;
    esac
    cat mutants.out/caught.txt >>caught
    cat mutants.out/timeout.txt >>late
    cp mutants.out/missed.txt missed
}
step "$small" "$seconds"
# shellcheck disable=SC2086
step "$contract" "$seconds" -- -- $not_all_hosts
# shellcheck disable=SC2086
step "$more" $((seconds * 4)) $more_packages -- -- --include-ignored

named <missed >survivors
grep -Fxv -f listed survivors >unlisted || true
grep -Fx -f listed survivors >equivalent || true
# For each folder, what became of its mutants. A loop that hangs was noticed, too.
awk '{ folder = $1; sub(/\/[^\/]*$/, "", folder); folders[folder]; many[folder, FILENAME]++ }
    END {
        for (folder in folders)
            printf "%s: %d caught, %d hung, %d missed, %d equivalent\n", folder, many[folder, "caught"],
                many[folder, "late"], many[folder, "unlisted"], many[folder, "equivalent"]
    }' caught late unlisted equivalent | sort
if [ -s unlisted ]; then
    cat unlisted
    echo "^ no test fails for these: write one, or name them in tests/mutants.txt"
    exit 1
fi
