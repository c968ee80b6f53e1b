//! Priorities of handlers, and limits on how often one is called.

use crate::os::Socket;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use oneloop::{Action, ErrorKind, Interest, Mode, Priority};

use crate::stage::{Calls, Drops, Number};
use crate::tools::readable;
use crate::{End, Log, Stage};

const READ: Interest = Interest::READABLE;
/// An interval that ends soon.
const SHORT: Duration = Duration::from_millis(5);
/// One that does not end within a case.
const LONG: Duration = Duration::from_secs(1000);

// Priorities.

/// Of those that are ready in a turn, the ones of higher priority are called first, and all are called.
pub fn handlers_of_higher_priority_are_called_first(stage: &mut Stage) {
    use Priority::{High, Idle, Normal};
    let all = [Idle, Normal, High, Normal, Idle, High, High, Normal, Idle];
    let log = Log::default();
    let mut peers = Vec::new();
    for (me, priority) in all.into_iter().enumerate() {
        let (a, b) = stage.sources.readable();
        let seen = log.clone();
        let handle = move |_: &mut _, _| seen.push((priority, me));
        let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
        let id = id.expect("add_handler");
        stage.reactor.set_priority(id, priority).expect("known");
        peers.push(b);
    }
    stage.turns(4);
    let log = log.take();
    let turns = log.chunks_exact(all.len());
    assert!(turns.len() >= 4, "{log:?}");
    for turn in turns {
        let order = turn.iter().map(|(priority, _)| *priority as u8);
        assert!(order.is_sorted(), "{turn:?}");
        let mut each: Vec<_> = turn.iter().map(|(_, me)| *me).collect();
        each.sort();
        assert_eq!(each, (0..all.len()).collect::<Vec<_>>());
    }
}

/// A handler may change the priority of another, and of itself. The next turn has the new order.
pub fn a_priority_set_in_a_callback_is_in_force_in_the_next_turn(stage: &mut Stage) {
    let log = Log::default();
    let mut peers = Vec::new();
    let mut add = |name: &'static str| {
        let (a, b) = stage.sources.readable();
        peers.push(b);
        let (seen, reactor) = (log.clone(), stage.reactor.clone());
        let handle = move |_: &mut End, event: oneloop::Event| {
            seen.push(name);
            if name == "first" {
                let priority = reactor.set_priority(event.handler(), Priority::Idle);
                priority.expect("known");
            }
        };
        let added = stage.reactor.add_handler(a, READ, Mode::Level, handle);
        added.expect("add_handler")
    };
    add("second");
    let first = add("first");
    stage
        .reactor
        .set_priority(first, Priority::High)
        .expect("known");
    stage.turns(2);
    assert_eq!(log.take()[..4], ["first", "second", "second", "first"]);
}

/// Neither takes an id that no handler has.
pub fn a_stale_id_gets_neither_priority_nor_limit(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.reactor.remove_handler(calls.id).expect("known");
    let (c, _d) = stage.sources.readable();
    let other = stage.watch(c, READ, Mode::Level);
    let errors = [
        stage.reactor.set_priority(calls.id, Priority::High),
        stage.reactor.limit_rate(calls.id, 1, LONG),
    ];
    for error in errors {
        assert_eq!(error.expect_err("stale").kind(), ErrorKind::UnknownId);
    }
    stage.turns(3);
    assert!(other.take() >= 3);
}

// Limits.

/// A handler that has had its calls is called no more in the interval, and the loop sleeps though it is
/// ready.
pub fn a_handler_is_called_no_more_often_than_its_limit(stage: &mut Stage) {
    for (calls, per) in [(1, LONG), (3, LONG), (3, Duration::MAX)] {
        let (a, _b) = stage.sources.readable();
        let seen = stage.watch(a, READ, Mode::Level);
        stage
            .reactor
            .limit_rate(seen.id, calls, per)
            .expect("known");
        stage.turns(10);
        assert_eq!(seen.take(), calls as usize);
        stage.expect_sleep();
        assert_eq!(seen.take(), 0);
        stage.reactor.remove_handler(seen.id).expect("known");
    }
}

/// After each interval, a limited handler has all its calls again.
pub fn a_limited_handler_is_called_again_when_its_interval_ends(stage: &mut Stage) {
    const INTERVALS: usize = 3;
    let (a, _b) = stage.sources.readable();
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let handle = move |_: &mut _, _| {
        seen.push(Instant::now());
        if seen.len() == 2 * INTERVALS {
            stopper.stop();
        }
    };
    let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 2, SHORT).expect("known");
    let (before, start) = (stage.reactor.stats().turns, Instant::now());
    stage.run();
    let turns = stage.reactor.stats().turns - before;
    // Two calls, one that is held back, one in which the interval ends, and some for the host.
    assert!(turns <= 10 * INTERVALS as u64, "{turns} turns");
    let times = log.take();
    for (nth, time) in times.iter().enumerate() {
        let least = (nth / 2) as u32 * SHORT;
        assert!(*time - start >= least, "call {nth} was early");
    }
}

/// An edge that comes while the handler is held is told when that ends.
pub fn an_edge_that_comes_while_it_is_held_is_not_lost(stage: &mut Stage) {
    let mode = stage.edge_or_oneshot();
    let (a, mut b) = stage.sources.readable();
    let log = Log::default();
    let (seen, reactor) = (log.clone(), stage.reactor.clone());
    let handle = move |end: &mut End, event: oneloop::Event| {
        seen.push(end.read(&mut [0; 8]).expect("a byte"));
        if mode == Mode::Oneshot {
            reactor.update_handler(event.handler(), READ).expect("open");
        }
    };
    let id = stage.reactor.add_handler(a, READ, mode, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 1, LONG).expect("known");
    stage.turns(3);
    log.expect(&[1]);
    for _ in 0..3 {
        b.write_all(b"x").expect("room");
        stage.turns(3);
    }
    log.expect(&[]);
    stage.reactor.limit_rate(id, 1, LONG).expect("known");
    stage.turns(3);
    log.expect(&[3]);
}

/// An edge-triggered handler that leaves something unread is not called for that when the interval ends.
pub fn the_end_of_an_interval_is_no_edge(stage: &mut Stage) {
    let mode = stage.edge_or_oneshot();
    let (a, _b) = stage.sources.readable();
    let calls = stage.watch(a, READ, mode);
    stage
        .reactor
        .limit_rate(calls.id, 1, SHORT / 5)
        .expect("known");
    let stopper = stage.reactor.clone();
    let timer = stage.reactor.call_later(SHORT, move || stopper.stop());
    timer.expect("open");
    stage.run();
    assert_eq!(calls.take(), 1);
}

/// A one-shot that is armed while it is held fires once when that ends, however often it was armed.
pub fn a_oneshot_armed_while_it_is_held_fires_once(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let calls = stage.watch(a, READ, Mode::Oneshot);
    let reactor = stage.reactor.clone();
    reactor.limit_rate(calls.id, 1, LONG).expect("known");
    stage.turns(2);
    for _ in 0..3 {
        reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(2);
    }
    assert_eq!(calls.take(), 1);
    reactor.limit_rate(calls.id, 9, LONG).expect("known");
    stage.turns(4);
    assert_eq!(calls.take(), 1);
}

/// `Action::Again` counts as any other call does.
pub fn again_waits_for_the_interval_to_end(stage: &mut Stage) {
    const CALLS: usize = 3;
    let (mut a, _b) = stage.sources.readable();
    a.read_exact(&mut [0]).expect("a byte");
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let handle = move |_: &mut _, _| {
        seen.push(Instant::now());
        if seen.len() == CALLS {
            stopper.stop();
        }
        Action::Again
    };
    let interest = READ | Interest::WRITABLE;
    let id = stage
        .reactor
        .add_handler(a, interest, Mode::Oneshot, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 1, SHORT).expect("known");
    let start = Instant::now();
    stage.run();
    let times = log.take();
    assert_eq!(times.len(), CALLS);
    for (nth, time) in times.iter().enumerate() {
        assert!(*time - start >= nth as u32 * SHORT, "call {nth}");
    }
}

/// A held handler can be paused: the end of the interval resumes nothing.
pub fn a_handler_paused_while_it_is_held_stays_paused(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, mut b) = stage.sources.readable();
        let calls = stage.watch(a, READ, mode);
        let reactor = stage.reactor.clone();
        reactor.limit_rate(calls.id, 1, SHORT).expect("known");
        stage.turns(2);
        reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(2);
        let update = reactor.update_handler(calls.id, Interest::NONE);
        update.expect("known");
        calls.take();
        b.write_all(b"x").expect("room");
        let stopper = reactor.clone();
        let timer = reactor.call_later(3 * SHORT, move || stopper.stop());
        timer.expect("open");
        stage.run();
        assert_eq!(calls.take(), 0, "{mode:?}");
        reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(3);
        assert!(calls.take() >= 1, "{mode:?}");
        reactor.remove_handler(calls.id).expect("known");
    }
}

/// An update or a rearm of a held handler calls nothing before the interval ends, and counts then.
pub fn an_update_does_not_get_around_a_limit(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, _b) = stage.sources.readable();
        let calls = stage.watch(a, READ, mode);
        let reactor = stage.reactor.clone();
        reactor.limit_rate(calls.id, 1, LONG).expect("known");
        for _ in 0..3 {
            stage.turns(3);
            reactor.update_handler(calls.id, READ).expect("known");
            stage.turns(3);
            reactor.rearm_handler(calls.id).expect("known");
        }
        let both = READ | Interest::WRITABLE;
        reactor.update_handler(calls.id, both).expect("known");
        stage.turns(3);
        assert_eq!(calls.take(), 1, "{mode:?}");
        stage.expect_sleep();
        reactor.limit_rate(calls.id, 0, LONG).expect("known");
        stage.turns(3);
        let events = calls.events();
        let event = events.first().expect("the limit is lifted");
        assert!(event.is_readable() && event.is_writable(), "{mode:?}");
        reactor.remove_handler(calls.id).expect("known");
    }
}

/// A limit that is lifted while the loop sleeps lets the handler be called at once.
pub fn a_limit_is_lifted_while_the_loop_sleeps(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let lifted = Arc::new(AtomicBool::new(false));
    let now = lifted.clone();
    let handle = move |_: &mut _, _| {
        seen.push(());
        if now.load(SeqCst) {
            stopper.stop();
        }
    };
    let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 2, LONG).expect("known");
    stage.turns(5);
    assert_eq!(log.len(), 2);
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        lifted.store(true, SeqCst);
        reactor.limit_rate(id, 0, LONG).expect("known");
    });
    assert_eq!(log.len(), 3);
}

/// A limit that is set while the handler is held begins again.
pub fn a_new_limit_takes_the_place_of_the_old(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    for limit in [1, 4, 2] {
        let limited = stage.reactor.limit_rate(calls.id, limit, LONG);
        limited.expect("known");
        stage.turns(8);
        assert_eq!(calls.take(), limit as usize);
    }
    let limited = stage.reactor.limit_rate(calls.id, 2, Duration::ZERO);
    limited.expect("known");
    stage.turns(8);
    assert!(calls.take() >= 8);
}

/// Others on the same source are called as ever.
pub fn a_limit_does_not_concern_the_neighbours(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, mut b) = stage.sources.pair();
        let neighbour = stage.watch(a.clone(), READ, Mode::Level);
        let calls = stage.watch(a.clone(), READ, mode);
        let limited = stage.reactor.limit_rate(calls.id, 1, LONG);
        limited.expect("known");
        b.write_all(b"x").expect("room");
        stage.turns(4);
        b.write_all(b"x").expect("room");
        stage.turns(4);
        let all = (calls.take(), neighbour.take());
        assert!(all.0 == 1 && all.1 >= 8, "{mode:?}: {all:?}");
        for id in [calls.id, neighbour.id] {
            stage.reactor.remove_handler(id).expect("known");
        }
    }
}

/// Removed while it is held, it is gone: nothing is left of its limit or its priority for the handler that gets its
/// place.
pub fn a_held_handler_can_be_removed(stage: &mut Stage) {
    let drops = Drops::default();
    for _ in 0..3 {
        let (a, _b) = stage.sources.readable();
        let guard = drops.guard();
        let handle = move |_: &mut _, _| {
            let _ = &guard;
        };
        let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
        let id = id.expect("add_handler");
        stage.reactor.limit_rate(id, 1, LONG).expect("known");
        stage
            .reactor
            .set_priority(id, Priority::Idle)
            .expect("known");
        stage.turns(3);
        assert!(stage.reactor.next_deadline().is_some());
        stage.reactor.remove_handler(id).expect("known");
        assert!(stage.reactor.next_deadline().is_none());
    }
    assert_eq!(drops.count(), 3);
    let (a, _b) = stage.sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(5);
    assert!(calls.take() >= 5);
}

/// A handler that is held when the driver leaves is watched again under the next.
pub fn a_handler_stays_held_across_a_change_of_drivers(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let stopper = stage.reactor.clone();
    let is_last = Arc::new(AtomicBool::new(false));
    let now = is_last.clone();
    let handle = move |_: &mut _, _| {
        if now.load(SeqCst) {
            stopper.stop();
        }
    };
    let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 1, SHORT).expect("known");
    for _ in 0..3 {
        stage.turns(3);
    }
    is_last.store(true, SeqCst);
    stage.run();
}

/// With nothing else to do, the loop sleeps until the interval ends.
pub fn the_end_of_an_interval_wakes_a_loop_that_sleeps(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let handle = move |_: &mut _, _| {
        seen.push(Instant::now());
        stopper.stop();
    };
    let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 1, SHORT).expect("known");
    let start = Instant::now();
    for _ in 0..3 {
        stage.run();
    }
    let times = log.take();
    assert_eq!(times.len(), 3);
    assert!(times[2] - start >= 2 * SHORT);
}

/// A handler that has used up its calls, on a number of its own, and the peer of its file.
fn held(stage: &mut Stage, mode: Mode) -> (Number, Calls, Socket) {
    let (a, peer) = readable();
    let number = Number::of(&a);
    drop(a);
    let calls = stage.watch_number(number.get(), READ, mode);
    let reactor = stage.reactor.clone();
    reactor.limit_rate(calls.id, 1, LONG).expect("known");
    stage.turns(2);
    reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(2);
    assert_eq!(calls.take(), 1);
    (number, calls, peer)
}

/// The descriptor of a held handler is closed, and its number comes to mean another file. The end of the
/// interval does not make the handler watch that.
pub fn a_held_handler_comes_to_watch_no_stranger(stage: &mut Stage) {
    for &mode in stage.modes() {
        for with_owner in [false, true] {
            let (number, calls, _peer) = held(stage, mode);
            let reactor = stage.reactor.clone();
            let (c, _d) = readable();
            number.mean(&c);
            let owner = with_owner.then(|| stage.watch_number(number.get(), READ, Mode::Level));
            reactor.limit_rate(calls.id, 0, LONG).expect("known");
            stage.turns(4);
            assert_eq!(calls.take(), 0, "{mode:?}");
            if let Some(owner) = owner {
                assert!(owner.take() >= 4, "{mode:?}");
                reactor.remove_handler(owner.id).expect("known");
            }
            reactor.rearm_handler(calls.id).expect("known");
            stage.turns(3);
            assert!(calls.take() >= 1, "{mode:?}");
            reactor.remove_handler(calls.id).expect("known");
            number.close();
        }
    }
}

/// A callback that panics while it has a limit leaves nothing behind.
pub fn a_limited_handler_may_panic(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let handle = |_: &mut End, _| -> Action { panic!("on purpose") };
    let id = stage.reactor.add_handler(a, READ, Mode::Level, handle);
    let id = id.expect("add_handler");
    stage.reactor.limit_rate(id, 1, LONG).expect("known");
    let run = std::panic::AssertUnwindSafe(|| stage.run());
    std::panic::catch_unwind(run).expect_err("the panic");
    let error = stage.reactor.limit_rate(id, 1, LONG);
    assert_eq!(error.expect_err("removed").kind(), ErrorKind::UnknownId);
    stage.expect_sleep();
}

/// Updated while it is held, it is for the file that its number means now.
pub fn a_held_handler_that_is_updated_watches_its_new_file(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (number, calls, _peer) = held(stage, mode);
        let reactor = stage.reactor.clone();
        let (c, _d) = readable();
        number.mean(&c);
        reactor.update_handler(calls.id, READ).expect("known");
        reactor.limit_rate(calls.id, 0, LONG).expect("known");
        stage.turns(4);
        assert!(calls.take() >= 1, "{mode:?}");
        reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// A one-shot whose limit is lifted is still one.
pub fn a_oneshot_without_its_limit_is_called_once(stage: &mut Stage) {
    let (a, _b) = stage.sources.readable();
    let calls = stage.watch(a, READ, Mode::Oneshot);
    for limit in [1, 0] {
        let limited = stage.reactor.limit_rate(calls.id, limit, LONG);
        limited.expect("known");
    }
    stage.turns(4);
    assert_eq!(calls.take(), 1);
}

/// A neighbour keeps the edge in the kernel's set, which would not report it again by itself.
pub fn an_edge_is_told_when_the_interval_ends_beside_another(stage: &mut Stage) {
    let mode = stage.edge_or_oneshot();
    let (a, mut b) = stage.sources.readable();
    let calls = stage.watch(a.clone(), READ, mode);
    let neighbour = stage.watch(a, READ, mode);
    let reactor = stage.reactor.clone();
    reactor.limit_rate(calls.id, 1, LONG).expect("known");
    for _ in 0..3 {
        stage.turns(3);
        b.write_all(b"x").expect("room");
        if mode == Mode::Oneshot {
            for id in [calls.id, neighbour.id] {
                reactor.update_handler(id, READ).expect("known");
            }
        }
    }
    stage.turns(3);
    assert!(calls.take() == 1 && neighbour.take() >= 4);
    reactor.limit_rate(calls.id, 0, LONG).expect("known");
    stage.turns(3);
    assert_eq!(calls.take(), 1);
}
