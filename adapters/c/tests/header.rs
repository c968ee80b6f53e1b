//! The header that is checked in is the one that the source makes, and is complete.

use std::path::Path;

const HEADER: &str = include_str!("../include/oneloop.h");

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

/// The functions, each with what is said of it.
fn functions() -> Vec<(&'static str, &'static str)> {
    let (_, functions) = HEADER.split_once("extern \"C\" {").unwrap();
    let each = functions.split("/**").skip(1).map(|function| {
        let (said, declaration) = function.split_once("*/").unwrap();
        let (before, _) = declaration.split_once('(').unwrap();
        (before.rsplit([' ', '*']).next().unwrap(), said)
    });
    each.collect()
}

#[test]
fn each_function_says_on_which_threads_it_may_be_called() {
    let functions = functions();
    assert!(functions.len() > 30);
    for (name, said) in functions {
        assert!(name.starts_with("oneloop_"), "{name}");
        assert!(said.contains(" * Threads: "), "{name}");
    }
}

/// But those by which the table is found.
#[test]
fn each_function_is_in_the_table() {
    let (_, table) = HEADER.split_once("typedef struct {").unwrap();
    let (table, _) = table.split_once("} oneloop_api;").unwrap();
    for (name, _) in functions() {
        let entry = match name.strip_prefix("oneloop_").unwrap() {
            "version" | "get_api" => continue,
            "new" => "new_loop",
            entry => entry,
        };
        assert!(table.contains(&format!("(*{entry})(")), "{name}");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let number = |text: &str| text.parse::<u32>().unwrap();
    let version = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | number(env!("CARGO_PKG_VERSION_PATCH"));
    assert_eq!(oneloop_c::oneloop_version(), version);
}
