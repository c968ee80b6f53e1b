use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::sync::Arc;

use signal_hook::SigId;
use signal_hook::consts::FORBIDDEN;
use signal_hook::low_level::{register, unregister};

use crate::engine::{On, boxed};
use crate::{Action, Error, Fits, HandlerId, Interest, Loop, Mode, Result, Threads, fork};

/// Signals and child processes (feature `signal`).
impl<K: Threads> Loop<K> {
    /// Calls `callback`, in a turn, after a signal has come to the process. Several of the same
    /// that come before the turn are one call.
    ///
    /// No signal is blocked, and whatever handler was installed before is still called: any number
    /// of reactors, and others who use `signal-hook`, may watch one signal. It is a handler like
    /// any other, on a descriptor of its own. When the last is removed, the signal does nothing: its
    /// default action does not come back.
    ///
    /// ```
    /// # #[cfg(feature = "signal")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.add_signal(libc::SIGHUP, |_signal| {
    ///     println!("reading the configuration anew");
    ///     oneloop::Action::Remove
    /// })?;
    /// # unsafe { libc::raise(libc::SIGHUP) };
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "signal"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a signal that cannot be caught, or is a
    /// fault of the program that it could not go on from; the operating system's, for one that
    /// does not exist, or if there are no descriptors left.
    #[track_caller]
    pub fn add_signal<F, A>(&self, signal: i32, callback: F) -> Result<HandlerId>
    where
        F: FnMut(i32) -> A + Fits<K> + 'static,
        A: Into<Action>,
    {
        self.add_signal_by(signal, Location::caller(), |_| callback)
    }

    pub(crate) fn add_signal_by<F, A>(
        &self,
        signal: i32,
        place: &'static Location<'static>,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId>
    where
        F: FnMut(i32) -> A + 'static,
        A: Into<Action>,
    {
        const CALL: &str = "add_signal";
        let pipe = SignalPipe::new(signal);
        let pipe = pipe.map_err(|error| Error::os(CALL, error).with_signal(signal))?;
        let on = On::Fd(pipe.as_fd().as_raw_fd());
        let make = |pipe, key| {
            let mut callback = make(HandlerId(key));
            boxed(pipe, move |pipe: &mut SignalPipe, _| {
                pipe.drain();
                callback(signal)
            })
        };
        let what = (Interest::READABLE, Mode::Level);
        match self.core.add_handler(CALL, on, what, place, pipe, make) {
            Ok(key) => Ok(HandlerId(key)),
            Err((error, _)) => Err(error.with_signal(signal)),
        }
    }
}

/// Readable when a signal has come; until it is dropped.
pub(crate) struct SignalPipe {
    reader: UnixStream,
    writer: Arc<UnixStream>,
    id: SigId,
    /// The process that it was made in.
    forks: u32,
}

impl SignalPipe {
    pub(crate) fn new(signal: i32) -> io::Result<SignalPipe> {
        if FORBIDDEN.contains(&signal) {
            let what = "this signal cannot be caught";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let writer = Arc::new(writer);
        let (forks, socket) = (fork::generation(), writer.clone());
        let notify = move || {
            // A child process has the same pipe, but its signals are its own.
            if fork::seen() == forks {
                // SAFETY: writes one byte into a socket that this closure keeps open. If the
                // socket is full, the reader will be told anyway.
                unsafe { libc::write(socket.as_raw_fd(), [0u8].as_ptr().cast(), 1) };
            }
        };
        // SAFETY: what runs in the signal handler is a load of an atomic and a `write`, both
        // async-signal-safe; signal-hook saves `errno` around it.
        let id = unsafe { register(signal, notify) }?;
        Ok(SignalPipe {
            reader,
            writer,
            id,
            forks,
        })
    }

    /// As if the signal had come.
    pub(crate) fn notify(&self) -> io::Result<()> {
        self.writer.as_ref().write_all(&[0])
    }

    pub(crate) fn drain(&mut self) {
        while matches!(self.reader.read(&mut [0; 64]), Ok(1..)) {}
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        // In a child process a thread that is not there may have signal-hook's lock, for ever.
        if fork::seen() == self.forks {
            unregister(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_it_is_dropped_the_signal_has_nothing_of_it() {
        let pipe = SignalPipe::new(libc::SIGUSR1).unwrap();
        let writer = Arc::downgrade(&pipe.writer);
        assert!(writer.upgrade().is_some());
        drop(pipe);
        assert!(writer.upgrade().is_none());
    }
}
