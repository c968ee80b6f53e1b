//! libev, libevent and libuv.

use std::io;
use std::time::{Duration, Instant};

use oneloop_benches::c_timers::CTimers;

pub struct C {
    timers: CTimers,
    /// Those that are not set.
    free: Vec<usize>,
}

pub fn libev(most: usize) -> io::Result<C> {
    Ok(C::new(CTimers::libev(most)?, most))
}

pub fn libevent(most: usize) -> io::Result<C> {
    Ok(C::new(CTimers::libevent(most)?, most))
}

pub fn libuv(most: usize) -> io::Result<C> {
    Ok(C::new(CTimers::libuv(most)?, most))
}

impl C {
    fn new(timers: CTimers, most: usize) -> C {
        let free = (0..most).rev().collect();
        C { timers, free }
    }
}

impl crate::Loop for C {
    type Timer = usize;

    fn set(&mut self, deadline: Instant) -> io::Result<usize> {
        let which = self.free.pop().expect("there are not more at a time");
        self.timers.set(which, deadline)?;
        Ok(which)
    }

    fn cancel(&mut self, timer: usize) -> io::Result<()> {
        self.free.push(timer);
        self.timers.cancel(timer)
    }

    fn put_off(&mut self, timer: &mut usize, deadline: Instant) -> io::Result<()> {
        self.timers.put_off(*timer, deadline)
    }

    fn fire(&mut self, count: usize) -> io::Result<Duration> {
        let begin = Instant::now();
        for n in 0..count {
            self.set(begin + Duration::from_nanos((n * 7919 % count) as u64))?;
        }
        self.timers.fire(count)?;
        Ok(begin.elapsed())
    }
}
