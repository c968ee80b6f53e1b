//! The contract of [`oneloop`] as a test suite that any host runs, a third party's too.
//!
//! Say how your host drives a reactor, and one line makes the tests, one for each case and poller,
//! named like `my_host::epoll::level_repeats_until_drained`:
//!
//! ```
//! use oneloop::Step;
//! use oneloop_conformance::{HostUnderTest, Outside, Reactor};
//!
//! struct MyHost;
//!
//! impl HostUnderTest for MyHost {
//!     fn new() -> MyHost {
//!         MyHost
//!     }
//!
//!     fn drive(&mut self, reactor: &Reactor, outside: Outside) -> std::io::Result<()> {
//!         let mut host = reactor.host("my host")?;
//!         let mut outside = Some(outside);
//!         loop {
//!             match host.step(8)? {
//!                 Step::Watch | Step::Unwatch | Step::Yield => {}
//!                 Step::Sleep => {
//!                     outside.take().into_iter().for_each(|outside| outside());
//!                     oneloop_conformance::wait_readable(&host);
//!                 }
//!                 Step::Done => return Ok(()),
//!             }
//!         }
//!     }
//! }
//!
//! oneloop_conformance::conformance!(my_host, MyHost);
//! # fn main() {}
//! ```
//!
//! The cases are in one module a topic, each named after what it shows. What a poller cannot serve
//! is in [`EXCEPTIONS`], [`WITHOUT_DESCRIPTOR`], [`ON_POLL`] and [`ON_WINDOWS`], with the reason.

pub mod adding;
mod bystanders;
mod cases;
#[cfg(not(any(windows, polling_test_poll_backend)))]
pub mod descriptor;
pub mod events;
mod exceptions;
pub mod faults;
pub mod faulty;
pub mod guests;
pub mod hosting;
pub mod libraries;
pub mod limits;
pub mod neighbours;
pub mod numbers;
pub mod oddities;
mod os;
pub mod posting;
pub mod refusals;
pub mod removing;
mod sources;
mod stage;
pub mod stale;
mod tally;
pub mod time;
mod tools;
pub mod turns;
pub mod updating;
pub mod virtual_sources;

pub use exceptions::{
    EXCEPTIONS, Exception, ON_POLL, ON_WINDOWS, ON_WINDOWS_SOCKETS, Unserved, WITHOUT_DESCRIPTOR,
};
#[doc(hidden)]
pub use oneloop::__if_pollable;
pub use oneloop::{PollerKind, Reactor};
pub use sources::{End, Sources, VirtualEnd};
pub use stage::{Calls, Log, Number, Stage, step_inside};
#[cfg(unix)]
pub use tools::wait_readable;
pub use tools::{Watchdog, pair, readable};

/// The part of a case that runs on the host's own thread while the loop sleeps.
pub type Outside = Box<dyn FnOnce() + Send>;

/// How a host drives a reactor.
pub trait HostUnderTest {
    /// Makes the host, on the thread that will drive.
    fn new() -> Self
    where
        Self: Sized;

    /// Drives `reactor` until it is stopped.
    ///
    /// When it has nothing to do for the first time, calls `outside`: on the host's own thread,
    /// outside of any turn, as another task of the host would.
    ///
    /// # Errors
    ///
    /// Returns the error of the driver.
    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> std::io::Result<()>;

    /// Drives `reactor` until nothing is left that could call back. If the host has no such driver, it
    /// leaves this as it is.
    ///
    /// # Errors
    ///
    /// Returns the error of the driver.
    fn drive_until_empty(&mut self, reactor: &Reactor) -> std::io::Result<()> {
        Ok(reactor.run()?)
    }
}

/// Runs one case on one host, one poller and one kind of sources. What [`conformance!`] makes tests
/// of.
pub fn run<H: HostUnderTest>(
    name: &str,
    poller: PollerKind,
    sources: Sources,
    case: fn(&mut Stage),
) {
    if let Some(reason) = exceptions::reason(name, poller, sources) {
        println!("{name} is not for {poller:?}: {reason}");
        return;
    }
    let mut host = H::new();
    let mut stage = Stage::new(name, poller, sources, &mut host);
    case(&mut stage);
}
