//! Compiles what the tests call of the loops that have a glue header.

use std::env;

/// Each is `src/c/NAME.c` and `src/c/NAME_program.c`, and the package that they need. libev.so has functions of libevent's old version, so libevent
/// comes first.
const LOOPS: &[(&str, &str)] = &[
    ("libevent", "libevent"),
    ("libev", ""),
    ("sd_event", "libsystemd"),
];

fn main() {
    let headers = env::var_os("DEP_ONELOOP_INCLUDE").expect("oneloop-c gives it");
    let includes: Vec<_> = env::split_paths(&headers).collect();
    for include in &includes {
        println!("cargo::rerun-if-changed={}", include.display());
    }
    println!("cargo::rerun-if-changed=src/c");
    for (name, package) in LOOPS {
        let mut build = cc::Build::new();
        build.file(format!("src/c/{name}.c"));
        build.file(format!("src/c/{name}_program.c"));
        build.includes(&includes).flag("-pthread");
        build.warnings(true).extra_warnings(true);
        build.warnings_into_errors(true);
        build.compile(&format!("oneloop_guests_{name}"));
        if package.is_empty() {
            // It has no file for pkg-config.
            println!("cargo::rustc-link-lib=ev");
        } else if let Err(error) = pkg_config::Config::new().probe(package) {
            panic!("tests/all.sh installs it: {error}");
        }
    }
}
