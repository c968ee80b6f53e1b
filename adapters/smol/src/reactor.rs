//! The loop that everything is on.

use std::io::{Error, ErrorKind, Result};
use std::sync::OnceLock;
use std::time::Instant;

use oneloop::Reactor;

/// The loop of this process.
pub(crate) struct Loop {
    pub(crate) reactor: Reactor,
    /// True if the program drives it, and no helper thread is to do so.
    pub(crate) is_installed: bool,
}

static LOOP: OnceLock<Loop> = OnceLock::new();

/// Puts every [`Async`](crate::Async) and [`Timer`](crate::Timer) of this process on `reactor`.
///
/// The program drives the reactor, by any of its drivers and hosts. While it does not,
/// [`block_on`](crate::block_on) does. The reactor lives as long as the process.
///
/// Call this before anything else that uses async-io, for example at the start of `main`.
///
/// ```
/// use oneloop::Reactor;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// async_io::install(&reactor)?;
///
/// reactor.block_on(async {
///     async_io::Timer::after(Duration::from_millis(1)).await;
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error of the kind [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a loop already.
pub fn install(reactor: &Reactor) -> Result<()> {
    let installed = Loop {
        reactor: reactor.clone(),
        is_installed: true,
    };
    LOOP.set(installed).map_err(|_| {
        let what = "async-io has a loop already: install the reactor before the first use";
        Error::new(ErrorKind::AlreadyExists, what)
    })
}

/// Returns the loop, and makes it with the first use.
///
/// # Panics
///
/// Panics if the system has no descriptors left for a loop.
#[inline]
pub(crate) fn get() -> &'static Loop {
    LOOP.get_or_init(make)
}

/// Returns the loop if it was made.
pub(crate) fn get_if_made() -> Option<&'static Loop> {
    LOOP.get()
}

#[cold]
fn make() -> Loop {
    match Reactor::new() {
        Ok(reactor) => Loop {
            reactor,
            is_installed: false,
        },
        Err(error) => panic!("async-io cannot make its loop: {error}"),
    }
}

/// Returns the time of the loop's clock. A loop that does not exist yet has the system's clock.
pub(crate) fn now() -> Instant {
    LOOP.get()
        .map_or_else(Instant::now, |made| made.reactor.now())
}
