use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::{Rc, Weak};

use calloop::generic::{FdWrapper, Generic};
use calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use oneloop::adapter::{Attached, CallbackLoop, End, Stepper};
use oneloop::{Host, Threading};

/// Has calloop drive the reactor of `host`.
///
/// The loop of `handle` calls the reactor's callbacks from now on. It calls `on_end` once, after
/// [`stop`](oneloop::Reactor::stop), an error, or a panic of a callback, which `on_end` gets instead of calloop.
/// Dropping the result ends that, and another driver can continue.
///
/// # Errors
///
/// Returns an error if calloop cannot watch the reactor's descriptor.
pub fn attach<'l, M: Threading, D: 'l>(
    host: Host<M>,
    handle: &LoopHandle<'l, D>,
    on_end: impl FnOnce(End) + 'static,
) -> io::Result<Attached<'l>> {
    let fd = host.as_raw_fd();
    Stepper::attach(host, on_end, |stepper| {
        let mut outer = Outer {
            handle: handle.clone(),
            stepper: Rc::downgrade(stepper),
            fd,
            watch: None,
        };
        outer.watch()?;
        Ok(outer)
    })
}

/// The loop, as the stepper sees it.
struct Outer<'l, M: Threading, D: 'l> {
    handle: LoopHandle<'l, D>,
    stepper: Weak<Stepper<M, Self>>,
    fd: RawFd,
    watch: Option<RegistrationToken>,
}

impl<'l, M: Threading, D: 'l> CallbackLoop for Outer<'l, M, D> {
    fn watch(&mut self) -> io::Result<()> {
        // SAFETY: the stepper stops watching before the descriptor is closed.
        let fd: FdWrapper<RawFd> = unsafe { FdWrapper::new(self.fd) };
        let (handle, stepper) = (self.handle.clone(), self.stepper.clone());
        // calloop takes a source out only after that source's own callback. So the step is after it, too.
        let step = move |_, _: &mut _, _: &mut D| {
            let stepper = stepper.clone();
            handle.insert_idle(move |_| _ = stepper.upgrade().map(|stepper| stepper.step()));
            Ok(PostAction::Continue)
        };
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let added = self.handle.insert_source(source, step);
        self.watch = Some(added.map_err(|refused| match refused.error {
            calloop::Error::IoError(error) => error,
            other => io::Error::other(other),
        })?);
        Ok(())
    }

    fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.handle.remove(watch);
        }
    }
}

impl<'l, M: Threading, D: 'l> Drop for Outer<'l, M, D> {
    fn drop(&mut self) {
        self.unwatch();
    }
}
