//! One event loop for callback code, C libraries and async runtimes in one process.
//!
//! Code registers a descriptor, an interest and a callback with a [`Reactor`]. The code then runs on the
//! built-in loop ([`Reactor::run`]), inside tokio (`oneloop-tokio`), or inside async-io and smol
//! (`oneloop-async-io`). It also runs inside any loop that can watch one descriptor ([`Reactor::host`]). It
//! can move from one loop to another while everything stays registered.
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
//! These promises hold under every host and on every poller:
//!
//! - Level, edge and one-shot mean what the kernel means by them. If several handlers are on one descriptor,
//!   each works as if it were alone. A hang-up or an error reaches every handler that waits for anything.
//! - A turn waits, calls the handlers that are ready, then the due timers by deadline, and then the posts.
//!   Posts of other [priorities](Priority) come before and after these. A removed callback is not called any
//!   more, and an added handler is called in a later turn. If a handler or timer posts, the post runs at the
//!   end of that turn. If a handler sets a timer that is due already, it fires in that turn. A post made by a
//!   post, and a timer set by a timer, wait for the next turn. No callback starves another, nor the host's
//!   own tasks.
//! - Callbacks run one at a time, never inside each other, and with no lock held. They may call every method.
//!   A panic reaches the driver and removes only the callback that panicked.
//! - Timers run on the monotonic clock and never fire early. No post and no wake is lost.
//! - Changing hosts loses nothing.
//!
//! # Non-goals
//!
//! oneloop is no executor, no I/O library and no replacement for tokio. It reports readiness and leaves
//! reading and writing to the owner of the descriptor. It does not emulate features that a system lacks, but
//! returns [`ErrorKind::Unsupported`].
//!
//! On Windows, sockets take the place of descriptors, and there is no edge mode. The loop has no descriptor that a
//! host could watch, so a thread waits and wakes the host. In the repository, `docs/systems.md` lists what each
//! system supports.
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
//! Nothing is left when nothing could call back any more. [`Reactor::run`] has the details.
//!
//! [`Reactor::stop`] ends every driver without an error. There is one exception: `block_on` has no result
//! then, and returns an error of the kind [`Stopped`](ErrorKind::Stopped). The results of `turn` and `step`
//! say that the loop was stopped. If `stop` is called while no driver runs, the next driver ends at once.
//! [`Reactor::close`] ends every driver with an error of the kind [`Closed`](ErrorKind::Closed).
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | descriptors, timers, posts | [`Reactor`] |
//! | signals, children (feature `signal`) | [`Reactor`]: `add_signal`, `add_child` |
//! | something without a descriptor | [`VirtualSource`] |
//! | objects that futures can await: sockets, timers | [`futures`] |
//! | another loop inside this one, a library's poll set | [`Guest`], [`Reactor::add_guest`] |
//! | a host of your own | [`Host`], [`WakeHost`], [`adapter`] |
//! | the loop's activity, and the callbacks that delay it | [`Reactor::dump`], [`Reactor::snapshot`], [`Stats`], [`Reactor::observe_callbacks`] |
//! | tests of code that sets timers | [`TestClock`] |
//!
//! # Features
//!
//! - `futures` (default): the module [`futures`].
//! - `polling` (default): on Linux, the portable poller beside epoll ([`PollerKind`]). Elsewhere it
//!   is always there.
//! - `signal`: `Reactor::add_signal` and `Reactor::add_child`. On Windows, the signals are two keys of the console.
//! - `tracing`: a span for every callback, and a warning when a future waits on a loop that has no driver.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

// First, because the page of `Reactor` shows its methods in the order of the modules here.
mod reactor;

pub mod adapter;
#[doc(hidden)]
pub mod bindings;
#[cfg(feature = "signal")]
mod child;
mod clock;
mod engine;
mod error;
mod event;
mod file_kind;
mod fork;
#[cfg(feature = "futures")]
pub mod futures;
mod guest;
mod host;
mod id;
mod lookout;
mod observe;
mod os;
mod outcome;
mod poller;
mod priority;
#[cfg(all(epoll, target_os = "linux"))]
mod seccomp;
mod share;
#[cfg(feature = "signal")]
mod signal;
mod snapshot;
mod source;
mod stats;
mod sync;
mod threads;
mod wake_host;

#[cfg(feature = "signal")]
pub use child::ChildProcess;
pub use clock::TestClock;
pub use error::{AddError, Error, ErrorKind, PostError, Result};
pub use event::{Action, Event, Interest, Mode, Ready};
pub use file_kind::FileKind;
pub use guest::{Guest, Watched, WatchedFd};
pub use host::{Host, Step, Turn};
pub use id::{GuestId, HandlerId, HookId, Id, ObserverId, PostId, TimerId};
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
    DriverInfo, GuestInfo, HandlerInfo, HookInfo, LoopEvent, PostInfo, RateLimit, ReadinessBy,
    Snapshot, TimerInfo,
};
pub use source::{SetReadiness, Source, SourceKind, VirtualSource};
pub use stats::Stats;
pub use threads::{Local, MaybeSend, Shared, Threading};
pub use wake_host::WakeHost;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
