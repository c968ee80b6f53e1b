//! Gives the shared library the name that `install.sh` installs it under, and makes it stay when it
//! is closed, since it has handlers of signals and forks, which cannot be removed. Its functions call
//! each other, and are in its table, even if the program has functions of these names. Tells the build
//! scripts of dependents where the headers are, in DEP_ONELOOP_INCLUDE.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["include", "glue", "verto"].map(|folder| here.join(folder));
    let folders = std::env::join_paths(folders).expect("no separator in a path");
    println!("cargo::metadata=include={}", folders.to_string_lossy());
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,liboneloop.so.0");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
    }
}
