//! Watching a loop: names, observers, statistics and snapshots.
use std::sync::Arc;
use std::time::Duration;

use super::Reactor;
use crate::{CallbackRun, Id, MaybeSend, ObserverId, Result, Snapshot, Stats, Threading};

/// # Watching the loop
impl<M: Threading> Reactor<M> {
    /// Names a handler, a timer or a pair of hooks.
    ///
    /// The name appears beside the place of registration in [`dump`](Self::dump), in [`CallbackRun`] and in
    /// the spans of `tracing`. A second name replaces the first. Names need not be unique.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::net::TcpListener;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let id = reactor.add_handler(listener, Interest::READABLE, Mode::Level, |_, _| {})?;
    /// reactor.set_name(id, "admin port")?;
    /// assert!(reactor.dump().contains("admin port"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn set_name(&self, id: impl Into<Id>, name: impl Into<Arc<str>>) -> Result<()> {
        self.core.set_name(id.into(), name.into())
    }

    /// Calls `report` after each callback that takes `threshold` or more, from now on. A threshold of zero
    /// reports all calls.
    ///
    /// A loop can have several observers, each with its own threshold. The driving thread calls `report` once
    /// the callback has returned, and holds no lock. `report` may use the loop. If it panics, the
    /// panic reaches the driver, and the callback stays. The time that `report` takes does not count.
    ///
    /// While a loop has no observer, it does not time its callbacks. With one, the loop reads the clock twice
    /// per call, which costs some 50 ns.
    ///
    /// ```
    /// use oneloop::{CallbackKind, Reactor};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// reactor.observe_callbacks(Duration::from_millis(10), |run| eprintln!("{run}"))?;
    /// reactor.call_soon(|| std::thread::sleep(Duration::from_millis(20)))?;
    /// reactor.run()?; // the callback posted at src/main.rs:7:9 held the loop for 20.1ms
    ///
    /// let longest = reactor.stats().longest_callback.unwrap();
    /// assert_eq!(longest.kind, CallbackKind::Post);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed, or belongs to a parent process.
    #[doc(alias = "slow_callback")]
    pub fn observe_callbacks<F>(&self, threshold: Duration, report: F) -> Result<ObserverId>
    where
        F: Fn(&CallbackRun) + MaybeSend<M> + 'static,
    {
        let added = self.core.observe_callbacks(threshold, |_| Arc::new(report));
        added.map(ObserverId)
    }

    /// Removes an observer and drops it. If another thread is driving, one report may be running there.
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn remove_observer(&self, id: ObserverId) -> Result<()> {
        self.core.remove_observer(id.0)
    }

    /// Returns counts of what the loop has done so far, and of what waits.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Takes a snapshot of all that is registered: handlers, timers, hooks and posts.
    ///
    /// The loop continues meanwhile, so the parts of a snapshot may be of slightly different times. The
    /// call holds the loop's lock for 256 registrations at a time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let tick = reactor.call_every(Duration::from_secs(5), || {})?;
    /// reactor.set_name(tick, "tick")?;
    /// let snapshot = reactor.snapshot()?;
    /// let timer = &snapshot.timers[0];
    /// assert_eq!((timer.id, timer.name.as_deref()), (tick, Some("tick")));
    /// assert!(timer.keeps_alive && timer.location.file().ends_with(".rs"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the loop belongs to a parent process.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.core.snapshot()
    }

    /// Describes all that is registered as text: what keeps the loop alive or busy, and where it was
    /// registered.
    ///
    /// This is the text form of a [`snapshot`](Self::snapshot). It may change with any version.
    ///
    /// ```text
    /// run is driving; 12 turns so far
    /// 2 handlers
    ///   descriptor 5 "admin port" (TCP listener 127.0.0.1:4711), Level Interest(READABLE), 3 calls, added at src/main.rs:11:9
    ///   SIGTERM, Level Interest(READABLE), 0 calls, added at src/main.rs:14:9
    /// 1 timers
    ///   in 3.2s, every 5s, 1 calls, set at src/main.rs:20:9
    /// 0 posts waiting
    /// ```
    pub fn dump(&self) -> String {
        match self.snapshot() {
            Ok(snapshot) => snapshot.to_string(),
            Err(error) => format!("{error}\n"),
        }
    }
}
