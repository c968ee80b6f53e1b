//! Descriptors that a nested set must not ask.
//!
//! Quirks of Linux that this file is for:
//!
//! a. Some files forget that they are ready as soon as poll(2) or epoll has asked them: the files of
//!    procfs and of cgroups that tell of changes as priority data (`/proc/self/mounts`,
//!    `/proc/sys/kernel/hostname`, pressure stalls), and perf events.
//! b. A set inside another one is asked twice, by the outer wait and by the inner one. So is a
//!    descriptor that is in two sets, and one whose registration is changed. The first who asks has
//!    the event, and the second, which would tell of it, finds nothing.
//!
//! One thread of the process polls all such descriptors, so that there is just one who asks. What it
//! finds waits here until the loop's next turn; until the handlers were called, it does not ask again,
//! which makes a level-triggered handler of what was reported. The thread ends when there are none.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat, fstatfs};
use slab::Slab;

use super::eventfd::EventFd;
use super::{FileId, Wake, borrow};
use crate::engine::Inbox;
use crate::id::Key;
use crate::{Interest, Ready, fork};

/// What is consumed by being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumed {
    /// Priority data, on a file that can always be read and written.
    Priority,
    /// Samples of a perf event.
    Perf,
}

/// What is consumed when the descriptor is asked, if anything.
pub(crate) fn consumed(fd: RawFd, interest: Interest) -> Option<(Consumed, FileId)> {
    const PROC: u64 = 0x9fa0;
    const CGROUP2: u64 = 0x6367_7270;
    let number = borrow(fd).ok()?;
    let stat = fstat(number).ok()?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if interest.contains(Interest::PRIORITY) => {
            let is = match fstatfs(number).ok()?.f_type as u64 {
                PROC => true,
                // The others there stay ready until they are read.
                CGROUP2 => link(fd)?.ends_with(".pressure"),
                _ => false,
            };
            is.then_some(Consumed::Priority)
        }
        FileType::Unknown => {
            let is_perf = link(fd)? == "anon_inode:[perf_event]";
            is_perf.then_some(Consumed::Perf)
        }
        _ => None,
    };
    Some((what?, FileId::of(&stat)))
}

/// What Linux calls the file of a number.
fn link(fd: RawFd) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    link.into_os_string().into_string().ok()
}

/// Whether the number is of the thread's own descriptor.
pub(crate) fn owns(fd: RawFd) -> bool {
    let polls = Polls::of(POLLS.load(Ordering::Acquire), fork::seen());
    polls.is_some_and(|polls| polls.wake.owns(fd))
}

/// A descriptor that the thread polls, until this is dropped.
pub(crate) struct Aside {
    polls: &'static Polls,
    index: usize,
    file: FileId,
    inbox: Arc<Inbox>,
}

impl Aside {
    /// Polls it for nothing yet. Reports go to the inbox, under `key`.
    pub(crate) fn new(
        fd: RawFd,
        (consumed, file): (Consumed, FileId),
        inbox: &Arc<Inbox>,
        key: Key,
    ) -> io::Result<Aside> {
        let polls = Polls::get()?;
        let entry = Entry {
            fd,
            consumed,
            file,
            inbox: inbox.clone(),
            key,
            level: Interest::NONE,
            edge: Interest::NONE,
            known: PollFlags::empty(),
            ready: Ready::NONE,
        };
        let mut state = polls.lock();
        let index = state.entries.insert(entry);
        if !state.runs {
            let thread = thread::Builder::new().name("oneloop-poll".into());
            if let Err(error) = without_signals(|| thread.spawn(|| polls.run())) {
                state.entries.remove(index);
                return Err(error);
            }
            state.runs = true;
        }
        drop(state);
        Ok(Aside {
            polls,
            index,
            file,
            inbox: inbox.clone(),
        })
    }

    /// The number still means the file.
    pub(crate) fn is_of(&self, fd: RawFd) -> bool {
        self.file.is_of(fd)
    }

    /// Polls for this from now on, until there is something to report. `again`: what edge-triggered
    /// handlers have been told counts as new.
    pub(crate) fn ask(&self, level: Interest, edge: Interest, again: bool) -> io::Result<()> {
        let mut state = self.polls.lock();
        let entry = &mut state.entries[self.index];
        if again {
            entry.known = PollFlags::empty();
        }
        (entry.level, entry.edge) = (level, edge);
        let key = entry.key;
        let is_ready = !entry.ready.seen_by(level | edge).is_empty();
        drop(state);
        if is_ready {
            report(&self.inbox, key);
            return Ok(());
        }
        self.polls.wake.wake()
    }

    /// What was found for a handler that waits for `interest`. What it does not wait for is kept.
    pub(crate) fn take(&self, interest: Interest) -> Ready {
        let ready = &mut self.polls.lock().entries[self.index].ready;
        let seen = ready.seen_by(interest);
        *ready = ready.without(seen);
        seen
    }

    /// A handler was paused, or is to be told anew, before it was called for this.
    pub(crate) fn put_back(&self, ready: Ready) {
        self.polls.lock().entries[self.index].ready |= ready;
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // A child process has no such thread, and somebody may have had the lock.
        if self.inbox.is_forked() {
            return;
        }
        let entry = self.polls.lock().entries.remove(self.index);
        drop(entry);
        // So that it asks for it no more, and ends with the last one.
        let _ = self.polls.wake.wake();
    }
}

/// Does it while this thread takes no signals, which a thread that it makes inherits: those that the
/// program blocks in its own threads, to wait for them, must not find one that is open to them.
fn without_signals<R>(make: impl FnOnce() -> R) -> R {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `sigfillset` fills in the one set, and `pthread_sigmask`, which cannot fail with these
    // arguments, the other.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let made = make();
    // SAFETY: the set was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    made
}

/// The thread, and what it polls. Never freed, since there is one for a process.
struct Polls {
    wake: EventFd,
    state: Mutex<State>,
    /// The process that it is in.
    forks: u32,
}

#[derive(Default)]
struct State {
    entries: Slab<Entry>,
    runs: bool,
}

struct Entry {
    fd: RawFd,
    consumed: Consumed,
    file: FileId,
    inbox: Arc<Inbox>,
    key: Key,
    /// What level-triggered and one-shot handlers wait for, and edge-triggered ones. Nothing while a
    /// report is on its way.
    level: Interest,
    edge: Interest,
    /// What edge-triggered handlers were told, and what does not end by being asked.
    known: PollFlags,
    /// What was found, and not taken yet.
    ready: Ready,
}

impl Entry {
    /// What to poll for.
    fn flags(&self) -> PollFlags {
        let edge = flags(self.edge) - self.known;
        // It cannot be masked, and would be told for ever.
        let faults = PollFlags::HUP | PollFlags::ERR;
        if self.level.is_empty() && self.known.intersects(faults) {
            return PollFlags::empty();
        }
        flags(self.level) | edge
    }

    fn found(&mut self, found: PollFlags) {
        let lasting = match self.consumed {
            Consumed::Priority => PollFlags::IN | PollFlags::OUT,
            Consumed::Perf => PollFlags::HUP | PollFlags::ERR,
        };
        self.known |= found & lasting;
        self.ready |= Ready::from_poll(u32::from(found.bits()));
        (self.level, self.edge) = (Interest::NONE, Interest::NONE);
    }
}

fn flags(interest: Interest) -> PollFlags {
    let all = [
        (Interest::READABLE, PollFlags::IN),
        (Interest::WRITABLE, PollFlags::OUT),
        (Interest::PRIORITY, PollFlags::PRI),
        (Interest::READ_CLOSED, PollFlags::RDHUP),
    ];
    let asked = all.into_iter().filter(|(one, _)| interest.contains(*one));
    asked.fold(PollFlags::empty(), |flags, (_, flag)| flags | flag)
}

fn report(inbox: &Inbox, key: Key) {
    if inbox.tell(key) {
        inbox.unpark();
    }
}

static POLLS: AtomicPtr<Polls> = AtomicPtr::new(ptr::null_mut());

impl Polls {
    /// The one of the process that has forked so often, if there is one.
    fn of(polls: *const Polls, forks: u32) -> Option<&'static Polls> {
        // SAFETY: only called for what `POLLS` holds, which is null or was leaked there.
        let polls = unsafe { polls.as_ref() };
        polls.filter(|polls| polls.forks == forks)
    }

    fn get() -> io::Result<&'static Polls> {
        let forks = fork::generation();
        let before = POLLS.load(Ordering::Acquire);
        if let Some(polls) = Polls::of(before, forks) {
            return Ok(polls);
        }
        let polls = Box::leak(Box::new(Polls {
            wake: EventFd::new()?,
            state: Mutex::default(),
            forks,
        }));
        let new = ptr::from_mut(polls);
        match POLLS.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(polls),
            Err(_) => {
                // SAFETY: it was leaked above, and nobody else has come to know it.
                drop(unsafe { Box::from_raw(new) });
                Polls::get()
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until nothing is left to poll.
    fn run(&self) {
        let mut asked: Vec<(RawFd, FileId)> = Vec::new();
        loop {
            let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
            asked.clear();
            let mut state = self.lock();
            if state.entries.is_empty() {
                state.runs = false;
                return;
            }
            for (_, entry) in &state.entries {
                let (flags, fd) = (entry.flags(), borrow(entry.fd));
                if let (false, Ok(fd), true) = (flags.is_empty(), fd, entry.file.is_of(entry.fd)) {
                    fds.push(PollFd::from_borrowed_fd(fd, flags));
                    asked.push((entry.fd, entry.file));
                }
            }
            drop(state);
            // It can only fail for want of memory, or of allowed descriptors. Then what is ready is found the
            // next time.
            if poll(&mut fds, None).is_err() {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            let _ = rustix::io::read(self.wake.as_fd(), &mut [0; 8]);
            let mut reports = Vec::new();
            let mut state = self.lock();
            for (polled, (fd, file)) in fds[1..].iter().zip(&asked) {
                let found = polled.revents();
                if found.is_empty() {
                    continue;
                }
                // For all on the file: what was asked for one has been taken away from the others. One may
                // have come in the place of another meanwhile.
                for (_, entry) in &mut state.entries {
                    if (entry.fd, entry.file) == (*fd, *file) {
                        entry.found(found);
                        reports.push((entry.inbox.clone(), entry.key));
                    }
                }
            }
            drop(state);
            for (inbox, key) in reports {
                report(&inbox, key);
            }
        }
    }
}
