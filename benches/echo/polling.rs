//! polling, level-triggered.

use std::io;

use polling::{Event, Events, PollMode, Poller};

use crate::conversation::{Conversation, Next};

pub fn run(mut conversations: Vec<Conversation>) -> io::Result<()> {
    let poller = Poller::new()?;
    let served = watch(&poller, &conversations).and_then(|()| serve(&poller, &mut conversations));
    for conversation in &conversations {
        // Fails for those that have ended, and for those that were not added, if adding failed.
        let _ = poller.delete(&conversation.socket);
    }
    served
}

fn watch(poller: &Poller, conversations: &[Conversation]) -> io::Result<()> {
    for (key, conversation) in conversations.iter().enumerate() {
        let event = Event::readable(key);
        // SAFETY: the only caller deletes all of them from the poller, and only then drops them. A
        // panic in between drops the poller first, which was made after them.
        unsafe { poller.add_with_mode(&conversation.socket, event, PollMode::Level) }?;
    }
    Ok(())
}

fn serve(poller: &Poller, conversations: &mut [Conversation]) -> io::Result<()> {
    let mut awaited = vec![Next::Read; conversations.len()];
    let mut open = conversations.len();
    let mut events = Events::new();
    while open > 0 {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            let (key, awaited) = (event.key, &mut awaited[event.key]);
            let Conversation { socket, replies } = &mut conversations[key];
            let next = replies.serve(socket)?;
            if next == *awaited {
                continue;
            }
            *awaited = next;
            let event = match next {
                Next::Read => Event::readable(key),
                Next::Write => Event::writable(key),
                Next::End => {
                    poller.delete(socket)?;
                    open -= 1;
                    continue;
                }
            };
            poller.modify_with_mode(socket, event, PollMode::Level)?;
        }
    }
    Ok(())
}
