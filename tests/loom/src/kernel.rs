//! A backend without a kernel: the wake and the alarm, and a sleep that loom can see.
//!
//! It takes no descriptors, since loom could not see what makes them ready; virtual sources take their place. Time
//! stands still: what is due now is due, and anything later never comes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, Weak};
use std::time::Duration;

use loom::sync::{Condvar, Mutex, MutexGuard};
use oneloop::testing::{ALARM, Backend, Buffer, Doubles, Found, Wake, Watch};
use oneloop::{Builder, Host, LocalReactor, Reactor, Ready, Shared};

/// A reactor of one thread on no kernel. It cannot [`sleep`].
pub fn local_reactor() -> LocalReactor {
    builder_on(Arc::default()).build_local().unwrap()
}

fn builder_on(kernel: Arc<Kernel>) -> Builder {
    let make = move |_| Ok(Box::new(NoKernel(kernel.clone())) as Box<dyn Backend>);
    let backend = Some(Arc::new(make) as Arc<_>);
    Reactor::builder().doubles(Doubles {
        backend,
        clock: None,
    })
}

/// A reactor on no kernel.
pub fn reactor() -> Reactor {
    reactor_with(|builder| builder)
}

/// A reactor on no kernel, with something of the test's choice.
pub fn reactor_with(change: impl FnOnce(Builder) -> Builder) -> Reactor {
    let kernel = Arc::<Kernel>::default();
    let reactor = change(builder_on(kernel.clone())).build().unwrap();
    let key = *kernel.key.get_or_init(|| reactor.as_raw() as usize);
    kernels().insert(key, Arc::downgrade(&kernel));
    reactor
}

/// Sleeps until the descriptor of a host of a [`reactor`] would be readable.
pub fn sleep(host: &Host<Shared>) {
    // From now on the host watches it.
    let _ = host.as_fd();
    let key = host.reactor().as_raw() as usize;
    let kernel = kernels().get(&key).and_then(Weak::upgrade);
    drop(kernel.expect("made by `reactor_with`").shown());
}

/// The kernels of reactors by their address. Loom does not see this lock, which is never held for long.
static KERNELS: LazyLock<std::sync::Mutex<HashMap<usize, Weak<Kernel>>>> =
    LazyLock::new(Default::default);

fn kernels() -> std::sync::MutexGuard<'static, HashMap<usize, Weak<Kernel>>> {
    KERNELS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct NoKernel(Arc<Kernel>);

#[derive(Default)]
struct Kernel {
    shows: Mutex<Shows>,
    changed: Condvar,
    key: OnceLock<usize>,
}

/// The state that the loop's descriptor shows, until a wait takes it.
#[derive(Default)]
struct Shows {
    wake: bool,
    alarm: bool,
}

impl Kernel {
    fn shown(&self) -> MutexGuard<'_, Shows> {
        let mut shows = self.shows();
        while !shows.wake && !shows.alarm {
            let woken = self.changed.wait(shows);
            shows = woken.unwrap_or_else(PoisonError::into_inner);
        }
        shows
    }

    fn shows(&self) -> MutexGuard<'_, Shows> {
        self.shows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Some(key) = self.key.get() {
            let mut kernels = kernels();
            // Another reactor may have the address by now.
            if kernels
                .get(key)
                .is_some_and(|kernel| kernel.strong_count() == 0)
            {
                kernels.remove(key);
            }
        }
    }
}

impl Wake for Kernel {
    fn wake(&self) -> io::Result<()> {
        self.shows().wake = true;
        self.changed.notify_all();
        Ok(())
    }
}

impl Backend for NoKernel {
    fn add(&self, _: RawFd, _: u64, _: Watch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn modify(&self, _: RawFd, _: u64, _: Watch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn delete(&self, _: RawFd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn wait(&self, _: &mut Buffer, timeout: Option<Duration>, found: &mut Found) -> io::Result<()> {
        let mut shows = match timeout {
            Some(Duration::ZERO) => self.0.shows(),
            _ => self.0.shown(),
        };
        let Shows { alarm, .. } = std::mem::take(&mut *shows);
        if alarm {
            found.push(ALARM, Ready::READABLE);
        }
        Ok(())
    }

    fn waker(&self) -> Weak<dyn Wake> {
        Arc::downgrade(&self.0) as Weak<dyn Wake>
    }

    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.0.shows().alarm = delay == Some(Duration::ZERO);
        self.0.changed.notify_all();
        Ok(())
    }

    fn owns(&self, _: RawFd) -> bool {
        false
    }

    /// The descriptor of all. Nothing happens on it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        static NULL: LazyLock<File> = LazyLock::new(|| File::open("/dev/null").unwrap());
        NULL.as_fd()
    }
}
