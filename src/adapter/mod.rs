//! Support for adapters, which run a reactor inside an async runtime or another loop.
//!
//! A loop made of callbacks, such as GLib's, steps a [`Stepper`]. The rest of this page is about async runtimes.
//!
//! A runtime has to watch a descriptor and to poll a future. [`Drive`] is that future. [`Watch`] is the
//! runtime's part, and an adapter implements nothing else:
//!
//! ```
//! use oneloop::adapter::{Descriptor, Drive, Watch};
//! use oneloop::{Reactor, Threading};
//! use std::io::Result;
//! use std::task::{Context, Poll};
//!
//! /// async-io's watch.
//! struct Watched<M: Threading>(async_io::Async<Descriptor<M>>);
//!
//! impl<M: Threading> Watch<M> for Watched<M> {
//!     const RUNTIME: &'static str = "async-io";
//!
//!     fn new(descriptor: Descriptor<M>) -> Result<Self> {
//!         Ok(Watched(async_io::Async::new_nonblocking(descriptor)?))
//!     }
//!
//!     fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
//!         self.0.poll_readable(cx)
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let reactor = Reactor::new()?;
//! reactor.call_later(std::time::Duration::from_millis(1), || println!("inside async-io"))?;
//! async_io::block_on(Drive::<_, Watched<_>>::until_empty(&reactor))
//! # }
//! ```
//!
//! On Windows the poller is no descriptor. [`Descriptor`] has a method `poll_readable` there instead: a thread waits
//! and wakes the task. `Stepper` is not there.

#[cfg(pollable)]
mod stepper;

#[cfg(pollable)]
pub use stepper::{Attached, CallbackLoop, End, Stepper, run_attached};

use std::fmt;
use std::future::Future;
use std::io;
use std::mem::{self, replace};
use std::pin::Pin;
#[cfg(not(pollable))]
use std::sync::Arc;
#[cfg(not(pollable))]
use std::task::Waker;
use std::task::{Context, Poll};

use crate::engine::Next;
#[cfg(not(pollable))]
use crate::lookout::Lookout;
#[cfg(pollable)]
use crate::os::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(all(feature = "futures", feature = "tracing"))]
use crate::sync::atomic::Ordering;
#[cfg(not(pollable))]
use crate::sync::{Mutex, lock};
use crate::{Host, Reactor, Result, Threading};

/// The number of callbacks after which the runtime's own tasks and I/O get their turn. tokio gives its own
/// tasks the same limit. A limit of one would be fairest, and would halve the speed of a busy loop.
const BUDGET: usize = 128;

/// A runtime's watch of a reactor's descriptor. Dropping it ends the watch.
pub trait Watch<M: Threading>: Sized + Unpin {
    /// The runtime's name, for error messages.
    const RUNTIME: &'static str;

    /// Begins to watch the descriptor for reading. A descriptor that is readable already counts.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime cannot watch the descriptor. [`Drive`] ends with that error.
    fn new(descriptor: Descriptor<M>) -> io::Result<Self>;

    /// Returns ready if the descriptor has become readable since this last returned ready. If it returns
    /// pending, the runtime polls the task again later.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime cannot continue to watch.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Returns true if the runtime that polls the task now is the one that watches. Otherwise [`Drive`] drops
    /// the watch and begins another.
    fn is_current(&self) -> bool {
        true
    }

    /// Makes the runtime poll the task again after its other tasks and its I/O.
    fn yield_now(cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Calls `turns` once, outside any limit that the runtime sets for one poll of a task. Callbacks run
    /// inside.
    fn without_limit<T>(mut turns: impl FnMut() -> T) -> T {
        turns()
    }
}

/// A reactor's descriptor, which a runtime owns while it watches.
pub struct Descriptor<M: Threading> {
    reactor: Reactor<M>,
    #[cfg(not(pollable))]
    look: Option<Look<M>>,
}

/// A thread that looks in the place of a runtime.
#[cfg(not(pollable))]
struct Look<M: Threading> {
    lookout: Lookout<M>,
    /// The task that is woken after a look.
    waker: Arc<Mutex<Option<Waker>>>,
    /// True if the thread was sent, and its return was not told yet.
    is_sent: bool,
}

impl<M: Threading> Descriptor<M> {
    fn of(reactor: &Reactor<M>) -> Descriptor<M> {
        Descriptor {
            reactor: reactor.clone(),
            #[cfg(not(pollable))]
            look: None,
        }
    }

    /// Returns ready if the reactor has had something to do since this last returned ready. If it returns pending, a
    /// thread waits, and wakes the task. [`Watch::poll_readable`] calls this on systems on which the poller is no
    /// descriptor, and where this method is therefore there.
    ///
    /// # Errors
    ///
    /// Returns an error if the system cannot start the thread, or if a waker has panicked there.
    #[cfg(not(pollable))]
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let look = match &mut self.look {
            Some(look) => look,
            None => self.look.insert(Look::new(&self.reactor)?),
        };
        let waker = cx.waker().clone();
        // Before the look ends, so that its end wakes this task.
        let before = lock(&look.waker).replace(waker);
        drop(before);
        if look.is_sent && !look.lookout.is_looking() {
            look.is_sent = false;
            return Poll::Ready(Ok(()));
        }
        if !look.is_sent {
            look.lookout.send()?;
            look.is_sent = true;
        }
        Poll::Pending
    }
}

#[cfg(not(pollable))]
impl<M: Threading> Look<M> {
    fn new(reactor: &Reactor<M>) -> io::Result<Look<M>> {
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let woken = waker.clone();
        let wake = move || {
            let waker = lock(&woken).take();
            waker.into_iter().for_each(Waker::wake);
        };
        Ok(Look {
            lookout: Lookout::new(reactor, wake)?,
            waker,
            is_sent: false,
        })
    }
}

#[cfg(pollable)]
impl<M: Threading> AsFd for Descriptor<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reactor.core.as_fd()
    }
}

#[cfg(pollable)]
impl<M: Threading> AsRawFd for Descriptor<M> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A future that drives a reactor inside an async runtime.
///
/// It can be polled first in one runtime or on one thread, and then in another. If it is dropped, another
/// driver can continue. If it is polled again after it was ready, it is ready at once.
#[must_use = "a reactor is driven only while this is polled"]
pub struct Drive<M: Threading, W: Watch<M>> {
    state: State<M, W>,
}

enum State<M: Threading, W: Watch<M>> {
    New {
        expected: Expected<M>,
        exits_when_empty: bool,
    },
    Hosted(Hosted<M, W>),
    Done,
}

impl<M: Threading, W: Watch<M>> Drive<M, W> {
    /// Drives until [`Reactor::stop`] is called.
    pub fn until_stopped(reactor: &Reactor<M>) -> Drive<M, W> {
        Drive {
            state: State::New {
                expected: Expected::new(reactor),
                exits_when_empty: false,
            },
        }
    }

    /// Drives until nothing is left that could call back, like [`Reactor::run`], or until [`Reactor::stop`]
    /// is called.
    pub fn until_empty(reactor: &Reactor<M>) -> Drive<M, W> {
        Drive {
            state: State::New {
                expected: Expected::new(reactor),
                exits_when_empty: true,
            },
        }
    }
}

impl<M: Threading, W: Watch<M>> Future for Drive<M, W> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // After an error or a panic, this future is done, and other drivers can drive the reactor.
        let mut hosted = match replace(&mut self.state, State::Done) {
            State::New {
                expected,
                exits_when_empty,
            } => Hosted::new(&expected.0, exits_when_empty)?,
            State::Hosted(hosted) => hosted,
            State::Done => return Poll::Ready(Ok(())),
        };
        let polled = hosted.poll(cx)?;
        if polled.is_pending() {
            self.state = State::Hosted(hosted);
        }
        polled.map(Ok)
    }
}

/// A claim on the reactor, and the runtime's watch of its descriptor.
struct Hosted<M: Threading, W: Watch<M>> {
    host: Host<M>,
    /// The watch. There is none while one poll cannot do everything. The runtime then polls again anyway, and
    /// events on the descriptor need not wake it.
    watch: Option<W>,
    /// True if there may be more to do, even if the runtime has not seen the descriptor become readable.
    is_ready: bool,
    /// The number of callbacks since the runtime last looked for its own I/O.
    called: usize,
}

impl<M: Threading, W: Watch<M>> Hosted<M, W> {
    fn new(reactor: &Reactor<M>, exits_when_empty: bool) -> Result<Hosted<M, W>> {
        let mut host = reactor.host(W::RUNTIME)?;
        if exits_when_empty {
            host = host.exit_when_empty();
        }
        Ok(Hosted {
            host,
            watch: None,
            is_ready: true,
            called: 0,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        if self.watch.as_ref().is_some_and(|watch| !watch.is_current()) {
            self.unwatch();
        }
        loop {
            if let Some(watch) = &mut self.watch {
                // An event between this point and the last of the turns leads to one extra turn. It is not
                // lost.
                if !self.is_ready && watch.poll_readable(cx)?.is_pending() {
                    return Ok(Poll::Pending);
                }
                self.is_ready = true;
            }
            let core = &self.host.reactor().core;
            let turns = W::without_limit(|| core.host_turns(W::RUNTIME, BUDGET))?;
            match turns.next {
                Next::End => return Ok(Poll::Ready(())),
                Next::Sleep => self.watch()?,
                Next::LetTaskRun if self.watch.is_some() => {
                    self.called += turns.called;
                    if self.called < BUDGET {
                        // The woken task is before this one in the runtime's queue.
                        cx.waker().wake_by_ref();
                        return Ok(Poll::Pending);
                    }
                    break;
                }
                Next::LetTaskRun | Next::Yield | Next::Unwatch => {
                    // A thread that rests costs nothing, and its start does.
                    if cfg!(pollable) {
                        self.unwatch();
                    }
                    break;
                }
            }
        }
        self.called = 0;
        W::yield_now(cx);
        Ok(Poll::Pending)
    }

    fn watch(&mut self) -> io::Result<()> {
        self.is_ready = false;
        if self.watch.is_none() {
            let reactor = self.host.reactor();
            // Claimed first, so that the descriptor keeps its meaning from now on.
            reactor.core.host_watches(true);
            self.watch = Some(W::new(Descriptor::of(reactor))?);
        }
        Ok(())
    }

    fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            if self.host.reactor().is_forked() {
                // The runtime's registration in the kernel belongs to the parent, which must not lose it.
                mem::forget(watch)
            } else {
                drop(watch)
            }
            self.host.reactor().core.host_watches(false);
        }
    }
}

impl<M: Threading, W: Watch<M>> Drop for Hosted<M, W> {
    /// Ends the watch before the claim is released and another host may come.
    fn drop(&mut self) {
        self.unwatch();
    }
}

/// A drive that was not polled yet, such as a spawned future. While it exists, there is no warning that
/// futures wait on a loop without a driver.
struct Expected<M: Threading>(Reactor<M>);

impl<M: Threading> Expected<M> {
    fn new(reactor: &Reactor<M>) -> Expected<M> {
        #[cfg(all(feature = "futures", feature = "tracing"))]
        reactor.core.expected_drives.fetch_add(1, Ordering::Relaxed);
        Expected(reactor.clone())
    }
}

#[cfg(all(feature = "futures", feature = "tracing"))]
impl<M: Threading> Drop for Expected<M> {
    fn drop(&mut self) {
        self.0.core.expected_drives.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<M: Threading> fmt::Debug for Descriptor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Descriptor")
    }
}

impl<M: Threading, W: Watch<M>> fmt::Debug for Drive<M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drive")
    }
}
