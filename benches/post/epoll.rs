//! The yardstick: std's mpsc, and an eventfd in an epoll loop.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::{Message, Post, Work};

/// The eventfd is written to after each message.
pub fn each(work: &Work) -> io::Result<()> {
    run(work, Waking::Each)
}

/// It is written to only if no thread has written since the loop last looked.
pub fn once(work: &Work) -> io::Result<()> {
    run(work, Waking::Once)
}

#[derive(Clone, Copy, PartialEq)]
enum Waking {
    Each,
    Once,
}

struct Wake {
    waking: Waking,
    eventfd: OwnedFd,
    told: AtomicBool,
}

#[derive(Clone)]
struct Poster {
    queue: Sender<Message>,
    wake: Arc<Wake>,
}

impl Poster {
    fn send(&self, message: Message) {
        self.queue.send(message).expect("the loop is there");
        if self.wake.waking == Waking::Each || !self.wake.told.swap(true, SeqCst) {
            let one = 1u64.to_ne_bytes();
            rustix::io::write(&self.wake.eventfd, &one).expect("the counter is low");
        }
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

fn run(work: &Work, waking: Waking) -> io::Result<()> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let wake = Arc::new(Wake {
        waking,
        eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        told: AtomicBool::new(false),
    });
    // Edge-triggered, so that it need not be read.
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&set, &wake.eventfd, EventData::new_u64(0), flags)?;
    let (queue, messages) = mpsc::channel();
    let poster = Poster {
        queue,
        wake: wake.clone(),
    };
    work.begin(poster);
    let mut buffer = [MaybeUninit::uninit(); 16];
    loop {
        match epoll::wait(&set, &mut buffer[..], None) {
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        wake.told.store(false, SeqCst);
        if !call_all(&messages) {
            return Ok(());
        }
    }
}

/// Calls all that are there. Returns false at the end.
pub fn call_all(messages: &Receiver<Message>) -> bool {
    while let Ok(message) = messages.try_recv() {
        match message {
            Some(callback) => callback(),
            None => return false,
        }
    }
    true
}
