//! Two loops that know nothing of oneloop but that it has a descriptor and a function to call.

use std::io;
use std::time::Duration;

use oneloop::Reactor;
use oneloop_conformance::{HostUnderTest, Outside, wait_readable};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Level-triggered, with one turn per wake.
pub struct PollLoop;

impl HostUnderTest for PollLoop {
    fn new() -> Self {
        PollLoop
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        let mut outside = Some(outside);
        loop {
            let turn = reactor.turn(Some(Duration::ZERO))?;
            if turn.stopped {
                return Ok(());
            }
            if turn.needs_rebuild {
                reactor.rebuild()?;
            }
            if turn.idle {
                outside.take().into_iter().for_each(|outside| outside());
            }
            wait_readable(reactor);
        }
    }
}

/// Edge-triggered, turning until idle.
pub struct EpollLoop;

impl HostUnderTest for EpollLoop {
    fn new() -> Self {
        EpollLoop
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        let mut host = reactor.host("an epoll loop")?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &host, EventData::new_u64(0), flags)?;
        let mut outside = Some(outside);
        let mut events = Vec::with_capacity(4);
        loop {
            let turn = host.turn(3)?;
            if turn.stopped {
                return Ok(());
            }
            if turn.needs_rebuild {
                epoll::delete(&epoll, &host)?;
                host.rebuild()?;
                epoll::add(&epoll, &host, EventData::new_u64(0), flags)?;
            }
            if !turn.idle {
                continue;
            }
            if let Some(outside) = outside.take() {
                outside();
            }
            events.clear();
            match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
