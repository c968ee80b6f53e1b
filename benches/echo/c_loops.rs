//! libev, libevent and libuv: the same callback from C.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use oneloop_benches::c_loops::{self, Watch};

use crate::conversation::{Conversation, Next};

pub fn libev(mut conversations: Vec<Conversation>) -> io::Result<()> {
    c_loops::libev(&mut conversations, serve)
}

pub fn libevent(mut conversations: Vec<Conversation>) -> io::Result<()> {
    c_loops::libevent(&mut conversations, serve)
}

pub fn libuv(mut conversations: Vec<Conversation>) -> io::Result<()> {
    c_loops::libuv(&mut conversations, serve)
}

/// All of these loops end when nothing is watched any more.
fn serve(conversation: &mut Conversation) -> io::Result<c_loops::Next> {
    let Conversation { socket, replies } = conversation;
    Ok(c_loops::Next::Go(match replies.serve(socket)? {
        Next::Read => Watch::READ,
        Next::Write => Watch::WRITE,
        Next::End => Watch::NONE,
    }))
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
