//! The traits of futures-io.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::Async;
use super::wait::{Direction, Registration};
use crate::{Origin, Source, Threads};

impl<K: Threads> Registration<K> {
    /// `attempt` gives how much it has done of `wanted`. Less than that means that there is no
    /// more to be had for now, which saves the attempt that would say so; see
    /// [`Source::is_direct`].
    fn poll_some(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        wanted: usize,
        attempt: impl FnMut() -> Result<usize>,
    ) -> Poll<Result<usize>> {
        let done = self.poll_with(direction, cx, attempt);
        if let Poll::Ready(Ok(n)) = done {
            if n < wanted && self.is_direct {
                self.give_up_hope(direction);
            }
        }
        done
    }

    fn poll_read(
        &self,
        mut source: impl Read,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        self.poll_some(Direction::Read, cx, buffer.len(), || source.read(buffer))
    }

    fn poll_read_vectored(
        &self,
        mut source: impl Read,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
        let attempt = || source.read_vectored(buffers);
        self.poll_some(Direction::Read, cx, wanted, attempt)
    }

    fn poll_write(
        &self,
        mut source: impl Write,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.poll_some(Direction::Write, cx, bytes.len(), || source.write(bytes))
    }

    fn poll_write_vectored(
        &self,
        mut source: impl Write,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
        let attempt = || source.write_vectored(buffers);
        self.poll_some(Direction::Write, cx, wanted, attempt)
    }

    /// Tries before it waits: most have nothing to flush, however full they are.
    fn poll_flush(&self, mut source: impl Write, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match source.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.give_up_hope(Direction::Write);
                self.poll_with(Direction::Write, cx, || source.flush())
            }
            result => Poll::Ready(result),
        }
    }
}

/// Says to the other side of a socket that nothing more will come; to others there is nothing to
/// say.
fn close(source: &impl Source) -> Result<()> {
    use rustix::io::Errno;
    use rustix::net::{Shutdown, shutdown};
    match source.origin() {
        Origin::Descriptor(fd) => match shutdown(fd, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTSOCK | Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Origin::Virtual(_) => Ok(()),
    }
}

impl<S: Read, K: Threads> AsyncRead for Async<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        let Async {
            registration,
            source,
        } = &mut *self;
        registration.poll_read(source, cx, buffer)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let Async {
            registration,
            source,
        } = &mut *self;
        registration.poll_read_vectored(source, cx, buffers)
    }
}

impl<S, K: Threads> AsyncRead for &Async<S, K>
where
    for<'a> &'a S: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        self.registration.poll_read(&self.source, cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let source = &self.source;
        self.registration.poll_read_vectored(source, cx, buffers)
    }
}

/// Closing a socket shuts down its writing side; the reading side goes on.
impl<S: Write + Source, K: Threads> AsyncWrite for Async<S, K> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let Async {
            registration,
            source,
        } = &mut *self;
        registration.poll_write(source, cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let Async {
            registration,
            source,
        } = &mut *self;
        registration.poll_write_vectored(source, cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Async {
            registration,
            source,
        } = &mut *self;
        registration.poll_flush(source, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.as_mut().poll_flush(cx)? {
            Poll::Ready(()) => Poll::Ready(close(&self.source)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Closing a socket shuts down its writing side; the reading side goes on.
impl<S: Source, K: Threads> AsyncWrite for &Async<S, K>
where
    for<'a> &'a S: Write,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.registration.poll_write(&self.source, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let source = &self.source;
        self.registration.poll_write_vectored(source, cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.registration.poll_flush(&self.source, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.as_mut().poll_flush(cx)? {
            Poll::Ready(()) => Poll::Ready(close(&self.source)),
            Poll::Pending => Poll::Pending,
        }
    }
}
