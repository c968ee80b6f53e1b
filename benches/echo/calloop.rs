//! calloop: a source per connection, which changes what it waits for when its event is over.

use std::cell::Cell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use calloop::generic::Generic;
use calloop::{
    EventLoop, EventSource, Interest, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
};

use crate::conversation::{Conversation, Next, Replies};

pub fn run(conversations: Vec<Conversation>) -> io::Result<()> {
    let mut events = EventLoop::<()>::try_new()?;
    let open = Rc::new(Cell::new(conversations.len()));
    for Conversation { socket, replies } in conversations {
        let served = Served {
            socket: Generic::new(socket, Interest::READ, Mode::Level),
            replies,
            awaited: Next::Read,
        };
        let (open, signal) = (open.clone(), events.get_signal());
        let handle = events.handle();
        let inserted = handle.insert_source(served, move |(), (), ()| {
            open.set(open.get() - 1);
            if open.get() == 0 {
                signal.stop();
            }
        });
        inserted.map_err(|refused| refused.error)?;
    }
    events.run(None, &mut (), |()| {})?;
    Ok(())
}

struct Served {
    socket: Generic<TcpStream>,
    replies: Replies,
    awaited: Next,
}

/// Its event is that the client is gone.
impl EventSource for Served {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<C>(
        &mut self,
        readiness: Readiness,
        token: Token,
        mut callback: C,
    ) -> io::Result<PostAction>
    where
        C: FnMut((), &mut ()),
    {
        let Served {
            socket,
            replies,
            awaited,
        } = self;
        let mut interest = None;
        let action = socket.process_events(readiness, token, |_, socket| {
            let next = replies.serve(socket)?;
            if next == *awaited {
                return Ok(PostAction::Continue);
            }
            *awaited = next;
            interest = Some(match next {
                Next::Read => Interest::READ,
                Next::Write => Interest::WRITE,
                Next::End => {
                    callback((), &mut ());
                    return Ok(PostAction::Remove);
                }
            });
            Ok(PostAction::Reregister)
        });
        if let Some(interest) = interest {
            socket.interest = interest;
        }
        action
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.socket.unregister(poll)
    }
}
