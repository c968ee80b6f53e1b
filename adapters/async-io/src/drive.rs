use std::fmt;
use std::future::Future;
use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use oneloop::adapter::{self, Descriptor, Watch};
use oneloop::{Reactor, Threading};

/// Drives `reactor` inside async-io until [`Reactor::stop`] is called.
///
/// It ends on that or on an error. To end when nothing is left that could call back, use [`run`]. A
/// `stop` that came before ends it at once.
///
/// Spawn the future on any executor, or await it beside others. If the reactor is a
/// [`LocalReactor`](oneloop::LocalReactor), which is not `Send`, spawn it on a local executor. After the future
/// was dropped, the reactor can be driven on, here or elsewhere. The future may be polled on one executor and
/// then on another.
///
/// Hooks of the reactor ([`Reactor::add_hook`]) are asked after its turns, and other tasks run after that.
/// Nothing tells before async-io sleeps: a task that uses the library of a hook has to call
/// [`Reactor::wake`] after that.
///
/// # Errors
///
/// If something else drives the reactor already, if the reactor is [closed](Reactor::close), or if the kernel
/// fails. The error has a [`oneloop::Error`]
/// inside, and hence no code of its own. [`oneloop::Error::of`] finds it, with the call that failed and the
/// system's code; there is an example.
///
/// # Panics
///
/// If a callback does. Another `drive` goes on.
pub fn drive<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive(adapter::Drive::until_stopped(reactor))
}

/// Drives `reactor` inside async-io until nothing is left that could call back, as [`Reactor::run`]
/// does, or until [`Reactor::stop`] is called. All else is as with [`drive`].
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
/// As [`drive`].
///
/// # Panics
///
/// As [`drive`].
pub fn run<M: Threading>(reactor: &Reactor<M>) -> Drive<M> {
    Drive(adapter::Drive::until_empty(reactor))
}

/// The future that [`drive`] and [`run`] make.
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

/// async-io's watch of the descriptor.
struct Watched<M: Threading>(Async<Descriptor<M>>);

impl<M: Threading> Watch<M> for Watched<M> {
    const RUNTIME: &'static str = "async-io";

    fn new(descriptor: Descriptor<M>) -> Result<Watched<M>> {
        // The descriptor is only ever polled, so that its O_NONBLOCK does not matter.
        Ok(Watched(Async::new_nonblocking(descriptor)?))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_readable(cx)
    }
}
