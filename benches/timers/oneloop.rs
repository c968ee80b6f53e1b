use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oneloop::{LocalReactor, TimerId};

pub struct Oneloop(LocalReactor);

impl crate::Loop for Oneloop {
    type Timer = TimerId;

    fn new() -> io::Result<Oneloop> {
        Ok(Oneloop(LocalReactor::new()?))
    }

    fn set(&mut self, deadline: Instant) -> io::Result<TimerId> {
        Ok(self.0.call_at(deadline, || {})?)
    }

    fn cancel(&mut self, timer: TimerId) -> io::Result<()> {
        Ok(self.0.cancel_timer(timer)?)
    }

    fn put_off(&mut self, timer: &mut TimerId, deadline: Instant) -> io::Result<()> {
        Ok(self.0.reset_timer(*timer, deadline)?)
    }

    fn fire(count: usize) -> io::Result<Duration> {
        fire(count)
    }
}

fn fire(count: usize) -> io::Result<Duration> {
    let reactor = LocalReactor::new()?;
    let fired = Rc::new(Cell::new(0));
    let begin = Instant::now();
    for n in 0..count {
        let fired = fired.clone();
        let deadline = begin + Duration::from_nanos((n * 7919 % count) as u64);
        reactor.call_at(deadline, move || fired.set(fired.get() + 1))?;
    }
    while fired.get() < count {
        reactor.turn(None)?;
    }
    Ok(begin.elapsed())
}
