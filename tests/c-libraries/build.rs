//! Compiles the C side of each test, with what pkg-config says of its libraries.

use std::env;
use std::path::PathBuf;

mod build {
    pub mod docs;
    pub mod hiredis;
    pub mod verto;
}

/// Each is `src/NAME.c`, and the packages that it needs.
const TESTS: &[(&str, &[&str])] = &[
    ("alsa", &["alsa"]),
    ("avahi", &["avahi-client"]),
    ("cares", &["libcares"]),
    ("curl", &["libcurl"]),
    ("dbus", &["dbus-1"]),
    ("hiredis", &["hiredis"]),
    (
        "late",
        &[
            "avahi-client",
            "libcurl",
            "dbus-1",
            "libpulse",
            "libsystemd",
            "xcb",
            "libzmq",
        ],
    ),
    ("mariadb", &["libmariadb"]),
    ("microhttpd", &["libmicrohttpd"]),
    ("mosquitto", &["libmosquitto"]),
    ("pollset", &["libusb-1.0", "glib-2.0"]),
    ("pq", &["libpq"]),
    ("pq_bench", &["libpq"]),
    ("pq_queries", &["libpq"]),
    ("pulse", &["libpulse"]),
    ("rdkafka", &["rdkafka"]),
    ("redis_bench", &["hiredis", "libevent"]),
    (
        "rubbish",
        &[
            "hiredis",
            "libpq",
            "dbus-1",
            "libsystemd",
            "libcares",
            "libpulse",
            "libzmq",
        ],
    ),
    ("sd_bus", &["libsystemd"]),
    ("ssh2", &["libssh2"]),
    ("wayland", &["wayland-client", "wayland-server"]),
    ("xcb", &["xcb"]),
    ("zmq", &["libzmq"]),
];

fn main() {
    let headers = env::var_os("DEP_ONELOOP_INCLUDE").expect("oneloop-c gives it");
    let mut includes: Vec<PathBuf> = env::split_paths(&headers).collect();
    includes.push("../c/src".into());
    for include in &includes {
        println!("cargo::rerun-if-changed={}", include.display());
    }
    let example = "../../examples/c/redis.c";
    println!("cargo::rerun-if-changed={example}");
    let mut build = cc::Build::new();
    build.file(example).includes(&includes).flag("-pthread");
    build.define("main", "redis_example").warnings(true);
    build.extra_warnings(true).warnings_into_errors(true);
    build.compile("oneloop_example_redis");

    // Before the packages are named to the linker, which comes to them in this order.
    let valkey = build::hiredis::headers_of_libvalkey();
    build::docs::compile(&includes, |name| {
        if name == "valkey" {
            return vec![valkey.clone()];
        }
        let name = match name {
            "websocket" => "curl",
            "usb" => "pollset",
            name => name,
        };
        let known = TESTS.iter().find(|(test, _)| *test == name);
        let packages = known.map_or(["libverto"].as_slice(), |(_, packages)| packages);
        let quiet = |package: &&str| {
            pkg_config::Config::new()
                .cargo_metadata(false)
                .probe(package)
        };
        let found = packages.iter().flat_map(quiet);
        found.flat_map(|library| library.include_paths).collect()
    });
    for (name, packages) in TESTS {
        let source = format!("src/{name}.c");
        println!("cargo::rerun-if-changed={source}");
        let mut build = cc::Build::new();
        build.file(source).includes(&includes).flag("-pthread");
        build
            .warnings(true)
            .extra_warnings(true)
            .warnings_into_errors(true);
        for package in *packages {
            let found = pkg_config::Config::new().probe(package);
            let library = found.unwrap_or_else(|error| panic!("tests/all.sh installs it: {error}"));
            build.includes(library.include_paths);
        }
        build.compile(&format!("oneloop_test_{name}"));
        // After the object that needs it.
        for package in *packages {
            let _ = pkg_config::Config::new().probe(package);
        }
    }
    // It has no file for pkg-config, and comes after libevent, some names of which it has, too.
    println!("cargo::rustc-link-lib=ev");
    build::hiredis::compile(&includes);
    build::verto::compile(&includes);
}
