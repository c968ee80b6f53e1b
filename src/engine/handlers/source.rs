//! The side that tells whether a descriptor is ready.

use std::sync::Arc;

use crate::engine::inbox::Inbox;
use crate::id::Key;
use crate::poller::{Diverted, FileId};
use crate::{Ready, VirtualSource};

pub(crate) enum ReadySource {
    ByKernel,
    /// Always ready: the kernel refuses to watch a regular file or a directory.
    // In a box, as the next, so that the many descriptors without one stay small.
    Always(Box<FileId>),
    By(Box<Watched>),
    /// The thread that polls files which report an event to the first that asks, and to no other.
    // Twice, so that it is a thin pointer.
    Diverted(Box<Box<dyn Diverted>>),
    /// None: the descriptor is the loop's own.
    Refused,
}

/// A virtual source that tells this loop, until this is dropped.
pub(crate) struct Watched {
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

    pub(super) fn ready(&self) -> Ready {
        self.source.ready()
    }

    /// Takes the readiness that was set since the last look.
    pub(super) fn take_ready(&self) -> Ready {
        self.source.take_unseen(self.key)
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
