use std::fmt;
use std::ops::{BitOr, BitOrAssign, Sub, SubAssign};

use crate::HandlerId;

// The bits of poll(2) and epoll.
const READABLE: u8 = 1;
const PRIORITY: u8 = 2;
const WRITABLE: u8 = 4;
const ERROR: u8 = 8;
const HANGUP: u8 = 16;
// EPOLLRDHUP and POLLRDHUP, eight bits lower.
const READ_CLOSED: u8 = 32;

/// The readiness that a handler waits for. Values combine with `|`.
///
/// ```
/// use oneloop::Interest;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.contains(Interest::WRITABLE) && !both.contains(Interest::PRIORITY));
/// assert_eq!(both - Interest::WRITABLE, Interest::READABLE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interest(u8);

impl Interest {
    /// Nothing: the handler is paused and not told of hang-ups or errors either.
    pub const NONE: Interest = Interest(0);
    /// Data, a connection to accept, or the end of the stream.
    pub const READABLE: Interest = Interest(READABLE);
    /// Room to write, or a connection attempt that has ended.
    pub const WRITABLE: Interest = Interest(WRITABLE);
    /// Exceptional data, such as TCP's out-of-band byte. kqueue does not report it, so it is refused there.
    pub const PRIORITY: Interest = Interest(PRIORITY);
    /// The end of the peer's data: the peer has closed the socket or shut down its writing half. Bytes may
    /// still be waiting before the end. The handler learns of it without reading them.
    ///
    /// A handler that waits for [`READABLE`](Self::READABLE) also learns of it. The end is a state and not an
    /// event, so every turn from then on calls a level-triggered handler.
    ///
    /// Only the epoll poller reports it. [`PollerKind::Polling`](crate::PollerKind) refuses it.
    pub const READ_CLOSED: Interest = Interest(READ_CLOSED);

    /// Returns true if every bit of `other` is set.
    pub const fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true for [`Interest::NONE`].
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Interest {
        Interest(bits)
    }

    /// Adds the end of the stream to the interest of readers. Every event passes here, hence no branch.
    #[inline]
    pub(crate) fn with_end_of_stream(self) -> Interest {
        const UP: u32 = READ_CLOSED.trailing_zeros() - READABLE.trailing_zeros();
        Interest(self.0 | (self.0 & READABLE) << UP)
    }
}

impl BitOr for Interest {
    type Output = Interest;
    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        self.0 |= other.0;
    }
}

/// Removes bits from a set.
impl Sub for Interest {
    type Output = Interest;
    fn sub(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }
}

impl SubAssign for Interest {
    fn sub_assign(&mut self, other: Interest) {
        self.0 &= !other.0;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bits(f, "Interest", self.0)
    }
}

/// The times at which a handler is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In every turn in which the descriptor is ready. C libraries and most callback code expect this:
    /// nothing is lost if the handler reads only a part.
    Level,
    /// For each new readiness, and perhaps more often. Readiness at registration counts. The handler
    /// must read or write until `WouldBlock`, or return [`Action::Again`].
    Edge,
    /// Once. `update_handler` arms the handler again.
    Oneshot,
}

/// A handler's decision about its next call. [`IntoAction`](crate::IntoAction) lists the other results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Action {
    /// Keep the handler as it is.
    Continue,
    /// Call the handler again in the next turn, even if the descriptor is not ready. This serves bytes
    /// which a TLS layer has already decrypted, and edge handlers which stop early to be fair.
    ///
    /// If the handler is paused ([`Interest::NONE`]), the call is kept until it is resumed.
    Again,
    /// Remove the handler and drop its source.
    Remove,
}

/// One call of a handler: its id, and the readiness of its source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    handler: HandlerId,
    ready: Ready,
}

impl Event {
    pub(crate) fn new(handler: HandlerId, ready: Ready) -> Event {
        Event { handler, ready }
    }

    /// Returns the id of the handler that is being called.
    pub fn handler(&self) -> HandlerId {
        self.handler
    }

    /// Returns the whole readiness of the source. The methods below return its bits one by one.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor, Ready, VirtualSource};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (source, readiness) = VirtualSource::pair();
    /// reactor.add_handler(source, Interest::READABLE, Mode::Edge, |_, event| {
    ///     assert_eq!(event.ready(), Ready::READABLE);
    /// })?;
    /// readiness.set(Ready::READABLE);
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ready(&self) -> Ready {
        self.ready
    }

    /// Returns true if reading will not block.
    ///
    /// Another handler of the descriptor may have read first, because all of them learn what the kernel
    /// reported before the first was called. The bit is also set beside [`is_hangup`](Self::is_hangup) and
    /// [`is_error`](Self::is_error). Reading then shows what has happened.
    pub fn is_readable(&self) -> bool {
        self.ready.0 & READABLE != 0
    }

    /// Returns true if writing will not block, or will report a hang-up or an error.
    ///
    /// Another handler of the descriptor may have written first.
    pub fn is_writable(&self) -> bool {
        self.ready.0 & WRITABLE != 0
    }

    /// Returns true if exceptional data is there.
    pub fn is_priority(&self) -> bool {
        self.ready.0 & PRIORITY != 0
    }

    /// Returns true if the peer sends nothing more.
    ///
    /// Bytes may still be there to read. A handler must not take a short read for the last one. Handlers that
    /// wait for [`READABLE`](Interest::READABLE) or [`READ_CLOSED`](Interest::READ_CLOSED) learn of it, if
    /// the poller reports it.
    pub fn is_read_closed(&self) -> bool {
        self.ready.0 & READ_CLOSED != 0
    }

    /// Returns true if the peer is gone in both directions. Bytes that came before can still be read.
    pub fn is_hangup(&self) -> bool {
        self.ready.0 & HANGUP != 0
    }

    /// Returns true if the descriptor has an error pending.
    pub fn is_error(&self) -> bool {
        self.ready.0 & ERROR != 0
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.handler)?;
        write_bits(f, "Event", self.ready.0)
    }
}

/// The readiness of a source. Values combine with `|`.
///
/// The owner of a [`VirtualSource`](crate::VirtualSource) sets it. For descriptors it comes from the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const NONE: Ready = Ready(0);
    /// Reading will not block.
    pub const READABLE: Ready = Ready(READABLE);
    /// Writing will not block.
    pub const WRITABLE: Ready = Ready(WRITABLE);
    /// Exceptional data is there.
    pub const PRIORITY: Ready = Ready(PRIORITY);
    /// The other side sends nothing more.
    pub const READ_CLOSED: Ready = Ready(READ_CLOSED);
    /// The other side is gone in both directions. Every handler that waits for anything is told, through the
    /// bits that it waits for.
    pub const HANGUP: Ready = Ready(HANGUP);
    /// An error is pending. It is reported like a hang-up.
    pub const ERROR: Ready = Ready(ERROR);

    /// Returns true if every bit of `other` is set.
    pub const fn contains(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true for [`Ready::NONE`].
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn without(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }

    /// Converts the bits that poll(2) and epoll report.
    #[cfg(epoll)]
    pub(crate) fn from_poll(bits: u32) -> Ready {
        let low = READABLE | PRIORITY | WRITABLE | ERROR | HANGUP;
        Ready(bits as u8 & low | (bits >> 8) as u8 & READ_CLOSED)
    }

    #[cfg(portable)]
    pub(crate) fn from_polling(event: &polling::Event) -> Ready {
        let bits = [
            (event.readable, READABLE),
            (event.writable, WRITABLE),
            (event.is_priority(), PRIORITY),
            (event.is_interrupt(), HANGUP),
            (event.is_err() == Some(true), ERROR),
        ];
        let set = bits.into_iter().filter(|(is, _)| *is);
        Ready(set.fold(0, |set, (_, bit)| set | bit))
    }

    /// Returns everything that was asked for. The peer's closing is included only if nothing else was
    /// asked for, since it would be a guess.
    pub(crate) fn all(interest: Interest) -> Ready {
        match interest.0 & !READ_CLOSED {
            0 => Ready(interest.0),
            bits => Ready(bits),
        }
    }

    /// Returns the bits that a handler with `interest` sees. A hang-up or an error counts as everything
    /// that the handler waits for, so that code which only reads, or only writes, finds out.
    pub(crate) fn seen_by(self, interest: Interest) -> Ready {
        let asked = interest.with_end_of_stream().0;
        match self.0 & (HANGUP | ERROR) {
            0 => Ready(self.0 & asked),
            fault => self.seen_with_fault(fault, asked),
        }
    }

    #[cold]
    fn seen_with_fault(self, fault: u8, asked: u8) -> Ready {
        if asked == 0 {
            return Ready::NONE;
        }
        let end = if fault & HANGUP != 0 { READ_CLOSED } else { 0 };
        let told = self.0 | READABLE | WRITABLE | end;
        Ready(told & asked | fault)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bits(f, "Ready", self.0)
    }
}

impl BitOr for Ready {
    type Output = Ready;
    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

fn write_bits(f: &mut fmt::Formatter<'_>, name: &str, bits: u8) -> fmt::Result {
    let names = [
        "READABLE",
        "PRIORITY",
        "WRITABLE",
        "ERROR",
        "HANGUP",
        "READ_CLOSED",
    ];
    let set: Vec<_> = (0..names.len())
        .filter(|bit| bits & 1 << bit != 0)
        .map(|bit| names[bit])
        .collect();
    if set.is_empty() {
        write!(f, "{name}(NONE)")
    } else {
        write!(f, "{name}({})", set.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_seen_as_what_was_asked_for() {
        let gone = Ready(HANGUP | READABLE);
        assert_eq!(gone.seen_by(Interest::WRITABLE), Ready(HANGUP | WRITABLE));
        assert_eq!(gone.seen_by(Interest::PRIORITY), Ready(HANGUP));
        assert_eq!(gone.seen_by(Interest::NONE), Ready::NONE);
        let closed = gone.seen_by(Interest::READ_CLOSED);
        assert_eq!(closed, Ready(HANGUP | READ_CLOSED));
    }

    #[test]
    fn bits_outside_the_interest_are_masked() {
        let all = Ready(READABLE | WRITABLE | PRIORITY);
        assert_eq!(all.seen_by(Interest::READABLE), Ready(READABLE));
    }

    #[test]
    fn the_end_of_the_stream_is_seen_by_readers() {
        let end = Ready(READABLE | READ_CLOSED);
        assert_eq!(end.seen_by(Interest::READABLE), end);
        assert_eq!(end.seen_by(Interest::READ_CLOSED), Ready(READ_CLOSED));
        assert_eq!(end.seen_by(Interest::WRITABLE), Ready::NONE);
        assert_eq!(Ready(ERROR).seen_by(Interest::READ_CLOSED), Ready(ERROR));
    }

    #[test]
    fn bits_print_by_name() {
        assert_eq!(format!("{:?}", Interest::NONE), "Interest(NONE)");
        let two = Interest::READABLE | Interest::PRIORITY;
        assert_eq!(format!("{two:?}"), "Interest(READABLE | PRIORITY)");
    }
}
