//! libcurl's transfers on a [`oneloop`] reactor, and thus on its built-in loop, on tokio, on async-io and on
//! any other driver. Transfers are futures that any executor can await, or callbacks.
//!
//! ```
//! use curl::easy::Easy;
//! use oneloop::Reactor;
//! use oneloop_curl::Curl;
//! # use std::io::{Read, Write};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let url = format!("http://{}/", listener.local_addr()?);
//! # let server = std::thread::spawn(move || {
//! #     let (mut client, _) = listener.accept().unwrap();
//! #     while client.read(&mut [0; 1000]).unwrap() == 1000 {}
//! #     client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
//! # });
//! let reactor = Reactor::new()?;
//! let curl = Curl::new(&reactor)?;
//!
//! let mut easy = Easy::new();
//! easy.url(&url)?;
//! easy.write_function(|data| {
//!     assert_eq!(data, b"hello");
//!     Ok(data.len())
//! })?;
//! let mut easy = reactor.block_on(curl.transfer(easy))??;
//! assert_eq!(easy.response_code()?, 200);
//! # server.join().unwrap();
//! # Ok(())
//! # }
//! ```
//!
//! On tokio, spawn `oneloop_tokio::drive(&reactor)` and await `curl.transfer(easy)` in any task.
//!
//! # Threads
//!
//! libcurl and all callbacks of the easy handles run on the driving thread. Any thread may begin and await
//! transfers. A callback delays the loop while it runs, so it should hand on the data that it receives, or
//! pause. A panic in a callback reaches the driver and ends the transfer with an error. It also ends other
//! transfers that libcurl serves in the same call.
//!
//! # What libcurl can do
//!
//! TLS, HTTP/2 and other protocols are features of the crate `curl`, which uses the system's libcurl if there
//! is one. If libcurl's resolver has no threads, it delays the loop while it looks up a name. `curl::Version`
//! reports which resolver it has.

#[cfg(not(unix))]
compile_error!("libcurl's descriptors are watched by their numbers, as on Unix");

mod driver;
mod easy;
mod error;
mod options;
mod transfer;
mod watches;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use oneloop::Reactor;

use driver::{Driver, lock};
pub use easy::Request;
pub use error::{Cause, Error};
pub use options::Options;
pub use transfer::{Control, Transfer};

/// libcurl on a reactor. Its transfers share connections, and they share the loop with everything else.
///
/// Clones are handles of the same instance. When the last one is dropped, running transfers come to their
/// end, and connections that were kept for later transfers are closed.
#[derive(Clone)]
pub struct Curl {
    shared: Arc<Shared>,
}

struct Shared {
    driver: Arc<Driver>,
    /// The number of the next transfer.
    next: AtomicUsize,
}

impl Curl {
    /// Makes a handle of libcurl on `reactor`.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn new(reactor: &Reactor) -> oneloop::Result<Curl> {
        Curl::with_options(reactor, Options::new())
    }

    /// Makes a handle of libcurl on `reactor`, with options.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed.
    pub fn with_options(reactor: &Reactor, options: Options) -> oneloop::Result<Curl> {
        let driver = Driver::new(reactor, options.multi)?;
        let next = AtomicUsize::new(0);
        let shared = Arc::new(Shared { driver, next });
        Ok(Curl { shared })
    }

    /// Returns a transfer that any executor and thread can await. Its result contains the easy handle, even
    /// after an error.
    pub fn transfer<E: Request>(&self, easy: E) -> Transfer<E> {
        Transfer::new(self.clone(), easy)
    }

    /// Begins a transfer. When it is over, the driving thread calls `done`. Any thread may call this, also in
    /// callbacks of transfers.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed. If the loop ends during the transfer, `done` is dropped with
    /// it.
    pub fn start<E, F>(&self, easy: E, done: F) -> Result<Control, Error<E>>
    where
        E: Request,
        F: FnOnce(Result<E, Error<E>>) + Send + 'static,
    {
        let control = self.control();
        self.start_as(control.key, easy, done)?;
        Ok(control)
    }

    fn control(&self) -> Control {
        Control {
            driver: Arc::downgrade(&self.shared.driver),
            key: self.shared.next.fetch_add(1, Relaxed),
        }
    }

    fn start_as<E, F>(&self, key: usize, easy: E, done: F) -> Result<(), Error<E>>
    where
        E: Request,
        F: FnOnce(Result<E, Error<E>>) + Send + 'static,
    {
        let driver = &self.shared.driver;
        // Kept outside of the callback, so that it still exists if the loop refuses the callback.
        let parts = Arc::new(Mutex::new(Some((easy, done))));
        let (started, taken) = (driver.clone(), parts.clone());
        let start = move || {
            let parts = lock(&taken).take();
            if let Some((easy, done)) = parts {
                started.start(key, easy, done);
            }
        };
        if driver.post(start) {
            return Ok(());
        }
        let parts = lock(&parts).take();
        Err(Error::new(Cause::Closed, parts.map(|(easy, _)| easy)))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let driver = self.driver.clone();
        self.driver.post(move || driver.closed());
    }
}

impl fmt::Debug for Curl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Curl").finish_non_exhaustive()
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
