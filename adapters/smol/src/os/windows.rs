//! Functions of Windows: waiting for handles.

use std::future::Future;
use std::io::{Error, Result};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::registration::Registration;
use crate::{Async, Readable};

/// A handle, such as that of a process or an event, on which tasks can wait until it is signalled.
///
/// A thread of the system's pool waits for it.
#[derive(Debug)]
pub struct Waitable<T>(Async<T>);

impl<T> AsRef<T> for Waitable<T> {
    fn as_ref(&self) -> &T {
        self.get_ref()
    }
}

impl<T: AsHandle> Waitable<T> {
    /// Registers a handle.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn new(handle: T) -> Result<Self> {
        let registration = Registration::of_handle(handle.as_handle())?;
        Ok(Waitable(Async::from_parts(registration, handle)))
    }
}

impl<T: AsRawHandle> AsRawHandle for Waitable<T> {
    fn as_raw_handle(&self) -> RawHandle {
        self.get_ref().as_raw_handle()
    }
}

impl<T: AsHandle> AsHandle for Waitable<T> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.get_ref().as_handle()
    }
}

impl<T: AsHandle + From<OwnedHandle>> TryFrom<OwnedHandle> for Waitable<T> {
    type Error = Error;

    fn try_from(handle: OwnedHandle) -> Result<Self> {
        Waitable::new(handle.into())
    }
}

impl<T: Into<OwnedHandle>> TryFrom<Waitable<T>> for OwnedHandle {
    type Error = Error;

    fn try_from(waitable: Waitable<T>) -> Result<OwnedHandle> {
        waitable.into_inner().map(Into::into)
    }
}

impl<T> Waitable<T> {
    /// Returns the handle.
    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    /// Returns the handle for changes.
    ///
    /// # Safety
    ///
    /// The caller must not close or replace the handle while it is registered.
    pub unsafe fn get_mut(&mut self) -> &mut T {
        // SAFETY: the caller keeps the rules of this method, which are the same.
        unsafe { self.0.get_mut() }
    }

    /// Removes the handle from the loop and returns it.
    ///
    /// # Errors
    ///
    /// Returns no error. The result has this type because async-io's has.
    pub fn into_inner(self) -> Result<T> {
        self.0.into_inner()
    }

    /// Waits until the handle is signalled.
    pub fn ready(&self) -> Ready<'_, T> {
        Ready {
            readable: self.0.readable(),
            waitable: self,
        }
    }

    /// Returns ready if the handle was signalled since this last returned ready.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.wait_for_signal()?;
        ready!(self.0.poll_readable(cx))?;
        Poll::Ready(Ok(()))
    }
}

/// Future of [`Waitable::ready`].
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Ready<'a, T> {
    readable: Readable<'a, T>,
    waitable: &'a Waitable<T>,
}

impl<T> Future for Ready<'_, T> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.waitable.0.wait_for_signal()?;
        Pin::new(&mut self.readable).poll(cx)
    }
}
