//! Clauses 9, 17 and 26: the kernel says too little, too much, or at the wrong time.

use rustix::fd::AsRawFd;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::faulty::{Fault, Faults};
use crate::os::{self, Socket};
use oneloop::{Event, Interest, Mode, Reactor};

use crate::bystanders::Bystanders;
use crate::tools::readable;
use crate::{Log, Stage, pair, tally};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const MS: Duration = Duration::from_millis(1);

/// As often as the case lasts.
const EVER: u64 = u64::MAX;

/// One event in each wait: every handler gets its event, and one that is always ready starves no other.
pub fn events_come_one_at_a_time(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for room in [1, 3] {
        faults.clear();
        faults.order(Fault::Short(room), EVER);
        let mut peers = Vec::new();
        for n in 0..30 {
            let (a, b) = readable();
            let a = Arc::new(a);
            let modes = stage.modes();
            let mode = modes[n % modes.len()];
            let calls = stage.watch(a.clone(), READ, mode);
            // With a second set, if the poller has one.
            let edge = modes.contains(&Mode::Edge) && n % 5 == 0;
            let edge = edge.then(|| stage.watch(a, READ, Mode::Edge));
            peers.push((calls, edge, b));
        }
        // A wake and an alarm may be events, too.
        stage.turns(200);
        for (calls, edge, _) in &peers {
            assert!(calls.take() > 0);
            assert!(edge.as_ref().is_none_or(|edge| edge.take() > 0));
        }
        for _ in 0..3 {
            others.go_on(stage);
        }
        for (calls, edge, _b) in peers {
            stage.reactor.remove_handler(calls.id).expect("known");
            if let Some(edge) = edge {
                stage.reactor.remove_handler(edge.id).expect("known");
            }
        }
        others.go_on(stage);
    }
}

/// An event for a descriptor that is not ready: its handler may be called in vain, a one-shot once,
/// and hears of what comes later.
pub fn an_event_for_a_descriptor_that_is_not_ready_does_no_harm(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for &mode in stage.modes() {
        let (a, mut b) = pair();
        let fd = a.as_raw_fd();
        let calls = stage.watch(a, READ, mode);
        faults.order_for(fd, Fault::Unready, 5);
        stage.turns(10);
        others.go_on(stage);
        assert!(!faults.is_pending());
        let most = if mode == Mode::Oneshot { 1 } else { 5 };
        assert!(calls.take() <= most, "{mode:?}");
        b.write_all(b"x").expect("room");
        stage.turns(2);
        if mode == Mode::Oneshot {
            assert_eq!(calls.take(), 0, "not armed");
            stage.reactor.update_handler(calls.id, READ).expect("known");
            stage.turns(2);
        }
        assert!(calls.take() > 0, "{mode:?}");
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// The kernel reports readiness outside the interest, which reaches no handler.
pub fn events_outside_the_interest_are_not_reported(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    faults.order(Fault::Unasked, EVER);
    for &mode in stage.modes() {
        let (a, mut b) = pair();
        let a = Arc::new(a);
        let reads = stage.watch(a.clone(), READ, mode);
        let paused = stage.watch(a.clone(), Interest::NONE, mode);
        let (c, _d) = pair();
        let writes = stage.watch(c, WRITE, mode);
        stage.turns(30);
        assert_eq!((reads.take(), paused.take()), (0, 0), "{mode:?}");
        let events = writes.events();
        assert!(!events.is_empty());
        for event in events {
            assert!(!event.is_readable() && !event.is_priority(), "{event:?}");
        }
        b.write_all(b"x").expect("room");
        stage.turns(2);
        for event in reads.events() {
            assert!(!event.is_writable() && !event.is_priority(), "{event:?}");
        }
        others.go_on(stage);
        for id in [reads.id, paused.id, writes.id] {
            stage.reactor.remove_handler(id).expect("known");
        }
    }
}

/// Events for removed keys are dropped, however many there are, and the loop sleeps when they end.
pub fn events_for_removed_keys_are_dropped(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    let (a, mut b) = pair();
    let a = Arc::new(a);
    let level = stage.watch(a.clone(), READ, Mode::Level);
    let edge = stage
        .modes()
        .contains(&Mode::Edge)
        .then(|| stage.watch(a, READ, Mode::Edge));
    for n in 0..5 {
        // They have the keys of these.
        let (c, _d) = readable();
        let gone = stage.watch(c, READ, Mode::Level);
        stage.reactor.remove_handler(gone.id).expect("known");
        // It has their place in the tables.
        let (e, _f) = pair();
        let heir = stage.watch(e, READ, Mode::Level);
        faults.order(Fault::Gone, 50);
        stage.turns(50);
        b.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(level.take() > 0, "{n}");
        assert!(edge.as_ref().is_none_or(|edge| edge.take() > 0), "{n}");
        assert_eq!((gone.take(), heir.take()), (0, 0));
        stage.reactor.remove_handler(heir.id).expect("known");
        others.go_on(stage);
    }
    faults.clear();
    stage
        .reactor
        .update_handler(level.id, Interest::NONE)
        .expect("known");
    stage.expect_sleep();
}

/// A handler that another thread removes between the wait and the calls leaves an unclaimed event. Many of
/// them, one after the other, are no reason to tell the kernel of all others again.
pub fn events_of_handlers_just_removed_do_not_rebuild_the_set(stage: &mut Stage) {
    let faults = stage.faults();
    let others: Vec<_> = (0..20).map(|_| pair()).collect();
    for (a, _) in &others {
        let a = a.try_clone().expect("a descriptor");
        stage.watch(a, READ, Mode::Level);
    }
    stage.turns(2);
    let (before, rounds) = (stage.reactor.stats().kernel_changes, 40);
    fn remove_another(reactor: &Reactor, faults: &Faults, left: u64) {
        if left == 0 {
            return reactor.stop();
        }
        let (c, _d) = readable();
        let added = reactor.add_handler(c, READ, Mode::Level, |_, _| {});
        reactor.remove_handler(added.expect("open")).expect("known");
        // With the key of that one.
        faults.order(Fault::Gone, 1);
        let (next, faults) = (reactor.clone(), faults.clone());
        let post = move || remove_another(&next, &faults, left - 1);
        reactor.call_soon(post).expect("open");
    }
    remove_another(&stage.reactor, &faults, rounds);
    stage.run();
    let changes = stage.reactor.stats().kernel_changes - before;
    assert!(
        changes <= 2 * rounds,
        "{changes} changes for {rounds} handlers"
    );
}

/// A wait that returns before its time fires no timer early.
pub fn a_wait_that_returns_early_fires_no_timer_early(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    faults.order(Fault::Early, 500);
    let log = Log::default();
    for n in 1..=5 {
        let due = Instant::now() + n * MS;
        let (seen, stopper) = (log.clone(), stage.reactor.clone());
        let timer = move || {
            seen.push((n, Instant::now() >= due));
            if n == 5 {
                stopper.stop();
            }
        };
        stage.reactor.call_at(due, timer).expect("open");
    }
    stage.run();
    log.expect(&[1, 2, 3, 4, 5].map(|n| (n, true)));
    others.go_on(stage);
}

/// A wait that returns late makes timers late, and nothing else: their order stands, and a periodic
/// one skips what it has missed.
pub fn a_wait_that_returns_late_keeps_the_order(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    faults.order(Fault::Late(4 * MS), 5);
    let log = Log::default();
    let seen = log.clone();
    let every = stage.reactor.call_every(MS, move || seen.push(0));
    let now = Instant::now();
    for n in [3, 1, 2] {
        let (seen, stopper) = (log.clone(), stage.reactor.clone());
        let timer = move || {
            seen.push(n);
            if n == 3 {
                stopper.stop();
            }
        };
        stage.reactor.call_at(now + n * MS, timer).expect("open");
    }
    stage.run();
    let elapsed = now.elapsed().as_millis() as usize;
    stage
        .reactor
        .cancel_timer(every.expect("open"))
        .expect("known");
    let mut log = log.take();
    let periods = log.iter().filter(|n| **n == 0).count();
    assert!(periods <= elapsed + 1, "{periods} in {elapsed} ms");
    log.retain(|n| *n > 0);
    assert_eq!(log, [1, 2, 3]);
    others.go_on(stage);
}

/// A clock that stands still puts timers off until it goes on, in order, and delays nothing else.
pub fn a_clock_that_stands_still_loses_no_timer(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for readings in [1, 2, 10, 100] {
        faults.order(Fault::StandingClock, readings);
        let log = Log::default();
        let now = Instant::now();
        for n in [2, 1, 3] {
            let seen = log.clone();
            let timer = move || seen.push((n, Instant::now() >= now + n * MS));
            stage.reactor.call_at(now + n * MS, timer).expect("open");
        }
        others.go_on(stage);
        while log.len() < 3 {
            others.go_on(stage);
        }
        log.expect(&[1, 2, 3].map(|n| (n, true)));
        faults.clear();
    }
}

/// Signals without end interrupt whatever can be interrupted, while bytes, timers and posts flow.
pub fn a_storm_of_signals_loses_nothing(stage: &mut Stage) {
    const EACH: usize = 100;
    let storm = Storm::begin();
    let modes = stage.modes();
    let left = Arc::new(AtomicUsize::new((modes.len() + 2) * EACH));
    let got = {
        let (reactor, eye) = (stage.reactor.clone(), storm.eye.clone());
        move || {
            Storm::here(&eye);
            if left.fetch_sub(1, SeqCst) == 1 {
                reactor.stop();
            }
        }
    };
    let mut peers = Vec::new();
    for &mode in modes {
        let (a, b) = pair();
        let (reactor, got) = (stage.reactor.clone(), got.clone());
        let handle = move |stream: &mut Socket, event: Event| {
            let mut bytes = [0; 8];
            while let Ok(n @ 1..) = stream.read(&mut bytes) {
                (0..n).for_each(|_| got());
            }
            if mode == Mode::Oneshot {
                let armed = reactor.update_handler(event.handler(), READ);
                armed.expect("known");
            }
        };
        let added = stage.reactor.add_handler(a, READ, mode, handle);
        added.expect("add_handler");
        peers.push(b);
    }
    let early = Arc::new(AtomicBool::new(false));
    tick(&stage.reactor, EACH, early.clone(), got.clone());
    let (reactor, order) = (stage.reactor.clone(), Log::default());
    let posted = order.clone();
    let sender = thread::spawn(move || {
        for n in 0..EACH {
            for peer in &mut peers {
                peer.write_all(b"x").expect("room");
            }
            let (got, posted) = (got.clone(), posted.clone());
            let post = move || {
                posted.push(n);
                got();
            };
            reactor.call_soon(post).expect("open");
            // So that the loop sleeps in between.
            thread::yield_now();
        }
        peers
    });
    let eye = storm.eye.clone();
    stage
        .reactor
        .call_soon(move || Storm::here(&eye))
        .expect("open");
    stage.run();
    sender.join().expect("no panic");
    assert!(!early.load(SeqCst), "a timer was early");
    order.expect(&Vec::from_iter(0..EACH));
    // The loop's own wait, with a timeout of its own.
    Storm::here(&storm.eye);
    let start = Instant::now();
    while start.elapsed() < 5 * MS {
        stage
            .reactor
            .turn(Some(5 * MS))
            .expect("no error of a signal's");
    }
    storm.end();
}

/// A timer, and another one after it, so many times.
fn tick(
    reactor: &Reactor,
    left: usize,
    early: Arc<AtomicBool>,
    got: impl Fn() + Clone + Send + 'static,
) {
    let due = Instant::now() + MS / 10;
    let again = reactor.clone();
    let timer = move || {
        early.fetch_or(Instant::now() < due, SeqCst);
        if left > 1 {
            tick(&again, left - 1, early.clone(), got.clone());
        }
        got();
    };
    reactor.call_at(due, timer).expect("open");
}

/// A thread that sends signals to whichever thread drives.
struct Storm {
    /// Where it goes; 0 for nowhere.
    eye: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: os::c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

impl Storm {
    fn begin() -> Storm {
        os::on_signal(count);
        let (eye, done) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (target, enough) = (eye.clone(), done.clone());
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !enough.load(SeqCst) {
                let thread = target.load(SeqCst);
                if thread != 0 {
                    // A thread of the host's, or of the case's, both of which are there until this one has ended.
                    os::send_signal(thread);
                    sent += 1;
                }
                thread::yield_now();
            }
            sent
        });
        Storm { eye, done, sender }
    }

    /// This is the thread.
    fn here(eye: &AtomicUsize) {
        eye.store(os::this_thread(), SeqCst);
    }

    fn end(self) {
        self.done.store(true, SeqCst);
        let sent = self.sender.join().expect("no panic");
        assert!(sent > 0);
        tally::add("a signal".into(), sent);
    }
}
