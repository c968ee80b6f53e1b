//! The page, the snapshot, the timeline and traces over plain HTTP, and clients of all kinds.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{fs, thread};

use common::{answer, ask, beside, get, hosts, port, say};
use oneloop::{Guest, Interest, Mode, Priority, Reactor, Remote, TestClock, Watched};
use oneloop_inspect::{Address, Builder, serve};
use oneloop_support::{Watchdog, built_in, pair};
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);

/// The entry with a name in a list of a snapshot.
fn named<'a>(snapshot: &'a Value, list: &str, name: &str) -> &'a Value {
    let entries = snapshot[list].as_array().unwrap();
    let found = entries.iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {entries:#?}"))
}

/// Has a callback called by the loop.
fn call(remote: &Remote) {
    let (sender, called) = channel();
    remote.call_soon(move || sender.send(()).unwrap()).unwrap();
    called.recv().unwrap();
}

#[test]
fn each_host_serves_the_page_and_a_snapshot() {
    for (name, drive) in hosts() {
        let reactor = Reactor::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap();
        let id = reactor
            .add_handler(listener, Interest::READABLE, Mode::Level, |_, _| {})
            .unwrap();
        reactor.set_name(id, "the program's").unwrap();
        let timer = reactor.call_later(3600 * SECOND, || {}).unwrap();
        reactor.set_name(timer, "in an hour").unwrap();
        reactor.set_referenced(timer, false).unwrap();
        beside(name, drive, &reactor, move |address| {
            let page = get(address, "/");
            assert_eq!(page.status, 200);
            assert!(page.text().starts_with("<!doctype html>"));
            let policy = &page.headers["content-security-policy"];
            assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"));

            let answer = get(address, "/snapshot");
            assert_eq!(
                (answer.status, &*answer.headers["cache-control"]),
                (200, "no-store")
            );
            let snapshot = answer.json();
            let driver = snapshot["driver"]["name"].as_str().unwrap();
            let expected = match name {
                "built-in" => "run",
                other => other,
            };
            assert_eq!(driver, expected);
            assert_eq!(snapshot["driver"]["is_host"], name != "built-in");
            assert!(snapshot["stats"]["turns"].as_u64().unwrap() > 0);
            let handler = named(&snapshot, "handlers", "the program's");
            assert_eq!(handler["file"], format!("TCP listener {listens}"));
            assert_eq!(
                (&handler["keeps_alive"], &handler["is_own"]),
                (&true.into(), &false.into())
            );
            assert!(handler["location"].as_str().unwrap().contains("http.rs:"));
            let timer = named(&snapshot, "timers", "in an hour");
            assert_eq!(timer["keeps_alive"], false);
            assert!(timer["due_in"].as_f64().unwrap() > 3.5e9);
            for own in ["listener", "connection"] {
                let own = named(&snapshot, "handlers", &format!("oneloop-inspect {own}"));
                assert_eq!(
                    (&own["keeps_alive"], &own["is_own"]),
                    (&false.into(), &true.into())
                );
            }
        });
    }
}

#[test]
fn a_snapshot_has_guests_signals_children_limits_and_posts() {
    struct Ticks;
    impl Guest for Ticks {
        fn prepare(&mut self, _: &mut Watched) -> Option<Duration> {
            Some(SECOND / 1000)
        }
        fn turn(&mut self, _: &Watched) {}
    }
    let reactor = Reactor::new().unwrap();
    reactor.add_guest("a guest", Ticks).unwrap();
    let signal = rustix::process::Signal::CONT.as_raw();
    reactor.add_signal(signal, |_| {}).unwrap();
    let (socket, _peer) = pair();
    let id = reactor
        .add_handler(socket, Interest::READABLE, Mode::Oneshot, |_, _| {})
        .unwrap();
    reactor.set_name(id, "at most twice").unwrap();
    reactor.limit_rate(id, 2, SECOND).unwrap();
    let weak = reactor.downgrade();
    beside("all kinds", built_in, &reactor, move |address| {
        // A thread may post at any time, and the post may be called before the snapshot is taken.
        let posted = thread::spawn(move || {
            while let Some(reactor) = weak.upgrade() {
                for _ in 0..100 {
                    if reactor.call_soon_with(Priority::Idle, || {}).is_err() {
                        return;
                    }
                }
                let snapshot = get(address, "/snapshot").json();
                if let Some(post) = snapshot["posts"].get(0) {
                    assert_eq!(
                        (&post["priority"], &post["keeps_alive"]),
                        (&"idle".into(), &true.into())
                    );
                    return;
                }
            }
        });
        posted.join().unwrap();
        let mut snapshot = get(address, "/snapshot").json();
        while named(&snapshot, "hooks", "a guest")["guest"]["turns"]
            .as_u64()
            .unwrap()
            < 3
        {
            snapshot = get(address, "/snapshot").json();
        }
        let guest = named(&snapshot, "hooks", "a guest");
        assert!(
            guest["guest"]["due_in"].as_f64().unwrap() <= 1000.0,
            "{guest}"
        );
        assert_eq!(guest["keeps_alive"], true);
        let handlers = snapshot["handlers"].as_array().unwrap();
        let signal = handlers.iter().find(|handler| handler["event"] == "signal");
        assert_eq!(signal.unwrap()["file"], "SIGCONT");
        let limited = named(&snapshot, "handlers", "at most twice");
        assert_eq!(
            (&limited["mode"], &limited["is_armed"]),
            (&"oneshot".into(), &true.into())
        );
        assert_eq!(limited["file"], "Unix socket");
    });
}

#[test]
fn a_large_snapshot_comes_whole() {
    let reactor = Reactor::new().unwrap();
    for _ in 0..1000 {
        reactor.call_later(3600 * SECOND, || {}).unwrap();
    }
    beside("large", built_in, &reactor, |address| {
        let snapshot = get(address, "/snapshot").json();
        // And the server's tick.
        assert_eq!(snapshot["timers"].as_array().unwrap().len(), 1001);
    });
}

#[test]
fn a_timeline_has_each_call_once_and_a_trace_too() {
    for (name, drive) in hosts() {
        let reactor = Reactor::new().unwrap();
        let remote = reactor.remote();
        beside(name, drive, &reactor, move |address| {
            let first = get(address, "/timeline").json();
            assert_eq!(first["records"], serde_json::json!([]));
            let is_ours = |event: &Value| {
                let place = event["args"]["location"].as_str().unwrap_or_default();
                event["cat"] == "post" && place.contains("http.rs")
            };
            let mut cursor = first["cursor"].as_u64().unwrap();
            let mut seen = 0;
            for calls in [3, 0, 5] {
                (0..calls).for_each(|_| call(&remote));
                let next = get(address, &format!("/timeline?since={cursor}")).json();
                assert_eq!(next["lost"], 0);
                cursor = next["cursor"].as_u64().unwrap();
                seen += common::timeline(&next)
                    .iter()
                    .filter(|event| is_ours(event))
                    .count();
            }
            assert_eq!(seen, 8);

            let trace = thread::spawn(move || get(address, "/trace?seconds=1"));
            while !trace.is_finished() {
                call(&remote);
            }
            let trace = trace.join().unwrap();
            assert!(trace.headers["content-disposition"].contains("attachment"));
            let trace = trace.json();
            let events = trace["traceEvents"].as_array().unwrap();
            assert!(events.iter().any(is_ours), "{name}: {trace:#}");
            for event in events {
                let phase = event["ph"].as_str().unwrap();
                assert!(
                    event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string()
                );
                assert!(
                    phase == "M" || phase == "X" && event["ts"].is_f64() && event["dur"].is_f64()
                );
            }
        });
    }
}

#[test]
fn bad_requests_get_errors_and_do_no_harm() {
    let reactor = Reactor::new().unwrap();
    beside("bad requests", built_in, &reactor, |address| {
        let status =
            |method: &str, path: &str, headers: &[&str]| ask(address, method, path, headers).status;
        assert_eq!(status("POST", "/snapshot", &["Content-Length: 0"]), 405);
        assert_eq!(status("DELETE", "/", &[]), 405);
        assert_eq!(status("GET", "/../../etc/passwd", &[]), 404);
        assert_eq!(status("GET", "/timeline?since=never", &[]), 400);
        for seconds in ["0", "61", "-1", "99999999999999999999", "x", ""] {
            assert_eq!(
                status("GET", &format!("/trace?seconds={seconds}"), &[]),
                400
            );
        }
        assert_eq!(status("HEAD", "/snapshot", &[]), 200);
        // A stranger's name that means this machine by now, and a stranger's page.
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "",
            "localhost.evil.example",
        ] {
            assert_eq!(
                status("GET", "/snapshot", &[&format!("Host: {host}")]),
                403,
                "{host}"
            );
        }
        for host in [
            "localhost",
            "localhost:1",
            "LOCALHOST",
            "127.0.0.9:80",
            "[::1]:1",
            "[::1]",
        ] {
            assert_eq!(
                status("GET", "/snapshot", &[&format!("Host: {host}")]),
                200,
                "{host}"
            );
        }
        for (site, expected) in [
            ("cross-site", 403),
            ("same-site", 403),
            ("same-origin", 200),
            ("none", 200),
        ] {
            let header = format!("Sec-Fetch-Site: {site}");
            assert_eq!(status("GET", "/snapshot", &[&header]), expected, "{site}");
        }
        for request in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"rubbish\r\n\r\n",
            &[b"GET /", &[b'a'; 100_000][..], b" HTTP/1.1\r\n"].concat(),
            &[
                b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec(),
                b"A: b\r\n".repeat(10_000),
            ]
            .concat(),
        ] {
            // The server may close the connection before it has read all of it.
            if let Ok(answer) = say(address, request) {
                assert!((400..500).contains(&answer.status), "{}", answer.status);
            }
        }
        let no_host = say(address, b"GET /snapshot HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(no_host.status, 403);
        assert_eq!(get(address, "/snapshot").status, 200);
    });
}

#[test]
fn many_connections_are_bounded_and_a_new_one_is_answered() {
    let reactor = Reactor::new().unwrap();
    beside("many", built_in, &reactor, |address| {
        let idle: Vec<_> = (0..200)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let snapshot = get(address, "/snapshot").json();
        let handlers = snapshot["handlers"].as_array().unwrap();
        let own = handlers
            .iter()
            .filter(|handler| handler["is_own"] == true)
            .count();
        assert!(own <= 33, "{own}");
        // The first of them was closed.
        assert_eq!((&idle[0]).read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_client_that_is_slow_is_sent_away_and_costs_little_meanwhile() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    for _ in 0..20_000 {
        reactor.call_later(3600 * SECOND, || {}).unwrap();
    }
    let remote = reactor.remote();
    beside("slow", built_in, &reactor, move |address| {
        // One never ends its request, and one never reads the answer, of several megabytes.
        let mut speaks = TcpStream::connect(address).unwrap();
        speaks
            .write_all(b"GET /snapshot HTTP/1.1\r\nHost: loc")
            .unwrap();
        let mut reads = TcpStream::connect(address).unwrap();
        reads
            .write_all(b"GET /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        reads.read_exact(&mut [0; 100]).unwrap();
        for _ in 0..5 {
            // Answers have a share of each tick, and this clock ticks by hand.
            let whole = thread::spawn(move || get(address, "/snapshot"));
            while !whole.is_finished() {
                clock.advance(SECOND / 10);
                call(&remote);
            }
            assert!(whole.join().unwrap().body.len() > 2_000_000);
        }
        clock.advance(31 * SECOND);
        assert_eq!(speaks.read(&mut [0]).unwrap(), 0);
        let mut rest = Vec::new();
        // By then the kernel may have said that the connection is reset.
        let _ = reads.read_to_end(&mut rest);
        assert!(!rest.ends_with(b"0\r\n\r\n"));
        assert_eq!(get(address, "/").status, 200);
    });
}

#[test]
fn while_nobody_looks_only_the_listener_is_left_and_nothing_is_timed() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let remote = reactor.remote();
    let looks = reactor.downgrade();
    beside("nobody", built_in, &reactor, move |address| {
        let looks = looks.upgrade().unwrap();
        let call = || call(&remote);
        let longest = || looks.stats().longest_callback;
        get(address, "/snapshot");
        call();
        assert_eq!(longest(), None, "a snapshot times nothing");
        get(address, "/timeline");
        call();
        call();
        assert!(longest().is_some());
        assert_eq!(looks.snapshot().unwrap().hooks.len(), 1);
        clock.advance(4 * SECOND);
        // Its tick goes on until all connections are closed.
        let is_alone = || {
            let snapshot = looks.snapshot().unwrap();
            let names = snapshot
                .handlers
                .iter()
                .filter_map(|handler| handler.name.clone());
            let names: Vec<_> = names.collect();
            *names == ["oneloop-inspect listener".into()]
                && snapshot.timers.is_empty()
                && snapshot.hooks.is_empty()
        };
        while !is_alone() {
            clock.advance(SECOND / 10);
            call();
        }
        let before = longest();
        let held = looks.clone();
        let (sender, called) = channel();
        let slow = move || {
            let began = held.now();
            // Longer than anything before.
            thread::sleep(before.map_or(SECOND, |run| run.took) * 2);
            sender.send(began).unwrap();
        };
        let before = longest();
        remote.call_soon(slow).unwrap();
        called.recv().unwrap();
        call();
        assert_eq!(longest(), before);
    });
}

#[test]
fn a_busy_loop_is_timed_in_part_only() {
    let reactor = Reactor::new().unwrap();
    fn again() {
        if let Ok(reactor) = Reactor::current() {
            let _ = reactor.call_soon(again);
        }
    }
    for _ in 0..1000 {
        reactor.call_soon(again).unwrap();
    }
    beside("busy", built_in, &reactor, |address| {
        let mut times = Value::Null;
        let of = |times: &Value, name: &str| times[name].as_f64().unwrap_or_default();
        // A slow machine is not busy enough in each tick.
        while of(&times, "timed") == of(&times, "watched") {
            get(address, "/timeline");
            times = get(address, "/snapshot").json()["times"].take();
        }
        assert!(of(&times, "timed") > 0.0, "{times}");
        assert!(of(&times, "timed") < of(&times, "watched"), "{times}");
        let parts = ["in_callbacks", "waiting", "in_host"].map(|name| of(&times, name));
        assert!(parts.iter().sum::<f64>() <= of(&times, "timed"), "{times}");
    });
}

#[test]
fn a_loop_that_is_closed_or_dropped_ends_the_server_and_its_recordings() {
    for ends in ["closed", "dropped", "the server"] {
        let _watchdog = Watchdog::new(ends);
        let reactor = Reactor::new().unwrap();
        let server = serve(&reactor, ([127, 0, 0, 1], 0)).unwrap();
        let address = port(&server);
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /trace?seconds=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut begun = [0; 15];
        stream.set_nonblocking(true).unwrap();
        while stream.read(&mut begun).is_err() {
            reactor.turn(Some(SECOND / 100)).unwrap();
        }
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        match ends {
            "closed" => reactor.close(),
            "dropped" => drop(reactor),
            _ => server.close(),
        }
        stream.set_nonblocking(false).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{ends}");
        server.close();
    }
}

#[test]
fn a_server_keeps_no_loop_going() {
    let _watchdog = Watchdog::new("going");
    let reactor = Reactor::new_local().unwrap();
    let first = serve(&reactor, ([127, 0, 0, 1], 0)).unwrap();
    let second = serve(&reactor, ([127, 0, 0, 1], 0)).unwrap();
    assert_ne!(first.address(), second.address());
    assert!(!reactor.is_alive());
    reactor.run().unwrap();
    first.close();
    assert_eq!(reactor.stats().handlers, 1);
}

#[test]
fn a_local_loop_serves_on_a_unix_socket() {
    let _watchdog = Watchdog::new("unix");
    let path = std::env::temp_dir().join(format!("oneloop-inspect-{}", std::process::id()));
    // A program that was killed has left it.
    std::mem::forget(std::os::unix::net::UnixListener::bind(&path).map(drop));
    assert!(path.exists());
    let reactor = Reactor::new_local().unwrap();
    let server = serve(&reactor, path.as_path()).unwrap();
    assert_eq!(server.address(), &Address::Unix(path.clone()));
    let taken = serve(&reactor, path.as_path()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let client = thread::spawn({
        let (path, remote) = (path.clone(), reactor.remote());
        move || {
            let mut stream = UnixStream::connect(path).unwrap();
            let request = b"GET /snapshot HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
            stream.write_all(request).unwrap();
            let answer = answer(stream);
            remote.stop();
            answer.unwrap()
        }
    });
    reactor.run_forever().unwrap();
    let snapshot = client.join().unwrap().json();
    let listener = named(&snapshot, "handlers", "oneloop-inspect listener");
    assert_eq!(
        listener["file"],
        format!("Unix listener {}", path.display())
    );
    drop(reactor);
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn an_address_of_other_machines_needs_an_explicit_call() {
    let reactor = Reactor::new().unwrap();
    let address = || Address::from(([0, 0, 0, 0], 0));
    let error = serve(&reactor, address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let text = error.to_string();
    assert!(
        text.contains("0.0.0.0:0") && text.contains("allow_remote"),
        "{text}"
    );
    assert_eq!(reactor.stats().handlers, 0);
    let allowed = Builder::new().allow_remote().serve(&reactor, address());
    assert_eq!(allowed.map(|_| reactor.stats().handlers).unwrap(), 1);
    for text in ["", "localhost", "unix:", "127.0.0.1"] {
        let error = text.parse::<Address>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
    }
}
