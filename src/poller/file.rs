//! Questions about a descriptor of which only the number is known.

use std::io;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[cfg(epoll)]
use crate::Interest;
use crate::os::{self, BorrowedFd, RawFd};

/// Lends a descriptor, which the engine got by number, to calls that take borrowed ones.
pub(crate) fn borrow<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    // `INVALID_SOCKET` is negative, too, as a signed number.
    if (fd as isize) < 0 {
        return Err(io::Error::from_raw_os_error(os::EBADF));
    }
    // SAFETY: the number is not negative. It goes only to calls on a poller's set, to poll(2), and to calls
    // that describe it. The kernel checks it there, and answers EBADF for a closed number and ENOENT for an
    // unknown one. The handler that owns the descriptor (`add_handler`), or the caller of `add_raw_handler`,
    // is responsible for what the number means. If it means another file, that file is watched, and nothing
    // else happens to it.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Returns an error if the number is not open.
#[cfg(unix)]
pub(crate) fn exists(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD reads a flag of a number and touches nothing else. A closed number gives EBADF.
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

/// The identity of a file, which differs from that of the next file under the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl FileId {
    #[allow(clippy::unnecessary_cast)] // Only some systems use it.
    pub(super) fn of(stat: &rustix::fs::Stat) -> FileId {
        FileId {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }

    /// Returns the file of a number, unless the number is closed.
    pub(crate) fn of_number(fd: RawFd) -> Option<FileId> {
        let stat = rustix::fs::fstat(borrow(fd).ok()?).ok()?;
        Some(FileId::of(&stat))
    }

    /// Returns true if the number means this file.
    pub(crate) fn is_of(self, fd: RawFd) -> bool {
        FileId::of_number(fd) == Some(self)
    }
}

/// Windows does not tell sockets apart. An open number is taken for the file that it was before.
#[cfg(windows)]
impl FileId {
    pub(crate) fn of_number(fd: RawFd) -> Option<FileId> {
        let same = FileId {
            device: 0,
            inode: 0,
        };
        exists(fd).ok().map(|()| same)
    }

    pub(crate) fn is_of(self, fd: RawFd) -> bool {
        exists(fd).is_ok()
    }
}

/// Returns the file of a number if it is always ready, such as a regular file or a directory.
///
/// epoll refuses to watch these files with EPERM. A sandbox may give that error, too, even for sockets.
#[cfg(unix)]
pub(crate) fn always_ready(fd: RawFd) -> io::Result<Option<FileId>> {
    use rustix::fs::{FileType, fstat};
    let fd = borrow(fd)?;
    let stat = fstat(fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket | FileType::Fifo => return Ok(None),
        _ => {}
    }
    let both = PollFlags::IN | PollFlags::OUT;
    let is = poll_now(fd, both)?.contains(both);
    Ok(is.then_some(FileId::of(&stat)))
}

/// Windows watches nothing but sockets.
#[cfg(windows)]
pub(crate) fn always_ready(_: RawFd) -> io::Result<Option<FileId>> {
    Ok(None)
}

/// Returns true if a descriptor is ready for a part of `interest`, or has hung up. Also returns true if that
/// cannot be found out.
#[cfg(all(epoll, feature = "futures"))]
pub(crate) fn is_ready(fd: RawFd, interest: Interest) -> bool {
    let flags = flags(interest);
    match borrow(fd).and_then(|fd| poll_now(fd, flags)) {
        Ok(ready) => ready.intersects(flags | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
}

/// Polls a descriptor without waiting.
#[cfg(unix)]
fn poll_now(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<PollFlags> {
    let mut polled = [PollFd::from_borrowed_fd(fd, flags)];
    poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents())
}

/// Returns the flags by which poll(2) asks for an interest.
#[cfg(epoll)]
pub(super) fn flags(interest: Interest) -> PollFlags {
    let all = [
        (Interest::READABLE, PollFlags::IN),
        (Interest::WRITABLE, PollFlags::OUT),
        (Interest::PRIORITY, PollFlags::PRI),
        (Interest::READ_CLOSED, PollFlags::RDHUP),
    ];
    let asked = all.into_iter().filter(|(one, _)| interest.contains(*one));
    asked.fold(PollFlags::empty(), |flags, (_, flag)| flags | flag)
}

/// Returns the name that Linux has for the file of a number, which is its path if it has one.
#[cfg(unix)]
pub(crate) fn link(fd: RawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn zero_is_a_number_of_a_descriptor() {
        assert!(borrow(0).is_ok());
        assert!(borrow(-1).is_err());
    }

    /// Whatever a sandbox says: others may be ready now, or for one direction only.
    #[test]
    fn only_files_that_never_block_are_always_ready() {
        let is = |fd| always_ready(fd).unwrap().is_some();
        let folder = File::open(".").unwrap();
        assert!(is(folder.as_raw_fd()));
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(b"x").unwrap();
        assert!(!is(a.as_raw_fd()));
        let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert!(!is(counter.as_raw_fd()));
    }
}
