//! Clauses 27 and 28: misuse, fork.

use rustix::fd::AsRawFd;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{ErrorKind, Interest, Mode, Reactor};

use crate::os;
use crate::stage::Drops;
use crate::tools::readable;
use crate::{Log, Sources, Stage};

const READ: Interest = Interest::READABLE;

// Clause 27.

/// Ids and calls in any order from many threads, while the loop is driven: no panic, no deadlock,
/// and every closure is dropped exactly once.
pub fn any_calls_from_any_threads_do_no_harm(stage: &mut Stage) {
    let on = (stage.sources, stage.modes());
    let drops = Drops::default();
    let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let threads: Vec<_> = (0..4_u32)
        .map(|seed| {
            let (reactor, drops, made) = (stage.reactor.clone(), drops.clone(), made.clone());
            thread::spawn(move || churn(&reactor, on, seed, &drops, &made))
        })
        .collect();
    let stopper = stage.reactor.clone();
    let joiner = thread::spawn(move || {
        for thread in threads {
            thread.join().expect("no panic");
        }
        stopper.stop();
    });
    stage.run();
    joiner.join().expect("no panic");
    stage.turns(2);
    stage.reactor.close();
    assert_eq!(drops.count(), made.load(SeqCst));
}

fn churn(
    reactor: &Reactor,
    (sources, modes): (Sources, &[Mode]),
    seed: u32,
    drops: &Drops,
    made: &std::sync::atomic::AtomicUsize,
) {
    let mut random = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut dice = move |sides: u32| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % sides
    };
    let (mut handlers, mut timers, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    let interests = [
        Interest::NONE,
        READ,
        Interest::WRITABLE,
        READ | Interest::WRITABLE,
    ];
    for _ in 0..1000 {
        let interest = interests[dice(4) as usize];
        match dice(10) {
            0 | 1 => {
                let (a, b) = sources.readable();
                for _ in 0..=dice(2) {
                    let guard = drops.guard();
                    made.fetch_add(1, SeqCst);
                    let handle = move |_: &mut _, _| {
                        let _ = &guard;
                    };
                    let mode = modes[dice(modes.len() as u32) as usize];
                    handlers.push(
                        reactor
                            .add_handler(a.clone(), interest, mode, handle)
                            .expect("add_handler"),
                    );
                }
                peers.push(b);
            }
            2 => {
                let guard = drops.guard();
                made.fetch_add(1, SeqCst);
                let post = move || drop(guard);
                reactor.call_soon(post).expect("open");
            }
            3 => {
                let guard = drops.guard();
                made.fetch_add(1, SeqCst);
                let timer = move || {
                    let _ = &guard;
                };
                let delay = Duration::from_micros(dice(300).into());
                timers.push(reactor.call_later(delay, timer).expect("open"));
            }
            4 => timers
                .iter()
                .rev()
                .take(3)
                .for_each(|id| drop(reactor.cancel_timer(*id))),
            5 => timers.iter().rev().take(3).for_each(|id| {
                drop(reactor.reset_timer(*id, Instant::now()));
            }),
            6 if !handlers.is_empty() => {
                let id = handlers.swap_remove(dice(handlers.len() as u32) as usize);
                reactor.remove_handler(id).expect("known");
                assert_eq!(
                    reactor.remove_handler(id).expect_err("stale").kind(),
                    ErrorKind::UnknownId
                );
            }
            7 if !handlers.is_empty() => {
                let id = handlers[dice(handlers.len() as u32) as usize];
                reactor.rearm_handler(id).expect("open");
            }
            _ if !handlers.is_empty() => {
                let id = handlers[dice(handlers.len() as u32) as usize];
                reactor.update_handler(id, interest).expect("open");
            }
            _ => {}
        }
    }
}

/// The last handle dropped inside a callback ends the loop after it.
pub fn the_last_handle_may_go_while_callbacks_are_pending(stage: &mut Stage) {
    let reactor = oneloop::Reactor::builder()
        .poller(stage.poller)
        .build()
        .expect("a reactor");
    let drops = Drops::default();
    let (guard, weak) = (drops.guard(), reactor.downgrade());
    let (a, _b) = readable();
    let fd = a.as_raw_fd();
    reactor
        .add_handler(a, READ, Mode::Level, move |source, _| {
            let _ = &guard;
            assert_eq!(source.as_raw_fd(), fd);
            weak.upgrade().expect("it drives").stop();
        })
        .expect("add_handler");
    reactor.run().expect("run");
    assert_eq!(drops.count(), 0);
    drop(reactor);
    assert_eq!(drops.count(), 1);
}

// Clause 28.

/// After a fork, using the parent's reactor in the child is an error that says so, and harms
/// nothing in the parent.
pub fn after_a_fork_the_child_is_told(stage: &mut Stage) {
    let (a, mut b) = stage.sources.pair();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(1);
    // SAFETY: the child calls what neither allocates nor takes a lock that another thread may
    // hold, and leaves by _exit.
    let child = unsafe { os::fork() };
    if child == 0 {
        let reactor = &stage.reactor;
        let told = [
            reactor.turn(Some(Duration::ZERO)).map(drop),
            reactor.update_handler(calls.id, READ),
            reactor.remove_handler(calls.id),
            reactor.host("child").map(drop),
            reactor
                .call_soon(|| {})
                .map(drop)
                .map_err(oneloop::Error::from),
            reactor
                .remote()
                .call_soon(|| {})
                .map(drop)
                .map_err(oneloop::Error::from),
        ]
        .iter()
        .all(|result| matches!(result, Err(error) if error.kind() == ErrorKind::Forked));
        reactor.stop();
        reactor.remote().wake();
        let quiet = reactor.stats().turns == 0 && reactor.next_deadline().is_none();
        let told = told && quiet;
        os::exit_child(told);
    }
    assert!(os::wait_for_child(child), "the child was told");
    b.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(calls.take() >= 2, "the parent goes on");
}

/// If a callback forks, driving ends in the child with that error, and goes on in the parent.
pub fn a_callback_may_fork(stage: &mut Stage) {
    let reactor = Reactor::builder().poller(stage.poller).build();
    let reactor = reactor.expect("a reactor");
    let child = Arc::new(AtomicI32::new(-1));
    let forked = child.clone();
    // SAFETY: the child does nothing but return from the callback, see what `run` says, and leave
    // by _exit.
    let fork = move || forked.store(unsafe { os::fork() }, SeqCst);
    reactor.call_soon(fork).expect("open");
    let log = Log::default();
    for _ in 0..2 {
        let seen = log.clone();
        reactor.call_soon(move || seen.push(())).expect("open");
    }
    let result = reactor.run();
    let child = child.load(SeqCst);
    if child == 0 {
        let told = matches!(result, Err(error) if error.kind() == ErrorKind::Forked);
        let quiet = log.is_empty();
        os::exit_child(told && quiet);
    }
    assert!(os::wait_for_child(child), "the child was told");
    result.expect("run");
    assert_eq!(log.len(), 2);
}
