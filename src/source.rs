use std::fmt;
use std::sync::{Arc, PoisonError};

use crate::engine::Inbox;
use crate::id::Key;
use crate::os::{AsFd, BorrowedFd};
use crate::sync::{Mutex, MutexGuard};
use crate::{Ready, fork};

/// What a handler can be on: everything that has a descriptor, and [`VirtualSource`].
///
/// Implement it for a type of yours that has either of them inside, and its users need not know
/// which.
///
/// ```
/// use oneloop::{SourceKind, Source, VirtualSource};
/// use std::{fs::File, os::fd::AsFd};
///
/// enum Template {
///     Local(File),
///     Remote { arrived: VirtualSource },
/// }
///
/// impl Source for Template {
///     fn kind(&self) -> SourceKind<'_> {
///         match self {
///             Template::Local(file) => SourceKind::Descriptor(file.as_fd()),
///             Template::Remote { arrived } => SourceKind::Virtual(arrived),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no descriptor that it owns or borrows",
    note = "a bare number goes to `add_raw_handler`; a type of yours may implement `Source`"
)]
pub trait Source {
    /// Who knows whether it is ready. Asked when a handler is added.
    fn kind(&self) -> SourceKind<'_>;

    /// Whether a read or write that does less than it was asked to means that there is no more for
    /// now, as with the kernel's own descriptors: then `Async` saves the
    /// attempt that would say so. Not so for what keeps bytes inside and gives them piece by piece,
    /// such as records or messages.
    ///
    /// True for whatever is [`AsFd`]; false unless you say otherwise.
    fn is_direct(&self) -> bool {
        false
    }
}

/// Who knows whether a [`Source`] is ready.
#[derive(Debug, Clone, Copy)]
pub enum SourceKind<'a> {
    /// The kernel, by this descriptor.
    Descriptor(BorrowedFd<'a>),
    /// Whoever has the [`SetReadiness`].
    Virtual(&'a VirtualSource),
}

impl<T: AsFd> Source for T {
    fn kind(&self) -> SourceKind<'_> {
        SourceKind::Descriptor(self.as_fd())
    }

    fn is_direct(&self) -> bool {
        true
    }
}

/// A source without a descriptor: something that is not a socket, and takes part in the loop as if
/// it were. Handlers cannot tell the difference.
///
/// Its owner says through the other half, the [`SetReadiness`], what it is ready for. Clones are the
/// same source, for several handlers, which may be on several loops.
///
/// ```
/// use oneloop::{Action, Interest, Mode, Reactor, Ready, VirtualSource};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let (answer, readiness) = VirtualSource::pair();
/// reactor.add_handler(answer, Interest::READABLE, Mode::Level, |_, event| {
///     assert!(event.is_readable());
///     Action::Remove
/// })?;
/// let thread = std::thread::spawn(move || readiness.set(Ready::READABLE));
/// reactor.run()?;
/// # thread.join().unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VirtualSource(Arc<Shared>);

/// The half of a [`VirtualSource`] that says what it is ready for. Any thread.
///
/// Clones speak for the same source. When the last one is dropped, nobody is left who could make
/// it ready: that is a hang-up, which handlers are told as they are for a socket.
#[derive(Clone)]
pub struct SetReadiness(Arc<SetterInner>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    ready: Ready,
    watchers: Vec<Watcher>,
}

/// A loop that has handlers on the source.
struct Watcher {
    inbox: Arc<Inbox>,
    /// Its descriptor there.
    key: Key,
    /// What was set since it looked last.
    ready_sources: Ready,
}

impl VirtualSource {
    /// A source that is ready for nothing, and its other half.
    pub fn pair() -> (VirtualSource, SetReadiness) {
        let shared = Arc::new(Shared::default());
        let speaker = SetterInner {
            shared: shared.clone(),
            forks: fork::generation(),
        };
        (VirtualSource(shared), SetReadiness(Arc::new(speaker)))
    }

    /// What it is ready for now.
    pub fn ready(&self) -> Ready {
        self.0.lock().ready
    }

    // For the engine, which calls these under its lock.

    /// The descriptor that it has in the loop of `inbox`.
    pub(crate) fn watched_by(&self, inbox: &Arc<Inbox>) -> Option<Key> {
        let state = self.0.lock();
        let watcher = state
            .watchers
            .iter()
            .find(|watcher| Arc::ptr_eq(&watcher.inbox, inbox));
        watcher.map(|watcher| watcher.key)
    }

    pub(crate) fn watch(&self, inbox: &Arc<Inbox>, key: Key) {
        self.0.lock().watchers.push(Watcher {
            inbox: inbox.clone(),
            key,
            ready_sources: Ready::NONE,
        });
    }

    pub(crate) fn unwatch(&self, key: Key) {
        self.0.lock().watchers.retain(|watcher| watcher.key != key);
    }

    /// What was set since the last look.
    pub(crate) fn take_ready_sources(&self, key: Key) -> Ready {
        let mut state = self.0.lock();
        let mut watchers = state.watchers.iter_mut();
        let watcher = watchers.find(|watcher| watcher.key == key);
        watcher.map_or(Ready::NONE, |watcher| {
            std::mem::take(&mut watcher.ready_sources)
        })
    }
}

impl SetReadiness {
    /// The source is ready for this, too. Each call is a new readiness to edge-triggered handlers,
    /// as new bytes in a socket are.
    ///
    /// False if no loop has a handler on the source: not yet, or not any more. What was set stays,
    /// for a handler that comes.
    pub fn set(&self, ready: Ready) -> bool {
        self.0.shared.set(ready)
    }

    /// The source is not ready for this any more, as a socket that was drained.
    ///
    /// A handler may already be about to be called for it; as with a socket that another has
    /// drained, it will find nothing.
    pub fn clear(&self, ready: Ready) {
        let mut state = self.0.shared.lock();
        state.ready = state.ready.without(ready);
    }

    /// What the source is ready for now.
    pub fn get(&self) -> Ready {
        self.0.shared.lock().ready
    }
}

/// What all clones of a [`SetReadiness`] share.
struct SetterInner {
    shared: Arc<Shared>,
    /// The process that it was made in.
    forks: u32,
}

impl Drop for SetterInner {
    fn drop(&mut self) {
        // In a child process a thread that is not there may have the lock, for ever.
        let is_ours = self.forks == fork::seen();
        if is_ours || self.shared.0.try_lock().is_ok() {
            self.shared.set(Ready::HANGUP);
        }
    }
}

impl Shared {
    fn set(&self, ready: Ready) -> bool {
        let mut asleep = Vec::new();
        let mut state = self.lock();
        state.ready |= ready;
        for watcher in &mut state.watchers {
            let told = !watcher.ready_sources.is_empty();
            watcher.ready_sources |= ready;
            if !told && !ready.is_empty() && watcher.inbox.tell(watcher.key) {
                asleep.push(watcher.inbox.clone());
            }
        }
        let watched = !state.watchers.is_empty();
        // Not before: they would wake up only to wait for the lock.
        drop(state);
        asleep.iter().for_each(|inbox| inbox.unpark());
        watched
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for VirtualSource {
    fn kind(&self) -> SourceKind<'_> {
        SourceKind::Virtual(self)
    }
}

impl fmt::Debug for VirtualSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualSource({:?})", self.ready())
    }
}

impl fmt::Debug for SetReadiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetReadiness({:?})", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_go_to_any_thread_and_have_clones() {
        fn check<T: Send + Sync + Clone>() {}
        check::<VirtualSource>();
        check::<SetReadiness>();
    }
}
