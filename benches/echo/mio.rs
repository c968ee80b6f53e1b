//! mio: edge-triggered, for which a short read will do as well as one that would block.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::conversation::{Conversation, Next};

pub fn run(conversations: Vec<Conversation>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut places = Vec::with_capacity(conversations.len());
    for (key, conversation) in conversations.into_iter().enumerate() {
        let fd = conversation.socket.as_raw_fd();
        let registry = poll.registry();
        registry.register(&mut SourceFd(&fd), Token(key), Interest::READABLE)?;
        places.push(Some((conversation, Next::Read)));
    }
    let mut open = places.len();
    let mut events = Events::with_capacity(1024);
    while open > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let place = &mut places[event.token().0];
            let Some((conversation, awaited)) = place else {
                return Err(io::Error::other("an event of a connection that is closed"));
            };
            let Conversation { socket, replies } = conversation;
            let next = replies.serve(socket)?;
            if next == *awaited {
                continue;
            }
            *awaited = next;
            let fd = socket.as_raw_fd();
            let interest = match next {
                Next::Read => Interest::READABLE,
                Next::Write => Interest::WRITABLE,
                Next::End => {
                    poll.registry().deregister(&mut SourceFd(&fd))?;
                    *place = None;
                    open -= 1;
                    continue;
                }
            };
            let registry = poll.registry();
            registry.reregister(&mut SourceFd(&fd), event.token(), interest)?;
        }
    }
    Ok(())
}
