use std::fmt;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use signal_hook::SigId;
use signal_hook::consts::FORBIDDEN;
use signal_hook::low_level::{register, unregister};

use crate::engine::{Target, boxed};
use crate::{
    Error, HandlerId, Interest, IntoAction, LoopEvent, MaybeSend, Mode, Reactor, Result, Threading,
    fork,
};

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
        let pipe = SignalPipe::new(signal);
        let pipe = pipe.map_err(|error| Error::os(CALL, error).with_signal(signal))?;
        let on = Target::Fd(pipe.as_fd().as_raw_fd());
        let make = |pipe, key| {
            let mut callback = make(HandlerId(key));
            boxed(pipe, move |pipe: &mut SignalPipe, _| {
                pipe.drain();
                callback(signal)
            })
        };
        let what = (Interest::READABLE, Mode::Level);
        match self.core.add_handler(CALL, on, what, location, pipe, make) {
            Ok(key) => {
                self.core.set_event(key, LoopEvent::Signal(signal));
                Ok(HandlerId(key))
            }
            Err((error, _)) => Err(error.with_signal(signal)),
        }
    }
}

/// Signals that report faults of the program. A handler would return to the faulty instruction.
const FAULTS: [i32; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// A descriptor that becomes readable when a signal arrives. Dropping it ends the watch.
pub(crate) struct SignalPipe {
    reader: UnixStream,
    writer: Arc<Writer>,
    id: SigId,
    /// The fork generation of the process that made it.
    forks: u32,
}

struct Writer {
    socket: UnixStream,
    /// True if a byte is waiting that the reader has not looked at yet. There is one byte, even if many
    /// signals arrive.
    told: AtomicBool,
}

impl SignalPipe {
    pub(crate) fn new(signal: i32) -> io::Result<SignalPipe> {
        let refuse = |what| Err(io::Error::new(io::ErrorKind::Unsupported, what));
        if FORBIDDEN.contains(&signal) || FAULTS.contains(&signal) {
            return refuse("this signal cannot be caught");
        }
        if is_blocked_here(signal) && is_blocked_everywhere(signal) {
            return refuse(
                "every thread of this process blocks the signal, so that it never arrives",
            );
        }
        let (reader, socket) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        socket.set_nonblocking(true)?;
        let told = AtomicBool::new(false);
        let writer = Arc::new(Writer { socket, told });
        let (forks, notified) = (fork::generation(), writer.clone());
        let notify = move || {
            // A child process shares the pipe, but its signals are its own.
            if fork::seen() == forks {
                notified.notify();
            }
        };
        let before = action(signal)?;
        // SAFETY: the signal handler performs only atomic operations and a `write`, which are
        // async-signal-safe. signal-hook saves `errno` around it.
        let id = unsafe { register(signal, notify) }?;
        use_signal_stack(signal, &before);
        Ok(SignalPipe {
            reader,
            writer,
            id,
            forks,
        })
    }

    /// Acts as if the signal had arrived.
    pub(crate) fn notify(&self) {
        self.writer.notify();
    }

    /// Takes the byte out. This must happen before the signal's work is done, so that a later signal is
    /// noticed again.
    pub(crate) fn drain(&mut self) {
        let _ = self.reader.read(&mut [0; 8]);
        self.writer.told.store(false, SeqCst);
    }
}

impl Writer {
    /// Writes the byte. This is async-signal-safe.
    fn notify(&self) {
        if self.told.swap(true, SeqCst) {
            return;
        }
        // SAFETY: writes one byte into a socket that is open.
        let written = unsafe { libc::write(self.socket.as_raw_fd(), [0u8].as_ptr().cast(), 1) };
        if written < 0 {
            // The next signal tries again.
            self.told.store(false, SeqCst);
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

/// Returns true if the calling thread blocks a signal. A signal that does not exist counts as not blocked.
fn is_blocked_here(signal: i32) -> bool {
    let mut mask = MaybeUninit::zeroed();
    // SAFETY: changes no mask, and writes the current one into a place with enough room.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr()) } {
        // SAFETY: the call above wrote it.
        0 => unsafe { libc::sigismember(mask.as_ptr(), signal) == 1 },
        _ => false,
    }
}

/// Returns true if all threads of the process block a signal. Returns false if the system does not report
/// that.
fn is_blocked_everywhere(signal: i32) -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return false;
    };
    threads.flatten().all(|thread| {
        // A thread that has ended meanwhile takes no signal either.
        let status = std::fs::read_to_string(thread.path().join("status"));
        let takes_it = |status: String| blocks(&status, signal) == Some(false);
        !status.is_ok_and(takes_it)
    })
}

/// Returns true if the thread with this `/proc/.../status` blocks a signal.
fn blocks(status: &str, signal: i32) -> Option<bool> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))?;
    let mask = u128::from_str_radix(mask.trim(), 16).ok()?;
    let bit = u32::try_from(signal.checked_sub(1)?).ok()?;
    Some(mask.checked_shr(bit)? & 1 == 1)
}

/// Returns the current action of a signal.
fn action(signal: i32) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::zeroed();
    // SAFETY: changes nothing, and writes the current action into a place with enough room.
    match unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } {
        // SAFETY: the call above wrote it.
        0 => Ok(unsafe { action.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the handler run on the stack that a thread has set up for signals, if it has one. Threads of Go have
/// no room for signal handlers on their own stacks.
///
/// `before` is the action before there was a handler. If that is a function for the thread's own stack, it
/// may need the room there. Our handler calls it, so nothing is changed then.
fn use_signal_stack(signal: i32, before: &libc::sigaction) {
    let asks = |action: &libc::sigaction| action.sa_flags & libc::SA_ONSTACK != 0;
    let is_function = ![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction);
    if is_function && !asks(before) {
        return;
    }
    if let Ok(mut now) = action(signal) {
        if !asks(&now) {
            now.sa_flags |= libc::SA_ONSTACK;
            // SAFETY: the handler stays installed and may run on any stack.
            unsafe { libc::sigaction(signal, &now, ptr::null_mut()) };
        }
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        // In a child process, signal-hook's lock may belong to a thread that does not exist there, and would
        // never be free.
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

    /// One byte for many signals makes sure that draining ends, even if signals arrive fast.
    #[test]
    fn many_signals_are_one_byte() {
        let mut pipe = SignalPipe::new(libc::SIGUSR1).unwrap();
        for _ in 0..3 {
            for _ in 0..1000 {
                signal_hook::low_level::raise(libc::SIGUSR1).unwrap();
            }
            assert_eq!(rustix::io::ioctl_fionread(&pipe.reader).unwrap(), 1);
            pipe.drain();
            assert_eq!(rustix::io::ioctl_fionread(&pipe.reader).unwrap(), 0);
        }
    }
}
