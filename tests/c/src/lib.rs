//! Drives C code, and what uses C libraries, by each host.

pub mod http;

use std::io;

use oneloop::{Error, ErrorKind, PollerKind, Reactor};
use oneloop_c::{as_ptr, oneloop_t};
use oneloop_support::Watchdog;
pub use oneloop_support::{Drive, HOSTS, on_poll};

/// Something in C that sets itself up on a loop, and stops that when it is done. Gives the number of
/// checks that failed so far.
pub type Start = unsafe extern "C" fn(r#loop: *mut oneloop_t) -> i32;

/// Runs it on every host.
///
/// # Panics
///
/// If a check fails, or it is not done after a minute.
pub fn on_every_host(start: Start) {
    on_each_host(|run| run(start));
}

/// Runs it on every host, with every poller.
///
/// # Panics
///
/// As [`on_every_host`].
pub fn on_every_host_and_poller(start: Start) {
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        for (name, drive) in HOSTS {
            println!("on {name}, {poller:?}");
            let reactor = Reactor::builder().poller(poller).build();
            on_host(name, drive, reactor.expect("a reactor"), start);
        }
    }
}

/// Calls `test` for each host, with what runs something on that host.
///
/// # Panics
///
/// As [`on_every_host`].
pub fn on_each_host(test: impl Fn(&dyn Fn(Start))) {
    for (name, drive) in HOSTS {
        println!("on {name}");
        test(&|start| on_host(name, drive, new_reactor(), start));
    }
}

fn on_host(name: &str, drive: Drive, reactor: Reactor, start: Start) {
    on_loop(drive, reactor, |reactor| {
        // SAFETY: the C side is made for this, and the loop is alive.
        let failed = unsafe { start(as_ptr(reactor)) };
        assert_eq!(failed, 0, "at the start, on {name}");
    });
    assert_over(name);
}

/// Ends each test on a host.
///
/// # Panics
///
/// If a check has failed, or the host has left a test that is not over.
pub fn assert_over(name: &str) {
    // SAFETY: both read counters.
    let (failed, over) = unsafe { (check_failures(), check_is_over()) };
    assert_eq!(failed, 0, "on {name}");
    assert!(over, "on {name} nothing was left that could call back");
}

/// Sets something up on a loop of its own, and drives that until it is stopped.
///
/// # Panics
///
/// If it is not done after a minute.
pub fn on_a_loop(drive: impl FnOnce(&Reactor) -> io::Result<()>, start: impl FnOnce(&Reactor)) {
    on_loop(drive, new_reactor(), start);
}

fn new_reactor() -> Reactor {
    Reactor::new().expect("a reactor")
}

fn on_loop(
    drive: impl FnOnce(&Reactor) -> io::Result<()>,
    reactor: Reactor,
    start: impl FnOnce(&Reactor),
) {
    let _watchdog = Watchdog::new("on a loop");
    start(&reactor);
    if let Err(error) = drive(&reactor) {
        assert!(is_closed(&error), "driving: {error}");
    }
    reactor.close();
}

/// Some tests close the loop themselves, and that ends the drive.
fn is_closed(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &Error| cause.kind() == ErrorKind::Closed)
}

unsafe extern "C" {
    /// How many checks of the C side have failed.
    fn check_failures() -> i32;
    /// Whether it has stopped the loop since the last time it was asked.
    fn check_is_over() -> bool;
}
