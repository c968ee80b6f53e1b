//! Results of callbacks: errors, and nothing at all.
#![cfg(unix)]

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use oneloop::{Action, CallbackKind, Id, Interest, Mode, Reactor};
use oneloop_support::readable;

struct Failed {
    kind: CallbackKind,
    id: Id,
    fd: Option<i32>,
    line: u32,
    text: String,
    io: Option<ErrorKind>,
}

fn with_reports() -> (Reactor, Receiver<Failed>) {
    let (sender, failed) = channel();
    let builder = Reactor::builder().on_error(move |failed| {
        let io: Option<&io::Error> = failed.downcast_ref();
        let failed = Failed {
            kind: failed.kind,
            id: failed.id,
            fd: failed.fd,
            line: failed.location.line(),
            text: failed.to_string(),
            io: io.map(io::Error::kind),
        };
        sender.send(failed).unwrap();
    });
    (builder.build().unwrap(), failed)
}

#[test]
fn an_error_of_a_handler_is_reported_with_its_id_descriptor_and_place() {
    let (reactor, failed) = with_reports();
    let (stream, _other) = readable();
    let fd = stream.as_raw_fd();
    let fail = |_: &mut UnixStream, _| -> io::Result<()> { Err(ErrorKind::NotFound.into()) };
    let line = line!() + 1;
    let added = reactor.add_handler(stream, Interest::READABLE, Mode::Level, fail);
    let id = added.unwrap();
    reactor.run().unwrap(); // It is removed: nothing is left.
    let failed = failed.try_recv().unwrap();
    assert_eq!(failed.kind, CallbackKind::Handler);
    assert_eq!(failed.id, Id::Handler(id));
    assert_eq!(failed.fd, Some(fd));
    assert_eq!(failed.line, line);
    assert_eq!(failed.io, Some(ErrorKind::NotFound));
    let text = format!("returns.rs:{line}:25, on descriptor {fd}, failed: entity not found");
    assert!(failed.text.ends_with(&text), "{}", failed.text);
}

#[test]
fn an_error_of_a_timer_a_post_or_a_child_is_reported() {
    let (reactor, failed) = with_reports();
    let timer = reactor.call_every(Duration::ZERO, || Err::<Action, _>("of a timer"));
    let timer = Id::Timer(timer.unwrap());
    reactor.run().unwrap();
    let once = reactor.call_later(Duration::ZERO, || Err::<(), _>("of one shot"));
    let once = Id::Timer(once.unwrap());
    reactor.run().unwrap();
    let post = reactor.call_soon(|| Err::<(), _>(String::from("of a post")));
    let post = Id::Post(post.unwrap());
    reactor.run().unwrap();
    let child = Command::new("true").spawn().unwrap();
    let id = reactor.add_child(child, |_| Err::<(), _>("of a child"));
    let child = Id::Handler(id.unwrap());
    reactor.run().unwrap();
    let failed: Vec<_> = failed.try_iter().collect();
    let seen: Vec<_> = failed.iter().map(|one| (one.kind, one.id)).collect();
    let expected = [
        (CallbackKind::Timer, timer),
        (CallbackKind::Timer, once),
        (CallbackKind::Post, post),
        (CallbackKind::Handler, child),
    ];
    assert_eq!(seen, expected);
    let texts = ["of a timer", "of one shot", "of a post", "of a child"];
    for (failed, text) in failed.iter().zip(texts) {
        assert!(failed.text.ends_with(text), "{}", failed.text);
    }
}

/// Compiles: a closure that only diverges has no type that could be named.
#[test]
fn callbacks_may_diverge() {
    let reactor = Reactor::new().unwrap();
    let (stream, _other) = readable();
    let panics = |reactor: &Reactor| {
        let run = catch_unwind(AssertUnwindSafe(|| reactor.run()));
        assert!(run.is_err());
    };
    let (interest, mode) = (Interest::READABLE, Mode::Level);
    reactor
        .add_handler(stream, interest, mode, |_, _| panic!("on purpose"))
        .unwrap();
    panics(&reactor);
    reactor.call_later(Duration::ZERO, || todo!()).unwrap();
    panics(&reactor);
    reactor
        .call_every(Duration::ZERO, || unreachable!())
        .unwrap();
    panics(&reactor);
    let timer = reactor.add_timer(|| todo!()).unwrap();
    reactor.cancel_timer(timer).unwrap();
    reactor.call_soon(|| panic!("on purpose")).unwrap();
    panics(&reactor);
    reactor.remote().call_soon(|| unimplemented!()).unwrap();
    panics(&reactor);
    let signal = reactor.add_signal(libc::SIGUSR1, |_| std::process::abort());
    reactor.remove_handler(signal.unwrap()).unwrap();
}

#[test]
fn a_reporter_may_panic_and_use_the_loop() {
    let builder = Reactor::builder().on_error(|_| {
        let reactor = Reactor::current().unwrap();
        reactor.call_soon(|| {}).unwrap();
        panic!("on purpose");
    });
    let reactor = builder.build().unwrap();
    let (stream, _other) = readable();
    let fail = |_: &mut UnixStream, _| Err::<Action, _>("no luck");
    let added = reactor.add_handler(stream, Interest::READABLE, Mode::Level, fail);
    added.unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| reactor.run()));
    assert!(run.is_err());
    assert_eq!(reactor.stats().handlers, 0);
    reactor.run().unwrap();
    assert_eq!(reactor.stats().post_calls, 1);
}
