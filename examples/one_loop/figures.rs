//! What the chat has done, for the page and the report.

use std::cell::Cell;
use std::time::Instant;

use crate::args::Host;

pub struct Figures {
    pub host: Host,
    pub started: Instant,
    /// Open connections.
    pub connections: Cell<u64>,
    /// Lines that came in.
    pub received: Cell<u64>,
    /// Lines that went out: each that comes in goes to all members of its room.
    pub sent: Cell<u64>,
    /// Lines of the async client's that came back to it.
    pub returned: Cell<u64>,
}

impl Figures {
    pub fn new(host: Host) -> Figures {
        Figures {
            host,
            started: Instant::now(),
            connections: Cell::new(0),
            received: Cell::new(0),
            sent: Cell::new(0),
            returned: Cell::new(0),
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
