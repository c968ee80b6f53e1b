//! Network sockets of the standard library.

use std::future::Future;
use std::io::{self, Result};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{AddressFamily, SocketType};

use super::known::Direction;
use super::{Async, refused};
use crate::os::AsFd;
use crate::{Reactor, Shared, Source, Threading};

/// TCP listeners.
impl<M: Threading> Async<TcpListener, M> {
    /// Makes a listener on an address. Port 0 means any free port.
    ///
    /// # Errors
    ///
    /// Returns the operating system's error, like the other functions here.
    #[track_caller]
    pub fn bind(reactor: &Reactor<M>, address: impl Into<SocketAddr>) -> Result<Self> {
        Async::new(reactor, TcpListener::bind(address.into())?).map_err(refused)
    }

    /// Accepts the next connection.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Result<(Async<TcpStream, M>, SocketAddr)>> {
        let location = Location::caller();
        async move {
            let (stream, address) = self.read_with(TcpListener::accept).await?;
            let stream = Async::add(self.reactor(), stream, location).map_err(refused)?;
            Ok((stream, address))
        }
    }

    /// Returns a stream of connections, which never ends.
    #[track_caller]
    pub fn incoming(&self) -> IncomingTcp<'_, M> {
        IncomingTcp(Incoming::new(self))
    }
}

/// TCP connections.
impl<M: Threading> Async<TcpStream, M> {
    /// Connects to an address.
    #[track_caller]
    pub fn connect(
        reactor: &Reactor<M>,
        address: impl Into<SocketAddr>,
    ) -> impl Future<Output = Result<Self>> {
        let (address, location) = (address.into(), Location::caller());
        async move {
            let family = match address {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let socket = new_socket(family)?;
            begin_to_connect(&socket, &address)?;
            let stream = Async::add(reactor, socket.into(), location).map_err(refused)?;
            end_connecting(stream).await
        }
    }

    /// Receives bytes without taking them out of the queue.
    pub async fn peek(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_with(|stream| stream.peek(buffer)).await
    }
}

/// UDP.
impl<M: Threading> Async<UdpSocket, M> {
    /// Makes a socket on an address. Port 0 means any free port.
    #[track_caller]
    pub fn bind(reactor: &Reactor<M>, address: impl Into<SocketAddr>) -> Result<Self> {
        Async::new(reactor, UdpSocket::bind(address.into())?).map_err(refused)
    }

    /// Receives a datagram and returns its length and sender.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Receives a datagram without taking it out of the queue.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.peek_from(buffer)).await
    }

    /// Sends a datagram.
    pub async fn send_to(&self, bytes: &[u8], to: impl Into<SocketAddr>) -> Result<usize> {
        let to = to.into();
        self.write_with(|socket| socket.send_to(bytes, to)).await
    }

    /// Receives a datagram, without taking it out of the queue, from the peer that the socket was
    /// [connected](UdpSocket::connect) to.
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

/// A stream of connections. [`Async::<TcpListener>::incoming`](Async::incoming) makes it.
#[derive(Debug)]
pub struct IncomingTcp<'a, M: Threading = Shared>(Incoming<'a, TcpListener, M>);

impl<M: Threading> Stream for IncomingTcp<'_, M> {
    type Item = Result<Async<TcpStream, M>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx, |listener| Ok(listener.accept()?.0))
    }
}

/// The stream of connections for both kinds of listeners.
#[derive(Debug)]
pub(super) struct Incoming<'a, L, M: Threading> {
    listener: &'a Async<L, M>,
    /// The place in the source where the stream was made.
    location: &'static Location<'static>,
}

impl<'a, L, M: Threading> Incoming<'a, L, M> {
    #[track_caller]
    pub(super) fn new(listener: &'a Async<L, M>) -> Incoming<'a, L, M> {
        let location = Location::caller();
        Incoming { listener, location }
    }

    pub(super) fn poll<S: Source>(
        &self,
        cx: &mut Context<'_>,
        accept: impl Fn(&L) -> Result<S>,
    ) -> Poll<Option<Result<Async<S, M>>>> {
        let Incoming { listener, location } = *self;
        let attempt = || accept(&listener.source);
        let accepted = listener
            .registration
            .poll_with(Direction::Read, cx, attempt);
        let add = |stream| Async::add(listener.reactor(), stream, location).map_err(refused);
        accepted.map(|stream| Some(stream.and_then(add)))
    }
}

/// The error of `connect` on a socket that does not block.
#[cfg(unix)]
const CONNECTING: Errno = Errno::INPROGRESS;
#[cfg(windows)]
const CONNECTING: Errno = Errno::WOULDBLOCK;

/// Starts to connect. The socket becomes writable when that has ended.
pub(super) fn begin_to_connect(socket: impl AsFd, address: &impl SocketAddrArg) -> Result<()> {
    match rustix::net::connect(socket, address) {
        Ok(()) | Err(CONNECTING) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn end_connecting<S: Source + AsFd, M: Threading>(
    stream: Async<S, M>,
) -> Result<Async<S, M>> {
    stream.writable().await?;
    rustix::net::sockopt::socket_error(stream.get_ref().as_fd())??;
    Ok(stream)
}

#[cfg(not(any(target_vendor = "apple", windows)))]
pub(super) fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

#[cfg(target_vendor = "apple")]
pub(super) fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

#[cfg(windows)]
pub(super) fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    // The count never decreases, because sockets are needed as long as the process lives.
    rustix::net::wsa_startup()?;
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
