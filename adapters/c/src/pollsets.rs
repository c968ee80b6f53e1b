use std::ffi::{c_int, c_short, c_void};
use std::time::Duration;

#[cfg(not(windows))]
use libc::{
    POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM,
    pollfd,
};
use oneloop::{Guest, GuestId, Interest, Ready, Watched};
#[cfg(windows)]
use windows_sys::Win32::Networking::WinSock::{
    POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRBAND, POLLWRNORM,
    WSAPOLLFD as pollfd,
};

use crate::copies::forward;
use crate::error::{Failure, call};
use crate::user::{LateUser, reactor};
use crate::{ONELOOP_NEVER, oneloop_destroy_fn, oneloop_fd, oneloop_id, oneloop_t};

/// A poll set's first callback, which lists the descriptors. It stores them in `fds`, which has `room` entries,
/// and returns how many there are. If there are more than `room`, it is called again with more room. Entries
/// are as for poll(2), or WSAPoll on Windows: `events` is what to wait for, and a negative `fd` is passed over.
///
/// `timeout` is ONELOOP_NEVER at first. The callback may store how many nanoseconds the loop may sleep.
pub type oneloop_pollset_prepare_fn = Option<
    unsafe extern "C" fn(
        r#loop: *mut oneloop_t,
        fds: *mut pollfd,
        room: c_int,
        timeout: *mut i64,
        user: *mut c_void,
    ) -> c_int,
>;

/// A poll set's second callback, which is called when a descriptor is ready or the timeout is over. `fds` has
/// the entries that were listed last, in the same order, with `revents`. Other entries may be ready, too: the
/// callback is called again for them.
pub type oneloop_pollset_ready_fn = Option<
    unsafe extern "C" fn(r#loop: *mut oneloop_t, fds: *mut pollfd, count: c_int, user: *mut c_void),
>;

/// Watches a set of descriptors that a library lists again before each sleep, as for poll(2): ALSA, libusb,
/// GLib, Net-SNMP. The loop calls `prepare` before it sleeps, and `ready` when a descriptor is ready or the
/// timeout is over. Only differences between two lists reach the kernel. The set is level-triggered.
///
/// `prepare` may be called at other times, too, and several times in a row. The set keeps `oneloop_run` going
/// as long as it lists a descriptor or a timeout. An entry whose `events` is 0 is not watched.
///
/// Under a host (`oneloop_host_begin`), the host's own code may run after `prepare`. If that code uses the
/// library, it must call `oneloop_wake` afterwards, or the host must call `oneloop_ask_hooks` right before it
/// waits.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_add_pollset(
    r#loop: *mut oneloop_t,
    prepare: oneloop_pollset_prepare_fn,
    ready: oneloop_pollset_ready_fn,
    user: *mut c_void,
    destroy: oneloop_destroy_fn,
    id: *mut oneloop_id,
) -> c_int {
    forward!(oneloop_add_pollset => add_pollset(r#loop, prepare, ready, user, destroy, id));
    call("oneloop_add_pollset", || {
        // SAFETY: the caller's promise.
        let reactor = unsafe { reactor(r#loop) }?;
        let prepare = prepare.ok_or(Failure::Argument("the prepare callback"))?;
        let ready = ready.ok_or(Failure::Argument("the ready callback"))?;
        let make = |own: GuestId| {
            // SAFETY: the caller promises null or a place for an id.
            if let Some(place) = unsafe { id.as_mut() } {
                *place = own.to_bits();
            }
            PollSet {
                prepare,
                ready,
                user: LateUser::new(&reactor, user, destroy),
                entries: Vec::new(),
                count: 0,
                is_alive: false,
            }
        };
        reactor.add_guest_with("poll set", make)?;
        Ok(0)
    })
}

/// Removes a poll set. Its descriptors are not watched any more. Its destroy function is called later, in a
/// turn.
///
/// Fails with -ENOENT if the id is unknown.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oneloop_remove_pollset(r#loop: *mut oneloop_t, id: oneloop_id) -> c_int {
    forward!(oneloop_remove_pollset => remove_pollset(r#loop, id));
    call("oneloop_remove_pollset", || {
        // SAFETY: the caller's promise.
        unsafe { reactor(r#loop) }?.remove_guest(GuestId::from_bits(id))?;
        Ok(0)
    })
}

/// A poll set of C's, as a guest.
struct PollSet {
    prepare:
        unsafe extern "C" fn(*mut oneloop_t, *mut pollfd, c_int, *mut i64, *mut c_void) -> c_int,
    ready: unsafe extern "C" fn(*mut oneloop_t, *mut pollfd, c_int, *mut c_void),
    user: LateUser,
    /// The first `count` were listed last. The rest is room.
    entries: Vec<pollfd>,
    count: usize,
    is_alive: bool,
}

// SAFETY: `LateUser` is `Send` and the rest are functions and numbers. The loop calls one callback at a time.
unsafe impl Send for PollSet {}

const ROOM: usize = 16;
const EMPTY: pollfd = pollfd {
    fd: !0,
    events: 0,
    revents: 0,
};

impl Guest for PollSet {
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        self.entries.resize(self.entries.len().max(ROOM), EMPTY);
        let mut timeout;
        self.count = loop {
            timeout = ONELOOP_NEVER;
            let room = c_int::try_from(self.entries.len()).unwrap_or(c_int::MAX);
            let entries = self.entries.as_mut_ptr();
            let (r#loop, user) = (self.user.r#loop(), self.user.pointer());
            // SAFETY: C's own function gets its own data, as the header promises, and there is room.
            let listed = unsafe { (self.prepare)(r#loop, entries, room, &raw mut timeout, user) };
            // A negative number is a library's error, and lists nothing.
            let listed = usize::try_from(listed).unwrap_or(0);
            if listed <= self.entries.len() {
                break listed;
            }
            self.entries.resize(listed, EMPTY);
        };
        for entry in &mut self.entries[..self.count] {
            entry.revents = 0;
            if is_watched(entry) {
                // SAFETY: C promises that the descriptors it lists are open until it lists others.
                unsafe { watched.add(entry.fd as oneloop_fd, interest(entry.events)) };
            }
        }
        self.is_alive =
            timeout != ONELOOP_NEVER || watched.iter().any(|fd| !fd.interest.is_empty());
        match timeout {
            ONELOOP_NEVER => None,
            limit => Some(Duration::from_nanos(u64::try_from(limit).unwrap_or(0))),
        }
    }

    fn turn(&mut self, watched: &Watched) {
        let listed = &mut self.entries[..self.count];
        let watchable = listed.iter_mut().filter(|entry| is_watched(entry));
        for (entry, found) in watchable.zip(watched.iter()) {
            entry.revents = revents(entry.events, found.ready);
        }
        let (user, entries) = (&self.user, self.entries.as_mut_ptr());
        // SAFETY: C's own function gets its own data, as the header promises, and the entries that it listed.
        unsafe { (self.ready)(user.r#loop(), entries, self.count as c_int, user.pointer()) };
        for entry in &mut self.entries[..self.count] {
            entry.revents = 0;
        }
    }

    fn is_alive(&self) -> bool {
        self.is_alive
    }
}

fn is_watched(entry: &pollfd) -> bool {
    entry.fd as isize >= 0
}

const READABLE: c_short = POLLIN | POLLRDNORM;
const WRITABLE: c_short = POLLOUT | POLLWRNORM | POLLWRBAND;
#[cfg(not(windows))]
const PRIORITY: c_short = POLLPRI | POLLRDBAND;
/// Winsock's POLLIN contains POLLRDBAND.
#[cfg(windows)]
const PRIORITY: c_short = POLLPRI;
#[cfg(any(target_os = "linux", target_os = "android"))]
const READ_CLOSED: c_short = libc::POLLRDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const READ_CLOSED: c_short = 0;

const BITS: [(c_short, Interest, Ready); 4] = [
    (READABLE, Interest::READABLE, Ready::READABLE),
    (WRITABLE, Interest::WRITABLE, Ready::WRITABLE),
    (PRIORITY, Interest::PRIORITY, Ready::PRIORITY),
    (READ_CLOSED, Interest::READ_CLOSED, Ready::READ_CLOSED),
];

fn interest(events: c_short) -> Interest {
    let wanted = BITS.iter().filter(|(bits, ..)| events & bits != 0);
    wanted.fold(Interest::NONE, |all, (_, one, _)| all | *one)
}

fn revents(events: c_short, ready: Ready) -> c_short {
    let found = BITS.iter().filter(|(.., one)| ready.contains(*one));
    let mut revents = found.fold(0, |all, (bits, ..)| all | (bits & events));
    if ready.contains(Ready::ERROR) {
        revents |= POLLERR;
    }
    if ready.contains(Ready::HANGUP) {
        revents |= POLLHUP;
    }
    revents
}
