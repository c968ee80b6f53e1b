//! Objects that futures await, on any executor. They need no runtime. They only need a driver that runs the
//! loop.
//!
//! ```
//! use futures_lite::{AsyncReadExt, AsyncWriteExt, future::zip};
//! use oneloop::{Reactor, futures::{Async, Timer}};
//! use std::{net::{TcpListener, TcpStream}, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reactor = Reactor::new()?;
//! let listener = Async::<TcpListener>::bind(&reactor, ([127, 0, 0, 1], 0))?;
//! let address = listener.get_ref().local_addr()?;
//!
//! let server = async {
//!     let (mut stream, _) = listener.accept().await?;
//!     Timer::after(&reactor, Duration::from_micros(300)).await;
//!     stream.write_all(b"hello").await
//! };
//! let client = async {
//!     let mut stream = Async::<TcpStream>::connect(&reactor, address).await?;
//!     let mut text = String::new();
//!     stream.read_to_string(&mut text).await.map(|_| text)
//! };
//! let (sent, text) = reactor.block_on(zip(server, client))?;
//! sent?;
//! assert_eq!(text?, "hello");
//! # Ok(())
//! # }
//! ```

mod io;
mod known;
mod net;
mod registration;
mod tasks;
mod timer;
#[cfg(unix)]
mod unix;
mod wait;
mod waiters;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Result};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::panic::Location;
use std::task::{Context, Poll};
use std::{fmt, result};

pub(crate) use known::Budget;
use known::Direction;
pub use net::IncomingTcp;
use registration::Registration;
pub use timer::Timer;
#[cfg(unix)]
pub use unix::IncomingUnix;
pub use wait::{OwnedWait, Wait};

use crate::os::AsRawFd;
use crate::{AddError, Error, Interest, Reactor, Ready, Shared, Source, SourceKind, Threading};

/// A source that futures can wait on.
///
/// Any number of tasks, on any executors and threads, may wait on one source. If the source reads and writes,
/// `Async<S>` and `&Async<S>` implement [`AsyncRead`](futures_io::AsyncRead) and
/// [`AsyncWrite`](futures_io::AsyncWrite). These traits, [`poll_readable`](Self::poll_readable) and
/// [`poll_writable`](Self::poll_writable) remember the last task that asked in each direction. A task that is
/// replaced is woken. If two tasks poll in one direction, they therefore wake each other in turn. Such tasks
/// wait by [`readable`](Self::readable), [`read_with`](Self::read_with) and their counterparts instead.
///
/// A source that keeps bytes inside and returns them piece by piece must not be [`AsFd`].
/// [`Source::is_direct`] explains why.
///
/// Reading and writing through `&mut` may give the source another descriptor, for example when it reconnects.
/// If the number differs from the old one, the new descriptor is registered then.
///
/// A task that never has to wait yields to the loop and to other tasks. After 128 attempts in a row, the next
/// attempt is pending once and wakes the task. A single poll, such as that of `now_or_never`, may therefore
/// rarely miss readiness.
///
/// Several `Async` on one descriptor, or one beside handlers, each work as if they were alone. If the loop is
/// closed, waiting on it returns an error. While the loop has no driver, waiting takes for ever. With the
/// `tracing` feature, each loop warns about that once.
pub struct Async<S, M: Threading = Shared> {
    // Dropped before the source, so that no closed descriptor is registered.
    registration: Registration<M>,
    source: S,
}

impl<S: Source, M: Threading> Async<S, M> {
    /// Registers a source. If the source has a descriptor, this makes it non-blocking.
    ///
    /// # Errors
    ///
    /// Returns an error with the source in it, in the same cases as [`add_handler`](Reactor::add_handler).
    #[track_caller]
    pub fn new(reactor: &Reactor<M>, source: S) -> result::Result<Async<S, M>, AddError<S>> {
        Async::add(reactor, source, Location::caller())
    }

    /// Registers a source for a caller at `location`.
    fn add(
        reactor: &Reactor<M>,
        source: S,
        location: &'static Location<'static>,
    ) -> result::Result<Async<S, M>, AddError<S>> {
        let made = Async::add_nonblocking(reactor, source, location)?;
        // Made non-blocking last, so that a source that is refused comes back unchanged.
        match set_nonblocking(&made.source) {
            Ok(()) => Ok(made),
            Err(error) => Err(AddError::new(error, made.into_inner())),
        }
    }

    /// Registers a source that is non-blocking already, like [`new`](Self::new).
    #[track_caller]
    pub fn new_nonblocking(
        reactor: &Reactor<M>,
        source: S,
    ) -> result::Result<Async<S, M>, AddError<S>> {
        Async::add_nonblocking(reactor, source, Location::caller())
    }

    fn add_nonblocking(
        reactor: &Reactor<M>,
        source: S,
        location: &'static Location<'static>,
    ) -> result::Result<Async<S, M>, AddError<S>> {
        match Registration::new(reactor, &source, location) {
            Ok(registration) => Ok(Async {
                registration,
                source,
            }),
            Err(error) => Err(AddError::new(error, source)),
        }
    }
}

impl<S, M: Threading> Async<S, M> {
    /// Returns the loop that it waits on.
    pub fn reactor(&self) -> &Reactor<M> {
        self.registration.reactor()
    }

    /// Returns the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Removes the source from the loop and returns it. It stays non-blocking.
    pub fn into_inner(self) -> S {
        drop(self.registration);
        self.source
    }

    /// Waits until the source is readable or has hung up. Each wait looks again: a source that is readable
    /// now counts, even if that was reported before.
    ///
    /// A read by hand may still block, for example while there is an error in a socket's queue. Make the
    /// attempt with [`try_io`](Self::try_io), so that the next wait is for something new.
    /// [`writable`](Self::writable) has an example.
    pub fn readable(&self) -> Wait<'_, M> {
        self.registration.wait(Direction::Read)
    }

    /// Waits like [`readable`](Self::readable), by a future that borrows nothing and allocates nothing. A
    /// structure can store it beside the source.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::futures::{Async, OwnedWait};
    /// use std::os::unix::net::UnixStream;
    ///
    /// struct Mailbox {
    ///     stream: Async<UnixStream>,
    ///     /// Is kept while another future wins a race.
    ///     arrived: Option<OwnedWait>,
    /// }
    ///
    /// let reactor = oneloop::Reactor::new()?;
    /// let (stream, peer) = Async::<UnixStream>::pair(&reactor)?;
    /// let mut mailbox = Mailbox { stream, arrived: None };
    /// std::io::Write::write_all(&mut peer.get_ref(), b"letter")?;
    /// reactor.block_on(async {
    ///     mailbox.arrived.get_or_insert(mailbox.stream.readable_owned()).await
    /// })??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn readable_owned(&self) -> OwnedWait<M> {
        self.registration.wait_owned(Direction::Read)
    }

    /// Waits until the source is writable or has hung up.
    ///
    /// The kernel may call a datagram socket writable while its receiver is full, so that each attempt to
    /// send would block. A loop of `writable` and an attempt by hand, through [`get_ref`](Self::get_ref),
    /// then spins. Make the attempt with [`try_io`](Self::try_io), or use [`write_with`](Self::write_with),
    /// which does both. The loop then waits for room.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::{Interest, Reactor, futures::Async};
    /// use std::io::ErrorKind;
    /// use std::os::unix::net::UnixDatagram;
    ///
    /// let reactor = Reactor::new()?;
    /// let (socket, _receiver) = Async::<UnixDatagram>::pair(&reactor)?;
    /// let sent = reactor.block_on(async {
    ///     loop {
    ///         socket.writable().await?;
    ///         match socket.try_io(Interest::WRITABLE, |socket| socket.send(b"hello")) {
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///             result => break result,
    ///         }
    ///     }
    /// })??;
    /// assert_eq!(sent, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn writable(&self) -> Wait<'_, M> {
        self.registration.wait(Direction::Write)
    }

    /// Waits like [`writable`](Self::writable), by a future that borrows nothing. See
    /// [`readable_owned`](Self::readable_owned).
    pub fn writable_owned(&self) -> OwnedWait<M> {
        self.registration.wait_owned(Direction::Write)
    }

    /// Waits until the source has any readiness in `interest`, and returns its readiness.
    ///
    /// Besides [`Interest::READABLE`] and [`Interest::WRITABLE`], `interest` may contain
    /// [`Interest::PRIORITY`] for exceptional data. It may also contain [`Interest::READ_CLOSED`], which
    /// means that the peer sends nothing more. Each wait looks again, like [`readable`](Self::readable).
    ///
    /// A hang-up and an error end every wait. Waiting for `PRIORITY` alone is a way to wait for an error,
    /// such as one in a socket's queue.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::{Interest, Reactor, Ready, futures::Async};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, peer) = Async::<UnixStream>::pair(&reactor)?;
    /// drop(peer);
    /// // Without reading.
    /// let ready = reactor.block_on(stream.ready(Interest::READ_CLOSED))??;
    /// assert!(ready.contains(Ready::READ_CLOSED));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the poller does not report the interest, if the interest is empty, or if the loop
    /// is closed.
    pub fn ready(&self, interest: Interest) -> impl Future<Output = Result<Ready>> + Unpin {
        self.registration.wait_for(interest)
    }

    /// Returns ready if the source has become readable since this last returned ready.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.registration.poll(Direction::Read, cx)
    }

    /// Returns ready if the source has become writable since this last returned ready.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.registration.poll(Direction::Write, cx)
    }

    /// Tries `read` until it returns anything but [`WouldBlock`](std::io::ErrorKind::WouldBlock). Waits
    /// between attempts until the source is readable.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneloop::{Reactor, Ready, VirtualSource, futures::Async};
    /// use std::sync::mpsc::{TryRecvError, sync_channel};
    ///
    /// // A channel of the standard library that can be awaited.
    /// let (sender, receiver) = sync_channel(9);
    /// let (arrived, readiness) = VirtualSource::pair();
    /// let thread = std::thread::spawn(move || {
    ///     sender.send("hello").unwrap();
    ///     readiness.set(Ready::READABLE);
    /// });
    ///
    /// let reactor = Reactor::new()?;
    /// let arrived = Async::new(&reactor, arrived)?;
    /// let received = arrived.read_with(|_| match receiver.try_recv() {
    ///     Err(TryRecvError::Empty) => Err(std::io::ErrorKind::WouldBlock.into()),
    ///     other => Ok(other),
    /// });
    /// assert_eq!(reactor.block_on(received)??, Ok("hello"));
    /// # thread.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_with<R>(&self, mut read: impl FnMut(&S) -> Result<R>) -> Result<R> {
        self.when(Direction::Read, || read(&self.source)).await
    }

    /// Tries `write` until it returns anything but [`WouldBlock`](std::io::ErrorKind::WouldBlock). Waits
    /// between attempts until the source is writable.
    pub async fn write_with<R>(&self, mut write: impl FnMut(&S) -> Result<R>) -> Result<R> {
        self.when(Direction::Write, || write(&self.source)).await
    }

    /// Makes an attempt, for example after [`readable`](Self::readable) or [`writable`](Self::writable), and
    /// tells the loop if it would block.
    ///
    /// The next wait then lasts until the source becomes ready again, even if the kernel goes on calling it
    /// ready. The kernel does so while there is an error in a socket's queue, and for a datagram socket whose
    /// receiver is full.
    ///
    /// `interest` is the readiness that the attempt depends on. All other methods here that read or write do
    /// this by themselves.
    ///
    /// # Errors
    ///
    /// Returns the error of `attempt`.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        attempt: impl FnOnce(&S) -> Result<R>,
    ) -> Result<R> {
        self.registration.try_io(interest, || attempt(&self.source))
    }

    async fn when<R>(
        &self,
        direction: Direction,
        mut attempt: impl FnMut() -> Result<R>,
    ) -> Result<R> {
        loop {
            poll_fn(|cx| self.registration.poll_budget(direction, cx)).await;
            match self.registration.attempt(direction, &mut attempt) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.registration.wait_after_attempt(direction).await?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// The source is never pinned.
impl<S, M: Threading> Unpin for Async<S, M> {}

#[cfg(unix)]
impl<S: AsFd, M: Threading> AsFd for Async<S, M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

#[cfg(windows)]
impl<S: AsSocket, M: Threading> AsSocket for Async<S, M> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.source.as_socket()
    }
}

impl<S: fmt::Debug, M: Threading> fmt::Debug for Async<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(&self.source).finish()
    }
}

/// Converts the error of a function that makes its source itself. That function has no caller to give the
/// source back to.
fn refused<S>(error: AddError<S>) -> std::io::Error {
    Error::from(error).into_io()
}

fn set_nonblocking(source: &impl Source) -> result::Result<(), Error> {
    match source.kind() {
        SourceKind::Descriptor(fd) => {
            let set = rustix::io::ioctl_fionbio(fd, true);
            set.map_err(|error| Error::os("Async::new", error.into()).with_fd(fd.as_raw_fd()))
        }
        SourceKind::Virtual(_) => Ok(()),
    }
}
