//! libcurl's transfers on a [`oneloop`] reactor, and so on its built-in loop, on tokio, on async-io, or
//! on whatever else drives it: as futures that any executor awaits, and as callbacks.
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
//! On tokio it is `oneloop_tokio::drive(&reactor)`, spawned, and `curl.transfer(easy).await` in any
//! task.
//!
//! # Threads
//!
//! libcurl, and with it all callbacks of the easy handles, runs on the thread that drives the loop;
//! transfers may be begun and awaited on any. A callback holds the loop up while it runs: give what it
//! receives away, or pause. A panic in one goes on through whoever drives the loop, and ends its
//! transfer with an error; so it does others to which libcurl attends in the same call.
//!
//! # What libcurl can do
//!
//! TLS, HTTP/2 and the rest are features of the crate `curl`, which takes the system's libcurl if there
//! is one. A resolver without threads (`curl` says which: `curl::Version`) holds the loop up while it
//! looks a name up.

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

/// libcurl on a reactor: transfers that share connections, and the loop with all else.
///
/// A clone is another handle of the same. When the last is gone, transfers under way come to their
/// end, and connections that are kept for later ones are closed.
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
    /// libcurl on `reactor`.
    ///
    /// # Errors
    ///
    /// If the loop is closed.
    pub fn new(reactor: &Reactor) -> oneloop::Result<Curl> {
        Curl::with_options(reactor, Options::new())
    }

    /// libcurl on `reactor`, with options.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_options(reactor: &Reactor, options: Options) -> oneloop::Result<Curl> {
        let driver = Driver::new(reactor, options.multi)?;
        let next = AtomicUsize::new(0);
        let shared = Arc::new(Shared { driver, next });
        Ok(Curl { shared })
    }

    /// A transfer to be awaited, from any executor and thread. Gives the easy handle back, also with
    /// the error.
    pub fn transfer<E: Request>(&self, easy: E) -> Transfer<E> {
        Transfer::new(self.clone(), easy)
    }

    /// Begins a transfer, and calls `done` when it is over, on the thread that drives the loop. From
    /// any thread, also from callbacks of transfers.
    ///
    /// # Errors
    ///
    /// If the loop is closed. (If it ends during the transfer, `done` is dropped with it.)
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
        // Outside of the callback, to be there if the loop does not take that.
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
