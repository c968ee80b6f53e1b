use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::os::RawFd;

/// The file behind a descriptor, as the kernel describes it.
///
/// [`HandlerInfo::file`](crate::HandlerInfo::file) asks for it. Its text form is short: `TCP 127.0.0.1:80 to
/// 127.0.0.1:40000`, `pipe`, `eventfd`, `file /etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A TCP socket.
    Tcp {
        /// The socket's own address.
        local: Option<SocketAddr>,
        /// The address of the other end, if it is connected.
        peer: Option<SocketAddr>,
        /// True if it accepts connections. False where the system does not report that.
        is_listening: bool,
    },
    /// A UDP socket.
    Udp {
        /// The socket's own address.
        local: Option<SocketAddr>,
        /// The address that it is connected to, if it is.
        peer: Option<SocketAddr>,
    },
    /// A Unix socket.
    Unix {
        /// The path that the socket is bound to. An abstract name begins with a zero byte.
        local: Option<PathBuf>,
        /// The path that its other end is bound to.
        peer: Option<PathBuf>,
        /// True if it accepts connections. False where the system does not report that.
        is_listening: bool,
    },
    /// A socket of another family.
    Socket,
    /// A pipe, or a named pipe.
    Pipe,
    /// A regular file, and its path where the system reports it (Linux).
    File(Option<PathBuf>),
    /// A directory, and its path where the system reports it (Linux).
    Directory(Option<PathBuf>),
    /// A device, such as a terminal, and its path where the system reports it (Linux).
    Device(Option<PathBuf>),
    /// A file that only the kernel has, by the kernel's name: `eventfd`, `timerfd`, `eventpoll`, `inotify`.
    Kernel(String),
    /// A number that is not open, or whose file the system does not describe.
    Unknown,
}

impl FileKind {
    /// Asks the kernel for the file behind a number.
    pub(crate) fn of(fd: RawFd) -> FileKind {
        #[cfg(unix)]
        return ask::kind(fd).unwrap_or(FileKind::Unknown);
        #[cfg(not(unix))]
        ask::socket(fd).unwrap_or(FileKind::Unknown)
    }
}

mod ask {
    use std::io;
    use std::net::SocketAddr;

    use rustix::net::{
        AddressFamily, SocketAddrAny, SocketType, getpeername, getsockname, sockopt,
    };

    use super::FileKind;
    use crate::os::{BorrowedFd, RawFd};
    use crate::poller::borrow;
    #[cfg(unix)]
    use crate::poller::link;

    #[cfg(unix)]
    pub(super) fn kind(fd: RawFd) -> io::Result<FileKind> {
        use rustix::fs::{FileType, fstat};
        let mode = fstat(borrow(fd)?)?.st_mode;
        Ok(match FileType::from_raw_mode(mode) {
            FileType::Socket => socket(fd)?,
            FileType::Fifo => FileKind::Pipe,
            FileType::RegularFile => FileKind::File(link(fd)),
            FileType::Directory => FileKind::Directory(link(fd)),
            FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device(link(fd)),
            _ => kernel_file(fd),
        })
    }

    /// Parses the name that Linux gives, such as `anon_inode:[eventfd]`.
    #[cfg(unix)]
    fn kernel_file(fd: RawFd) -> FileKind {
        let name = link(fd).map(|path| path.to_string_lossy().into_owned());
        let name = name
            .as_deref()
            .and_then(|name| name.strip_prefix("anon_inode:"));
        match name {
            Some(name) => FileKind::Kernel(name.trim_matches(['[', ']']).into()),
            None => FileKind::Unknown,
        }
    }

    pub(super) fn socket(fd: RawFd) -> io::Result<FileKind> {
        let fd = borrow(fd)?;
        let local = getsockname(fd)?;
        // An unconnected socket returns an error.
        let peer = getpeername(fd).ok().flatten();
        let is_stream = sockopt::socket_type(fd)? == SocketType::STREAM;
        Ok(match (local.address_family(), is_stream) {
            (AddressFamily::INET | AddressFamily::INET6, true) => FileKind::Tcp {
                local: internet(Some(local)),
                peer: internet(peer),
                is_listening: is_listening(fd),
            },
            (AddressFamily::INET | AddressFamily::INET6, false) => FileKind::Udp {
                local: internet(Some(local)),
                peer: internet(peer),
            },
            #[cfg(unix)]
            (AddressFamily::UNIX, _) => FileKind::Unix {
                local: unix(Some(local)),
                peer: unix(peer),
                is_listening: is_listening(fd),
            },
            _ => FileKind::Socket,
        })
    }

    #[cfg(not(target_vendor = "apple"))]
    fn is_listening(fd: BorrowedFd<'_>) -> bool {
        sockopt::socket_acceptconn(fd).unwrap_or(false)
    }

    #[cfg(target_vendor = "apple")]
    fn is_listening(_: BorrowedFd<'_>) -> bool {
        false
    }

    fn internet(address: Option<SocketAddrAny>) -> Option<SocketAddr> {
        SocketAddr::try_from(address?).ok()
    }

    /// Returns the path, or `None` for a socket without a name.
    #[cfg(unix)]
    fn unix(address: Option<SocketAddrAny>) -> Option<std::path::PathBuf> {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;
        let address = rustix::net::SocketAddrUnix::try_from(address?).ok()?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = address.abstract_name().filter(|name| !name.is_empty()) {
            return Some(OsString::from_vec([b"\0", name].concat()).into());
        }
        let path = address.path()?.into_owned().into_bytes();
        (!path.is_empty()).then(|| OsString::from_vec(path).into())
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Returns the name of a Unix socket, with `@` for the zero byte of an abstract one, as tools print
        /// it.
        fn name(path: &Path) -> String {
            path.to_string_lossy().replace('\0', "@")
        }
        fn ends(
            f: &mut fmt::Formatter<'_>,
            what: &str,
            local: Option<String>,
            peer: Option<String>,
        ) -> fmt::Result {
            f.write_str(what)?;
            if let Some(local) = local {
                write!(f, " {local}")?;
            }
            match peer {
                Some(peer) => write!(f, " to {peer}"),
                None => Ok(()),
            }
        }
        fn at(f: &mut fmt::Formatter<'_>, what: &str, path: &Option<PathBuf>) -> fmt::Result {
            match path {
                Some(path) => write!(f, "{what} {}", path.display()),
                None => f.write_str(what),
            }
        }
        let text = |address: &Option<SocketAddr>| address.map(|address| address.to_string());
        match self {
            FileKind::Tcp {
                local,
                peer,
                is_listening,
            } => {
                let what = if *is_listening { "TCP listener" } else { "TCP" };
                ends(f, what, text(local), text(peer))
            }
            FileKind::Udp { local, peer } => ends(f, "UDP", text(local), text(peer)),
            FileKind::Unix {
                local,
                peer,
                is_listening,
            } => {
                let what = if *is_listening {
                    "Unix listener"
                } else {
                    "Unix socket"
                };
                ends(
                    f,
                    what,
                    local.as_deref().map(name),
                    peer.as_deref().map(name),
                )
            }
            FileKind::Socket => f.write_str("socket"),
            FileKind::Pipe => f.write_str("pipe"),
            FileKind::File(path) => at(f, "file", path),
            FileKind::Directory(path) => at(f, "directory", path),
            FileKind::Device(path) => at(f, "device", path),
            FileKind::Kernel(name) => f.write_str(name),
            FileKind::Unknown => f.write_str("unknown"),
        }
    }
}
