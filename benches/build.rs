//! Compiles the C peers, if they are wanted.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "c-peers")]
    c_peers();
}

/// Each is `src/FOLDER/NAME.c` in those of the folders where it is, and the package that pkg-config
/// knows, if it does.
///
/// libev is the last: it has some names of libevent's, which are to be libevent's.
#[cfg(feature = "c-peers")]
const C_PEERS: &[(&str, Option<&str>)] = &[
    ("libevent", Some("libevent_core")),
    ("libuv", Some("libuv")),
    ("libev", None),
];

#[cfg(feature = "c-peers")]
const FOLDERS: &[&str] = &["c_loops", "c_memory", "c_posts", "c_timers"];

#[cfg(feature = "c-peers")]
fn c_peers() {
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed=src/{folder}");
    }
    for (name, package) in C_PEERS {
        let mut build = cc::Build::new();
        let files = FOLDERS
            .iter()
            .map(|folder| format!("src/{folder}/{name}.c"));
        build.files(files.filter(|file| std::fs::exists(file).unwrap_or(false)));
        build.warnings(true).extra_warnings(true);
        // libev's own header has some.
        build.flag_if_supported("-Wno-strict-aliasing");
        let mut config = pkg_config::Config::new();
        if let Some(package) = package {
            let found = config.cargo_metadata(false).probe(package);
            let library = found.unwrap_or_else(|error| panic!("c-peers needs {name}: {error}"));
            build.includes(library.include_paths);
        }
        build.compile(&format!("c_peers_{name}"));
        // To the linker it comes after the object that needs it.
        match package {
            Some(package) => {
                let _ = config.cargo_metadata(true).probe(package);
            }
            None => println!("cargo::rustc-link-lib=ev"),
        }
    }
}
