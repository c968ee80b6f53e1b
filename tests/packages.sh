#!/bin/sh
# Checks what `cargo publish` would upload: each package has a README, the licences and what crates.io shows, and has
# no tests or pictures. Then builds each package from its archive alone. Uploads nothing.
set -eu
cd "$(dirname "$0")/.."

failed=
complain() {
    echo "$1: $2" >&2
    failed=yes
}

for manifest in $(git ls-files Cargo.toml '*/Cargo.toml'); do
    folder=$(dirname "$manifest")
    case $folder in fuzz) continue ;; esac # A workspace of its own.
    name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
    if grep -q '^publish = false' "$manifest"; then
        continue
    fi
    for key in description license repository keywords categories include; do
        grep -q "^$key[. ]" "$manifest" || complain "$manifest" "no $key"
    done
    files=$(cargo package --quiet --list --allow-dirty --manifest-path "$manifest" -p "$name" 2>/dev/null)
    for file in README.md LICENSE-APACHE LICENSE-MIT src/lib.rs; do
        echo "$files" | grep -qx "$file" || complain "$name" "$file is not packaged"
    done
    others=$(echo "$files" | grep -E '^(tests|benches|examples|docs|fuzz|target)/|\.svg$' || true)
    [ -z "$others" ] || complain "$name" "packaged, and should not be: $others"
    # Features whose names begin with underscores are internal.
    if grep -q '^__' "$manifest" && grep -A3 '^\[package.metadata.docs.rs\]' "$manifest" | grep -q 'all-features\|"__'; then
        complain "$name" "docs.rs switches on internal features"
    fi
    echo "$name: $(echo "$files" | wc -l) files"
done
[ -z "$failed" ]

# cargo unpacks each archive into its home, in a folder named after the path of this checkout, and does not look there
# again while the version stays. An earlier run would leave its sources for this one to build.
rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/oneloop*

# Tests and examples are left out of the packages on purpose.
cargo publish --dry-run --workspace --allow-dirty 2>"${CARGO_TARGET_DIR:-target}/packages.log" || {
    cat "${CARGO_TARGET_DIR:-target}/packages.log" >&2
    exit 1
}
