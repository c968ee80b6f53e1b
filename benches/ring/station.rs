//! The stations along which all loops pass tokens.

use std::io;
use std::mem::MaybeUninit;
#[cfg(feature = "c-peers")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use oneloop_benches::{PAGE, Spread};

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
    sinks.rotate_left(pairs.min(1));
    let stations = sources.into_iter().zip(sinks);
    let stations = stations.map(|(source, next)| Station { source, next });
    Ok(stations.collect())
}

#[cfg(feature = "c-peers")]
impl AsFd for Station {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Sees to it that no token is lost, and none comes from nowhere.
pub struct Witness {
    sources: Vec<UnixStream>,
    tokens: usize,
}

impl Witness {
    pub fn new(stations: &[Station], tokens: usize) -> io::Result<Witness> {
        let sources = stations.iter().map(|station| station.source.try_clone());
        let sources = sources.collect::<io::Result<_>>()?;
        Ok(Witness { sources, tokens })
    }

    /// After the loop has ended: all tokens lie somewhere.
    pub fn check(&self) -> io::Result<()> {
        let mut found = 0;
        for source in &self.sources {
            while take(source).is_ok() {
                found += 1;
            }
        }
        if found == self.tokens {
            Ok(())
        } else {
            Err(io::Error::other(format!("{found} tokens are left")))
        }
    }
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
    static SPREAD: Spread = Spread::new();
    let mut page = [MaybeUninit::uninit(); PAGE];
    let at = SPREAD.place();
    match rustix::io::read(source, &mut page[at..=at])? {
        ([], _) => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Puts a token where the next station takes it.
#[inline(never)]
pub fn put(sink: &UnixStream) -> io::Result<()> {
    static SPREAD: Spread = Spread::new();
    static TOKENS: [u8; PAGE] = [0; PAGE];
    let at = SPREAD.place();
    rustix::io::write(sink, &TOKENS[at..=at])?;
    Ok(())
}
