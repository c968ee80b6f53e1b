//! One descriptor, what its handlers want of the kernel together, and what the kernel was told.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::Inbox;
use super::handlers::Handler;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::{Diverted, FileId, PollSet, Poller, Watch, always_ready, divert};
use crate::{Interest, Mode, Ready, VirtualSource};

pub(super) struct Descriptor {
    /// -1 for a virtual source.
    pub(super) fd: RawFd,
    pub(super) key: Key,
    pub(super) told: ReadySource,
    /// The first of the handlers on it; each knows the next.
    pub(super) first: Option<HandlerIndex>,
    /// What is known of the handlers together, once there are several.
    pub(super) crowd: Option<Box<Crowd>>,
    main: Kernel,
    edges: Kernel,
    /// Its file was closed behind our back and the number belongs to another descriptor now.
    pub(super) orphaned: bool,
    /// When the kernel was asked last, the number was closed or meant another file. The kernel is
    /// told nothing more of it until a handler is updated: the number may be a stranger's.
    pub(super) closed: bool,
    /// The turn of the last event, and how many there were in a row; see `counts`.
    turn: u16,
    row: u16,
    /// What is kept of the row when a turn passes without an event.
    kept: u16,
    /// In the list of those to be synchronised before the next wait...
    pub(super) dirty: bool,
    /// ...with a call to the kernel even if nothing seems changed.
    pub(super) force: bool,
    /// The kernel has refused that, and whoever drives was told.
    pub(super) refused: bool,
}

/// The index of a handler, which takes four bytes as an `Option`, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct HandlerIndex(NonZeroU32);

impl HandlerIndex {
    pub(super) fn new(index: u32) -> HandlerIndex {
        // Indices stay below the largest number: see `Key::new`.
        HandlerIndex(NonZeroU32::MIN.saturating_add(index))
    }

    pub(super) fn index(self) -> u32 {
        self.0.get() - 1
    }

    pub(super) fn slot(self) -> usize {
        self.index() as usize
    }
}

/// Who tells whether it is ready.
pub(super) enum ReadySource {
    ByKernel,
    /// Nobody: the kernel refuses to watch what is always ready, a regular file or a directory.
    // In a box, as the next, for the many that have none to be small.
    Always(Box<FileId>),
    By(Box<Watched>),
    /// A thread that polls it: whoever asks such a descriptor has its event.
    // Twice, so that it is a thin pointer.
    Diverted(Box<Box<dyn Diverted>>),
    /// Nothing: it is the loop's own.
    Refused,
}

/// A virtual source that tells this loop; until it is dropped.
pub(super) struct Watched {
    source: VirtualSource,
    inbox: Arc<Inbox>,
    key: Key,
}

impl Watched {
    pub(super) fn new(source: &VirtualSource, inbox: &Arc<Inbox>, key: Key) -> Watched {
        source.watch(inbox, key);
        Watched {
            source: source.clone(),
            inbox: inbox.clone(),
            key,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // In a child process another thread may have had the source's lock, for ever.
        if !self.inbox.is_forked() {
            self.source.unwatch(self.key);
        }
    }
}

/// What the kernel knows of a descriptor, in one of the poller's two sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Absent,
    Armed(Watch),
    /// A one-shot that has fired: still in the set, and mute.
    Disarmed,
}

/// What all handlers on a descriptor want together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merged {
    /// The interest of the level handlers, and of the one-shots that are armed.
    pub(super) level: Interest,
    /// All that are in `level` are one-shots, so that the kernel can disarm them.
    pub(super) only_oneshots: bool,
    /// There are such handlers, paused ones included.
    pub(super) has_level: bool,
    pub(super) edge: Interest,
}

/// Whether to mend what a descriptor closed behind our back has left, or to report it.
#[derive(Clone, Copy)]
pub(super) enum OnStale<'a> {
    /// The loop's inbox, and whether its set is inside another one: the new file may be one that must
    /// not be asked twice.
    Repair(&'a Arc<Inbox>, bool),
    Fail,
}

impl OnStale<'_> {
    fn is_repair(self) -> bool {
        matches!(self, OnStale::Repair(..))
    }
}

/// After how many events in a row the kernel is asked for the first time whether the number still means
/// the file.
const FIRST_CHECK: u16 = 4;

impl Descriptor {
    pub(super) fn new(fd: RawFd, key: Key) -> Descriptor {
        Descriptor {
            fd,
            key,
            told: ReadySource::ByKernel,
            first: None,
            crowd: None,
            main: Kernel::Absent,
            edges: Kernel::Absent,
            orphaned: false,
            closed: false,
            turn: 0,
            row: 0,
            kept: 0,
            dirty: false,
            force: false,
            refused: false,
        }
    }

    /// What it is ready for, if that can be known without the kernel.
    pub(super) fn ready(&self) -> Option<Ready> {
        match &self.told {
            ReadySource::ByKernel | ReadySource::Diverted(_) | ReadySource::Refused => None,
            ReadySource::Always(_) => Some(Ready::READABLE | Ready::WRITABLE),
            ReadySource::By(watched) => Some(watched.source.ready()),
        }
    }

    /// What a virtual source has been set to since the last look.
    pub(super) fn take_ready_sources(&self) -> Ready {
        match &self.told {
            ReadySource::By(watched) => watched.source.take_ready_sources(watched.key),
            _ => Ready::NONE,
        }
    }

    /// What tells a file that is watched from the next under the same number. Regular files are all one:
    /// nobody tells them apart, and they are ready for the same.
    pub(super) fn file(&self) -> Option<Key> {
        (!self.is_always_ready()).then_some(self.key)
    }

    pub(super) fn is_told_by_kernel(&self) -> bool {
        matches!(self.told, ReadySource::ByKernel)
    }

    pub(super) fn is_always_ready(&self) -> bool {
        matches!(self.told, ReadySource::Always(_))
    }

    /// The kernel does not watch it, and its number is closed or means another file by now, which only
    /// a look can tell.
    pub(super) fn is_file_gone(&self) -> bool {
        match &self.told {
            ReadySource::Always(file) => !file.is_of(self.fd),
            ReadySource::Diverted(diverted) => !diverted.is_of(self.fd),
            _ => false,
        }
    }

    /// Nothing that is known of the file is of any use: the number means another one.
    pub(super) fn forget_file(&mut self) {
        self.told = ReadySource::ByKernel;
        self.lose();
    }

    pub(super) fn diverted(&self) -> Option<&dyn Diverted> {
        match &self.told {
            ReadySource::Diverted(diverted) => Some(&***diverted),
            _ => None,
        }
    }

    /// An event has come. True if it is time to ask the kernel whether the number still means the
    /// file that is watched: if a dup keeps a closed file open, nothing else tells.
    ///
    /// A level-triggered handler is called in turn after turn then, so only such rows count. Asking
    /// ever more rarely makes it cheap for a busy descriptor.
    #[inline]
    pub(super) fn counts(&mut self, turn: u16) -> bool {
        let is_next = self.turn.wrapping_add(1) == turn;
        self.turn = turn;
        self.row = if is_next {
            self.row.wrapping_add(1)
        } else {
            self.row & self.kept
        };
        self.row >= FIRST_CHECK && self.is_check_due()
    }

    #[cold]
    fn is_check_due(&mut self) -> bool {
        match self.main {
            // A one-shot is armed by a call that finds out by itself.
            Kernel::Armed(watch) if watch.mode == Mode::Oneshot => return false,
            Kernel::Armed(watch) if watch.mode == Mode::Level => {}
            // Edges are counted whether they come in a row or not.
            _ => self.kept = u16::MAX,
        }
        self.row & 255 == 0 || self.row.is_power_of_two()
    }

    /// It was reported ready in this turn.
    pub(super) fn has_fired_in(&self, turn: u16) -> bool {
        self.turn == turn
    }

    /// Asks the kernel whether the number still means the file that is watched. If it does not, the
    /// descriptor goes quiet.
    #[cold]
    pub(super) fn check(&mut self, poller: &Poller) -> bool {
        let (fd, key) = (self.fd, self.key);
        let asked = match (self.main, self.edges) {
            // The number is of another descriptor in the set.
            _ if self.orphaned => Ok(()),
            (Kernel::Armed(watch), _) => poller.modify(PollSet::Primary, fd, key, watch),
            (_, Kernel::Armed(watch)) => poller.modify(PollSet::Edge, fd, key, watch),
            _ => Ok(()),
        };
        let gone = asked.is_err_and(|error| is_gone(&error));
        if gone {
            self.lose();
            self.closed = true;
        }
        !gone
    }

    /// The kernel has it in one of its sets.
    pub(super) fn is_known(&self) -> bool {
        self.main != Kernel::Absent || self.edges != Kernel::Absent
    }

    /// The kernel has it in the main set.
    #[inline]
    pub(super) fn is_in_main(&self) -> bool {
        self.main != Kernel::Absent
    }

    /// Whether an event of `set` is for the handlers of this mode.
    pub(super) fn is_for(&self, set: PollSet, mode: Mode) -> bool {
        let edge = match (set, self.main) {
            (PollSet::Edge, _) => true,
            (PollSet::Primary, Kernel::Armed(watch)) => watch.mode == Mode::Edge,
            (PollSet::Primary, _) => false,
        };
        edge == (mode == Mode::Edge)
    }

    /// An event of `set` has come. True if that has disarmed it in the kernel.
    pub(super) fn fired(&mut self, set: PollSet) -> bool {
        match self.main {
            Kernel::Armed(watch) if set == PollSet::Primary && watch.mode == Mode::Oneshot => {
                self.main = Kernel::Disarmed;
                true
            }
            _ => false,
        }
    }

    /// Whether to fulfil `wanted` makes a set larger, which is when the kernel may refuse.
    pub(super) fn grows(&self, wanted: Merged) -> bool {
        let (main, edges) = split(wanted);
        (self.main == Kernel::Absent && main.is_some())
            || (self.edges == Kernel::Absent && edges.is_some())
    }

    /// Tells the kernel what is wanted, if it does not know: one call where one will do. `force`
    /// makes one call at least, so that what is ready now is reported again.
    #[inline(always)]
    pub(super) fn sync(
        &mut self,
        poller: &Poller,
        wanted: Merged,
        force: bool,
        stale: OnStale<'_>,
    ) -> io::Result<()> {
        if self.orphaned || self.closed {
            return Ok(());
        }
        match &self.told {
            ReadySource::ByKernel => {}
            ReadySource::Diverted(diverted) => {
                return diverted.ask(wanted.level, wanted.edge, force);
            }
            ReadySource::Always(_) | ReadySource::By(_) => return Ok(()),
            // An error once, and whenever the handler is updated.
            ReadySource::Refused => return poller.allows(self.fd),
        }
        let known = self.is_known();
        let mut result = self.tell_both(poller, wanted, force, stale);
        if let OnStale::Repair(inbox, nested) = stale {
            result = result.or_else(|error| self.mend(poller, inbox, nested, wanted, error));
        }
        self.closed = result.as_ref().is_err_and(|error| is(error, os::EBADF));
        if known && !self.is_known() && self.diverted().is_none() {
            self.lose();
        }
        result
    }

    /// If the file under the number has changed, tells the kernel of the new one: a C library that
    /// closes and opens means that.
    #[cold]
    fn mend(
        &mut self,
        poller: &Poller,
        inbox: &Arc<Inbox>,
        nested: bool,
        wanted: Merged,
        error: io::Error,
    ) -> io::Result<()> {
        let before = (self.key, self.main, self.edges);
        let mended = match self.is_known() && is(&error, os::ENOENT) {
            true => {
                // Of two sets, one may have the new file by now.
                let stale = match self.edges {
                    Kernel::Absent => OnStale::Fail,
                    _ => OnStale::Repair(inbox, nested),
                };
                self.lose();
                let interest = wanted.level | wanted.edge;
                let diverted = match nested | interest.contains(Interest::PRIORITY) {
                    true => self.divert(poller, inbox, interest),
                    false => Ok(false),
                };
                diverted.and_then(|_| match self.diverted() {
                    Some(diverted) => diverted.ask(wanted.level, wanted.edge, true),
                    None => self.tell_both(poller, wanted, false, stale),
                })
            }
            false => Err(error),
        };
        mended.or_else(|error| {
            if !is(&error, os::EPERM) {
                (self.key, self.main, self.edges) = before;
                return Err(error);
            }
            match always_ready(self.fd) {
                Ok(Some(file)) => {
                    self.lose();
                    self.told = ReadySource::Always(Box::new(file));
                    Ok(())
                }
                // A sandbox refuses.
                _ => {
                    (self.key, self.main, self.edges) = before;
                    Err(error)
                }
            }
        })
    }

    /// The kernel has let go of it, but for what a dup keeps open: what is told of that concerns
    /// nobody.
    fn lose(&mut self) {
        self.forget(PollSet::Primary);
        self.forget(PollSet::Edge);
        self.key = Key::new(self.key.slot());
    }

    #[inline(always)]
    fn tell_both(
        &mut self,
        poller: &Poller,
        wanted: Merged,
        force: bool,
        stale: OnStale<'_>,
    ) -> io::Result<()> {
        let (main, edges) = split(wanted);
        let result = self.tell(poller, PollSet::Primary, main, force, stale);
        // Hardly anybody has handlers of both kinds on one descriptor.
        if self.edges != Kernel::Absent || edges.is_some() {
            return result.and_then(|()| self.tell_of_edges(poller, edges, force, stale));
        }
        result
    }

    #[inline(never)]
    fn tell_of_edges(
        &mut self,
        poller: &Poller,
        wanted: Option<Watch>,
        force: bool,
        stale: OnStale<'_>,
    ) -> io::Result<()> {
        self.tell(poller, PollSet::Edge, wanted, force, stale)
    }

    #[inline(always)]
    fn tell(
        &mut self,
        poller: &Poller,
        set: PollSet,
        wanted: Option<Watch>,
        force: bool,
        stale: OnStale<'_>,
    ) -> io::Result<()> {
        let (fd, key) = (self.fd, self.key);
        let known = match set {
            PollSet::Primary => &mut self.main,
            PollSet::Edge => &mut self.edges,
        };
        let result = match (*known, wanted) {
            (Kernel::Absent, None) => return Ok(()),
            (Kernel::Disarmed, None) if !force => return Ok(()),
            (Kernel::Armed(watch), Some(wanted)) if watch == wanted && !force => return Ok(()),
            (_, None) => poller.delete(set, fd),
            (Kernel::Absent, Some(wanted)) => poller.add(set, fd, key, wanted),
            (_, Some(wanted)) => poller.modify(set, fd, key, wanted),
        };
        let result = match (result, wanted, stale) {
            (Err(error), Some(wanted), OnStale::Repair(..)) if is(&error, os::EEXIST) => {
                poller.modify(set, fd, key, wanted)
            }
            (Err(error), None, OnStale::Repair(..)) if is(&error, os::EBADF) => Ok(()),
            (result, ..) => result,
        };
        match result {
            Ok(()) => *known = wanted.map_or(Kernel::Absent, Kernel::Armed),
            Err(ref error) if is(error, os::EBADF) && stale.is_repair() => {
                *known = Kernel::Absent;
            }
            Err(_) => {}
        }
        result
    }

    /// The set was made anew.
    pub(super) fn forget(&mut self, set: PollSet) {
        match set {
            PollSet::Primary => self.main = Kernel::Absent,
            PollSet::Edge => self.edges = Kernel::Absent,
        }
    }

    /// Has the thread poll it that polls what must not be asked twice, if it is of that kind. True if
    /// it was not before.
    #[cold]
    pub(super) fn divert(
        &mut self,
        poller: &Poller,
        inbox: &Arc<Inbox>,
        interest: Interest,
    ) -> io::Result<bool> {
        if self.orphaned || self.closed || !self.is_told_by_kernel() {
            return Ok(false);
        }
        let Some(diverted) = divert(self.fd, interest, inbox, self.key)? else {
            return Ok(false);
        };
        self.release(poller);
        self.told = ReadySource::Diverted(Box::new(diverted));
        Ok(true)
    }

    /// Takes it out of the kernel's sets. If its file was closed it is out already.
    pub(super) fn release(&mut self, poller: &Poller) {
        for (set, known) in [
            (PollSet::Primary, &mut self.main),
            (PollSet::Edge, &mut self.edges),
        ] {
            if *known != Kernel::Absent && !self.orphaned {
                let _ = poller.delete(set, self.fd);
            }
            *known = Kernel::Absent;
        }
    }
}

/// The handlers on a descriptor that has several: the last of them, and how many want what, so that
/// to add or remove one costs the same however many there are.
pub(super) struct Crowd {
    pub(super) last: HandlerIndex,
    level: Tally,
    edge: Tally,
    /// Handlers that are not edge-triggered, paused ones included.
    not_edge: u32,
    /// Of these, the level-triggered ones that are not paused.
    repeating: u32,
}

/// How many handlers want each bit of an interest.
#[derive(Default)]
struct Tally([u32; 6]);

impl Tally {
    fn change(&mut self, interest: Interest, change: impl Fn(u32) -> u32) {
        for (bit, count) in self.0.iter_mut().enumerate() {
            if interest.bits() & 1 << bit != 0 {
                *count = change(*count);
            }
        }
    }

    fn interest(&self) -> Interest {
        let set = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        Interest::from_bits(set.fold(0, |bits, (bit, _)| bits | 1 << bit))
    }
}

impl Crowd {
    /// Of one handler.
    pub(super) fn new(first: HandlerIndex, handler: &Handler) -> Crowd {
        let mut crowd = Crowd {
            last: first,
            level: Tally::default(),
            edge: Tally::default(),
            not_edge: 0,
            repeating: 0,
        };
        crowd.add(handler);
        crowd
    }

    pub(super) fn add(&mut self, handler: &Handler) {
        self.change(handler, |count| count + 1);
    }

    /// A handler goes, or is about to want something else.
    pub(super) fn subtract(&mut self, handler: &Handler) {
        self.change(handler, |count| count - 1);
    }

    fn change(&mut self, handler: &Handler, change: impl Fn(u32) -> u32) {
        match handler.mode {
            Mode::Edge if handler.held => {}
            Mode::Edge => self.edge.change(handler.interest, change),
            mode => {
                self.not_edge = change(self.not_edge);
                if handler.is_watched() {
                    if mode == Mode::Level {
                        self.repeating = change(self.repeating);
                    }
                    self.level.change(handler.interest, change);
                }
            }
        }
    }

    pub(super) fn wanted(&self) -> Merged {
        Merged {
            level: self.level.interest(),
            only_oneshots: self.repeating == 0,
            has_level: self.not_edge > 0,
            edge: self.edge.interest(),
        }
    }
}

/// What is wanted of each set. Edge handlers have the main set to themselves if there are no
/// others; if there are, paused or not, they are in the second one.
fn split(wanted: Merged) -> (Option<Watch>, Option<Watch>) {
    let watch =
        |interest: Interest, mode| (!interest.is_empty()).then_some(Watch { interest, mode });
    let edge = watch(wanted.edge, Mode::Edge);
    match (wanted.has_level, wanted.only_oneshots) {
        (false, _) => (edge, None),
        (true, true) => (watch(wanted.level, Mode::Oneshot), edge),
        (true, false) => (watch(wanted.level, Mode::Level), edge),
    }
}

pub(super) fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

/// Closed, or the number means another file.
pub(super) fn is_gone(error: &io::Error) -> bool {
    is(error, os::ENOENT) || is(error, os::EBADF)
}
