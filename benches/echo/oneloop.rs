//! oneloop: the same callbacks on three hosts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use oneloop::{Action, Interest, Mode, Reactor};

use crate::conversation::{Conversation, Next};

pub fn built_in(conversations: Vec<Conversation>) -> io::Result<()> {
    Ok(reactor(conversations)?.run()?)
}

pub fn on_tokio(conversations: Vec<Conversation>) -> io::Result<()> {
    let reactor = reactor(conversations)?;
    crate::tokio::runtime()?.block_on(oneloop_tokio::drive(&reactor))
}

pub fn on_async_io(conversations: Vec<Conversation>) -> io::Result<()> {
    let reactor = reactor(conversations)?;
    async_io::block_on(oneloop_async_io::drive(&reactor))
}

fn reactor(conversations: Vec<Conversation>) -> io::Result<Reactor> {
    let reactor = Reactor::new()?;
    let open = Arc::new(AtomicUsize::new(conversations.len()));
    for Conversation { socket, replies } in conversations {
        let (mut replies, mut awaited) = (replies, Next::Read);
        let (weak, open) = (reactor.downgrade(), open.clone());
        let handler = move |socket: &mut _, event: oneloop::Event| {
            let next = replies.serve(socket).expect("the client is there");
            if next == awaited {
                return Action::Continue;
            }
            awaited = next;
            let interest = match next {
                Next::Read => Interest::READABLE,
                Next::Write => Interest::WRITABLE,
                Next::End => {
                    if open.fetch_sub(1, Relaxed) == 1 {
                        weak.upgrade().expect("it runs").stop();
                    }
                    return Action::Remove;
                }
            };
            let updated = weak
                .upgrade()
                .expect("it runs")
                .update_handler(event.handler(), interest);
            updated.expect("the handler is there");
            Action::Continue
        };
        reactor.add_handler(socket, Interest::READABLE, Mode::Level, handler)?;
    }
    Ok(reactor)
}
