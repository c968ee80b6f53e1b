#!/bin/sh
# Makes the seeds again from what tests/fuzz.sh has found so far: for each target, those few that together reach
# most.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:$PWD/target/tools/bin
new=$(mktemp -d)
most=0
for target in safe raw c; do
    cargo +nightly fuzz run --target-dir target/fuzz "$target" "$new" "target/fuzz-corpus/$target" fuzz/seeds -- \
        -set_cover_merge=1 -use_counters=0 -max_len=512 -verbosity=0
    # They are written in the order in which each reaches most of what those before it do not.
    most=$((most + 25))
    find "$new" -type f -printf '%T@ %p\n' | sort -n | tail -n +$((most + 1)) | cut -d' ' -f2 | xargs -r rm
done
rm -r fuzz/seeds
mkdir fuzz/seeds
# By numbers, so that a change is seen for what it is.
number=0
for seed in "$new"/*; do
    number=$((number + 1))
    mv "$seed" "fuzz/seeds/$(printf %02d $number)"
done
rmdir "$new"
echo "$number seeds"
