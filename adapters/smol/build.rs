//! Names for what a system and a compiler have.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(kqueue, pollable, socket_flags, pipes)");
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let kqueue = env::var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple")
        || ["freebsd", "netbsd", "openbsd", "dragonfly"].contains(&&*os);
    if kqueue {
        println!("cargo::rustc-cfg=kqueue");
    }
    // The loop is a descriptor.
    let poll_backend = env::var_os("CARGO_CFG_POLLING_TEST_POLL_BACKEND").is_some();
    if (kqueue || ["linux", "android"].contains(&&*os)) && !poll_backend {
        println!("cargo::rustc-cfg=pollable");
    }

    // A socket gets its flags by the call that makes it.
    let with_flags = [
        "android",
        "dragonfly",
        "freebsd",
        "fuchsia",
        "illumos",
        "linux",
        "netbsd",
        "openbsd",
    ];
    if with_flags.contains(&&*os) {
        println!("cargo::rustc-cfg=socket_flags");
    }

    // Pipes of the standard library came with Rust 1.87.
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    // "rustc 1.87.0 (...)"
    let number = version.split(['.', ' ']).nth(2);
    if number.and_then(|number| number.parse::<u32>().ok()) >= Some(87) {
        println!("cargo::rustc-cfg=pipes");
    }
}
