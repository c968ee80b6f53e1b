//! Implementations of the futures-io traits.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::Async;
use super::known::Direction;
use super::registration::{Registration, number};
use crate::os::RawFd;
use crate::{Source, SourceKind, Threading};

impl<M: Threading> Registration<M> {
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

    /// Tries before it waits, because most sources have nothing to flush even when they are full.
    fn poll_flush(&self, mut source: impl Write, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_budget(Direction::Write, cx));
        match self.attempt(Direction::Write, || source.flush()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.poll_with(Direction::Write, cx, || source.flush())
            }
            result => Poll::Ready(result),
        }
    }
}

/// Shuts down the writing half of a socket. Other sources have no such half.
fn close(source: &impl Source) -> Result<()> {
    use rustix::io::Errno;
    use rustix::net::{Shutdown, shutdown};
    match source.kind() {
        SourceKind::Descriptor(fd) => match shutdown(fd, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTSOCK | Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        },
        SourceKind::Virtual(_) => Ok(()),
    }
}

/// A source during a call of its own methods, which may give it another descriptor.
struct Lent<'a, S> {
    source: &'a mut S,
    /// The descriptor that is registered.
    fd: Option<RawFd>,
    /// True if the operation would block and the source has another descriptor.
    moved: bool,
}

impl<S: Source> Lent<'_, S> {
    fn check<R>(&mut self, result: Result<R>) -> Result<R> {
        match result {
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && number(self.source) != self.fd =>
            {
                self.moved = true;
                // The old descriptor must not be waited for.
                Err(ErrorKind::Other.into())
            }
            result => result,
        }
    }
}

impl<S: Read + Source> Read for Lent<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let result = self.source.read(buffer);
        self.check(result)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let result = self.source.read_vectored(buffers);
        self.check(result)
    }
}

impl<S: Write + Source> Write for Lent<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let result = self.source.write(bytes);
        self.check(result)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> Result<usize> {
        let result = self.source.write_vectored(buffers);
        self.check(result)
    }

    fn flush(&mut self) -> Result<()> {
        let result = self.source.flush();
        self.check(result)
    }
}

impl<S: Source, M: Threading> Async<S, M> {
    /// Polls an operation that has the source for itself, and then registers the source's current descriptor.
    /// If the operation has closed the old descriptor, its number may soon belong to another file.
    fn poll_mut<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&Registration<M>, &mut Lent<'_, S>, &mut Context<'_>) -> Poll<Result<R>>,
    ) -> Poll<Result<R>> {
        let Async {
            registration,
            source,
        } = self;
        // The registration may have failed before.
        if let Err(error) = registration.follow(source) {
            ready!(registration.poll_budget(Direction::Read, cx));
            return Poll::Ready(Err(error));
        }
        let fd = registration.fd;
        let moved = false;
        let mut lent = Lent { source, fd, moved };
        let polled = poll(registration, &mut lent, cx);
        let moved = lent.moved;
        match registration.follow(source) {
            Err(error) if moved => Poll::Ready(Err(error)),
            Ok(()) if moved => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            // The operation has succeeded, so its result counts.
            _ => polled,
        }
    }
}

impl<S: Read + Source, M: Threading> AsyncRead for Async<S, M> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        self.poll_mut(cx, |registration, source, cx| {
            registration.poll_read(source, cx, buffer)
        })
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        self.poll_mut(cx, |registration, source, cx| {
            registration.poll_read_vectored(source, cx, buffers)
        })
    }
}

impl<S, M: Threading> AsyncRead for &Async<S, M>
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

/// Closing a socket shuts down its writing half. Reading continues.
impl<S: Write + Source, M: Threading> AsyncWrite for Async<S, M> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.poll_mut(cx, |registration, source, cx| {
            registration.poll_write(source, cx, bytes)
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.poll_mut(cx, |registration, source, cx| {
            registration.poll_write_vectored(source, cx, buffers)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_mut(cx, |registration, source, cx| {
            registration.poll_flush(source, cx)
        })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(close(&self.source))
    }
}

/// Closing a socket shuts down its writing half. Reading continues.
impl<S: Source, M: Threading> AsyncWrite for &Async<S, M>
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
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(close(&self.source))
    }
}
