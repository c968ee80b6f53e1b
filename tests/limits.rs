//! Descriptors run out. A binary of its own, since it takes them from the whole process.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;

use oneloop::{Interest, Mode, PollerKind, Reactor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn without_descriptors_building_fails_and_nothing_else_does() {
    // A reactor that was there before goes on.
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = std::sync::Arc::new(a);
    let (sender, received) = std::sync::mpsc::channel();
    let send = sender.clone();
    let handle = move |_: &mut _, _| send.send("level").unwrap();
    reactor
        .add_handler(a.clone(), Interest::READABLE, Mode::Level, handle)
        .unwrap();

    let limit = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(64),
        ..limit
    };
    setrlimit(Resource::Nofile, low).unwrap();
    let mut all = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        all.push(file);
    }
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        // With each number of descriptors left, from none to almost enough.
        let mut spare = 0;
        while let Err(error) = Reactor::builder().poller(poller).build() {
            assert_eq!(error.raw_os_error(), Some(emfile()), "{error}");
            assert!(error.to_string().starts_with("build: "), "{error}");
            all.pop();
            spare += 1;
        }
        assert!(spare > 1, "{poller:?} was built out of nothing");
        while let Ok(file) = File::open("/dev/null") {
            all.push(file);
        }
    }

    // The second set, for mixed modes, cannot be made now: the call fails, the handler stays.
    let handle = |_: &mut _, _| unreachable_handler();
    let error = reactor
        .add_handler(a.clone(), Interest::READABLE, Mode::Edge, handle)
        .unwrap_err();
    assert_eq!(error.error().raw_os_error(), Some(emfile()));
    assert_eq!(reactor.stats().handlers, 1);
    b.write_all(b"x").unwrap();
    reactor.turn(None).unwrap();
    assert_eq!(received.try_recv(), Ok("level"));

    drop(all);
    setrlimit(Resource::Nofile, limit).unwrap();
    let handle = move |_: &mut _, _| sender.send("edge").unwrap();
    reactor
        .add_handler(a, Interest::READABLE, Mode::Edge, handle)
        .unwrap();
    reactor.turn(None).unwrap();
    reactor.turn(None).unwrap();
    assert!(received.try_iter().any(|mode| mode == "edge"));
}

fn unreachable_handler() {
    panic!("it was refused");
}

fn emfile() -> i32 {
    rustix::io::Errno::MFILE.raw_os_error()
}
