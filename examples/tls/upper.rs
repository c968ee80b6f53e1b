//! The server: sends back in capitals what it gets, until the client is done.

use std::io::{self, Read, Write};
use std::ops::Range;

use crate::session::{App, Session};

pub struct Upper<F> {
    buffer: Box<[u8]>,
    /// The part that is not written yet.
    full: Range<usize>,
    over: F,
}

impl<F: FnMut(io::Result<()>)> Upper<F> {
    pub fn new(over: F) -> Upper<F> {
        Upper {
            buffer: vec![0; 16 * 1024].into(),
            full: 0..0,
            over,
        }
    }
}

impl<F: FnMut(io::Result<()>)> App for Upper<F> {
    /// A client that does not read fills the session's queue. The write fails then, and nothing
    /// more is read: the client is held back, and the server's memory is bounded.
    fn ready(&mut self, session: &mut Session) -> io::Result<()> {
        loop {
            while !self.full.is_empty() {
                self.full.start += session.write(&self.buffer[self.full.clone()])?;
            }
            let length = session.read(&mut self.buffer)?;
            if length == 0 {
                session.close();
                return Ok(());
            }
            self.buffer[..length].make_ascii_uppercase();
            self.full = 0..length;
        }
    }

    fn over(&mut self, how: io::Result<()>) {
        (self.over)(how);
    }
}
