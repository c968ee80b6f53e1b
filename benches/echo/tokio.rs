//! tokio on one thread: a task per connection.

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::conversation::{Conversation, Next};

pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

pub fn run(conversations: Vec<Conversation>) -> io::Result<()> {
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for conversation in conversations {
            tasks.spawn(serve(conversation));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn serve(
    Conversation {
        socket,
        mut replies,
    }: Conversation,
) -> io::Result<()> {
    let both = Interest::READABLE | Interest::WRITABLE;
    // SAFETY: a `TcpStream` has one descriptor, open for as long as it lives.
    let socket = unsafe { AsyncFd::register_with_interest(socket, both) }?;
    let mut interest = Interest::READABLE;
    loop {
        let mut ready = socket.ready(interest).await?;
        // Bytes that have come since stay: tokio's own sockets do it like that after a short read, too.
        let next = replies.serve(socket.get_ref())?;
        ready.clear_ready();
        interest = match next {
            Next::Read => Interest::READABLE,
            Next::Write => Interest::WRITABLE,
            Next::End => return Ok(()),
        };
    }
}
