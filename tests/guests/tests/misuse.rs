//! Misuse of two loops: either of them ends first, and there is more than one driver.

use std::cell::Cell;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use oneloop::{ErrorKind, Reactor};
use oneloop_conformance::Watchdog;
use oneloop_glib::ContextGuest;
use oneloop_guests_tests::calloop::Calloop;
use oneloop_guests_tests::compio::Compio;
use oneloop_guests_tests::glib::{Glib, OwnerlessGlib};
use oneloop_guests_tests::glue::{Libev, Libevent, SdEvent};
use oneloop_guests_tests::nested::Nested;
use oneloop_guests_tests::uv::Uv;
use oneloop_guests_tests::{ForeignLoop, Kind, OuterLoop};

const MILLISECOND: Duration = Duration::from_millis(1);

/// The reactor is freed, and then closed, while the loop is its guest. A third one goes on with what was set in the
/// loop.
fn the_reactor_goes_first<L: ForeignLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let (inner, fired) = (L::new(), Rc::new(Cell::new(false)));
    let set = fired.clone();
    inner.after(20 * MILLISECOND, move || set.set(true));

    let freed = Reactor::new_local().unwrap();
    freed.add_guest(L::NAME, inner.guest()).unwrap();
    freed.turn(Some(Duration::ZERO)).unwrap();
    drop(freed);

    let closed = Reactor::new_local().unwrap();
    closed.add_guest(L::NAME, inner.guest()).unwrap();
    closed.turn(Some(Duration::ZERO)).unwrap();
    closed.close();
    let refused = closed.add_guest(L::NAME, inner.guest()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);

    let third = Reactor::new_local().unwrap();
    let guest = third.add_guest(L::NAME, inner.guest()).unwrap();
    while !fired.get() {
        third.turn(None).unwrap();
    }
    third.remove_guest(guest).unwrap();
}

/// A callback of the guest can neither drive the reactor, nor have the guest asked or turned inside itself.
fn a_guest_inside_itself_is_let_alone<L: ForeignLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let (inner, reactor) = (L::new(), Reactor::new_local().unwrap());
    reactor.add_guest(L::NAME, inner.guest()).unwrap();
    let here = reactor.clone();
    let callback = move || {
        let refused = here.turn(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyDriven);
        here.ask_hooks().unwrap();
        here.stop();
    };
    inner.after(MILLISECOND, callback);
    reactor.run().unwrap();
    reactor.close();
}

/// Only one can drive.
fn a_second_host_is_refused<L: OuterLoop>() {
    let (first, second, reactor) = (L::new(), L::new(), Reactor::new().unwrap());
    let attached = first.attach(&reactor, false, |_| ()).unwrap();
    for outer in [&first, &second] {
        let refused = outer.attach(&reactor, false, |_| unreachable!());
        let refused = refused.err().unwrap();
        let cause = oneloop::Error::of(&refused).unwrap();
        assert_eq!(cause.kind(), ErrorKind::AlreadyDriven, "{refused}");
    }
    drop(attached);
    drop(second.attach(&reactor, false, |_| ()).unwrap());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    for outer in [first, second] {
        outer.iterate(false);
    }
}

macro_rules! of_each {
    ($test:ident: $($name:ident $loop:ty),*) => {
        mod $test {
            use super::*;
            $(#[test]
            fn $name() {
                super::$test::<$loop>();
            })*
        }
    };
}

of_each!(the_reactor_goes_first: compio Compio, glib Glib, ownerless_glib OwnerlessGlib, libuv Uv, sd_event SdEvent,
    another_reactor Nested);
of_each!(a_guest_inside_itself_is_let_alone: compio Compio, glib Glib, ownerless_glib OwnerlessGlib, libuv Uv,
    sd_event SdEvent, another_reactor Nested);
of_each!(a_second_host_is_refused: glib Glib, libuv Uv, calloop Calloop, libevent Libevent, libev Libev,
    sd_event SdEvent);

/// The guest has a reference of its own.
#[test]
fn the_event_loop_of_a_guest_may_be_given_up_first() {
    let _watchdog = Watchdog::new("sd-event");
    let (inner, reactor) = (SdEvent::new(), Reactor::new_local().unwrap());
    reactor.add_guest("sd-event", inner.guest()).unwrap();
    let stopper = reactor.clone();
    inner.after(MILLISECOND, move || stopper.stop());
    drop(inner);
    reactor.run().unwrap();
    reactor.close();
}

/// Threads that add sources would not wake it.
#[test]
fn a_context_that_another_thread_owns_is_no_guest() {
    let (owned, is_owned) = channel();
    let (end, ends) = channel::<()>();
    let owner = thread::spawn(move || {
        // SAFETY: null is the default context, which no other code iterates.
        let guest = unsafe { ContextGuest::new(null_mut()) };
        assert!(guest.is_some());
        owned.send(()).unwrap();
        let _ = ends.recv();
    });
    is_owned.recv().unwrap();
    // SAFETY: as there.
    assert!(unsafe { ContextGuest::new(null_mut()) }.is_none());
    drop(end);
    owner.join().unwrap();
    // SAFETY: as there.
    assert!(unsafe { ContextGuest::new(null_mut()) }.is_some());
}
