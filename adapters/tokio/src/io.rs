use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

/// tokio's [`AsyncRead`] and [`AsyncWrite`] over those of futures-io, which [`oneloop::futures::Async`] has.
/// Code for tokio's traits, such as hyper, then runs on a oneloop reactor, with any driver and without a
/// tokio runtime.
///
/// In a task of tokio, each read and write counts against the task's cooperative budget, like those of
/// tokio's own sockets. A connection that always has something to read therefore does not starve the other
/// tasks.
///
/// ```
/// use oneloop::{Reactor, futures::Async};
/// use oneloop_tokio::Io;
/// use std::os::unix::net::UnixStream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let (a, b) = Async::<UnixStream>::pair(&reactor)?;
/// let (mut a, mut b) = (Io::new(a), Io::new(b));
/// let text = reactor.block_on(async {
///     a.write_all(b"hello").await?;
///     a.shutdown().await?;
///     let mut text = String::new();
///     b.read_to_string(&mut text).await.map(|_| text)
/// })??;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
#[pin_project]
#[derive(Debug, Clone, Copy, Default)]
pub struct Io<T> {
    #[pin]
    inner: T,
}

impl<T> Io<T> {
    /// Wraps a stream.
    pub fn new(inner: T) -> Io<T> {
        Io { inner }
    }

    /// Borrows the stream inside.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Borrows the stream inside mutably.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Returns the stream inside. An `Io` keeps no bytes of its own, so nothing is lost.
    ///
    /// ```
    /// use oneloop::{Reactor, futures::Async};
    /// use oneloop_tokio::Io;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = Async::<UnixStream>::pair(&reactor)?;
    /// let stream = Io::new(stream);
    /// assert!(stream.get_ref().get_ref().peer_addr()?.is_unnamed());
    /// let _stream: Async<UnixStream> = stream.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: futures_io::AsyncRead> AsyncRead for Io<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let unfilled = buffer.initialize_unfilled();
        let n = ready!(within_budget(cx, |cx| self
            .project()
            .inner
            .poll_read(cx, unfilled)))?;
        buffer.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<T: futures_io::AsyncWrite> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        within_budget(cx, |cx| self.project().inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        within_budget(cx, |cx| {
            self.project().inner.poll_write_vectored(cx, buffers)
        })
    }

    /// A stream that cannot write several buffers at once writes the first, and is called again.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.project().inner.poll_close(cx)
    }
}

/// Polls if the task has budget left, and counts the poll unless it is pending. Outside of tokio's tasks,
/// only the stream inside has a limit, such as that of an `Async`.
fn within_budget<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let budget = ready!(poll_proceed(cx));
    let polled = poll(cx);
    if polled.is_ready() {
        budget.made_progress();
    }
    polled
}
