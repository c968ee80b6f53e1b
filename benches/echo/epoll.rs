//! The yardstick: level-triggered epoll, a table, and nothing else; and the same for a loop that is
//! shown to another by one descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::conversation::{Conversation, Next};

pub fn run(conversations: Vec<Conversation>) -> io::Result<()> {
    serve(conversations, &epoll::create(CreateFlags::CLOEXEC)?, None)
}

/// Sleeps in another epoll set, which has this one in it, edge-triggered as runtimes have it. That is
/// told of no connection that is left over, so that one more look must have found nothing before.
pub fn nested(conversations: Vec<Conversation>) -> io::Result<()> {
    let [set, outer] = [(); 2].map(|()| epoll::create(CreateFlags::CLOEXEC));
    let (set, outer) = (set?, outer?);
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&outer, &set, EventData::new_u64(0), flags)?;
    serve(conversations, &set, Some(&outer))
}

fn serve(
    conversations: Vec<Conversation>,
    set: &OwnedFd,
    outer: Option<&OwnedFd>,
) -> io::Result<()> {
    let mut places = Vec::with_capacity(conversations.len());
    for (key, conversation) in (0..).zip(conversations) {
        let data = EventData::new_u64(key);
        epoll::add(set, &conversation.socket, data, EventFlags::IN)?;
        places.push(Some((conversation, Next::Read)));
    }
    let mut open = places.len();
    // As many as oneloop, mio and polling take at once.
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let timeout = outer.map(|_| &Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    });
    let mut idle = true;
    while open > 0 {
        if let Some(outer) = outer.filter(|_| idle) {
            match epoll::wait(outer, &mut [MaybeUninit::uninit()][..], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let events = match epoll::wait(set, &mut buffer[..], timeout) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        idle = events.is_empty();
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
            epoll::modify(set, socket, event.data, flags)?;
        }
    }
    Ok(())
}
