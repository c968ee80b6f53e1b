//! The source of a new handler, as far as the kernel is concerned.

use crate::os::{AsRawFd, RawFd};
use crate::{Source, SourceKind, VirtualSource};

/// The source of a new handler.
pub(crate) enum Target {
    Fd(RawFd),
    /// A descriptor that is certainly a socket.
    Socket(RawFd),
    Virtual(VirtualSource),
}

impl Target {
    pub(crate) fn of<S: Source + 'static>(source: &S) -> Target {
        match source.kind() {
            SourceKind::Descriptor(fd) if is_std_socket::<S>() => Target::Socket(fd.as_raw_fd()),
            kind => Target::from(kind),
        }
    }
}

/// Returns true if the type of a source shows that it is a socket. This saves a question to the kernel.
fn is_std_socket<S: 'static>() -> bool {
    use std::any::TypeId;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    let sockets = [
        TypeId::of::<TcpListener>(),
        TypeId::of::<TcpStream>(),
        TypeId::of::<UdpSocket>(),
        #[cfg(unix)]
        TypeId::of::<std::os::unix::net::UnixListener>(),
        #[cfg(unix)]
        TypeId::of::<std::os::unix::net::UnixStream>(),
    ];
    sockets.contains(&TypeId::of::<S>())
}

impl From<SourceKind<'_>> for Target {
    fn from(kind: SourceKind<'_>) -> Target {
        match kind {
            SourceKind::Descriptor(fd) => Target::Fd(fd.as_raw_fd()),
            SourceKind::Virtual(source) => Target::Virtual(source.clone()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_a_source_that_is_certainly_a_socket_is_taken_for_one() {
        let (stream, _other) = UnixStream::pair().unwrap();
        assert!(matches!(Target::of(&stream), Target::Socket(_)));
        let socket = UdpSocket::bind("localhost:0").unwrap();
        assert!(matches!(Target::of(&socket), Target::Socket(_)));
        let file = File::open("/dev/null").unwrap();
        assert!(matches!(Target::of(&file), Target::Fd(_)));
    }
}
