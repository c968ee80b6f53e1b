//! Posts: callbacks that the loop calls soon.
use std::panic::Location;

use super::Reactor;
use crate::{IntoResult, MaybeSend, PostError, PostId, Priority, Result, Threading};

/// # Posts
impl<M: Threading> Reactor<M> {
    /// Calls `callback` at the end of this turn. If the turn has begun with its posts, calls it in the next
    /// turn.
    ///
    /// Posts of one thread run in their order. A post made by a post runs in the next turn.
    ///
    /// # Errors
    ///
    /// Returns an error with the callback in it if the loop is closed. The error is therefore `Send` and `Sync`
    /// only if the callback is. Where `?` requires both, leave the callback out of it:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let reactor = oneloop::Reactor::new_local()?;
    /// let shared = std::rc::Rc::new(5);
    /// reactor.call_soon(move || assert_eq!(*shared, 5)).map_err(oneloop::Error::from)?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "spawn")]
    #[track_caller]
    pub fn call_soon<F, R>(&self, callback: F) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        let inbox = &self.core.inbox;
        inbox.post("call_soon", Location::caller(), Priority::Normal, callback)
    }

    /// Calls `callback` like [`call_soon`](Self::call_soon), with a priority.
    ///
    /// A `High` post runs before the turn's handlers. An `Idle` post runs only when there is nothing else to
    /// do. Posts of one priority keep their order.
    ///
    /// # Errors
    ///
    /// Returns an error with the callback in it if the loop is closed.
    #[track_caller]
    pub fn call_soon_with<F, R>(
        &self,
        priority: Priority,
        callback: F,
    ) -> std::result::Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        let inbox = &self.core.inbox;
        inbox.post("call_soon_with", Location::caller(), priority, callback)
    }

    /// Cancels a post that was not called yet, and drops its callback.
    ///
    /// The current turn may have taken up the post already, for example if another post of the turn calls
    /// this. The loop then drops the callback where it would have called it. If another thread is driving,
    /// the callback may be running there.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let id = reactor.call_soon(|| unreachable!())?;
    /// reactor.cancel_post(id)?;
    /// reactor.run()?;
    /// assert_eq!(reactor.stats().post_calls, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the post was called or cancelled, or belongs to another loop.
    pub fn cancel_post(&self, id: PostId) -> Result<()> {
        self.core.cancel_post(id)
    }
}
