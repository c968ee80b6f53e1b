//! Timers of libev, libevent and libuv.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::NonNull;
use std::time::Instant;

/// The functions that one of the three has for timers: see `c_timers.h`.
#[repr(C)]
pub struct Kind {
    make: unsafe extern "C" fn(usize) -> *mut c_void,
    set: unsafe extern "C" fn(*mut c_void, usize, u64) -> c_int,
    put_off: unsafe extern "C" fn(*mut c_void, usize, u64) -> c_int,
    cancel: unsafe extern "C" fn(*mut c_void, usize) -> c_int,
    fire: unsafe extern "C" fn(*mut c_void, usize) -> c_int,
    end: unsafe extern "C" fn(*mut c_void),
}

unsafe extern "C" {
    #[link_name = "c_timers_libev"]
    static LIBEV: Kind;
    #[link_name = "c_timers_libevent"]
    static LIBEVENT: Kind;
    #[link_name = "c_timers_libuv"]
    static LIBUV: Kind;
}

/// A loop with so many timers, each of which is known by its number.
pub struct CTimers {
    kind: &'static Kind,
    of: NonNull<c_void>,
    number: usize,
    made: Instant,
}

impl CTimers {
    /// None of them is set.
    pub fn libev(number: usize) -> io::Result<CTimers> {
        // SAFETY: it is a constant.
        CTimers::new(unsafe { &LIBEV }, number)
    }

    /// As [`libev`](Self::libev).
    pub fn libevent(number: usize) -> io::Result<CTimers> {
        // SAFETY: as above.
        CTimers::new(unsafe { &LIBEVENT }, number)
    }

    /// As [`libev`](Self::libev).
    pub fn libuv(number: usize) -> io::Result<CTimers> {
        // SAFETY: as above.
        CTimers::new(unsafe { &LIBUV }, number)
    }

    fn new(kind: &'static Kind, number: usize) -> io::Result<CTimers> {
        // SAFETY: it can be called at any time.
        let of = NonNull::new(unsafe { (kind.make)(number) });
        let failed = || io::Error::other("the loop could not be made");
        Ok(CTimers {
            kind,
            of: of.ok_or_else(failed)?,
            number,
            made: Instant::now(),
        })
    }

    /// One that is not set.
    pub fn set(&mut self, which: usize, deadline: Instant) -> io::Result<()> {
        let deadline = self.nanoseconds(which, deadline);
        // SAFETY: the loop is there, and it has that timer.
        done(unsafe { (self.kind.set)(self.of.as_ptr(), which, deadline) })
    }

    /// One that is set.
    pub fn put_off(&mut self, which: usize, deadline: Instant) -> io::Result<()> {
        let deadline = self.nanoseconds(which, deadline);
        // SAFETY: as above.
        done(unsafe { (self.kind.put_off)(self.of.as_ptr(), which, deadline) })
    }

    /// One that is set.
    pub fn cancel(&mut self, which: usize) -> io::Result<()> {
        assert!(which < self.number);
        // SAFETY: as above.
        done(unsafe { (self.kind.cancel)(self.of.as_ptr(), which) })
    }

    /// Runs until so many have fired.
    pub fn fire(&mut self, number: usize) -> io::Result<()> {
        // SAFETY: the loop is there.
        done(unsafe { (self.kind.fire)(self.of.as_ptr(), number) })
    }

    fn nanoseconds(&self, which: usize, deadline: Instant) -> u64 {
        assert!(which < self.number);
        let after = deadline.saturating_duration_since(self.made);
        after.as_secs() * 1_000_000_000 + u64::from(after.subsec_nanos())
    }
}

impl Drop for CTimers {
    fn drop(&mut self) {
        // SAFETY: it is there, and not used any more.
        unsafe { (self.kind.end)(self.of.as_ptr()) };
    }
}

fn done(failed: c_int) -> io::Result<()> {
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::other("the loop refused")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fires(make: fn(usize) -> io::Result<CTimers>) {
        let mut timers = make(3).unwrap();
        let start = Instant::now();
        let never = start + Duration::from_secs(3600);
        timers.set(0, start).unwrap();
        timers.set(1, start).unwrap();
        timers.set(2, never).unwrap();
        timers
            .put_off(1, start + Duration::from_millis(20))
            .unwrap();
        timers.cancel(0).unwrap();
        timers.fire(1).unwrap();
        // The one that was put off, to which a millisecond is nothing.
        assert!(start.elapsed() >= Duration::from_millis(18));
    }

    #[test]
    fn libev_fires_what_is_set_when_it_is_due() {
        fires(CTimers::libev);
    }

    #[test]
    fn libevent_fires_what_is_set_when_it_is_due() {
        fires(CTimers::libevent);
    }

    #[test]
    fn libuv_fires_what_is_set_when_it_is_due() {
        fires(CTimers::libuv);
    }
}
