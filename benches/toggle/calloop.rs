//! calloop: a source per player, whose interest is changed from outside and told by its handle.

use std::cell::Cell;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use calloop::generic::{Generic, NoIoDrop};
use calloop::{
    EventLoop, EventSource, Interest, LoopHandle, Mode, Poll, PostAction, Readiness, Token,
    TokenFactory,
};
use oneloop_benches::Stopwatch;

use crate::player::Player;

pub fn run(players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    let mut events = EventLoop::<Client>::try_new()?;
    let handle = events.handle();
    let changes = Rc::new(Cell::new(0));
    for Player { socket, mut play } in players {
        let wanted = Rc::new(Cell::new(Interest::READ));
        let source = Watched {
            socket: Generic::new(socket, wanted.get(), Mode::Level),
            wanted: wanted.clone(),
            changes: changes.clone(),
        };
        let own_token = Rc::new(Cell::new(None));
        let token = own_token.clone();
        let (stopwatch, signal) = (stopwatch.clone(), events.get_signal());
        let inserted = handle.insert_source(source, move |_, socket, client| {
            let sent = play.ready(socket, |on| {
                wanted.set(if on { Interest::BOTH } else { Interest::READ });
                let token = token.get().expect("it was inserted");
                client.handle.update(&token).map_err(io::Error::other)
            })?;
            if sent && !stopwatch.count() {
                signal.stop();
            }
            Ok(PostAction::Continue)
        });
        own_token.set(Some(inserted.map_err(|refused| refused.error)?));
    }
    events.run(None, &mut Client { handle }, |_| {})?;
    Ok(changes.get())
}

/// The data that callbacks are given: with a handle of their own they would keep the loop for ever.
struct Client {
    handle: LoopHandle<'static, Client>,
}

struct Watched {
    socket: Generic<UnixStream>,
    wanted: Rc<Cell<Interest>>,
    changes: Rc<Cell<u64>>,
}

impl EventSource for Watched {
    type Event = Readiness;
    type Metadata = NoIoDrop<UnixStream>;
    type Ret = io::Result<PostAction>;
    type Error = io::Error;

    fn process_events<C>(
        &mut self,
        readiness: Readiness,
        token: Token,
        callback: C,
    ) -> io::Result<PostAction>
    where
        C: FnMut(Readiness, &mut NoIoDrop<UnixStream>) -> io::Result<PostAction>,
    {
        self.socket.process_events(readiness, token, callback)
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.changes.set(self.changes.get() + 1);
        self.socket.interest = self.wanted.get();
        self.socket.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.socket.unregister(poll)
    }
}
