//! Unix sockets.

use std::io::Result;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use futures_core::Stream;
use rustix::net::{AddressFamily, SocketAddrUnix};

use crate::Async;
use crate::net::{Incoming, begin_to_connect};

impl Async<UnixListener> {
    /// Makes a listener on a path.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn bind<P: AsRef<Path>>(path: P) -> Result<Async<UnixListener>> {
        Async::new(UnixListener::bind(path)?)
    }

    /// Accepts a connection and returns its stream and the peer's address.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn accept(&self) -> Result<(Async<UnixStream>, SocketAddr)> {
        let (stream, from) = self.read_with(UnixListener::accept).await?;
        Ok((Async::new(stream)?, from))
    }

    /// Returns the stream of connections, which does not end.
    pub fn incoming(&self) -> impl Stream<Item = Result<Async<UnixStream>>> + Send + '_ {
        Incoming::new(move || async move { self.accept().await.map(|(stream, _)| stream) })
    }
}

impl TryFrom<UnixListener> for Async<UnixListener> {
    type Error = std::io::Error;

    fn try_from(listener: UnixListener) -> Result<Self> {
        Async::new(listener)
    }
}

impl Async<UnixStream> {
    /// Connects to a path. On Linux and Android, a path that begins with a zero byte names an abstract socket.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn connect<P: AsRef<Path>>(path: P) -> Result<Async<UnixStream>> {
        let address = address(path.as_ref())?;
        let stream = UnixStream::from(begin_to_connect(AddressFamily::UNIX, &address)?);
        let stream = Async::new_nonblocking(stream)?;
        stream.writable().await?;
        // The socket is also writable when its listener was full and the connection was not made.
        stream.get_ref().peer_addr()?;
        Ok(stream)
    }

    /// Makes two connected streams.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn pair() -> Result<(Async<UnixStream>, Async<UnixStream>)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Async::new(one)?, Async::new(other)?))
    }
}

impl TryFrom<UnixStream> for Async<UnixStream> {
    type Error = std::io::Error;

    fn try_from(stream: UnixStream) -> Result<Self> {
        Async::new(stream)
    }
}

impl Async<UnixDatagram> {
    /// Makes a socket on a path.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn bind<P: AsRef<Path>>(path: P) -> Result<Async<UnixDatagram>> {
        Async::new(UnixDatagram::bind(path)?)
    }

    /// Makes a socket without an address.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn unbound() -> Result<Async<UnixDatagram>> {
        Async::new(UnixDatagram::unbound()?)
    }

    /// Makes two connected sockets.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn pair() -> Result<(Async<UnixDatagram>, Async<UnixDatagram>)> {
        let (one, other) = UnixDatagram::pair()?;
        Ok((Async::new(one)?, Async::new(other)?))
    }

    /// Receives a datagram and returns its length and sender.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buf)).await
    }

    /// Sends a datagram to a path and returns the number of bytes sent.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> Result<usize> {
        self.write_with(|socket| socket.send_to(buf, &path)).await
    }

    /// Receives a datagram from the connected peer.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn recv(&self, buf: &mut [u8]) -> Result<usize> {
        self.read_with(|socket| socket.recv(buf)).await
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn send(&self, buf: &[u8]) -> Result<usize> {
        self.write_with(|socket| socket.send(buf)).await
    }
}

impl TryFrom<UnixDatagram> for Async<UnixDatagram> {
    type Error = std::io::Error;

    fn try_from(socket: UnixDatagram) -> Result<Self> {
        Async::new(socket)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn address(path: &Path) -> Result<SocketAddrUnix> {
    use std::os::unix::ffi::OsStrExt;

    match path.as_os_str().as_bytes() {
        [0, name @ ..] => Ok(SocketAddrUnix::new_abstract_name(name)?),
        _ => Ok(SocketAddrUnix::new(path)?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn address(path: &Path) -> Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(path)?)
}
