//! Compiles the C side: into the tests, and a plug-in, whose path is in PLUGIN.

use std::env;
use std::path::PathBuf;

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    let headers = env::var_os("DEP_ONELOOP_INCLUDE").expect("oneloop-c gives it");
    build.includes(env::split_paths(&headers));
    build.include("src").flag("-pthread");
    build.warnings(true).extra_warnings(true);
    build.warnings_into_errors(true);
    build
}

fn main() {
    for path in ["src", "../../adapters/c/include", "../../examples/c/echo.c"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let tests = [
        "src/abi.c",
        "src/modes.c",
        "src/misuse.c",
        "src/pollset.c",
        "src/threads.c",
    ];
    compiler().files(tests).compile("oneloop_c_tests");
    let mut example = compiler();
    example.file("../../examples/c/echo.c");
    example.define("main", "echo_example");
    example.compile("oneloop_example_echo");

    // Nothing is left for others to define.
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let plugin = out.join("plugin.so");
    let mut link = compiler().get_compiler().to_command();
    // The C compiler's sanitizer would bring a second runtime with it, beside Rust's.
    link.arg("-fno-sanitize=all");
    link.args(["-shared", "-fPIC", "-Wl,-z,defs", "src/plugin.c", "-o"]);
    let linked = link.arg(&plugin).status();
    assert!(linked.is_ok_and(|status| status.success()), "{link:?}");
    println!("cargo::rustc-env=PLUGIN={}", plugin.display());
}
