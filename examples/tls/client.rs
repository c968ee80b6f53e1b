//! The client: sends letters, checks that they come back in capitals, and ends.

use std::io::{self, Read, Write};

use crate::session::{App, Session};

/// How many letters are made at a time.
const CHUNK: u64 = 64 * 1024;

pub struct Client<F> {
    bytes: u64,
    sent: u64,
    received: u64,
    buffer: Box<[u8]>,
    over: F,
}

impl<F: FnMut(io::Result<()>)> Client<F> {
    /// A client that sends so many bytes.
    pub fn new(bytes: u64, over: F) -> Client<F> {
        Client {
            bytes,
            sent: 0,
            received: 0,
            buffer: vec![0; 16 * 1024].into(),
            over,
        }
    }

    fn send(&mut self, session: &mut Session) -> io::Result<()> {
        while self.sent < self.bytes {
            let end = self.bytes.min(self.sent + CHUNK);
            let letters: Vec<u8> = (self.sent..end).map(letter).collect();
            self.sent += session.write(&letters)? as u64;
        }
        session.close();
        Ok(())
    }

    fn receive(&mut self, session: &mut Session) -> io::Result<()> {
        loop {
            let length = session.read(&mut self.buffer)?;
            if length == 0 {
                return if self.received == self.bytes {
                    Ok(())
                } else {
                    Err(io::Error::other("not all of it came back"))
                };
            }
            for byte in &self.buffer[..length] {
                if *byte != letter(self.received).to_ascii_uppercase() {
                    let why = format!("byte {} came back wrong", self.received);
                    return Err(io::Error::other(why));
                }
                self.received += 1;
            }
        }
    }
}

impl<F: FnMut(io::Result<()>)> App for Client<F> {
    fn ready(&mut self, session: &mut Session) -> io::Result<()> {
        match self.send(session) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => self.receive(session),
        }
    }

    fn over(&mut self, how: io::Result<()>) {
        (self.over)(how);
    }
}

/// The letter at a place, with no short period.
fn letter(place: u64) -> u8 {
    b'a' + ((place ^ place >> 7 ^ place >> 16) % 26) as u8
}
