//! Sockets of the standard library.

use std::future::Future;
use std::io::{self, Result};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::panic::Location;
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
    #[track_caller]
    pub fn bind(reactor: &Loop<K>, address: impl Into<SocketAddr>) -> Result<Self> {
        Ok(Async::new(reactor, TcpListener::bind(address.into())?)?)
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Result<(Async<TcpStream, K>, SocketAddr)>> {
        let place = Location::caller();
        async move {
            let (stream, address) = self.read_with(TcpListener::accept).await?;
            Ok((Async::add(self.reactor(), stream, place)?, address))
        }
    }

    /// The connections, one after the other; without end.
    #[track_caller]
    pub fn incoming(&self) -> IncomingTcp<'_, K> {
        IncomingTcp(Incoming::new(self))
    }
}

/// TCP connections.
impl<K: Threads> Async<TcpStream, K> {
    /// Connects.
    #[track_caller]
    pub fn connect(
        reactor: &Loop<K>,
        address: impl Into<SocketAddr>,
    ) -> impl Future<Output = Result<Self>> {
        let (address, place) = (address.into(), Location::caller());
        async move {
            let family = match address {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let socket = begin_to_connect(family, &address)?;
            end_connecting(Async::add(reactor, socket.into(), place)?).await
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
    #[track_caller]
    pub fn bind(reactor: &Loop<K>, address: impl Into<SocketAddr>) -> Result<Self> {
        Ok(Async::new(reactor, UdpSocket::bind(address.into())?)?)
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

    /// Receives from the peer that the socket was [connected](UdpSocket::connect) to, without
    /// taking from the queue.
    pub async fn peek(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_with(|socket| socket.peek(buffer)).await
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
    #[track_caller]
    pub fn bind(reactor: &Loop<K>, path: impl AsRef<Path>) -> Result<Self> {
        Ok(Async::new(reactor, UnixListener::bind(path)?)?)
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Result<(Async<UnixStream, K>, UnixSocketAddr)>> {
        let place = Location::caller();
        async move {
            let (stream, address) = self.read_with(UnixListener::accept).await?;
            Ok((Async::add(self.reactor(), stream, place)?, address))
        }
    }

    /// The connections, one after the other; without end.
    #[track_caller]
    pub fn incoming(&self) -> IncomingUnix<'_, K> {
        IncomingUnix(Incoming::new(self))
    }
}

/// Connections on Unix sockets.
impl<K: Threads> Async<UnixStream, K> {
    /// Connects.
    #[track_caller]
    pub fn connect(
        reactor: &Loop<K>,
        path: impl AsRef<Path>,
    ) -> impl Future<Output = Result<Self>> {
        let place = Location::caller();
        async move {
            let address = SocketAddrUnix::new(path.as_ref())?;
            let socket = begin_to_connect(AddressFamily::UNIX, &address)?;
            end_connecting(Async::add(reactor, socket.into(), place)?).await
        }
    }

    /// Two that are connected with each other.
    #[track_caller]
    pub fn pair(reactor: &Loop<K>) -> Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        Ok((Async::new(reactor, a)?, Async::new(reactor, b)?))
    }
}

/// Datagrams on Unix sockets.
impl<K: Threads> Async<UnixDatagram, K> {
    /// A socket on a path, which must not exist.
    #[track_caller]
    pub fn bind(reactor: &Loop<K>, path: impl AsRef<Path>) -> Result<Self> {
        Ok(Async::new(reactor, UnixDatagram::bind(path)?)?)
    }

    /// A socket without a name.
    #[track_caller]
    pub fn unbound(reactor: &Loop<K>) -> Result<Self> {
        Ok(Async::new(reactor, UnixDatagram::unbound()?)?)
    }

    /// Two that are connected with each other.
    #[track_caller]
    pub fn pair(reactor: &Loop<K>) -> Result<(Self, Self)> {
        let (a, b) = UnixDatagram::pair()?;
        Ok((Async::new(reactor, a)?, Async::new(reactor, b)?))
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
pub struct IncomingTcp<'a, K: Threads = Shared>(Incoming<'a, TcpListener, K>);

/// Connections as they come; see `Async::<UnixListener>::incoming`.
#[derive(Debug)]
pub struct IncomingUnix<'a, K: Threads = Shared>(Incoming<'a, UnixListener, K>);

impl<K: Threads> Stream for IncomingTcp<'_, K> {
    type Item = Result<Async<TcpStream, K>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx, |listener| Ok(listener.accept()?.0))
    }
}

impl<K: Threads> Stream for IncomingUnix<'_, K> {
    type Item = Result<Async<UnixStream, K>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx, |listener| Ok(listener.accept()?.0))
    }
}

#[derive(Debug)]
struct Incoming<'a, L, K: Threads> {
    listener: &'a Async<L, K>,
    /// Where they were asked for.
    place: &'static Location<'static>,
}

impl<'a, L, K: Threads> Incoming<'a, L, K> {
    #[track_caller]
    fn new(listener: &'a Async<L, K>) -> Incoming<'a, L, K> {
        let place = Location::caller();
        Incoming { listener, place }
    }

    fn poll<S: Source>(
        &self,
        cx: &mut Context<'_>,
        accept: impl Fn(&L) -> Result<S>,
    ) -> Poll<Option<Result<Async<S, K>>>> {
        let Incoming { listener, place } = *self;
        let attempt = || accept(&listener.source);
        let accepted = listener
            .registration
            .poll_with(Direction::Read, cx, attempt);
        let add = |stream| Ok(Async::add(listener.reactor(), stream, place)?);
        accepted.map(|stream| Some(stream.and_then(add)))
    }
}

/// A socket that is being connected; it is writable when that has ended.
fn begin_to_connect(family: AddressFamily, address: &impl SocketAddrArg) -> Result<OwnedFd> {
    let socket = new_socket(family)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

async fn end_connecting<S: Source + AsFd, K: Threads>(stream: Async<S, K>) -> Result<Async<S, K>> {
    stream.writable().await?;
    rustix::net::sockopt::socket_error(&stream)??;
    Ok(stream)
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
