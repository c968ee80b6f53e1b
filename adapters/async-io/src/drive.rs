use std::fmt;
use std::future::Future;
use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use oneloop::adapter::{self, Descriptor, Watch};
use oneloop::{Reactor, Threading};

/// Drives `reactor` inside async-io until [`Reactor::stop`] is called.
///
/// It ends only then or with an error. To end when nothing is left that could call back, use [`run`]. If
/// `stop` was called before, it ends at once.
///
/// Spawn the future on any executor, or await it beside others. A [`LocalReactor`](oneloop::LocalReactor) is
/// not `Send`, so spawn its future on a local executor. After the future was dropped, another driver can
/// continue. The future may be polled on one executor and then on another.
///
/// The reactor asks its hooks ([`Reactor::add_hook`]) after its turns, and other tasks run after that.
/// async-io has no notice before it sleeps. A task that uses the library of a hook must therefore call
/// [`Reactor::wake`] after each use.
///
/// # Errors
///
/// Returns an error if the reactor has another driver, if it is [closed](Reactor::close), or if the kernel
/// fails. The error contains a [`oneloop::Error`] and therefore has no code of its own.
/// [`oneloop::Error::of`] finds it, with the failed call and the system's code, and has an example.
///
/// # Panics
///
/// Panics if a callback does. Another `drive` can continue.
pub fn drive<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive(adapter::Drive::until_stopped(reactor))
}

/// Drives `reactor` inside async-io until nothing is left that could call back, like [`Reactor::run`], or
/// until [`Reactor::stop`] is called. Everything else is as with [`drive`].
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = oneloop::Reactor::new()?;
/// reactor.call_later(Duration::from_millis(1), || println!("the last output is written"))?;
/// async_io::block_on(oneloop_async_io::run(&reactor))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error in the same cases as [`drive`].
///
/// # Panics
///
/// Panics if a callback does, like [`drive`].
pub fn run<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive(adapter::Drive::until_empty(reactor))
}

/// The future that [`drive`] and [`run`] return.
#[must_use = "a reactor is driven only while this is polled"]
pub struct Drive<M: Threading>(adapter::Drive<M, Watched<M>>);

impl<M: Threading> Future for Drive<M> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<M: Threading> fmt::Debug for Drive<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drive")
    }
}

oneloop::__if_pollable! {
    {
        type Fd<M> = async_io::Async<Descriptor<M>>;

        fn watch<M: Threading>(descriptor: Descriptor<M>) -> Result<Fd<M>> {
            // The descriptor is only polled, so its O_NONBLOCK does not matter.
            async_io::Async::new_nonblocking(descriptor)
        }
    } else {
        type Fd<M> = Descriptor<M>;

        fn watch<M: Threading>(descriptor: Descriptor<M>) -> Result<Fd<M>> {
            Ok(descriptor)
        }
    }
}

/// async-io's watch of the descriptor.
struct Watched<M: Threading>(Fd<M>);

impl<M: Threading> Watch<M> for Watched<M> {
    const RUNTIME: &'static str = "async-io";

    fn new(descriptor: Descriptor<M>) -> Result<Watched<M>> {
        Ok(Watched(watch(descriptor)?))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_readable(cx)
    }
}
