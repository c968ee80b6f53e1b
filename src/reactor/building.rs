//! Building a loop: the constructors of [`Reactor`] and [`Builder`].
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{LocalReactor, Reactor};
use crate::engine::{Core, ErrorReport};
use crate::{Error, FailedCallback, PollerKind, Result, TestClock, Threading};
#[cfg(not(feature = "__testing"))]
use crate::{clock::ClockSource, poller::Poller};

/// # Building
impl Reactor {
    /// Makes a loop with the system's best poller.
    ///
    /// # Errors
    ///
    /// Returns an error if the process or the system has no descriptors left.
    pub fn new() -> Result<Reactor> {
        Reactor::builder().build()
    }

    /// Returns a builder, for loops that need another poller, a test clock or an error report.
    pub fn builder() -> Builder {
        Builder {
            poller: PollerKind::BEST,
            clock: None,
            on_error: None,
            interruptible: false,
            #[cfg(feature = "__testing")]
            doubles: Default::default(),
        }
    }
}

/// # Building
impl LocalReactor {
    /// Makes a loop that stays on this thread.
    ///
    /// # Errors
    ///
    /// Returns an error if the process or the system has no descriptors left.
    pub fn new_local() -> Result<LocalReactor> {
        Reactor::builder().build_local()
    }
}

/// Configures a loop when the defaults of [`Reactor::new`] do not fit.
#[derive(Clone)]
pub struct Builder {
    poller: PollerKind,
    clock: Option<TestClock>,
    on_error: Option<ErrorReport>,
    interruptible: bool,
    #[cfg(feature = "__testing")]
    doubles: crate::testing::Doubles,
}

impl Builder {
    /// Chooses the poller. The default is the system's best one.
    pub fn poller(mut self, poller: PollerKind) -> Builder {
        self.poller = poller;
        self
    }

    /// Runs the timers on a clock that a test moves.
    pub fn clock(mut self, clock: TestClock) -> Builder {
        self.clock = Some(clock);
        self
    }

    /// Calls `report` for every callback that returns an `Err`: a handler, a timer or a post.
    ///
    /// The loop has removed and dropped the callback by then. If a loop has no report, its errors go to
    /// `tracing` (feature `tracing`), or else to the standard error output.
    ///
    /// The driving thread calls `report` and holds no lock. If `report` panics, the panic reaches the driver.
    ///
    /// ```
    /// use oneloop::Reactor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::builder()
    ///     .on_error(|failed| {
    ///         eprintln!("{failed}"); // "the callback posted at src/main.rs:9:9 failed: no luck"
    ///         Reactor::current().unwrap().stop();
    ///     })
    ///     .build()?;
    /// reactor.call_soon(|| Err::<(), _>("no luck"))?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_error(mut self, report: impl Fn(&FailedCallback) + Send + Sync + 'static) -> Builder {
        self.on_error = Some(Arc::new(report));
        self
    }

    /// Lets a signal end the wait of a turn which it interrupts. Otherwise the wait goes on.
    ///
    /// [`turn`](crate::Reactor::turn) then returns early, possibly without a call. A language whose signal handlers
    /// run later, between two instructions of its own, can look at them after each turn. [`run`](crate::Reactor::run)
    /// and the other drivers do not return; they take their next turn.
    ///
    /// A signal that arrives just before the wait does not end it. A handler that must not miss one
    /// also calls [`Remote::wake`](crate::Remote::wake). Inside a host, the host waits, and this has no effect.
    ///
    /// [`build`](Self::build) returns an error for [`PollerKind::Polling`], which cannot do this.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::builder().interruptible().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn interruptible(mut self) -> Builder {
        self.interruptible = true;
        self
    }

    /// Replaces the kernel and the clock by test doubles.
    #[cfg(feature = "__testing")]
    #[doc(hidden)]
    pub fn doubles(mut self, doubles: crate::testing::Doubles) -> Builder {
        self.doubles = doubles;
        self
    }

    /// Makes a [`Reactor`].
    ///
    /// # Errors
    ///
    /// Returns an error if the process or the system has no descriptors left.
    pub fn build(self) -> Result<Reactor> {
        self.make()
    }

    /// Makes a [`LocalReactor`].
    ///
    /// # Errors
    ///
    /// Returns an error if the process or the system has no descriptors left.
    pub fn build_local(self) -> Result<LocalReactor> {
        self.make()
    }

    fn make<M: Threading>(self) -> Result<Reactor<M>> {
        #[cfg(feature = "__testing")]
        let (poller, clock) = self.doubles.stand_in(self.poller, self.clock);
        #[cfg(not(feature = "__testing"))]
        let (poller, clock) = (Poller::new(self.poller), ClockSource::from(self.clock));
        let mut poller = poller.map_err(|error| Error::os("build", error))?;
        if self.interruptible {
            let set = poller.set_interruptible();
            set.map_err(|error| Error::os("build", error))?;
        }
        let core = Core::new(poller, clock, self.on_error, M::IS_LOCAL);
        Ok(Reactor {
            core: Arc::new(core),
            threads: PhantomData,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("Builder");
        builder.field("poller", &self.poller);
        builder.field("clock", &self.clock);
        builder.finish()
    }
}
