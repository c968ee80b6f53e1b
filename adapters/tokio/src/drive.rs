use std::fmt;
use std::future::Future;
use std::io::{self, Result};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use oneloop::adapter::{self, Descriptor, Watch};
use oneloop::{Reactor, Threading};
use tokio::runtime::{Handle, Id};
use tokio::task;

use crate::park::Sleep;

/// Drives `reactor` inside tokio until [`Reactor::stop`] is called.
///
/// It ends only then or with an error. To end when nothing is left that could call back, use [`run`]. If
/// `stop` was called before, it ends at once.
///
/// Spawn the future, or await it beside others. A [`LocalReactor`](oneloop::LocalReactor) is not `Send`, so
/// spawn its future on a `LocalSet`. After the future was dropped, another driver can continue. Callbacks run
/// inside the runtime's context, so that they may spawn. They run outside its cooperative budget, so that
/// tokio's channels work in them without limit.
///
/// The future may be polled in one runtime and then in another.
///
/// # Hooks
///
/// The reactor asks its hooks ([`Reactor::add_hook`]) after its turns, and tokio's tasks run after that. If
/// tasks use the library of a hook, build the runtime with [`before_park`](crate::before_park). Otherwise
/// they must call [`Reactor::wake`] after each use.
///
/// # Paused time
///
/// `tokio::time::pause` does not affect the timers of a reactor, which have their own clock. While the
/// reactor sleeps, paused time jumps to tokio's next timer and skips those of the reactor. In a test, give
/// the reactor a [`TestClock`](oneloop::TestClock) as well, and advance both by the same time:
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut builder = tokio::runtime::Builder::new_current_thread();
/// # let runtime = builder.enable_all().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let clock = oneloop::TestClock::new();
/// let reactor = oneloop::Reactor::builder().clock(clock.clone()).build()?;
/// let driving = tokio::spawn(oneloop_tokio::drive(&reactor));
/// let (sender, mut fired) = tokio::sync::mpsc::unbounded_channel();
/// for seconds in [10, 20] {
///     let sender = sender.clone();
///     let fire = move || sender.send(seconds).unwrap();
///     reactor.call_later(Duration::from_secs(seconds), fire)?;
/// }
/// clock.advance(Duration::from_secs(15));
/// tokio::time::advance(Duration::from_secs(15)).await;
/// assert_eq!(fired.recv().await, Some(10));
/// assert!(fired.try_recv().is_err());
/// # reactor.stop();
/// # driving.await??;
/// # Ok(()) })
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if the reactor has another driver, if it is [closed](Reactor::close), or if the kernel
/// fails. Polling the future outside a tokio runtime is an error, too. The error contains a
/// [`oneloop::Error`] and therefore has no code of its own. [`oneloop::Error::of`] finds it, with the failed
/// call and the system's code, and has an example.
///
/// # Panics
///
/// Panics if a callback does. Another `drive` can continue. Also panics in a runtime without an I/O driver
/// (`enable_io`).
pub fn drive<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive {
        sleep: Sleep::new(reactor),
        drive: adapter::Drive::until_stopped(reactor),
    }
}

/// Drives `reactor` inside tokio until nothing is left that could call back, like [`Reactor::run`], or until
/// [`Reactor::stop`] is called. Everything else is as with [`drive`].
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
/// # runtime.block_on(async {
/// let reactor = oneloop::Reactor::new()?;
/// reactor.call_later(Duration::from_millis(1), || println!("the last output is written"))?;
/// oneloop_tokio::run(&reactor).await?;
/// # Ok(()) })
/// # }
/// ```
///
/// # Errors
///
/// Returns an error in the same cases as [`drive`].
///
/// # Panics
///
/// Panics in the same cases as [`drive`].
pub fn run<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive {
        sleep: Sleep::new(reactor),
        drive: adapter::Drive::until_empty(reactor),
    }
}

/// The future that [`drive`] and [`run`] return.
#[must_use = "a reactor is driven only while this is polled"]
pub struct Drive<M: Threading> {
    sleep: Sleep<M>,
    drive: adapter::Drive<M, Watched<M>>,
}

impl<M: Threading> Future for Drive<M> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.sleep.end()?;
        let polled = Pin::new(&mut self.drive).poll(cx);
        if polled.is_pending() {
            self.sleep.begin();
        }
        polled
    }
}

impl<M: Threading> fmt::Debug for Drive<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drive")
    }
}

oneloop::__if_pollable! {
    {
        use tokio::io::{Interest, unix::AsyncFd};

        type Fd<M> = AsyncFd<Descriptor<M>>;

        fn watch<M: Threading>(descriptor: Descriptor<M>) -> Result<Fd<M>> {
            // The descriptor owns a handle of the reactor, so it stays open. It means the same file while it is
            // watched. (The unsafe function that states this would need tokio 1.53.3.)
            #[allow(deprecated)]
            AsyncFd::with_interest(descriptor, Interest::READABLE)
        }

        fn poll_readable<M: Threading>(fd: &mut Fd<M>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            fd.poll_read_ready(cx).map_ok(|mut ready| ready.clear_ready())
        }
    } else {
        type Fd<M> = Descriptor<M>;

        fn watch<M: Threading>(descriptor: Descriptor<M>) -> Result<Fd<M>> {
            Ok(descriptor)
        }

        fn poll_readable<M: Threading>(fd: &mut Fd<M>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            fd.poll_readable(cx)
        }
    }
}

/// tokio's watch of the descriptor.
struct Watched<M: Threading> {
    fd: Fd<M>,
    runtime: Id,
}

impl<M: Threading> Watch<M> for Watched<M> {
    const RUNTIME: &'static str = "tokio";

    fn new(descriptor: Descriptor<M>) -> Result<Watched<M>> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        Ok(Watched {
            fd: watch(descriptor)?,
            runtime: runtime.id(),
        })
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        poll_readable(&mut self.fd, cx)
    }

    fn is_current(&self) -> bool {
        Handle::try_current().is_ok_and(|runtime| runtime.id() == self.runtime)
    }

    fn yield_now(cx: &mut Context<'_>) {
        if pin!(task::yield_now()).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn without_limit<T>(mut turns: impl FnMut() -> T) -> T {
        let once = std::future::poll_fn(|_| Poll::Ready(turns()));
        let done =
            pin!(task::coop::unconstrained(once)).poll(&mut Context::from_waker(Waker::noop()));
        match done {
            Poll::Ready(result) => result,
            Poll::Pending => turns(),
        }
    }
}
