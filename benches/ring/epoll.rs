//! The yardstick: level-triggered epoll, a table, and nothing else.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::station::{Station, pass};

pub fn run(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    for (key, station) in (0..).zip(&stations) {
        let data = EventData::new_u64(key);
        epoll::add(&set, &station.source, data, EventFlags::IN)?;
    }
    // As many as oneloop, mio and polling take at once.
    let mut buffer = [MaybeUninit::uninit(); 1024];
    loop {
        let events = match epoll::wait(&set, &mut buffer[..], None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let station = &stations[event.data.u64() as usize];
            pass(&station.source, &station.next)?;
            if !stopwatch.count() {
                return Ok(());
            }
        }
    }
}
