//! Avahi's table on each host: with an avahi-daemon on a bus of its own, and without.

use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::ptr::null;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{Server, dbus, on_each_host, on_every_host};

mod program;

unsafe extern "C" {
    fn avahi_test_daemon(bus: *const c_char, pid: c_int);
    fn test_avahi_publishes_and_browses(r#loop: *mut oneloop_t) -> c_int;
    fn test_avahi_contract(r#loop: *mut oneloop_t) -> c_int;
}

/// A daemon that talks to itself only.
fn daemon(bus: &str) -> Server {
    let mut server = Server::start("avahi-daemon", |command, folder| {
        let config = folder.path().join("avahi.conf");
        let text =
            "[server]\nallow-interfaces=lo\nuse-ipv6=no\n[publish]\npublish-workstation=no\n";
        fs::write(&config, text).unwrap();
        command.args(["--no-drop-root", "--no-chroot", "--no-rlimits", "-f"]);
        command.arg(config).env("DBUS_SYSTEM_BUS_ADDRESS", bus);
        command.stderr(Stdio::piped());
    });
    let mut said = BufReader::new(server.stderr());
    let mut line = String::new();
    while !line.contains("startup complete") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it has ended");
    }
    // Read on, for it not to wait for room in the pipe.
    std::thread::spawn(move || said.lines().count());
    server
}

/// There can be only one daemon on a machine, so all is one test: a service that is published and
/// found; and the daemon dies in the middle.
#[test]
fn a_service_is_published_and_found_and_the_daemon_dies() {
    let (_bus, address) = dbus();
    let bus = CString::new(address.clone()).unwrap();
    let server = daemon(&address);
    on_each_host(|run| {
        // SAFETY: it makes a copy. No other thread of this process looks at the environment.
        unsafe { avahi_test_daemon(bus.as_ptr(), 0) };
        run(test_avahi_publishes_and_browses);
    });
    // The program of the documents.
    let printed = program::run("avahi", &[("DBUS_SYSTEM_BUS_ADDRESS", &address)]);
    assert!(!printed.trim().is_empty());
    drop(server);
    on_each_host(|run| {
        let server = daemon(&address);
        // SAFETY: as above.
        unsafe { avahi_test_daemon(bus.as_ptr(), server.pid() as c_int) };
        run(test_avahi_publishes_and_browses);
    });
}

#[test]
fn the_contract_of_the_table() {
    unsafe extern "C" fn start(r#loop: *mut oneloop_t) -> c_int {
        // SAFETY: there is no daemon, and the loop is alive.
        unsafe {
            avahi_test_daemon(null(), 0);
            test_avahi_contract(r#loop)
        }
    }
    on_every_host(start);
}
