//! A reactor drives a GLib context: a guest.

use std::time::Duration;

use libc::c_int;
use oneloop::{Guest, Interest, Watched};

use crate::sys::{self, G_IO_IN, G_IO_OUT, G_IO_PRI, GMainContext, GPollFD};

/// A GLib context as a guest of a reactor.
///
/// [`LocalReactor::add_guest`](oneloop::Reactor::add_guest) takes it. The loop then dispatches the context's sources,
/// and with them GTK, GStreamer and everything else on that context. It must not be iterated elsewhere.
///
/// The context keeps [`run`](oneloop::Reactor::run) going while it has a descriptor, a timeout or something to dispatch.
/// A program with a display always has one, and ends by [`stop`](oneloop::Reactor::stop).
///
/// # Modal dialogues
///
/// A callback on the context may run a main loop of its own, as `gtk_dialog_run` does. GLib's sources go on
/// meanwhile, and the reactor's handlers wait until it returns. A program that does so should have GLib
/// drive the reactor ([`attach`](crate::attach)).
pub struct ContextGuest {
    context: *mut GMainContext,
    is_ownerless: bool,
    /// The last answer, whose memory serves for the next.
    fds: Vec<GPollFD>,
    is_alive: bool,
}

impl ContextGuest {
    /// Makes a guest of a context, which this thread owns from now on: other threads that add sources wake it then.
    ///
    /// Returns `None` if another thread owns the context.
    ///
    /// ```
    /// use oneloop::Reactor;
    /// use std::ptr;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new_local()?;
    /// // SAFETY: null is the default context, which no other code iterates.
    /// let guest = unsafe { oneloop_glib::ContextGuest::new(ptr::null_mut()) };
    /// reactor.add_guest("GLib", guest.ok_or("another thread owns the context")?)?;
    /// # reactor.turn(Some(std::time::Duration::ZERO))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    ///
    /// `context` must be a live `GMainContext`, or null for the default one. Only the reactor may iterate it while
    /// the guest lives, and callbacks on it.
    pub unsafe fn new(context: *mut GMainContext) -> Option<ContextGuest> {
        // SAFETY: the caller promises that the context is live. Null is the default one here, too.
        unsafe {
            let owns = sys::g_main_context_acquire(context) != 0;
            owns.then(|| ContextGuest::referring(context, false))
        }
    }

    /// Makes a guest of a context that was made with `G_MAIN_CONTEXT_FLAGS_OWNERLESS_POLLING`.
    ///
    /// Such a context announces each new source by itself, also those that the reactor's own callbacks add. So
    /// events that do not concern the context cost it nothing, however many sources it has.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new). The context must have that flag.
    pub unsafe fn ownerless(context: *mut GMainContext) -> ContextGuest {
        // SAFETY: the caller promises that the context is live.
        unsafe { ContextGuest::referring(context, true) }
    }

    unsafe fn referring(context: *mut GMainContext, is_ownerless: bool) -> ContextGuest {
        let context = if context.is_null() {
            // SAFETY: it exists from the first call on.
            unsafe { sys::g_main_context_default() }
        } else {
            context
        };
        ContextGuest {
            // SAFETY: the caller promises that the context is live.
            context: unsafe { sys::g_main_context_ref(context) },
            is_ownerless,
            fds: Vec::new(),
            is_alive: true,
        }
    }

    /// Asks the context what it waits for. Returns how long it may wait, in milliseconds, or -1.
    fn query(&mut self) -> c_int {
        let mut timeout = -1;
        loop {
            // SAFETY: this thread owns the context, and the array has that many entries.
            let needed = unsafe {
                let (fds, length) = (self.fds.as_mut_ptr(), self.fds.len() as c_int);
                sys::g_main_context_query(self.context, c_int::MAX, &mut timeout, fds, length)
            };
            let fits = needed as usize <= self.fds.len();
            self.fds.resize(needed as usize, GPollFD::default());
            if fits {
                return timeout;
            }
        }
    }
}

impl Guest for ContextGuest {
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        // SAFETY: the reference keeps the context.
        if self.is_ownerless && unsafe { sys::g_main_context_acquire(self.context) } == 0 {
            // Another thread iterates it just now, against the rules. It tells when it is done.
            return Some(Duration::from_millis(1));
        }
        let mut priority = 0;
        // SAFETY: this thread owns the context.
        let is_ready = unsafe { sys::g_main_context_prepare(self.context, &mut priority) } != 0;
        let timeout = self.query();
        if self.is_ownerless {
            // SAFETY: it was acquired above.
            unsafe { sys::g_main_context_release(self.context) };
        }
        for fd in &self.fds {
            // SAFETY: descriptors of sources are open. A source that closes one removes it from the context, and so
            // from the next answer.
            unsafe { watched.add(fd.fd, interest(fd.events)) };
        }
        // One descriptor is the context's own, by which other threads wake it.
        self.is_alive = is_ready || timeout >= 0 || self.fds.len() > 1;
        match timeout {
            _ if is_ready => Some(Duration::ZERO),
            ..0 => None,
            timeout => Some(Duration::from_millis(timeout as u64)),
        }
    }

    fn turn(&mut self, _: &Watched) {
        // SAFETY: the reference keeps the context, and no other thread owns it.
        unsafe { sys::g_main_context_iteration(self.context, 0) };
    }

    fn is_alive(&self) -> bool {
        self.is_alive
    }

    fn announces(&self) -> bool {
        self.is_ownerless
    }
}

impl Drop for ContextGuest {
    fn drop(&mut self) {
        // SAFETY: what `new` and `referring` have taken. The guest is not `Send`, so this is the owner's thread.
        unsafe {
            if !self.is_ownerless {
                sys::g_main_context_release(self.context);
            }
            sys::g_main_context_unref(self.context);
        }
    }
}

fn interest(events: u16) -> Interest {
    let bits = [
        (G_IO_IN, Interest::READABLE),
        (G_IO_OUT, Interest::WRITABLE),
        (G_IO_PRI, Interest::PRIORITY),
    ];
    bits.iter()
        .filter(|(bit, _)| events & bit != 0)
        .fold(Interest::NONE, |sum, (_, interest)| sum | *interest)
}
