//! The registration of a descriptor with the loop.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind, Result};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

#[cfg(windows)]
use oneloop::VirtualSource;
use oneloop::futures::Wait;
use oneloop::{Interest, Source, SourceKind};
#[cfg(kqueue)]
use rustix::fd::OwnedFd;
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};

#[cfg(windows)]
use crate::signalled::Signalled;
use crate::{driver, reactor};

/// The place where a handle's readiness shows.
pub(crate) enum Watched {
    /// The number of the descriptor, which belongs to the handle beside it.
    Number(RawFd),
    #[cfg(windows)]
    Virtual(VirtualSource),
}

impl Source for Watched {
    fn kind(&self) -> SourceKind<'_> {
        match self {
            // SAFETY: the handle owns the descriptor, and lives longer than its registration. Code that replaces
            // the descriptor has to call an unsafe method of the handle.
            Watched::Number(fd) => SourceKind::Descriptor(unsafe { BorrowedFd::borrow_raw(*fd) }),
            #[cfg(windows)]
            Watched::Virtual(source) => SourceKind::Virtual(source),
        }
    }

    // A short read need not be the last one: the handle's type may keep bytes inside, or give messages.
    fn is_direct(&self) -> bool {
        false
    }
}

/// The registration of a handle's descriptor.
pub(crate) struct Registration {
    /// Waits for the descriptor.
    pub(crate) waits: oneloop::futures::Async<Watched>,
    /// The number in the table of registered descriptors.
    fd: Option<RawFd>,
    /// The kqueue of a filter, whose descriptor this is.
    #[cfg(kqueue)]
    pub(crate) queue: Option<OwnedFd>,
    #[cfg(windows)]
    pub(crate) signalled: Option<Signalled>,
}

impl Registration {
    pub(crate) fn new(fd: BorrowedFd<'_>) -> Result<Registration> {
        let number = fd.as_raw_fd();
        enter(fd)?;
        Registration::watch(Watched::Number(number), Some(number)).inspect_err(|_| leave(number))
    }

    #[cfg(kqueue)]
    pub(crate) fn of_queue(queue: OwnedFd) -> Result<Registration> {
        let mut registration = Registration::watch(Watched::Number(queue.as_raw_fd()), None)?;
        registration.queue = Some(queue);
        Ok(registration)
    }

    #[cfg(windows)]
    pub(crate) fn of_handle(
        handle: std::os::windows::io::BorrowedHandle<'_>,
    ) -> Result<Registration> {
        let (source, readiness) = VirtualSource::pair();
        let mut registration = Registration::watch(Watched::Virtual(source), None)?;
        registration.signalled = Some(Signalled::new(handle, readiness));
        Ok(registration)
    }

    fn watch(watched: Watched, fd: Option<RawFd>) -> Result<Registration> {
        let reactor = &reactor::get().reactor;
        match oneloop::futures::Async::new_nonblocking(reactor, watched) {
            Ok(waits) => Ok(Registration {
                waits,
                fd,
                #[cfg(kqueue)]
                queue: None,
                #[cfg(windows)]
                signalled: None,
            }),
            Err(error) => Err(convert(error.into())),
        }
    }

    /// A future that waits until the handle is readable, or writable.
    pub(crate) fn wait(&self, interest: Interest) -> Wait<'_> {
        if interest == Interest::READABLE {
            self.waits.readable()
        } else {
            self.waits.writable()
        }
    }

    /// Returns ready if the handle has become readable, or writable, since this last returned ready.
    pub(crate) fn poll(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<Result<()>> {
        driver::awaited(if interest == Interest::READABLE {
            self.waits.poll_readable(cx)
        } else {
            self.waits.poll_writable(cx)
        })
    }

    /// Tries `attempt` until it does not block. One that blocks tells the loop that the next wait is for something
    /// new.
    pub(crate) fn poll_retry<R>(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> Result<R>,
    ) -> Poll<Result<R>> {
        loop {
            match self.waits.try_io(interest, |_| attempt()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.poll(interest, cx))?;
        }
    }

    /// Like [`poll_retry`](Self::poll_retry), for any number of tasks. It also tries again when the task is polled for
    /// another reason.
    pub(crate) async fn retry<R>(
        &self,
        interest: Interest,
        mut attempt: impl FnMut() -> Result<R>,
    ) -> Result<R> {
        loop {
            match self.waits.try_io(interest, |_| attempt()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut wait = pin!(self.wait(interest));
            let mut is_first = true;
            poll_fn(|cx| {
                if std::mem::take(&mut is_first) {
                    driver::awaited(wait.as_mut().poll(cx))
                } else {
                    Poll::Ready(Ok(()))
                }
            })
            .await?;
        }
    }
}

// A panic in between leaves the loop's state whole.
impl UnwindSafe for Registration {}
impl RefUnwindSafe for Registration {}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd.fmt(f)
    }
}

impl Drop for Registration {
    /// Ends the entry. The handle is closed later, so no other thread can have its number yet.
    fn drop(&mut self) {
        if let Some(fd) = self.fd {
            leave(fd);
        }
    }
}

/// Makes an error with the system's code, as programs that are written for async-io expect.
fn convert(error: oneloop::Error) -> Error {
    match error.raw_os_error() {
        Some(code) => Error::from_raw_os_error(code),
        None => error.into(),
    }
}

/// Values by which files differ.
type Identity = (u64, u64);

/// The registered descriptors. oneloop serves several handlers on one descriptor, and async-io refuses a second one.
static REGISTERED: Mutex<Option<HashMap<RawFd, Identity>>> = Mutex::new(None);

fn registered() -> MutexGuard<'static, Option<HashMap<RawFd, Identity>>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn enter(fd: BorrowedFd<'_>) -> Result<()> {
    let identity = identity(fd)?;
    let mut registered = registered();
    let entries = registered.get_or_insert_default();
    // A handle whose descriptor was closed behind its back does not keep the number from others.
    if entries.get(&fd.as_raw_fd()) == Some(&identity) {
        return Err(Error::from_raw_os_error(EXISTS));
    }
    entries.insert(fd.as_raw_fd(), identity);
    Ok(())
}

fn leave(fd: RawFd) {
    if let Some(entries) = &mut *registered() {
        entries.remove(&fd);
    }
}

#[cfg(unix)]
const EXISTS: i32 = rustix::io::Errno::EXIST.raw_os_error();
#[cfg(windows)]
const EXISTS: i32 = 183; // ERROR_ALREADY_EXISTS

#[cfg(unix)]
fn identity(fd: BorrowedFd<'_>) -> Result<Identity> {
    let stat = rustix::fs::fstat(fd)?;
    #[allow(clippy::unnecessary_cast)] // The types differ from system to system.
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}

/// Windows has no such values for sockets.
#[cfg(windows)]
fn identity(_: BorrowedFd<'_>) -> Result<Identity> {
    Ok((0, 0))
}
