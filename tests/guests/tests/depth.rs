//! Loops inside loops inside loops: the kernel takes only so many.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use oneloop::{AddError, HandlerId, Host, Interest, Mode, Reactor, Shared, Step};
use oneloop_conformance::{Watchdog, pair};

type Added = Result<HandlerId, AddError<Host<Shared>>>;

/// Puts a reactor into another, as a handler of its host.
fn put_inside(outer: &Reactor, inner: &Reactor) -> Added {
    let mut host = inner.host("another reactor").unwrap();
    while host.step(8).unwrap() == Step::Yield {}
    let step = |host: &mut Host<Shared>, _| while host.step(8).unwrap() == Step::Yield {};
    outer.add_handler(host, Interest::READABLE, Mode::Level, step)
}

#[test]
fn a_loop_that_is_too_deep_is_refused_with_the_reason() {
    let _watchdog = Watchdog::new("depth");
    let mut outermost = Reactor::new().unwrap();
    let innermost = outermost.clone();
    let mut depth = 1;
    let refused = loop {
        let outer = Reactor::new().unwrap();
        match put_inside(&outer, &outermost) {
            Ok(_) => outermost = outer,
            Err(refused) => break refused,
        }
        depth += 1;
    };
    let text = refused.to_string();
    // The host comes back with the error, and with it the claim on its reactor.
    drop(refused);
    assert!(
        text.contains("add_handler") && text.contains("four deep"),
        "{text}"
    );
    assert!(depth >= 3, "{depth}");

    // Those that were taken work.
    let (a, mut b) = pair();
    let stopper = outermost.clone();
    let read = move |stream: &mut UnixStream, _| {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        stopper.stop();
    };
    innermost
        .add_handler(a, Interest::READABLE, Mode::Level, read)
        .unwrap();
    b.write_all(b"x").unwrap();
    outermost.run_forever().unwrap();
}
