//! How long a thread has run on a processor.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A thread's clock, which other threads can read while it is alive.
#[derive(Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    pub fn of_this_thread() -> io::Result<CpuClock> {
        let mut clock = 0;
        // SAFETY: the calling thread is alive, and the clock is written to during the call only.
        match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) } {
            0 => Ok(CpuClock(clock)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    pub fn read(self) -> io::Result<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: it is written to during the call only. A clock of a thread that has ended gives an
        // error.
        if unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has succeeded, and so has written it.
        let time = unsafe { time.assume_init() };
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}
