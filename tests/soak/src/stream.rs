//! TCP and Unix sockets, as one.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size, socket_error};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where a server listens.
#[derive(Clone)]
pub enum Address {
    Tcp(SocketAddrV4),
    Unix(SocketAddrUnix),
}

/// As many as the system allows.
const BACKLOG: i32 = 4096;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// On a port that the system chooses.
pub fn listen_tcp() -> io::Result<(TcpListener, Address)> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    match listener.local_addr()? {
        std::net::SocketAddr::V4(address) => Ok((listener, Address::Tcp(address))),
        std::net::SocketAddr::V6(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Under a name that is no file.
pub fn listen_unix(name: &str) -> io::Result<(UnixListener, Address)> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok((UnixListener::from(socket), Address::Unix(address)))
}

impl Stream {
    /// Begins to connect; the stream is writable when that has ended. `WouldBlock` if the server
    /// has too much to do just now.
    pub fn connect(address: &Address) -> io::Result<Stream> {
        let begun = |socket: OwnedFd, result| match result {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(io::Error::from(error)),
        };
        match address {
            Address::Tcp(address) => {
                let socket = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
                let result = connect(&socket, address);
                Ok(Stream::Tcp(begun(socket, result)?.into()))
            }
            Address::Unix(address) => {
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
                let result = connect(&socket, address);
                Ok(Stream::Unix(begun(socket, result)?.into()))
            }
        }
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self, Stream::Tcp(_))
    }

    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nonblocking(nonblocking),
            Stream::Unix(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    /// Small messages go out at once.
    pub fn set_prompt(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nodelay(true),
            Stream::Unix(_) => Ok(()),
        }
    }

    /// So that writes are often cut short.
    pub fn set_small_buffer(&self) -> io::Result<()> {
        Ok(set_socket_send_buffer_size(self, 4096)?)
    }

    /// Closing it leaves nothing behind: the port is free at once.
    pub fn forget_when_closed(&self) -> io::Result<()> {
        if self.is_tcp() {
            Ok(set_socket_linger(self, Some(Duration::ZERO))?)
        } else {
            Ok(())
        }
    }

    /// How a connect has ended.
    pub fn connected(&self) -> io::Result<()> {
        Ok(socket_error(self)??)
    }

    pub fn end_output(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}
