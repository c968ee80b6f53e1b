//! A busy reactor moves from host to host while everything stays registered, and loses nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{Interest, Mode, PollerKind, Reactor};
use oneloop_support::{HOSTS, Watchdog, pair};

/// How many messages each of the busy parts handles.
const EACH: usize = 4000;

/// The parts that are busy: two sockets, posts, timers, and a ring whose token never rests.
struct Busy {
    level: Arc<Mutex<Vec<u8>>>,
    edge: Arc<Mutex<Vec<u8>>>,
    posts: Arc<AtomicUsize>,
    timers: Arc<AtomicUsize>,
    ring: Arc<AtomicUsize>,
}

impl Busy {
    fn is_done(&self) -> bool {
        self.level.lock().unwrap().len() == EACH
            && self.edge.lock().unwrap().len() == EACH
            && self.posts.load(SeqCst) == EACH
            && self.timers.load(SeqCst) == EACH / 10
    }
}

/// A socket whose bytes end up in the result; the other end is for a writer.
fn collect(reactor: &Reactor, mode: Mode) -> (Arc<Mutex<Vec<u8>>>, UnixStream) {
    let (a, b) = pair();
    b.set_nonblocking(false).unwrap(); // A writer waits for room.
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = all.clone();
    let read = move |stream: &mut UnixStream, _| {
        let mut buffer = [0; 7];
        while let Ok(n) = stream.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..n]);
            if mode == Mode::Level || n == 0 {
                return;
            }
        }
    };
    reactor
        .add_handler(a, Interest::READABLE, mode, read)
        .unwrap();
    (all, b)
}

fn start(reactor: &Reactor) -> (Busy, Vec<thread::JoinHandle<()>>) {
    let (level, to_level) = collect(reactor, Mode::Level);
    let (edge, to_edge) = collect(reactor, Mode::Edge);
    let [posts, timers, ring] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));

    let mut threads: Vec<_> = [to_level, to_edge]
        .into_iter()
        .map(|mut stream| {
            thread::spawn(move || {
                for n in 0..EACH {
                    stream.write_all(&[n as u8]).unwrap();
                    if n % 100 == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let (remote, count) = (reactor.remote(), posts.clone());
    threads.push(thread::spawn(move || {
        for _ in 0..EACH {
            let count = count.clone();
            remote
                .call_soon(move || _ = count.fetch_add(1, SeqCst))
                .unwrap();
            thread::yield_now();
        }
    }));
    for n in 0..EACH / 10 {
        let count = timers.clone();
        let due = Instant::now() + Duration::from_micros(100 * n as u64);
        let timer = move || {
            assert!(Instant::now() >= due, "early");
            count.fetch_add(1, SeqCst);
        };
        reactor.call_at(due, timer).unwrap();
    }
    let (mut a, b) = pair();
    a.write_all(b"t").unwrap();
    for (end, mode) in [(a, Mode::Level), (b, Mode::Edge)] {
        let count = ring.clone();
        let hop = move |stream: &mut UnixStream, _| {
            let mut token = [0];
            if stream.read_exact(&mut token).is_ok() {
                stream.write_all(&token).unwrap();
                count.fetch_add(1, SeqCst);
            }
        };
        reactor
            .add_handler(end, Interest::READABLE, mode, hop)
            .unwrap();
    }
    let busy = Busy {
        level,
        edge,
        posts,
        timers,
        ring,
    };
    (busy, threads)
}

fn moves_and_loses_nothing(poller: PollerKind) {
    let _watchdog = Watchdog::new("moving");
    let reactor = Reactor::builder().poller(poller).build().unwrap();
    let (busy, threads) = start(&reactor);
    let mut hosts = 0;
    while !busy.is_done() {
        let (turns, ring) = (reactor.stats().turns, busy.ring.load(SeqCst));
        let stopper = reactor.clone();
        reactor
            .call_later(Duration::from_millis(2), move || stopper.stop())
            .unwrap();
        let (_, drive) = HOSTS[hosts % HOSTS.len()];
        drive(&reactor).unwrap();
        assert!(reactor.stats().turns > turns, "it went on under each host");
        assert!(busy.ring.load(SeqCst) > ring, "and the token was not lost");
        hosts += 1;
    }
    assert!(hosts >= 8, "only {hosts} moves: make it busier");
    for thread in threads {
        thread.join().unwrap();
    }
    let expected: Vec<u8> = (0..EACH).map(|n| n as u8).collect();
    assert_eq!(*busy.level.lock().unwrap(), expected);
    assert_eq!(*busy.edge.lock().unwrap(), expected);
    reactor.close();
}

#[test]
fn built_in_to_tokio_to_async_io_and_back_on_epoll() {
    moves_and_loses_nothing(PollerKind::Epoll);
}

#[test]
fn built_in_to_tokio_to_async_io_and_back_on_polling() {
    moves_and_loses_nothing(PollerKind::Polling);
}
