//! The whole contract, through each loop: the loop drives the reactor of the case, by itself or as the guest of
//! another reactor.

#[path = "../../hosts/async_io.rs"]
#[allow(dead_code)]
mod async_io;
#[path = "../../hosts/own_wait.rs"]
mod own_wait;
#[path = "../../hosts/tokio.rs"]
#[allow(dead_code)]
mod tokio;

use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};

use oneloop::Reactor;
use oneloop_conformance::{HostUnderTest, Outside, conformance};
use oneloop_guests_tests::calloop::Calloop;
use oneloop_guests_tests::glib::{Glib, OwnerlessGlib};
use oneloop_guests_tests::glue::{Libev, Libevent, SdEvent};
use oneloop_guests_tests::uv::Uv;
use oneloop_guests_tests::{AssertSend, ForeignLoop, OuterLoop};

/// The loop drives by itself.
struct Hosted<L>(L);

impl<L: OuterLoop> HostUnderTest for Hosted<L> {
    fn new() -> Self {
        Hosted(L::new())
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.run(reactor, false, outside)
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        self.run(reactor, true, Box::new(|| {}))
    }
}

impl<L: OuterLoop> Hosted<L> {
    fn run(&self, reactor: &Reactor, exits_when_empty: bool, outside: Outside) -> io::Result<()> {
        let ended = Arc::new(Mutex::new(None));
        let end = ended.clone();
        let on_end = move |how| *end.lock().expect("no panic") = Some(how);
        let _attached = self.0.attach(reactor, exits_when_empty, on_end)?;
        let mut outside = Some(outside);
        for turn in 0.. {
            if let Some(end) = ended.lock().expect("no panic").take() {
                return end.unwrap_or_else(|payload| resume_unwind(payload));
            }
            // The reactor sleeps after some turns, unless the case keeps it awake.
            if turn == 5 {
                outside.take().into_iter().for_each(|outside| outside());
            }
            self.0.iterate(turn >= 5);
        }
        Ok(())
    }
}

/// The loop is the guest of another reactor, which `H` drives.
struct Stacked<L, H>(L, H);

impl<L: ForeignLoop + OuterLoop, H: HostUnderTest> HostUnderTest for Stacked<L, H> {
    fn new() -> Self {
        Stacked(L::new(), H::new())
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.run(reactor, false, outside)
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        self.run(reactor, true, Box::new(|| {}))
    }
}

impl<L: ForeignLoop + OuterLoop, H: HostUnderTest> Stacked<L, H> {
    fn run(
        &mut self,
        reactor: &Reactor,
        exits_when_empty: bool,
        outside: Outside,
    ) -> io::Result<()> {
        let outer = Reactor::new()?;
        let guest = outer.add_guest(L::NAME, AssertSend(self.0.guest()))?;
        let ended = Arc::new(Mutex::new(None));
        let (end, stopper) = (ended.clone(), outer.clone());
        let on_end = move |how| {
            *end.lock().expect("no panic") = Some(how);
            stopper.stop();
        };
        let attached = self.0.attach(reactor, exits_when_empty, on_end)?;
        let driven = self.1.drive(&outer, outside);
        drop(attached);
        outer.remove_guest(guest)?;
        outer.close();
        driven?;
        match ended.lock().expect("no panic").take() {
            Some(end) => end.unwrap_or_else(|payload| resume_unwind(payload)),
            None => Ok(()),
        }
    }
}

conformance!(glib_hosts, Hosted<Glib>);
conformance!(uv_hosts, Hosted<Uv>);
conformance!(calloop_hosts, Hosted<Calloop>);
conformance!(libevent_hosts, Hosted<Libevent>);
conformance!(libev_hosts, Hosted<Libev>);
conformance!(sd_event_hosts, Hosted<SdEvent>);
conformance!(glib_in_built_in, Stacked<Glib, own_wait::BuiltIn>);
conformance!(glib_in_tokio, Stacked<Glib, tokio::CurrentThread>);
conformance!(glib_in_async_io, Stacked<Glib, async_io::BlockOn>);
conformance!(sd_event_in_built_in, Stacked<SdEvent, own_wait::BuiltIn>);
conformance!(ownerless_glib_in_built_in, Stacked<OwnerlessGlib, own_wait::BuiltIn>);
// Inside a runtime, libuv's epoll is one too many: a chain of five is refused by the kernel.
conformance!(uv_in_built_in, Stacked<Uv, own_wait::BuiltIn>);
