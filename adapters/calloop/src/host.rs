use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::{Rc, Weak};

use calloop::generic::{FdWrapper, Generic};
use calloop::ping::{Ping, make_ping};
use calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use oneloop::adapter::{CallbackLoop, End, Stepper};
use oneloop::{Host, Threading};

/// A reactor that calloop drives. Dropping it ends that, and another driver can continue.
pub struct Attached<'l, M: Threading, D: 'l>(Rc<Driven<'l, M, D>>);

/// Has calloop drive the reactor of `host`.
///
/// The loop of `handle` calls the reactor's callbacks from now on. It calls `on_end` once, after
/// [`stop`](oneloop::Reactor::stop), an error, or a panic of a callback, which `on_end` gets instead of calloop.
///
/// # Errors
///
/// Returns an error if the system has no descriptors left.
pub fn attach<'l, M: Threading, D: 'l>(
    host: Host<M>,
    handle: &LoopHandle<'l, D>,
    on_end: impl FnOnce(End) + 'static,
) -> calloop::Result<Attached<'l, M, D>> {
    let (again, pings) = make_ping()?;
    let driven = Rc::new(Driven {
        stepper: RefCell::new(Stepper::new(host, on_end)),
        outer: RefCell::new(None),
    });
    let weak = Rc::downgrade(&driven);
    let step = move |(), _: &mut (), _: &mut D| Driven::step(&weak);
    let pings = handle.insert_source(pings, step)?;
    // The first step, in the loop.
    again.ping();
    *driven.outer.borrow_mut() = Some(Outer {
        handle: handle.clone(),
        driven: Rc::downgrade(&driven),
        again,
        pings,
        watch: None,
    });
    Ok(Attached(driven))
}

struct Driven<'l, M: Threading, D: 'l> {
    stepper: RefCell<Stepper<M>>,
    /// `None` after the end.
    outer: RefCell<Option<Outer<'l, M, D>>>,
}

/// The loop, as the stepper sees it. Its drop takes the sources out.
struct Outer<'l, M: Threading, D: 'l> {
    handle: LoopHandle<'l, D>,
    driven: Weak<Driven<'l, M, D>>,
    again: Ping,
    pings: RegistrationToken,
    watch: Option<RegistrationToken>,
}

impl<'l, M: Threading, D: 'l> Driven<'l, M, D> {
    fn step(driven: &Weak<Self>) {
        let Some(driven) = driven.upgrade() else {
            return;
        };
        // Both are borrowed if a callback dispatches the loop.
        let (Ok(mut stepper), Ok(mut outer)) = (
            driven.stepper.try_borrow_mut(),
            driven.outer.try_borrow_mut(),
        ) else {
            return;
        };
        let has_ended = outer.as_mut().is_some_and(|outer| stepper.step(outer));
        // The strong count is one if a callback has dropped the owner.
        if has_ended || Rc::strong_count(&driven) == 1 {
            *outer = None;
        }
    }
}

impl<'l, M: Threading, D: 'l> CallbackLoop for Outer<'l, M, D> {
    fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the stepper stops watching before the descriptor is closed.
        let fd: FdWrapper<RawFd> = unsafe { FdWrapper::new(fd.as_raw_fd()) };
        let driven = self.driven.clone();
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let step = move |_, _: &mut _, _: &mut D| {
            Driven::step(&driven);
            Ok(PostAction::Continue)
        };
        let added = self.handle.insert_source(source, step);
        self.watch = Some(added.map_err(|refused| match refused.error {
            calloop::Error::IoError(error) => error,
            other => io::Error::other(other),
        })?);
        Ok(())
    }

    fn unwatch(&mut self) -> bool {
        if let Some(watch) = self.watch.take() {
            self.handle.remove(watch);
        }
        // In the source's own callback, calloop removes it afterwards.
        false
    }

    fn call_again(&mut self) {
        self.again.ping();
    }
}

impl<'l, M: Threading, D: 'l> Drop for Outer<'l, M, D> {
    fn drop(&mut self) {
        self.unwatch();
        self.handle.remove(self.pings);
    }
}

impl<'l, M: Threading, D: 'l> Drop for Attached<'l, M, D> {
    fn drop(&mut self) {
        // In a step, the step does this at its end.
        if let Ok(mut outer) = self.0.outer.try_borrow_mut() {
            *outer = None;
        }
    }
}

impl<'l, M: Threading, D: 'l> fmt::Debug for Attached<'l, M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}
