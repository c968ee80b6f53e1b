#!/bin/sh
# Measures the tests: cargo-mutants changes one operator, branch or result of the library at a time, and some test has
# to fail for each. .cargo/mutants.toml says which files are changed. tests/mutants.txt lists the mutants that no test
# can tell from the original.
#
# ONELOOP_MUTANTS=K/N tests/mutants.sh [REGEX]: takes every Nth mutant, beginning with number K, counted from 0, of
# those whose name (FILE:LINE:COLUMN: CHANGE) matches. 0/1 takes all, which is many hours of work. Fails with 2 if one
# survives which is not listed, or if one is listed which does not exist.
#
# Without ONELOOP_MUTANTS, it takes a sample: a few mutants, others for each commit, for four minutes at most. The
# sample may have nothing to do with the commit, so a survivor causes a warning and no failure. The sample removes
# what it has built.
#
# cargo-mutants is installed if it is not there.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$root/target/mutants
tree=$work/tree
build=$work/build
regex=${1:-.}

PATH=$PATH:$root/target/tools/bin
if ! cargo mutants --version >/dev/null 2>&1; then
    cargo install --quiet --locked --debug --root "$root/target/tools" cargo-mutants
fi
mutants() {
    cargo mutants --workspace --colors never "$@"
}

if [ -z "${ONELOOP_MUTANTS:-}" ]; then
    commit=$(git rev-parse HEAD | cut -c1-6)
    shards=$(($(mutants --list -F "$regex" | wc -l) / 2 + 1))
    export ONELOOP_MUTANTS=$((0x$commit % shards))/$shards ONELOOP_MUTANTS_SAMPLE=yes
    code=0
    timeout -s INT -k 10 220 sh tests/mutants.sh "$regex" || code=$?
    rm -rf "$work"
    case $code in
    0) ;;
    2 | 4) echo "WARNING: see above. It is no failure, since this was a sample." ;;
    124 | 130 | 137) echo "WARNING: the sample was not finished in four minutes." ;;
    *) exit "$code" ;;
    esac
    exit
fi

# The files are changed in a copy.
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - --ignore-failed-read |
    # As new files, so that cargo sees what an interrupted run has left changed.
    tar -x -m -C "$tree"
# Links to the dependencies that were built already. Packages of the workspace are not among them.
if [ ! -d "$build" ] && [ -d target/debug/deps ]; then
    mkdir -p "$build/debug/deps"
    cp -al target/debug/.fingerprint target/debug/build "$build/debug"
    rm -rf "$build"/debug/.fingerprint/oneloop* "$build"/debug/build/oneloop*
    find target/debug/deps \( -name 'lib*.r*' -o -name '*.so' \) ! -name 'liboneloop*' \
        -exec cp -l -t "$build/debug/deps" {} +
fi
cd "$tree"
export CARGO_TARGET_DIR="$build"
export CARGO_INCREMENTAL=1 # A mutant changes one function.
export RUST_BACKTRACE=0

# FILE:LINE:COLUMN: CHANGE as FILE: CHANGE: SOURCE. Both still hold when lines have moved.
named() {
    awk '{
        split($0, at, ":")
        file = at[1]
        while (!(file in seen) && (getline line < file) > 0)
            source[file, ++lines[file]] = line
        seen[file]
        sub(/:[0-9]+:[0-9]+:/, ":")
        print $0 ": " substr(source[file, at[2]], at[3])
    }'
}

mutants --list >"$work/all"
named <"$work/all" >"$work/names"
sed '/^#/d; /^$/d; s/ -- .*//' "$root/tests/mutants.txt" >"$work/listed"
if grep -Fxv -f "$work/names" "$work/listed"; then
    # They would hide another one that comes to have the name.
    echo "^ not to be found any more: to be taken out of tests/mutants.txt"
    exit 2
fi

mutants --list --shard "$ONELOOP_MUTANTS" --sharding round-robin -F "$regex" >"$work/left"
cd "$work"
echo "$ONELOOP_MUTANTS: $(wc -l <left) of $(wc -l <all) mutants"
: >caught
: >hung

# step ARGUMENT...: tries tests on what is left, after they have passed without a mutant.
step() {
    [ -s left ] || return 0
    # --iterate leaves out what is said to have been caught.
    rm -rf mutants.out
    mkdir mutants.out
    grep -Fxv -f left all >mutants.out/caught.txt || true
    code=0
    (cd "$tree" && mutants --iterate --in-place --output "$work" --minimum-test-timeout 30 "$@") || code=$?
    # 2: some were missed. 3: some took too long.
    case $code in
    0 | 2 | 3) ;;
    *) exit "$code" ;;
    esac
    cat mutants.out/caught.txt >>caught
    cat mutants.out/timeout.txt >>hung
    cp mutants.out/missed.txt left
}
packages() {
    printf ' -C --package=%s' "$@"
}
targets() {
    printf ' -C --test=%s' "$@"
}
packages=$(packages oneloop oneloop-tokio oneloop-async-io)
few_hosts="--skip tokio_multi_thread:: --skip tokio_local_set:: --skip async_io_block_on:: --skip smol_executor::
    --skip epoll_loop:: --skip wake_loop:: --skip reactor_in_reactor_in_tokio::"
# Compiling takes most of the time, and of that the contract most. Three of its hosts catch nearly all.
if [ -n "${ONELOOP_MUTANTS_SAMPLE:-}" ]; then
    # shellcheck disable=SC2046,SC2086
    step $packages -C --lib $(targets hosts) -- -- $few_hosts
else
    # shellcheck disable=SC2046,SC2086
    step $packages -C --lib $(targets budget clock current drive forked futures handles io limits local nested \
        old_kernel park rate returns seeing share signal tracing)
    # shellcheck disable=SC2046,SC2086
    step $packages $(targets hosts) -- -- $few_hosts
    # shellcheck disable=SC2046,SC2086
    step $packages $(packages oneloop-c-tests oneloop-model) $(targets abi consumed hosts moving programs stress) \
        -- -- --include-ignored
fi

(cd "$tree" && named) <left >survivors
grep -Fxv -f listed survivors >missed || true
grep -Fx -f listed survivors >equivalent || true
# For each folder, what became of its mutants. A loop that hangs was noticed, too.
for result in caught hung missed equivalent; do
    sed "s|/[^/]*\.rs:.*|: $result|" $result
done | sort | uniq -c
if [ -s missed ]; then
    cat missed
    echo "^ no test fails for these: write one, or name them in tests/mutants.txt"
    exit 2
fi
