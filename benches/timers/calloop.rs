use std::io;
use std::time::{Duration, Instant};

use calloop::timer::{TimeoutAction, Timer};
use calloop::{Dispatcher, EventLoop, RegistrationToken};

pub struct Calloop(EventLoop<'static, usize>);

impl crate::Loop for Calloop {
    type Timer = (Dispatcher<'static, Timer, usize>, RegistrationToken);
    const MOST: usize = 10_000;

    fn new() -> io::Result<Calloop> {
        Ok(Calloop(EventLoop::try_new()?))
    }

    fn set(&mut self, deadline: Instant) -> io::Result<Self::Timer> {
        let timer = Timer::from_deadline(deadline);
        let dispatcher = Dispatcher::new(timer, |_, (), _: &mut usize| TimeoutAction::Drop);
        let token = self.0.handle().register_dispatcher(dispatcher.clone())?;
        Ok((dispatcher, token))
    }

    fn cancel(&mut self, timer: Self::Timer) -> io::Result<()> {
        self.0.handle().remove(timer.1);
        Ok(())
    }

    fn put_off(&mut self, timer: &mut Self::Timer, deadline: Instant) -> io::Result<()> {
        timer.0.as_source_mut().set_deadline(deadline);
        Ok(self.0.handle().update(&timer.1)?)
    }

    fn fire(count: usize) -> io::Result<Duration> {
        fire(count)
    }
}

fn fire(count: usize) -> io::Result<Duration> {
    let mut events = EventLoop::<usize>::try_new()?;
    let mut fired = 0;
    let begin = Instant::now();
    for n in 0..count {
        let deadline = begin + Duration::from_nanos((n * 7919 % count) as u64);
        let count = |_, (): &mut (), fired: &mut usize| {
            *fired += 1;
            TimeoutAction::Drop
        };
        let inserted = events
            .handle()
            .insert_source(Timer::from_deadline(deadline), count);
        inserted.map_err(|refused| refused.error)?;
    }
    while fired < count {
        events.dispatch(None, &mut fired)?;
    }
    Ok(begin.elapsed())
}
