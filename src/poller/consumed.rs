//! Files whose readiness a poll consumes: perf events, and files that report changes as priority data.

use std::os::fd::RawFd;

use rustix::event::PollFlags;
use rustix::fs::{FileType, fstat, fstatfs};
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

use super::file::{FileId, borrow, link};
use crate::Interest;

/// A file whose readiness a poll consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consumed {
    /// A file with priority data, which can always be read and written.
    Priority(FileId),
    /// A perf event, by the kernel's number of it. All perf events share one inode with eventfds and other anonymous
    /// files, which have no such number.
    Perf(u64),
}

impl Consumed {
    /// Returns true if the number still means the file.
    pub(super) fn is_of(self, fd: RawFd) -> bool {
        match self {
            Consumed::Priority(file) => file.is_of(fd),
            Consumed::Perf(id) => perf_id(fd) == Some(id),
        }
    }

    /// Returns the readiness that the file always has.
    pub(super) fn always(self) -> PollFlags {
        match self {
            Consumed::Priority(_) => PollFlags::IN | PollFlags::OUT,
            Consumed::Perf(_) => PollFlags::empty(),
        }
    }
}

/// Returns the file of a number, if a poll for `interest` consumes some of its readiness.
pub(super) fn consumed(fd: RawFd, interest: Interest) -> Option<Consumed> {
    const PROC: u64 = 0x9fa0;
    const CGROUP2: u64 = 0x6367_7270;
    let number = borrow(fd).ok()?;
    let stat = fstat(number).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if interest.contains(Interest::PRIORITY) => {
            let is_consumed = match fstatfs(number).ok()?.f_type as u64 {
                PROC => true,
                // Other files of cgroups stay ready until they are read.
                CGROUP2 => link(fd)?.extension().is_some_and(|it| it == "pressure"),
                _ => false,
            };
            is_consumed.then(|| Consumed::Priority(FileId::of(&stat)))
        }
        FileType::Unknown => perf_id(fd).map(Consumed::Perf),
        _ => None,
    }
}

/// Returns the kernel's number of a perf event, which Linux has since 3.12.
fn perf_id(fd: RawFd) -> Option<u64> {
    // `PERF_EVENT_IOC_ID`, which is declared with a pointer and writes 64 bits.
    const ID: Opcode = opcode::read::<*mut u64>(b'$', 7);
    let number = borrow(fd).ok()?;
    // SAFETY: the call writes 64 bits into the getter, which has room for them. No other kind of file knows this
    // code. Files that are not perf events return an error.
    unsafe { ioctl(number, Getter::<ID, u64>::new()) }.ok()
}
