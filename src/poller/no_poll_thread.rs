//! Only Linux is known to have descriptors that a nested set must not ask.

use std::io;
use std::sync::Arc;

use crate::engine::Inbox;
use crate::id::Key;
use crate::os::RawFd;
use crate::{Interest, Mode, Ready};

pub(crate) enum Consumed {}

pub(crate) fn consumed(_: RawFd, _: Interest) -> Option<Consumed> {
    None
}

pub(crate) fn owns(_: RawFd) -> bool {
    false
}

pub(crate) struct Found {
    pub(crate) level: Ready,
    pub(crate) edge: Ready,
}

pub(crate) enum Aside {}

impl Aside {
    pub(crate) fn new(_: RawFd, consumed: Consumed, _: &Arc<Inbox>, _: Key) -> io::Result<Aside> {
        match consumed {}
    }

    pub(crate) fn is_of(&self, _: RawFd) -> bool {
        match *self {}
    }

    pub(crate) fn ask(&self, _: Interest, _: Interest, _: bool) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn take(&self, _: Interest, _: Interest, _: bool) -> Found {
        match *self {}
    }

    pub(crate) fn put_back(&self, _: Mode, _: Ready) {
        match *self {}
    }
}
