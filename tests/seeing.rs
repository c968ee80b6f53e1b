//! Seeing inside: statistics, the dump, slow callbacks.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use oneloop::futures::{Async, Timer};
use oneloop::{
    Action, CallbackKind, CallbackRun, ErrorKind, FileKind, Guest, Id, Interest, LoopEvent, Mode,
    Priority, Reactor, ReadinessBy, Ready, TestClock, VirtualSource, Watched,
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_snapshot_says_until_when_a_handler_is_held() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let added = reactor.add_handler(a, Interest::READABLE, Mode::Level, |_, _| {});
    let id = added.unwrap();
    let limit = || reactor.snapshot().unwrap().handlers[0].limit;
    assert_eq!(limit(), None);
    let per = Duration::from_secs(1000);
    reactor.limit_rate(id, 1, per).unwrap();
    let before = limit().unwrap();
    assert_eq!(
        (before.calls, before.per, before.held_until),
        (1, per, None)
    );
    b.write_all(b"x").unwrap();
    for _ in 0..2 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(limit().unwrap().held_until, Some(clock.now() + per));
}

#[test]
fn a_snapshot_says_which_handlers_have_lost_their_file_to_others() {
    let reactor = Reactor::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let (c, _d) = UnixStream::pair().unwrap();
    let number = a.as_raw_fd();
    // SAFETY: the number stays open until the reactor is gone.
    let add = || unsafe {
        let added = reactor.add_raw_handler(number, Interest::READABLE, Mode::Level, |_| {});
        added.unwrap()
    };
    let before = add();
    let mut a = OwnedFd::from(a);
    rustix::io::dup2(&c, &mut a).unwrap();
    let after = add();
    let snapshot = reactor.snapshot().unwrap();
    let closed = |id| {
        snapshot
            .handlers
            .iter()
            .find(|handler| handler.id == id)
            .unwrap()
            .is_closed
    };
    assert!(closed(before) && !closed(after));
}

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

    // None of these is saved. A move is one change, for which the kernel is told of two.
    let (other, _end) = UnixStream::pair().unwrap();
    // SAFETY: it is open until the end of the test.
    unsafe { reactor.move_handler(ids[0], other.as_raw_fd()) }.unwrap();
    let stats = reactor.stats();
    assert_eq!((stats.kernel_changes, stats.kernel_changes_saved), (6, 9));
    reactor.rearm_handler(ids[0]).unwrap();
    for id in ids {
        reactor.remove_handler(id).unwrap();
    }
    let stats = reactor.stats();
    assert_eq!((stats.kernel_changes, stats.kernel_changes_saved), (11, 9));
    assert_eq!(stats.handlers, 0);
    assert_eq!(stats.level_handlers + stats.edge_handlers, 0);
}

#[test]
fn calls_are_counted() {
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
    reactor.set_referenced(paused, false).unwrap();
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
    has(&["no driver"]);
    has(&[
        &format!("descriptor {fd} (Unix socket),"),
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
        "unreferenced",
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
fn registrations_have_a_location() {
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

/// Also by an async function, on any executor.
#[test]
fn waits_of_futures_have_a_location() {
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
    let reactor = Reactor::new().unwrap();
    let report = move |run: &CallbackRun| {
        sender.send((run.kind, run.to_string(), run.took)).unwrap();
    };
    reactor.observe_callbacks(20 * MS, report).unwrap();
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
    let reactor = Reactor::new().unwrap();
    let never = |run: &CallbackRun| panic!("{run}");
    reactor.observe_callbacks(Duration::MAX, never).unwrap();
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
fn observers_come_and_go_and_are_told_of_every_call() {
    let reactor = Reactor::new().unwrap();
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    let level = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {});
    let handler = level.unwrap();
    let timer = reactor.call_every(Duration::ZERO, || {}).unwrap();
    let hook = reactor.add_hook(|| None, || {}).unwrap();
    reactor.set_name(handler, "reader").unwrap();
    reactor.set_name(timer, String::from("ticker")).unwrap();
    reactor.set_name(hook, "around the sleep").unwrap();

    let began = Instant::now();
    let observe = |threshold| {
        let (sender, runs) = channel();
        let report = move |run: &CallbackRun| sender.send(run.clone()).unwrap();
        (reactor.observe_callbacks(threshold, report).unwrap(), runs)
    };
    let (all, runs) = observe(Duration::ZERO);
    let (_, long_runs) = observe(Duration::from_secs(3600));
    let post = reactor.call_soon(|| {}).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();

    let runs_so_far: Vec<_> = runs.try_iter().collect();
    let told = runs_so_far
        .iter()
        .map(|run| (run.kind, run.id, run.name.as_deref()));
    let hook = (CallbackKind::Hook, hook.into(), Some("around the sleep"));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            hook,
            hook,
            (CallbackKind::Handler, handler.into(), Some("reader")),
            (CallbackKind::Timer, timer.into(), Some("ticker")),
            (CallbackKind::Post, post.into(), None),
            hook,
        ]
    );
    for (run, next) in runs_so_far.iter().zip(&runs_so_far[1..]) {
        assert!(began <= run.started && run.started + run.took <= next.started);
    }
    let text = runs_so_far[2].to_string();
    let expected = "the handler \"reader\" added at tests/seeing.rs:";
    assert!(text.starts_with(expected), "{text}");

    reactor.remove_observer(all).unwrap();
    let error = reactor.remove_observer(all).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownId);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(runs.try_iter().count(), 0);
    assert_eq!(long_runs.try_iter().count(), 0);
}

/// With no lock held: it may use the loop, and remove itself.
#[test]
fn an_observer_may_use_the_loop() {
    let reactor = Reactor::new_local().unwrap();
    let id = Rc::new(Cell::new(None));
    let (weak, own, calls) = (reactor.downgrade(), id.clone(), Rc::new(Cell::new(0)));
    let counted = calls.clone();
    let report = move |run: &CallbackRun| {
        let reactor = weak.upgrade().unwrap();
        counted.set(counted.get() + 1);
        if let Id::Handler(handler) = run.id {
            reactor.remove_handler(handler).unwrap();
            reactor.remove_observer(own.get().unwrap()).unwrap();
        }
    };
    id.set(Some(
        reactor.observe_callbacks(Duration::ZERO, report).unwrap(),
    ));
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    let add = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {
        Action::Again
    });
    add.unwrap();
    reactor.call_soon(|| {}).unwrap();
    reactor.run().unwrap();
    assert_eq!(calls.get(), 1);
    assert_eq!(Rc::strong_count(&calls), 1, "it was dropped");
}

#[test]
fn the_last_call_of_a_handler_and_of_a_timer_is_observed() {
    let reactor = Reactor::new().unwrap();
    let (sender, kinds) = channel();
    let report = move |run: &CallbackRun| sender.send(run.kind).unwrap();
    reactor.observe_callbacks(Duration::ZERO, report).unwrap();
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    let remove = |_: &mut VirtualSource, _| Action::Remove;
    let added = reactor.add_handler(source, Interest::READABLE, Mode::Level, remove);
    added.unwrap();
    reactor.call_every(MS, || Action::Remove).unwrap();
    reactor.run().unwrap();
    let kinds: Vec<CallbackKind> = kinds.try_iter().collect();
    assert_eq!(kinds, [CallbackKind::Handler, CallbackKind::Timer]);
}

#[test]
fn the_last_call_of_a_hook_that_removes_itself_is_observed() {
    let reactor = Reactor::new_local().unwrap();
    let id = Rc::new(Cell::new(None));
    let (weak, own) = (reactor.downgrade(), id.clone());
    let check = move || {
        let reactor = weak.upgrade().unwrap();
        reactor.remove_hook(own.get().unwrap()).unwrap();
    };
    let hook = reactor.add_hook(|| None, check).unwrap();
    id.set(Some(hook));
    let (sender, runs) = channel();
    let report = move |run: &CallbackRun| sender.send(run.id).unwrap();
    reactor.observe_callbacks(Duration::ZERO, report).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let runs: Vec<Id> = runs.try_iter().collect();
    assert_eq!(runs, [hook.into(); 2], "prepare and check");
}

#[test]
fn a_closed_loop_drops_its_observers_and_takes_no_other() {
    let reactor = Reactor::new_local().unwrap();
    let held = Rc::new(());
    let observer = held.clone();
    let report = move |_: &CallbackRun| drop(observer.clone());
    reactor.observe_callbacks(Duration::ZERO, report).unwrap();
    reactor.close();
    assert_eq!(Rc::strong_count(&held), 1);
    let error = reactor.observe_callbacks(MS, |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn a_snapshot_shows_the_turns_and_the_deadline_of_a_guest() {
    struct Ticks;
    impl Guest for Ticks {
        fn prepare(&mut self, _: &mut Watched) -> Option<Duration> {
            Some(MS)
        }
        fn turn(&mut self, _: &Watched) {}
    }
    let reactor = Reactor::new().unwrap();
    reactor.add_hook(|| None, || {}).unwrap();
    reactor.add_guest("ticks", Ticks).unwrap();
    let guest = || reactor.snapshot().unwrap().hooks[1].guest.unwrap();
    let mut turns = 0;
    while turns < 3 {
        let before = reactor.now();
        reactor.turn(None).unwrap();
        turns = guest().turns;
        assert!(guest().deadline.unwrap() > before);
    }
    assert_eq!(reactor.snapshot().unwrap().hooks[0].guest, None);
    let dump = reactor.dump();
    assert!(dump.contains("guest \"ticks\", 3 turns, "), "{dump}");
}

#[test]
fn a_name_goes_with_what_it_names() {
    let reactor = Reactor::new().unwrap();
    let hour = Duration::from_secs(3600);
    for _ in 0..2 {
        // The second is in the place of the first.
        let (source, _readiness) = VirtualSource::pair();
        let add = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {});
        let handler = add.unwrap();
        let timer = reactor.call_later(hour, || {}).unwrap();
        let hook = reactor.add_hook(|| None, || {}).unwrap();
        let ids: [Id; 3] = [handler.into(), timer.into(), hook.into()];
        let named = |reactor: &Reactor| reactor.dump().matches("a name").count();
        assert_eq!(named(&reactor), 0);
        for id in ids {
            reactor.set_name(id, "another").unwrap();
            reactor.set_name(id, "a name").unwrap();
        }
        assert_eq!(named(&reactor), 3, "{}", reactor.dump());
        assert!(!reactor.dump().contains("another"));
        // A reset and a system time change nothing about it.
        let time = SystemTime::now() + hour;
        reactor.reset_timer_to_system_time(timer, time).unwrap();
        reactor.reset_timer_after(timer, hour).unwrap();
        assert_eq!(named(&reactor), 3, "{}", reactor.dump());
        reactor.remove_handler(handler).unwrap();
        reactor.cancel_timer(timer).unwrap();
        reactor.remove_hook(hook).unwrap();
        for id in ids {
            let error = reactor.set_name(id, "a name").unwrap_err();
            assert_eq!(
                (error.kind(), error.call()),
                (ErrorKind::UnknownId, "set_name")
            );
        }
    }
}

/// The panic reaches the driver. The callback is not at fault, and stays.
#[test]
fn a_report_that_panics_removes_no_callback() {
    let reactor = Reactor::new().unwrap();
    let report = |run: &CallbackRun| panic!("reported: {run}");
    reactor.observe_callbacks(MS, report).unwrap();
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

    for _ in 0..3 {
        reactor.call_soon(slow()).unwrap();
    }
    each_turn_panics("posts");

    let hook = reactor.add_hook(|| None, slow());
    each_turn_panics("a hook");
    reactor.remove_hook(hook.unwrap()).unwrap();
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 0);
}

#[test]
fn a_snapshot_has_all_that_is_registered() {
    let reactor = Reactor::new().unwrap();
    assert!(!reactor.snapshot().unwrap().is_alive && !reactor.is_alive());
    let (source, readiness) = VirtualSource::pair();
    let on = source.clone();
    let handler = reactor.add_handler(on, Interest::READABLE, Mode::Oneshot, |_, _| {});
    let handler_line = line!() - 1;
    let handler = handler.unwrap();
    let paused = reactor.add_handler(source, Interest::NONE, Mode::Edge, |_, _| {});
    let paused = paused.unwrap();
    let day = Duration::from_secs(86_400);
    let deadline = reactor.now() + day;
    let once = reactor.call_at(deadline, || {}).unwrap();
    let every = reactor.call_every(Duration::ZERO, || {}).unwrap();
    let system_time = SystemTime::now() + day;
    let system = reactor.call_at_system_time(system_time, || {}).unwrap();
    let never = reactor.call_later(Duration::MAX, || {}).unwrap();
    let hooks = [(); 2].map(|()| reactor.add_hook(|| None, || {}).unwrap());
    reactor.set_name(handler, "reader").unwrap();
    reactor.set_name(every, "ticker").unwrap();
    reactor.set_referenced(every, false).unwrap();

    // The first turn is not observed.
    readiness.set(Ready::READABLE);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.update_handler(handler, Interest::READABLE).unwrap();
    let began = Instant::now();
    reactor.observe_callbacks(Duration::MAX, |_| {}).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    for priority in [Priority::Idle, Priority::Normal, Priority::High] {
        reactor.call_soon_with(priority, || {}).unwrap();
    }
    let snapshot = reactor.snapshot().unwrap();

    assert!(snapshot.is_alive && snapshot.driver.is_none() && snapshot.stats.turns == 2);
    let ids: Vec<_> = snapshot.handlers.iter().map(|one| one.id).collect();
    assert_eq!(ids, [handler, paused]);
    let one = &snapshot.handlers[0];
    assert_eq!(
        (one.name.as_deref(), one.fd, one.file()),
        (Some("reader"), None, None)
    );
    assert_eq!(
        (one.interest, one.mode),
        (Interest::READABLE, Mode::Oneshot)
    );
    assert_eq!(
        (one.readiness, one.ready),
        (ReadinessBy::SetReadiness, Some(Ready::READABLE))
    );
    assert!(!one.is_armed && one.is_referenced && !one.keeps_alive && !one.is_closed);
    assert_eq!(
        (one.location.line(), one.location.file()),
        (handler_line, file!())
    );
    assert_eq!(one.calls, 2);
    let last = one.last_called.unwrap();
    assert!(began <= last && last + one.time_spent <= Instant::now());
    let one = &snapshot.handlers[1];
    assert_eq!(
        (one.interest, one.calls, one.name.as_deref()),
        (Interest::NONE, 0, None)
    );
    assert!(!one.keeps_alive && one.is_armed && one.last_called.is_none());

    let timer = |id| snapshot.timers.iter().find(|timer| timer.id == id).unwrap();
    assert_eq!(snapshot.timers.len(), 4);
    assert_eq!(
        (timer(once).deadline, timer(once).period),
        (Some(deadline), None)
    );
    assert!(timer(once).keeps_alive && timer(once).is_referenced);
    let one = timer(every);
    assert_eq!(
        (one.name.as_deref(), one.period),
        (Some("ticker"), Some(Duration::ZERO))
    );
    assert_eq!(one.calls, 2);
    assert!(one.last_called.is_some_and(|last| began <= last));
    assert!(!one.is_referenced && !one.keeps_alive);
    assert_eq!(timer(system).system_time, Some(system_time));
    assert_eq!(
        (timer(never).deadline, timer(never).keeps_alive),
        (None, false)
    );

    let ids: Vec<_> = snapshot.hooks.iter().map(|hook| hook.id).collect();
    assert_eq!(ids, hooks);
    assert!(snapshot.hooks[0].calls >= 4 && snapshot.hooks[0].last_called.is_some());
    let priorities: Vec<_> = snapshot.posts.iter().map(|post| post.priority).collect();
    assert_eq!(
        priorities,
        [Priority::High, Priority::Normal, Priority::Idle]
    );
    assert!(
        snapshot
            .posts
            .iter()
            .all(|post| post.location.file() == file!())
    );
    assert_eq!(
        (snapshot.stats.pending_posts, snapshot.stats.pending_timers),
        (3, 4)
    );
    assert_eq!(snapshot.to_string().lines().count(), 1 + 3 + 5 + 3 + 4);
}

#[test]
fn a_snapshot_names_the_driver() {
    let reactor = Reactor::new().unwrap();
    let seen = |reactor: &Reactor| {
        let driver = reactor.snapshot().unwrap().driver;
        driver.map(|driver| (driver.name, driver.is_host, driver.is_driving))
    };
    let seen_inside = || {
        let (sender, inside) = channel();
        let weak = reactor.downgrade();
        let look = move || sender.send(seen(&weak.upgrade().unwrap())).unwrap();
        reactor.call_soon(look).unwrap();
        inside
    };
    assert_eq!(seen(&reactor), None);
    let inside = seen_inside();
    reactor.run().unwrap();
    assert_eq!(inside.recv().unwrap(), Some(("run", false, true)));
    let mut host = reactor.host("a host").unwrap();
    assert_eq!(seen(&reactor), Some(("a host", true, false)));
    let inside = seen_inside();
    let _ = host.step(10).unwrap();
    assert_eq!(inside.recv().unwrap(), Some(("a host", true, true)));
}

/// The files behind all kinds of descriptors.
#[test]
fn a_snapshot_says_what_a_descriptor_is() {
    let reactor = Reactor::new().unwrap();
    let add = |fd: OwnedFd| {
        let added = reactor.add_handler(fd, Interest::READABLE, Mode::Level, |_, _| {});
        added.unwrap()
    };
    let file = |id| {
        let snapshot = reactor.snapshot().unwrap();
        let handler = snapshot.handlers.into_iter().find(|one| one.id == id);
        let file = handler.unwrap().file().unwrap();
        (file.to_string(), file)
    };
    let path = std::env::temp_dir().join(format!("oneloop-files-{}", std::process::id()));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let own = client.local_addr().unwrap();
    let (text, kind) = file(add(client.into()));
    let (local, peer) = (Some(own), Some(address));
    let is_listening = false;
    assert_eq!(
        kind,
        FileKind::Tcp {
            local,
            peer,
            is_listening
        }
    );
    assert_eq!(text, format!("TCP {own} to {address}"));
    assert_eq!(
        file(add(listener.into())).0,
        format!("TCP listener {address}")
    );

    let udp = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0"));
    let udp = udp.unwrap();
    let address = udp.local_addr().unwrap();
    assert_eq!(file(add(udp.into())).0, format!("UDP {address}"));

    let unix = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let shown = path.display();
    assert_eq!(
        file(add(client.into())).0,
        format!("Unix socket to {shown}")
    );
    assert_eq!(file(add(unix.into())).0, format!("Unix listener {shown}"));
    std::fs::remove_file(&path).unwrap();

    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(file(add(reader.into())).1, FileKind::Pipe);
    #[cfg(target_os = "linux")]
    {
        use rustix::event::{EventfdFlags, eventfd};
        use std::os::linux::net::SocketAddrExt;
        let regular = std::fs::File::create(&path).unwrap();
        assert_eq!(
            file(add(regular.into())).1,
            FileKind::File(Some(path.clone()))
        );
        std::fs::remove_file(&path).unwrap();
        let directory = std::fs::File::open("/usr").unwrap();
        assert_eq!(file(add(directory.into())).0, "directory /usr");
        let device = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(file(add(device.into())).0, "device /dev/zero");
        let eventfd = eventfd(0, EventfdFlags::empty()).unwrap();
        assert_eq!(file(add(eventfd)).0, "eventfd");
        let name = format!("oneloop-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let named = UnixListener::bind_addr(&address).unwrap();
        assert_eq!(file(add(named.into())).0, format!("Unix listener @{name}"));
    }
}

#[cfg(feature = "signal")]
#[test]
fn signals_and_children_appear_by_name() {
    let reactor = Reactor::new().unwrap();
    reactor.add_signal(libc::SIGUSR2, |_| {}).unwrap();
    let child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    reactor.add_child(child, drop).unwrap();
    let snapshot = reactor.snapshot().unwrap();
    let events: Vec<_> = snapshot.handlers.iter().map(|one| one.event).collect();
    let (signal, exit) = (LoopEvent::Signal(libc::SIGUSR2), LoopEvent::ChildExit(pid));
    assert_eq!(events, [Some(signal), Some(exit)]);
    let text = snapshot.to_string();
    assert!(text.contains("\n  SIGUSR2, Level"), "{text}");
    assert!(
        text.contains(&format!("\n  end of process {pid}, ")),
        "{text}"
    );
    #[cfg(target_os = "linux")]
    {
        reactor.add_signal(libc::SIGRTMIN() + 3, |_| {}).unwrap();
        assert!(reactor.dump().contains("\n  SIGRTMIN+3, "));
    }
}

/// A snapshot goes through many of them in portions, and each appears once.
#[test]
fn a_snapshot_of_many_has_each_once() {
    let reactor = Reactor::new().unwrap();
    let (source, _readiness) = VirtualSource::pair();
    let mut handlers = Vec::new();
    let mut timers = Vec::new();
    for _ in 0..1000 {
        let source = source.clone();
        let add = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {});
        handlers.push(add.unwrap());
        timers.push(reactor.call_later(Duration::from_secs(99), || {}).unwrap());
        reactor.call_soon(|| {}).unwrap();
    }
    let snapshot = reactor.snapshot().unwrap();
    let ids: Vec<_> = snapshot.handlers.iter().map(|one| one.id).collect();
    assert_eq!(ids, handlers);
    let ids: Vec<_> = snapshot.timers.iter().map(|one| one.id).collect();
    assert_eq!(ids, timers);
    assert_eq!(snapshot.posts.len(), 1000);
}

/// Also those that a turn has taken up, which only the driver has.
#[test]
fn posts_that_wait_are_counted_and_cancelled_ones_are_not() {
    let reactor = Reactor::new_local().unwrap();
    let counts = Rc::new(RefCell::new(Vec::new()));
    let mut ids = Vec::new();
    for _ in 0..4 {
        let (seen, weak) = (counts.clone(), reactor.downgrade());
        let look = move || {
            let reactor = weak.upgrade().unwrap();
            seen.borrow_mut().push(reactor.stats().pending_posts);
        };
        ids.push(reactor.call_soon(look).unwrap());
        reactor.call_soon_with(Priority::Idle, || {}).unwrap();
    }
    assert_eq!(reactor.stats().pending_posts, 8);
    reactor.cancel_post(ids[2]).unwrap();
    assert_eq!(reactor.stats().pending_posts, 7);
    let posts = reactor.snapshot().unwrap().posts;
    let listed: Vec<_> = posts.iter().map(|post| post.id).collect();
    assert_eq!(listed[..3], [ids[0], ids[1], ids[3]]);
    assert_eq!(listed.len(), 7);
    assert!(reactor.set_name(ids[0], "a post").is_err());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*counts.borrow(), [6, 5, 4]);
    reactor.run().unwrap();
    assert_eq!(
        (reactor.stats().pending_posts, reactor.is_alive()),
        (0, false)
    );
    assert_eq!(reactor.stats().post_calls, 7);
}

#[test]
fn a_loop_says_whether_anything_is_left() {
    let reactor = Reactor::new().unwrap();
    assert!(!reactor.is_alive());
    let timer = reactor.call_later(Duration::from_secs(99), || {}).unwrap();
    assert!(reactor.is_alive());
    reactor.set_referenced(timer, false).unwrap();
    assert!(!reactor.is_alive());
    let (source, _readiness) = VirtualSource::pair();
    let add = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {});
    let handler = add.unwrap();
    assert!(reactor.is_alive());
    reactor.update_handler(handler, Interest::NONE).unwrap();
    reactor.add_hook(|| None, || {}).unwrap();
    assert!(!reactor.is_alive());
    // An idle post that a turn has taken up, and not called yet.
    for _ in 0..2 {
        reactor.call_soon_with(Priority::Idle, || {}).unwrap();
    }
    assert!(reactor.is_alive());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(reactor.is_alive());
    reactor.run().unwrap();
    assert!(!reactor.is_alive());
    reactor.close();
    assert!(!reactor.is_alive());
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
    // The longest time that a call has to wait for the lock.
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
