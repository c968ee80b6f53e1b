//! async-channel, whose receiver is awaited in `async_io::block_on`.

use std::io;

use async_channel::{Sender, unbounded};

use crate::{Message, Post, Work};

#[derive(Clone)]
struct Poster(Sender<Message>);

impl Post for Poster {
    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        let sent = self.0.try_send(Some(Box::new(callback)));
        assert!(sent.is_ok(), "the task is there");
    }

    fn end(&self) {
        assert!(self.0.try_send(None).is_ok(), "the task is there");
    }
}

pub fn run(work: &Work) -> io::Result<()> {
    let (sender, receiver) = unbounded();
    work.begin(Poster(sender));
    async_io::block_on(async {
        while let Ok(Some(callback)) = receiver.recv().await {
            callback();
        }
    });
    Ok(())
}
