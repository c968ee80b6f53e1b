//! Clauses 1 and 22, as far as they are about the loop's own descriptor.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::faulty::{Call, Fault};
use oneloop::{Action, Interest, Mode, Reactor};

use crate::{Log, Stage};

const READ: Interest = Interest::READABLE;
const MS: Duration = Duration::from_millis(1);

/// A source that is refused comes back whole.
pub fn a_refused_source_is_given_back(stage: &mut Stage) {
    // The loop's own descriptor is what every poller refuses to watch.
    let error = stage
        .reactor
        .add_handler(stage.reactor.clone(), READ, Mode::Level, |_, _| {})
        .expect_err("a loop in itself");
    assert_eq!(error.error().fd(), Some(stage.reactor.as_raw_fd()));
    let reactor = error.into_source();
    assert_eq!(reactor.stats().handlers, 0);
}

fn shows(reactor: &Reactor) -> bool {
    let mut poll = libc::pollfd {
        fd: reactor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 }
}

fn settle(reactor: &Reactor) {
    while !reactor.turn(Some(Duration::ZERO)).expect("turn").idle {}
    assert!(!shows(reactor), "idle");
}

/// I/O, timers, posts and `Again` all show on the descriptor, and only they.
pub fn all_that_is_to_do_shows_on_the_descriptor(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = &stage.reactor;
    settle(reactor);
    let (a, mut b) = sources.pair();
    let id = reactor
        .add_handler(a, READ, Mode::Level, |stream, _| {
            let _ = stream.read(&mut [0; 8]);
        })
        .expect("add_handler");
    assert!(!shows(reactor));
    b.write_all(b"x").expect("room");
    assert!(shows(reactor), "I/O");
    settle(reactor);

    reactor.call_soon(|| {}).expect("open");
    assert!(shows(reactor), "a post");
    settle(reactor);

    reactor.call_at(Instant::now(), || {}).expect("open");
    crate::wait_readable(reactor);
    settle(reactor);

    let mut left = 3;
    let (c, _d) = sources.readable();
    reactor
        .add_handler(c, READ, Mode::Edge, move |_, _| {
            left -= 1;
            if left > 0 {
                Action::Again
            } else {
                Action::Remove
            }
        })
        .expect("add_handler");
    reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert!(shows(reactor), "Again");
    settle(reactor);

    reactor.remove_handler(id).expect("known");
    let gone = b.write_all(b"x").expect_err("the peer is gone");
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    assert!(!shows(reactor));
}

/// A timer that is cancelled or pushed back does not show.
pub fn a_cancelled_timer_does_not_show(stage: &mut Stage) {
    let reactor = &stage.reactor;
    settle(reactor);
    let timer = reactor.call_later(5 * MS, || {}).expect("open");
    reactor.cancel_timer(timer).expect("known");
    let timer = reactor.call_later(5 * MS, || {}).expect("open");
    reactor
        .reset_timer(timer, Instant::now() + Duration::from_secs(100))
        .expect("known");
    let mut poll = libc::pollfd {
        fd: reactor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    let shown = unsafe { libc::poll(&mut poll, 1, 20) };
    assert_eq!(shown, 0, "nothing is due");
}

/// A turn that failed shows, too: who does not mind the error and sleeps comes back, and misses no timer.
pub fn a_turn_that_failed_shows_on_the_descriptor(stage: &mut Stage) {
    let faults = stage.faults();
    settle(&stage.reactor);
    let log = Log::default();
    for call in [Call::Alarm, Call::Wait] {
        let (reactor, seen) = (stage.reactor.clone(), log.clone());
        let set = move || {
            let timer = move || seen.push(());
            reactor.call_later(MS, timer).map(drop).expect("open");
        };
        stage.reactor.call_soon(set).expect("open");
        faults.order(Fault::Fails(call, libc::ENOMEM), 2);
        let failed = stage.reactor.turn(Some(Duration::ZERO));
        assert_eq!(
            failed.expect_err("ordered").raw_os_error(),
            Some(libc::ENOMEM)
        );
        while log.is_empty() {
            crate::wait_readable(&stage.reactor);
            let _ = stage.reactor.turn(Some(Duration::ZERO));
        }
        faults.clear();
        log.take();
    }
}

/// A reactor hosts another one.
pub fn a_reactor_hosts_a_reactor(stage: &mut Stage) {
    let sources = stage.sources;
    let inner = Reactor::builder()
        .poller(stage.poller)
        .build()
        .expect("a reactor");
    let outer = stage.reactor.clone();
    let log = Log::default();
    let (a, b) = sources.pair();
    let (seen, stopper) = (log.clone(), outer.clone());
    inner
        .add_handler(a, READ, Mode::Level, move |stream, _| {
            let _ = stream.read(&mut [0]);
            seen.push("io");
            stopper.stop();
        })
        .expect("add_handler");
    let (seen, poster) = (log.clone(), inner.remote());
    inner
        .call_later(MS, move || {
            seen.push("timer");
            let seen = seen.clone();
            let (post, mut b) = (poster.clone(), b.clone());
            post.call_soon(move || {
                seen.push("post");
                b.write_all(b"x").expect("room");
            })
            .expect("open");
        })
        .expect("open");
    outer
        .add_handler(inner, READ, Mode::Level, |inner, _| {
            inner.turn(Some(Duration::ZERO)).expect("turn");
        })
        .expect("add_handler");
    stage.run();
    log.expect(&["timer", "post", "io"]);
}
