//! What all loops pass tokens along.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Reads from one socket pair and writes into the next.
pub struct Station {
    pub source: UnixStream,
    pub next: UnixStream,
}

/// A ring of stations with tokens lying ready, spread evenly.
pub fn ring(pairs: usize, tokens: usize) -> io::Result<Vec<Station>> {
    let mut sources = Vec::with_capacity(pairs);
    let mut sinks = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let (source, sink) = UnixStream::pair()?;
        source.set_nonblocking(true)?;
        sink.set_nonblocking(true)?;
        sources.push(source);
        sinks.push(sink);
    }
    for token in 0..tokens {
        put(&sinks[token * pairs / tokens])?;
    }
    sinks.rotate_left(1);
    let stations = sources.into_iter().zip(sinks);
    let stations = stations.map(|(source, next)| Station { source, next });
    Ok(stations.collect())
}

/// Handles an event.
#[inline]
pub fn pass(source: &UnixStream, next: &UnixStream) -> io::Result<()> {
    take(source)?;
    put(next)
}

/// Takes a token, or gives `WouldBlock`.
// Not inlined, nor is `put`: the same code at the same place for all loops.
#[inline(never)]
pub fn take(source: &UnixStream) -> io::Result<()> {
    static PLACE: AtomicUsize = AtomicUsize::new(0);
    let mut page = [MaybeUninit::uninit(); PAGE];
    let at = advance(&PLACE);
    match rustix::io::read(source, &mut page[at..=at])? {
        ([], _) => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Puts a token where the next station takes it.
#[inline(never)]
pub fn put(sink: &UnixStream) -> io::Result<()> {
    static PLACE: AtomicUsize = AtomicUsize::new(0);
    static TOKENS: [u8; PAGE] = [0; PAGE];
    let at = advance(&PLACE);
    rustix::io::write(sink, &TOKENS[at..=at])?;
    Ok(())
}

const PAGE: usize = 4096;

/// Where in a page to read or write the next byte: another cache line each time, all in turn.
///
/// Some processors (AMD's Zen 4) copy much more slowly where the last twelve bits of the program's
/// address and of the kernel's are close: half a microsecond per byte. A loop that stayed at one
/// address would be a quarter faster or slower than its neighbour by nothing but luck.
fn advance(place: &AtomicUsize) -> usize {
    let at = place.load(Relaxed);
    // An odd number of lines, so that all have their turn.
    place.store((at + 7 * 64) % PAGE, Relaxed);
    at
}
