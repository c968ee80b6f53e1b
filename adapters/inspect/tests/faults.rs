//! Five faults of programs, and what the page's JSON shows for each. docs/debugging.md goes through them.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{beside, get};
use oneloop::{Interest, Mode, Reactor};
use oneloop_support::{built_in, pair, readable};
use serde_json::Value;

const MS: Duration = Duration::from_millis(1);

/// A handler by its name in each of two snapshots, between which the loop takes some turns. Returns its calls in each
/// of these turns, and the handler.
fn calls_per_turn(address: SocketAddr, name: &str) -> (f64, Value) {
    let look = || {
        let snapshot = get(address, "/snapshot").json();
        let handlers = snapshot["handlers"].as_array().unwrap();
        let found = handlers.iter().find(|handler| handler["name"] == name);
        let turns = snapshot["stats"]["turns"].as_f64().unwrap();
        (turns, found.unwrap().clone())
    };
    let (from, before) = look();
    let (mut to, mut after) = look();
    while to < from + 100.0 {
        (to, after) = look();
    }
    let calls = |handler: &Value| handler["calls"].as_f64().unwrap();
    ((calls(&after) - calls(&before)) / (to - from), after)
}

#[test]
fn a_level_handler_that_never_drains_is_called_in_every_turn() {
    let reactor = Reactor::new().unwrap();
    let (socket, _peer) = readable();
    // It should read.
    let id = reactor
        .add_handler(socket, Interest::READABLE, Mode::Level, |_, _| {})
        .unwrap();
    reactor.set_name(id, "never reads").unwrap();
    beside("never drains", built_in, &reactor, |address| {
        let (calls, handler) = calls_per_turn(address, "never reads");
        assert!(calls > 0.9, "{calls}");
        assert_eq!(
            (&handler["interest"], &handler["mode"]),
            (&"read".into(), &"level".into())
        );
        assert!(handler["location"].as_str().unwrap().contains("faults.rs:"));
    });
}

#[test]
fn a_forgotten_pause_on_a_writable_socket_shows_as_an_interest_in_writing() {
    let reactor = Reactor::new().unwrap();
    let (socket, _peer) = pair();
    // Everything is written, so it should wait for input only.
    let interest = Interest::READABLE | Interest::WRITABLE;
    let id = reactor
        .add_handler(socket, interest, Mode::Level, |_, _| {})
        .unwrap();
    reactor.set_name(id, "has nothing to write").unwrap();
    beside("forgotten pause", built_in, &reactor, |address| {
        let (calls, handler) = calls_per_turn(address, "has nothing to write");
        assert!(calls > 0.9, "{calls}");
        assert_eq!(handler["interest"], "read, write");
        assert_eq!(handler["is_paused"], false);
    });
}

#[test]
fn a_blocking_callback_is_the_longest_and_a_long_bar() {
    let reactor = Reactor::new().unwrap();
    let timer = reactor
        .call_every(50 * MS, || thread::sleep(20 * MS))
        .unwrap();
    reactor.set_name(timer, "asks a database").unwrap();
    beside("blocking", built_in, &reactor, |address| {
        let mut cursor = 0;
        let blocked = |event: &&Value| {
            event["name"] == "asks a database" && event["dur"].as_f64().unwrap() > 20_000.0
        };
        let bar = loop {
            let timeline = get(address, &format!("/timeline?since={cursor}")).json();
            cursor = timeline["cursor"].as_u64().unwrap();
            if let Some(bar) = common::timeline(&timeline).iter().find(blocked) {
                break bar.clone();
            }
        };
        assert_eq!(bar["cat"], "timer");
        let snapshot = get(address, "/snapshot").json();
        let longest = &snapshot["longest"][0];
        assert_eq!(longest["name"], "asks a database");
        assert!(longest["dur"].as_f64().unwrap() > 20_000.0);
        let place = longest["args"]["location"].as_str().unwrap();
        assert!(place.contains("faults.rs:"), "{place}");
        assert!(snapshot["timers"][0]["time_spent"].as_f64().unwrap() > 20_000.0);
    });
}

#[test]
fn leaked_handlers_are_many_from_one_place_that_are_not_called() {
    let reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let accept = |listener: &mut TcpListener, _| {
        let (stream, _) = listener.accept().unwrap();
        let reactor = Reactor::current().unwrap();
        let ended = move |_: &mut TcpStream, event: oneloop::Event| {
            // It should remove itself.
            let reactor = Reactor::current().unwrap();
            reactor.update_handler(event.handler(), Interest::NONE)
        };
        reactor
            .add_handler(stream, Interest::READABLE, Mode::Level, ended)
            .unwrap();
    };
    reactor
        .add_handler(listener, Interest::READABLE, Mode::Level, accept)
        .unwrap();
    beside("leaked", built_in, &reactor, move |address| {
        let leaked = || {
            let snapshot = get(address, "/snapshot").json();
            let handlers = snapshot["handlers"].as_array().unwrap().iter();
            let paused = handlers.filter(|handler| handler["is_paused"] == true);
            let own = paused.filter(|handler| handler["is_own"] == false);
            own.cloned().collect::<Vec<_>>()
        };
        for clients in [10, 20] {
            for _ in 0..10 {
                drop(TcpStream::connect(server).unwrap());
            }
            let mut all = leaked();
            while all.len() < clients {
                all = leaked();
            }
            assert_eq!(all.len(), clients);
            for handler in all {
                assert!(handler["location"].as_str().unwrap().contains("faults.rs:"));
                assert_eq!(handler["calls"], 1);
                let file = handler["file"].as_str().unwrap();
                assert!(file.starts_with(&format!("TCP {server} to ")), "{file}");
            }
        }
    });
}

#[test]
fn a_loop_that_does_not_end_has_something_that_keeps_it_alive() {
    let reactor = Reactor::new().unwrap();
    let (socket, _peer) = pair();
    reactor
        .add_handler(socket, Interest::NONE, Mode::Level, |_, _| {})
        .unwrap();
    let hour = Duration::from_secs(3600);
    let harmless = reactor.call_every(hour, || {}).unwrap();
    reactor.set_referenced(harmless, false).unwrap();
    let forgotten = reactor.call_later(hour, || {}).unwrap();
    reactor.set_name(forgotten, "a forgotten timeout").unwrap();
    let server = oneloop_inspect::serve(&reactor, ([127, 0, 0, 1], 0)).unwrap();
    let address = common::port(&server);
    let (sender, ended) = channel();
    let drives = reactor.clone();
    let driver = thread::spawn(move || {
        let ran = drives.run();
        sender.send(()).unwrap();
        ran
    });
    let snapshot = get(address, "/snapshot").json();
    assert_eq!(snapshot["is_alive"], true);
    let mut keep = Vec::new();
    for list in ["handlers", "timers", "hooks", "posts"] {
        let entries = snapshot[list].as_array().unwrap().iter();
        keep.extend(entries.filter(|entry| entry["keeps_alive"] == true));
    }
    assert_eq!(keep.len(), 1, "{keep:?}");
    assert_eq!(keep[0]["name"], "a forgotten timeout");
    assert!(ended.try_recv().is_err());
    reactor.cancel_timer(forgotten).unwrap();
    driver.join().unwrap().unwrap();
}

#[test]
fn the_page_on_debugging_names_each_of_these_tests() {
    let page = include_str!("../../../docs/debugging.md");
    let tests = include_str!("faults.rs").split("#[test]\nfn ").skip(1);
    let names: Vec<_> = tests.map(|test| test.split('(').next().unwrap()).collect();
    assert_eq!(names.len(), 6);
    for name in &names[..5] {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
