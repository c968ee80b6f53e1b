//! async-io under a local executor: a task per connection.

use std::io;

use async_executor::LocalExecutor;
use async_io::Async;

use crate::conversation::{Conversation, Next};

pub fn run(conversations: Vec<Conversation>) -> io::Result<()> {
    let executor = LocalExecutor::new();
    let tasks: Vec<_> = conversations
        .into_iter()
        .map(|conversation| executor.spawn(serve(conversation)))
        .collect();
    async_io::block_on(executor.run(async {
        for task in tasks {
            task.await?;
        }
        Ok(())
    }))
}

async fn serve(
    Conversation {
        socket,
        mut replies,
    }: Conversation,
) -> io::Result<()> {
    let socket = Async::new_nonblocking(socket)?;
    let mut next = Next::Read;
    loop {
        // It first waits: `read_with` would first try, which is in vain for a client that waits for
        // the reply.
        match next {
            Next::Read => socket.readable().await?,
            Next::Write => socket.writable().await?,
            Next::End => return Ok(()),
        }
        next = replies.serve(socket.get_ref())?;
    }
}
