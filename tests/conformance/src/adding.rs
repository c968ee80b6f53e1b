//! Clauses 1 and 2: adding handlers, on any descriptor and on regular files.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use oneloop::{Action, Interest, Mode};
use rustix::fd::RawFd;

use crate::os;
use crate::tools::readable;
use crate::{Log, Number, Stage, pair};

const READ: Interest = Interest::READABLE;
const NONE: Interest = Interest::NONE;

// Clause 1.

/// A handler added before driving is called.
pub fn a_ready_descriptor_is_reported(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
}

/// A handler added by another thread while the loop sleeps is called.
pub fn a_handler_added_by_another_thread_while_the_loop_sleeps_is_called(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || {
            let (a, b) = sources.readable();
            let stopper = reactor.clone();
            reactor
                .add_handler(a, READ, Mode::Level, move |_, _| {
                    let _ = &b;
                    stopper.stop();
                })
                .expect("add_handler");
        });
    });
}

/// A handler added on the host's own thread, outside a turn, is called.
pub fn a_handler_added_by_host_code_while_the_loop_sleeps_is_called(stage: &mut Stage) {
    let sources = stage.sources;
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let (a, b) = sources.readable();
        let stopper = reactor.clone();
        reactor
            .add_handler(a, READ, Mode::Level, move |_, _| {
                let _ = &b;
                stopper.stop();
            })
            .expect("add_handler");
    });
}

/// A closed number is refused, by name, again and again, and leaves no trace.
pub fn a_closed_descriptor_is_refused_and_leaves_no_trace(stage: &mut Stage) {
    let (a, b) = readable();
    let number = Number::of(&a);
    number.close();
    for interest in [READ, NONE, READ] {
        // SAFETY: a number that is not open is refused.
        let error = unsafe {
            stage
                .reactor
                .add_raw_handler(number.get(), interest, Mode::Level, |_| {})
        }
        .expect_err("closed");
        assert_eq!(error.raw_os_error(), Some(os::EBADF));
        assert_eq!(error.fd(), Some(number.get()));
        let text = error.to_string();
        assert!(text.contains("add_raw_handler") && text.contains(&number.get().to_string()));
    }
    assert_eq!(stage.reactor.stats().handlers, 0);
    number.mean(&a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    drop(b);
}

/// A negative number is refused.
pub fn a_negative_descriptor_is_refused(stage: &mut Stage) {
    #[allow(clippy::unnecessary_cast)] // Windows has others.
    for fd in [-1, -100, i32::MIN].map(|fd| fd as RawFd) {
        // SAFETY: a number that cannot be open is refused.
        let add = unsafe { stage.reactor.add_raw_handler(fd, READ, Mode::Level, |_| {}) };
        let error = add.expect_err("negative");
        assert_eq!(error.raw_os_error(), Some(os::EBADF));
        assert_eq!(error.fd(), Some(fd));
    }
}

/// O_NONBLOCK stays as it is.
pub fn the_descriptors_flags_stay_as_they_are(stage: &mut Stage) {
    let (a, _b) = readable();
    a.set_nonblocking(false).expect("blocking");
    let a = Arc::new(a);
    let flags = || os::flags(&*a);
    let before = flags();
    let calls = stage.watch(a.clone(), READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    assert_eq!(flags(), before);
}

/// Numbers above select's limit work.
pub fn numbers_above_1024_work(stage: &mut Stage) {
    let (a, _b) = readable();
    let high = os::duplicate(&a, 2000);
    let calls = stage.watch_number(high, READ, Mode::Level);
    stage.turns(1);
    assert!(calls.take() > 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    // SAFETY: the number is ours.
    unsafe { os::close(high) };
}

// Clause 2.

/// A regular file is ready in every turn, for what is asked.
pub fn a_regular_file_is_always_ready(stage: &mut Stage) {
    let calls = stage.watch(os::regular_file(), READ, Mode::Level);
    stage.turns(5);
    let events = calls.events();
    assert!(events.len() >= 5, "{}", events.len());
    assert!(
        events
            .iter()
            .all(|event| event.is_readable() && !event.is_writable())
    );
}

/// So is a directory.
pub fn a_directory_is_always_ready(stage: &mut Stage) {
    let calls = stage.watch(os::directory(), READ, Mode::Level);
    stage.turns(3);
    assert!(calls.take() >= 3);
}

/// Edge and one-shot handlers on a regular file are called once an arming.
pub fn a_regular_file_is_one_edge(stage: &mut Stage) {
    for mode in stage.some_of(&[Mode::Edge, Mode::Oneshot]) {
        let calls = stage.watch(os::regular_file(), READ, mode);
        stage.turns(5);
        assert_eq!(calls.take(), 1);
        stage.reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(5);
        assert_eq!(calls.take(), 1);
    }
}

/// A one-shot on it is called once an arming, even if another handler is added to the file meanwhile.
pub fn a_oneshot_on_a_regular_file_is_called_once(stage: &mut Stage) {
    let file = Arc::new(os::regular_file());
    let (reactor, shared) = (stage.reactor.clone(), file.clone());
    let neighbour = move |_: &mut _, _| {
        let add = reactor.add_handler(shared.clone(), READ, Mode::Oneshot, |_, _| {});
        add.expect("add_handler");
    };
    stage
        .reactor
        .add_handler(file.clone(), READ, Mode::Oneshot, neighbour)
        .expect("add_handler");
    let calls = stage.watch(file, READ, Mode::Oneshot);
    stage.turns(6);
    assert_eq!(calls.take(), 1);
}

/// A paused handler on a regular file is not called, and does not spin.
pub fn a_regular_file_can_be_paused(stage: &mut Stage) {
    let calls = stage.watch(os::regular_file(), NONE, Mode::Level);
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(3);
    assert!(calls.take() >= 3);
    stage.reactor.update_handler(calls.id, NONE).expect("known");
    stage.turns(3);
    assert_eq!(calls.take(), 0);
}

/// A regular file added while the loop sleeps wakes it.
pub fn a_regular_file_added_while_the_loop_sleeps_is_reported(stage: &mut Stage) {
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let stopper = reactor.clone();
        reactor
            .add_handler(os::regular_file(), READ, Mode::Level, move |_, _| {
                stopper.stop()
            })
            .expect("add_handler");
    });
}

/// TCP, with a listener that accepts in its callback and adds what it accepted.
pub fn accepted_connections_can_be_added_in_the_callback(stage: &mut Stage) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let seen = log.clone();
    stage
        .reactor
        .add_handler(listener, READ, Mode::Level, move |listener, _| {
            let (stream, _) = listener.accept().expect("a connection");
            let (seen, stopper) = (seen.clone(), reactor.clone());
            let read = move |stream: &mut TcpStream, _| {
                let mut text = [0; 16];
                let n = stream.read(&mut text).expect("readable");
                seen.push(String::from_utf8_lossy(&text[..n]).into_owned());
                if seen.len() == 3 {
                    stopper.stop();
                }
                Action::Remove
            };
            reactor
                .add_handler(stream, READ, Mode::Level, read)
                .expect("add_handler");
        })
        .expect("add_handler");
    let clients = thread::spawn(move || {
        for text in ["one", "two", "three"] {
            let mut stream = TcpStream::connect(address).expect("listening");
            stream.write_all(text.as_bytes()).expect("connected");
        }
    });
    stage.run();
    clients.join().expect("no panic");
    let mut texts = log.take();
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);
}

/// A paused handler on the number does not hide that it is closed.
pub fn a_second_paused_handler_on_a_closed_number_is_refused(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    let first = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    let second = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    number.close();
    // SAFETY: the number is this case's own, and closed: that is what is refused.
    let added = unsafe {
        let none = Interest::NONE;
        stage
            .reactor
            .add_raw_handler(number.get(), none, Mode::Level, |_| {})
    };
    assert_eq!(added.expect_err("closed").raw_os_error(), Some(os::EBADF));
    for id in [first.id, second.id] {
        stage.reactor.remove_handler(id).expect("known");
    }
}
