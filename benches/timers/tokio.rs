use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::time::{Sleep, sleep_until};

pub struct Tokio(Runtime);

/// Has it waited for, which is when it is set.
fn poll(sleep: &mut Pin<Box<Sleep>>) {
    let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

impl Tokio {
    pub fn new(_most: usize) -> io::Result<Tokio> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Ok(Tokio(runtime.enable_time().build()?))
    }
}

impl crate::Loop for Tokio {
    type Timer = Pin<Box<Sleep>>;

    fn set(&mut self, deadline: Instant) -> io::Result<Self::Timer> {
        let _inside = self.0.enter();
        let mut sleep = Box::pin(sleep_until(deadline.into()));
        poll(&mut sleep);
        Ok(sleep)
    }

    fn cancel(&mut self, timer: Self::Timer) -> io::Result<()> {
        drop(timer);
        Ok(())
    }

    fn put_off(&mut self, timer: &mut Self::Timer, deadline: Instant) -> io::Result<()> {
        timer.as_mut().reset(deadline.into());
        poll(timer);
        Ok(())
    }
}
