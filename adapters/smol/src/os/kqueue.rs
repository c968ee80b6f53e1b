//! Functions of systems with kqueue: waiting for signals and for the end of processes.
//!
//! Each filter has a kqueue of its own, which the loop watches as a descriptor.

use std::future::Future;
use std::io::{Error, Result};
use std::num::NonZeroI32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::process::Child;
use std::task::{Context, Poll, ready};

use __private::QueueableSealed;
use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};

use crate::registration::Registration;
use crate::{Async, Readable};

/// A kqueue filter on which tasks can wait.
#[derive(Debug)]
pub struct Filter<T>(Async<T>);

impl<T> AsRef<T> for Filter<T> {
    fn as_ref(&self) -> &T {
        self.get_ref()
    }
}

impl<T> AsMut<T> for Filter<T> {
    fn as_mut(&mut self) -> &mut T {
        self.get_mut()
    }
}

impl<T: Queueable> Filter<T> {
    /// Registers a filter.
    ///
    /// # Errors
    ///
    /// Returns the system's error, for example if the process does not exist.
    pub fn new(mut filter: T) -> Result<Self> {
        let registration = Registration::of_queue(filter.queue()?)?;
        Ok(Filter(Async::from_parts(registration, filter)))
    }
}

impl<T: AsRawFd> AsRawFd for Filter<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<T: AsFd> AsFd for Filter<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd + From<OwnedFd>> TryFrom<OwnedFd> for Filter<T> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Ok(Filter(Async::try_from(fd)?))
    }
}

impl<T: Into<OwnedFd>> TryFrom<Filter<T>> for OwnedFd {
    type Error = Error;

    fn try_from(filter: Filter<T>) -> Result<OwnedFd> {
        filter.0.try_into()
    }
}

impl<T> Filter<T> {
    /// Returns the filter's subject.
    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    /// Returns the filter's subject for changes.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: a subject that can be queued has no descriptor that could be replaced.
        unsafe { self.0.get_mut() }
    }

    /// Removes the filter from the loop and returns its subject.
    ///
    /// # Errors
    ///
    /// Returns no error. The result has this type because async-io's has.
    pub fn into_inner(self) -> Result<T> {
        self.0.into_inner()
    }

    /// Waits until the filter reports something.
    pub fn ready(&self) -> Ready<'_, T> {
        Ready {
            readable: self.0.readable(),
            filter: self,
        }
    }

    /// Returns ready if the filter has reported something since this last returned ready.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.0.poll_readable(cx))?;
        Poll::Ready(self.take_reports())
    }

    /// Takes the reports out of the filter's kqueue, so that it is readable for new ones only.
    fn take_reports(&self) -> Result<()> {
        let Some(queue) = self.0.queue() else {
            return Ok(());
        };
        let mut reports = Vec::with_capacity(1);
        // SAFETY: no change is made, and so no descriptor is named.
        unsafe {
            let reports = rustix::buffer::spare_capacity(&mut reports);
            kevent(queue, &[], reports, Some(std::time::Duration::ZERO))?;
        }
        Ok(())
    }
}

/// Future of [`Filter::ready`].
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Ready<'a, T> {
    readable: Readable<'a, T>,
    filter: &'a Filter<T>,
}

impl<T> Future for Ready<'_, T> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.readable).poll(cx))?;
        Poll::Ready(self.filter.take_reports())
    }
}

/// A subject of a filter: [`Signal`] or [`Exit`].
pub trait Queueable: QueueableSealed {}

/// A signal to this process. Its action is taken, too.
#[derive(Debug, Copy, Clone, Eq, PartialEq, PartialOrd, Ord, Hash)]
pub struct Signal(pub i32);

impl QueueableSealed for Signal {
    fn queue(&mut self) -> Result<OwnedFd> {
        let signal = rustix::process::Signal::from_named_raw(self.0);
        let signal = signal.ok_or(rustix::io::Errno::INVAL)?;
        queue_of(EventFilter::Signal { signal, times: 0 })
    }
}

impl Queueable for Signal {}

/// The end of a process.
#[derive(Debug)]
pub struct Exit(NonZeroI32);

impl Exit {
    /// Makes a subject of a child process.
    ///
    /// # Panics
    ///
    /// Panics if the child's id is none, which no system returns.
    pub fn new(child: Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(NonZeroI32::new);
        let Some(pid) = pid else {
            panic!("{} is no id of a process", child.id());
        };
        Exit(pid)
    }

    /// Makes a subject of a process by its id.
    ///
    /// # Safety
    ///
    /// The id must belong to a child process.
    pub unsafe fn from_pid(pid: NonZeroI32) -> Self {
        Exit(pid)
    }
}

impl QueueableSealed for Exit {
    fn queue(&mut self) -> Result<OwnedFd> {
        let pid = rustix::process::Pid::from_raw(self.0.get());
        let pid = pid.ok_or(rustix::io::Errno::INVAL)?;
        let flags = ProcessEvents::EXIT;
        queue_of(EventFilter::Proc { pid, flags })
    }
}

impl Queueable for Exit {}

/// Makes a kqueue that reports one filter.
fn queue_of(filter: EventFilter) -> Result<OwnedFd> {
    let queue = kqueue()?;
    let flags = EventFlags::ADD | EventFlags::CLEAR;
    let change = Event::new(filter, flags, std::ptr::null_mut());
    // SAFETY: the change names a signal or a process, and no descriptor.
    unsafe { kevent(&queue, &[change], &mut [] as &mut [Event], None)? };
    Ok(queue)
}

mod __private {
    use std::io::Result;
    use std::os::fd::OwnedFd;

    #[doc(hidden)]
    pub trait QueueableSealed {
        /// Makes a kqueue that reports the subject.
        fn queue(&mut self) -> Result<OwnedFd>;
    }
}
