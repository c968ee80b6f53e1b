//! The part of the system that reports whether a descriptor is ready.

use std::sync::Arc;

use crate::engine::inbox::Inbox;
use crate::id::Key;
use crate::poller::{Diverted, FileId};
use crate::{Ready, VirtualSource};

pub(crate) enum ReadySource {
    ByKernel,
    /// Always ready: the kernel refuses to watch a regular file or a directory.
    // Rare contents are in boxes, so that descriptors without them stay small.
    Always(Box<FileId>),
    By(Box<Watched>),
    /// The polling thread, for files that must not be polled twice.
    // Boxed twice, so that the outer pointer is thin.
    Diverted(Box<Box<dyn Diverted>>),
    /// Nothing, because the loop has made the descriptor for itself.
    Refused,
}

/// A virtual source that reports to this loop until this value is dropped.
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

    /// Takes the readiness that was set since the last call of this.
    pub(super) fn take_ready(&self) -> Ready {
        self.source.take_unseen(self.key)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // In a child process, a thread that exists only in the parent may have the source's lock.
        if !self.inbox.is_forked() {
            self.source.unwatch(self.key);
        }
    }
}
