use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use async_io::Timer;

pub struct AsyncIo;

/// Has it waited for, which is when it is set.
fn poll(timer: &mut Timer) {
    let _ = Pin::new(timer).poll(&mut Context::from_waker(Waker::noop()));
}

impl AsyncIo {
    pub fn new(_most: usize) -> io::Result<AsyncIo> {
        Ok(AsyncIo)
    }
}

impl crate::Loop for AsyncIo {
    type Timer = Timer;

    fn set(&mut self, deadline: Instant) -> io::Result<Timer> {
        let mut timer = Timer::at(deadline);
        poll(&mut timer);
        Ok(timer)
    }

    fn cancel(&mut self, timer: Timer) -> io::Result<()> {
        drop(timer);
        Ok(())
    }

    fn put_off(&mut self, timer: &mut Timer, deadline: Instant) -> io::Result<()> {
        timer.set_at(deadline);
        Ok(())
    }
}
