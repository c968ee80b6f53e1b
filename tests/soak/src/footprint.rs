//! The memory and descriptors of the process, and the files that the kernel watches for it.

use std::fs::{read_dir, read_link, read_to_string};
use std::io;
use std::path::Path;

use rustix::param::page_size;

#[derive(Clone, Copy)]
pub struct Footprint {
    pub descriptors: usize,
    /// In all epolls.
    pub registrations: usize,
    /// Bytes that the allocator has given out; none if it does not say.
    pub live: Option<usize>,
    /// Bytes of memory.
    pub resident: usize,
}

impl Footprint {
    pub fn now() -> io::Result<Footprint> {
        let (mut descriptors, mut registrations) = (0, 0);
        for entry in read_dir("/proc/self/fd")? {
            let entry = entry?;
            descriptors += 1;
            // Others may close theirs meanwhile.
            let Ok(target) = read_link(entry.path()) else {
                continue;
            };
            if target == Path::new("anon_inode:[eventpoll]") {
                let info = Path::new("/proc/self/fdinfo").join(entry.file_name());
                let info = read_to_string(info)?;
                registrations += info.lines().filter(|line| line.starts_with("tfd:")).count();
            }
        }
        Ok(Footprint {
            // But for the one with which the folder was read.
            descriptors: descriptors - 1,
            registrations,
            live: live(),
            resident: resident()?,
        })
    }
}

/// Returns the file of each descriptor, as `/proc` tells it.
pub fn descriptors() -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in read_dir("/proc/self/fd")? {
        let entry = entry?;
        if let Ok(target) = read_link(entry.path()) {
            all.push(format!(
                "{} {}",
                entry.file_name().to_string_lossy(),
                target.display()
            ));
        }
    }
    Ok(all)
}

impl Footprint {
    /// But for memory.
    pub fn has_same(&self, other: &Footprint) -> bool {
        let counts = |it: &Footprint| (it.descriptors, it.registrations);
        counts(self) == counts(other)
    }
}

#[cfg(target_env = "gnu")]
fn live() -> Option<usize> {
    // SAFETY: it takes nothing and gives numbers.
    let info = unsafe { libc::mallinfo2() };
    Some(info.uordblks + info.hblkhd)
}

#[cfg(not(target_env = "gnu"))]
fn live() -> Option<usize> {
    None
}

fn resident() -> io::Result<usize> {
    let pages = read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(pages.unwrap_or(0) * page_size())
}

/// TCP connections that have ended, and that the kernel keeps for a minute, of all processes.
pub fn lingering() -> io::Result<usize> {
    let all = read_to_string("/proc/net/sockstat")?;
    let after = all.split(" tw ").nth(1).unwrap_or("");
    Ok(after
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0))
}

/// How often the other threads of this process have gone to sleep of their own accord, as they do once
/// for each time that something wakes them.
pub fn sleeps() -> io::Result<u64> {
    let own = read_link("/proc/thread-self")?;
    let mut sleeps = 0;
    for task in read_dir("/proc/self/task")? {
        let task = task?;
        if Some(&*task.file_name()) == own.file_name() {
            continue;
        }
        let status = read_to_string(task.path().join("status"))?;
        let mut words = status.split_whitespace();
        words.find(|word| *word == "voluntary_ctxt_switches:");
        let count = words.next().and_then(|word| word.parse::<u64>().ok());
        sleeps += count.unwrap_or(0);
    }
    Ok(sleeps)
}
