//! Clauses 6 and 8: removing handlers, and ids of handlers that are gone.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use oneloop::{Action, ErrorKind, Interest, Mode};

use crate::stage::Drops;
use crate::tools::readable;
use crate::{End, Log, Number, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const NONE: Interest = Interest::NONE;

// Clause 6.

/// A removed handler is not called, and its closure and source are dropped, once.
pub fn removal_drops_closure_and_source_once(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.readable();
    let drops = Drops::default();
    let guard = drops.guard();
    let id = stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| {
            let _ = &guard;
        })
        .expect("add_handler");
    stage.turns(2);
    stage.reactor.remove_handler(id).expect("known");
    assert_eq!(drops.count(), 1);
    assert_eq!(
        b.read(&mut [0; 8]).expect_err("reset, or the end").kind(),
        std::io::ErrorKind::ConnectionReset
    );
    stage.turns(2);
    assert_eq!(drops.count(), 1);
}

/// Removing oneself, by call, drops the closure after it has returned.
pub fn a_handler_can_remove_itself_by_call(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let (drops, log) = (Drops::default(), Log::default());
    let (guard, seen, reactor, counter) = (
        drops.guard(),
        log.clone(),
        stage.reactor.clone(),
        drops.clone(),
    );
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, event| {
            let _ = &guard;
            reactor.remove_handler(event.handler()).expect("known");
            assert!(reactor.remove_handler(event.handler()).is_err());
            seen.push(counter.count());
        })
        .expect("add_handler");
    stage.turns(3);
    log.expect(&[0]);
    assert_eq!(drops.count(), 1);
}

/// Removing oneself, by action.
pub fn a_handler_can_remove_itself_by_action(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let (drops, log) = (Drops::default(), Log::default());
    let (guard, seen) = (drops.guard(), log.clone());
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| {
            let _ = &guard;
            seen.push(());
            Action::Remove
        })
        .expect("add_handler");
    stage.turns(3);
    assert_eq!((log.len(), drops.count()), (1, 1));
    assert_eq!(stage.reactor.stats().handlers, 0);
}

/// Removed by a neighbour in the same batch, it is not called.
pub fn a_handler_removed_by_a_neighbour_in_the_batch_is_not_called(stage: &mut Stage) {
    let sources = stage.sources;
    let sources = [sources.readable(), sources.readable(), sources.readable()];
    let ids = Log::default();
    let log = Log::default();
    for (me, (source, _peer)) in sources.into_iter().enumerate() {
        let (all, log, reactor) = (ids.clone(), log.clone(), stage.reactor.clone());
        let id = stage
            .reactor
            .add_handler(source, READ, Mode::Level, move |_, _| {
                let _ = &_peer;
                log.push(me);
                for (other, id) in all.take().into_iter().enumerate() {
                    if other != me {
                        reactor.remove_handler(id).expect("known");
                    }
                }
                Action::Remove
            });
        ids.push(id.expect("add_handler"));
    }
    stage.turns(3);
    assert_eq!(log.len(), 1);
    assert_eq!(stage.reactor.stats().handlers, 0);
}

/// The number of a handler removed in the batch may belong to another file at once.
pub fn a_handler_removed_in_the_batch_misses_the_new_file_under_its_number(stage: &mut Stage) {
    let (victim, _v) = readable();
    let (quiet, _q) = pair();
    let number = Arc::new(Number::of(&victim));
    drop(victim);
    let fresh = Log::default();
    let old = Log::default();
    let killed = Log::default();
    // Two killers around the victim, so that one of them comes before it in any order.
    let (k1, _k1) = readable();
    let (k2, _k2) = readable();
    let victim_id = Log::default();
    let quiet = Arc::new(quiet);
    let add_killer = |source: crate::os::Socket| {
        let (reactor, id, number) = (stage.reactor.clone(), victim_id.clone(), number.clone());
        let (fresh, quiet, killed) = (fresh.clone(), quiet.clone(), killed.clone());
        stage
            .reactor
            .add_handler(source, READ, Mode::Level, move |_, _| {
                for id in id.take() {
                    reactor.remove_handler(id).expect("known");
                    number.mean(&*quiet);
                    let fresh = fresh.clone();
                    // SAFETY: the number was made to mean `quiet` just now.
                    let add = unsafe {
                        reactor.add_raw_handler(number.get(), READ, Mode::Level, move |_| {
                            fresh.push(())
                        })
                    };
                    add.expect("the number again");
                    killed.push(());
                }
                Action::Remove
            })
            .expect("add_handler");
    };
    add_killer(k1);
    let seen = old.clone();
    // SAFETY: the number is open, and the killer removes the handler before it reuses it.
    let id = unsafe {
        stage
            .reactor
            .add_raw_handler(number.get(), READ, Mode::Level, move |_| seen.push(()))
    };
    victim_id.push(id.expect("add_raw_handler"));
    add_killer(k2);
    stage.turns(3);
    assert_eq!(killed.len(), 1);
    assert!(old.len() <= 1, "only before the killer came");
    assert!(
        fresh.is_empty(),
        "nothing is there to read under the new meaning"
    );
}

/// The kernel lets go, also when a dup keeps the file open.
pub fn the_kernel_lets_go_although_a_dup_is_open(stage: &mut Stage) {
    let (a, _b) = readable();
    let dup = a.try_clone().expect("dup");
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    let before = stage.reactor.stats().turns;
    let reactor = stage.reactor.clone();
    stage
        .reactor
        .call_later(std::time::Duration::from_millis(30), move || reactor.stop())
        .expect("open");
    stage.run();
    assert!(
        stage.reactor.stats().turns - before < 20,
        "the dup keeps the loop awake"
    );
    drop(dup);
}

/// The Drop of a source may use the reactor.
pub fn the_drop_of_a_source_may_use_the_reactor(stage: &mut Stage) {
    let sources = stage.sources;
    struct Source(End, oneloop::Reactor, Log<()>);
    impl oneloop::Source for Source {
        fn kind(&self) -> oneloop::SourceKind<'_> {
            self.0.kind()
        }
    }
    impl Drop for Source {
        fn drop(&mut self) {
            let (a, _b) = pair();
            let id = self
                .1
                .add_handler(a, READ, Mode::Level, |_, _| {})
                .expect("add_handler");
            self.1.remove_handler(id).expect("known");
            let log = self.2.clone();
            self.1.call_soon(move || log.push(())).expect("open");
        }
    }
    let log = Log::default();
    for by_action in [true, false] {
        let (a, _b) = sources.readable();
        let source = Source(a, stage.reactor.clone(), log.clone());
        let id = stage
            .reactor
            .add_handler(source, READ, Mode::Level, move |_, _| {
                if by_action {
                    Action::Remove
                } else {
                    Action::Continue
                }
            });
        stage.turns(1);
        if !by_action {
            stage
                .reactor
                .remove_handler(id.expect("add_handler"))
                .expect("known");
        }
        stage.turns(1);
        assert_eq!(log.take().len(), 1, "by action: {by_action}");
    }
}

/// Removed by another thread while it runs, the closure is dropped on the driving thread.
pub fn a_handler_removed_while_it_runs_is_dropped_by_the_driver(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let drops = Drops::default();
    let (guard, reactor) = (drops.guard(), stage.reactor.clone());
    let counter = drops.clone();
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, event| {
            let _ = &guard;
            let (other, id) = (reactor.clone(), event.handler());
            thread::spawn(move || other.remove_handler(id))
                .join()
                .expect("no panic")
                .expect("known");
            assert_eq!(counter.count(), 0, "this very closure is running");
            reactor.stop();
        })
        .expect("add_handler");
    stage.run();
    assert_eq!(drops.count(), 1);
}

// Clause 8.

/// A stale id gives an error, whichever handler has its place now.
pub fn a_stale_id_never_means_another_handler(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let first = stage.watch(a.clone(), READ, Mode::Level);
    stage.reactor.remove_handler(first.id).expect("known");
    let second = stage.watch(a, READ, Mode::Level);
    let reactor = &stage.reactor;
    for result in [
        reactor.update_handler(first.id, NONE),
        reactor.rearm_handler(first.id),
        reactor.remove_handler(first.id),
        reactor.set_referenced(first.id, false),
    ] {
        assert_eq!(result.expect_err("stale").kind(), ErrorKind::UnknownId);
    }
    stage.turns(2);
    assert!(second.take() >= 2);
}

/// An id of another reactor gives an error.
pub fn an_id_of_another_reactor_is_unknown(stage: &mut Stage) {
    let sources = stage.sources;
    let other = oneloop::Reactor::new().expect("a reactor");
    let (a, b) = sources.readable();
    let theirs = other
        .add_handler(a, READ, Mode::Level, |_, _| {})
        .expect("add_handler");
    let ours = stage.watch(b, WRITE, Mode::Level);
    let error = stage.reactor.remove_handler(theirs).expect_err("foreign");
    assert_eq!(error.kind(), ErrorKind::UnknownId);
    stage.turns(1);
    assert!(ours.take() > 0);
}
