//! A second set that cannot be rebuilt, which is only the case on [`PollerKind::Polling`].
#![cfg(not(any(windows, polling_test_poll_backend)))]

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use oneloop::{Interest, Mode, PollerKind};
use oneloop_conformance::faulty::{Call, Fault, Faults};
use oneloop_conformance::pair;

#[test]
fn a_second_set_that_cannot_be_rebuilt_stays_in_the_first() {
    let faults = Faults::default();
    let reactor = faults.reactor(PollerKind::Polling).unwrap();
    let (a, mut b) = pair();
    let a = Arc::new(a);
    for mode in [Mode::Level, Mode::Edge] {
        let added = reactor.add_handler(a.clone(), Interest::READABLE, mode, |_, _| {});
        added.unwrap();
    }
    faults.order(Fault::Fails(Call::Delete, libc::EIO), 1);
    // In both sets, in more turns in a row than it takes to rebuild one that can be.
    faults.order(Fault::Gone, 80);
    while faults
        .injected()
        .get(&Fault::Gone)
        .is_none_or(|&gone| gone < 80)
    {
        // The second set has something to report in every turn.
        b.write_all(b"x").unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(faults.is_pending(), "nothing was taken out");
}

/// The level handler is paused, so that only the second set has the number.
#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_second_set_lets_go_of_a_number_whose_file_lives_on() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::os::fd::{AsFd, AsRawFd};

    let reactor = oneloop::Reactor::new().unwrap();
    let (a, mut b) = pair();
    let file = a.try_clone().unwrap();
    let number = a.as_raw_fd();
    let mut ids = Vec::new();
    for mode in [Mode::Level, Mode::Edge] {
        // SAFETY: the number is closed below, and then nothing else is opened.
        let added = unsafe { reactor.add_raw_handler(number, Interest::READABLE, mode, |_| {}) };
        ids.push(added.unwrap());
    }
    let is_ready = |reactor: &oneloop::Reactor| {
        let host = reactor.host("test").unwrap();
        let mut fds = [PollFd::from_borrowed_fd(host.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    };
    reactor.update_handler(ids[0], Interest::NONE).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(a);
    for id in ids {
        reactor.remove_handler(id).unwrap();
    }
    for _ in 0..20 {
        b.write_all(b"x").unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    b.write_all(b"x").unwrap();
    assert!(!is_ready(&reactor));
    drop(file);
}
