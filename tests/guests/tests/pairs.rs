//! Each guest inside each host: what `docs/loops.md` has a table of.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use oneloop::adapter::End;
use oneloop::{LocalReactor, Reactor, Step, Threading};
use oneloop_conformance::{Watchdog, wait_readable};
use oneloop_guests_tests::calloop::Calloop;
use oneloop_guests_tests::compio::Compio;
use oneloop_guests_tests::glib::{Glib, OwnerlessGlib};
use oneloop_guests_tests::glue::{Libev, Libevent, SdEvent};
use oneloop_guests_tests::nested::Nested;
use oneloop_guests_tests::uv::Uv;
use oneloop_guests_tests::{AdaptedLoop, AssertSend, ForeignLoop, OuterLoop, expect_table, sent};
use oneloop_support::async_io;
use oneloop_tokio::TokioGuest;

fn built_in<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    Ok(reactor.run_forever()?)
}

/// A loop that watches the descriptor of a `Host`.
fn poll<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    let mut host = reactor.host("poll(2)")?;
    loop {
        match host.step(100)? {
            Step::Sleep => wait_readable(&host),
            Step::Done => return Ok(()),
            _ => {}
        }
    }
}

/// A loop that can only be woken.
fn wake<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    let (sender, woken) = channel();
    let host = reactor.host("a loop that is woken")?;
    let mut host = host.wake_by(move || _ = sender.send(()))?;
    while host.step(100)?.is_continue() {
        woken.recv().map_err(io::Error::other)?;
    }
    Ok(())
}

/// Runs a loop until the reactor that it drives has ended.
fn iterate<L: OuterLoop>(
    attach: impl FnOnce(&L, Box<dyn FnOnce(End)>) -> io::Result<Box<dyn std::any::Any>>,
) -> io::Result<()> {
    let (outer, ended) = (L::new(), Rc::new(Cell::new(None)));
    let end = ended.clone();
    let attached = attach(&outer, Box::new(move |how| end.set(Some(how))))?;
    let end = loop {
        outer.iterate(true);
        if let Some(end) = ended.take() {
            break end;
        }
    };
    drop(attached);
    end.unwrap_or_else(|payload| resume_unwind(payload))
}

fn outer<L: OuterLoop>(reactor: &Reactor) -> io::Result<()> {
    iterate(|outer: &L, on_end| outer.attach(reactor, false, on_end))
}

fn adapted<L: AdaptedLoop>(reactor: &LocalReactor) -> io::Result<()> {
    iterate(|outer: &L, on_end| outer.attach_host(reactor.host(L::NAME)?, on_end))
}

/// A timer of the guest, one of the reactor, a descriptor of the guest and a wake from a thread, each set by the one
/// before. Then a long sleep.
fn pair<L: ForeignLoop>(drive: fn(&Reactor) -> io::Result<()>) {
    let _watchdog = Watchdog::new(L::NAME);
    let (inner, reactor) = (Rc::new(L::new()), Reactor::new().unwrap());
    let guest = reactor
        .add_guest(L::NAME, AssertSend(inner.guest()))
        .unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));

    let (stopper, last) = (reactor.clone(), seen.clone());
    let woken = move || {
        last.borrow_mut().push("wake");
        stopper.stop();
    };
    let wake = Cell::new(Some(inner.waker(woken)));
    let (mut a, b) = UnixStream::pair().unwrap();
    let (fd, third) = (a.as_raw_fd(), seen.clone());
    let read = move || {
        assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
        third.borrow_mut().push("descriptor");
        thread::spawn(wake.take().unwrap());
        false
    };
    inner.watch_read(fd, read);
    let second = seen.clone();
    let timer = sent(move || {
        second.borrow_mut().push("timer of the reactor");
        (&b).write_all(b"x").unwrap();
        // It is closed when the guest has read.
        std::mem::forget(b);
    });
    let (first, setter) = (seen.clone(), reactor.clone());
    let callback = move || {
        first.borrow_mut().push("timer of the guest");
        setter.call_later(Duration::from_millis(1), timer).unwrap();
    };
    inner.after(Duration::from_millis(1), callback);
    drive(&reactor).unwrap();
    let expected = [
        "timer of the guest",
        "timer of the reactor",
        "descriptor",
        "wake",
    ];
    assert_eq!(*seen.borrow(), expected);

    assert_rests(|| {
        let stopper = reactor.clone();
        inner.after(rest(), move || stopper.stop());
        drive(&reactor).unwrap();
    });
    assert_rests(|| {
        let stopper = reactor.clone();
        reactor.call_later(rest(), move || stopper.stop()).unwrap();
        drive(&reactor).unwrap();
    });

    reactor.remove_guest(guest).unwrap();
    reactor.close();
}

/// Plays the round with tokio.
fn pair_with_tokio(drive: fn(&LocalReactor) -> io::Result<()>) {
    let _watchdog = Watchdog::new("tokio");
    let reactor = Reactor::new_local().unwrap();
    let tokio = TokioGuest::new(&reactor).unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let inside = reactor.clone();
    let task = tokio.spawn_local(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let timer = move || sender.send(()).unwrap();
        inside.call_later(Duration::from_millis(1), timer).unwrap();
        receiver.await.unwrap();
        let (a, b) = tokio::net::UnixStream::pair().unwrap();
        b.try_write(b"x").unwrap();
        a.readable().await.unwrap();
        assert_eq!(tokio::task::spawn_blocking(|| 42).await.unwrap(), 42);
        inside.stop();
    });
    drive(&reactor).unwrap();
    assert!(task.is_finished());

    assert_rests(|| {
        let stopper = reactor.clone();
        tokio.spawn_local(async move {
            tokio::time::sleep(rest()).await;
            stopper.stop();
        });
        drive(&reactor).unwrap();
    });
    reactor.close();
}

/// How long a pair rests. `tests/more.sh` has 10 seconds.
fn rest() -> Duration {
    let millis = std::env::var("ONELOOP_REST_MILLIS");
    Duration::from_millis(millis.map_or(100, |millis| millis.parse().unwrap()))
}

/// However long it takes, the thread falls asleep no more than at the beginning and at the end. async-io shares its
/// work with a thread, for which this one waits now and then: more so on a busy machine, but not each time.
fn assert_rests(sleep: impl Fn()) {
    let mut counted = Vec::new();
    while counted.len() < 4 {
        let before = sleeps();
        sleep();
        counted.push(sleeps() - before);
        if counted.last() <= Some(&5) {
            return;
        }
    }
    panic!("{counted:?} sleeps in {:?}", rest());
}

/// How often this thread has fallen asleep.
fn sleeps() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: writes one `rusage`, for which zeros are a value.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_nvcsw
    }
}

/// Makes a module for each host, with a test for each guest.
macro_rules! pairs {
    ($($host:ident $title:literal: $drive:expr $(, $local:expr)?;)*) => {
        $(mod $host {
            #[allow(unused_imports)]
            use super::*;

            #[test]
            fn glib() {
                pair::<Glib>($drive);
            }

            #[test]
            fn ownerless_glib() {
                pair::<OwnerlessGlib>($drive);
            }

            #[test]
            fn libuv() {
                pair::<Uv>($drive);
            }

            #[test]
            fn sd_event() {
                pair::<SdEvent>($drive);
            }

            #[test]
            fn compio() {
                pair::<Compio>($drive);
            }

            #[test]
            fn another_reactor() {
                pair::<Nested>($drive);
            }

            $(
                #[test]
                fn tokio() {
                    pair_with_tokio($local);
                }
            )?
        })*

        /// Each host: its module, its name in the table, and whether it drives a `LocalReactor`.
        const HOSTS: &[(&str, &str, bool)] = &[$((stringify!($host), $title, {
            let locals: &[&str] = &[$(stringify!($local))?];
            !locals.is_empty()
        })),*];
    };
}

pairs! {
    itself "nothing else: `run`": built_in, built_in;
    in_tokio "tokio": oneloop_support::tokio, oneloop_support::tokio;
    in_async_io "async-io": async_io, async_io;
    in_glib "GLib": outer::<Glib>, adapted::<Glib>;
    in_libuv "libuv": outer::<Uv>, adapted::<Uv>;
    in_calloop "calloop": outer::<Calloop>, adapted::<Calloop>;
    in_libevent "libevent": outer::<Libevent>;
    in_libev "libev": outer::<Libev>;
    in_sd_event "sd-event": outer::<SdEvent>;
    in_poll "a loop that watches a descriptor": poll, poll;
    in_wake "a loop that can only be woken": wake, wake;
}

const GUESTS: &[(&str, &str)] = &[
    ("glib", "GLib"),
    ("ownerless_glib", "GLib, ownerless"),
    ("libuv", "libuv"),
    ("sd_event", "sd-event"),
    ("compio", "compio"),
    ("another_reactor", "a reactor"),
    ("tokio", "tokio"),
];

/// The table of the page, which `ONELOOP_WRITE=1` writes.
#[test]
fn the_page_has_the_table_of_these_tests() {
    let mut table = String::from("| the reactor runs in ");
    for (_, title) in GUESTS {
        table += &format!("| {title} ");
    }
    table += &format!("|\n|---{}|\n", "|---".repeat(GUESTS.len()));
    for (host, title, is_local) in HOSTS {
        table += &format!("| {title} ");
        for (guest, _) in GUESTS {
            if *guest == "tokio" && !is_local {
                table += "| 1 ";
            } else {
                table += &format!("| `{host}::{guest}` ");
            }
        }
        table += "|\n";
    }
    expect_table("pairs", &table);
}
