//! Callbacks of handlers that own their source.

use super::handlers::{Callback, Outcome};
use crate::os::{self, AsRawFd, RawFd};
use crate::{Event, IntoAction, Source, SourceKind};

fn fd_of(source: &impl Source) -> RawFd {
    match source.kind() {
        SourceKind::Descriptor(fd) => fd.as_raw_fd(),
        SourceKind::Virtual(_) => os::NO_FD,
    }
}

/// Boxes the callback of a handler together with its source.
pub(crate) fn boxed<S, F, A>(mut source: S, mut callback: F) -> Callback
where
    S: Source + 'static,
    F: FnMut(&mut S, Event) -> A + 'static,
    A: IntoAction,
{
    let mut registered = fd_of(&source);
    Box::new(move |event| {
        let action = match callback(&mut source, event).into_action() {
            Ok(action) => action,
            Err(failure) => return Outcome::Failed(failure),
        };
        let fd = fd_of(&source);
        if fd == registered {
            return Outcome::Done(action);
        }
        registered = fd;
        Outcome::Replaced(action, fd)
    })
}
