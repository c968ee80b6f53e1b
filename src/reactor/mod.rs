//! [`Reactor`], the type through which users reach a loop, with one file per task.
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::Core;
use crate::{Local, Shared, Threading};

// The page of `Reactor` shows the tasks in the order of these modules. Blank lines keep the formatter from
// sorting them.
mod building;

mod handlers;
mod timers;

mod posts;

mod hooks;

mod driving;
mod watching;

mod lifetime;
mod remote;

pub use building::Builder;
pub use lifetime::WeakReactor;
pub use remote::Remote;

/// An event loop: handlers of descriptors, timers, and posts from any thread.
///
/// A `Reactor` is a handle. Its clones are handles of one loop, and the loop ends with the last of them. A
/// callback that owns a handle would keep its own loop alive. It calls [`Reactor::current`] instead.
///
/// Handles can be cloned and sent to any thread. Any thread may call every method, inside callbacks
/// or outside. Callbacks must be `Send`. They run one at a time, on the driving thread. Callbacks that
/// are not `Send`, for example because they hold an `Rc`, need a [`LocalReactor`].
///
/// ```
/// use oneloop::{Interest, Mode, Reactor};
/// use std::{io::Read, io::Write, os::unix::net::UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let (mut ours, theirs) = UnixStream::pair()?;
///
/// reactor.add_handler(theirs, Interest::READABLE, Mode::Level, |stream, _event| {
///     let mut buffer = [0; 100];
///     let n = stream.read(&mut buffer).unwrap();
///     assert_eq!(&buffer[..n], b"hello");
///     oneloop::Action::Remove
/// })?;
/// ours.write_all(b"hello")?;
///
/// reactor.run()?; // returns when nothing is left that could call back
/// # Ok(())
/// # }
/// ```
pub struct Reactor<M: Threading = Shared> {
    pub(crate) core: Arc<Core>,
    threads: PhantomData<M>,
}

/// A [`Reactor`] that stays on its thread, so that its callbacks may hold an `Rc`.
///
/// [`Reactor::new_local`] makes one. Other threads reach it through a [`Remote`].
pub type LocalReactor = Reactor<Local>;

impl<M: Threading> fmt::Debug for Reactor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("stats", &self.stats())
            .finish()
    }
}
