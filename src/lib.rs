//! One event loop for callback code, C libraries and async runtimes in one process.
//!
//! Code registers a descriptor, an interest and a callback with a [`Reactor`]. The same code then
//! runs on the built-in loop ([`Reactor::run`]), inside tokio (`oneloop-tokio`), inside async-io and
//! smol (`oneloop-async-io`), or inside any loop that can watch one descriptor ([`Reactor::host`]),
//! and can be moved from one to the other while everything stays registered.
//!
//! ```
//! use oneloop::{Interest, Mode, Reactor};
//! use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reactor = Reactor::new()?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//!
//! reactor.add_handler(listener, Interest::READABLE, Mode::Level, |listener, _| {
//!     let (stream, _) = listener.accept().unwrap();
//!     let reactor = Reactor::current().unwrap(); // the loop that calls
//!     reactor.add_handler(stream, Interest::READABLE, Mode::Level, |stream, _| {
//!         let mut byte = [0];
//!         stream.read_exact(&mut byte).unwrap();
//!         Reactor::current().unwrap().stop();
//!     }).unwrap();
//! })?;
//! reactor.call_later(Duration::from_millis(1), move || client.write_all(b"!").unwrap())?;
//!
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! Under every host and on every poller:
//!
//! - Level, edge and one-shot mean what the kernel means by them; several handlers on one
//!   descriptor work each as if it were alone; a hang-up or an error reaches everybody who waits
//!   for anything.
//! - A turn is: wait, handlers that are ready, due timers by deadline, posted callbacks; before and
//!   after these, posts of other [priorities](Priority). What a callback removes is not called any
//!   more. A handler that it adds is called in a later turn. A post by a handler or timer runs at the
//!   end of the same turn, and a timer that a handler sets and that is due already fires in it; what
//!   a post adds, and a timer that a timer sets, is for the next turn. Nobody starves anybody, the
//!   host's own tasks included.
//! - Callbacks run one at a time, never inside each other, with no lock held, and may call every
//!   method. A panic reaches whoever drives and takes nothing with it but the callback it came
//!   from.
//! - Timers run on the monotonic clock and never fire early. No post and no wake is lost.
//! - Changing hosts loses nothing.
//!
//! # Non-goals
//!
//! oneloop is no executor, no I/O library and no replacement for tokio: it carries readiness, and
//! leaves reading and writing to whoever owns the descriptor. It does not emulate what a system
//! has not got: that is an [`ErrorKind::Unsupported`].
//!
//! On Windows sockets take the part of descriptors, and hosts and edge mode are not there; what each
//! system has is in `docs/systems.md` in the repository.
//!
//! # Drivers
//!
//! | driver | when nothing is left | thread |
//! |---|---|---|
//! | [`Reactor::run`] | ends | the caller's |
//! | [`Reactor::run_forever`] | waits on | the caller's |
//! | [`Reactor::block_on`] | waits on, for its future | the caller's |
//! | [`Reactor::turn`] | waits on, for its timeout | the caller's |
//! | `oneloop_tokio::drive`, `oneloop_async_io::drive` | waits on | the one that polls the future |
//! | `oneloop_tokio::run`, `oneloop_async_io::run` | ends | the one that polls the future |
//! | [`Host::step`] | sleeps on, or ends ([`Host::exit_when_empty`]) | the caller's |
//!
//! Nothing is left when there is nothing that could call back; see [`Reactor::run`].
//!
//! [`Reactor::stop`] ends every driver without an error. (`block_on`, which has no result then, gives an error
//! of the kind [`Stopped`](ErrorKind::Stopped). `turn` and `step` say so in their result.) If it is called while
//! nothing drives, it ends the next driver at once. [`Reactor::close`] ends every driver with an error of
//! the kind [`Closed`](ErrorKind::Closed).
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | descriptors, timers, posts | [`Reactor`] |
//! | signals, children (feature `signal`) | [`Reactor`]: `add_signal`, `add_child` |
//! | something without a descriptor | [`VirtualSource`] |
//! | what futures can await: sockets, timers | [`futures`] |
//! | a host of your own | [`Host`], [`WakeHost`], [`adapter`] |
//! | what the loop is doing, and who holds it up | [`Reactor::dump`], [`Reactor::snapshot`], [`Stats`], [`Reactor::observe_callbacks`] |
//! | tests of code that sets timers | [`TestClock`] |
//!
//! # Features
//!
//! - `futures` (default): the module [`futures`].
//! - `polling` (default): on Linux, the portable poller beside epoll ([`PollerKind`]). Elsewhere it
//!   is always there.
//! - `signal`: `Reactor::add_signal` and `Reactor::add_child`, on Unix.
//! - `tracing`: a span for every callback, and a warning when a future waits on a loop that nobody
//!   drives.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

// First, because the page of `Reactor` shows its methods in the order of the modules here.
mod reactor;

#[cfg(pollable)]
pub mod adapter;
#[doc(hidden)]
pub mod bindings;
#[cfg(all(unix, feature = "signal"))]
mod child;
mod clock;
mod engine;
mod error;
mod event;
mod file_kind;
mod fork;
#[cfg(feature = "futures")]
pub mod futures;
mod host;
mod id;
mod observe;
mod os;
mod outcome;
mod poller;
mod priority;
#[cfg(all(epoll, target_os = "linux"))]
mod seccomp;
mod share;
#[cfg(all(unix, feature = "signal"))]
mod signal;
mod snapshot;
mod source;
mod stats;
mod sync;
mod threads;
#[cfg(pollable)]
mod wake_host;

#[cfg(all(unix, feature = "signal"))]
pub use child::ChildProcess;
pub use clock::TestClock;
pub use error::{AddError, Error, ErrorKind, PostError, Result};
pub use event::{Action, Event, Interest, Mode, Ready};
pub use file_kind::FileKind;
pub use host::{Host, Step, Turn};
pub use id::{HandlerId, HookId, Id, ObserverId, PostId, TimerId};
pub use observe::{CallbackKind, CallbackRun};
pub use outcome::{FailedCallback, IntoAction, IntoResult};
pub use poller::PollerKind;
#[cfg(feature = "__testing")]
#[doc(hidden)]
pub use poller::testing;
pub use priority::Priority;
pub use reactor::{Builder, LocalReactor, Reactor, Remote, WeakReactor};
pub use share::{LoopCell, With};
pub use snapshot::{
    DriverInfo, HandlerInfo, HookInfo, LoopEvent, PostInfo, RateLimit, ReadinessBy, Snapshot,
    TimerInfo,
};
pub use source::{SetReadiness, Source, SourceKind, VirtualSource};
pub use stats::Stats;
pub use threads::{Local, MaybeSend, Shared, Threading};
#[cfg(pollable)]
pub use wake_host::WakeHost;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
