//! The header that is checked in is the one that the source makes.

use std::path::Path;

#[test]
fn the_header_is_not_stale() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut made = Vec::new();
    let config = cbindgen::Config::from_root_or_default(root);
    let bindings = cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .unwrap();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = root.join("include/oneloop.h");
    if std::env::var_os("ONELOOP_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "include/oneloop.h is stale; write it by ONELOOP_WRITE_HEADER=1 cargo test -p oneloop-c"
    );
}
