//! mio: edge-triggered; registering again reports what is ready.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use oneloop_benches::Stopwatch;

use crate::player::Player;

pub fn run(mut players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    let mut poll = Poll::new()?;
    for (key, player) in players.iter().enumerate() {
        let fd = player.socket.as_raw_fd();
        let registry = poll.registry();
        registry.register(&mut SourceFd(&fd), Token(key), Interest::READABLE)?;
    }
    let mut changes = 0;
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let Player { socket, play } = &mut players[event.token().0];
            let sent = play.ready(socket, |on| {
                changes += 1;
                let interest = if on {
                    Interest::READABLE | Interest::WRITABLE
                } else {
                    Interest::READABLE
                };
                let (registry, fd) = (poll.registry(), socket.as_raw_fd());
                registry.reregister(&mut SourceFd(&fd), event.token(), interest)
            })?;
            if sent && !stopwatch.count() {
                return Ok(changes);
            }
        }
    }
}
