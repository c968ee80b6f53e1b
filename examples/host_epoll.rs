//! A loop of one's own, on epoll, that hosts a reactor beside a socket that only the loop knows.

mod help;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oneloop::{Reactor, Step};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const HOST: u64 = 0;
const SOCKET: u64 = 1;

const HELP: &str = "\
Runs a reactor inside an epoll loop, beside a socket of the loop's own.

Usage: cargo run --release --example host_epoll

  --help   this text";

/// Reads what the reactor's timer writes, until the reactor is stopped.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    help::print_if_asked(HELP);
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let reactor = Reactor::new()?;
    let stopper = reactor.remote();
    let mut left = 3;
    reactor.call_every(Duration::from_millis(10), move || {
        theirs.write_all(b"a line of the reactor's\n").unwrap();
        left -= 1;
        if left == 0 {
            stopper.stop();
        }
    })?;

    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &ours, EventData::new_u64(SOCKET), EventFlags::IN)?;
    let mut host = reactor.host("an epoll loop")?;
    let (mut bytes, mut events) = (0, Vec::<Event>::with_capacity(8));
    loop {
        let timeout = match host.step(100)? {
            Step::Watch => {
                epoll::add(&epoll, &host, EventData::new_u64(HOST), EventFlags::IN)?;
                continue;
            }
            Step::Unwatch => {
                epoll::delete(&epoll, &host)?;
                continue;
            }
            Step::Sleep => None,
            // The loop's own descriptors get their turn, and the reactor another.
            Step::Yield => Some(Default::default()),
            Step::Done => break,
        };
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), timeout.as_ref())?;
        for event in &events {
            if event.data.u64() == SOCKET {
                bytes += ours.read(&mut [0; 100])?;
            }
        }
    }
    println!("the loop has read {bytes} bytes");
    Ok(())
}
