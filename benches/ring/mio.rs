//! mio: edge-triggered, so each socket is read until there is nothing left.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use oneloop_benches::Stopwatch;

use crate::station::{Station, put, take};

pub fn run(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    for (key, station) in stations.iter().enumerate() {
        let fd = station.source.as_raw_fd();
        let registry = poll.registry();
        registry.register(&mut SourceFd(&fd), Token(key), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let Station { source, next } = &stations[event.token().0];
            loop {
                match take(source) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    taken => taken?,
                }
                put(next)?;
                if !stopwatch.count() {
                    return Ok(());
                }
            }
        }
    }
}
