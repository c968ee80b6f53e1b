//! The `polling` crate on poll(2), which it takes where there is nothing better. Built with
//! `RUSTFLAGS="--cfg polling_test_poll_backend"`; without that there is nothing in here.
#![cfg(polling_test_poll_backend)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oneloop::{Action, ErrorKind, Interest, Mode, PollerKind, Reactor};

fn reactor() -> Reactor {
    let reactor = Reactor::builder().poller(PollerKind::Polling).build();
    reactor.expect("a reactor")
}

#[test]
fn edge_mode_is_refused_and_the_source_comes_back() {
    let reactor = reactor();
    let (a, _b) = UnixStream::pair().expect("a pair");
    let refused = reactor
        .add_handler(a, Interest::READABLE, Mode::Edge, |_, _| {})
        .expect_err("poll(2) knows no edges");
    assert_eq!(refused.error().kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("edge"), "{refused}");
    let error: std::io::Error = oneloop::Error::from(refused).into();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert_eq!(reactor.stats().handlers, 0);
}

#[test]
fn level_oneshot_timers_and_posts_work() {
    let reactor = reactor();
    let (a, mut b) = UnixStream::pair().expect("a pair");
    b.write_all(b"abc").expect("room");
    let (sender, receiver) = std::sync::mpsc::channel();
    let send = sender.clone();
    let read = move |stream: &mut UnixStream, _| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("readable");
        send.send(char::from(byte[0])).expect("listening");
        match byte {
            [b'c'] => Action::Remove,
            _ => Action::Continue,
        }
    };
    reactor
        .add_handler(a, Interest::READABLE, Mode::Level, read)
        .expect("add_handler");
    let send = sender.clone();
    let write = move |_: &mut UnixStream, _| send.send('w').expect("listening");
    reactor
        .add_handler(b, Interest::WRITABLE, Mode::Oneshot, write)
        .expect("add_handler");
    let send = sender.clone();
    let timer = move || send.send('t').expect("listening");
    reactor
        .call_later(Duration::from_millis(1), timer)
        .expect("open");
    let remote = reactor.remote();
    let post = move || remote.call_soon(move || sender.send('p').expect("listening"));
    std::thread::spawn(post)
        .join()
        .expect("no panic")
        .expect("open");
    reactor.run().expect("run");
    let mut all: Vec<char> = receiver.try_iter().collect();
    all.sort();
    assert_eq!(all, ['a', 'b', 'c', 'p', 't', 'w']);
}
