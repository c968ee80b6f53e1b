//! The kernel's side of the cases. On Windows, sockets are TCP's over loopback, and some calls do not exist. Cases that
//! need these are exceptions there, and never come to them.

pub(crate) use crate::tools::Socket;
pub(crate) use sys::*;

#[cfg(unix)]
mod sys {
    use std::fs::File;
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, RawFd};
    use std::sync::OnceLock;

    pub use libc::{
        EBADF, EEXIST, EINTR, EINVAL, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM, c_int,
    };

    pub type FileSource = File;

    /// The number of descriptors that the process may have, which is raised to the system's limit.
    fn descriptor_limit() -> libc::rlim_t {
        static LIMIT: OnceLock<libc::rlim_t> = OnceLock::new();
        *LIMIT.get_or_init(|| {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: both calls get a valid rlimit; raising the soft limit does no harm.
            unsafe {
                libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
            limit.rlim_max
        })
    }

    /// Raises the limit of descriptors, and returns the least number above those that cases get.
    pub fn end_of_numbers() -> i32 {
        // No higher than needed: the kernel's table has room for all numbers below.
        descriptor_limit().min(32_768) as i32
    }

    /// Duplicates a descriptor under the first free number from `least` on.
    pub fn duplicate(source: &impl AsFd, least: i32) -> RawFd {
        let fd = source.as_fd().as_raw_fd();
        // SAFETY: duplicates a descriptor that is borrowed for the time of the call.
        let number = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) };
        assert!(number >= least, "no descriptors left");
        number
    }

    /// Closes a number.
    ///
    /// # Safety
    ///
    /// It has no owner.
    pub unsafe fn close(fd: RawFd) {
        // SAFETY: by the caller.
        assert_eq!(unsafe { libc::close(fd) }, 0);
    }

    /// Makes a number mean the file of `source`.
    ///
    /// # Safety
    ///
    /// It has no owner.
    pub unsafe fn replace(fd: RawFd, source: &impl AsFd) {
        // SAFETY: by the caller.
        let number = unsafe { libc::dup2(source.as_fd().as_raw_fd(), fd) };
        assert_eq!(number, fd);
    }

    /// Reads from an open number.
    pub fn read(fd: RawFd, buffer: &mut [u8]) -> isize {
        // SAFETY: reads into a buffer of that size.
        unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) }
    }

    /// The flags of an open file.
    pub fn flags(source: &impl AsRawFd) -> c_int {
        // SAFETY: reads the flags of an open descriptor.
        unsafe { libc::fcntl(source.as_raw_fd(), libc::F_GETFL) }
    }

    pub fn regular_file() -> FileSource {
        let program = std::env::current_exe().expect("a program");
        File::open(program).expect("a regular file")
    }

    pub fn directory() -> FileSource {
        File::open("/").expect("a directory")
    }

    /// Returns the two ends of a pipe, for reading and for writing.
    pub fn pipe() -> (FileSource, FileSource) {
        let mut ends = [0; 2];
        // SAFETY: fills in two new descriptors, which nothing else owns.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            ends.map(|fd| File::from_raw_fd(fd)).into()
        }
    }

    /// Returns a TCP socket that has begun to connect.
    pub fn connecting(address: SocketAddr) -> TcpStream {
        let SocketAddr::V4(address) = address else {
            panic!("an IPv4 address");
        };
        // SAFETY: the new descriptor, if it is one, has no other owner.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            assert!(fd >= 0, "a socket");
            TcpStream::from_raw_fd(fd)
        };
        socket.set_nonblocking(true).expect("non-blocking");
        // SAFETY: a zeroed sockaddr_in is a valid one, and the call gets one of the right size.
        unsafe {
            let mut to: libc::sockaddr_in = std::mem::zeroed();
            to.sin_family = libc::AF_INET as _;
            to.sin_port = address.port().to_be();
            to.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            libc::connect(
                socket.as_raw_fd(),
                (&raw const to).cast(),
                size_of_val(&to) as _,
            );
        }
        socket
    }

    /// Sends a byte of priority data.
    pub fn send_priority(socket: &TcpStream) {
        // SAFETY: sends one byte on an open socket.
        let sent =
            unsafe { libc::send(socket.as_raw_fd(), [1u8].as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
    }

    /// Sleeps until a descriptor is readable, for as many milliseconds at most. Returns whether it is.
    #[cfg(not(polling_test_poll_backend))]
    pub fn poll(fd: &impl AsFd, timeout: c_int) -> bool {
        let mut poll = libc::pollfd {
            fd: fd.as_fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, alive during the call.
        unsafe { libc::poll(&mut poll, 1, timeout) == 1 }
    }

    /// Forks.
    ///
    /// # Safety
    ///
    /// The child calls nothing that allocates or takes a lock that another thread may hold, and ends with
    /// [`exit_child`].
    pub unsafe fn fork() -> c_int {
        // SAFETY: by the caller.
        unsafe { libc::fork() }
    }

    /// Ends a child without running anything of the parent's.
    pub fn exit_child(is_well: bool) -> ! {
        // SAFETY: ends the process.
        unsafe { libc::_exit(if is_well { 0 } else { 1 }) }
    }

    /// Waits until a child has ended, and returns whether it was well.
    pub fn wait_for_child(child: c_int) -> bool {
        let mut status = 0;
        // SAFETY: waits for a child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        status == 0
    }

    /// Makes SIGUSR1 call `handler`, and interrupt system calls.
    pub fn on_signal(handler: extern "C" fn(c_int)) {
        // SAFETY: the callers' handlers only count, and nothing else here uses this signal; no SA_RESTART, so that
        // calls are interrupted.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
        }
    }

    /// The calling thread, for [`send_signal`].
    pub fn this_thread() -> usize {
        // SAFETY: the id of the calling thread.
        unsafe { libc::pthread_self() as usize }
    }

    /// Sends SIGUSR1 to a thread, which must be alive.
    pub fn send_signal(thread: usize) {
        // SAFETY: by the caller.
        unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGUSR1) };
    }

    pub fn at_exit(call: extern "C" fn()) {
        // SAFETY: a function of this program.
        unsafe { libc::atexit(call) };
    }
}

#[cfg(windows)]
mod sys {
    use std::net::{SocketAddr, TcpStream};

    use rustix::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

    pub use libc::c_int;

    // Winsock's codes, where there are any, or else Windows' own.
    pub const EBADF: i32 = 10038;
    pub const EEXIST: i32 = 183;
    pub const EINTR: i32 = 10004;
    pub const EINVAL: i32 = 10022;
    pub const EMFILE: i32 = 10024;
    pub const ENFILE: i32 = 4;
    pub const ENOENT: i32 = 1168;
    pub const ENOMEM: i32 = 8;
    pub const ENOSPC: i32 = 1450;
    pub const EPERM: i32 = 5;

    pub type FileSource = TcpStream;

    pub fn end_of_numbers() -> i32 {
        0
    }

    pub fn duplicate(source: &impl AsFd, _: i32) -> RawFd {
        let socket = source.as_fd().try_clone_to_owned().expect("a socket");
        socket.into_raw_fd()
    }

    pub unsafe fn close(fd: RawFd) {
        // SAFETY: by the caller.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }

    pub unsafe fn replace(_: RawFd, _: &impl AsFd) {
        missing("a choice of a socket's number");
    }

    pub fn read(_: RawFd, _: &mut [u8]) -> isize {
        missing("read")
    }

    pub fn flags(_: &impl AsRawFd) -> c_int {
        missing("a socket's flags")
    }

    pub fn regular_file() -> FileSource {
        missing("a file that can be watched")
    }

    pub fn directory() -> FileSource {
        missing("a directory that can be watched")
    }

    pub fn pipe() -> (FileSource, FileSource) {
        missing("a pipe that can be watched")
    }

    pub fn connecting(address: SocketAddr) -> TcpStream {
        use rustix::net::{AddressFamily, SocketType, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let socket = TcpStream::from(socket);
        socket.set_nonblocking(true).expect("non-blocking");
        let _ = connect(&socket, &address);
        socket
    }

    pub fn send_priority(_: &TcpStream) {
        missing("priority data")
    }

    pub unsafe fn fork() -> c_int {
        missing("fork")
    }

    pub fn exit_child(_: bool) -> ! {
        missing("fork")
    }

    pub fn wait_for_child(_: c_int) -> bool {
        missing("fork")
    }

    pub fn on_signal(_: extern "C" fn(c_int)) {
        missing("a signal")
    }

    pub fn this_thread() -> usize {
        0
    }

    pub fn send_signal(_: usize) {
        missing("a signal")
    }

    pub fn at_exit(_: extern "C" fn()) {}

    fn missing(what: &str) -> ! {
        unreachable!("Windows has not {what}, and this case is no exception")
    }
}
