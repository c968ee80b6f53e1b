//! Seeing inside: statistics, the dump, slow callbacks.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use oneloop::{CallbackKind, Interest, Mode, Reactor, Ready, VirtualSource};

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
