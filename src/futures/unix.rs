//! Unix sockets of the standard library.

use std::future::Future;
use std::io::Result;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rustix::net::{AddressFamily, SocketAddrUnix};

use super::Async;
use super::net::{Incoming, begin_to_connect, end_connecting};
use crate::{Loop, Shared, Threads};

/// Listeners on Unix sockets.
impl<K: Threads> Async<UnixListener, K> {
    /// A listener on a path, which must not exist.
    #[track_caller]
    pub fn bind(reactor: &Loop<K>, path: impl AsRef<Path>) -> Result<Self> {
        Ok(Async::new(reactor, UnixListener::bind(path)?)?)
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Result<(Async<UnixStream, K>, SocketAddr)>> {
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
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
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

/// Connections as they come; see `Async::<UnixListener>::incoming`.
#[derive(Debug)]
pub struct IncomingUnix<'a, K: Threads = Shared>(Incoming<'a, UnixListener, K>);

impl<K: Threads> Stream for IncomingUnix<'_, K> {
    type Item = Result<Async<UnixStream, K>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx, |listener| Ok(listener.accept()?.0))
    }
}
