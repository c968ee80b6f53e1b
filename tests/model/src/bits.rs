//! Readiness in the bits of poll(2), and what the contract says that a handler sees of it.

use oneloop::{Event, Interest, Ready};

pub(crate) const READABLE: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const WRITABLE: u8 = 4;
pub(crate) const ERROR: u8 = 8;
pub(crate) const HANGUP: u8 = 16;

/// Returns the part of `ready` that a handler with this interest is told: what it asked for. Hang-up and error come
/// unasked, as whatever it waits for; to one that waits for nothing, nothing comes.
pub(crate) fn seen(ready: u8, interest: u8) -> u8 {
    let fault = ready & (ERROR | HANGUP);
    match (interest, fault) {
        (0, _) => 0,
        (_, 0) => ready & interest,
        _ => ready & interest | fault | interest & (READABLE | WRITABLE),
    }
}

pub(crate) fn to_interest(bits: u8) -> Interest {
    let all = [
        (READABLE, Interest::READABLE),
        (PRIORITY, Interest::PRIORITY),
        (WRITABLE, Interest::WRITABLE),
    ];
    let asked = all.iter().filter(|(bit, _)| bits & bit != 0);
    asked.fold(Interest::NONE, |interest, (_, one)| interest | *one)
}

pub(crate) fn of_event(event: Event) -> u8 {
    let all = [
        (event.is_readable(), READABLE),
        (event.is_priority(), PRIORITY),
        (event.is_writable(), WRITABLE),
        (event.is_error(), ERROR),
        (event.is_hangup(), HANGUP),
    ];
    let set = all.iter().filter(|(is, _)| *is);
    set.fold(0, |bits, (_, bit)| bits | bit)
}

pub(crate) fn to_ready(bits: u8) -> Ready {
    let all = [
        (READABLE, Ready::READABLE),
        (PRIORITY, Ready::PRIORITY),
        (WRITABLE, Ready::WRITABLE),
        (ERROR, Ready::ERROR),
        (HANGUP, Ready::HANGUP),
    ];
    let set = all.iter().filter(|(bit, _)| bits & bit != 0);
    set.fold(Ready::NONE, |ready, (_, one)| ready | *one)
}

/// For people.
pub(crate) fn names(bits: u8) -> String {
    let all = "RPWEH".chars().enumerate();
    let set: String = all
        .filter(|(at, _)| bits & 1 << at != 0)
        .map(|(_, name)| name)
        .collect();
    if set.is_empty() { "-".into() } else { set }
}
