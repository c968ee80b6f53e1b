//! Sockets of the standard library.

use std::io::{self, Result};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::Async;
use super::wait::Direction;
use crate::{Loop, Shared, Source, Threads};

/// TCP listeners.
impl<K: Threads> Async<TcpListener, K> {
    /// A listener on an address; port 0 means any that is free.
    ///
    /// # Errors
    ///
    /// The operating system's, as for the other functions here.
    pub fn bind(reactor: &Loop<K>, address: impl Into<SocketAddr>) -> Result<Self> {
        new(reactor, TcpListener::bind(address.into())?)
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<(Async<TcpStream, K>, SocketAddr)> {
        let (stream, address) = self.read_with(TcpListener::accept).await?;
        Ok((new(self.reactor(), stream)?, address))
    }

    /// The connections, one after the other; without end.
    pub fn incoming(&self) -> IncomingTcp<'_, K> {
        IncomingTcp(self)
    }
}

/// TCP connections.
impl<K: Threads> Async<TcpStream, K> {
    /// Connects.
    pub async fn connect(reactor: &Loop<K>, address: impl Into<SocketAddr>) -> Result<Self> {
        let address = address.into();
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let stream = new(
            reactor,
            TcpStream::from(begin_to_connect(family, &address)?),
        )?;
        stream.writable().await?;
        match stream.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Receives without taking from the queue.
    pub async fn peek(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_with(|stream| stream.peek(buffer)).await
    }
}

/// UDP.
impl<K: Threads> Async<UdpSocket, K> {
    /// A socket on an address; port 0 means any that is free.
    pub fn bind(reactor: &Loop<K>, address: impl Into<SocketAddr>) -> Result<Self> {
        new(reactor, UdpSocket::bind(address.into())?)
    }

    /// Receives a datagram, and says from whom.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Receives without taking from the queue.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.peek_from(buffer)).await
    }

    /// Sends a datagram.
    pub async fn send_to(&self, bytes: &[u8], to: impl Into<SocketAddr>) -> Result<usize> {
        let to = to.into();
        self.write_with(|socket| socket.send_to(bytes, to)).await
    }

    /// Receives a datagram from the peer that the socket was
    /// [connected](UdpSocket::connect) to.
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_with(|socket| socket.recv(buffer)).await
    }

    /// Sends a datagram to the peer that the socket was [connected](UdpSocket::connect) to.
    pub async fn send(&self, bytes: &[u8]) -> Result<usize> {
        self.write_with(|socket| socket.send(bytes)).await
    }
}

/// Listeners on Unix sockets.
impl<K: Threads> Async<UnixListener, K> {
    /// A listener on a path, which must not exist.
    pub fn bind(reactor: &Loop<K>, path: impl AsRef<Path>) -> Result<Self> {
        new(reactor, UnixListener::bind(path)?)
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<(Async<UnixStream, K>, UnixSocketAddr)> {
        let (stream, address) = self.read_with(UnixListener::accept).await?;
        Ok((new(self.reactor(), stream)?, address))
    }

    /// The connections, one after the other; without end.
    pub fn incoming(&self) -> IncomingUnix<'_, K> {
        IncomingUnix(self)
    }
}

/// Connections on Unix sockets.
impl<K: Threads> Async<UnixStream, K> {
    /// Connects.
    pub async fn connect(reactor: &Loop<K>, path: impl AsRef<Path>) -> Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let stream = UnixStream::from(begin_to_connect(AddressFamily::UNIX, &address)?);
        let stream = new(reactor, stream)?;
        stream.writable().await?;
        match stream.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Two that are connected with each other.
    pub fn pair(reactor: &Loop<K>) -> Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        Ok((new(reactor, a)?, new(reactor, b)?))
    }
}

/// Datagrams on Unix sockets.
impl<K: Threads> Async<UnixDatagram, K> {
    /// A socket on a path, which must not exist.
    pub fn bind(reactor: &Loop<K>, path: impl AsRef<Path>) -> Result<Self> {
        new(reactor, UnixDatagram::bind(path)?)
    }

    /// A socket without a name.
    pub fn unbound(reactor: &Loop<K>) -> Result<Self> {
        new(reactor, UnixDatagram::unbound()?)
    }

    /// Two that are connected with each other.
    pub fn pair(reactor: &Loop<K>) -> Result<(Self, Self)> {
        let (a, b) = UnixDatagram::pair()?;
        Ok((new(reactor, a)?, new(reactor, b)?))
    }

    /// Receives a datagram, and says from whom.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, UnixSocketAddr)> {
        self.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Sends a datagram.
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> Result<usize> {
        let path = path.as_ref();
        self.write_with(|socket| socket.send_to(bytes, path)).await
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

/// Connections as they come; see [`Async::<TcpListener>::incoming`](Async::incoming).
#[derive(Debug)]
pub struct IncomingTcp<'a, K: Threads = Shared>(&'a Async<TcpListener, K>);

/// Connections as they come; see `Async::<UnixListener>::incoming`.
#[derive(Debug)]
pub struct IncomingUnix<'a, K: Threads = Shared>(&'a Async<UnixListener, K>);

impl<K: Threads> Stream for IncomingTcp<'_, K> {
    type Item = Result<Async<TcpStream, K>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        poll_accept(self.0, cx, |listener| Ok(listener.accept()?.0))
    }
}

impl<K: Threads> Stream for IncomingUnix<'_, K> {
    type Item = Result<Async<UnixStream, K>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        poll_accept(self.0, cx, |listener| Ok(listener.accept()?.0))
    }
}

fn poll_accept<L, S: Source, K: Threads>(
    listener: &Async<L, K>,
    cx: &mut Context<'_>,
    accept: impl Fn(&L) -> Result<S>,
) -> Poll<Option<Result<Async<S, K>>>> {
    let attempt = || accept(&listener.source);
    let accepted = listener
        .registration
        .poll_with(Direction::Read, cx, attempt);
    accepted.map(|stream| Some(stream.and_then(|stream| new(listener.reactor(), stream))))
}

fn new<S: Source, K: Threads>(reactor: &Loop<K>, source: S) -> Result<Async<S, K>> {
    Ok(Async::new(reactor, source)?)
}

/// A socket that is being connected; it is writable when that has ended.
fn begin_to_connect(family: AddressFamily, address: &impl SocketAddrArg) -> Result<OwnedFd> {
    let socket = new_socket(family)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_vendor = "apple"))]
fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

#[cfg(target_vendor = "apple")]
fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
