//! Handles of a loop, which keep it alive: the current one, clones, weak ones, and pointers for C.
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Weak};

use super::{LocalReactor, Reactor};
use crate::engine::Core;
use crate::error::Cause;
use crate::{Error, Result, Threading};

/// # Handles
impl Reactor {
    /// Returns the loop that is calling. Callbacks need not hold a handle.
    ///
    /// A loop is current inside every callback, inside every drop of a callback or source in a turn, and in
    /// the future of [`block_on`](Self::block_on). If a callback drives another loop, that loop's callbacks
    /// get that loop. The outer loop is current again afterwards.
    ///
    /// The result is a handle like any other. A callback must not keep it, because that keeps the loop alive.
    ///
    /// ```
    /// use oneloop::Reactor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// reactor.call_soon(|| Reactor::current().unwrap().stop())?;
    /// reactor.run()?;
    ///
    /// assert!(Reactor::current().is_err()); // nothing is calling here
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`NotCurrent`](crate::ErrorKind::NotCurrent) outside of callbacks, and if the loop that is
    /// calling is a [`LocalReactor`]. [`current_local`](Self::current_local) returns that loop.
    pub fn current() -> Result<Reactor> {
        current(
            "current",
            "the loop that is calling is a `LocalReactor`: use `Reactor::current_local`",
        )
    }
}

/// # Handles
impl LocalReactor {
    /// Returns the loop that is calling, like [`Reactor::current`], if it is a [`LocalReactor`].
    ///
    /// ```
    /// use oneloop::Reactor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new_local()?;
    /// reactor.call_soon(|| Reactor::current_local().unwrap().stop()).map_err(oneloop::Error::from)?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`NotCurrent`](crate::ErrorKind::NotCurrent) outside of callbacks, and if the loop that is
    /// calling is a [`Reactor`].
    pub fn current_local() -> Result<LocalReactor> {
        current(
            "current_local",
            "the loop that is calling is a `Reactor`: use `Reactor::current`",
        )
    }
}

/// Returns the loop that is calling. `other_kind` is the error's text if its handles are not of this kind.
fn current<M: Threading>(call: &'static str, other_kind: &'static str) -> Result<Reactor<M>> {
    const NONE: &str = "no loop is calling on this thread";
    let not_current = |reason| Error::new(call, Cause::NotCurrent(reason));
    let core = Core::current().ok_or_else(|| not_current(NONE))?;
    if core.is_local != M::IS_LOCAL {
        return Err(not_current(other_kind));
    }
    if core.try_add_handle() {
        Ok(Reactor {
            core,
            threads: PhantomData,
        })
    } else {
        Err(Error::new(call, Cause::Closed))
    }
}

/// # Handles
impl<M: Threading> Reactor<M> {
    /// Returns a handle that does not keep the loop alive.
    ///
    /// The loop's own callbacks do not need one, because they can call [`Reactor::current`]. The loop owns
    /// its callbacks. If a callback held a clone, it would keep the loop alive until it is removed.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let weak = reactor.downgrade();
    /// assert!(weak.upgrade().is_some());
    ///
    /// drop(reactor);
    /// assert!(weak.upgrade().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn downgrade(&self) -> WeakReactor<M> {
        WeakReactor {
            core: Arc::downgrade(&self.core),
            threads: PhantomData,
        }
    }

    /// Returns true if this process is a `fork` child of the process that made the loop. A child cannot use
    /// the loop.
    ///
    /// Adapters need this. After a fork, the child shares the runtime's set of descriptors with its parent. If
    /// the child unregisters the loop's descriptor there, the parent no longer hears of events.
    pub fn is_forked(&self) -> bool {
        self.core.inbox.is_forked()
    }
}

/// # Handles for C, which has only pointers
impl Reactor {
    /// Returns a pointer that identifies this loop. All its handles return the same pointer, which stays
    /// valid as long as any of them exists.
    pub fn as_raw(&self) -> *const () {
        Arc::as_ptr(&self.core).cast()
    }

    /// Turns this handle into a pointer. [`from_raw`](Self::from_raw) turns it back.
    pub fn into_raw(self) -> *const () {
        ManuallyDrop::new(self).as_raw()
    }

    /// Turns a pointer back into the handle.
    ///
    /// # Safety
    ///
    /// The pointer must come from [`into_raw`](Self::into_raw), and each call of that allows one call of this.
    /// A pointer from [`as_raw`](Self::as_raw) is also allowed if the loop is alive and the result is never
    /// dropped.
    pub unsafe fn from_raw(pointer: *const ()) -> Reactor {
        Reactor {
            // SAFETY: the caller promises that the pointer comes from `into_raw` or `as_raw`, which take it
            // from this `Arc`.
            core: unsafe { Arc::from_raw(pointer.cast()) },
            threads: PhantomData,
        }
    }
}

impl<M: Threading> Clone for Reactor<M> {
    fn clone(&self) -> Self {
        self.core.add_handle();
        Reactor {
            core: self.core.clone(),
            threads: PhantomData,
        }
    }
}

impl<M: Threading> Drop for Reactor<M> {
    /// Ends the loop if this is its last handle. The loop exists until its end is complete.
    fn drop(&mut self) {
        self.core.drop_handle();
    }
}

/// A handle that does not keep its loop alive. [`Reactor::downgrade`] makes one.
pub struct WeakReactor<M: Threading> {
    core: Weak<Core>,
    threads: PhantomData<M>,
}

impl<M: Threading> WeakReactor<M> {
    /// Returns the loop if it still exists.
    ///
    /// Inside its own callbacks it always does. When the last handle is dropped, the loop drops its callbacks
    /// and sources, and inside those drops it no longer does.
    pub fn upgrade(&self) -> Option<Reactor<M>> {
        let core = self.core.upgrade().filter(|core| core.try_add_handle())?;
        Some(Reactor {
            core,
            threads: PhantomData,
        })
    }
}

impl<M: Threading> Clone for WeakReactor<M> {
    fn clone(&self) -> Self {
        WeakReactor {
            core: self.core.clone(),
            threads: PhantomData,
        }
    }
}

impl<M: Threading> fmt::Debug for WeakReactor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakReactor")
    }
}
