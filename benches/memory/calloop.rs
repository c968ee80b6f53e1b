use std::hint::black_box;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, Mode, PostAction};

use crate::Number;

/// It looks through all of its sources to add one: more than this would take an hour.
const MOST: usize = 100_000;

fn empty(room: usize) -> io::Result<EventLoop<'static, ()>> {
    if room > MOST {
        Err(io::ErrorKind::Unsupported.into())
    } else {
        Ok(EventLoop::try_new()?)
    }
}

pub fn handlers(fds: Vec<OwnedFd>) -> io::Result<EventLoop<'static, ()>> {
    let events = empty(fds.len())?;
    for (number, fd) in fds.into_iter().enumerate() {
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let inserted = events.handle().insert_source(source, move |_, _, ()| {
            black_box::<Number>(number);
            Ok(PostAction::Continue)
        });
        inserted.map_err(|refused| refused.error)?;
    }
    Ok(events)
}

pub fn timers(deadlines: Vec<Instant>) -> io::Result<EventLoop<'static, ()>> {
    let events = empty(deadlines.len())?;
    for (number, deadline) in deadlines.into_iter().enumerate() {
        let timer = Timer::from_deadline(deadline);
        let inserted = events.handle().insert_source(timer, move |_, (), ()| {
            black_box::<Number>(number);
            TimeoutAction::Drop
        });
        inserted.map_err(|refused| refused.error)?;
    }
    Ok(events)
}
