use std::io;
use std::time::{Duration, Instant};

use calloop::timer::{TimeoutAction, Timer};
use calloop::{Dispatcher, EventLoop, RegistrationToken};

pub struct Calloop(EventLoop<'static, usize>);

impl Calloop {
    pub fn new(_most: usize) -> io::Result<Calloop> {
        Ok(Calloop(EventLoop::try_new()?))
    }
}

impl crate::Loop for Calloop {
    type Timer = (Dispatcher<'static, Timer, usize>, RegistrationToken);
    const MOST: usize = 10_000;

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

    fn fire(&mut self, count: usize) -> io::Result<Duration> {
        let mut fired = 0;
        let begin = Instant::now();
        for n in 0..count {
            let deadline = begin + Duration::from_nanos((n * 7919 % count) as u64);
            let count = |_, (): &mut (), fired: &mut usize| {
                *fired += 1;
                TimeoutAction::Drop
            };
            let timer = Timer::from_deadline(deadline);
            let inserted = self.0.handle().insert_source(timer, count);
            inserted.map_err(|refused| refused.error)?;
        }
        while fired < count {
            self.0.dispatch(None, &mut fired)?;
        }
        Ok(begin.elapsed())
    }
}
