//! Compiles the tests of hiredis once more, for 1.x, which Debian does not have: with the sources in
//! the Python package of that name. All in one object that shows nothing but the tests, since the
//! system's hiredis is linked, too.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const PARTS: [&str; 7] = ["alloc", "async", "dict", "hiredis", "net", "read", "sds"];

pub fn compile(includes: &[PathBuf]) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let sources = sources(&out);

    let mut library = cc::Build::new();
    library.warnings(false);
    for part in PARTS {
        library.file(sources.join(format!("hiredis/{part}.c")));
    }
    let mut objects = library.compile_intermediates();

    let mut tests = cc::Build::new();
    tests.file("src/hiredis.c").define("HIREDIS1", None);
    tests.includes(includes).include(&sources).flag("-pthread");
    tests.warnings(true).extra_warnings(true);
    objects.extend(tests.warnings_into_errors(true).compile_intermediates());

    let all = out.join("hiredis1.o");
    let mut link = tests.get_compiler().to_command();
    run(link.args(["-r", "-nostdlib", "-o"]).arg(&all).args(objects));
    let mut hide = Command::new("objcopy");
    run(hide.args(["--wildcard", "-G", "hiredis1_*"]).arg(&all));
    cc::Build::new()
        .object(all)
        .compile("oneloop_test_hiredis1");
}

/// The folder with the sources of 1.x in `hiredis/`: what ONELOOP_HIREDIS says, else from PyPI.
fn sources(out: &Path) -> PathBuf {
    println!("cargo::rerun-if-env-changed=ONELOOP_HIREDIS");
    if let Some(folder) = env::var_os("ONELOOP_HIREDIS") {
        return folder.into();
    }
    let wanted = "build/hiredis.txt";
    println!("cargo::rerun-if-changed={wanted}");
    let archive = out.join("hiredis-3.2.1.tar.gz");
    if !archive.exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps"]);
        pip.args(["--no-binary", "hiredis", "--requirement", wanted, "--dest"]);
        run(pip.arg(out));
    }
    run(Command::new("tar").arg("xzf").arg(archive).current_dir(out));
    out.join("hiredis-3.2.1/vendor")
}

fn run(command: &mut Command) {
    let done = command.status();
    let done =
        done.unwrap_or_else(|error| panic!("tests/all.sh installs it: {command:?}: {error}"));
    assert!(
        done.success(),
        "{command:?} failed: it takes the network, or ONELOOP_HIREDIS=FOLDER with hiredis 1.x in FOLDER/hiredis"
    );
}
