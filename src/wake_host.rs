use std::fmt;
use std::ops::ControlFlow;

use crate::lookout::Lookout;
use crate::{Error, Host, Result, Step, Threading};

/// A host for a loop that watches no descriptor and can only be woken, such as the loop of a GUI.
///
/// A thread waits for the reactor in the loop's place and wakes the loop. Callbacks run on the thread that
/// [steps](Self::step). [`Host::wake_by`] makes this host. The repository has a whole program in
/// `examples/host_wake.rs`.
pub struct WakeHost<M: Threading> {
    /// First, because its thread must have ended when the claim does.
    lookout: Lookout<M>,
    host: Host<M>,
}

impl<M: Threading> Host<M> {
    /// Starts a thread that calls `wake` when the reactor has something to do. The loop must then call
    /// [`WakeHost::step`]. It must also step once at the beginning.
    ///
    /// The thread calls `wake` at most once per step. `wake` must not wait for the loop's thread. Typical
    /// uses are `EventLoopProxy::send_event` of winit, `slint::invoke_from_event_loop`, or a send to the
    /// channel that the loop reads.
    ///
    /// ```
    /// use oneloop::Reactor;
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let stopper = reactor.remote();
    /// reactor.call_later(Duration::from_millis(1), move || stopper.stop())?;
    ///
    /// let (proxy, events) = channel();
    /// let mut host = reactor.host("a GUI")?.wake_by(move || drop(proxy.send("step")))?;
    /// while host.step(100)?.is_continue() {
    ///     assert_eq!(events.recv()?, "step");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the system cannot start a thread.
    pub fn wake_by(self, wake: impl Fn() + Send + 'static) -> Result<WakeHost<M>> {
        let lookout = Lookout::new(self.reactor(), wake);
        Ok(WakeHost {
            lookout: lookout.map_err(|error| Error::os("wake_by", error))?,
            host: self,
        })
    }
}

impl<M: Threading> WakeHost<M> {
    /// Takes turns without waiting, like [`Host::step`].
    ///
    /// `Break` means the end: [`stop`](crate::Reactor::stop) was called, or nothing is left
    /// ([`Host::exit_when_empty`]). After `Continue`, the thread wakes the loop for the next step. An earlier
    /// step does no harm.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`Host::step`]. It also returns one if `wake` has panicked,
    /// because nothing would wake the loop any more.
    ///
    /// # Panics
    ///
    /// Panics if a callback does, like [`Host::step`].
    pub fn step(&mut self, budget: usize) -> Result<ControlFlow<()>> {
        // A poller that is no descriptor has room for one that waits.
        if cfg!(not(pollable)) {
            self.lookout.recall();
        }
        loop {
            match self.host.step(budget)? {
                // The thread looks only while the loop waits.
                Step::Watch => {}
                Step::Unwatch => self.lookout.recall(),
                // If there is more to do, the look ends at once.
                Step::Sleep | Step::Yield => {
                    let sent = self.lookout.send();
                    sent.map_err(|error| Error::os("step", error))?;
                    return Ok(ControlFlow::Continue(()));
                }
                Step::Done => return Ok(ControlFlow::Break(())),
            }
        }
    }

    /// Returns the host.
    pub fn host(&self) -> &Host<M> {
        &self.host
    }
}

impl<M: Threading> fmt::Debug for WakeHost<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WakeHost").field(&self.host).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crate::Reactor;

    #[test]
    fn a_host_that_is_dropped_while_its_thread_looks_ends_the_look() {
        let reactor = Reactor::new().unwrap();
        // The thread may not have come to look yet.
        for _ in 0..100 {
            let mut host = reactor.host("a test").unwrap().wake_by(|| {}).unwrap();
            assert!(host.step(8).unwrap().is_continue());
            thread::yield_now();
            drop(host);
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}
