//! Names for what a system has, so that the code need not list the systems.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(epoll, kqueue, portable, pollable)");
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let epoll = ["linux", "android"].contains(&&*os);
    let kqueue = env::var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple")
        || ["freebsd", "netbsd", "openbsd", "dragonfly"].contains(&&*os);
    let poll_backend = env::var_os("CARGO_CFG_POLLING_TEST_POLL_BACKEND").is_some();
    for (name, is) in [
        ("epoll", epoll),
        ("kqueue", kqueue),
        // The `polling` crate is there.
        (
            "portable",
            !epoll || env::var_os("CARGO_FEATURE_POLLING").is_some(),
        ),
        // The poller is a descriptor that a host can watch.
        ("pollable", (epoll || kqueue) && !poll_backend),
    ] {
        if is {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
