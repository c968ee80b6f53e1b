//! Questions about a descriptor that is known by its number only.

use std::io;

#[cfg(all(epoll, feature = "futures"))]
use crate::Interest;
use crate::os::{self, BorrowedFd, RawFd};

/// A descriptor that the engine was given by number, for a call that takes borrowed ones.
pub(crate) fn borrow<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    // So is `INVALID_SOCKET`, as a signed number.
    if (fd as isize) < 0 {
        return Err(io::Error::from_raw_os_error(os::EBADF));
    }
    // SAFETY: it is not negative, and it goes to nothing but calls on a poller's set, to poll(2) and
    // to those that say what it is, where the kernel checks it: a closed number is answered by EBADF, an unknown one by
    // ENOENT. That the number means what its owner thinks is up to the handler that owns it
    // (`add_handler`) or the caller of `add_raw_handler`; if it does not, another file is watched, and
    // nothing else is done to it.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Whether the number is open at all.
#[cfg(unix)]
pub(crate) fn exists(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD reads a flag of a number and touches nothing else; a closed one is EBADF.
    match unsafe { libc::fcntl(fd, libc::F_GETFD) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(windows)]
pub(crate) fn exists(fd: RawFd) -> io::Result<()> {
    rustix::net::sockopt::socket_type(borrow(fd)?)?;
    Ok(())
}

/// Tells a file from the next under the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl FileId {
    #[allow(clippy::unnecessary_cast)] // Not everywhere.
    pub(super) fn of(stat: &rustix::fs::Stat) -> FileId {
        FileId {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }

    /// The file of a number, unless that is closed.
    pub(crate) fn of_number(fd: RawFd) -> Option<FileId> {
        let stat = rustix::fs::fstat(borrow(fd).ok()?).ok()?;
        Some(FileId::of(&stat))
    }

    /// The number means this file.
    pub(crate) fn is_of(self, fd: RawFd) -> bool {
        FileId::of_number(fd) == Some(self)
    }
}

#[cfg(windows)]
impl FileId {
    pub(crate) fn of_number(_: RawFd) -> Option<FileId> {
        None
    }

    pub(crate) fn is_of(self, _: RawFd) -> bool {
        true
    }
}

/// The file of a number, if it is one that is always ready, such as a regular file or a directory.
///
/// epoll refuses to watch those by EPERM. So may a sandbox, and for sockets, too.
#[cfg(unix)]
pub(crate) fn always_ready(fd: RawFd) -> io::Result<Option<FileId>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, fstat};
    let fd = borrow(fd)?;
    let stat = fstat(fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket | FileType::Fifo => return Ok(None),
        _ => {}
    }
    let both = PollFlags::IN | PollFlags::OUT;
    let mut polled = [PollFd::from_borrowed_fd(fd, both)];
    poll(&mut polled, Some(&Timespec::default()))?;
    let is = polled[0].revents().contains(both);
    Ok(is.then_some(FileId::of(&stat)))
}

/// What is not a socket is not watched there.
#[cfg(windows)]
pub(crate) fn always_ready(_: RawFd) -> io::Result<Option<FileId>> {
    Ok(None)
}

/// Whether a descriptor is ready for a part of `interest`, or has hung up. True if that cannot be
/// found out.
#[cfg(all(epoll, feature = "futures"))]
pub(crate) fn is_ready(fd: RawFd, interest: Interest) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let Ok(borrowed) = borrow(fd) else {
        return true;
    };
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.contains(Interest::READABLE));
    flags.set(PollFlags::OUT, interest.contains(Interest::WRITABLE));
    flags.set(PollFlags::PRI, interest.contains(Interest::PRIORITY));
    let mut asked = [PollFd::new(&borrowed, flags)];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(_) => asked[0]
            .revents()
            .intersects(flags | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
}
