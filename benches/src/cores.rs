//! Where the two threads are.
//!
//! Left to the scheduler they would move about, and a measurement would depend on where they met.

use std::sync::OnceLock;
use std::{fmt, io};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How many cores a loop and a thread that talks to it have.
#[derive(Clone, Copy)]
pub enum Cores {
    /// Both the same.
    One,
    /// Each its own, if the process may use two.
    Two,
}

impl Cores {
    /// Keeps the calling thread, which runs the loop, where it belongs.
    pub fn keep_loop(self) -> io::Result<()> {
        keep_on([ends()?.1])
    }

    /// Keeps the other thread on its core.
    pub fn keep_other(self) -> io::Result<()> {
        let (first, last) = ends()?;
        match self {
            Cores::One => {
                be_patient()?;
                keep_on([last])
            }
            Cores::Two => keep_on([first]),
        }
    }

    /// Keeps the calling thread, one of many, off the loop's core, if there is another.
    pub fn keep_off_loop() -> io::Result<()> {
        let (first, last) = ends()?;
        let allowed = allowed()?;
        let others = (first + 1..last).filter(|&core| allowed.is_set(core));
        keep_on([first].into_iter().chain(others))
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
    let allowed = allowed()?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let first = allowed.next().expect("it runs somewhere");
    Ok((first, allowed.next_back().unwrap_or(first)))
}

fn allowed() -> io::Result<CpuSet> {
    // Looked up once: what `keep_on` does hides the others.
    static ALLOWED: OnceLock<CpuSet> = OnceLock::new();
    match ALLOWED.get() {
        Some(&allowed) => Ok(allowed),
        None => {
            let allowed = sched_getaffinity(None)?;
            Ok(*ALLOWED.get_or_init(|| allowed))
        }
    }
}

fn keep_on(cores: impl IntoIterator<Item = usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.into_iter().for_each(|core| set.set(core));
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
