use std::os::fd::RawFd;

use oneloop::{Action, Mode};

use super::{Model, Phase};
use crate::bits::{ERROR, HANGUP, PRIORITY, READABLE, WRITABLE, names, seen};
use crate::world::{FileId, News};

const ALL: u8 = READABLE | PRIORITY | WRITABLE | ERROR | HANGUP;

pub(crate) struct Handler {
    pub(crate) id: u64,
    pub(crate) place: Place,
    bound: Bound,
    pub(crate) alive: bool,
    pub(crate) dropped: bool,
    pub(crate) interest: u8,
    pub(crate) mode: Mode,
    /// False for a one-shot that was called.
    armed: bool,
    pub(crate) unreferenced: bool,
    /// It is to be called again though nothing is ready.
    again: bool,
    /// For an edge handler: what is new since it was called last...
    owed: u8,
    /// ...and what of that it is to be told in this turn.
    taken: u8,
    /// The readiness that it was to be told in a turn that was cut short.
    carried: u8,
    last: u8,
    /// In this turn: what it must be told, and what it may be...
    must: u8,
    may: u8,
    /// ...that it must be called...
    due: bool,
    /// ...that it was...
    called: bool,
    /// ...and that it was resumed or armed after the turn began, so that it is not yet.
    barred: bool,
    /// When the turn began it may have followed its number to another file already.
    followed: bool,
}

/// The target of a handler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Number(RawFd),
    Source(usize),
}

/// The file or source that it watches.
pub(crate) enum Bound {
    File(FileId),
    Source(usize),
    /// Its number was closed behind its back, or means another file now.
    Loose {
        /// Files that it once meant. Those that a dup keeps open may go on reporting.
        old: Vec<FileId>,
        /// Something was done that may have had it watch the file that the number means now.
        follows: bool,
    },
}

/// The state of a handler when a turn begins.
struct Prospect {
    must: u8,
    may: u8,
    due: bool,
}

impl Handler {
    pub(crate) fn new(place: Place, bound: Bound, interest: u8, mode: Mode) -> Handler {
        Handler {
            id: 0,
            place,
            bound,
            alive: false,
            dropped: false,
            interest,
            mode,
            armed: true,
            unreferenced: false,
            again: false,
            owed: ALL,
            taken: 0,
            carried: 0,
            last: 0,
            must: 0,
            may: 0,
            due: false,
            called: false,
            barred: true,
            followed: false,
        }
    }

    pub(crate) fn is_loose(&self) -> bool {
        self.alive && matches!(self.bound, Bound::Loose { .. })
    }

    pub(super) fn keeps_going(&self, sure: bool) -> bool {
        let active = self.armed || self.again;
        let certain = !sure || !self.is_loose();
        self.alive && self.interest != 0 && active && certain && !self.unreferenced
    }

    fn is_active(&self) -> bool {
        self.interest != 0 && self.armed
    }

    /// `ready`: what it watches is ready for.
    fn prospect(&self, ready: u8) -> Prospect {
        let now = seen(ready, self.interest);
        let must = match self.mode {
            Mode::Level => now,
            Mode::Edge if seen(ready & self.owed, self.interest) != 0 => now,
            Mode::Oneshot if self.armed => now,
            _ => 0,
        };
        let mut may = seen(self.carried, self.interest);
        if self.mode != Mode::Oneshot || self.armed {
            may |= now;
        }
        let again = self.again && self.interest != 0;
        if again {
            // The kernel may not have been asked what is ready: the handler is told what it was last told, or all.
            may |= now | self.interest;
        }
        match self.bound {
            Bound::Loose { .. } => Prospect {
                must: 0,
                may,
                due: false,
            },
            _ => Prospect {
                must,
                may,
                due: again || must != 0,
            },
        }
    }
}

impl Model {
    /// Returns the readiness of a handler's file. Of a loose one, returns all that it may be told.
    fn ready_of(&self, handler: &Handler, file: impl Fn(FileId) -> u8) -> u8 {
        match &handler.bound {
            Bound::File(id) => file(*id),
            Bound::Source(id) => self.world.sources[*id].ready,
            Bound::Loose { old, follows } => {
                let lives = |&file: &FileId| self.world.is_open(file);
                // The loop does not learn that a regular file was closed.
                let regular = |&file: &FileId| self.world.is_regular(file);
                if *follows || old.iter().any(lives) || old.iter().any(regular) {
                    ALL
                } else {
                    0
                }
            }
        }
    }

    /// A turn begins to call what is ready.
    pub(super) fn gather(&mut self) {
        let files = self.world.all_ready();
        for label in 0..self.handlers.len() {
            let handler = &self.handlers[label];
            if !handler.alive {
                continue;
            }
            let ready = self.ready_of(handler, |file| files[file]);
            let handler = &mut self.handlers[label];
            let Prospect { must, may, due } = handler.prospect(ready);
            handler.must = must;
            handler.may = may;
            handler.due = due;
            handler.called = false;
            handler.barred = false;
            handler.followed = matches!(handler.bound, Bound::Loose { follows: true, .. });
            handler.taken = std::mem::take(&mut handler.owed);
            self.stirred |= may != 0;
        }
        self.see_system_clock();
    }

    pub(super) fn due_handler(&self) -> Option<String> {
        let files = self.world.all_ready();
        let due = |handler: &Handler| {
            handler.alive
                && handler
                    .prospect(self.ready_of(handler, |file| files[file]))
                    .due
        };
        let label = self.handlers.iter().position(due)?;
        Some(format!("to call handler {label}"))
    }

    pub(super) fn all_handlers_were_called(&mut self) {
        for label in 0..self.handlers.len() {
            let handler = &mut self.handlers[label];
            if !handler.alive {
                continue;
            }
            handler.carried = 0;
            if handler.called || handler.barred {
                continue;
            }
            handler.owed |= std::mem::take(&mut handler.taken);
            let told = seen(handler.must, handler.interest) != 0;
            let again = handler.again && handler.interest != 0;
            if handler.due && (told || again) {
                let ready = names(handler.must);
                self.violated(format!("handler {label} was not called, ready for {ready}"));
            }
        }
    }

    /// The turn was cut short.
    pub(super) fn keep_handlers(&mut self) {
        for handler in self.handlers.iter_mut().filter(|one| one.alive) {
            if handler.called || handler.barred {
                continue;
            }
            handler.owed |= std::mem::take(&mut handler.taken);
            if handler.mode != Mode::Level {
                handler.carried |= handler.may;
            }
        }
    }

    pub(crate) fn handler_called(&mut self, label: usize, event: u8) {
        self.note(|| format!("handler {label} is called: {}", names(event)));
        self.events += 1;
        let reads_priority = self.reads_priority;
        let handler = &mut self.handlers[label];
        let interest = handler.interest;
        let mut allowed = seen(handler.may, interest);
        if handler.again {
            allowed |= interest | seen(handler.last, interest);
        }
        if reads_priority && handler.may & PRIORITY != 0 {
            allowed |= READABLE & interest;
        }
        let required = seen(handler.must, interest);
        let wrong = match () {
            () if !handler.alive => Some("it was removed"),
            () if handler.called => Some("it was called in this turn already"),
            () if interest == 0 => Some("it is paused"),
            () if handler.barred => Some("it was added, resumed or armed in this turn"),
            () if event == 0 || event & !allowed != 0 => Some("that is not ready or not asked for"),
            () if required & !event != 0 => Some("that is not all that is ready"),
            () => None,
        };
        handler.called = true;
        handler.again = false;
        handler.taken = 0;
        handler.carried = 0;
        handler.last = event;
        handler.armed &= handler.mode != Mode::Oneshot;
        let (loose, place) = (handler.is_loose(), handler.place);
        if loose {
            self.touch(place);
        }
        if let Some(wrong) = wrong {
            let (is, may, must) = (names(event), names(allowed), names(required));
            self.violated(format!(
                "handler {label} was called for {is} (may be: {may}, must be: {must}), but {wrong}"
            ));
        }
    }

    pub(crate) fn handler_returned(&mut self, label: usize, action: Action) {
        let handler = &mut self.handlers[label];
        match action {
            Action::Continue => {}
            Action::Again => handler.again = true,
            Action::Remove => handler.alive = false,
        }
    }

    pub(crate) fn handler_added(&mut self, label: usize, id: u64) {
        let inside = self.phase != Phase::Rest;
        let handler = &mut self.handlers[label];
        handler.alive = true;
        handler.id = id;
        handler.barred = inside;
        if let Place::Number(fd) = handler.place {
            // Those that wait for something keep to what they had; the others may join.
            let others = self.handlers.iter_mut().filter(|one| !one.is_active());
            follow(others, fd);
        }
    }

    pub(crate) fn handler_updated(&mut self, label: usize, interest: u8) {
        let handler = &mut self.handlers[label];
        handler.interest = interest;
        // Its turn may come before anybody makes it wait for that again.
        handler.due &= handler.again || seen(handler.must, interest) != 0;
        self.arm(label, interest == 0);
    }

    /// A handler was armed again; what it has not been told yet in this turn it is not told in it, or
    /// if it is one for levels, only if it was `paused`.
    fn arm(&mut self, label: usize, paused: bool) {
        let handler = &mut self.handlers[label];
        handler.armed = true;
        match handler.mode {
            Mode::Level => handler.barred |= paused,
            _ => {
                handler.barred = true;
                handler.owed = ALL;
                handler.taken = 0;
                handler.carried = 0;
            }
        }
    }

    /// `rearm_handler` has succeeded: it watches what its number means now.
    pub(crate) fn handler_rearmed(&mut self, label: usize) {
        let handler = &mut self.handlers[label];
        if let (Place::Number(fd), Bound::Loose { old, .. }) = (handler.place, &handler.bound) {
            if let Some(file) = self.world.file(fd).filter(|_| handler.alive) {
                // Not before the next turn, as any other that was added; unless it is to be called again
                // anyway, or watched that file before by what was done to a neighbour, or it is unknown
                // one file from the other: it is the same again, or regular.
                let same = old.contains(&file) || self.world.is_regular(file);
                handler.barred |= !handler.again && !handler.followed && !same;
                handler.bound = Bound::File(file);
            }
        }
        self.arm(label, false);
    }

    /// Something was done to a handler, or tried: the kernel may have been told of all on its number.
    pub(crate) fn touch(&mut self, place: Place) {
        if let Place::Number(fd) = place {
            follow(self.handlers.iter_mut(), fd);
        }
    }

    /// A number was closed, or will mean something else.
    pub(crate) fn lost(&mut self, fd: RawFd, file: FileId) {
        self.ghosts |= self.world.is_open(file);
        let at_once = self.inside;
        for handler in &mut self.handlers {
            if !handler.alive || handler.place != Place::Number(fd) {
                continue;
            }
            match &mut handler.bound {
                Bound::Loose { old, .. } => old.push(file),
                bound => {
                    *bound = Bound::Loose {
                        old: vec![file],
                        follows: at_once,
                    };
                }
            }
            // It may still be told what was due in this turn.
            handler.due = false;
            handler.must = 0;
        }
        if self.ghosts {
            // The set may be rebuilt at any time.
            for handler in &mut self.handlers {
                if let Bound::Loose { follows, .. } = &mut handler.bound {
                    *follows = true;
                }
            }
        }
    }

    pub(crate) fn news(&mut self, news: &[News]) {
        for &(file, bits) in news {
            for handler in &mut self.handlers {
                if matches!(handler.bound, Bound::File(its) if its == file) {
                    handler.owed |= bits;
                }
            }
        }
    }

    pub(crate) fn source_set(&mut self, source: usize, bits: u8) {
        self.world.sources[source].ready |= bits;
        for handler in &mut self.handlers {
            if matches!(handler.bound, Bound::Source(its) if its == source) {
                handler.owed |= bits;
            }
        }
    }
}

fn follow<'a>(handlers: impl Iterator<Item = &'a mut Handler>, fd: RawFd) {
    for handler in handlers.filter(|one| one.place == Place::Number(fd)) {
        if let Bound::Loose { follows, .. } = &mut handler.bound {
            *follows = true;
        }
    }
}
