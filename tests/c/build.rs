//! Compiles the C side.

fn main() {
    let include = "../../adapters/c/include";
    for file in ["src/abi.c", "src/check.h"] {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-changed={include}");
    cc::Build::new()
        .file("src/abi.c")
        .include(include)
        .flag("-pthread")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .compile("oneloop_c_tests");
}
