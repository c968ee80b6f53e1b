//! TCP and UDP.

use std::future::Future;
use std::io::Result;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{AddressFamily, SocketType, connect};

use crate::Async;

impl Async<TcpListener> {
    /// Makes a listener on an address. Port 0 means any free port.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn bind<A: Into<SocketAddr>>(addr: A) -> Result<Async<TcpListener>> {
        Async::new(TcpListener::bind(addr.into())?)
    }

    /// Accepts a connection and returns its stream and the peer's address.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn accept(&self) -> Result<(Async<TcpStream>, SocketAddr)> {
        let (stream, from) = self.read_with(TcpListener::accept).await?;
        Ok((Async::new(stream)?, from))
    }

    /// Returns the stream of connections, which does not end.
    pub fn incoming(&self) -> impl Stream<Item = Result<Async<TcpStream>>> + Send + '_ {
        Incoming::new(move || async move { self.accept().await.map(|(stream, _)| stream) })
    }
}

impl TryFrom<TcpListener> for Async<TcpListener> {
    type Error = std::io::Error;

    fn try_from(listener: TcpListener) -> Result<Self> {
        Async::new(listener)
    }
}

impl Async<TcpStream> {
    /// Connects to an address.
    ///
    /// # Errors
    ///
    /// Returns the system's error, such as a refused connection.
    pub async fn connect<A: Into<SocketAddr>>(addr: A) -> Result<Async<TcpStream>> {
        let address = addr.into();
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let stream = TcpStream::from(begin_to_connect(family, &address)?);
        let stream = Async::new_nonblocking(stream)?;
        stream.writable().await?;
        match stream.get_ref().take_error()? {
            None => Ok(stream),
            Some(error) => Err(error),
        }
    }

    /// Receives bytes without taking them out of the queue.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        self.read_with(|stream| stream.peek(buf)).await
    }
}

impl TryFrom<TcpStream> for Async<TcpStream> {
    type Error = std::io::Error;

    fn try_from(stream: TcpStream) -> Result<Self> {
        Async::new(stream)
    }
}

impl Async<UdpSocket> {
    /// Makes a socket on an address. Port 0 means any free port.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn bind<A: Into<SocketAddr>>(addr: A) -> Result<Async<UdpSocket>> {
        Async::new(UdpSocket::bind(addr.into())?)
    }

    /// Receives a datagram and returns its length and sender.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buf)).await
    }

    /// Receives a datagram without taking it out of the queue, and returns its length and sender.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn peek_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.peek_from(buf)).await
    }

    /// Sends a datagram to an address and returns the number of bytes sent.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn send_to<A: Into<SocketAddr>>(&self, buf: &[u8], addr: A) -> Result<usize> {
        let address = addr.into();
        self.write_with(|socket| socket.send_to(buf, address)).await
    }

    /// Receives a datagram from the connected peer.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn recv(&self, buf: &mut [u8]) -> Result<usize> {
        self.read_with(|socket| socket.recv(buf)).await
    }

    /// Receives a datagram from the connected peer without taking it out of the queue.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub async fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        self.read_with(|socket| socket.peek(buf)).await
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

impl TryFrom<UdpSocket> for Async<UdpSocket> {
    type Error = std::io::Error;

    fn try_from(socket: UdpSocket) -> Result<Self> {
        Async::new(socket)
    }
}

/// Makes a non-blocking stream socket and begins to connect it.
pub(crate) fn begin_to_connect(
    family: AddressFamily,
    address: &impl SocketAddrArg,
) -> Result<OwnedFd> {
    let socket = new_socket(family)?;
    match connect(&socket, address) {
        // A Unix socket whose listener is full says EAGAIN, and so does Windows in the beginning.
        Ok(()) | Err(Errno::INPROGRESS | Errno::WOULDBLOCK) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

#[cfg(socket_flags)]
fn new_socket(family: AddressFamily) -> Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};

    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    #[cfg(any(target_os = "dragonfly", target_os = "freebsd", target_os = "netbsd"))]
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}

/// Makes a socket where its flags are separate calls.
#[cfg(all(unix, not(socket_flags)))]
fn new_socket(family: AddressFamily) -> Result<OwnedFd> {
    use rustix::fd::AsFd;
    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::net::socket;

    let socket = socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    crate::handle::set_nonblocking(socket.as_fd())?;
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}

#[cfg(windows)]
fn new_socket(family: AddressFamily) -> Result<OwnedFd> {
    use std::os::windows::io::AsRawSocket;
    use std::sync::Once;

    use rustix::fd::AsFd;
    use rustix::net::socket;
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        // If it fails, so does the next call, with the reason.
        let _ = rustix::net::wsa_startup();
    });
    let socket = socket(family, SocketType::STREAM, None)?;
    crate::handle::set_nonblocking(socket.as_fd())?;
    // SAFETY: the socket is open, and a flag of it is changed.
    let set = unsafe { SetHandleInformation(socket.as_raw_socket() as _, HANDLE_FLAG_INHERIT, 0) };
    if set == 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(socket)
}

/// A stream of the results of one asynchronous call after the other.
pub(crate) struct Incoming<F, A> {
    call: F,
    /// The call that is awaited.
    future: Option<Pin<Box<A>>>,
}

impl<F: FnMut() -> A, A: Future> Incoming<F, A> {
    pub(crate) fn new(call: F) -> Incoming<F, A> {
        Incoming { call, future: None }
    }
}

impl<F, A> Unpin for Incoming<F, A> {}

impl<F: FnMut() -> A, A: Future> Stream for Incoming<F, A> {
    type Item = A::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<A::Output>> {
        let Incoming { call, future } = &mut *self;
        let awaited = match future {
            Some(awaited) => {
                // The place in memory is used again.
                awaited
            }
            None => future.insert(Box::pin(call())),
        };
        let Poll::Ready(output) = awaited.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        *future = None;
        Poll::Ready(Some(output))
    }
}
