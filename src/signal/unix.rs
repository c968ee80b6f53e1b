use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use signal_hook::SigId;
use signal_hook::consts::FORBIDDEN;
use signal_hook::low_level::{register, unregister};

use crate::fork;

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
pub(crate) struct SignalWatch {
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

impl SignalWatch {
    pub(crate) fn new(signal: i32) -> io::Result<SignalWatch> {
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
        Ok(SignalWatch {
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

impl AsFd for SignalWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for SignalWatch {
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
        let pipe = SignalWatch::new(libc::SIGUSR1).unwrap();
        let writer = Arc::downgrade(&pipe.writer);
        assert!(writer.upgrade().is_some());
        drop(pipe);
        assert!(writer.upgrade().is_none());
    }

    /// One byte for many signals makes sure that draining ends, even if signals arrive fast.
    #[test]
    fn many_signals_are_one_byte() {
        let mut pipe = SignalWatch::new(libc::SIGUSR1).unwrap();
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
