//! Clauses 17 to 19: timers.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use oneloop::{Action, ErrorKind};

use crate::stage::{Drops, after_turns};
use crate::{Log, Stage};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(1000);

// Clause 17.

/// Timers never fire early.
pub fn timers_never_fire_early(stage: &mut Stage) {
    let log = Log::default();
    for micros in [0, 1, 100, 900, 1000, 1001, 2500, 5000] {
        let due = Instant::now() + Duration::from_micros(micros);
        let (log, stopper) = (log.clone(), stage.reactor.clone());
        let timer = move || {
            log.push(Instant::now().checked_duration_since(due).is_some());
            if log.len() == 8 {
                stopper.stop();
            }
        };
        stage.reactor.call_at(due, timer).expect("open");
    }
    stage.run();
    log.expect(&[true; 8]);
}

/// They fire in the order of their deadlines, and of their creation where those are equal.
pub fn timers_fire_by_deadline_then_by_creation(stage: &mut Stage) {
    let log = Log::default();
    let base = Instant::now() + 2 * MS;
    for (name, offset) in [("c", 2), ("a", 0), ("d", 2), ("b", 1), ("e", 2)] {
        let log = log.clone();
        let due = base + offset * Duration::from_micros(200);
        stage
            .reactor
            .call_at(due, move || log.push(name))
            .expect("open");
    }
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_at(base + 3 * MS, move || stopper.stop())
        .expect("open");
    stage.run();
    log.expect(&["a", "b", "c", "d", "e"]);
}

/// Also of what was due before there was a loop.
pub fn deadlines_of_long_ago_are_in_order_too(stage: &mut Stage) {
    let log = Log::default();
    let now = Instant::now();
    for hours in [1, 3, 2] {
        let log = log.clone();
        let past = now - hours * Duration::from_secs(3600);
        stage
            .reactor
            .call_at(past, move || log.push(hours))
            .expect("open");
    }
    stage.turns(2);
    log.expect(&[3, 2, 1]);
}

/// Many are due at once, in order.
pub fn a_thousand_timers_due_at_once_fire_in_order(stage: &mut Stage) {
    let log = Log::default();
    let base = Instant::now();
    for n in 0..1000_u64 {
        let log = log.clone();
        let due = base + Duration::from_nanos(n * 7919 % 1000);
        let timer = move || log.push(n * 7919 % 1000);
        stage.reactor.call_at(due, timer).expect("open");
    }
    // They have to be due, all of them.
    while base.elapsed() < Duration::from_micros(1) {}
    stage.turns(3);
    let log = log.take();
    assert_eq!(log.len(), 1000);
    assert!(log.is_sorted());
}

/// Timers that a stop has left over fire in order with those that became due since, and each by the
/// deadline that it has by then.
pub fn timers_that_a_stop_left_over_fire_by_deadline(stage: &mut Stage) {
    let base = Instant::now();
    let log = Log::default();
    let reactor = stage.reactor.clone();
    let timer = |nanoseconds: u64, entry: &'static str| {
        let (seen, due) = (log.clone(), base + Duration::from_nanos(nanoseconds));
        let set = reactor.call_at(due, move || seen.push(entry));
        set.expect("open")
    };
    let stopper = stage.reactor.clone();
    let stop = move || stopper.stop();
    stage.reactor.call_at(base, stop).expect("open");
    let moved = timer(10, "third");
    timer(20, "second");
    // They have to be due, all of them.
    while base.elapsed() < Duration::from_micros(1) {}
    stage.run();
    assert!(stage.reactor.next_deadline().is_some());
    timer(5, "first");
    stage
        .reactor
        .reset_timer(moved, base + Duration::from_nanos(30))
        .expect("left over");
    stage.turns(3);
    log.expect(&["first", "second", "third"]);
}

/// A short timer is good to well under a millisecond, on Linux under every host. One good one of
/// many is enough: the machine may be busy with other things.
pub fn short_timers_are_good_to_well_under_a_millisecond(stage: &mut Stage) {
    let best = Arc::new(Mutex::new(Duration::MAX));
    fn next(reactor: &oneloop::Reactor, best: Arc<Mutex<Duration>>, left: u32) {
        let due = Instant::now() + Duration::from_micros(1300);
        let again = reactor.clone();
        let timer = move || {
            let late = due.elapsed();
            let mut least = best.lock().expect("no panic");
            *least = late.min(*least);
            match left {
                0 => again.stop(),
                _ => next(&again, best.clone(), left - 1),
            }
        };
        reactor.call_at(due, timer).expect("open");
    }
    next(&stage.reactor, best.clone(), 30);
    stage.run();
    let best = *best.lock().expect("no panic");
    assert!(best < Duration::from_micros(500), "{best:?} late at best");
}

/// A timer set by another thread while the loop sleeps wakes it in time.
pub fn a_timer_set_by_another_thread_while_the_loop_sleeps_fires(stage: &mut Stage) {
    stage
        .reactor
        .call_later(LONG, || panic!("far away"))
        .expect("open");
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || {
            let stopper = reactor.clone();
            reactor
                .call_later(MS, move || stopper.stop())
                .expect("open");
        });
    });
}

/// So does one set by the host's own code.
pub fn a_timer_set_by_host_code_while_the_loop_sleeps_fires(stage: &mut Stage) {
    stage
        .reactor
        .call_later(LONG, || panic!("far away"))
        .expect("open");
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let stopper = reactor.clone();
        reactor
            .call_later(MS, move || stopper.stop())
            .expect("open");
    });
}

/// A timer pulled forward while the loop sleeps wakes it in time.
pub fn a_timer_moved_forward_while_the_loop_sleeps_fires_at_its_new_deadline(stage: &mut Stage) {
    let (reactor, stopper) = (stage.reactor.clone(), stage.reactor.clone());
    let timer = stage
        .reactor
        .call_later(LONG, move || stopper.stop())
        .expect("open");
    stage.run_beside(move || {
        reactor
            .reset_timer(timer, Instant::now() + MS)
            .expect("known");
    });
}

/// A timer in the past fires at once.
pub fn a_timer_in_the_past_fires_at_once(stage: &mut Stage) {
    let stopper = stage.reactor.clone();
    let past = Instant::now()
        .checked_sub(Duration::from_secs(3))
        .unwrap_or(Instant::now());
    stage
        .reactor
        .call_at(past, move || stopper.stop())
        .expect("open");
    stage.run();
}

/// A delay beyond all clocks overflows nothing.
pub fn the_longest_delay_is_accepted(stage: &mut Stage) {
    let far = stage
        .reactor
        .call_later(Duration::MAX, || panic!("too soon"))
        .expect("open");
    let every = stage
        .reactor
        .call_every(Duration::MAX, || -> Action { panic!("too soon") })
        .expect("open");
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_later(2 * MS, move || stopper.stop())
        .expect("open");
    stage.run();
    stage.reactor.cancel_timer(far).expect("known");
    stage.reactor.cancel_timer(every).expect("known");
}

/// A timer that is put off for ever does not keep `run` going, until it is put somewhere else.
pub fn a_timer_put_off_for_ever_does_not_keep_run_going(stage: &mut Stage) {
    let reactor = &stage.reactor;
    let log = Log::default();
    let seen = log.clone();
    let id = reactor.call_later(Duration::MAX, move || seen.push("fired"));
    let id = id.expect("open");
    reactor.run().expect("nothing to wait for");
    reactor.reset_timer(id, Instant::now()).expect("known");
    reactor.run().expect("run");
    log.expect(&["fired"]);
}

// Clause 18.

/// A zero-delay timer set in a timer callback fires in the next turn.
pub fn a_zero_delay_timer_set_in_a_timer_fires_in_the_next_turn(stage: &mut Stage) {
    let log = Log::default();
    let (seen, reactor) = (log.clone(), stage.reactor.clone());
    let timer = move || {
        seen.push("timer");
        if seen.len() < 5 {
            let seen_there = seen.clone();
            reactor
                .call_soon(move || seen_there.push("end of the turn"))
                .expect("open");
            let seen_there = seen.clone();
            reactor
                .call_later(Duration::ZERO, move || seen_there.push("next"))
                .expect("open");
        }
    };
    stage
        .reactor
        .call_later(Duration::ZERO, timer)
        .expect("open");
    stage.turns(4);
    log.expect(&["timer", "end of the turn", "next"]);
}

/// A zero-delay timer that resets itself starves no other.
pub fn a_zero_delay_timer_that_returns_starves_no_other(stage: &mut Stage) {
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .call_every(Duration::ZERO, move || seen.push(()))
        .expect("open");
    stage.turns(10);
    let calls = log.len();
    assert!((5..=20).contains(&calls), "{calls}: once a turn");
}

// Clause 19.

/// A cancelled timer does not fire, and its id is stale.
pub fn a_cancelled_timer_does_not_fire(stage: &mut Stage) {
    let timer = stage
        .reactor
        .call_later(MS, || panic!("cancelled"))
        .expect("open");
    stage.reactor.cancel_timer(timer).expect("known");
    let error = stage.reactor.cancel_timer(timer).expect_err("stale");
    assert_eq!(error.kind(), ErrorKind::UnknownId);
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_later(3 * MS, move || stopper.stop())
        .expect("open");
    stage.run();
}

/// One due timer cancels another that is due with it.
pub fn a_due_timer_can_be_cancelled_by_another(stage: &mut Stage) {
    let victim = Arc::new(Mutex::new(None));
    let (reactor, id) = (stage.reactor.clone(), victim.clone());
    let now = Instant::now();
    let killer = move || {
        let id = id.lock().expect("no panic").take().expect("set");
        reactor.cancel_timer(id).expect("due, but not fired");
    };
    stage.reactor.call_at(now, killer).expect("open");
    let timer = stage
        .reactor
        .call_at(now, || panic!("cancelled"))
        .expect("open");
    *victim.lock().expect("no panic") = Some(timer);
    stage.turns(3);
}

/// Cancelled in its own callback, a periodic timer ends.
pub fn a_periodic_timer_can_cancel_itself(stage: &mut Stage) {
    let own = Arc::new(Mutex::new(None));
    let (reactor, id, log) = (stage.reactor.clone(), own.clone(), Log::default());
    let seen = log.clone();
    let timer = move || {
        seen.push(());
        let id = id.lock().expect("no panic").expect("set");
        reactor.cancel_timer(id).expect("known");
        assert!(reactor.cancel_timer(id).is_err());
    };
    let timer = stage
        .reactor
        .call_every(Duration::ZERO, timer)
        .expect("open");
    *own.lock().expect("no panic") = Some(timer);
    stage.turns(5);
    assert_eq!(log.len(), 1);
    assert_eq!(stage.reactor.stats().pending_timers, 0);
}

/// And its callback is dropped, whatever was done to the timer in it.
pub fn a_periodic_timer_ends_by_action(stage: &mut Stage) {
    let drops = Drops::default();
    let own = Arc::new(Mutex::new(None));
    let (reactor, id, log) = (stage.reactor.clone(), own.clone(), Log::default());
    let (seen, dropped) = (log.clone(), drops.guard());
    let timer = move || {
        let _ = &dropped;
        seen.push(());
        if seen.len() < 3 {
            return Action::Continue;
        }
        let id = id.lock().expect("no panic").expect("set");
        reactor
            .reset_timer_after(id, Duration::ZERO)
            .expect("its own");
        Action::Remove
    };
    let timer = stage
        .reactor
        .call_every(Duration::ZERO, timer)
        .expect("open");
    *own.lock().expect("no panic") = Some(timer);
    stage.turns(6);
    assert_eq!(log.len(), 3);
    assert_eq!(drops.count(), 1);
    assert_eq!(stage.reactor.stats().pending_timers, 0);
    let error = stage.reactor.cancel_timer(timer).expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::UnknownId);
}

/// Reset in its own callback, a timer fires again. Not reset, it sleeps, and does not keep the loop going.
pub fn a_timer_can_reset_itself(stage: &mut Stage) {
    let own = Arc::new(Mutex::new(None));
    let (reactor, id, log) = (stage.reactor.clone(), own.clone(), Log::default());
    let seen = log.clone();
    let timer = move || {
        seen.push(());
        if seen.len() < 3 {
            let id = id.lock().expect("no panic").expect("set");
            reactor.reset_timer(id, Instant::now()).expect("its own");
        }
    };
    let timer = stage.reactor.add_timer(timer).expect("open");
    *own.lock().expect("no panic") = Some(timer);
    stage.turns(2);
    assert_eq!(log.len(), 0, "it sleeps until it has a deadline");
    stage
        .reactor
        .reset_timer(timer, Instant::now())
        .expect("known");
    stage.turns(8);
    assert_eq!(log.len(), 3);
    assert_eq!(stage.reactor.next_deadline(), None);
    let again = stage.reactor.reset_timer_after(timer, Duration::ZERO);
    again.expect("it is there");
    stage.turns(2);
    assert_eq!(log.len(), 4);
    stage.reactor.cancel_timer(timer).expect("it is there");
}

/// A timer that fires once is gone in its own callback: its id is unknown there.
pub fn a_timer_that_fires_once_is_gone_in_its_callback(stage: &mut Stage) {
    let own = Arc::new(Mutex::new(None));
    let (reactor, id, log) = (stage.reactor.clone(), own.clone(), Log::default());
    let (seen, drops) = (log.clone(), Drops::default());
    let given_away = drops.guard();
    let timer = move || {
        let id = id.lock().expect("no panic").expect("set");
        let reset = reactor.reset_timer(id, Instant::now());
        seen.push(reset.expect_err("it has fired").kind());
        let cancelled = reactor.cancel_timer(id);
        seen.push(cancelled.expect_err("it has fired").kind());
        drop(given_away);
    };
    let timer = stage
        .reactor
        .call_later(Duration::ZERO, timer)
        .expect("open");
    *own.lock().expect("no panic") = Some(timer);
    stage.turns(4);
    assert_eq!(log.take(), [ErrorKind::UnknownId; 2]);
    assert_eq!(drops.count(), 1);
    assert_eq!(stage.reactor.stats().pending_timers, 0);
}

/// Reset in its own callback, a periodic timer goes by that, and on from there by its period.
pub fn a_periodic_timer_can_reset_itself(stage: &mut Stage) {
    let (own, log) = (Arc::new(Mutex::new(None)), Log::default());
    let (reactor, id, seen) = (stage.reactor.clone(), own.clone(), log.clone());
    let timer = move || {
        seen.push(());
        if seen.len() < 3 {
            let id = id.lock().expect("no panic").expect("set");
            reactor.reset_timer(id, Instant::now()).expect("its own");
        }
    };
    let period = Duration::from_secs(1000);
    let timer = stage.reactor.call_every(period, timer).expect("open");
    let now = Instant::now();
    stage.reactor.reset_timer(timer, now).expect("known");
    *own.lock().expect("no panic") = Some(timer);
    stage.turns(8);
    assert_eq!(log.len(), 3);
    let next = stage.reactor.next_deadline().expect("it goes on");
    assert!(next > Instant::now() + period / 2);
}

/// Pushed back again and again, as a timeout is by each message, it fires once, after the last.
pub fn a_timer_pushed_back_fires_once_after_the_last_push(stage: &mut Stage) {
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let due = Instant::now() + 5 * MS;
    let timer = move || {
        seen.push(due.elapsed() > Duration::ZERO);
        stopper.stop();
    };
    let timer = stage
        .reactor
        .call_later(Duration::ZERO, timer)
        .expect("open");
    for n in 0..1000 {
        let due = due - Duration::from_micros(999 - n);
        stage.reactor.reset_timer(timer, due).expect("known");
    }
    stage.run();
    stage.turns(2);
    log.expect(&[true]);
}

/// A periodic timer keeps its phase and does not burst after it was held up.
pub fn a_periodic_timer_skips_what_it_missed(stage: &mut Stage) {
    let period = 4 * MS;
    let log = Log::default();
    let start = Instant::now();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    let timer = move || {
        seen.push(start.elapsed());
        match seen.len() {
            // Holds the loop up.
            1 => while start.elapsed() < 4 * period {},
            3 => stopper.stop(),
            _ => {}
        }
    };
    stage.reactor.call_every(period, timer).expect("open");
    stage.run();
    let [first, second, third] = log.take().try_into().expect("three");
    assert!(first >= period);
    assert!(second >= 4 * period);
    // The third is in phase with the first: at a later multiple of the period.
    assert!(third.as_nanos() / period.as_nanos() > second.as_nanos() / period.as_nanos());
}

/// Timers may be set and cancelled from any thread at any time.
pub fn timers_of_four_threads_all_fire(stage: &mut Stage) {
    let log = Log::default();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (reactor, log) = (stage.reactor.clone(), log.clone());
            thread::spawn(move || {
                for n in 0..250 {
                    let log = log.clone();
                    let due = Duration::from_micros(n % 40);
                    reactor.call_later(due, move || log.push(())).expect("open");
                    let doomed = reactor
                        .call_later(LONG, || panic!("cancelled"))
                        .expect("open");
                    reactor.cancel_timer(doomed).expect("known");
                }
            })
        })
        .collect();
    let (reactor, seen) = (stage.reactor.clone(), log.clone());
    let watch = move || {
        if seen.len() == 1000 {
            reactor.stop();
        }
    };
    stage.reactor.call_every(MS, watch).expect("open");
    stage.run();
    for thread in threads {
        thread.join().expect("no panic");
    }
    after_turns(&stage.reactor, 1, |_| {});
    stage.turns(2);
    assert_eq!(log.len(), 1000);
}

/// By the system clock, too, a timer never fires early; unless that was set it is not late either.
pub fn a_timer_by_the_system_clock_never_fires_early(stage: &mut Stage) {
    for micros in [100, 1_000, 3_000, 20_000] {
        let time = SystemTime::now() + Duration::from_micros(micros);
        let stopper = stage.reactor.clone();
        stage
            .reactor
            .call_at_system_time(time, move || {
                assert!(SystemTime::now() >= time);
                stopper.stop();
            })
            .expect("open");
        stage.run();
    }
}

/// Times that have passed: in the next turn, in their order, also one before all times.
pub fn a_system_time_in_the_past_fires_at_once(stage: &mut Stage) {
    let log = Log::default();
    for (at, time) in [
        (2, SystemTime::now()),
        (1, SystemTime::UNIX_EPOCH),
        (0, SystemTime::UNIX_EPOCH - Duration::from_secs(100_000_000)),
    ] {
        let seen = log.clone();
        stage
            .reactor
            .call_at_system_time(time, move || seen.push(at))
            .expect("open");
    }
    stage.turns(2);
    log.expect(&[0, 1, 2]);
}

/// Those for one time, in whichever order they were set: by creation.
pub fn timers_for_one_system_time_fire_by_creation(stage: &mut Stage) {
    const MANY: usize = 200;
    let log = Log::default();
    let later = SystemTime::now() + Duration::from_secs(3600);
    let timers: Vec<_> = (0..MANY)
        .map(|name| {
            let log = log.clone();
            let fired = move || log.push(name);
            stage
                .reactor
                .call_at_system_time(later, fired)
                .expect("open")
        })
        .collect();
    let time = SystemTime::now() + 2 * MS;
    for &timer in timers.iter().rev() {
        let reset = stage.reactor.reset_timer_to_system_time(timer, time);
        reset.expect("it has not fired");
    }
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_at_system_time(time + MS, move || stopper.stop())
        .expect("open");
    stage.run();
    log.expect(&(0..MANY).collect::<Vec<_>>());
}

/// Cancel and reset; and one that is a thousand years away does no harm.
pub fn a_timer_by_the_system_clock_can_be_cancelled_and_reset(stage: &mut Stage) {
    let year = Duration::from_secs(365 * 24 * 3600);
    let log = Log::default();
    let set = |time, name: &'static str| {
        let seen = log.clone();
        stage
            .reactor
            .call_at_system_time(time, move || seen.push(name))
            .expect("open")
    };
    let now = SystemTime::now();
    let never = set(now + 1000 * year, "never");
    let cancelled = set(now + MS, "cancelled");
    let reset = set(now + year, "reset");
    let moved = set(now + year, "moved");
    // Read in this order: the one comes before the other, however long this takes.
    let sooner = Instant::now() + MS;
    let to = SystemTime::now() + 2 * MS;
    stage
        .reactor
        .reset_timer_to_system_time(moved, to)
        .expect("known");
    stage.reactor.cancel_timer(cancelled).expect("known");
    stage.reactor.reset_timer(reset, sooner).expect("known");
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_later(5 * MS, move || stopper.stop())
        .expect("open");
    stage.run();
    log.expect(&["reset", "moved"]);
    stage.reactor.cancel_timer(never).expect("known");
    assert_eq!(stage.reactor.stats().pending_timers, 0);
}

/// One that is due, and put off by a neighbour, takes none along that is due by the system clock: it is
/// called in this turn.
pub fn a_due_timer_put_off_by_a_neighbour_goes_alone(stage: &mut Stage) {
    let victim = Arc::new(Mutex::new(None));
    let (reactor, id, log) = (stage.reactor.clone(), victim.clone(), Log::default());
    let pusher = move || {
        let id = id.lock().expect("no panic").expect("set");
        let later = SystemTime::now() + LONG;
        reactor
            .reset_timer_to_system_time(id, later)
            .expect("due, but not fired");
    };
    let now = Instant::now();
    stage.reactor.call_at(now, pusher).expect("open");
    let pushed = stage
        .reactor
        .call_at(now, || panic!("put off"))
        .expect("open");
    *victim.lock().expect("no panic") = Some(pushed);
    let seen = log.clone();
    stage
        .reactor
        .call_at_system_time(SystemTime::now(), move || seen.push("timer"))
        .expect("open");
    let seen = log.clone();
    stage
        .reactor
        .call_soon(move || seen.push("post"))
        .expect("open");
    stage.turns(2);
    log.expect(&["timer", "post"]);
    stage.reactor.cancel_timer(pushed).expect("not fired");
}
