//! The two faces of a reactor, Rust's and C's: the calls that both have.

mod c;
mod rust;

use std::os::fd::RawFd;
use std::time::{Duration, Instant, SystemTime};

use oneloop::{Reactor, Turn};

use crate::fault::Fault;
use crate::play::Part;
use crate::step::{HandlerMode, Urgency};

/// Which of them a program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// The functions that a Rust program calls.
    Rust,
    /// The C ABI, for all that it has; the rest is as in Rust.
    C,
}

impl Face {
    pub(crate) fn calls(self) -> &'static dyn Calls {
        match self {
            Face::Rust => &rust::Rust,
            Face::C => &c::C,
        }
    }
}

/// Calls by the names of a reactor's methods. Interests and ids are plain bits.
pub(crate) trait Calls: Sync {
    fn add_raw_handler(
        &self,
        reactor: &Reactor,
        on: (RawFd, u8, HandlerMode),
        part: Part,
    ) -> Result<u64, Fault>;
    fn update_handler(&self, reactor: &Reactor, id: u64, interest: u8) -> Result<(), Fault>;
    fn rearm_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault>;
    fn remove_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault>;
    fn handler_fd(&self, reactor: &Reactor, id: u64) -> Result<RawFd, Fault>;
    fn unref_handler(&self, reactor: &Reactor, id: u64) -> Result<(), Fault>;

    fn set_timer(&self, reactor: &Reactor, set: Set, part: Part) -> Result<u64, Fault>;
    fn reset_timer(&self, reactor: &Reactor, id: u64, delay: Duration) -> Result<(), Fault>;
    fn reset_timer_to_system_time(
        &self,
        reactor: &Reactor,
        id: u64,
        time: SystemTime,
    ) -> Result<(), Fault>;
    fn cancel_timer(&self, reactor: &Reactor, id: u64) -> Result<(), Fault>;
    fn unref_timer(&self, reactor: &Reactor, id: u64) -> Result<(), Fault>;

    fn post(&self, reactor: &Reactor, urgency: Urgency, part: Part) -> Result<(), Fault>;
    fn add_hook(&self, reactor: &Reactor, before: Part, after: Part) -> Result<u64, Fault>;
    fn remove_hook(&self, reactor: &Reactor, id: u64) -> Result<(), Fault>;

    fn turn(&self, reactor: &Reactor, timeout: Option<Duration>) -> Result<Turn, Fault>;
    fn run(&self, reactor: &Reactor) -> Result<(), Fault>;
    fn stop(&self, reactor: &Reactor);
    fn close(&self, reactor: &Reactor);

    /// Calls what makes no sense, which must fail without harm. `number` is that of no
    /// descriptor, and `id` that of no handler.
    fn garbage(&self, reactor: &Reactor, call: u8, id: u64, number: RawFd) -> Result<(), Fault>;
}

/// How a timer is set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Set {
    After(Duration),
    At(Instant),
    Every(Duration),
    EveryAt(Instant, Duration),
    System(SystemTime),
}
