//! The handle for other threads: it can post, wake and stop.
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::Reactor;
use crate::engine::Inbox;
use crate::{IntoResult, PostError, PostId, Priority, Threading};

/// # Reaching the loop from other threads
impl<M: Threading> Reactor<M> {
    /// Returns a handle for other threads that can only post, wake and stop.
    ///
    /// It does not keep the loop alive, and it does not keep [`run`](Self::run) going.
    pub fn remote(&self) -> Remote {
        Remote {
            inbox: self.core.inbox.clone(),
        }
    }
}

/// A handle for other threads, which posts to a loop, wakes it and stops it.
///
/// A `Remote` keeps neither the loop nor its descriptors alive. It does not keep [`Reactor::run`] going
/// either, which returns when nothing else is left. To wait for the posts of a `Remote`, use
/// [`Reactor::run_forever`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = oneloop::Reactor::new_local()?;
/// let remote = reactor.remote();
/// let thread = std::thread::spawn(move || remote.call_soon(|| println!("on the loop's thread")));
/// thread.join().unwrap()?;
/// reactor.run()?;
/// assert_eq!(reactor.stats().post_calls, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Remote {
    inbox: Arc<Inbox>,
}

impl Remote {
    /// Posts a callback to the loop, like [`Reactor::call_soon`].
    ///
    /// # Errors
    ///
    /// Returns an error with the callback in it if the loop is gone or closed.
    #[track_caller]
    pub fn call_soon<F, R>(&self, callback: F) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoResult,
    {
        self.inbox
            .post("call_soon", Location::caller(), Priority::Normal, callback)
    }

    /// Posts a callback with a priority to the loop, like [`Reactor::call_soon_with`].
    ///
    /// # Errors
    ///
    /// Returns an error with the callback in it if the loop is gone or closed.
    #[track_caller]
    pub fn call_soon_with<F, R>(
        &self,
        priority: Priority,
        callback: F,
    ) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoResult,
    {
        self.inbox
            .post("call_soon_with", Location::caller(), priority, callback)
    }

    /// Makes the loop take a turn. A signal handler may call this. It may change `errno`.
    #[doc(alias = "wakeup")]
    #[doc(alias = "notify")]
    pub fn wake(&self) {
        self.inbox.wake();
    }

    /// Stops the driver, like [`Reactor::stop`].
    pub fn stop(&self) {
        self.inbox.stop();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
