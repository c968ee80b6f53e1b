//! polling, level-triggered.

use std::io;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use polling::{Event, Events, PollMode, Poller};

use crate::player::Player;

pub fn run(mut players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    let poller = Poller::new()?;
    let played = watch(&poller, &players).and_then(|()| play_on(&poller, &mut players, stopwatch));
    for player in &players {
        // Fails for those that were not added, if adding failed.
        let _ = poller.delete(&player.socket);
    }
    played
}

fn watch(poller: &Poller, players: &[Player]) -> io::Result<()> {
    for (key, player) in players.iter().enumerate() {
        let event = Event::readable(key);
        // SAFETY: the only caller deletes all sockets from the poller, and only then drops them. A
        // panic in between drops the poller first, which was made after them.
        unsafe { poller.add_with_mode(&player.socket, event, PollMode::Level) }?;
    }
    Ok(())
}

fn play_on(poller: &Poller, players: &mut [Player], stopwatch: &Stopwatch) -> io::Result<u64> {
    let mut changes = 0;
    let mut events = Events::new();
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            let Player { socket, play } = &mut players[event.key];
            let sent = play.ready(socket, |on| {
                changes += 1;
                let interest = Event::new(event.key, true, on);
                poller.modify_with_mode(&*socket, interest, PollMode::Level)
            })?;
            if sent && !stopwatch.count() {
                return Ok(changes);
            }
        }
    }
}
