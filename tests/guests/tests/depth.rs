//! Loops inside loops inside loops: the kernel takes only so many.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use oneloop::{AddError, HandlerId, Host, Interest, Mode, Reactor, Shared, Step};
use oneloop_conformance::{Watchdog, pair};
use oneloop_guests_tests::calloop::Calloop;
use oneloop_guests_tests::glib::Glib;
use oneloop_guests_tests::glue::{Libev, Libevent, SdEvent};
use oneloop_guests_tests::uv::Uv;
use oneloop_guests_tests::{Kind, OuterLoop};

type Added = Result<HandlerId, AddError<Host<Shared>>>;

/// Puts a reactor into another, as a handler of its host.
fn put_inside(outer: &Reactor, inner: &Reactor) -> Added {
    let mut host = inner.host("another reactor").unwrap();
    while host.step(8).unwrap() == Step::Yield {}
    let step = |host: &mut Host<Shared>, _| while host.step(8).unwrap() == Step::Yield {};
    outer.add_handler(host, Interest::READABLE, Mode::Level, step)
}

/// Stacks reactors until the kernel refuses another.
fn deepest() -> (Vec<Reactor>, AddError<Host<Shared>>) {
    let mut stack = vec![Reactor::new().unwrap()];
    loop {
        let outer = Reactor::new().unwrap();
        match put_inside(&outer, stack.last().unwrap()) {
            Ok(_) => stack.push(outer),
            Err(refused) => return (stack, refused),
        }
    }
}

/// Another loop is one epoll too many, and says so.
fn a_host_of_a_stack_that_is_too_deep_has_an_error<L: OuterLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let (mut stack, refused) = deepest();
    drop(refused);
    let (outer, outermost) = (L::new(), stack.pop().unwrap());
    match attach_and_iterate(&outer, &outermost) {
        Ok(()) => panic!("{}: no error", L::NAME),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{error}"),
    }
    // One less is fine.
    outermost.close();
    let outermost = stack.pop().unwrap();
    attach_and_iterate(&outer, &outermost).unwrap();
}

fn attach_and_iterate<L: OuterLoop>(outer: &L, reactor: &Reactor) -> io::Result<()> {
    let ended = Rc::new(RefCell::new(None));
    let end = ended.clone();
    let on_end = move |how| *end.borrow_mut() = Some(how);
    let stopper = reactor.clone();
    let stop = move || stopper.stop();
    reactor
        .call_later(std::time::Duration::from_millis(2), stop)
        .unwrap();
    let attached = outer.attach(reactor, false, on_end)?;
    let how = loop {
        outer.iterate(true);
        if let Some(how) = ended.take() {
            break how;
        }
    };
    drop(attached);
    how.unwrap()
}

#[test]
fn libuv_refuses_a_stack_that_is_too_deep() {
    a_host_of_a_stack_that_is_too_deep_has_an_error::<Uv>();
}

#[test]
fn calloop_refuses_a_stack_that_is_too_deep() {
    a_host_of_a_stack_that_is_too_deep_has_an_error::<Calloop>();
}

#[test]
fn libevent_refuses_a_stack_that_is_too_deep() {
    a_host_of_a_stack_that_is_too_deep_has_an_error::<Libevent>();
}

#[test]
fn libev_refuses_a_stack_that_is_too_deep() {
    a_host_of_a_stack_that_is_too_deep_has_an_error::<Libev>();
}

#[test]
fn sd_event_refuses_a_stack_that_is_too_deep() {
    a_host_of_a_stack_that_is_too_deep_has_an_error::<SdEvent>();
}

/// It waits by poll(2).
#[test]
fn glib_is_not_a_level() {
    let (stack, refused) = deepest();
    drop(refused);
    attach_and_iterate(&Glib::new(), stack.last().unwrap()).unwrap();
}

#[test]
fn a_loop_that_is_too_deep_is_refused_with_the_reason() {
    let _watchdog = Watchdog::new("depth");
    let (stack, refused) = deepest();
    let (innermost, outermost) = (&stack[0], stack.last().unwrap());
    let text = refused.to_string();
    // The host comes back with the error, and with it the claim on its reactor.
    drop(refused);
    assert!(
        text.contains("add_handler") && text.contains("four deep"),
        "{text}"
    );
    assert_eq!(stack.len(), 5);

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
