//! Clauses 1 and 22, as far as they are about the loop's own descriptor.

use rustix::fd::AsRawFd;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::faulty::{Call, Fault};
use crate::os;
use oneloop::{Action, Event, Host, Interest, Mode, PollerKind, Reactor, Shared, Step};

use crate::stage::after_turns;
use crate::{Log, Number, Stage, pair, readable, step_inside};

const READ: Interest = Interest::READABLE;
const MS: Duration = Duration::from_millis(1);

/// A source that is refused comes back whole.
pub fn a_refused_source_is_given_back(stage: &mut Stage) {
    // The loop's own descriptor is what every poller refuses to watch.
    let host = stage.reactor.host("itself").expect("no other");
    let error = stage
        .reactor
        .add_handler(host, READ, Mode::Level, |_, _| {})
        .expect_err("a loop in itself");
    let fd = error.error().fd();
    let host = error.into_source();
    assert_eq!(fd, Some(host.as_raw_fd()));
    assert_eq!(host.reactor().stats().handlers, 0);
}

fn shows(host: &Host<Shared>) -> bool {
    os::poll(host, 0)
}

/// Steps until the host sleeps. It polls the descriptor, and so has nothing to do to watch it.
fn settle(host: &mut Host<Shared>) {
    while host.step(1).expect("open") != Step::Sleep {}
    assert!(!shows(host), "idle");
}

/// I/O, timers, posts and `Again` all show on the descriptor, and only they.
pub fn all_that_is_to_do_shows_on_the_descriptor(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = &stage.reactor;
    let mut host = reactor.host("poll").expect("no other");
    settle(&mut host);
    let (a, mut b) = sources.pair();
    let id = reactor
        .add_handler(a, READ, Mode::Level, |stream, _| {
            let _ = stream.read(&mut [0; 8]);
        })
        .expect("add_handler");
    assert!(!shows(&host));
    b.write_all(b"x").expect("room");
    assert!(shows(&host), "I/O");
    settle(&mut host);

    reactor.call_soon(|| {}).expect("open");
    assert!(shows(&host), "a post");
    settle(&mut host);

    reactor.call_at(Instant::now(), || {}).expect("open");
    crate::wait_readable(&host);
    settle(&mut host);

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
    assert_eq!(host.step(1).expect("open"), Step::Yield);
    assert!(shows(&host), "Again");
    settle(&mut host);

    reactor.remove_handler(id).expect("known");
    let gone = b.write_all(b"x").expect_err("the peer is gone");
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    assert!(!shows(&host));
}

/// A timer that is cancelled or pushed back does not show.
pub fn a_cancelled_timer_does_not_show(stage: &mut Stage) {
    let reactor = &stage.reactor;
    let mut host = reactor.host("poll").expect("no other");
    settle(&mut host);
    let timer = reactor.call_later(5 * MS, || {}).expect("open");
    reactor.cancel_timer(timer).expect("known");
    let timer = reactor.call_later(5 * MS, || {}).expect("open");
    reactor
        .reset_timer(timer, Instant::now() + Duration::from_secs(100))
        .expect("known");
    let shown = os::poll(&host, 20);
    assert!(!shown, "nothing is due");
}

/// A turn that failed shows, too: a host that ignores the error and sleeps wakes, and misses no timer.
pub fn a_turn_that_failed_shows_on_the_descriptor(stage: &mut Stage) {
    let faults = stage.faults();
    let mut host = stage.reactor.host("poll").expect("no other");
    settle(&mut host);
    let log = Log::default();
    for call in [Call::Alarm, Call::Wait] {
        let (reactor, seen) = (stage.reactor.clone(), log.clone());
        let set = move || {
            let timer = move || seen.push(());
            reactor.call_later(MS, timer).map(drop).expect("open");
        };
        stage.reactor.call_soon(set).expect("open");
        faults.order(Fault::Fails(call, os::ENOMEM), 2);
        let failed = host.step(1);
        assert_eq!(
            failed.expect_err("ordered").raw_os_error(),
            Some(os::ENOMEM)
        );
        while log.is_empty() {
            crate::wait_readable(&host);
            let _ = host.step(1);
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
            // The other end is gone, of which the kernel would go on telling.
            Action::Remove
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
    let mut host = inner.host("outer").expect("no other");
    let weak = outer.downgrade();
    assert_eq!(host.step(8).expect("open"), Step::Watch);
    let step = move |host: &mut Host<Shared>, event: Event| {
        let outer = weak.upgrade().expect("it drives");
        step_inside(host, &outer, event.handler()).expect("open")
    };
    outer
        .add_handler(host, READ, Mode::Level, step)
        .expect("add_handler");
    stage.run();
    log.expect(&["timer", "post", "io"]);
}

/// The host is told to stop watching, and to watch again. It sleeps then, and hears of what comes.
pub fn a_set_that_is_rebuilt_under_a_host_is_watched_again(stage: &mut Stage) {
    let (a, mut b) = pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (open, _peer) = readable();
    let number = Number::of(&open);
    let stale = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    let reactor = stage.reactor.clone();
    // The polling crate has no way to rebuild its set.
    let is_rebuilt = stage.poller != PollerKind::Polling;
    // Once the host watches. The kernel goes on reporting the file, of which `open` is another number.
    let close = move || {
        reactor.update_handler(stale.id, READ).expect("open");
        let closer = reactor.clone();
        let close = move || {
            number.close();
            closer.remove_handler(stale.id).expect("known");
        };
        reactor.call_later(MS, close).expect("open");
        let asleep = Arc::new(AtomicU64::new(0));
        let (noted, counted) = (asleep.clone(), reactor.clone());
        let note = move || noted.store(counted.stats().turns, SeqCst);
        reactor.call_later(12 * MS, note).expect("open");
        let stopper = reactor.clone();
        let write = move || {
            let turns = stopper.stats().turns - asleep.load(SeqCst);
            assert!(!is_rebuilt || turns < 20, "{turns} turns, and no sleep");
            b.write_all(b"x").expect("room");
            after_turns(&stopper, 2, Reactor::stop);
        };
        reactor.call_later(20 * MS, write).expect("open");
    };
    stage.reactor.call_later(MS, close).expect("open");
    stage.run();
    assert!(calls.take() >= 1);
}
