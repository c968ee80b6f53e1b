//! The yardstick: level-triggered epoll, a table, and nothing else.

use std::io;
use std::mem::MaybeUninit;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::conversation::{Conversation, Next};

pub fn run(conversations: Vec<Conversation>) -> io::Result<()> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let mut places = Vec::with_capacity(conversations.len());
    for (key, conversation) in (0..).zip(conversations) {
        let data = EventData::new_u64(key);
        epoll::add(&set, &conversation.socket, data, EventFlags::IN)?;
        places.push(Some((conversation, Next::Read)));
    }
    let mut open = places.len();
    // As many as oneloop, mio and polling take at once.
    let mut buffer = [MaybeUninit::uninit(); 1024];
    while open > 0 {
        let events = match epoll::wait(&set, &mut buffer[..], None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let place = &mut places[event.data.u64() as usize];
            let Some((conversation, awaited)) = place else {
                return Err(io::Error::other("an event of a connection that is closed"));
            };
            let Conversation { socket, replies } = conversation;
            let next = replies.serve(socket)?;
            if next == *awaited {
                continue;
            }
            *awaited = next;
            let flags = match next {
                Next::Read => EventFlags::IN,
                Next::Write => EventFlags::OUT,
                Next::End => {
                    *place = None;
                    open -= 1;
                    continue;
                }
            };
            epoll::modify(&set, socket, event.data, flags)?;
        }
    }
    Ok(())
}
