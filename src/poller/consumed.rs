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
    /// A perf event. All perf events share one inode with eventfds and other anonymous files. The kernel's number of
    /// the event tells them apart. Linux before 3.12 has no such number.
    Perf(FileId, Option<u64>),
}

impl Consumed {
    /// Returns true if the number still means the file.
    pub(super) fn is_of(self, fd: RawFd) -> bool {
        match self {
            Consumed::Priority(file) => file.is_of(fd),
            Consumed::Perf(file, None) => file.is_of(fd) && is_perf(fd),
            Consumed::Perf(file, id) => file.is_of(fd) && perf_id(fd) == id,
        }
    }

    /// Returns the readiness that the file always has.
    pub(super) fn always(self) -> PollFlags {
        match self {
            Consumed::Priority(_) => PollFlags::IN | PollFlags::OUT,
            Consumed::Perf(..) => PollFlags::empty(),
        }
    }
}

/// Returns the file of a number, if a poll for `interest` consumes some of its readiness.
pub(super) fn consumed(fd: RawFd, interest: Interest) -> Option<Consumed> {
    const PROC: u64 = 0x9fa0;
    const CGROUP2: u64 = 0x6367_7270;
    let number = borrow(fd).ok()?;
    let stat = fstat(number).ok()?;
    let file = FileId::of(&stat);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if interest.contains(Interest::PRIORITY) => {
            let is_consumed = match fstatfs(number).ok()?.f_type as u64 {
                PROC => true,
                // Other files of cgroups stay ready until they are read.
                CGROUP2 => link(fd)?.extension().is_some_and(|it| it == "pressure"),
                _ => false,
            };
            is_consumed.then_some(Consumed::Priority(file))
        }
        FileType::Unknown => is_perf(fd).then(|| Consumed::Perf(file, perf_id(fd))),
        _ => None,
    }
}

fn is_perf(fd: RawFd) -> bool {
    link(fd).is_some_and(|link| link.as_os_str() == "anon_inode:[perf_event]")
}

/// Returns the kernel's number of a perf event.
fn perf_id(fd: RawFd) -> Option<u64> {
    // `PERF_EVENT_IOC_ID`, which is declared with a pointer and writes 64 bits.
    const ID: Opcode = opcode::read::<*mut u64>(b'$', 7);
    let number = borrow(fd).ok()?;
    // SAFETY: the call writes 64 bits into the getter, which has room for them. No other kind of file knows this
    // code. Files that are not perf events return an error.
    unsafe { ioctl(number, Getter::<ID, u64>::new()) }.ok()
}
