//! One end of a connection: what was read and not looked at, and what is to be written.

use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::message::Message;
use crate::stream::Stream;

pub struct Line {
    pub stream: Arc<Stream>,
    unread: Vec<u8>,
    seen: usize,
    unwritten: Vec<u8>,
    written: usize,
    end: Option<End>,
}

/// Nothing more will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The other side has said so.
    Orderly,
    /// The connection is gone, in both directions.
    Gone,
}

/// How many bytes may wait to be written before no more are read.
const MUCH: usize = 64 * 1024;

impl Line {
    pub fn new(stream: Arc<Stream>) -> Line {
        Line {
            stream,
            unread: Vec::new(),
            seen: 0,
            unwritten: Vec::new(),
            written: 0,
            end: None,
        }
    }

    /// Reads once. False if there was nothing, and there will be an event when there is.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match (&*self.stream).read(buffer) {
            Ok(0) => self.end = Some(End::Orderly),
            Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            Err(error) => return self.failed(error),
        }
        Ok(self.end.is_none())
    }

    /// Writes what it can. False if there is no room for the rest, and there will be an event when
    /// there is.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.has_output() {
            match (&*self.stream).write(&self.unwritten[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) => {
                    if !self.failed(error)? {
                        return Ok(false);
                    }
                }
            }
        }
        self.unwritten.clear();
        self.written = 0;
        Ok(true)
    }

    /// True if it is worth another try.
    fn failed(&mut self, error: io::Error) -> io::Result<bool> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Ok(true),
            io::ErrorKind::WouldBlock => {}
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                self.end = Some(End::Gone)
            }
            _ => return Err(error),
        }
        Ok(false)
    }

    pub fn push(&mut self, message: &Message) {
        message.write_to(&mut self.unwritten);
    }

    pub fn next_message(&mut self) -> Result<Option<Message>, String> {
        let next = Message::read_from(&self.unread[self.seen..])?;
        match next {
            Some((_, length)) => self.seen += length,
            None => drop(self.unread.drain(..std::mem::take(&mut self.seen))),
        }
        Ok(next.map(|(message, _)| message))
    }

    pub fn has_output(&self) -> bool {
        self.written < self.unwritten.len()
    }

    /// No more should be read or said before some of this is written.
    pub fn has_much_output(&self) -> bool {
        self.unwritten.len() - self.written > MUCH
    }

    /// The beginning of a message that did not come to its end.
    pub fn has_rest(&self) -> bool {
        self.seen < self.unread.len()
    }

    pub fn describe(&self) -> String {
        let kind = if self.stream.is_tcp() { "TCP" } else { "Unix" };
        let there = rustix::io::ioctl_fionread(&*self.stream).unwrap_or(0);
        format!(
            "{kind}, {there} bytes to read, {} to be written, {:?}",
            self.unwritten.len() - self.written,
            self.end
        )
    }

    pub fn end(&self) -> Option<End> {
        self.end
    }
}
