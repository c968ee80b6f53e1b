//! Compiles the tests of libverto twice: into the tests, with the module, and as a program, whose
//! path is in VERTO_PROGRAM.

use std::env;
use std::path::PathBuf;

const MODULE: &str = "../../adapters/c/verto";

pub fn compile(includes: &[PathBuf]) {
    println!("cargo::rerun-if-changed={MODULE}");
    println!("cargo::rerun-if-changed=src/verto.c");
    let find = || pkg_config::Config::new().probe("libverto");
    let found = find().unwrap_or_else(|error| panic!("tests/all.sh installs it: {error}"));

    let mut build = cc::Build::new();
    build.file("src/verto.c").flag("-pthread");
    build.includes(includes);
    build.includes(found.include_paths);
    build.warnings(true).extra_warnings(true);
    build.warnings_into_errors(true);
    let compiler = build.get_compiler();
    build
        .file(format!("{MODULE}/verto-oneloop.c"))
        .compile("oneloop_test_verto");
    // After the objects that need it.
    let _ = find();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let program = out.join("verto");
    let mut link = compiler.to_command();
    link.args(["-DPROGRAM", "src/verto.c", "-o"]).arg(&program);
    for path in found.link_paths {
        link.arg("-L").arg(path);
    }
    let linked = link.arg("-lverto").status();
    assert!(linked.is_ok_and(|status| status.success()), "{link:?}");
    println!("cargo::rustc-env=VERTO_PROGRAM={}", program.display());
}
