//! Limits on how often a handler is called, and priorities: by a clock of the test's own, and what can be seen
//! of them. What every host keeps is in tests/conformance.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use oneloop::{
    HandlerId, Interest, Mode, Priority, Reactor, Ready, Step, TestClock, VirtualSource,
};

const SECOND: Duration = Duration::from_secs(1);
const READ: Interest = Interest::READABLE;

/// A handler on something that is always ready, and how often it was called since the last look.
struct Busy {
    id: HandlerId,
    calls: Arc<AtomicUsize>,
}

impl Busy {
    fn new(reactor: &Reactor) -> Busy {
        let (source, readiness) = VirtualSource::pair();
        readiness.set(Ready::READABLE);
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let handle = move |_: &mut _, _| {
            let _ = &readiness;
            count.fetch_add(1, SeqCst);
        };
        let id = reactor.add_handler(source, READ, Mode::Level, handle);
        Busy {
            id: id.unwrap(),
            calls,
        }
    }

    fn take(&self) -> usize {
        self.calls.swap(0, SeqCst)
    }
}

fn turns(reactor: &Reactor) {
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

fn on(clock: &TestClock) -> Reactor {
    Reactor::builder().clock(clock.clone()).build().unwrap()
}

#[test]
fn a_limit_goes_by_the_loops_clock() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let busy = Busy::new(&reactor);
    reactor.limit_rate(busy.id, 3, SECOND).unwrap();
    let start = clock.now();
    turns(&reactor);
    assert_eq!(busy.take(), 3);
    assert_eq!(reactor.next_deadline(), Some(start + SECOND));
    clock.advance(SECOND - Duration::from_nanos(1));
    turns(&reactor);
    assert_eq!(busy.take(), 0);
    clock.advance(Duration::from_nanos(1));
    turns(&reactor);
    assert_eq!(busy.take(), 3);
    clock.advance(5 * SECOND);
    turns(&reactor);
    assert_eq!(busy.take(), 3);
}

#[test]
fn the_interval_begins_with_a_call() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let busy = Busy::new(&reactor);
    reactor.limit_rate(busy.id, 1, SECOND).unwrap();
    clock.advance(SECOND / 2);
    turns(&reactor);
    clock.advance(SECOND / 2);
    turns(&reactor);
    assert_eq!(busy.take(), 1);
    clock.advance(SECOND / 2);
    turns(&reactor);
    assert_eq!(busy.take(), 1);
}

#[test]
fn an_eager_clock_goes_to_the_end_of_each_interval() {
    let clock = TestClock::eager();
    let reactor = on(&clock);
    let busy = Busy::new(&reactor);
    reactor.limit_rate(busy.id, 2, SECOND).unwrap();
    let start = clock.now();
    while busy.calls.load(SeqCst) < 5 {
        reactor.turn(None).unwrap();
    }
    assert_eq!(clock.now() - start, 2 * SECOND);
}

#[test]
fn run_goes_on_for_a_held_handler_and_ends_without_one() {
    for unreferenced in [false, true] {
        let reactor = Reactor::builder()
            .clock(TestClock::eager())
            .build()
            .unwrap();
        let busy = Busy::new(&reactor);
        reactor.limit_rate(busy.id, 1, SECOND).unwrap();
        turns(&reactor);
        if unreferenced {
            reactor.set_referenced(busy.id, false).unwrap();
        } else {
            let (weak, id) = (reactor.downgrade(), busy.id);
            let remove = move || weak.upgrade().unwrap().remove_handler(id).unwrap();
            reactor.call_later(10 * SECOND, remove).unwrap();
        }
        busy.take();
        reactor.run().unwrap();
        assert_eq!(busy.take() > 5, !unreferenced);
    }
}

/// Each mode is itself when an interval ends: level repeats, an edge that came is told once, and a one-shot fires
/// for one arming.
#[test]
fn the_end_of_an_interval_is_told_to_each_mode() {
    for (mode, after) in [(Mode::Level, 2), (Mode::Edge, 1), (Mode::Oneshot, 0)] {
        let clock = TestClock::new();
        let reactor = on(&clock);
        let (a, mut b) = UnixStream::pair().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let handle = move |_: &mut UnixStream, _| {
            count.fetch_add(1, SeqCst);
        };
        let id = reactor.add_handler(a, READ, mode, handle).unwrap();
        reactor.limit_rate(id, 2, SECOND).unwrap();
        let mut seen = |write: bool| {
            if write {
                b.write_all(b"x").unwrap();
            }
            turns(&reactor);
            calls.swap(0, SeqCst)
        };
        let first: usize = (0..4).map(|_| seen(true)).sum();
        assert_eq!(first, if mode == Mode::Oneshot { 1 } else { 2 }, "{mode:?}");
        clock.advance(SECOND);
        assert_eq!(seen(false), after, "{mode:?}");
        // There was nothing new since.
        clock.advance(SECOND);
        let repeated = if mode == Mode::Level { 2 } else { 0 };
        assert_eq!(seen(false), repeated, "{mode:?}");
    }
}

#[test]
fn a_limit_that_is_not_reached_costs_the_kernel_nothing() {
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let read = |a: &mut UnixStream, _| a.read_exact(&mut [0]).unwrap();
    let id = reactor.add_handler(a, READ, Mode::Level, read).unwrap();
    reactor.limit_rate(id, 2, 1000 * SECOND).unwrap();
    for _ in 0..2 {
        b.write_all(b"x").unwrap();
        assert_eq!(reactor.turn(None).unwrap().called, 1);
    }
    let stats = reactor.stats();
    assert_eq!((stats.kernel_changes, stats.pending_timers), (1, 0));
    // Ready once more: one turn to see that, and one change.
    b.write_all(b"x").unwrap();
    turns(&reactor);
    let stats = reactor.stats();
    assert_eq!((stats.kernel_changes, stats.pending_timers), (2, 0));
}

#[test]
fn the_dump_shows_limits_and_priorities() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let busy = Busy::new(&reactor);
    let line = || {
        let dump = reactor.dump();
        let line = dump.lines().find(|line| line.contains("virtual source"));
        line.unwrap().to_owned()
    };
    assert!(!line().contains("priority") && !line().contains("at most"));
    reactor.set_priority(busy.id, Priority::High).unwrap();
    reactor.limit_rate(busy.id, 2, SECOND).unwrap();
    assert!(line().contains(", priority High, at most 2 calls in 1s, "));
    turns(&reactor);
    clock.advance(SECOND / 4);
    assert!(line().contains(", at most 2 calls in 1s, held for 750ms, "));
    clock.advance(SECOND);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(!line().contains("held"));
}

#[test]
fn closed_while_a_handler_is_held() {
    let reactor = Reactor::new().unwrap();
    let busy = Busy::new(&reactor);
    reactor.limit_rate(busy.id, 1, SECOND).unwrap();
    turns(&reactor);
    reactor.close();
    assert!(reactor.next_deadline().is_none());
    assert!(reactor.limit_rate(busy.id, 1, SECOND).is_err());
    assert!(reactor.set_priority(busy.id, Priority::High).is_err());
}

#[test]
fn a_held_loop_moves_to_another_host_and_thread() {
    let clock = TestClock::new();
    let reactor = on(&clock);
    let busy = Busy::new(&reactor);
    reactor.limit_rate(busy.id, 1, SECOND).unwrap();
    let mut host = reactor.host("first").unwrap();
    while host.step(10).unwrap() != Step::Sleep {}
    drop(host);
    assert_eq!(busy.take(), 1);
    let moved = reactor.clone();
    let thread = std::thread::spawn(move || {
        let mut host = moved.host("second").unwrap();
        while host.step(10).unwrap() != Step::Sleep {}
        clock.advance(SECOND);
        while host.step(10).unwrap() != Step::Sleep {}
    });
    thread.join().unwrap();
    assert_eq!(busy.take(), 1);
}
