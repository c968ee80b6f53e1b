//! calloop: its channel.

use std::io;

use calloop::EventLoop;
use calloop::channel::{self, Event, Sender};

use crate::{Message, Post, Work};

#[derive(Clone)]
struct Poster(Sender<Message>);

impl Post for Poster {
    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        let sent = self.0.send(Some(Box::new(callback)));
        assert!(sent.is_ok(), "the loop is there");
    }

    fn end(&self) {
        assert!(self.0.send(None).is_ok(), "the loop is there");
    }
}

pub fn run(work: &Work) -> io::Result<()> {
    let mut events = EventLoop::<()>::try_new()?;
    let (sender, receiver) = channel::channel::<Message>();
    let signal = events.get_signal();
    let inserted = events
        .handle()
        .insert_source(receiver, move |event, (), ()| match event {
            Event::Msg(Some(callback)) => callback(),
            Event::Msg(None) | Event::Closed => signal.stop(),
        });
    inserted.map_err(|refused| refused.error)?;
    work.begin(Poster(sender));
    events.run(None, &mut (), |()| {})?;
    Ok(())
}
