use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oneloop::{LocalReactor, Reactor, TimerId};

pub struct Oneloop(LocalReactor);

impl Oneloop {
    pub fn new(_most: usize) -> io::Result<Oneloop> {
        Ok(Oneloop(Reactor::new_local()?))
    }
}

impl crate::Loop for Oneloop {
    type Timer = TimerId;

    fn set(&mut self, deadline: Instant) -> io::Result<TimerId> {
        Ok(self.0.call_at(deadline, || {})?)
    }

    fn cancel(&mut self, timer: TimerId) -> io::Result<()> {
        Ok(self.0.cancel_timer(timer)?)
    }

    fn put_off(&mut self, timer: &mut TimerId, deadline: Instant) -> io::Result<()> {
        Ok(self.0.reset_timer(*timer, deadline)?)
    }

    fn fire(&mut self, count: usize) -> io::Result<Duration> {
        let fired = Rc::new(Cell::new(0));
        let begin = Instant::now();
        for n in 0..count {
            let fired = fired.clone();
            let deadline = begin + Duration::from_nanos((n * 7919 % count) as u64);
            self.0
                .call_at(deadline, move || fired.set(fired.get() + 1))?;
        }
        while fired.get() < count {
            self.0.turn(None)?;
        }
        Ok(begin.elapsed())
    }
}
