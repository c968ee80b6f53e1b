//! Seeing inside: statistics, the dump, slow callbacks.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use oneloop::futures::{Async, Timer};
use oneloop::{
    CallbackKind, Interest, Mode, Priority, Reactor, Ready, SlowCallback, VirtualSource,
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn handlers_are_counted_by_mode_and_saved_calls_are_counted() {
    let reactor = Reactor::new().unwrap();
    let modes = [Mode::Level, Mode::Level, Mode::Edge, Mode::Oneshot];
    let mut ends = Vec::new();
    let ids = modes.map(|mode| {
        let (a, b) = UnixStream::pair().unwrap();
        ends.push(b);
        let add = reactor.add_handler(a, Interest::READABLE, mode, |_, _| {});
        add.unwrap()
    });
    let stats = reactor.stats();
    let by_mode = [
        stats.level_handlers,
        stats.edge_handlers,
        stats.oneshot_handlers,
    ];
    assert_eq!((by_mode, stats.handlers), ([2, 1, 1], 4));
    assert_eq!((stats.kernel_changes, stats.kernel_changes_saved), (4, 0));

    // Ten changes that come to nothing, in a callback.
    let (weak, id) = (reactor.downgrade(), ids[0]);
    let toggle = move || {
        let reactor = weak.upgrade().unwrap();
        for _ in 0..5 {
            for interest in [Interest::NONE, Interest::READABLE] {
                reactor.update_handler(id, interest).unwrap();
            }
        }
    };
    reactor.call_soon(toggle).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let stats = reactor.stats();
    assert_eq!((stats.kernel_changes, stats.kernel_changes_saved), (4, 10));

    for id in ids {
        reactor.remove_handler(id).unwrap();
    }
    let stats = reactor.stats();
    assert_eq!(stats.handlers, 0);
    assert_eq!(stats.level_handlers + stats.edge_handlers, 0);
}

#[test]
fn what_was_called_is_counted() {
    let reactor = Reactor::new().unwrap();
    let (source, readiness) = VirtualSource::pair();
    reactor
        .add_handler(source, Interest::READABLE, Mode::Edge, |_, _| {})
        .unwrap();
    let turns = 5;
    for turn in 0..turns {
        readiness.set(Ready::READABLE);
        for _ in 0..turn {
            reactor.call_later(Duration::ZERO, || {}).unwrap();
        }
        for priority in [Priority::High, Priority::Normal] {
            reactor.call_soon_with(priority, || {}).unwrap();
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    reactor.call_soon_with(Priority::Idle, || {}).unwrap();
    reactor.call_later(Duration::from_secs(9), || {}).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let stats = reactor.stats();
    assert_eq!((stats.turns, stats.handler_calls), (turns + 1, turns));
    assert_eq!(
        (stats.timer_calls, stats.pending_timers),
        (1 + 2 + 3 + 4, 1)
    );
    assert_eq!(stats.post_calls, 2 * turns + 1);
    assert!(stats.longest_callback.is_none(), "nothing was timed");
}

#[test]
fn the_dump_names_all_that_is_there_and_where_it_came_from() {
    let reactor = Reactor::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let handler_line = line!() + 1;
    let add = reactor.add_handler(a, Interest::READABLE, Mode::Level, |_, _| {});
    let id = add.unwrap();
    let fd = reactor.handler_fd(id).unwrap();
    let (source, readiness) = VirtualSource::pair();
    let paused = reactor
        .add_handler(source, Interest::NONE, Mode::Edge, |_, _| {})
        .unwrap();
    readiness.set(Ready::WRITABLE);
    reactor.unref(paused).unwrap();
    let timer_line = line!() + 1;
    let every = reactor.call_every(Duration::from_secs(7), || {});
    every.unwrap();
    reactor.call_soon(|| {}).unwrap();
    reactor.add_hook(|| None, || {}).unwrap();
    let hook_line = line!() - 1;

    let dump = reactor.dump();
    let has = |words: &[&str]| {
        let found = dump
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} is not in a line of\n{dump}");
    };
    let here = |line| format!("tests/seeing.rs:{line}:");
    has(&["nobody is driving"]);
    has(&[
        &format!("descriptor {fd},"),
        "Level",
        "READABLE",
        "0 calls",
        &here(handler_line),
    ]);
    has(&[
        "virtual source",
        "Ready(WRITABLE)",
        "Edge",
        "paused",
        "unref",
    ]);
    has(&["every 7s", &here(timer_line)]);
    has(&[&here(hook_line)]);
    has(&["1 posts"]);

    // From inside, too.
    let (sender, inside) = channel();
    let weak = reactor.downgrade();
    reactor
        .call_soon(move || sender.send(weak.upgrade().unwrap().dump()).unwrap())
        .unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(inside.recv().unwrap().contains("turn is driving"));
}

/// Asserts that the dump has so many handlers, hooks and timers, all of them from this file.
fn expect_from_here(reactor: &Reactor, added: usize, set: usize) {
    let dump = reactor.dump();
    for (word, number) in [(" added at ", added), (" set at ", set)] {
        let lines: Vec<_> = dump.lines().filter(|line| line.contains(word)).collect();
        assert_eq!(lines.len(), number, "{dump}");
        let here = |line: &&str| line.contains("at tests/seeing.rs:");
        assert!(lines.iter().all(here), "{dump}");
    }
}

#[test]
fn whatever_is_registered_tells_where() {
    let reactor = Reactor::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    let day = Duration::from_secs(86_400);
    let tomorrow = reactor.now() + day;
    reactor
        .add_handler(a, Interest::READABLE, Mode::Level, |_, _| {})
        .unwrap();
    // SAFETY: the socket is open to the end.
    unsafe { reactor.add_raw_handler(b.as_raw_fd(), Interest::READABLE, Mode::Edge, |_| {}) }
        .unwrap();
    reactor.add_hook(|| None, || {}).unwrap();
    reactor.call_at(tomorrow, || {}).unwrap();
    reactor.call_later(day, || {}).unwrap();
    reactor.call_every(day, || {}).unwrap();
    reactor.add_timer(|| {}).unwrap();
    let by_the_system = SystemTime::now() + day;
    reactor.call_at_system_time(by_the_system, || {}).unwrap();
    expect_from_here(&reactor, 3, 5);
}

#[cfg(feature = "signal")]
#[test]
fn signals_and_children_tell_where_too() {
    let reactor = Reactor::new().unwrap();
    reactor.add_signal(libc::SIGUSR1, |_| {}).unwrap();
    let child = std::process::Command::new("true").spawn().unwrap();
    reactor.add_child(child, drop).unwrap();
    expect_from_here(&reactor, 2, 0);
}

/// Also by an async function, whoever polls it.
#[test]
fn what_futures_wait_for_tells_where_too() {
    let reactor = Reactor::new().unwrap();
    let path = std::env::temp_dir().join(format!("oneloop-seeing-{}", std::process::id()));
    let paths = ["stream", "datagram"].map(|name| path.with_extension(name));
    let (source, _readiness) = VirtualSource::pair();
    let localhost = ([127, 0, 0, 1], 0);
    let _sources = [
        Async::new(&reactor, source.clone()).unwrap(),
        Async::new_nonblocking(&reactor, source).unwrap(),
    ];
    let _udp = Async::<UdpSocket>::bind(&reactor, localhost).unwrap();
    let _datagrams = [
        Async::<UnixDatagram>::bind(&reactor, &paths[1]).unwrap(),
        Async::<UnixDatagram>::unbound(&reactor).unwrap(),
    ];
    let _datagram_pair = Async::<UnixDatagram>::pair(&reactor).unwrap();
    let _stream_pair = Async::<UnixStream>::pair(&reactor).unwrap();
    let tcp = Async::<TcpListener>::bind(&reactor, localhost).unwrap();
    let unix = Async::<UnixListener>::bind(&reactor, &paths[0]).unwrap();
    let address = tcp.get_ref().local_addr().unwrap();

    let day = Duration::from_secs(86_400);
    let tomorrow = reactor.now() + day;
    let mut timers = [
        Timer::at(&reactor, tomorrow),
        Timer::after(&reactor, day),
        Timer::interval(&reactor, day),
        Timer::interval_at(&reactor, tomorrow, day),
    ];
    let work = async {
        let by_tcp = [(); 2].map(|()| Async::<TcpStream>::connect(&reactor, address));
        let by_path = [(); 2].map(|()| Async::<UnixStream>::connect(&reactor, &paths[0]));
        let [one, two] = by_tcp;
        let [three, four] = by_path;
        let connected = (one.await, two.await, three.await, four.await);
        let accepted = (tcp.accept().await, unix.accept().await);
        let incoming = (tcp.incoming().next().await, unix.incoming().next().await);
        for timer in &mut timers {
            assert!(poll_once(timer).await.is_none());
        }
        (connected, accepted, incoming)
    };
    let _streams = reactor.block_on(work).unwrap();
    for path in paths {
        std::fs::remove_file(path).unwrap();
    }
    expect_from_here(&reactor, 11 + 8, 4);
}

#[test]
fn a_slow_callback_is_reported_with_file_and_line() {
    let (sender, reports) = channel();
    let reactor = Reactor::builder()
        .slow_callback(20 * MS, move |slow| {
            sender
                .send((slow.kind, slow.to_string(), slow.took))
                .unwrap()
        })
        .build()
        .unwrap();
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    // Sleeping is what these are for.
    let slow = || thread::sleep(25 * MS);
    reactor
        .add_handler(source, Interest::READABLE, Mode::Oneshot, move |_, _| {
            slow()
        })
        .unwrap();
    reactor.call_later(Duration::ZERO, slow).unwrap();
    reactor.call_soon(slow).unwrap();
    let line = line!() - 1;
    reactor.call_soon(|| {}).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();

    let reports: Vec<_> = reports.try_iter().collect();
    let kinds: Vec<_> = reports.iter().map(|(kind, ..)| *kind).collect();
    let all = [
        CallbackKind::Handler,
        CallbackKind::Timer,
        CallbackKind::Post,
    ];
    assert_eq!(kinds, all, "and not the quick one");
    assert!(reports.iter().all(|(.., took)| *took >= 25 * MS));
    let text = &reports[2].1;
    assert!(
        text.starts_with(&format!("the callback posted at tests/seeing.rs:{line}:")),
        "{text}"
    );
    assert!(text.contains("held the loop for"), "{text}");
    let longest = reactor.stats().longest_callback.unwrap();
    assert_eq!(
        longest.took,
        reports.iter().map(|(.., took)| *took).max().unwrap()
    );
}

#[test]
fn the_longest_callback_is_known_whatever_the_threshold_and_hooks_count() {
    let builder = Reactor::builder();
    let never = |slow: &SlowCallback| panic!("{slow}");
    let reactor = builder.slow_callback(Duration::MAX, never).build().unwrap();
    let line = line!() + 2;
    let slow = || thread::sleep(60 * MS);
    reactor.add_hook(|| None, slow).unwrap();
    reactor.call_soon(|| {}).unwrap(); // after it
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let longest = reactor.stats().longest_callback.unwrap();
    assert_eq!(longest.kind, CallbackKind::Hook);
    assert_eq!(
        (longest.location.file(), longest.location.line()),
        (file!(), line)
    );
    assert!(longest.took >= 60 * MS);
}

#[test]
fn a_loop_says_whether_it_is_driven() {
    let reactor = Reactor::new().unwrap();
    assert!(!reactor.is_driven());
    let (sender, inside) = channel();
    let weak = reactor.downgrade();
    reactor
        .call_soon(move || sender.send(weak.upgrade().unwrap().is_driven()).unwrap())
        .unwrap();
    reactor.run().unwrap();
    assert!(inside.recv().unwrap());
    assert!(!reactor.is_driven());
    let host = reactor.host("a host").unwrap();
    assert!(reactor.is_driven(), "asleep or not");
    drop(host);
    assert!(!reactor.is_driven());
}

/// The panic reaches whoever drives. It is not the callback's fault, which stays.
#[test]
fn a_report_that_panics_removes_nobody() {
    let builder = Reactor::builder().slow_callback(MS, |slow| panic!("reported: {slow}"));
    let reactor = builder.build().unwrap();
    let (sender, called) = channel();
    let slow = || {
        let sender = sender.clone();
        move || {
            sender.send(()).unwrap();
            thread::sleep(2 * MS);
        }
    };
    let each_turn_panics = |what: &str| {
        for _ in 0..3 {
            let turn = || reactor.turn(Some(Duration::ZERO)).unwrap();
            catch_unwind(AssertUnwindSafe(turn)).unwrap_err();
        }
        assert_eq!(called.try_iter().count(), 3, "{what}");
    };
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    let handle = slow();
    let handle = move |_: &mut VirtualSource, _| handle();
    let handler = reactor.add_handler(source, Interest::READABLE, Mode::Level, handle);
    each_turn_panics("a handler");
    reactor.remove_handler(handler.unwrap()).unwrap();

    let timer = reactor.call_every(Duration::ZERO, slow());
    each_turn_panics("a timer");
    reactor.cancel_timer(timer.unwrap()).unwrap();

    (0..3).for_each(|_| reactor.call_soon(slow()).unwrap());
    each_turn_panics("posts");

    let hook = reactor.add_hook(|| None, slow());
    each_turn_panics("a hook");
    reactor.remove_hook(hook.unwrap()).unwrap();
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 0);
}

/// It is for when the loop is in trouble, and must not be the trouble.
#[test]
fn a_dump_of_many_timers_does_not_stop_the_loop() {
    const MANY: usize = 50_000;
    let reactor = Reactor::new().unwrap();
    for _ in 0..MANY {
        let hour = Duration::from_secs(3600);
        reactor.call_later(hour, || {}).unwrap();
    }
    let other = reactor.clone();
    let dumping = thread::spawn(move || {
        let start = Instant::now();
        (other.dump().lines().count(), start.elapsed())
    });
    // What has to wait for the lock.
    let mut longest = Duration::ZERO;
    while !dumping.is_finished() {
        let start = Instant::now();
        reactor.next_deadline();
        longest = longest.max(start.elapsed());
    }
    let (lines, took) = dumping.join().unwrap();
    assert!(lines > MANY);
    assert!(longest < took / 2, "{longest:?} of {took:?}");
}
