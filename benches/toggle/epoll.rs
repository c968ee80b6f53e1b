//! The yardstick: level-triggered epoll, a table, and a list of what may have changed.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::player::Player;

struct Watched {
    player: Player,
    known: EventFlags,
    wanted: EventFlags,
    /// It is in the list.
    listed: bool,
}

pub fn run(players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let mut places = Vec::with_capacity(players.len());
    for (key, player) in (0..).zip(players) {
        let known = EventFlags::IN;
        epoll::add(&set, &player.socket, EventData::new_u64(key), known)?;
        places.push(Watched {
            player,
            known,
            wanted: known,
            listed: false,
        });
    }
    let mut changes = 0;
    let mut list: Vec<u64> = Vec::new();
    // As many as oneloop, mio and polling take at once.
    let mut buffer = [MaybeUninit::uninit(); 1024];
    loop {
        for key in list.drain(..) {
            let place = &mut places[key as usize];
            place.listed = false;
            if place.wanted != place.known {
                let data = EventData::new_u64(key);
                epoll::modify(&set, &place.player.socket, data, place.wanted)?;
                place.known = place.wanted;
                changes += 1;
            }
        }
        let events = match epoll::wait(&set, &mut buffer[..], None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let key = event.data.u64();
            let Watched {
                player: Player { socket, play },
                wanted,
                listed,
                ..
            } = &mut places[key as usize];
            let sent = play.ready(socket, |on| {
                wanted.set(EventFlags::OUT, on);
                if !*listed {
                    *listed = true;
                    list.push(key);
                }
                Ok(())
            })?;
            if sent && !stopwatch.count() {
                return Ok(changes);
            }
        }
    }
}
