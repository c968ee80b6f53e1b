use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::{Arc, Weak};

use oneloop::{SetReadiness, VirtualSource};

use super::{Play, lock};
use crate::bits::{HANGUP, to_ready};
use crate::step::{Few, Kind, Spot};
use crate::world::{News, Source, World, number};

/// How many places there are of each kind.
const PLACES: usize = 6;

/// A descriptor that closes its number when it is dropped, and lets the model know.
pub(super) struct Descriptor {
    pub(super) fd: RawFd,
    play: Weak<Play>,
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until it is dropped.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(play) = self.play.upgrade() {
            play.close_number(self.fd);
        }
    }
}

/// A virtual source and its other half, and which it is in the model.
pub(super) struct Speaker {
    source: VirtualSource,
    readiness: Option<SetReadiness>,
    id: usize,
}

pub(super) fn place(few: Few) -> usize {
    usize::from(few.0) % PLACES
}

impl Play {
    pub(super) fn open(&self, kind: Kind, at: Spot) {
        let (one, other) = self.model().world.open(kind);
        self.put(at, one);
        if let Some(other) = other {
            let next = |few| Few((place(few) as u8 + 1) % PLACES as u8);
            let at = match at {
                Spot::Raw(few) => Spot::Raw(next(few)),
                Spot::Shared(few) => Spot::Shared(next(few)),
            };
            self.put(at, other);
        }
    }

    pub(super) fn dup(&self, from: Spot, to: Spot) {
        if let Some(from) = self.number(from) {
            let dup = self.model().world.dup(from, None);
            self.put(to, dup);
        }
    }

    pub(super) fn close(&self, spot: Spot) {
        match self.spot(spot) {
            Spot::Raw(few) => self.close_number(number(few.0)),
            Spot::Shared(few) => {
                let end = lock(&self.ends)[place(few)].take();
                drop(end);
            }
        }
    }

    pub(super) fn on_file(&self, at: Spot, act: impl FnOnce(&mut World, RawFd) -> Vec<News>) {
        if let Some(fd) = self.number(at) {
            let mut model = self.model();
            let news = act(&mut model.world, fd);
            model.news(&news);
        }
    }

    /// Where programs may not close numbers, all descriptors are shared.
    pub(super) fn spot(&self, spot: Spot) -> Spot {
        match spot {
            Spot::Raw(few) if !self.setting.raw => Spot::Shared(few),
            _ => spot,
        }
    }

    /// The number in a place, if there is any.
    pub(super) fn number(&self, spot: Spot) -> Option<RawFd> {
        match self.spot(spot) {
            Spot::Raw(few) => {
                let fd = number(few.0);
                self.model().world.file(fd).map(|_| fd)
            }
            Spot::Shared(few) => self.shared(few).map(|end| end.fd),
        }
    }

    pub(super) fn shared(&self, few: Few) -> Option<Arc<Descriptor>> {
        lock(&self.ends)[place(few)].clone()
    }

    pub(super) fn own(&self, fd: RawFd) -> Descriptor {
        let play = self.this.clone();
        Descriptor { fd, play }
    }

    /// Puts a descriptor in a place.
    fn put(&self, spot: Spot, fd: RawFd) {
        self.close(spot);
        match self.spot(spot) {
            Spot::Raw(few) => {
                let mut model = self.model();
                model.world.dup(fd, Some(number(few.0)));
                // Another number means it now.
                model.world.close(fd);
            }
            Spot::Shared(few) => {
                let end = Arc::new(self.own(fd));
                lock(&self.ends)[place(few)] = Some(end);
            }
        }
    }

    fn close_number(&self, fd: RawFd) {
        let mut model = self.model();
        if let Some(file) = model.world.file(fd) {
            let news = model.world.close(fd);
            model.news(&news);
            model.lost(fd, file);
        }
    }

    // Virtual sources.

    pub(super) fn open_sources(&self) {
        let all = (0..PLACES).map(|_| self.new_source()).collect();
        *lock(&self.sources) = all;
    }

    fn new_source(&self) -> Speaker {
        let (source, readiness) = VirtualSource::pair();
        let sources = &mut self.model().world.sources;
        sources.push(Source { ready: 0 });
        Speaker {
            source,
            readiness: Some(readiness),
            id: sources.len() - 1,
        }
    }

    pub(super) fn source(&self, few: Few) -> (VirtualSource, usize) {
        let speaker = &lock(&self.sources)[place(few)];
        (speaker.source.clone(), speaker.id)
    }

    fn readiness(&self, few: Few) -> Option<(SetReadiness, usize)> {
        let speaker = &lock(&self.sources)[place(few)];
        Some((speaker.readiness.clone()?, speaker.id))
    }

    pub(super) fn set_source(&self, few: Few, bits: u8) {
        if let Some((readiness, id)) = self.readiness(few) {
            self.model().source_set(id, bits);
            let _ = readiness.set(to_ready(bits));
        }
    }

    pub(super) fn clear_source(&self, few: Few, bits: u8) {
        if let Some((readiness, id)) = self.readiness(few) {
            self.model().world.sources[id].ready &= !bits;
            readiness.clear(to_ready(bits));
        }
    }

    pub(super) fn hang_source(&self, few: Few) {
        let readiness = lock(&self.sources)[place(few)].readiness.take();
        if readiness.is_some() {
            let (_, id) = self.source(few);
            self.model().source_set(id, HANGUP);
        }
        drop(readiness);
    }

    pub(super) fn replace_source(&self, few: Few) {
        self.hang_source(few);
        let fresh = self.new_source();
        let old = std::mem::replace(&mut lock(&self.sources)[place(few)], fresh);
        drop(old);
    }
}
