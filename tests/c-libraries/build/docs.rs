//! Compiles the programs of `docs/c-libraries.md`. A block has its name after its language. What the
//! page has as examples of ports and addresses, a process asks from its environment; which program it
//! is, the variable PROGRAM says.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

const PAGE: &str = "../../docs/c-libraries.md";

const REPLACED: &[(&str, &str)] = &[
    ("6379", "atoi(getenv(\"PORT\"))"),
    ("1883", "atoi(getenv(\"PORT\"))"),
    ("\"https://example.org/\"", "getenv(\"URL\")"),
    ("\"/run/mysqld/mysqld.sock\"", "getenv(\"SOCKET\")"),
    ("\"/home/me/.ssh/id_rsa\"", "getenv(\"KEY\")"),
    ("\"me\"", "getenv(\"LOGIN\")"),
    ("\"default\"", "\"null\""),
    (
        "\"bootstrap.servers\", \"localhost:9092\"",
        "\"test.mock.num.brokers\", \"1\"",
    ),
    ("8080", "atoi(getenv(\"PORT\"))"),
    ("htons(22)", "htons(atoi(getenv(\"PORT\")))"),
    ("\"dbname=postgres\"", "getenv(\"CONNINFO\")"),
];

/// `packages` gives where the headers of a program's library are.
pub fn compile(includes: &[PathBuf], packages: impl Fn(&str) -> Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={PAGE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let page = fs::read_to_string(PAGE).expect("the page");
    let mut declared = String::new();
    let mut called = String::new();
    for (language, name, code) in blocks(&page) {
        if language == "rust" {
            fs::write(out.join("main.rs"), code).expect("a folder to write to");
            continue;
        }
        let mut code = code.to_owned();
        for (example, replaced) in REPLACED {
            code = code.replace(example, replaced);
        }
        let source = out.join(format!("docs_{name}.c"));
        fs::write(&source, code).expect("a folder to write to");
        cc::Build::new()
            .file(source)
            .includes(includes)
            .includes(packages(name))
            .define("start", format!("docs_{name}").as_str())
            .flag("-pthread")
            .flag("-includestdlib.h")
            .warnings(true)
            .extra_warnings(true)
            .warnings_into_errors(true)
            .compile(&format!("oneloop_docs_{name}"));
        let _ = writeln!(declared, "void docs_{name}(oneloop_t *loop);");
        let _ = writeln!(
            called,
            "    if (!strcmp(getenv(\"PROGRAM\"), \"{name}\"))\n        docs_{name}(loop);"
        );
    }
    let source = out.join("docs.c");
    let start = format!("{declared}void start(oneloop_t *loop) {{\n{called}}}\n");
    let code = format!("#include <oneloop.h>\n#include <stdlib.h>\n#include <string.h>\n{start}");
    fs::write(&source, code).expect("a folder to write to");
    cc::Build::new()
        .file(source)
        .includes(includes)
        .compile("oneloop_docs");
}

/// The blocks of code that have a name: language, name, code.
fn blocks(page: &str) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let (info, code) = block.split_once('\n').unwrap_or_default();
        if let Some((language, name)) = info.split_once(' ') {
            found.push((language, name, code));
        }
    }
    found
}
