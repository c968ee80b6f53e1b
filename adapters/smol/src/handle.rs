#[cfg(doc)]
use std::io::ErrorKind;
use std::io::Result;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, OwnedSocket, RawSocket};
use std::sync::Arc;
use std::task::{Context, Poll};

use oneloop::Interest;

use crate::registration::Registration;
use crate::{Readable, ReadableOwned, Writable, WritableOwned};

/// A handle with a descriptor on which tasks can wait, such as a socket of the standard library.
///
/// Any number of tasks may wait by [`readable`](Self::readable), [`writable`](Self::writable),
/// [`read_with`](Self::read_with) and [`write_with`](Self::write_with). The traits of futures-io and
/// [`poll_readable`](Self::poll_readable) remember one task for each direction. A task that takes the place of
/// another wakes that one, so two tasks of this kind wake each other in turn.
///
/// A descriptor can be registered once at a time. The handle stays non-blocking after
/// [`into_inner`](Self::into_inner).
///
/// ```
/// use async_io::Async;
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// async_io::block_on(async {
///     let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
///     let address = listener.get_ref().local_addr()?;
///     let client = Async::<TcpStream>::connect(address).await?;
///     let (server, from) = listener.accept().await?;
///     assert_eq!(from, client.get_ref().local_addr()?);
///     drop(server);
///     client.readable().await // the end of the stream
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct Async<T> {
    // Dropped before the handle is closed.
    pub(crate) registration: Registration,
    pub(crate) handle: T,
}

/// The handle is never pinned.
impl<T> Unpin for Async<T> {}

#[cfg(unix)]
impl<T: AsFd> Async<T> {
    /// Registers a handle and makes its descriptor non-blocking.
    ///
    /// # Errors
    ///
    /// Returns an error if the descriptor is registered already, or if the system refuses it.
    pub fn new(io: T) -> Result<Async<T>> {
        set_nonblocking(io.as_fd())?;
        Async::new_nonblocking(io)
    }

    /// Registers a handle whose descriptor is non-blocking already, like [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`new`](Self::new).
    pub fn new_nonblocking(io: T) -> Result<Async<T>> {
        let registration = Registration::new(io.as_fd())?;
        Ok(Async {
            registration,
            handle: io,
        })
    }
}

#[cfg(windows)]
impl<T: AsSocket> Async<T> {
    /// Registers a handle and makes its socket non-blocking.
    ///
    /// # Errors
    ///
    /// Returns an error if the socket is registered already, or if the system refuses it.
    pub fn new(io: T) -> Result<Async<T>> {
        set_nonblocking(io.as_socket())?;
        Async::new_nonblocking(io)
    }

    /// Registers a handle whose socket is non-blocking already, like [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`new`](Self::new).
    pub fn new_nonblocking(io: T) -> Result<Async<T>> {
        let registration = Registration::new(io.as_socket())?;
        Ok(Async {
            registration,
            handle: io,
        })
    }
}

impl<T> Async<T> {
    /// Makes a handle from one that is registered otherwise.
    #[cfg(any(kqueue, windows))]
    pub(crate) fn from_parts(registration: Registration, handle: T) -> Async<T> {
        Async {
            registration,
            handle,
        }
    }

    /// Returns the kqueue of a filter.
    #[cfg(kqueue)]
    pub(crate) fn queue(&self) -> Option<&OwnedFd> {
        self.registration.queue.as_ref()
    }

    /// Makes the system wait until the handle is signalled, unless it does already.
    #[cfg(windows)]
    pub(crate) fn wait_for_signal(&self) -> Result<()> {
        let signalled = self.registration.signalled.as_ref();
        signalled.map_or(Ok(()), |signalled| signalled.begin())
    }

    /// Returns the handle.
    pub fn get_ref(&self) -> &T {
        &self.handle
    }

    /// Returns the handle for changes.
    ///
    /// # Safety
    ///
    /// The caller must not drop or replace the descriptor, nor move it elsewhere, while it is registered.
    pub unsafe fn get_mut(&mut self) -> &mut T {
        &mut self.handle
    }

    /// Removes the handle from the loop and returns it. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// Returns no error. The result has this type because async-io's has.
    pub fn into_inner(self) -> Result<T> {
        let Async {
            registration,
            handle,
        } = self;
        drop(registration);
        Ok(handle)
    }

    /// Waits until the handle is readable. A handle that is readable now counts.
    ///
    /// # Errors
    ///
    /// The future returns an error if the loop is closed.
    pub fn readable(&self) -> Readable<'_, T> {
        Readable::new(self.registration.wait(Interest::READABLE))
    }

    /// Waits like [`readable`](Self::readable), and keeps the handle meanwhile.
    pub fn readable_owned(self: Arc<Self>) -> ReadableOwned<T> {
        ReadableOwned::new(self.registration.waits.readable_owned(), self)
    }

    /// Waits until the handle is writable. A handle that is writable now counts.
    ///
    /// # Errors
    ///
    /// The future returns an error if the loop is closed.
    pub fn writable(&self) -> Writable<'_, T> {
        Writable::new(self.registration.wait(Interest::WRITABLE))
    }

    /// Waits like [`writable`](Self::writable), and keeps the handle meanwhile.
    pub fn writable_owned(self: Arc<Self>) -> WritableOwned<T> {
        WritableOwned::new(self.registration.waits.writable_owned(), self)
    }

    /// Returns ready if the handle has become readable since this last returned ready. The task that asked before
    /// is woken if it is another one.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.registration.poll(Interest::READABLE, cx)
    }

    /// Returns ready if the handle has become writable since this last returned ready. The task that asked before
    /// is woken if it is another one.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.registration.poll(Interest::WRITABLE, cx)
    }

    /// Tries `op` until it returns anything but [`WouldBlock`](ErrorKind::WouldBlock). Waits between attempts
    /// until the handle is readable, or until the task is woken for another reason.
    ///
    /// # Errors
    ///
    /// Returns the error of `op`, [`Interrupted`](ErrorKind::Interrupted) included.
    pub async fn read_with<R>(&self, mut op: impl FnMut(&T) -> Result<R>) -> Result<R> {
        let attempt = || op(&self.handle);
        self.registration.retry(Interest::READABLE, attempt).await
    }

    /// Tries `op` like [`read_with`](Self::read_with), with the handle for changes.
    ///
    /// # Errors
    ///
    /// Returns the error of `op`.
    ///
    /// # Safety
    ///
    /// The conditions of [`get_mut`](Self::get_mut) apply.
    pub async unsafe fn read_with_mut<R>(
        &mut self,
        mut op: impl FnMut(&mut T) -> Result<R>,
    ) -> Result<R> {
        let attempt = || op(&mut self.handle);
        self.registration.retry(Interest::READABLE, attempt).await
    }

    /// Tries `op` until it returns anything but [`WouldBlock`](ErrorKind::WouldBlock). Waits between attempts
    /// until the handle is writable, or until the task is woken for another reason.
    ///
    /// # Errors
    ///
    /// Returns the error of `op`, [`Interrupted`](ErrorKind::Interrupted) included.
    pub async fn write_with<R>(&self, mut op: impl FnMut(&T) -> Result<R>) -> Result<R> {
        let attempt = || op(&self.handle);
        self.registration.retry(Interest::WRITABLE, attempt).await
    }

    /// Tries `op` like [`write_with`](Self::write_with), with the handle for changes.
    ///
    /// # Errors
    ///
    /// Returns the error of `op`.
    ///
    /// # Safety
    ///
    /// The conditions of [`get_mut`](Self::get_mut) apply.
    pub async unsafe fn write_with_mut<R>(
        &mut self,
        mut op: impl FnMut(&mut T) -> Result<R>,
    ) -> Result<R> {
        let attempt = || op(&mut self.handle);
        self.registration.retry(Interest::WRITABLE, attempt).await
    }
}

impl<T> AsRef<T> for Async<T> {
    fn as_ref(&self) -> &T {
        self.get_ref()
    }
}

#[cfg(unix)]
impl<T: AsRawFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.handle.as_raw_fd()
    }
}

#[cfg(unix)]
impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

#[cfg(unix)]
impl<T: AsFd + From<OwnedFd>> TryFrom<OwnedFd> for Async<T> {
    type Error = std::io::Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Async::new(fd.into())
    }
}

#[cfg(unix)]
impl<T: Into<OwnedFd>> TryFrom<Async<T>> for OwnedFd {
    type Error = std::io::Error;

    fn try_from(handle: Async<T>) -> Result<OwnedFd> {
        handle.into_inner().map(Into::into)
    }
}

#[cfg(windows)]
impl<T: AsRawSocket> AsRawSocket for Async<T> {
    fn as_raw_socket(&self) -> RawSocket {
        self.handle.as_raw_socket()
    }
}

#[cfg(windows)]
impl<T: AsSocket> AsSocket for Async<T> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.handle.as_socket()
    }
}

#[cfg(windows)]
impl<T: AsSocket + From<OwnedSocket>> TryFrom<OwnedSocket> for Async<T> {
    type Error = std::io::Error;

    fn try_from(socket: OwnedSocket) -> Result<Self> {
        Async::new(socket.into())
    }
}

#[cfg(windows)]
impl<T: Into<OwnedSocket>> TryFrom<Async<T>> for OwnedSocket {
    type Error = std::io::Error;

    fn try_from(handle: Async<T>) -> Result<OwnedSocket> {
        handle.into_inner().map(Into::into)
    }
}

/// Sets the flag by one call that reads no flags before. The descriptor may be shared with another thread.
pub(crate) fn set_nonblocking(fd: rustix::fd::BorrowedFd<'_>) -> Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, true)?)
}
