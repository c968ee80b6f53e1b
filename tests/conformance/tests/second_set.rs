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
