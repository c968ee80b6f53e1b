use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

use super::BUDGET;
use crate::{Host, Step, Threading};

/// A loop made of callbacks, such as GLib's or libuv's, as a [`Stepper`] needs it.
///
/// It watches the [`Host`]'s descriptor, and calls [`Stepper::step`] whenever that is readable. It must be
/// level-triggered. Dropping it ends the watch.
pub trait CallbackLoop {
    /// Watches again.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop cannot watch the descriptor. The stepper ends with that error.
    fn watch(&mut self) -> io::Result<()>;

    /// Stops watching before this returns, since the descriptor may mean another file after the next step.
    fn unwatch(&mut self);
}

/// The end of a [`Stepper`]: the result, or the payload of a callback's panic.
pub type End = thread::Result<io::Result<()>>;

type OnEnd = Box<dyn FnOnce(End)>;

/// Steps a [`Host`] inside a loop made of callbacks.
///
/// An adapter for a loop in C makes one, and calls [`step`](Self::step) from the loop's callbacks. No panic leaves
/// `step`, since none may unwind through C. It arrives in `on_end`, which typically ends the loop, so that the
/// caller of that loop can [resume](resume_unwind) the panic.
///
/// ```
/// use oneloop::adapter::{CallbackLoop, Stepper, run_attached};
/// use std::{os::fd::AsRawFd, rc::Rc, time::Duration};
///
/// /// A loop on poll(2), which is given its descriptors in each call.
/// struct Poll;
///
/// impl CallbackLoop for Poll {
///     fn watch(&mut self) -> std::io::Result<()> {
///         Ok(())
///     }
///     fn unwatch(&mut self) {}
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = oneloop::Reactor::new()?;
/// reactor.call_later(Duration::from_millis(1), || oneloop::Reactor::current().unwrap().stop())?;
///
/// let host = reactor.host("poll")?;
/// let (fd, stepper) = (host.as_raw_fd(), std::cell::OnceCell::new());
/// let begin = |it: &Rc<Stepper<_, Poll>>| {
///     let _ = stepper.set(it.clone());
///     Ok(Poll)
/// };
/// let turn = || {
///     let mut fd = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
///     // SAFETY: one pollfd, which lives during the call.
///     unsafe { libc::poll(&mut fd, 1, -1) };
///     stepper.get().unwrap().step();
/// };
/// run_attached(|on_end| Stepper::attach(host, on_end, begin), turn)?;
/// # Ok(())
/// # }
/// ```
pub struct Stepper<M: Threading, L> {
    /// `None` before the beginning and after the end. Borrowed during a step.
    inside: RefCell<Option<Inside<M, L>>>,
    is_detached: Cell<bool>,
}

struct Inside<M: Threading, L> {
    outer: L,
    is_watching: bool,
    host: Host<M>,
    on_end: OnEnd,
}

impl<M: Threading, L: CallbackLoop> Stepper<M, L> {
    /// Attaches the reactor of `host` to a loop. `begin` makes the loop's part, which has to watch from then on.
    ///
    /// `on_end` is called once: after [`stop`](crate::Reactor::stop), after an error, after a panic, and when nothing
    /// is left if the host [ends then](Host::exit_when_empty). The loop does not watch any more then, and
    /// another driver can continue.
    ///
    /// # Errors
    ///
    /// Returns what `begin` returns.
    pub fn attach<'l, E>(
        host: Host<M>,
        on_end: impl FnOnce(End) + 'static,
        begin: impl FnOnce(&Rc<Self>) -> Result<L, E>,
    ) -> Result<Attached<'l>, E>
    where
        L: 'l,
    {
        let stepper = Rc::new(Stepper {
            inside: RefCell::new(None),
            is_detached: Cell::new(false),
        });
        // Claimed first, so that the descriptor keeps its meaning from now on.
        host.reactor().core.host_watches(true);
        let outer = begin(&stepper)?;
        // The first step finds what is there already.
        host.reactor().wake();
        *stepper.inside.borrow_mut() = Some(Inside {
            outer,
            is_watching: true,
            host,
            on_end: Box::new(on_end),
        });
        Ok(Attached(stepper))
    }

    /// Drives the reactor for a while without waiting.
    pub fn step(&self) {
        // It is borrowed if a callback runs the loop.
        let Ok(mut inside) = self.inside.try_borrow_mut() else {
            return;
        };
        let Some(driving) = &mut *inside else {
            return;
        };
        let end = match catch_unwind(AssertUnwindSafe(|| driving.steps())) {
            Ok(Ok(false)) if !self.is_detached.get() => return,
            Ok(Ok(false)) => None,
            Ok(result) => Some(Ok(result.map(drop))),
            Err(payload) => Some(Err(payload)),
        };
        let driven = inside.take();
        drop(inside);
        if let Some(Inside {
            outer,
            host,
            on_end,
            ..
        }) = driven
        {
            drop(outer);
            drop(host);
            end.map(on_end);
        }
    }
}

impl<M: Threading, L: CallbackLoop> Inside<M, L> {
    /// Returns true if the reactor is done.
    fn steps(&mut self) -> io::Result<bool> {
        loop {
            match self.host.step(BUDGET)? {
                Step::Unwatch => {
                    self.is_watching = false;
                    self.outer.unwatch();
                }
                Step::Watch | Step::Yield if !self.is_watching => {
                    self.host.reactor().core.host_watches(true);
                    self.outer.watch()?;
                    self.is_watching = true;
                }
                // If there is more to do, the descriptor is readable.
                Step::Watch | Step::Sleep | Step::Yield => return Ok(false),
                Step::Done => return Ok(true),
            }
        }
    }
}

/// A reactor that a loop made of callbacks drives. Dropping it ends that, and another driver can continue.
pub struct Attached<'l>(Rc<dyn Detach + 'l>);

trait Detach {
    fn detach(&self);
}

impl<M: Threading, L> Detach for Stepper<M, L> {
    fn detach(&self) {
        self.is_detached.set(true);
        // In a step, the step does this at its end.
        let inside = self.inside.try_borrow_mut();
        let driven = inside.map(|mut inside| inside.take());
        drop(driven);
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.0.detach();
    }
}

/// Attaches a reactor to a loop made of callbacks, and calls `turn`, which turns the loop, until the reactor ends.
///
/// # Errors
///
/// Returns what `attach` returns, and the error with which the reactor ends.
///
/// # Panics
///
/// Panics if a callback of the reactor does.
pub fn run_attached<'l>(
    attach: impl FnOnce(Box<dyn FnOnce(End)>) -> io::Result<Attached<'l>>,
    mut turn: impl FnMut(),
) -> io::Result<()> {
    let ended = Rc::new(Cell::new(None));
    let end = ended.clone();
    let attached = attach(Box::new(move |how| end.set(Some(how))))?;
    let end = loop {
        if let Some(end) = ended.take() {
            break end;
        }
        turn();
    };
    drop(attached);
    end.unwrap_or_else(|payload| resume_unwind(payload))
}

impl<M: Threading, L> fmt::Debug for Stepper<M, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stepper")
    }
}

impl fmt::Debug for Attached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::{Interest, Local, LocalReactor, Mode, Reactor};

    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    /// A loop that only notes what it is told.
    #[derive(Default)]
    struct Noted {
        is_watching: Cell<bool>,
        watches: Cell<u32>,
    }

    struct Outer(Rc<Noted>);

    impl CallbackLoop for Outer {
        fn watch(&mut self) -> io::Result<()> {
            assert!(!self.0.is_watching.replace(true));
            self.0.watches.set(self.0.watches.get() + 1);
            Ok(())
        }

        fn unwatch(&mut self) {
            assert!(self.0.is_watching.replace(false));
        }
    }

    impl Drop for Outer {
        fn drop(&mut self) {
            self.0.is_watching.set(false);
        }
    }

    type Stepped = Rc<Stepper<Local, Outer>>;

    fn attach(
        reactor: &LocalReactor,
        on_end: impl FnOnce(End) + 'static,
    ) -> (Attached<'static>, Stepped, Rc<Noted>) {
        let (noted, mut it) = (Rc::<Noted>::default(), None);
        let begin = |stepper: &Stepped| {
            it = Some(stepper.clone());
            let mut outer = Outer(noted.clone());
            outer.watch()?;
            Ok::<_, io::Error>(outer)
        };
        let host = reactor.host("a test").unwrap();
        let attached = Stepper::attach(host, on_end, begin).unwrap();
        (attached, it.unwrap(), noted)
    }

    #[test]
    fn at_the_end_nothing_is_watched_and_another_driver_can_go_on() {
        let reactor = Reactor::new_local().unwrap();
        let panicked = Rc::new(Cell::new(false));
        let (end, next) = (panicked.clone(), reactor.clone());
        let noted = Rc::new(RefCell::new(None::<Rc<Noted>>));
        let told = noted.clone();
        let (_attached, stepper, outer) = attach(&reactor, move |how| {
            assert!(!told.borrow().as_ref().unwrap().is_watching.get());
            next.turn(Some(Duration::ZERO)).unwrap();
            end.set(how.is_err());
        });
        *noted.borrow_mut() = Some(outer);
        reactor.call_soon(|| panic!("in a callback")).unwrap();
        stepper.step();
        assert!(panicked.get());
        // The loop may call once more.
        stepper.step();
    }

    /// Hooks may have a limit that shows nowhere before they are asked.
    #[test]
    fn the_first_step_comes_by_itself() {
        let reactor = Reactor::new_local().unwrap();
        for _ in 0..2 {
            let (_attached, stepper, _) = attach(&reactor, |_| ());
            let fd = reactor.core.as_fd();
            let is_readable = || poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&NOW)) == Ok(1);
            assert!(is_readable());
            while is_readable() {
                stepper.step();
            }
        }
    }

    #[test]
    fn a_reactor_that_is_detached_in_a_callback_is_so_after_the_step() {
        let reactor = Reactor::new_local().unwrap();
        let (attached, stepper, noted) = attach(&reactor, |_| unreachable!("detached"));
        let (during, again) = (noted.clone(), stepper.clone());
        let detach = move || {
            drop(attached);
            // A callback that runs the loop.
            again.step();
            assert!(during.is_watching.get());
        };
        reactor.call_soon(detach).unwrap();
        stepper.step();
        assert!(!noted.is_watching.get());
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }

    #[test]
    fn a_busy_reactor_is_watched_again_after_a_rebuild() {
        fn post(reactor: LocalReactor) {
            let next = reactor.clone();
            // The end of the reactor ends this, too.
            let _ = reactor.call_soon(move || post(next));
        }
        let reactor = Reactor::new_local().unwrap();
        // It is busy from the beginning, and has not told the loop to watch.
        let (_attached, stepper, noted) = attach(&reactor, |_| ());
        for _ in 0..2 * BUDGET {
            post(reactor.clone());
        }
        let (stream, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        let _duplicate = stream.try_clone().unwrap();
        let fd = stream.into_raw_fd();
        // SAFETY: the descriptor is open. That it is closed before the handler is removed is the test.
        let id = unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| ()) };
        // SAFETY: from above, and without another owner.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        reactor.remove_handler(id.unwrap()).unwrap();
        for _ in 0..1000 {
            stepper.step();
            assert!(noted.is_watching.get());
        }
        assert_eq!(noted.watches.get(), 2);
        reactor.close();
    }
}
