use std::fmt;
use std::panic::Location;

use crate::engine::{Target, boxed};
use crate::{
    Error, HandlerId, Interest, IntoAction, LoopEvent, MaybeSend, Mode, Reactor, Result, Threading,
};

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::SignalWatch;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows::SignalWatch;

/// # Signals (feature `signal`)
impl<M: Threading> Reactor<M> {
    /// Calls `callback` in a turn after a signal was sent to the process. Several signals of one kind that
    /// arrive before the turn lead to one call.
    ///
    /// This blocks no signal, and handlers that were installed before are still called. Several reactors, and
    /// other users of `signal-hook`, may watch one signal. The callback belongs to an ordinary handler with a
    /// descriptor of its own. After the last such handler is removed, the signal does nothing. Its default
    /// action does not return.
    ///
    /// In a child process after a fork, the signal does nothing either, unless another program is executed.
    /// The child should call `signal(SIGTERM, SIG_DFL)`, and do so for every other signal that should end it.
    /// It may also watch the signal with a loop of its own.
    ///
    /// ```
    /// # #[cfg(feature = "signal")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// reactor.add_signal(libc::SIGHUP, |_signal| {
    ///     println!("reading the configuration again");
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
    /// # Windows
    ///
    /// There are Ctrl-C, which is `SIGINT`, and Ctrl-Break, which is 21 (`SIGBREAK`), if the process has a console.
    /// Other handlers of the console are not called while a reactor watches the key. After the last handler is
    /// removed, the key ends the process again.
    ///
    /// # Blocked signals
    ///
    /// Each thread has a signal mask. A signal that is sent to the process goes to any thread that does not
    /// block it. One unblocked thread is therefore enough, even if another thread drives the loop. A signal
    /// that is sent to one thread (`pthread_kill`) waits until that thread unblocks it.
    ///
    /// If all threads block the signal, this returns an error, because the callback would never be called.
    /// Only Linux reports which signals other threads block. Other systems do not notice a signal that all
    /// threads block. The check happens once, at registration, so unblock the signal first.
    ///
    /// # Errors
    ///
    /// Returns [`Unsupported`](crate::ErrorKind::Unsupported) for a signal that cannot be caught, and for one
    /// that every thread blocks. This also applies to signals that report a fault of the program, because the
    /// fault would occur again and again: `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE`, `SIGTRAP` and `SIGSYS`.
    /// Returns the operating system's error if the signal does not exist, or if there are no descriptors
    /// left.
    #[track_caller]
    pub fn add_signal<F, A>(&self, signal: i32, callback: F) -> Result<HandlerId>
    where
        F: FnMut(i32) -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        self.add_signal_by(signal, Location::caller(), |_| callback)
    }

    pub(crate) fn add_signal_by<F, A>(
        &self,
        signal: i32,
        location: &'static Location<'static>,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId>
    where
        F: FnMut(i32) -> A + 'static,
        A: IntoAction,
    {
        const CALL: &str = "add_signal";
        let watch = SignalWatch::new(signal);
        let watch = watch.map_err(|error| Error::os(CALL, error).with_signal(signal))?;
        let on = Target::of(&watch);
        let make = |watch, key| {
            let mut callback = make(HandlerId(key));
            boxed(watch, move |watch: &mut SignalWatch, _| {
                watch.drain();
                callback(signal)
            })
        };
        let what = (Interest::READABLE, Mode::Level);
        match self.core.add_handler(CALL, on, what, location, watch, make) {
            Ok(key) => {
                self.core.set_event(key, LoopEvent::Signal(signal));
                Ok(HandlerId(key))
            }
            Err((error, _)) => Err(error.with_signal(signal)),
        }
    }
}

/// The name of a signal, or its number if it has no name.
pub(crate) struct SignalName(pub(crate) i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = self.0;
        if let Some(name) = signal_hook::low_level::signal_name(signal) {
            return f.write_str(name);
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        match signal - libc::SIGRTMIN() {
            0 => return f.write_str("SIGRTMIN"),
            above @ 1.. if signal <= libc::SIGRTMAX() => return write!(f, "SIGRTMIN+{above}"),
            _ => {}
        }
        write!(f, "signal {signal}")
    }
}
