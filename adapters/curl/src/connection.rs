use std::ffi::c_void;
use std::fmt;
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::sync::Arc;

use curl::multi::Socket;
use curl_sys::{CURL, CURL_SOCKET_BAD, CURLINFO, CURLcode};

use crate::driver::Driver;

/// A connection that libcurl has made, through proxies and TLS as its easy handle says, for a protocol of the
/// program's own. [`Curl::connect`](crate::Curl::connect) makes it.
///
/// Reading and writing never block. [`Async`](oneloop::futures::Async) makes a connection of it that tasks read and
/// write. Any thread may use it. Inside the callbacks of easy handles, reading and writing fail with
/// [`Deadlock`](io::ErrorKind::Deadlock). Dropping it closes the connection.
pub struct Connection {
    pub(crate) driver: Arc<Driver>,
    pub(crate) key: usize,
    pub(crate) socket: Socket,
    /// The process that has made it.
    pub(crate) process: u32,
}

impl Connection {
    fn call(&self, call: impl FnOnce(*mut CURL, &mut usize) -> CURLcode) -> io::Result<usize> {
        let mut length = 0;
        match self
            .driver
            .with_kept(self.key, |raw| call(raw, &mut length))?
        {
            curl_sys::CURLE_OK => Ok(length),
            curl_sys::CURLE_AGAIN => Err(io::ErrorKind::WouldBlock.into()),
            error => Err(io::Error::other(curl::Error::new(error))),
        }
    }
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (data, size) = (buffer.as_mut_ptr().cast::<c_void>(), buffer.len());
        // SAFETY: the handle is alive, no other thread uses it, and the buffer has that many bytes.
        self.call(|raw, length| unsafe { curl_sys::curl_easy_recv(raw, data, size, length) })
    }
}

impl Write for &Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (data, size) = (bytes.as_ptr().cast::<c_void>(), bytes.len());
        // SAFETY: the handle is alive, no other thread uses it, and there are that many bytes.
        self.call(|raw, length| unsafe { curl_sys::curl_easy_send(raw, data, size, length) })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: libcurl has the socket open until the handle is removed, which only the drop of this does.
        unsafe { BorrowedFd::borrow_raw(self.socket) }
    }
}

#[cfg(windows)]
impl AsSocket for Connection {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        // SAFETY: libcurl has the socket open until the handle is removed, which only the drop of this does.
        unsafe { BorrowedSocket::borrow_raw(self.socket) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // In a child process, the connection belongs to the parent.
        if std::process::id() != self.process {
            return;
        }
        let (driver, key) = (self.driver.clone(), self.key);
        if !self.driver.post(move || driver.remove(key)) {
            self.driver.remove(key);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.socket).finish()
    }
}

/// Returns the socket of a connection that was made.
///
/// # Safety
///
/// The handle must be alive, and no other thread may use it.
pub(crate) unsafe fn active_socket(raw: *mut CURL) -> Result<Socket, curl::Error> {
    // The crate `curl-sys` lacks it.
    const CURLINFO_SOCKET: CURLINFO = 0x50_0000;
    const CURLINFO_ACTIVESOCKET: CURLINFO = CURLINFO_SOCKET + 44;
    let mut socket = CURL_SOCKET_BAD;
    // SAFETY: the caller's promise; this information is a socket.
    let code = unsafe { curl_sys::curl_easy_getinfo(raw, CURLINFO_ACTIVESOCKET, &raw mut socket) };
    match (code, socket) {
        (curl_sys::CURLE_OK, CURL_SOCKET_BAD) => {
            Err(curl::Error::new(curl_sys::CURLE_UNSUPPORTED_PROTOCOL))
        }
        (curl_sys::CURLE_OK, _) => Ok(socket),
        (error, _) => Err(curl::Error::new(error)),
    }
}
