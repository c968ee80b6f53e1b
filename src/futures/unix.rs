//! Unix sockets of the standard library.
//!
//! A path that begins with a zero byte is a name in Linux' abstract namespace, like in tokio. The standard
//! library refuses these paths.

use std::future::Future;
use std::io::{self, ErrorKind, Result};
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rustix::net::{AddressFamily, SocketAddrUnix};

use super::net::{Incoming, begin_to_connect, end_connecting, new_socket};
use super::{Async, refused};
use crate::{Reactor, Shared, Threading};

/// Listeners on Unix sockets.
impl<M: Threading> Async<UnixListener, M> {
    /// Makes a listener on a path, which must not exist. On Linux, a path that begins with a zero byte is an
    /// abstract name.
    #[track_caller]
    pub fn bind(reactor: &Reactor<M>, path: impl AsRef<Path>) -> Result<Self> {
        Async::<UnixListener, M>::bind_addr(reactor, &address(path.as_ref())?)
    }

    /// Makes a listener on an address.
    #[track_caller]
    pub fn bind_addr(reactor: &Reactor<M>, address: &SocketAddr) -> Result<Self> {
        Async::new(reactor, UnixListener::bind_addr(address)?).map_err(refused)
    }

    /// Accepts the next connection.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Result<(Async<UnixStream, M>, SocketAddr)>> {
        let location = Location::caller();
        async move {
            let (stream, address) = self.read_with(UnixListener::accept).await?;
            let stream = Async::add(self.reactor(), stream, location).map_err(refused)?;
            Ok((stream, address))
        }
    }

    /// Returns a stream of connections, which never ends.
    #[track_caller]
    pub fn incoming(&self) -> IncomingUnix<'_, M> {
        IncomingUnix(Incoming::new(self))
    }
}

/// Connections on Unix sockets.
impl<M: Threading> Async<UnixStream, M> {
    /// Connects to a listener on a path. On Linux, a path that begins with a zero byte is an
    /// abstract name.
    #[track_caller]
    pub fn connect(
        reactor: &Reactor<M>,
        path: impl AsRef<Path>,
    ) -> impl Future<Output = Result<Self>> {
        let location = Location::caller();
        async move { connect(reactor, &address(path.as_ref())?, location).await }
    }

    /// Connects to a listener on an address.
    #[track_caller]
    pub fn connect_addr(
        reactor: &Reactor<M>,
        address: &SocketAddr,
    ) -> impl Future<Output = Result<Self>> {
        connect(reactor, address, Location::caller())
    }

    /// Makes two sockets that are connected with each other.
    #[track_caller]
    pub fn pair(reactor: &Reactor<M>) -> Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        let a = Async::new(reactor, a).map_err(refused)?;
        let b = Async::new(reactor, b).map_err(refused)?;
        Ok((a, b))
    }
}

/// Datagrams on Unix sockets.
impl<M: Threading> Async<UnixDatagram, M> {
    /// Makes a socket on a path, which must not exist. On Linux, a path that begins with a zero byte is an
    /// abstract name.
    #[track_caller]
    pub fn bind(reactor: &Reactor<M>, path: impl AsRef<Path>) -> Result<Self> {
        Async::<UnixDatagram, M>::bind_addr(reactor, &address(path.as_ref())?)
    }

    /// Makes a socket on an address.
    #[track_caller]
    pub fn bind_addr(reactor: &Reactor<M>, address: &SocketAddr) -> Result<Self> {
        Async::new(reactor, UnixDatagram::bind_addr(address)?).map_err(refused)
    }

    /// Makes a socket without a name.
    #[track_caller]
    pub fn unbound(reactor: &Reactor<M>) -> Result<Self> {
        Async::new(reactor, UnixDatagram::unbound()?).map_err(refused)
    }

    /// Makes two sockets that are connected with each other.
    #[track_caller]
    pub fn pair(reactor: &Reactor<M>) -> Result<(Self, Self)> {
        let (a, b) = UnixDatagram::pair()?;
        let a = Async::new(reactor, a).map_err(refused)?;
        let b = Async::new(reactor, b).map_err(refused)?;
        Ok((a, b))
    }

    /// Receives a datagram and returns its length and sender.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Sends a datagram to the socket on a path. On Linux, a path that begins with a zero byte is an
    /// abstract name.
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> Result<usize> {
        self.send_to_addr(bytes, &address(path.as_ref())?).await
    }

    /// Sends a datagram to the socket on an address.
    pub async fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> Result<usize> {
        let send = |socket: &UnixDatagram| socket.send_to_addr(bytes, address);
        self.write_with(send).await
    }

    /// Receives a datagram from the peer that the socket is connected to.
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_with(|socket| socket.recv(buffer)).await
    }

    /// Sends a datagram to the peer that the socket is connected to.
    pub async fn send(&self, bytes: &[u8]) -> Result<usize> {
        self.write_with(|socket| socket.send(bytes)).await
    }
}

async fn connect<M: Threading>(
    reactor: &Reactor<M>,
    address: &SocketAddr,
    location: &'static Location<'static>,
) -> Result<Async<UnixStream, M>> {
    let address = for_rustix(address)?;
    let socket = new_socket(AddressFamily::UNIX)?;
    let stream: Async<UnixStream, M> =
        Async::add(reactor, socket.into(), location).map_err(refused)?;
    // While the listener's queue is full, Linux returns that the call would block, but also calls the socket
    // writable. It is therefore tried again after a pause.
    let connect = |stream: &UnixStream| begin_to_connect(stream, &address);
    stream.write_with(connect).await?;
    end_connecting(stream).await
}

/// Converts a path to an address.
fn address(path: &Path) -> Result<SocketAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(&[0]) {
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(path)
}

fn for_rustix(address: &SocketAddr) -> Result<SocketAddrUnix> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = address.as_abstract_name() {
        return Ok(SocketAddrUnix::new_abstract_name(name)?);
    }
    match address.as_pathname() {
        Some(path) => Ok(SocketAddrUnix::new(path)?),
        None => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the address has no name",
        )),
    }
}

/// A stream of connections. `Async::<UnixListener>::incoming` makes it.
#[derive(Debug)]
pub struct IncomingUnix<'a, M: Threading = Shared>(Incoming<'a, UnixListener, M>);

impl<M: Threading> Stream for IncomingUnix<'_, M> {
    type Item = Result<Async<UnixStream, M>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx, |listener| Ok(listener.accept()?.0))
    }
}
