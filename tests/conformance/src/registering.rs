//! Clauses 1 to 8: adding, changing and removing handlers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use oneloop::{Action, ErrorKind, Event, Interest, Mode, Priority};
use rustix::fd::RawFd;

use crate::os;
use crate::stage::{Drops, after_turns};
use crate::tools::readable;
use crate::{End, Log, Number, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const NONE: Interest = Interest::NONE;

// Clause 1.

/// A handler added before driving is called.
pub fn a_ready_descriptor_is_reported(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
}

/// A handler added by another thread while the loop sleeps is called.
pub fn a_handler_added_by_another_thread_while_the_loop_sleeps_is_called(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || {
            let (a, b) = sources.readable();
            let stopper = reactor.clone();
            reactor
                .add_handler(a, READ, Mode::Level, move |_, _| {
                    let _ = &b;
                    stopper.stop();
                })
                .expect("add_handler");
        });
    });
}

/// A handler added on the host's own thread, outside a turn, is called.
pub fn a_handler_added_by_host_code_while_the_loop_sleeps_is_called(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let (a, b) = sources.readable();
        let stopper = reactor.clone();
        reactor
            .add_handler(a, READ, Mode::Level, move |_, _| {
                let _ = &b;
                stopper.stop();
            })
            .expect("add_handler");
    });
}

/// A closed number is refused, by name, again and again, and leaves no trace.
pub fn a_closed_descriptor_is_refused_and_leaves_no_trace(stage: &mut Stage) {
    let (a, b) = readable();
    let number = Number::of(&a);
    number.close();
    for interest in [READ, NONE, READ] {
        // SAFETY: a number that is not open is refused.
        let error = unsafe {
            stage
                .reactor
                .add_raw_handler(number.get(), interest, Mode::Level, |_| {})
        }
        .expect_err("closed");
        assert_eq!(error.raw_os_error(), Some(os::EBADF));
        assert_eq!(error.fd(), Some(number.get()));
        let text = error.to_string();
        assert!(text.contains("add_raw_handler") && text.contains(&number.get().to_string()));
    }
    assert_eq!(stage.reactor.stats().handlers, 0);
    number.mean(&a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    drop(b);
}

/// A negative number is refused.
pub fn a_negative_descriptor_is_refused(stage: &mut Stage) {
    #[allow(clippy::unnecessary_cast)] // Windows has others.
    for fd in [-1, -100, i32::MIN].map(|fd| fd as RawFd) {
        // SAFETY: a number that cannot be open is refused.
        let add = unsafe { stage.reactor.add_raw_handler(fd, READ, Mode::Level, |_| {}) };
        let error = add.expect_err("negative");
        assert_eq!(error.raw_os_error(), Some(os::EBADF));
        assert_eq!(error.fd(), Some(fd));
    }
}

/// O_NONBLOCK stays as it is.
pub fn the_descriptors_flags_stay_as_they_are(stage: &mut Stage) {
    let (a, _b) = readable();
    a.set_nonblocking(false).expect("blocking");
    let a = Arc::new(a);
    let flags = || os::flags(&*a);
    let before = flags();
    let calls = stage.watch(a.clone(), READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    assert_eq!(flags(), before);
}

/// Numbers above select's limit work.
pub fn numbers_above_1024_work(stage: &mut Stage) {
    let (a, _b) = readable();
    let high = os::duplicate(&a, 2000);
    let calls = stage.watch_number(high, READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    // SAFETY: the number is ours.
    unsafe { os::close(high) };
}

// Clause 2.

/// A regular file is ready in every turn, for what is asked.
pub fn a_regular_file_is_always_ready(stage: &mut Stage) {
    let calls = stage.watch(os::regular_file(), READ, Mode::Level);
    stage.turns(5);
    let events = calls.events();
    assert!(events.len() >= 5, "{}", events.len());
    assert!(
        events
            .iter()
            .all(|event| event.is_readable() && !event.is_writable())
    );
}

/// So is a directory.
pub fn a_directory_is_always_ready(stage: &mut Stage) {
    let calls = stage.watch(os::directory(), READ, Mode::Level);
    stage.turns(3);
    assert!(calls.take() >= 3);
}

/// Edge and one-shot handlers on a regular file are called once an arming.
pub fn a_regular_file_is_one_edge(stage: &mut Stage) {
    for mode in stage.some_of(&[Mode::Edge, Mode::Oneshot]) {
        let calls = stage.watch(os::regular_file(), READ, mode);
        stage.turns(5);
        assert_eq!(calls.take(), 1);
        stage.reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(5);
        assert_eq!(calls.take(), 1);
    }
}

/// A one-shot on it is called once an arming, whoever is added to the same file meanwhile.
pub fn a_oneshot_on_a_regular_file_is_called_once(stage: &mut Stage) {
    let file = Arc::new(os::regular_file());
    let (reactor, shared) = (stage.reactor.clone(), file.clone());
    let neighbour = move |_: &mut _, _| {
        let add = reactor.add_handler(shared.clone(), READ, Mode::Oneshot, |_, _| {});
        add.expect("add_handler");
    };
    stage
        .reactor
        .add_handler(file.clone(), READ, Mode::Oneshot, neighbour)
        .expect("add_handler");
    let calls = stage.watch(file, READ, Mode::Oneshot);
    stage.turns(6);
    assert_eq!(calls.take(), 1);
}

/// A paused handler on a regular file is not called, and does not spin.
pub fn a_regular_file_can_be_paused(stage: &mut Stage) {
    let calls = stage.watch(os::regular_file(), NONE, Mode::Level);
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(3);
    assert!(calls.take() >= 3);
    stage.reactor.update_handler(calls.id, NONE).expect("known");
    stage.turns(3);
    assert_eq!(calls.take(), 0);
}

/// A regular file added while the loop sleeps wakes it.
pub fn a_regular_file_added_while_the_loop_sleeps_is_reported(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let stopper = reactor.clone();
        reactor
            .add_handler(os::regular_file(), READ, Mode::Level, move |_, _| {
                stopper.stop()
            })
            .expect("add_handler");
    });
}

// Clause 3.

/// Two handlers for the same are both called, in the order of their adding.
pub fn two_handlers_on_one_descriptor_are_both_called(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let log = Log::default();
    for name in ["first", "second"] {
        let log = log.clone();
        stage
            .reactor
            .add_handler(a.clone(), READ, Mode::Oneshot, move |_, _| log.push(name))
            .expect("add_handler");
    }
    stage.turns(2);
    log.expect(&["first", "second"]);
}

/// A reader and a writer are two handlers, each told its own part.
pub fn read_and_write_handlers_are_separate(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    let reader = stage.watch(a.clone(), READ, Mode::Level);
    let writer = stage.watch(a.clone(), WRITE, Mode::Level);
    stage.turns(2);
    assert_eq!(reader.take(), 0);
    assert!(
        writer
            .events()
            .iter()
            .all(|event| event.is_writable() && !event.is_readable())
    );
    stage
        .reactor
        .update_handler(writer.id, NONE)
        .expect("known");
    b.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(reader.take() >= 2);
    assert_eq!(writer.take(), 0);
}

/// The other handler goes on when one is removed.
pub fn removing_one_of_two_leaves_the_other(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let one = stage.watch(a.clone(), READ, Mode::Level);
    let two = stage.watch(a.clone(), READ | WRITE, Mode::Level);
    stage.reactor.remove_handler(two.id).expect("known");
    stage.turns(2);
    assert!(one.take() >= 2);
    assert_eq!(two.take(), 0);
    let three = stage.watch(a, WRITE, Mode::Level);
    stage.reactor.remove_handler(one.id).expect("known");
    stage.turns(2);
    assert!(three.take() >= 2);
}

/// A handler that is told of edges only stays one, whoever goes.
pub fn an_edge_handler_stays_one_when_its_neighbours_go(stage: &mut Stage) {
    if !stage.modes().contains(&Mode::Edge) {
        return;
    }
    let (a, _b) = stage.sources.readable();
    let edge = stage.watch(a.clone(), WRITE, Mode::Edge);
    let both = stage.watch(a.clone(), READ | WRITE, Mode::Edge);
    let level = stage.watch(a, READ, Mode::Level);
    for neighbour in [level, both] {
        stage.turns(2);
        stage.reactor.remove_handler(neighbour.id).expect("known");
        // It may be told once more.
        stage.turns(3);
        edge.take();
        stage.turns(10);
        assert_eq!(edge.take(), 0);
    }
}

/// Level and edge on one descriptor are both exact.
pub fn level_and_edge_on_one_descriptor_are_both_exact(stage: &mut Stage) {
    let sources = stage.sources;
    for edge_first in [true, false] {
        let (a, mut b) = sources.pair();
        let modes = if edge_first {
            [Mode::Edge, Mode::Level]
        } else {
            [Mode::Level, Mode::Edge]
        };
        let both = modes.map(|mode| stage.watch(a.clone(), READ, mode));
        let [edge, level] = if edge_first {
            [&both[0], &both[1]]
        } else {
            [&both[1], &both[0]]
        };
        stage.turns(3);
        assert_eq!((edge.take(), level.take()), (0, 0));
        b.write_all(b"x").expect("room");
        stage.turns(10);
        assert_eq!(edge.take(), 1);
        assert!(level.take() >= 10);
        b.write_all(b"y").expect("room");
        stage.turns(10);
        assert_eq!(edge.take(), 1);
        assert!(level.take() >= 10);
        stage.reactor.remove_handler(level.id).expect("known");
        stage.turns(10);
        assert!(
            edge.take() <= 1,
            "moved to the other set, it may be told again"
        );
        b.write_all(b"z").expect("room");
        stage.turns(10);
        assert_eq!(edge.take(), 1);
    }
}

/// Level, edge and one-shot together.
pub fn three_modes_on_one_descriptor_work_side_by_side(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let level = stage.watch(a.clone(), READ, Mode::Level);
    let oneshot = stage.watch(a.clone(), READ, Mode::Oneshot);
    let edge = stage.watch(a.clone(), READ, Mode::Edge);
    stage.turns(10);
    assert!(level.take() >= 10);
    assert_eq!(oneshot.take(), 1);
    assert_eq!(edge.take(), 1);
    stage
        .reactor
        .update_handler(oneshot.id, READ)
        .expect("known");
    stage.turns(10);
    assert_eq!(oneshot.take(), 1);
    assert_eq!(edge.take(), 0);
}

/// A hundred handlers on one descriptor.
pub fn a_hundred_handlers_on_one_descriptor_are_all_called(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let all: Vec<_> = (0..100)
        .map(|_| stage.watch(a.clone(), READ, Mode::Oneshot))
        .collect();
    stage.turns(3);
    assert!(all.iter().all(|one| one.take() == 1));
}

// Clause 4.

/// The new interest replaces the old one.
pub fn update_replaces_the_interest(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage
        .reactor
        .update_handler(calls.id, WRITE)
        .expect("known");
    stage.turns(3);
    let events = calls.events();
    assert!(events.len() >= 2);
    assert!(
        events
            .iter()
            .all(|event| event.is_writable() && !event.is_readable())
    );
    stage
        .reactor
        .update_handler(calls.id, READ | WRITE)
        .expect("known");
    stage.turns(3);
    let events = calls.events();
    assert!(events.len() >= 2);
    assert!(
        events
            .iter()
            .all(|event| event.is_writable() && event.is_readable())
    );
}

/// Update re-arms an edge handler: what is ready is reported again, once.
pub fn update_rearms_an_edge_handler(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Edge);
    stage.turns(5);
    assert_eq!(calls.take(), 1);
    stage.reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(5);
    assert_eq!(calls.take(), 1);
}

/// Update re-arms a one-shot, also with the same interest.
pub fn update_rearms_a_oneshot(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Oneshot);
    for _ in 0..3 {
        stage.turns(5);
        assert_eq!(calls.take(), 1);
        stage.reactor.update_handler(calls.id, READ).expect("known");
    }
}

/// Update while the loop sleeps takes effect.
pub fn an_update_by_another_thread_while_the_loop_sleeps_takes_effect(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let stopper = stage.reactor.clone();
    let id = stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| stopper.stop())
        .expect("add_handler");
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || reactor.update_handler(id, WRITE).expect("known"));
    });
}

/// In a callback, an update counts from the next turn.
pub fn update_inside_a_callback_takes_effect(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    stage
        .reactor
        .call_soon(move || reactor.update_handler(id, WRITE).expect("known"))
        .expect("open");
    stage.turns(4);
    assert!(calls.take() >= 2);
}

/// A change and its undoing within a turn cost no call to the kernel.
pub fn a_change_and_its_undoing_cost_no_kernel_call(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    let toggle = move || {
        for interest in [READ | WRITE, READ, NONE, READ] {
            reactor.update_handler(id, interest).expect("known");
        }
    };
    stage.reactor.call_soon(toggle).expect("open");
    let before = stage.reactor.stats().kernel_changes;
    stage.turns(3);
    assert_eq!(stage.reactor.stats().kernel_changes, before);
}

/// Many changes within a turn cost one call.
pub fn many_changes_in_a_turn_cost_one_kernel_call(stage: &mut Stage) {
    let (a, _b) = pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    let toggle = move || {
        for interest in [READ | WRITE, WRITE, READ, NONE, WRITE] {
            reactor.update_handler(id, interest).expect("known");
        }
    };
    stage.reactor.call_soon(toggle).expect("open");
    let before = stage.reactor.stats().kernel_changes;
    stage.turns(3);
    assert_eq!(stage.reactor.stats().kernel_changes, before + 1);
    assert!(calls.take() > 0);
}

// Clause 5.

/// A paused handler hears nothing, not even a hang-up, and the loop does not spin.
pub fn a_paused_handler_hears_no_hangup(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.reactor.update_handler(calls.id, NONE).expect("known");
    drop(b);
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    let before = stage.reactor.stats().turns;
    let reactor = stage.reactor.clone();
    reactor
        .call_later(std::time::Duration::from_millis(30), {
            let reactor = reactor.clone();
            move || reactor.stop()
        })
        .expect("open");
    stage.run();
    let turns = stage.reactor.stats().turns - before;
    assert!(turns < 20, "{turns} turns in which there was nothing to do");
    stage.reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(2);
    assert!(calls.events().iter().any(|event| event.is_hangup()));
}

/// Added paused, resumed later.
pub fn a_handler_can_be_added_paused(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    for &mode in stage.modes() {
        let calls = stage.watch(a.clone(), NONE, mode);
        stage.turns(3);
        assert_eq!(calls.take(), 0);
        stage.reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(3);
        assert!(calls.take() > 0, "{mode:?}");
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// Paused by a neighbour in the same batch, it is not called in that turn.
pub fn a_handler_paused_by_a_neighbour_is_not_called_in_that_turn(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, b) = (sources.readable(), sources.readable());
    let log = Log::default();
    let ids = Log::default();
    let sources = [a.0, b.0];
    for (me, source) in sources.into_iter().enumerate() {
        let (log, ids, reactor) = (log.clone(), ids.clone(), stage.reactor.clone());
        let all = ids.clone();
        let id = stage
            .reactor
            .add_handler(source, READ, Mode::Level, move |_, _| {
                log.push(me);
                let both = all.take();
                reactor.update_handler(both[1 - me], NONE).expect("known");
                reactor.update_handler(both[me], NONE).expect("known");
            });
        ids.push(id.expect("add_handler"));
    }
    stage.turns(3);
    assert_eq!(log.len(), 1, "whoever was first has paused the other");
}

/// Paused and resumed in one turn: at most one call in that turn, and none lost.
pub fn a_handler_paused_and_resumed_in_one_turn_is_still_called(stage: &mut Stage) {
    let sources = stage.sources;
    for &mode in stage.modes() {
        let (a, _b) = sources.readable();
        let calls = stage.watch(a, READ, mode);
        let (reactor, id) = (stage.reactor.clone(), calls.id);
        let (ping, _pong) = sources.readable();
        let toggler = stage
            .reactor
            .add_handler(ping, READ, Mode::Level, move |_, _| {
                reactor.update_handler(id, NONE).expect("known");
                reactor.update_handler(id, READ).expect("known");
                Action::Remove
            })
            .expect("add_handler");
        stage.turns(6);
        assert!(
            stage.reactor.remove_handler(toggler).is_err(),
            "it has removed itself"
        );
        assert!(calls.take() > 0, "{mode:?}");
        stage.reactor.remove_handler(id).expect("known");
    }
}

/// A handler that is toggled in every turn by a neighbour, to what it has, is not silenced.
pub fn an_update_that_changes_nothing_silences_no_handler(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let (c, _d) = sources.readable();
    let (reactor, target) = (stage.reactor.clone(), Log::default());
    let targets = target.clone();
    stage
        .reactor
        .add_handler(c, READ, Mode::Level, move |_, _| {
            let id = targets.take()[0];
            targets.push(id);
            reactor.update_handler(id, READ | WRITE).expect("known");
            reactor.update_handler(id, READ).expect("known");
        })
        .expect("add_handler");
    let calls = stage.watch(a, READ, Mode::Level);
    target.push(calls.id);
    stage.turns(5);
    assert!(calls.take() >= 5);
}

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
                    add.expect("the number anew");
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

// Clause 7.

/// A descriptor closed behind the reactor's back goes quiet, and nobody else is harmed.
pub fn a_handler_whose_descriptor_was_closed_goes_quiet(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    drop(a);
    let closed = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    let other = stage.watch(c, READ, Mode::Level);
    stage.turns(2);
    assert!(closed.take() >= 2);
    number.close();
    stage.turns(3);
    assert_eq!(closed.take(), 0);
    assert!(other.take() >= 5);
    // So quiet that the loop sleeps.
    stage.reactor.remove_handler(other.id).expect("known");
    stage.expect_sleep();
    stage.reactor.remove_handler(closed.id).expect("no error");
}

/// A closed number can be registered anew at once, and is then armed.
pub fn a_reused_number_is_really_armed(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, _b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        drop(a);
        let old = stage.watch_number(number.get(), READ, mode);
        stage.turns(2);
        old.take();
        number.mean(&c);
        let new = stage.watch_number(number.get(), READ, mode);
        stage.turns(2);
        assert_eq!(new.take(), 0, "the old one's byte is not the new one's");
        d.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(new.take() > 0, "{mode:?}");
        assert_eq!(old.take(), 0);
        // Removing the stale id does not touch the new owner.
        stage.reactor.remove_handler(old.id).expect("no error");
        stage.reactor.update_handler(new.id, READ).expect("known");
        stage.turns(2);
        assert!(new.take() > 0);
        stage.reactor.remove_handler(new.id).expect("known");
        number.close();
    }
}

/// Closes a handler's number, which an update or the next wait finds out. A handler of another file under
/// the number does not revive it.
pub fn a_closed_handler_stays_quiet_when_its_number_is_registered_again(stage: &mut Stage) {
    for later in [false, true] {
        for &mode in stage.modes() {
            let (a, _b) = pair();
            let (c, mut d) = readable();
            let number = Arc::new(Number::of(&a));
            drop(a);
            let quiet = stage.watch_number(number.get(), READ, mode);
            if later {
                let (reactor, id, number) = (stage.reactor.clone(), quiet.id, number.clone());
                let post = stage.reactor.call_soon(move || {
                    let update = reactor.update_handler(id, READ | WRITE);
                    update.expect("it is open, and the kernel is told later");
                    number.close();
                });
                post.expect("open");
                stage.turns(2);
            } else {
                number.close();
                let update = stage.reactor.update_handler(quiet.id, READ | WRITE);
                update.expect_err("closed");
            }
            number.mean(&c);
            let new = stage.watch_number(number.get(), READ, mode);
            d.write_all(b"x").expect("room");
            stage.turns(2);
            assert!(new.take() > 0, "{mode:?}");
            assert_eq!(quiet.take(), 0, "{mode:?}");
            for one in [quiet, new] {
                stage.reactor.remove_handler(one.id).expect("no error");
            }
            number.close();
        }
    }
}

/// Gives a handler's number to another file within the batch. The handler would read the new owner's data.
pub fn a_handler_whose_number_is_taken_in_the_batch_is_not_called(stage: &mut Stage) {
    let (a, _b) = readable();
    let (c, _d) = readable();
    let number = Arc::new(Number::of(&a));
    drop(a);
    let (log, c) = (Log::default(), Arc::new(c));
    let taken = Arc::new(AtomicBool::new(false));
    // Two takers around it, so that one of them comes before it in any order.
    let add_taker = || {
        let (taker, peer) = readable();
        let (reactor, number) = (stage.reactor.clone(), number.clone());
        let (log, c, taken) = (log.clone(), c.clone(), taken.clone());
        let added = stage
            .reactor
            .add_handler(taker, READ, Mode::Level, move |_, _| {
                if !taken.swap(true, SeqCst) {
                    log.push("taken");
                    number.mean(&*c);
                    // SAFETY: the number was made to mean `c` just now.
                    let added =
                        unsafe { reactor.add_raw_handler(number.get(), READ, Mode::Level, |_| {}) };
                    added.expect("the number anew");
                }
                Action::Remove
            });
        added.expect("add_handler");
        peer
    };
    let _before = add_taker();
    let seen = log.clone();
    // SAFETY: the number is open; that another takes it is the test.
    let old = unsafe {
        stage
            .reactor
            .add_raw_handler(number.get(), READ, Mode::Level, move |_| seen.push("old"))
    };
    let _after = add_taker();
    stage.turns(3);
    let log = log.take();
    assert_eq!(log.last(), Some(&"taken"), "{log:?}");
    let old = old.expect("add_raw_handler");
    stage.reactor.remove_handler(old).expect("no error");
}

/// A one-shot that has fired is still in the kernel's set, mute. Who comes to its number is not taken
/// for its neighbour, even if he wants nothing yet.
pub fn a_number_reused_after_a_oneshot_has_fired_is_watched(stage: &mut Stage) {
    for (mode, first_interest) in [(Mode::Level, Interest::NONE), (Mode::Edge, READ)] {
        let (a, _b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        drop(a);
        let old = stage.watch_number(number.get(), READ, Mode::Oneshot);
        stage.turns(2);
        assert_eq!(old.take(), 1);
        number.mean(&c);
        let first = stage.watch_number(number.get(), first_interest, mode);
        let second = stage.watch_number(number.get(), WRITE, Mode::Level);
        stage.reactor.update_handler(first.id, READ).expect("open");
        d.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(first.take() > 0, "{mode:?}");
        assert!(second.take() > 0);
        assert_eq!(old.take(), 0);
        for one in [old, first, second] {
            stage.reactor.remove_handler(one.id).expect("no error");
        }
        number.close();
    }
}

/// Updates a handler whose number has another owner. The update returns an error and changes nothing.
pub fn a_stale_handler_cannot_take_the_number_back(stage: &mut Stage) {
    let (a, _b) = readable();
    let (c, _d) = readable();
    let number = Number::of(&a);
    drop(a);
    let old = stage.watch_number(number.get(), READ, Mode::Level);
    number.mean(&c);
    let new = stage.watch_number(number.get(), WRITE, Mode::Level);
    let error = stage
        .reactor
        .update_handler(old.id, READ)
        .expect_err("stale");
    assert_eq!(error.raw_os_error(), Some(os::EBADF));
    stage.turns(2);
    assert_eq!(old.take(), 0);
    assert!(new.events().iter().all(|event| !event.is_readable()));
    // Unless it asks for it.
    stage
        .reactor
        .rearm_handler(old.id)
        .expect("there is a file under the number");
    stage.turns(2);
    assert!(old.take() >= 2);
    stage.reactor.remove_handler(old.id).expect("known");
    stage.reactor.remove_handler(new.id).expect("known");
    number.close();
}

/// Closes a descriptor before its handler is removed, while a dup keeps the file open and ready. The kernel's
/// set then has an entry that no number can remove. The loop still sleeps and works.
pub fn a_closed_descriptor_with_a_living_dup_lets_the_loop_sleep(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    let closed = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, mut d) = pair();
    let c = Arc::new(c);
    let other = stage.watch(c.clone(), READ, Mode::Oneshot);
    let edge = stage.watch(c, READ, Mode::Edge);
    // The order of a turn and the look at what nobody claims do not get into each other's way.
    let prior = stage.reactor.set_priority(other.id, Priority::High);
    prior.expect("known");
    stage.turns(2);
    assert!(closed.take() >= 2);
    number.close();
    stage.reactor.remove_handler(closed.id).expect("no error");
    let before = stage.reactor.stats().turns;
    let stopper = stage.reactor.clone();
    let timer = move || stopper.stop();
    stage
        .reactor
        .call_later(std::time::Duration::from_millis(30), timer)
        .expect("open");
    stage.run();
    let turns = stage.reactor.stats().turns - before;
    assert!(turns < 40, "{turns} turns in which there was nothing to do");
    assert_eq!((closed.take(), other.take(), edge.take()), (0, 0, 0));
    // Those who live are still watched, by a host that sleeps, too.
    let reactor = stage.reactor.clone();
    let timer = move || {
        d.write_all(b"x").expect("room");
        after_turns(&reactor, 3, |reactor| reactor.stop());
    };
    stage
        .reactor
        .call_later(std::time::Duration::from_millis(1), timer)
        .expect("open");
    stage.run();
    assert_eq!((other.take(), edge.take()), (1, 1));
}

/// Closes a descriptor with an edge and a level handler while a dup keeps it open. Only the second set, in
/// which both meet, is rebuilt.
pub fn edge_and_level_handlers_closed_with_a_living_dup_cost_few_kernel_changes(stage: &mut Stage) {
    let (a, mut b) = readable();
    let number = Number::of(&a);
    let edge = stage.watch_number(number.get(), READ, Mode::Edge);
    let level = stage.watch_number(number.get(), WRITE, Mode::Oneshot);
    let (c, mut d) = pair();
    let c = Arc::new(c);
    let others = [Mode::Edge, Mode::Level].map(|mode| stage.watch(c.clone(), READ, mode));
    stage.turns(2);
    number.close();
    stage.reactor.remove_handler(edge.id).expect("no error");
    stage.reactor.remove_handler(level.id).expect("no error");
    let before = stage.reactor.stats().kernel_changes;
    for _ in 0..100 {
        b.write_all(b"x").expect("room");
        stage.turns(1);
    }
    let changes = stage.reactor.stats().kernel_changes - before;
    assert!(changes < 20, "{changes} changes of the kernel's sets");
    d.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(others.iter().all(|other| other.take() > 0));
}

/// Closes a descriptor while a dup keeps it open, and pauses its handler. When the handler is resumed, it
/// watches the file that the number means now.
pub fn a_paused_handler_closed_with_a_living_dup_lets_the_loop_sleep(stage: &mut Stage) {
    for closed in [false, true] {
        let (a, _b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        let calls = stage.watch_number(number.get(), READ, Mode::Level);
        stage.turns(2);
        if closed {
            number.close()
        } else {
            number.mean(&c)
        }
        stage
            .reactor
            .update_handler(calls.id, Interest::NONE)
            .expect("no error");
        calls.take();
        let before = stage.reactor.stats().turns;
        let stopper = stage.reactor.clone();
        let timer = move || stopper.stop();
        stage
            .reactor
            .call_later(std::time::Duration::from_millis(30), timer)
            .expect("open");
        stage.run();
        let turns = stage.reactor.stats().turns - before;
        assert!(turns < 40, "{turns} turns in which there was nothing to do");
        number.mean(&c);
        stage
            .reactor
            .update_handler(calls.id, READ)
            .expect("mended");
        stage.turns(3);
        assert_eq!(calls.take(), 0, "that is another file");
        d.write_all(b"x").expect("room");
        stage.turns(3);
        assert!(calls.take() > 0);
        stage.reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// The same where nobody pauses it, and an update finds the new file under the number.
pub fn an_update_that_finds_a_new_file_leaves_the_old_one(stage: &mut Stage) {
    for mode in [Mode::Level, Mode::Edge] {
        let (a, mut b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        let calls = stage.watch_number(number.get(), READ, mode);
        number.mean(&c);
        stage
            .reactor
            .update_handler(calls.id, READ | Interest::PRIORITY)
            .expect("mended");
        b.write_all(b"x").expect("room");
        stage.turns(3);
        assert_eq!(calls.take(), 0, "that is another file");
        d.write_all(b"x").expect("room");
        stage.turns(3);
        assert!(calls.take() > 0);
        stage.reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// A socket becomes a regular file, and the other way round, under the same number.
pub fn a_number_reused_across_kinds_of_files_is_watched(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let socket = stage.watch_number(number.get(), READ, Mode::Level);
    number.mean(os::regular_file());
    let file = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(3);
    assert!(file.take() >= 3);
    let (c, _d) = pair();
    number.mean(&c);
    let again = stage.watch_number(number.get(), WRITE, Mode::Level);
    stage.turns(3);
    assert!(again.take() >= 3);
    assert_eq!(socket.take(), 0);
    assert_eq!(file.take(), 0, "its file is gone");
    for one in [socket, file, again] {
        stage.reactor.remove_handler(one.id).expect("no error");
    }
    number.close();
}

/// What a callback changes when the number of a socket has come to mean a regular file: the loop goes
/// on, and the handler is on that file.
pub fn a_regular_file_takes_the_number_inside_a_callback(stage: &mut Stage) {
    for (interest, mode) in [
        (WRITE, Mode::Level),
        (NONE, Mode::Level),
        (WRITE, Mode::Oneshot),
    ] {
        let (a, _b) = readable();
        let number = Arc::new(Number::of(&a));
        drop(a);
        let (reactor, other) = (stage.reactor.clone(), number.clone());
        let log = Log::default();
        let seen = log.clone();
        let handle = move |event: Event| {
            seen.push(event);
            if event.is_readable() {
                other.mean(os::regular_file());
                let updated = reactor.update_handler(event.handler(), interest);
                updated.expect("mended");
            }
        };
        // SAFETY: the number is this case's own.
        let added = unsafe {
            stage
                .reactor
                .add_raw_handler(number.get(), READ, mode, handle)
        };
        let id = added.expect("add_raw_handler");
        stage.turns(4);
        let called = log.take().len();
        if interest.is_empty() {
            assert_eq!(called, 1);
            stage.reactor.update_handler(id, WRITE).expect("mended");
            stage.turns(2);
            assert!(!log.is_empty());
        } else {
            assert!(called > 1, "{mode:?}")
        }
        stage.reactor.remove_handler(id).expect("known");
        number.close();
    }
}

/// Removed, closed, reopened under the same number and added, all in one callback.
pub fn remove_and_add_of_one_number_in_one_callback_works(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    drop(a);
    let (c, _d) = readable();
    let log = Log::default();
    let (seen, reactor, fd) = (log.clone(), stage.reactor.clone(), number.get());
    // SAFETY: the number is open, and removed before it is reused.
    let add = unsafe {
        stage
            .reactor
            .add_raw_handler(fd, READ, Mode::Level, move |event| {
                seen.push("old");
                reactor.remove_handler(event.handler()).expect("known");
                number.mean(&c);
                let seen = seen.clone();
                // SAFETY: it was made to mean `c` just now.
                let add =
                    reactor.add_raw_handler(fd, READ, Mode::Oneshot, move |_| seen.push("new"));
                add.expect("add_raw_handler");
            })
    };
    add.expect("add_raw_handler");
    stage.turns(4);
    log.expect(&["old", "new"]);
}

/// The new file is added before the handler of the old one is removed, as libverto does.
pub fn the_new_file_is_added_before_the_old_handler_is_removed(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    drop(a);
    let old = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    let new = stage.watch_number(number.get(), READ, Mode::Level);
    stage.reactor.remove_handler(old.id).expect("no error");
    stage.turns(3);
    assert!(new.take() >= 3);
    stage.reactor.remove_handler(new.id).expect("known");
    number.close();
}

/// A library closes and reopens its socket and then changes what it wants, all under one handler.
pub fn an_update_finds_the_new_file_under_the_number(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let calls = stage.watch_number(number.get(), WRITE, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    stage
        .reactor
        .update_handler(calls.id, READ)
        .expect("mended");
    stage.turns(3);
    assert!(
        calls
            .events()
            .iter()
            .filter(|event| event.is_readable())
            .count()
            >= 3
    );
    // In a callback, too, where the kernel is told later.
    let (e, _f) = pair();
    number.mean(&e);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    after_turns(&stage.reactor, 0, move |_| {
        reactor.update_handler(id, WRITE).expect("mended");
    });
    stage.turns(4);
    assert!(
        calls
            .events()
            .iter()
            .filter(|event| event.is_writable())
            .count()
            >= 2
    );
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// The last that is not for edges goes after the number has come to mean another file, which asks the
/// kernel for the edges in another place.
pub fn a_removal_finds_the_new_file_under_the_number(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let edge = stage.watch_number(number.get(), READ, Mode::Edge);
    let paused = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    let removed = stage.reactor.remove_handler(paused.id);
    removed.expect("known");
    stage.turns(3);
    let removed = stage.reactor.remove_handler(edge.id);
    removed.expect("known");
    number.close();
}

/// A regular file under the number of a socket is found, too, and nobody else notices.
pub fn an_update_finds_a_regular_file_under_the_number(stage: &mut Stage) {
    let (a, b) = (pair().0, pair().0);
    let numbers = [Number::of(&a), Number::of(&b)];
    let watch = |number: &Number| stage.watch_number(number.get(), WRITE, Mode::Level);
    let [first, second] = numbers.each_ref().map(watch);
    numbers[0].mean(os::regular_file());
    stage
        .reactor
        .update_handler(first.id, READ)
        .expect("mended");
    stage.turns(3);
    assert!(first.take() >= 3);
    // In a callback, where the kernel is told later.
    numbers[1].mean(os::regular_file());
    let (reactor, id) = (stage.reactor.clone(), second.id);
    after_turns(&stage.reactor, 0, move |_| {
        reactor.update_handler(id, READ).expect("mended");
    });
    stage.turns(4);
    assert!(second.take() >= 3);
    for (number, one) in numbers.iter().zip([first, second]) {
        stage.reactor.remove_handler(one.id).expect("known");
        number.close();
    }
}

/// What the old file was ready for is forgotten, also in the turn in which it was to be told.
pub fn rearm_forgets_what_the_old_file_was_ready_for(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Arc::new(Number::of(&a));
    drop(a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (reactor, id, its) = (stage.reactor.clone(), calls.id, number.clone());
    let (c, _d) = pair();
    // It runs after the turn has seen what is ready.
    let replace = move || {
        its.mean(&c);
        reactor.rearm_handler(id).expect("mended");
    };
    let posted = stage.reactor.call_soon_with(Priority::High, replace);
    posted.expect("open");
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// The same with nothing changed: `rearm_handler`, as libpq needs it.
pub fn rearm_takes_the_new_file_under_the_number(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    stage.turns(2);
    assert_eq!(calls.take(), 0, "the kernel knows only the old file");
    stage.reactor.rearm_handler(calls.id).expect("rearm");
    stage.turns(2);
    assert!(calls.take() >= 2);
    number.close();
    let error = stage.reactor.rearm_handler(calls.id).expect_err("closed");
    assert_eq!(error.raw_os_error(), Some(os::EBADF));
    assert!(error.to_string().contains("rearm_handler"));
    stage.reactor.remove_handler(calls.id).expect("no error");
}

/// Rearm arms a one-shot and reports an edge again.
pub fn rearm_arms_edges_and_oneshots(stage: &mut Stage) {
    let sources = stage.sources;
    for mode in stage.some_of(&[Mode::Edge, Mode::Oneshot]) {
        let (a, _b) = sources.readable();
        let calls = stage.watch(a, READ, mode);
        stage.turns(3);
        assert_eq!(calls.take(), 1);
        stage.reactor.rearm_handler(calls.id).expect("known");
        stage.turns(3);
        assert_eq!(calls.take(), 1, "{mode:?}");
    }
}

/// A regular file closed behind the reactor's back goes quiet, too.
pub fn a_closed_regular_file_goes_quiet(stage: &mut Stage) {
    let number = Number::of(os::regular_file());
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(2);
    assert!(calls.take() >= 2);
    number.close();
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("no error");
}

// Clause 8.

/// A stale id gives an error, whoever has its place now.
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

/// TCP, with a listener that accepts in its callback and adds what it accepted.
pub fn accepted_connections_can_be_added_in_the_callback(stage: &mut Stage) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let seen = log.clone();
    stage
        .reactor
        .add_handler(listener, READ, Mode::Level, move |listener, _| {
            let (stream, _) = listener.accept().expect("a connection");
            let (seen, stopper) = (seen.clone(), reactor.clone());
            let read = move |stream: &mut TcpStream, _| {
                let mut text = [0; 16];
                let n = stream.read(&mut text).expect("readable");
                seen.push(String::from_utf8_lossy(&text[..n]).into_owned());
                if seen.len() == 3 {
                    stopper.stop();
                }
                Action::Remove
            };
            reactor
                .add_handler(stream, READ, Mode::Level, read)
                .expect("add_handler");
        })
        .expect("add_handler");
    let clients = thread::spawn(move || {
        for text in ["one", "two", "three"] {
            let mut stream = TcpStream::connect(address).expect("listening");
            stream.write_all(text.as_bytes()).expect("connected");
        }
    });
    stage.run();
    clients.join().expect("no panic");
    let mut texts = log.take();
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);
}

/// A paused handler on the number keeps nobody from seeing that it is closed.
pub fn a_second_paused_handler_on_a_closed_number_is_refused(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    let first = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    let second = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    number.close();
    // SAFETY: the number is this case's own, and closed: that is what is refused.
    let added = unsafe {
        let none = Interest::NONE;
        stage
            .reactor
            .add_raw_handler(number.get(), none, Mode::Level, |_| {})
    };
    assert_eq!(added.expect_err("closed").raw_os_error(), Some(os::EBADF));
    for id in [first.id, second.id] {
        stage.reactor.remove_handler(id).expect("known");
    }
}

/// Three on one source, each for something else.
pub fn removing_the_last_of_three_leaves_the_others(stage: &mut Stage) {
    let (a, mut b) = stage.sources.pair();
    let [first, second, third] = [Interest::NONE, READ, Interest::WRITABLE]
        .map(|interest| stage.watch(a.clone(), interest, Mode::Level));
    stage.reactor.remove_handler(third.id).expect("known");
    b.write_all(b"x").expect("room");
    stage.turns(3);
    assert!(second.take() >= 3);
    assert_eq!((first.take(), third.take()), (0, 0));
}
