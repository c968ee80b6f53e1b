use std::fmt;
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::engine::Inbox;
use crate::id::Key;
use crate::os::{AsFd, BorrowedFd};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Ready, fork};

/// A type that a handler can be on: every type with a descriptor, and [`VirtualSource`].
///
/// A type that contains either of them can implement this. Its users need not know which one it contains.
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
    /// Returns the descriptor or virtual source which shows the readiness. The loop asks when a handler is
    /// added.
    fn kind(&self) -> SourceKind<'_>;

    /// Returns true if a short read or write means that there is no more for now, as with the kernel's own
    /// descriptors. `Async` then saves the attempt that would find this out.
    ///
    /// Sources that keep bytes inside and return them piece by piece, such as records or messages, must
    /// return false.
    ///
    /// Every [`AsFd`] type returns true. The default is false.
    fn is_direct(&self) -> bool {
        false
    }
}

/// The place where the readiness of a [`Source`] shows.
#[derive(Debug, Clone, Copy)]
pub enum SourceKind<'a> {
    /// A descriptor, whose readiness the kernel reports.
    Descriptor(BorrowedFd<'a>),
    /// A virtual source, whose readiness its [`SetReadiness`] sets.
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

/// A source without a descriptor, which takes part in the loop like a socket. Handlers see no difference.
///
/// The other half, the [`SetReadiness`], sets the readiness. Clones are the same source. They serve several
/// handlers, which may be on several loops.
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

/// The half of a [`VirtualSource`] that sets its readiness, from any thread.
///
/// Clones set the readiness of the same source. Once the last clone is dropped, nothing can make the source
/// ready any more. Handlers then see a hang-up, as for a socket.
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
    /// The key of the source's descriptor record in that loop.
    key: Key,
    /// The readiness that was set since the loop last looked.
    unseen: Ready,
}

impl VirtualSource {
    /// Makes a source that is ready for nothing, and its other half.
    pub fn pair() -> (VirtualSource, SetReadiness) {
        let shared = Arc::new(Shared::default());
        let setter = SetterInner {
            shared: shared.clone(),
            forks: fork::generation(),
        };
        (VirtualSource(shared), SetReadiness(Arc::new(setter)))
    }

    /// Returns the readiness that is set now.
    pub fn ready(&self) -> Ready {
        self.0.lock().ready
    }

    // The engine calls the methods below under its lock.

    /// Returns the key that the source has in the loop of `inbox`.
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
            unseen: Ready::NONE,
        });
    }

    pub(crate) fn unwatch(&self, key: Key) {
        self.0.lock().watchers.retain(|watcher| watcher.key != key);
    }

    /// Takes the readiness that was set since the last call.
    pub(crate) fn take_unseen(&self, key: Key) -> Ready {
        let mut state = self.0.lock();
        let mut watchers = state.watchers.iter_mut();
        let watcher = watchers.find(|watcher| watcher.key == key);
        watcher.map_or(Ready::NONE, |watcher| std::mem::take(&mut watcher.unseen))
    }
}

impl SetReadiness {
    /// Adds to the readiness of the source. To edge-triggered handlers, each call is a new readiness, like
    /// new bytes in a socket.
    ///
    /// Returns false if no loop has a handler on the source, either not yet or no longer. The readiness stays
    /// set for a later handler.
    pub fn set(&self, ready: Ready) -> bool {
        self.0.shared.set(ready)
    }

    /// Removes from the readiness of the source, like draining a socket.
    ///
    /// A handler may already be about to be called for the removed readiness. It then finds nothing, as when
    /// another reader has drained a socket.
    pub fn clear(&self, ready: Ready) {
        let mut state = self.0.shared.lock();
        state.ready = state.ready.without(ready);
    }

    /// Returns the readiness that is set now.
    pub fn get(&self) -> Ready {
        self.0.shared.lock().ready
    }
}

/// A waker that makes the source readable, so that a handler polls the task.
///
/// ```
/// use oneloop::{Action, Interest, Mode, Reactor, VirtualSource};
/// use std::task::{Context, Waker};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new_local()?;
/// let (source, readiness) = VirtualSource::pair();
/// let waker = Waker::from(readiness);
/// waker.wake_by_ref(); // for the first poll
/// let mut task = Box::pin(async { println!("a task") });
/// reactor.add_handler(source, Interest::READABLE, Mode::Edge, move |_, _| {
///     if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
///         Action::Remove
///     } else {
///         Action::Continue
///     }
/// })?;
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
impl From<SetReadiness> for Waker {
    fn from(readiness: SetReadiness) -> Waker {
        Waker::from(readiness.0)
    }
}

impl Wake for SetterInner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.set(Ready::READABLE);
    }
}

/// The state that all clones of a [`SetReadiness`] share.
struct SetterInner {
    shared: Arc<Shared>,
    /// The fork generation of the process that made it.
    forks: u32,
}

impl Drop for SetterInner {
    fn drop(&mut self) {
        // In a child process, the lock may belong to a thread that does not exist there, and would never be
        // free.
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
            let told = !watcher.unseen.is_empty();
            watcher.unseen |= ready;
            if !told && !ready.is_empty() && watcher.inbox.add_ready_source(watcher.key) {
                asleep.push(watcher.inbox.clone());
            }
        }
        let watched = !state.watchers.is_empty();
        // Unlocked first, because the loops would wake up only to wait for the lock.
        drop(state);
        asleep.iter().for_each(|inbox| inbox.unpark());
        watched
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
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
