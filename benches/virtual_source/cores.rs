//! Where the two threads are.
//!
//! Left to the scheduler they would move about, and a measurement would depend on where they met.

use std::sync::OnceLock;
use std::{fmt, io};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[derive(Clone, Copy)]
pub enum Cores {
    One,
    Two,
}

impl Cores {
    /// Keeps the calling thread, which runs the loop, where it belongs.
    pub fn keep_loop(self) -> io::Result<()> {
        keep_on(ends()?.1)
    }

    /// The same for the thread that makes sources ready.
    pub fn keep_setter(self) -> io::Result<()> {
        let (first, last) = ends()?;
        match self {
            Cores::One => {
                be_patient()?;
                keep_on(last)
            }
            Cores::Two => keep_on(first),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cores::One => "one core",
            Cores::Two => "two cores",
        })
    }
}

/// The first and the last core that the process may use: the same one if there are no more.
fn ends() -> io::Result<(usize, usize)> {
    // Looked up once: what `keep_on` does hides the others.
    static ENDS: OnceLock<(usize, usize)> = OnceLock::new();
    if let Some(&ends) = ENDS.get() {
        return Ok(ends);
    }
    let allowed = sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let first = allowed.next().expect("it runs somewhere");
    let last = allowed.next_back().unwrap_or(first);
    Ok(*ENDS.get_or_init(|| (first, last)))
}

fn keep_on(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Has the calling thread not interrupt another by waking up: the loop, which wakes it in a callback,
/// is to fall asleep first.
fn be_patient() -> io::Result<()> {
    let no_priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 means the calling thread, and the pointer is only read, during the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &no_priority) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
