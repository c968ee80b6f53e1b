//! The chat's figures, for the page and the report, and how figures are written.

use std::cell::Cell;

#[derive(Default)]
pub struct Figures {
    /// Open connections.
    pub connections: Cell<u64>,
    /// Lines that came in.
    pub received: Cell<u64>,
    /// Lines that went out: each that comes in goes to all members of its room.
    pub sent: Cell<u64>,
    /// Lines of the async client's that came back to it.
    pub returned: Cell<u64>,
    /// The client is to end.
    pub ending: Cell<bool>,
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds as `0.12 ms`.
pub fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.2} ms", nanoseconds as f64 / 1e6)
}
