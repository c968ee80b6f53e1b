//! Virtual sources: what has no counterpart among descriptors. The rest is the other topics' cases,
//! run on virtual sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use oneloop::{ErrorKind, Interest, Mode, Reactor, Ready, VirtualSource};

use crate::{Log, Stage};

const READ: Interest = Interest::READABLE;

// Clause 9.

/// Set by another thread while the loop sleeps.
pub fn a_source_set_by_another_thread_while_the_loop_sleeps_is_reported(stage: &mut Stage) {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let (source, readiness) = VirtualSource::pair();
        let stopper = stage.reactor.clone();
        let id = stage
            .reactor
            .add_handler(source, READ, mode, move |_, _| stopper.stop())
            .expect("add_handler");
        let setter = readiness.clone();
        stage.run_beside(move || {
            thread::spawn(move || assert!(setter.set(Ready::READABLE)));
        });
        stage.reactor.remove_handler(id).expect("known");
    }
}

/// Readiness that was set before the handler came counts.
pub fn readiness_set_before_the_handler_was_added_is_reported(stage: &mut Stage) {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let (source, readiness) = VirtualSource::pair();
        assert!(!readiness.set(Ready::READABLE), "no handler hears it");
        let calls = stage.watch(source, READ, mode);
        stage.turns(3);
        assert!(calls.take() > 0, "{mode:?}");
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// Readiness that was set and cleared before the loop looked is not reported.
pub fn readiness_cleared_before_the_loop_looked_calls_no_handler(stage: &mut Stage) {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let (source, readiness) = VirtualSource::pair();
        let calls = stage.watch(source, READ, mode);
        readiness.set(Ready::READABLE);
        readiness.clear(Ready::READABLE);
        stage.turns(3);
        assert_eq!(calls.take(), 0, "{mode:?}");
        readiness.set(Ready::READABLE);
        stage.turns(3);
        assert!(calls.take() > 0, "{mode:?}");
    }
}

/// Sets from many threads: an edge handler that looks at each call misses nothing.
pub fn sets_from_many_threads_are_not_lost(stage: &mut Stage) {
    const THREADS: usize = 4;
    const SETS: usize = 5_000;
    let (source, readiness) = VirtualSource::pair();
    let made = Arc::new(AtomicUsize::new(0));
    let (seen, stopper) = (made.clone(), stage.reactor.clone());
    stage
        .reactor
        .add_handler(source, READ, Mode::Edge, move |_, _| {
            if seen.load(SeqCst) == THREADS * SETS {
                stopper.stop();
            }
        })
        .expect("add_handler");
    for _ in 0..THREADS {
        let (made, readiness) = (made.clone(), readiness.clone());
        thread::spawn(move || {
            for _ in 0..SETS {
                made.fetch_add(1, SeqCst);
                readiness.set(Ready::READABLE);
            }
        });
    }
    stage.run();
}

/// Many sets before the loop looks cost one wake.
pub fn many_sets_cost_one_wake(stage: &mut Stage) {
    let (source, readiness) = VirtualSource::pair();
    let calls = stage.watch(source, READ, Mode::Edge);
    for _ in 0..10_000 {
        readiness.set(Ready::READABLE);
    }
    let before = stage.reactor.stats().turns;
    stage.turns(1);
    assert_eq!(calls.take(), 1);
    assert!(stage.reactor.stats().turns - before < 6);
}

/// Set by its own handler, which an edge handler is told in a later turn.
pub fn a_source_set_in_its_own_callback_is_called_in_a_later_turn(stage: &mut Stage) {
    let (source, readiness) = VirtualSource::pair();
    let (log, reactor) = (Log::default(), stage.reactor.clone());
    readiness.set(Ready::READABLE);
    let seen = log.clone();
    stage
        .reactor
        .add_handler(source, READ, Mode::Edge, move |_, _| {
            seen.push("call");
            if seen.len() < 3 {
                assert!(readiness.set(Ready::READABLE));
                let seen = seen.clone();
                reactor.call_soon(move || seen.push("end")).expect("open");
            }
        })
        .expect("add_handler");
    stage.turns(5);
    log.expect(&["call", "end", "call"]);
}

/// One source on two reactors.
pub fn one_source_on_two_loops_is_reported_on_both(stage: &mut Stage) {
    let other = Reactor::new().expect("a reactor");
    let (source, readiness) = VirtualSource::pair();
    let ours = stage.watch(source.clone(), READ, Mode::Edge);
    let log = Log::default();
    let seen = log.clone();
    other
        .add_handler(source, READ, Mode::Edge, move |_, _| seen.push(()))
        .expect("add_handler");
    readiness.set(Ready::READABLE);
    stage.turns(2);
    other.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!((ours.take(), log.len()), (1, 1));
}

// Clause 10.

/// An error reaches every handler, and priority those that asked for it.
pub fn an_error_of_a_virtual_source_reaches_every_handler(stage: &mut Stage) {
    let (source, readiness) = VirtualSource::pair();
    let interests = [READ, Interest::WRITABLE, Interest::PRIORITY];
    let handlers = interests.map(|interest| stage.watch(source.clone(), interest, Mode::Oneshot));
    readiness.set(Ready::ERROR);
    stage.turns(2);
    for (handler, interest) in handlers.iter().zip(interests) {
        let [event] = handler.events().try_into().expect("one call");
        assert!(event.is_error());
        assert_eq!(event.is_readable(), interest == READ);
        assert_eq!(event.is_writable(), interest == Interest::WRITABLE);
        stage
            .reactor
            .update_handler(handler.id, interest)
            .expect("known");
    }
    readiness.clear(Ready::ERROR);
    readiness.set(Ready::PRIORITY);
    stage.turns(2);
    assert_eq!(handlers.map(|handler| handler.take()), [0, 0, 1]);
}

/// When the last `SetReadiness` is gone, that is a hang-up.
pub fn the_last_readiness_that_goes_is_a_hangup(stage: &mut Stage) {
    let (source, readiness) = VirtualSource::pair();
    let calls = stage.watch(source, READ, Mode::Oneshot);
    let clone = readiness.clone();
    drop(readiness);
    stage.turns(2);
    assert_eq!(calls.take(), 0);
    drop(clone);
    stage.turns(2);
    assert!(calls.events()[0].is_hangup());
}

// Clause 21.

/// A `SetReadiness` that outlives its reactor reports that no handler hears it.
pub fn a_readiness_may_outlive_the_reactor(stage: &mut Stage) {
    for by_close in [true, false] {
        let other = Reactor::builder().poller(stage.poller).build();
        let other = other.expect("a reactor");
        let (source, readiness) = VirtualSource::pair();
        let added = other.add_handler(source, READ, Mode::Level, |_, _| {});
        let id = added.expect("add_handler");
        let fd = other.handler_fd(id).expect_err("it has none");
        assert_eq!(fd.kind(), ErrorKind::Unsupported);
        assert!(readiness.set(Ready::READABLE));
        if by_close {
            other.close()
        } else {
            drop(other)
        }
        assert!(!readiness.set(Ready::READABLE), "no handler is left");
        readiness.clear(Ready::READABLE);
    }
}
