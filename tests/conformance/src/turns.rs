//! Clauses 13 to 16: the order of a turn, no nesting, and panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use oneloop::{Action, ErrorKind, Interest, Mode, Priority};

use crate::stage::Drops;
use crate::tools::readable;
use crate::{Log, Sources, Stage};

const READ: Interest = Interest::READABLE;

// Clause 13.

/// Handlers, then timers, then posts.
pub fn a_turn_is_handlers_then_timers_then_posts(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let [post, timer, handler] = ["post", "timer", "handler"].map(|name| {
        let log = log.clone();
        move || log.push(name)
    });
    stage.reactor.call_soon(post).expect("open");
    stage.reactor.call_at(Instant::now(), timer).expect("open");
    let (a, _b) = sources.readable();
    let handle = move |_: &mut _, _| handler();
    stage
        .reactor
        .add_handler(a, READ, Mode::Oneshot, handle)
        .expect("add_handler");
    stage.turns(3);
    log.expect(&["handler", "timer", "post"]);
}

/// A post that is made by a post runs in the next turn.
pub fn a_post_made_by_a_post_runs_in_the_next_turn(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let (seen, reactor) = (log.clone(), stage.reactor.clone());
    let (a, _b) = sources.readable();
    let handler = log.clone();
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| handler.push("turn"))
        .expect("add_handler");
    stage
        .reactor
        .call_soon(move || {
            seen.push("first");
            let seen = seen.clone();
            reactor
                .call_soon(move || seen.push("second"))
                .expect("open");
        })
        .expect("open");
    stage.turns(3);
    let log = log.take();
    let at = |name| log.iter().position(|entry| *entry == name).expect("called");
    assert!(log[at("first")..at("second")].contains(&"turn"), "{log:?}");
}

/// A callback that keeps posting starves no other.
pub fn a_callback_that_keeps_posting_starves_no_other(stage: &mut Stage) {
    fn forever(reactor: &oneloop::Reactor) {
        let next = reactor.downgrade();
        let _ = reactor.call_soon(move || {
            if let Some(reactor) = next.upgrade() {
                forever(&reactor);
            }
        });
    }
    forever(&stage.reactor);
    let (a, _b) = readable();
    let calls = stage.watch(a, READ, Mode::Level);
    let stopper = stage.reactor.clone();
    let timer = move || stopper.stop();
    stage
        .reactor
        .call_later(Duration::from_millis(3), timer)
        .expect("open");
    stage.run();
    assert!(calls.take() > 0);
}

/// A descriptor that stays ready starves neither timers, posts nor the host's own code.
pub fn a_descriptor_that_stays_ready_starves_no_other(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    stage.watch(a, READ, Mode::Level);
    let (reactor, posted) = (stage.reactor.clone(), Arc::new(AtomicBool::new(false)));
    let flag = posted.clone();
    let timer = move || {
        let (stopper, flag) = (reactor.clone(), flag.clone());
        let post = move || {
            flag.store(true, SeqCst);
            stopper.stop();
        };
        reactor.call_soon(post).expect("open");
    };
    stage
        .reactor
        .call_later(Duration::from_millis(3), timer)
        .expect("open");
    stage.run();
    assert!(posted.load(SeqCst));
}

/// A turn with more to call than a host gives in one go keeps its order all the same, and what is posted
/// meanwhile waits for the next turn.
pub fn a_turn_with_much_to_call_keeps_its_order(stage: &mut Stage) {
    const MANY: usize = 300;
    let log = Log::default();
    let note = |what: &'static str, n: usize| {
        let log = log.clone();
        move || log.push((what, n))
    };
    let now = Instant::now();
    for n in 0..MANY {
        let (reactor, post, next) = (stage.reactor.downgrade(), note("post", n), note("next", n));
        let post = move || {
            post();
            let reactor = reactor.upgrade().expect("it drives");
            reactor.call_soon(next).expect("open");
        };
        stage.reactor.call_soon(post).expect("open");
        let urgent = note("urgent", n);
        let posted = stage.reactor.call_soon_with(Priority::High, urgent);
        posted.expect("open");
        let timer = note("timer", n);
        stage.reactor.call_at(now, timer).expect("open");
    }
    stage.turns(2);
    let phases = ["urgent", "timer", "post", "next"].map(|what| (0..MANY).map(move |n| (what, n)));
    log.expect(&phases.into_iter().flatten().collect::<Vec<_>>());
}

/// A turn calls every handler that is ready before any is called a second time.
pub fn no_handler_is_called_twice_before_every_ready_one_was_called(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let peers: Vec<_> = (0..50)
        .map(|me| {
            let (a, b) = sources.readable();
            let log = log.clone();
            let handle = move |_: &mut _, _| log.push(me);
            stage
                .reactor
                .add_handler(a, READ, Mode::Level, handle)
                .expect("add_handler");
            b
        })
        .collect();
    stage.turns(3);
    let mut first = log.take();
    first.truncate(peers.len());
    first.sort();
    assert_eq!(first, (0..50).collect::<Vec<_>>());
}

/// More descriptors ready at once than one wait fetches.
pub fn more_ready_descriptors_than_one_wait_fetches_are_all_called(stage: &mut Stage) {
    let sources = stage.sources;
    const MANY: usize = 1500;
    let log = Log::default();
    let peers: Vec<_> = (0..MANY)
        .map(|_| {
            let (a, b) = sources.readable();
            let (log, stopper) = (log.clone(), stage.reactor.clone());
            let handle = move |_: &mut _, _| {
                log.push(());
                if log.len() == MANY {
                    stopper.stop();
                }
            };
            stage
                .reactor
                .add_handler(a, READ, stage.edge_or_oneshot(), handle)
                .expect("add_handler");
            b
        })
        .collect();
    stage.run();
    assert_eq!(log.len(), MANY);
    drop(peers);
}

// Clause 14.

/// Driving from inside a callback is an error that says so.
pub fn driving_from_inside_a_callback_is_an_error(stage: &mut Stage) {
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let seen = log.clone();
    let post = move || {
        let errors = [
            reactor.run().expect_err("nested"),
            reactor.turn(Some(Duration::ZERO)).expect_err("nested"),
            reactor
                .block_on(std::future::ready(()))
                .expect_err("nested"),
            reactor.host("second").map(drop).expect_err("nested"),
        ];
        for error in errors {
            seen.push((error.kind(), error.to_string().contains("driven")));
        }
    };
    stage.reactor.call_soon(post).expect("open");
    stage.turns(2);
    log.expect(&[(ErrorKind::AlreadyDriven, true); 4]);
}

/// Driving from another thread while a host drives is an error, and does not disturb the host.
pub fn driving_from_a_second_thread_is_an_error(stage: &mut Stage) {
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let seen = log.clone();
    let post = move || {
        let other = reactor.clone();
        let thread = std::thread::spawn(move || other.turn(None).expect_err("two at once").kind());
        seen.push(thread.join().expect("no panic"));
    };
    stage.reactor.call_soon(post).expect("open");
    stage.turns(2);
    log.expect(&[ErrorKind::AlreadyDriven]);
}

// Clause 15.

/// Every method can be called in every kind of callback.
pub fn every_method_can_be_called_in_every_callback(stage: &mut Stage) {
    let sources = stage.sources;
    let everything = move |reactor: &oneloop::Reactor| {
        let (a, _b) = sources.readable();
        let id = reactor
            .add_handler(a, READ, Mode::Level, |_, _| {})
            .expect("add_handler");
        reactor
            .update_handler(id, READ | Interest::WRITABLE)
            .expect("known");
        reactor.update_handler(id, Interest::NONE).expect("known");
        reactor.rearm_handler(id).expect("known");
        let has_number = sources == Sources::Descriptors;
        assert_eq!(reactor.handler_fd(id).is_ok(), has_number);
        reactor.set_referenced(id, false).expect("known");
        reactor.remove_handler(id).expect("known");
        let timer = reactor
            .call_later(Duration::from_secs(100), || {})
            .expect("open");
        reactor.reset_timer(timer, Instant::now()).expect("known");
        reactor.set_referenced(timer, false).expect("known");
        reactor.cancel_timer(timer).expect("known");
        let timer = reactor
            .call_every(Duration::from_secs(100), || {})
            .expect("open");
        reactor.cancel_timer(timer).expect("known");
        let hook = reactor.add_hook(|| None, || {}).expect("open");
        reactor.remove_hook(hook).expect("known");
        reactor.call_soon(|| {}).expect("open");
        reactor.remote().call_soon(|| {}).expect("open");
        reactor.remote().wake();
        let _ = (
            reactor.next_deadline(),
            reactor.stats(),
            reactor.downgrade(),
        );
    };
    let log = Log::default();
    let all = |name| {
        let (reactor, log) = (stage.reactor.downgrade(), log.clone());
        move || {
            everything(&reactor.upgrade().expect("it drives"));
            log.push(name);
        }
    };
    let (a, _b) = sources.readable();
    let handler = all("handler");
    let handle = move |_: &mut _, _| handler();
    stage
        .reactor
        .add_handler(a, READ, Mode::Oneshot, handle)
        .expect("add_handler");
    stage
        .reactor
        .call_at(Instant::now(), all("timer"))
        .expect("open");
    stage.reactor.call_soon(all("post")).expect("open");
    let (prepare, check) = (all("prepare"), all("check"));
    let prepare = move || {
        prepare();
        None
    };
    let hook = stage.reactor.add_hook(prepare, check).expect("open");
    stage.turns(3);
    stage.reactor.remove_hook(hook).expect("known");
    let log = log.take();
    for name in ["handler", "timer", "post", "prepare", "check"] {
        assert!(log.contains(&name), "{name} is not in {log:?}");
    }
}

// Clause 16.

fn panic_on_purpose() {
    panic!("on purpose");
}

pub(crate) fn panics(stage: &mut Stage) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| stage.run()));
    std::panic::set_hook(hook);
    let payload = result.expect_err("the panic reaches the driver");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
}

/// A handler that panics is removed; the panic reaches the driver; the others go on.
pub fn a_panicking_handler_is_removed_and_the_rest_goes_on(stage: &mut Stage) {
    let sources = stage.sources;
    let log = Log::default();
    let drops = Drops::default();
    let (a, _b) = sources.readable();
    let guard = drops.guard();
    let before = log.clone();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (c, d) = sources.readable();
            (stage.watch(c, READ, stage.edge_or_oneshot()), d)
        })
        .collect();
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| {
            let _ = &guard;
            before.push("panic");
            panic_on_purpose();
        })
        .expect("add_handler");
    let (c, d) = sources.readable();
    let after = stage.watch(c, READ, stage.edge_or_oneshot());
    let (post, timer) = (log.clone(), log.clone());
    stage
        .reactor
        .call_soon(move || post.push("post"))
        .expect("open");
    stage
        .reactor
        .call_at(Instant::now(), move || timer.push("timer"))
        .expect("open");
    panics(stage);
    assert_eq!(drops.count(), 1);
    stage.turns(3);
    log.expect(&["panic", "timer", "post"]);
    for (calls, _) in others {
        assert_eq!(calls.take(), 1, "edges of the same batch are kept");
    }
    assert_eq!(after.take(), 1);
    assert_eq!(stage.reactor.stats().handlers, 3);
    drop(d);
}

/// A timer that panics is removed; those due with it are kept.
pub fn a_panicking_timer_is_removed_and_the_rest_goes_on(stage: &mut Stage) {
    let log = Log::default();
    let now = Instant::now();
    let (first, last) = (log.clone(), log.clone());
    stage
        .reactor
        .call_at(now, move || first.push("first"))
        .expect("open");
    stage
        .reactor
        .call_every(Duration::ZERO, || -> Action { panic!("on purpose") })
        .expect("open");
    stage
        .reactor
        .call_at(now + Duration::from_nanos(1), move || last.push("last"))
        .expect("open");
    panics(stage);
    stage.turns(3);
    log.expect(&["first", "last"]);
    assert_eq!(stage.reactor.stats().pending_timers, 0);
}

/// Posts after one that panics are kept.
pub fn posts_after_a_panicking_one_are_kept(stage: &mut Stage) {
    let log = Log::default();
    stage
        .reactor
        .call_soon(|| panic!("on purpose"))
        .expect("open");
    for n in 0..3 {
        let log = log.clone();
        stage.reactor.call_soon(move || log.push(n)).expect("open");
    }
    panics(stage);
    stage.turns(2);
    log.expect(&[0, 1, 2]);
}

/// Callbacks that a panic has left due are called by the next host without a new event.
pub fn after_a_panic_the_next_run_needs_no_new_event(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, b) = (sources.readable(), sources.readable());
    let stopper = stage.reactor.clone();
    let count = Arc::new(AtomicBool::new(false));
    for (source, _) in [(a.0, 0), (b.0, 1)] {
        let (stopper, first) = (stopper.clone(), count.clone());
        let handle = move |_: &mut _, _| {
            if !first.swap(true, SeqCst) {
                panic!("on purpose");
            }
            stopper.stop();
        };
        stage
            .reactor
            .add_handler(source, READ, stage.edge_or_oneshot(), handle)
            .expect("add_handler");
    }
    panics(stage);
    stage.run();
}

/// A hook that panics is removed.
pub fn a_panicking_hook_is_removed(stage: &mut Stage) {
    let prepare = || -> Option<Duration> { panic!("on purpose") };
    let hook = stage.reactor.add_hook(prepare, || {}).expect("open");
    panics(stage);
    assert!(stage.reactor.remove_hook(hook).is_err());
    stage.turns(2);
}

/// A source whose Drop panics on removal in a callback takes nothing with it.
pub fn a_panic_in_a_drop_takes_nothing_with_it(stage: &mut Stage) {
    let sources = stage.sources;
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 && !std::thread::panicking() {
                panic!("on purpose");
            }
        }
    }
    let (a, _b) = sources.readable();
    let bomb = Bomb(true);
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| {
            let _ = &bomb;
            Action::Remove
        })
        .expect("add_handler");
    panics(stage);
    assert_eq!(stage.reactor.stats().handlers, 0);
    let (c, _d) = sources.pair();
    let calls = stage.watch(c, Interest::WRITABLE, Mode::Level);
    stage.turns(2);
    assert!(calls.take() >= 2);
}

/// Handlers, timers and posts that return an error are called once and dropped; their neighbours go on.
pub fn a_callback_that_returns_an_error_is_removed_alone(stage: &mut Stage) {
    let sources = stage.sources;
    let (log, drops) = (Log::default(), Drops::default());
    let fails = |name: &'static str| {
        let (seen, guard) = (log.clone(), drops.guard());
        move || -> Result<Action, &'static str> {
            let _ = &guard;
            seen.push(name);
            Err("on purpose: this belongs into the output")
        }
    };
    let (a, _b) = sources.readable();
    let (c, _d) = sources.readable();
    let handler = fails("handler");
    let reactor = &stage.reactor;
    let added = reactor.add_handler(a, READ, Mode::Level, move |_, _| handler());
    let id = added.expect("add_handler");
    let timer = reactor.call_every(Duration::ZERO, fails("timer"));
    let timer = timer.expect("open");
    let once = fails("once");
    let once = move || once().map(drop);
    reactor.call_later(Duration::ZERO, once).expect("open");
    let post = fails("post");
    let posted = reactor.call_soon(move || post().map(drop));
    posted.expect("open");
    let calls = stage.watch(c, READ, Mode::Level);
    stage.turns(4);
    let mut called = log.take();
    called.sort_unstable();
    assert_eq!(called, ["handler", "once", "post", "timer"]);
    assert_eq!(drops.count(), 4);
    assert!(calls.take() >= 2);
    let stale = stage.reactor.remove_handler(id).expect_err("removed");
    assert_eq!(stale.kind(), ErrorKind::UnknownId);
    let stale = stage.reactor.cancel_timer(timer).expect_err("removed");
    assert_eq!(stale.kind(), ErrorKind::UnknownId);
}
