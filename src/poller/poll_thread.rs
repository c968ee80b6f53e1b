//! A thread that polls the descriptors which must not be polled twice.
//!
//! Quirks of Linux that this file handles:
//!
//! a. Some files forget that they are ready as soon as poll(2) or epoll has polled them. These are perf events, and
//!    the files of procfs and cgroups that report changes as priority data (`/proc/self/mounts`,
//!    `/proc/sys/kernel/hostname`, pressure stalls).
//! b. A descriptor in a nested set is polled twice, by the outer wait and by the inner one. So is a descriptor in
//!    two sets, and one whose registration changes. The first poll consumes the event, and the second poll, which
//!    should report it, finds nothing.
//! c. Some conditions are not consumed. A pressure file without a trigger is in error for ever, and a perf event
//!    whose process has ended has hung up. Neither can be masked, so every poll finds them at once.
//!
//! One thread of the process polls all these descriptors, so that each has only one poller. The findings wait here
//! until the loop's next turn. The thread does not poll a descriptor again until its handlers were called, which
//! gives level-triggered handlers their semantics. The thread ends with the last descriptor.
//!
//! The thread polls each ready descriptor a second time at once. A condition that is found again lasts.
//! Edge-triggered handlers learn of it once. The thread then polls the descriptor again after a pause, which grows
//! while the condition lasts.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slab::Slab;

use super::consumed::{Consumed, consumed};
use super::eventfd::EventFd;
use super::file::{borrow, flags};
use super::{Diverted, DivertedReady, Report, Wake};
use crate::id::Key;
use crate::os::without_signals;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Interest, Mode, Ready, fork};

/// The first and the longest pause before a descriptor with a lasting condition is polled again.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(250)];

/// Returns true if the number is that of the thread's own descriptor.
pub(crate) fn owns(fd: RawFd) -> bool {
    let polls = Polls::of(POLLS.load(Ordering::Acquire), fork::seen());
    polls.is_some_and(|polls| polls.wake.owns(fd))
}

/// Gives a descriptor to the thread if a poll consumes some of its readiness. The thread polls it for nothing until
/// `ask` is called. Reports go to `reports`, under `key`.
pub(crate) fn divert(
    fd: RawFd,
    interest: Interest,
    reports: &Arc<impl Report + 'static>,
    key: Key,
) -> io::Result<Option<Box<dyn Diverted>>> {
    let Some(file) = consumed(fd, interest) else {
        return Ok(None);
    };
    let polls = Polls::get()?;
    let entry = Entry {
        fd,
        file,
        reports: reports.clone(),
        key,
        level: Interest::NONE,
        edge: Interest::NONE,
        told: PollFlags::empty(),
        withheld: PollFlags::empty(),
        pause: Duration::ZERO,
        until: None,
        ready: DivertedReady::default(),
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
    Ok(Some(Box::new(Polled { polls, index, file })))
}

/// A descriptor that the thread polls.
struct Polled {
    polls: &'static Polls,
    index: usize,
    file: Consumed,
}

impl Diverted for Polled {
    fn is_of(&self, fd: RawFd) -> bool {
        self.file.is_of(fd)
    }

    fn ask(&self, level: Interest, edge: Interest, again: bool) -> io::Result<()> {
        let mut state = self.polls.lock();
        let entry = &mut state.entries[self.index];
        if again {
            entry.told = PollFlags::empty();
            entry.withheld = PollFlags::empty();
            entry.until = None;
        }
        (entry.level, entry.edge) = (level, edge);
        let (reports, key) = (entry.reports.clone(), entry.key);
        let is_ready = entry.ready.is_seen_by(level, edge);
        drop(state);
        if is_ready {
            reports.report(key);
            return Ok(());
        }
        self.polls.wake.wake()
    }

    fn take(&self, level: Interest, edge: Interest, has_level: bool) -> DivertedReady {
        let ready = &mut self.polls.lock().entries[self.index].ready;
        let seen = DivertedReady {
            level: ready.level.seen_by(level),
            edge: ready.edge.seen_by(edge),
        };
        ready.edge = ready.edge.without(seen.edge);
        ready.level = if has_level {
            ready.level.without(seen.level)
        } else {
            Ready::NONE
        };
        seen
    }

    fn put_back(&self, mode: Mode, ready: Ready) {
        let kept = &mut self.polls.lock().entries[self.index].ready;
        match mode {
            Mode::Edge => kept.edge |= ready,
            _ => kept.level |= ready,
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // A child process has no such thread, and a thread of the parent may have held the lock.
        if self.polls.forks != fork::seen() {
            return;
        }
        let entry = self.polls.lock().entries.remove(self.index);
        drop(entry);
        // The thread must stop polling this descriptor, and end with the last one.
        let _ = self.polls.wake.wake();
    }
}

/// The thread and its descriptors. There is one per process, and it is never freed.
struct Polls {
    wake: EventFd,
    state: Mutex<State>,
    /// The fork generation of its process.
    forks: u32,
}

#[derive(Default)]
struct State {
    entries: Slab<Entry>,
    runs: bool,
}

struct Entry {
    fd: RawFd,
    file: Consumed,
    reports: Arc<dyn Report>,
    key: Key,
    /// The interest of level-triggered and one-shot handlers. Empty while a report is on its way.
    level: Interest,
    /// The interest of edge-triggered handlers. Empty while a report is on its way.
    edge: Interest,
    /// Lasting readiness that edge-triggered handlers know already.
    told: PollFlags,
    /// The part of `told` that was found again since.
    withheld: PollFlags,
    /// The length of the last pause, if a condition lasts.
    pause: Duration,
    /// The end of the pause.
    until: Option<Instant>,
    /// Findings that the loop has not taken yet.
    ready: DivertedReady,
}

impl DivertedReady {
    fn is_seen_by(self, level: Interest, edge: Interest) -> bool {
        !self.level.seen_by(level).is_empty() || !self.edge.seen_by(edge).is_empty()
    }
}

impl Entry {
    /// Returns the readiness to poll for.
    fn flags(&self) -> PollFlags {
        flags(self.level) | (flags(self.edge) - (self.told & self.file.always()))
    }

    /// Adds the findings of the `first` poll and of the one right after it. Returns true if there is something to
    /// report.
    ///
    /// Separate events look like a lasting condition if they come faster than the thread polls. Edge-triggered
    /// handlers therefore learn of withheld readiness when it has ended.
    fn found(&mut self, first: PollFlags, again: PollFlags, now: Instant) -> bool {
        let (all, always) = (first | again, self.file.always());
        let lasting = (first & again) - (PollFlags::IN | PollFlags::OUT);
        let ended = self.told - always - lasting;
        let new = (all - self.told) | (ended & (all | self.withheld));
        self.withheld = lasting & self.told;
        self.told = ((self.told | all) & always) | lasting;
        let [first_pause, longest] = PAUSES;
        self.pause = if lasting.is_empty() {
            Duration::ZERO
        } else {
            (self.pause * 2).clamp(first_pause, longest)
        };
        self.until = (!lasting.is_empty()).then(|| now + self.pause);
        let found = DivertedReady {
            level: Ready::from_poll(all.bits() as u32),
            edge: Ready::from_poll(new.bits() as u32),
        };
        self.ready.level |= found.level;
        self.ready.edge |= found.edge;
        let is_wanted = found.is_seen_by(self.level, self.edge);
        if is_wanted {
            (self.level, self.edge) = (Interest::NONE, Interest::NONE);
        }
        is_wanted
    }
}

static POLLS: AtomicPtr<Polls> = AtomicPtr::new(ptr::null_mut());

impl Polls {
    /// Returns the thread's data if it belongs to the process with this fork generation.
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
                // SAFETY: it was leaked above, and no other code knows it.
                drop(unsafe { Box::from_raw(new) });
                Polls::get()
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Polls until no descriptors are left.
    fn run(&self) {
        let mut asked: Vec<(RawFd, Consumed)> = Vec::new();
        loop {
            let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
            asked.clear();
            let mut state = self.lock();
            if state.entries.is_empty() {
                state.runs = false;
                return;
            }
            // `next` is the end of the first pause. If a pause is over, finding nothing counts, too.
            let (now, mut next, mut is_over) = (Instant::now(), None, false);
            for (_, entry) in &state.entries {
                let (flags, fd) = (entry.flags(), borrow(entry.fd));
                let (false, Ok(fd), true) = (flags.is_empty(), fd, entry.file.is_of(entry.fd))
                else {
                    continue;
                };
                match entry.until {
                    Some(until) if until > now => {
                        next = Some(next.map_or(until, |next: Instant| next.min(until)));
                        continue;
                    }
                    until => is_over |= until.is_some(),
                }
                fds.push(PollFd::from_borrowed_fd(fd, flags));
                asked.push((entry.fd, entry.file));
            }
            drop(state);
            let wait = if is_over {
                Some(Duration::ZERO)
            } else {
                next.map(|next| next - now)
            };
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            // The call fails only if memory or the limit on descriptors is exhausted. The next poll finds what is
            // ready.
            if poll(&mut fds, wait.as_ref()).is_err() {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            let _ = rustix::io::read(self.wake.as_fd(), &mut [0; 8]);
            let first: Vec<_> = fds[1..].iter().map(PollFd::revents).collect();
            // If the second poll fails, no condition counts as lasting.
            if first.iter().any(|found| !found.is_empty()) {
                fds.iter_mut().for_each(PollFd::clear_revents);
                let _ = poll(&mut fds[1..], Some(&Timespec::default()));
            }
            let (mut ready, now) = (Vec::new(), Instant::now());
            let mut state = self.lock();
            let again = fds[1..].iter().map(PollFd::revents);
            for ((first, again), (fd, file)) in first.into_iter().zip(again).zip(&asked) {
                if (first | again).is_empty() && !is_over {
                    continue;
                }
                // All entries of the file get the findings, because the poll has consumed them. The list may
                // have changed during the poll, so entries are found by number and file.
                for (_, entry) in &mut state.entries {
                    if (entry.fd, entry.file) == (*fd, *file) && entry.found(first, again, now) {
                        ready.push((entry.reports.clone(), entry.key));
                    }
                }
            }
            drop(state);
            for (reports, key) in ready {
                reports.report(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    const EVENT: PollFlags = PollFlags::PRI.union(PollFlags::ERR);
    const NONE: PollFlags = PollFlags::empty();

    struct NoReports;

    impl Report for NoReports {
        fn report(&self, _: Key) {}
    }

    /// Makes the entry of handlers that wait for priority data.
    fn entry(modes: &[Mode]) -> Entry {
        let file = File::open("/proc/self/mounts").unwrap();
        let mut entry = Entry {
            fd: -1,
            file: consumed(file.as_raw_fd(), Interest::PRIORITY).unwrap(),
            reports: Arc::new(NoReports),
            key: Key::new(0),
            level: Interest::NONE,
            edge: Interest::NONE,
            told: NONE,
            withheld: NONE,
            pause: Duration::ZERO,
            until: None,
            ready: DivertedReady::default(),
        };
        ask(&mut entry, modes);
        entry
    }

    fn ask(entry: &mut Entry, modes: &[Mode]) {
        for mode in modes {
            match mode {
                Mode::Edge => entry.edge = Interest::PRIORITY,
                _ => entry.level = Interest::PRIORITY,
            }
        }
        entry.ready = DivertedReady::default();
    }

    #[test]
    fn each_event_is_new() {
        for mode in [Mode::Edge, Mode::Level] {
            let mut entry = entry(&[mode]);
            for _ in 0..3 {
                assert!(entry.found(EVENT, NONE, Instant::now()));
                assert_eq!(entry.until, None);
                ask(&mut entry, &[mode]);
            }
        }
    }

    #[test]
    fn what_lasts_is_one_edge_and_is_looked_for_ever_more_rarely() {
        let mut entry = entry(&[Mode::Edge]);
        let now = Instant::now();
        assert!(entry.found(EVENT, EVENT, now));
        ask(&mut entry, &[Mode::Edge]);
        let mut pauses = vec![entry.pause];
        for _ in 0..20 {
            assert!(!entry.found(EVENT, EVENT, now));
            assert_eq!(entry.until, Some(now + entry.pause));
            pauses.push(entry.pause);
        }
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[20]), (PAUSES[0], PAUSES[1]));
    }

    #[test]
    fn a_level_handler_is_told_of_what_lasts_and_an_edge_handler_beside_it_is_not() {
        let both = [Mode::Level, Mode::Edge];
        let mut entry = entry(&both);
        for n in 0..3 {
            assert!(entry.found(EVENT, EVENT, Instant::now()));
            let DivertedReady { level, edge } = entry.ready;
            assert!(!level.seen_by(Interest::PRIORITY).is_empty());
            assert_eq!(edge.seen_by(Interest::PRIORITY).is_empty(), n > 0);
            ask(&mut entry, &both);
        }
    }

    /// The state of a bit before (told, withheld), the result of each of two polls, and the state after (new, told,
    /// withheld).
    const LASTING: [([bool; 4], [bool; 3]); 12] = {
        let (n, y) = (false, true);
        [
            ([n, n, n, n], [n, n, n]),
            ([n, n, y, n], [y, n, n]),
            ([n, n, n, y], [y, n, n]),
            ([n, n, y, y], [y, y, n]),
            ([y, n, n, n], [n, n, n]),
            ([y, n, y, n], [y, n, n]),
            ([y, n, n, y], [y, n, n]),
            ([y, n, y, y], [n, y, y]),
            ([y, y, n, n], [y, n, n]),
            ([y, y, y, n], [y, n, n]),
            ([y, y, n, y], [y, n, n]),
            ([y, y, y, y], [n, y, y]),
        ]
    };
    /// The same for a bit that the file always has.
    const ALWAYS: [([bool; 4], [bool; 3]); 8] = {
        let (n, y) = (false, true);
        [
            ([n, n, n, n], [n, n, n]),
            ([n, n, y, n], [y, y, n]),
            ([n, n, n, y], [y, y, n]),
            ([n, n, y, y], [y, y, n]),
            ([y, n, n, n], [n, y, n]),
            ([y, n, y, n], [n, y, n]),
            ([y, n, n, y], [n, y, n]),
            ([y, n, y, y], [n, y, n]),
        ]
    };

    #[test]
    fn each_bit_is_told_by_itself() {
        for (before_pri, after_pri) in LASTING {
            for (before_err, after_err) in LASTING {
                for (before_in, after_in) in ALWAYS {
                    let flag = |is_set: bool, flag| if is_set { flag } else { NONE };
                    let before = [0, 1, 2, 3].map(|n| {
                        flag(before_pri[n], PollFlags::PRI)
                            | flag(before_err[n], PollFlags::ERR)
                            | flag(before_in[n], PollFlags::IN)
                    });
                    let after = [0, 1, 2].map(|n| {
                        flag(after_pri[n], PollFlags::PRI)
                            | flag(after_err[n], PollFlags::ERR)
                            | flag(after_in[n], PollFlags::IN)
                    });
                    let [told, withheld, first, again] = before;
                    let mut entry = entry(&[Mode::Edge]);
                    (entry.told, entry.withheld) = (told, withheld);
                    entry.found(first, again, Instant::now());
                    let new = Ready::from_poll(after[0].bits() as u32);
                    let all = Ready::from_poll((first | again).bits() as u32);
                    let case = format!("{before:?}");
                    assert_eq!((entry.ready.edge, entry.ready.level), (new, all), "{case}");
                    assert_eq!([entry.told, entry.withheld], after[1..], "{case}");
                    let lasts = !(first & again).difference(PollFlags::IN).is_empty();
                    assert_eq!(entry.until.is_some(), lasts, "{case}");
                }
            }
        }
    }

    #[test]
    fn readiness_that_a_file_always_has_is_looked_for_until_it_is_told() {
        let mut entry = entry(&[]);
        entry.edge = Interest::READABLE | Interest::PRIORITY;
        assert_eq!(entry.flags(), PollFlags::IN | PollFlags::PRI);
        entry.told = PollFlags::IN | PollFlags::PRI;
        assert_eq!(entry.flags(), PollFlags::PRI);
    }

    #[test]
    fn one_thread_serves_the_process_and_its_descriptor_is_known() {
        let polls = Polls::get().unwrap();
        assert!(ptr::eq(polls, Polls::get().unwrap()));
        assert!(owns(polls.wake.as_fd().as_raw_fd()));
        assert!(!owns(File::open("/").unwrap().as_raw_fd()));
    }

    #[test]
    fn readiness_that_is_put_back_is_taken_again() {
        let mounts = File::open("/proc/self/mounts").unwrap();
        let (reports, key) = (Arc::new(NoReports), Key::new(0));
        let diverted = divert(mounts.as_raw_fd(), Interest::PRIORITY, &reports, key);
        let diverted = diverted.unwrap().unwrap();
        let take = || diverted.take(Interest::PRIORITY, Interest::PRIORITY, true);
        diverted.put_back(Mode::Level, Ready::PRIORITY);
        diverted.put_back(Mode::Edge, Ready::PRIORITY);
        let taken = take();
        assert_eq!([taken.level, taken.edge], [Ready::PRIORITY; 2]);
        let taken = take();
        assert_eq!([taken.level, taken.edge], [Ready::NONE; 2]);
    }

    #[test]
    fn events_that_seemed_to_last_are_told_when_they_have_ended() {
        for last in [EVENT, NONE] {
            let mut entry = entry(&[Mode::Edge]);
            assert!(entry.found(EVENT, EVENT, Instant::now()));
            ask(&mut entry, &[Mode::Edge]);
            assert!(!entry.found(EVENT, EVENT, Instant::now()));
            assert!(entry.found(last, NONE, Instant::now()));
            assert_eq!((entry.until, entry.pause), (None, Duration::ZERO));
            ask(&mut entry, &[Mode::Edge]);
            assert!(!entry.found(NONE, NONE, Instant::now()));
            assert!(entry.found(EVENT, NONE, Instant::now()));
        }
    }
}
