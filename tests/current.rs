//! The loop without a handle of it: `Reactor::current`.
#![cfg(unix)]

use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use oneloop::{Action, ErrorKind, Interest, Mode, Priority, Reactor, Result, Step};
use oneloop_support::readable;

/// Which loop is calling, if any.
fn current() -> Option<usize> {
    let reactor = Reactor::current().ok()?;
    Some(reactor.as_raw() as usize)
}

#[test]
fn every_callback_reaches_its_loop() {
    let reactor = Reactor::new().unwrap();
    let this = reactor.as_raw() as usize;
    let (sender, called) = channel();
    let check = move |kind| {
        assert_eq!(current(), Some(this), "in a {kind}");
        sender.send(kind).unwrap();
    };
    let (stream, _other) = readable();
    let checks = check.clone();
    let handler = move |_: &mut UnixStream, _| {
        checks("handler");
        Action::Remove
    };
    let added = reactor.add_handler(stream, Interest::READABLE, Mode::Level, handler);
    added.unwrap();
    let checks = check.clone();
    let timer = move || checks("timer");
    reactor.call_later(Duration::ZERO, timer).unwrap();
    let kinds = [
        (Priority::High, "urgent post"),
        (Priority::Normal, "post"),
        (Priority::Idle, "idle post"),
    ];
    for (priority, kind) in kinds {
        let checks = check.clone();
        reactor
            .call_soon_with(priority, move || checks(kind))
            .unwrap();
    }
    let (before, after) = (check.clone(), check.clone());
    let prepare = move || {
        before("prepare hook");
        None
    };
    reactor
        .add_hook(prepare, move || after("check hook"))
        .unwrap();
    let checks = check.clone();
    let signal = move |_| {
        checks("signal");
        Action::Remove
    };
    reactor.add_signal(libc::SIGUSR2, signal).unwrap();
    let child = Command::new("true").spawn().unwrap();
    reactor.add_child(child, move |_| check("child")).unwrap();
    // SAFETY: the signal is caught.
    unsafe { libc::raise(libc::SIGUSR2) };

    reactor.run().unwrap();
    let called: Vec<_> = called.try_iter().collect();
    let kinds = ["handler", "timer", "urgent post", "post", "idle post"];
    let others = ["prepare hook", "check hook", "signal", "child"];
    for kind in kinds.into_iter().chain(others) {
        assert!(called.contains(&kind), "no {kind} in {called:?}");
    }
    assert_eq!(current(), None);
}

/// Tells when it is dropped which loop is calling.
struct OnDrop(Sender<Option<usize>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(current());
    }
}

#[test]
fn a_drop_in_a_turn_can_reach_the_loop() {
    let reactor = Reactor::new().unwrap();
    let (sender, dropped) = channel();
    let owned = OnDrop(sender.clone());
    let handler = move |_: &mut UnixStream, _| {
        let _owned = &owned;
        Action::Remove
    };
    let (stream, _other) = readable();
    reactor
        .add_handler(stream, Interest::READABLE, Mode::Level, handler)
        .unwrap();
    reactor.run().unwrap();
    let this = reactor.as_raw() as usize;
    assert_eq!(dropped.try_recv().unwrap(), Some(this));

    // And outside of a turn it does not.
    let owned = OnDrop(sender);
    let timer = move || {
        let _owned = &owned;
    };
    let id = reactor.call_later(Duration::from_secs(60), timer).unwrap();
    reactor.cancel_timer(id).unwrap();
    assert_eq!(dropped.try_recv().unwrap(), None);
}

#[test]
fn a_loop_inside_a_callback_gives_the_outer_one_back() {
    let outer = Reactor::new().unwrap();
    let (sender, seen) = channel();
    let post = move || {
        let inner = Reactor::new().unwrap();
        let (inside, innermost) = (inner.as_raw() as usize, sender.clone());
        let post = move || innermost.send(current() == Some(inside)).unwrap();
        inner.call_soon(post).unwrap();
        let before = current();
        inner.run().unwrap();
        sender
            .send(before.is_some() && current() == before)
            .unwrap();
    };
    outer.call_soon(post).unwrap();
    outer.run().unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_panic_leaves_no_loop_behind() {
    let reactor = Reactor::new().unwrap();
    reactor.call_soon(|| panic!("on purpose")).unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| reactor.run()));
    assert!(run.is_err());
    assert_eq!(current(), None);
}

#[test]
fn a_loop_of_the_other_kind_is_an_error_that_names_the_call() {
    let (sender, errors) = channel();
    let local = Reactor::new_local().unwrap();
    let shared = Reactor::new().unwrap();
    let in_local = sender.clone();
    let post = move || in_local.send(Reactor::current().map(drop)).unwrap();
    local.call_soon(post).unwrap();
    let post = move || sender.send(Reactor::current_local().map(drop)).unwrap();
    shared.call_soon(post).unwrap();
    local.run().unwrap();
    shared.run().unwrap();
    let errors: Vec<_> = errors.try_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|e| e.kind() == ErrorKind::NotCurrent));
    let texts = errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(texts[0].ends_with("is a `LocalReactor`: use `Reactor::current_local`"));
    assert!(texts[1].ends_with("is a `Reactor`: use `Reactor::current`"));
}

#[test]
fn a_local_loop_can_be_reached_too() {
    let reactor = Reactor::new_local().unwrap();
    let shared = Rc::new(());
    let other = shared.clone();
    let (sender, called) = channel();
    reactor
        .call_soon(move || {
            // A closure that it posts need not be Send either.
            let again = move || sender.send(Rc::strong_count(&other)).unwrap();
            Reactor::current_local().unwrap().call_soon(again).unwrap();
        })
        .unwrap();
    reactor.run().unwrap();
    assert_eq!(called.try_recv(), Ok(2));
}

#[test]
fn a_handle_that_is_dropped_in_a_callback_ends_no_loop() {
    let reactor = Reactor::new().unwrap();
    let (sender, called) = channel();
    reactor
        .call_soon(move || {
            for _ in 0..10 {
                drop(Reactor::current().unwrap());
            }
            let later = move || sender.send(()).unwrap();
            Reactor::current().unwrap().call_soon(later).unwrap();
        })
        .unwrap();
    reactor.run().unwrap();
    assert_eq!(called.try_recv(), Ok(()));

    // One that is taken along keeps the loop alive.
    let (sender, taken) = channel();
    let post = move || sender.send(Reactor::current().unwrap()).unwrap();
    reactor.call_soon(post).unwrap();
    reactor.run().unwrap();
    let weak = reactor.downgrade();
    drop(reactor);
    let taken = taken.try_recv().unwrap();
    taken.call_soon(|| {}).unwrap();
    drop(taken);
    assert!(weak.upgrade().is_none());
}

#[test]
fn other_threads_have_no_current_loop() {
    let reactor = Reactor::new().unwrap();
    let (sender, seen) = channel();
    let post = move || {
        let elsewhere = thread::spawn(current).join().unwrap();
        sender.send((current().is_some(), elsewhere)).unwrap();
    };
    reactor.call_soon(post).unwrap();
    reactor.run().unwrap();
    assert_eq!(seen.try_recv(), Ok((true, None)));
}

#[test]
fn a_host_and_a_future_have_it_too() {
    let reactor = Reactor::new().unwrap();
    let this = Some(reactor.as_raw() as usize);
    let (sender, seen) = channel();
    let post = move || sender.send(current()).unwrap();
    reactor.call_soon(post).unwrap();
    let mut host = reactor.host("a test").unwrap();
    while host.step(100).unwrap() == Step::Yield {}
    assert_eq!(current(), None);
    assert_eq!(seen.try_recv(), Ok(this));
    drop(host);
    assert_eq!(reactor.block_on(async { current() }).unwrap(), this);
}
