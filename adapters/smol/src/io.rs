//! The traits of futures-io.

use std::io::{IoSlice, IoSliceMut, Read, Result, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use oneloop::Interest;

use crate::Async;

/// A type whose [`Read`] and [`Write`] keep the descriptor that the type has.
///
/// [`Async`] reads and writes through `&mut` only for these types, because another type could drop or replace the
/// registered descriptor.
///
/// # Safety
///
/// The methods of [`Read`], [`Write`], [`BufRead`](std::io::BufRead) and [`Seek`](std::io::Seek) must not drop,
/// replace or give away the descriptor.
pub unsafe trait IoSafe {}

// SAFETY: a shared reference cannot replace the descriptor of what it points to.
unsafe impl<T: ?Sized> IoSafe for &T {}

/// Implements the trait for types of the standard library.
macro_rules! io_safe {
    ($($(#[$attribute:meta])* $kind:ty),* $(,)?) => {$(
        // SAFETY: the type keeps its descriptor from its making to its drop.
        $(#[$attribute])* unsafe impl IoSafe for $kind {}
    )*};
}

io_safe!(
    std::fs::File,
    std::io::Stderr,
    std::io::Stdin,
    std::io::Stdout,
    std::io::StderrLock<'_>,
    std::io::StdinLock<'_>,
    std::io::StdoutLock<'_>,
    std::net::TcpStream,
    std::process::ChildStdin,
    std::process::ChildStdout,
    std::process::ChildStderr,
    #[cfg(unix)]
    std::os::unix::net::UnixStream,
    #[cfg(pipes)]
    #[allow(clippy::incompatible_msrv)] // Older compilers have no cfg `pipes`.
    std::io::PipeReader,
    #[cfg(pipes)]
    #[allow(clippy::incompatible_msrv)]
    std::io::PipeWriter,
);

/// Implements the trait for types that pass reading and writing on to another one.
macro_rules! io_safe_inside {
    ($($(#[$attribute:meta])* [$($bound:tt)*] $kind:ty),* $(,)?) => {$(
        // SAFETY: the type reads and writes by the methods of the type inside, which keeps its descriptor.
        $(#[$attribute])* unsafe impl<T: IoSafe + $($bound)*> IoSafe for $kind {}
    )*};
}

io_safe_inside!(
    [Read] std::io::BufReader<T>,
    [Write] std::io::BufWriter<T>,
    [Write] std::io::LineWriter<T>,
    [?Sized] &mut T,
    [?Sized] Box<T>,
    [Clone] std::borrow::Cow<'_, T>,
);

impl<T: IoSafe + Read> AsyncRead for Async<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.registration
            .poll_retry(Interest::READABLE, cx, || this.handle.read(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.registration.poll_retry(Interest::READABLE, cx, || {
            this.handle.read_vectored(buffers)
        })
    }
}

impl<T> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        let this = *self;
        this.registration
            .poll_retry(Interest::READABLE, cx, || (&this.handle).read(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let this = *self;
        this.registration.poll_retry(Interest::READABLE, cx, || {
            (&this.handle).read_vectored(buffers)
        })
    }
}

/// Closing flushes, and does not shut a socket down.
impl<T: IoSafe + Write> AsyncWrite for Async<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.registration
            .poll_retry(Interest::WRITABLE, cx, || this.handle.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.registration.poll_retry(Interest::WRITABLE, cx, || {
            this.handle.write_vectored(buffers)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        this.registration
            .poll_retry(Interest::WRITABLE, cx, || this.handle.flush())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

/// Closing flushes, and does not shut a socket down.
impl<T> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = *self;
        this.registration
            .poll_retry(Interest::WRITABLE, cx, || (&this.handle).write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = *self;
        this.registration.poll_retry(Interest::WRITABLE, cx, || {
            (&this.handle).write_vectored(buffers)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = *self;
        this.registration
            .poll_retry(Interest::WRITABLE, cx, || (&this.handle).flush())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}
