use std::collections::HashMap;
use std::ffi::{c_int, c_long, c_void};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use curl::multi::{Events, Multi, Socket};
use curl_sys::{CURL, CURLM, CURLMoption};
use oneloop::{Event, HandlerId, Interest, Mode, Shared, TimerId, WeakReactor};

use crate::driver::{Driver, lock};

/// A delay longer than the loop can count. A timer so far away does not keep the loop going.
const NEVER: Duration = Duration::from_secs(700 * 365 * 24 * 3600);

/// The reasons for which libcurl wants to be called: its sockets and its one timer, as they are on the loop.
///
/// This is separate from the rest, because libcurl changes it inside its own calls.
pub(crate) struct Watches {
    reactor: WeakReactor<Shared>,
    driver: Weak<Driver>,
    handlers: HashMap<Socket, HandlerId>,
    timer: Option<TimerId>,
    /// The handles whose sockets could not be watched.
    failed: Vec<(*mut CURL, oneloop::Error)>,
}

// SAFETY: the pointers in `failed` are only compared.
unsafe impl Send for Watches {}

impl Watches {
    pub(crate) fn new(reactor: WeakReactor<Shared>, driver: Weak<Driver>) -> Watches {
        Watches {
            reactor,
            driver,
            handlers: HashMap::new(),
            timer: None,
            failed: Vec::new(),
        }
    }

    /// Makes libcurl report to `watches`, which must live until the multi handle is gone.
    ///
    /// This does not use the functions of the crate `curl`. Those call no callback on a thread on which a
    /// user's callback has panicked, which leaves sockets unwatched for good. They also do not report which
    /// handle a socket belongs to.
    pub(crate) fn install(watches: &Arc<Mutex<Watches>>, multi: &Multi) {
        let data = Arc::as_ptr(watches).cast_mut().cast::<c_void>();
        let socket: curl_sys::curl_socket_callback = socket_changed;
        let timer: curl_sys::curl_multi_timer_callback = timer_changed;
        let options: [(CURLMoption, *mut c_void); 4] = [
            (curl_sys::CURLMOPT_SOCKETFUNCTION, socket as *mut c_void),
            (curl_sys::CURLMOPT_SOCKETDATA, data),
            (curl_sys::CURLMOPT_TIMERFUNCTION, timer as *mut c_void),
            (curl_sys::CURLMOPT_TIMERDATA, data),
        ];
        for (option, value) in options {
            // SAFETY: the handle is alive, and each option takes a pointer of this kind. The calls cannot
            // fail, because these options are as old as the functions that `curl` calls.
            unsafe { curl_sys::curl_multi_setopt(multi.raw(), option, value) };
        }
    }

    /// Adds the timer, which sleeps until libcurl asks for it. The loop calls `fire` when it is due.
    pub(crate) fn add_timer(&mut self, fire: impl FnMut() + Send + 'static) -> oneloop::Result<()> {
        let Some(reactor) = self.reactor.upgrade() else {
            return Ok(()); // Not reached: the caller has a handle of the reactor.
        };
        self.timer = Some(reactor.add_timer(fire)?);
        Ok(())
    }

    /// Takes the timer and everything that it owns off the loop.
    pub(crate) fn cancel_timer(&mut self) {
        if let (Some(id), Some(reactor)) = (self.timer.take(), self.reactor.upgrade()) {
            // The id is unknown if the loop is closed.
            let _ = reactor.cancel_timer(id);
        }
    }

    /// Takes the handles whose sockets could not be watched.
    pub(crate) fn take_failed(&mut self) -> Vec<(*mut CURL, oneloop::Error)> {
        std::mem::take(&mut self.failed)
    }

    fn set_timer(&mut self, delay: Duration) {
        if let (Some(id), Some(reactor)) = (self.timer, self.reactor.upgrade()) {
            let now = reactor.now();
            // The id is unknown if the loop is closed.
            let _ = reactor.reset_timer(id, now.checked_add(delay).unwrap_or(now));
        }
    }

    fn set_socket(&mut self, easy: *mut CURL, socket: Socket, what: c_int) {
        let Some(reactor) = self.reactor.upgrade() else {
            return;
        };
        let known = self.handlers.get(&socket).copied();
        let interest = match what {
            curl_sys::CURL_POLL_IN => Interest::READABLE,
            curl_sys::CURL_POLL_OUT => Interest::WRITABLE,
            curl_sys::CURL_POLL_INOUT => Interest::READABLE | Interest::WRITABLE,
            curl_sys::CURL_POLL_REMOVE => {
                if let Some(id) = self.handlers.remove(&socket) {
                    let _ = reactor.remove_handler(id);
                }
                return;
            }
            _ => Interest::NONE,
        };
        if let Some(id) = known {
            if reactor.update_handler(id, interest).is_ok() {
                return;
            }
            // The socket was closed meanwhile, and another was opened under its number.
            let _ = reactor.remove_handler(id);
        }
        let driver = self.driver.clone();
        let ready = move |event: Event| {
            if let Some(driver) = driver.upgrade() {
                let events = events(&event);
                driver.enter(|multi| multi.action(socket, &events).map(drop));
            }
        };
        // SAFETY: libcurl reports this before it closes a socket, or right after.
        match unsafe { reactor.add_raw_handler(socket, interest, Mode::Level, ready) } {
            Ok(id) => drop(self.handlers.insert(socket, id)),
            Err(error) => {
                self.handlers.remove(&socket);
                self.failed.push((easy, error));
            }
        }
    }
}

fn events(event: &Event) -> Events {
    let mut events = Events::new();
    events
        .input(event.is_readable() || event.is_hangup())
        .output(event.is_writable())
        .error(event.is_error());
    events
}

/// Handles libcurl's request to watch a socket for another readiness.
extern "C" fn socket_changed(
    easy: *mut CURL,
    socket: Socket,
    what: c_int,
    watches: *mut c_void,
    _: *mut c_void,
) -> c_int {
    // SAFETY: `install` gave this pointer to libcurl, and it lives until the multi handle is gone.
    let watches = unsafe { &*watches.cast::<Mutex<Watches>>() };
    lock(watches).set_socket(easy, socket, what);
    0
}

/// Handles libcurl's request to be called after some time. A time of zero means a later turn, never a call
/// inside this one.
extern "C" fn timer_changed(_: *mut CURLM, milliseconds: c_long, watches: *mut c_void) -> c_int {
    // SAFETY: as above.
    let watches = unsafe { &*watches.cast::<Mutex<Watches>>() };
    let delay = u64::try_from(milliseconds).map_or(NEVER, Duration::from_millis);
    lock(watches).set_timer(delay);
    0
}
