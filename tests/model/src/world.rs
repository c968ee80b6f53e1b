//! The files that programs watch, the numbers that mean them, and virtual sources. Readiness is asked of
//! poll(2).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::bits::{ERROR, HANGUP, PRIORITY, READABLE, WRITABLE};
use crate::step::{Kind, Much, Way};

/// A file, by its place in the world. The kernel calls it an open file description.
pub(crate) type FileId = usize;

/// How many numbers a program has that it may close behind the loop's back.
pub(crate) const NUMBERS: RawFd = 6;

#[derive(Default)]
pub(crate) struct World {
    files: Vec<File>,
    /// The numbers that are open, and what they mean.
    numbers: BTreeMap<RawFd, FileId>,
    pub(crate) sources: Vec<Source>,
}

struct File {
    kind: Kind,
    /// Bytes that are written here are read there.
    peer: Option<FileId>,
    /// The numbers that mean it. One is enough to ask poll(2); without one, the file cannot be reached.
    numbers: Vec<RawFd>,
}

/// A virtual source, as its owner knows it.
pub(crate) struct Source {
    pub(crate) ready: u8,
}

/// A file that has become ready for something, or has got more of it.
pub(crate) type News = (FileId, u8);

impl World {
    /// A new file, and its other end. Not under the numbers that programs close.
    pub(crate) fn open(&mut self, kind: Kind) -> (RawFd, Option<RawFd>) {
        let mut two = [-1; 2];
        // SAFETY: each call takes plain numbers, and places for two descriptors, or a string with
        // its end; what comes back is checked below.
        unsafe {
            match kind {
                Kind::Sockets => {
                    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                    check(libc::socketpair(libc::AF_UNIX, flags, 0, two.as_mut_ptr()));
                    // Soon full.
                    for fd in two {
                        let size = 4096;
                        check(libc::setsockopt(
                            fd,
                            libc::SOL_SOCKET,
                            libc::SO_SNDBUF,
                            (&raw const size).cast(),
                            size_of_val(&size) as u32,
                        ));
                    }
                }
                Kind::Pipe => {
                    check(libc::pipe2(
                        two.as_mut_ptr(),
                        libc::O_NONBLOCK | libc::O_CLOEXEC,
                    ));
                    check(libc::fcntl(two[1], libc::F_SETPIPE_SZ, 4096));
                }
                Kind::Counter => {
                    let flags = libc::EFD_NONBLOCK | libc::EFD_CLOEXEC;
                    two[0] = libc::eventfd(0, flags);
                }
                Kind::Regular => two[0] = libc::memfd_create(c"model".as_ptr(), libc::MFD_CLOEXEC),
                Kind::Directory => {
                    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
                    two[0] = libc::open(c"/".as_ptr(), flags);
                }
            }
        }
        check(two[0]);
        let first = self.files.len();
        let paired = two[1] != -1;
        for (at, &fd) in two.iter().take(1 + usize::from(paired)).enumerate() {
            self.files.push(File {
                kind,
                peer: paired.then_some(first + 1 - at),
                numbers: vec![fd],
            });
            self.numbers.insert(fd, first + at);
        }
        (two[0], paired.then_some(two[1]))
    }

    /// Another number for a file: `to`, or one that the kernel chooses.
    pub(crate) fn dup(&mut self, from: RawFd, to: Option<RawFd>) -> RawFd {
        // SAFETY: both are numbers of ours.
        let fd = check(unsafe {
            match to {
                Some(to) => libc::dup3(from, to, libc::O_CLOEXEC),
                None => libc::fcntl(from, libc::F_DUPFD_CLOEXEC, 0),
            }
        });
        let file = self.numbers[&from];
        self.numbers.insert(fd, file);
        self.files[file].numbers.push(fd);
        fd
    }

    /// Closes a number.
    pub(crate) fn close(&mut self, fd: RawFd) -> Vec<News> {
        let Some(file) = self.numbers.remove(&fd) else {
            return Vec::new();
        };
        self.files[file].numbers.retain(|&number| number != fd);
        let peer = self.files[file].peer;
        self.notice(&[peer], |_| {
            // SAFETY: a number of ours, which is only used from now on to be told that it is closed.
            unsafe { libc::close(fd) };
        })
    }

    pub(crate) fn file(&self, fd: RawFd) -> Option<FileId> {
        self.numbers.get(&fd).copied()
    }

    pub(crate) fn is_open(&self, file: FileId) -> bool {
        !self.files[file].numbers.is_empty()
    }

    /// Such a file is always ready, and the kernel does not watch it.
    pub(crate) fn is_regular(&self, file: FileId) -> bool {
        matches!(self.files[file].kind, Kind::Regular | Kind::Directory)
    }

    pub(crate) fn write(&mut self, fd: RawFd, much: Much) -> Vec<News> {
        let Some(file) = self.file(fd) else {
            return Vec::new();
        };
        let File { kind, peer, .. } = self.files[file];
        let reader = match kind {
            Kind::Counter => Some(file),
            _ => peer,
        };
        let bytes: &[u8] = match (kind, much) {
            (Kind::Counter, _) => &1u64.to_ne_bytes(),
            (_, Much::One) => b"!",
            (_, Much::All) => &[b'!'; 1024],
        };
        let repeat = much == Much::All && matches!(kind, Kind::Sockets | Kind::Pipe);
        let mut written = false;
        let mut news = self.notice(&[Some(file), reader], |_| {
            loop {
                // SAFETY: reads from a buffer that is there.
                let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
                written |= n > 0;
                if n <= 0 || !repeat {
                    break;
                }
            }
        });
        // More to read is news, too.
        news.extend(reader.filter(|_| written).map(|reader| (reader, READABLE)));
        news
    }

    pub(crate) fn read(&mut self, fd: RawFd, much: Much) -> Vec<News> {
        let Some(file) = self.file(fd) else {
            return Vec::new();
        };
        let File { kind, peer, .. } = self.files[file];
        self.notice(&[Some(file), peer], |_| {
            let mut buffer = [0; 1024];
            let room = match (kind, much) {
                (Kind::Counter, _) => 8,
                (_, Much::One) => 1,
                (_, Much::All) => buffer.len(),
            };
            loop {
                // SAFETY: writes into a buffer that is there.
                let n = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), room) };
                if n <= 0 || much == Much::One {
                    break;
                }
            }
        })
    }

    pub(crate) fn shutdown(&mut self, fd: RawFd, way: Way) -> Vec<News> {
        let Some(file) = self.file(fd) else {
            return Vec::new();
        };
        let peer = self.files[file].peer;
        let how = match way {
            Way::Read => libc::SHUT_RD,
            Way::Write => libc::SHUT_WR,
            Way::Both => libc::SHUT_RDWR,
        };
        self.notice(&[Some(file), peer], |_| {
            // SAFETY: takes numbers.
            unsafe { libc::shutdown(fd, how) };
        })
    }

    /// Returns the readiness of a file, as poll(2) says.
    pub(crate) fn ready(&self, file: FileId) -> u8 {
        match self.files[file].numbers.first() {
            Some(&fd) => poll(fd),
            None => 0,
        }
    }

    /// Returns the readiness of all files.
    pub(crate) fn all_ready(&self) -> Vec<u8> {
        let asked = |file: &File| libc::pollfd {
            // Those that are negative are passed over.
            fd: file.numbers.first().copied().unwrap_or(-1),
            events: libc::POLLIN | libc::POLLPRI | libc::POLLOUT,
            revents: 0,
        };
        let mut all: Vec<_> = self.files.iter().map(asked).collect();
        // SAFETY: as many as there are.
        check(unsafe { libc::poll(all.as_mut_ptr(), all.len() as _, 0) });
        all.iter().map(|one| one.revents as u8 & ALL).collect()
    }

    /// Does something, and tells what these files have become ready for by it.
    fn notice(&mut self, files: &[Option<FileId>], act: impl FnOnce(&mut World)) -> Vec<News> {
        let known = files.iter().flatten();
        let before: Vec<News> = known.map(|&file| (file, self.ready(file))).collect();
        act(self);
        let before = before.into_iter();
        let news = before.map(|(file, before)| (file, self.ready(file) & !before));
        news.filter(|&(_, bits)| bits != 0).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let numbers: Vec<_> = self.numbers.keys().copied().collect();
        numbers.iter().for_each(|&fd| drop(self.close(fd)));
    }
}

const ALL: u8 = READABLE | PRIORITY | WRITABLE | ERROR | HANGUP;

/// Returns the readiness of a number.
pub(crate) fn poll(fd: RawFd) -> u8 {
    let mut one = libc::pollfd {
        fd,
        events: libc::POLLIN | libc::POLLPRI | libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one that is there.
    check(unsafe { libc::poll(&mut one, 1, 0) });
    one.revents as u8 & ALL
}

/// The `at`th of the numbers of this thread that may be closed behind the loop's back. The kernel
/// gives out the smallest number that is free, so that no other file gets one of these meanwhile.
pub(crate) fn number(at: u8) -> RawFd {
    static NEXT: AtomicI32 = AtomicI32::new(700);
    thread_local! {
        static FIRST: Cell<RawFd> = Cell::new(NEXT.fetch_add(NUMBERS, Ordering::Relaxed));
    }
    FIRST.get() + RawFd::from(at) % NUMBERS
}

fn check(result: libc::c_int) -> libc::c_int {
    if result == -1 {
        panic!("the system refuses: {}", io::Error::last_os_error());
    }
    result
}
