//! libuv: a `uv_async_t` wakes it, and it takes from std's mpsc.

use std::io;
use std::sync::mpsc::{self, Sender};

use oneloop_benches::c_posts::{Libuv, Wake};

use crate::epoll::call_all;
use crate::{Message, Post, Work};

#[derive(Clone)]
struct Poster {
    queue: Sender<Message>,
    wake: Wake,
}

impl Poster {
    fn send(&self, message: Message) {
        self.queue.send(message).expect("the loop is there");
        self.wake.wake();
    }
}

impl Post for Poster {
    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        self.send(Some(Box::new(callback)));
    }

    fn end(&self) {
        self.send(None);
    }
}

pub fn run(work: &Work) -> io::Result<()> {
    let (queue, messages) = mpsc::channel();
    let (libuv, wake) = Libuv::new()?;
    work.begin(Poster { queue, wake });
    libuv.run(|| call_all(&messages));
    Ok(())
}
