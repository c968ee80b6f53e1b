//! Loops that know nothing of oneloop but that it has a descriptor and a function to call.

use std::io;

use oneloop::{Host, Reactor, Shared, Step};
use oneloop_conformance::{HostUnderTest, Outside, wait_readable};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// On poll(2), which watches nothing in between, with one turn at a time.
pub struct PollLoop;

impl HostUnderTest for PollLoop {
    fn new() -> Self {
        PollLoop
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.host(reactor.host("a poll loop")?, outside)
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        let host = reactor.host("a poll loop")?.exit_when_empty();
        self.host(host, Box::new(|| {}))
    }
}

impl PollLoop {
    fn host(&self, mut host: Host<Shared>, outside: Outside) -> io::Result<()> {
        let mut outside = Some(outside);
        loop {
            match host.step(1)? {
                Step::Watch | Step::Unwatch => {}
                Step::Sleep => {
                    outside.take().into_iter().for_each(|outside| outside());
                    wait_readable(&host);
                }
                // It is level-triggered.
                Step::Yield => wait_readable(&host),
                Step::Done => return Ok(()),
            }
        }
    }
}

/// Edge-triggered.
pub struct EpollLoop;

impl HostUnderTest for EpollLoop {
    fn new() -> Self {
        EpollLoop
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.host(reactor.host("an epoll loop")?, outside)
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        let host = reactor.host("an epoll loop")?.exit_when_empty();
        self.host(host, Box::new(|| {}))
    }
}

impl EpollLoop {
    fn host(&self, mut host: Host<Shared>, outside: Outside) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = EventFlags::IN | EventFlags::ET;
        let mut outside = Some(outside);
        let mut events = Vec::with_capacity(4);
        loop {
            match host.step(3)? {
                Step::Watch => epoll::add(&epoll, &host, EventData::new_u64(0), flags)?,
                Step::Unwatch => epoll::delete(&epoll, &host)?,
                Step::Sleep => {
                    outside.take().into_iter().for_each(|outside| outside());
                    events.clear();
                    match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Step::Yield => {}
                Step::Done => return Ok(()),
            }
        }
    }
}
