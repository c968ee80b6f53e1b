//! Compiles the C peers, if they are wanted.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "c-peers")]
    c_peers();
}

/// Each is `src/c_loops/NAME.c`, and the package that pkg-config knows, if it does.
///
/// libev is the last: it has some names of libevent's, which are to be libevent's.
#[cfg(feature = "c-peers")]
const C_PEERS: &[(&str, Option<&str>)] = &[
    ("libevent", Some("libevent_core")),
    ("libuv", Some("libuv")),
    ("libev", None),
];

#[cfg(feature = "c-peers")]
fn c_peers() {
    println!("cargo::rerun-if-changed=src/c_loops");
    for (name, package) in C_PEERS {
        let mut build = cc::Build::new();
        build.file(format!("src/c_loops/{name}.c"));
        build.warnings(true).extra_warnings(true);
        // libev's own header has some.
        build.flag_if_supported("-Wno-strict-aliasing");
        let mut config = pkg_config::Config::new();
        if let Some(package) = package {
            let found = config.cargo_metadata(false).probe(package);
            let library = found.unwrap_or_else(|error| panic!("c-peers needs {name}: {error}"));
            build.includes(library.include_paths);
        }
        build.compile(&format!("c_loops_{name}"));
        // To the linker it comes after the object that needs it.
        match package {
            Some(package) => {
                let _ = config.cargo_metadata(true).probe(package);
            }
            None => println!("cargo::rustc-link-lib=ev"),
        }
    }
}
