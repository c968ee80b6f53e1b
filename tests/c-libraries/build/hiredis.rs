//! Compiles the tests of hiredis twice more: for 1.x and for libvalkey, neither of which Debian has, with the sources
//! in Python packages. Each becomes one object that shows nothing but the tests, since the system's hiredis is
//! linked, too.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Library {
    package: &'static str,
    version: &'static str,
    /// The folder of its sources in that package, and that of its headers.
    sources: &'static str,
    headers: &'static str,
    parts: &'static [&'static str],
    /// The symbols of the object that others may use.
    shown: &'static str,
    /// The macro with which the tests are for it, and what their names begin with.
    define: &'static str,
    prefix: &'static str,
    /// The variable of the environment that has another folder, instead of the package.
    variable: &'static str,
}

const LIBRARIES: [Library; 2] = [
    Library {
        package: "hiredis",
        version: "3.2.1",
        sources: "vendor/hiredis",
        headers: "vendor",
        parts: &["alloc", "async", "dict", "hiredis", "net", "read", "sds"],
        shown: "hiredis1_*",
        define: "HIREDIS1",
        prefix: "hiredis1",
        variable: "ONELOOP_HIREDIS",
    },
    Library {
        package: "libvalkey",
        version: "4.2.1",
        sources: "vendor/libvalkey/src",
        headers: "vendor/libvalkey/include",
        parts: &[
            "alloc",
            "async",
            "conn",
            "dns",
            "dict",
            "net",
            "read",
            "sds",
            "sockcompat",
            "timer",
            "valkey",
        ],
        // The library, too, for the program of the docs.
        shown: "valkey*",
        define: "ONELOOP_VALKEY",
        prefix: "valkey",
        variable: "ONELOOP_LIBVALKEY",
    },
];

pub fn compile(includes: &[PathBuf]) {
    println!("cargo::rerun-if-changed=src/valkey_names.h");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    for library in &LIBRARIES {
        compile_for(library, includes, &out);
    }
}

/// The folder of libvalkey's headers.
pub fn headers_of_libvalkey() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    let [_, library] = &LIBRARIES;
    library.root(&out).join(library.headers)
}

fn compile_for(library: &Library, includes: &[PathBuf], out: &Path) {
    let root = library.root(out);
    let (sources, headers) = (root.join(library.sources), root.join(library.headers));
    let (define, prefix) = (library.define, library.prefix);

    let mut build = cc::Build::new();
    build.warnings(false);
    // libvalkey includes its own headers without the folder that they are installed in.
    build.include(&headers).include(headers.join("valkey"));
    build.include(&sources);
    for part in library.parts {
        build.file(sources.join(format!("{part}.c")));
    }
    let mut objects = build.compile_intermediates();

    let mut tests = cc::Build::new();
    tests.file("src/hiredis.c").define(define, None);
    tests.includes(includes).include(&headers).flag("-pthread");
    tests.warnings(true).extra_warnings(true);
    // Objects of the same name would replace each other.
    tests.out_dir(out.join(prefix));
    objects.extend(tests.warnings_into_errors(true).compile_intermediates());

    let all = out.join(format!("{prefix}.o"));
    let mut link = tests.get_compiler().to_command();
    run(link.args(["-r", "-nostdlib", "-o"]).arg(&all).args(objects));
    let mut hide = Command::new("objcopy");
    run(hide.args(["--wildcard", "-G", library.shown]).arg(&all));
    cc::Build::new()
        .object(all)
        .compile(&format!("oneloop_test_{prefix}"));
}

impl Library {
    /// The folder of the package's files: what the variable says, else from PyPI.
    fn root(&self, out: &Path) -> PathBuf {
        println!("cargo::rerun-if-env-changed={}", self.variable);
        if let Some(folder) = env::var_os(self.variable) {
            return folder.into();
        }
        let wanted = format!("build/{}.txt", self.package);
        println!("cargo::rerun-if-changed={wanted}");
        let name = format!("{}-{}", self.package, self.version);
        let archive = out.join(format!("{name}.tar.gz"));
        if !archive.exists() {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--quiet", "--no-deps"]);
            pip.args(["--no-binary", self.package, "--requirement", &wanted]);
            run(pip.arg("--dest").arg(out));
        }
        run(Command::new("tar").arg("xzf").arg(archive).current_dir(out));
        out.join(name)
    }
}

fn run(command: &mut Command) {
    let done = command.status();
    let done =
        done.unwrap_or_else(|error| panic!("tests/all.sh installs it: {command:?}: {error}"));
    assert!(
        done.success(),
        "{command:?} failed: it takes the network, or the unpacked package's folder in ONELOOP_HIREDIS or \
         ONELOOP_LIBVALKEY"
    );
}
