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

mod connection;
mod driver;
mod easy;
mod error;
mod options;
mod transfer;
mod watches;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use futures_channel::oneshot::channel;
use oneloop::Reactor;

pub use connection::Connection;
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

    /// Has libcurl make a connection without a request, as its option `CURLOPT_CONNECT_ONLY` says. The program uses
    /// the connection for WebSockets, or for a protocol of its own.
    ///
    /// Dropping the future ends the attempt.
    ///
    /// ```
    /// use curl::easy::Easy;
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt};
    /// use oneloop::{Reactor, futures::Async};
    /// use oneloop_curl::Curl;
    /// # use std::io::{Read, Write};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let url = format!("http://{}/", listener.local_addr()?);
    /// # let server = std::thread::spawn(move || {
    /// #     let (mut client, _) = listener.accept().unwrap();
    /// #     let mut five = [0; 5];
    /// #     client.read_exact(&mut five).unwrap();
    /// #     client.write_all(&five).unwrap();
    /// # });
    /// let reactor = Reactor::new()?;
    /// let curl = Curl::new(&reactor)?;
    /// let mut easy = Easy::new();
    /// easy.url(&url)?; // of a server that sends back what it gets
    /// reactor.block_on(async {
    ///     let connection = curl.connect(easy).await?;
    ///     let mut connection = Async::new(&reactor, connection)?;
    ///     connection.write_all(b"hello").await?;
    ///     let mut answer = [0; 5];
    ///     connection.read_exact(&mut answer).await?;
    ///     assert_eq!(&answer, b"hello");
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # server.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if libcurl cannot connect, with the easy handle if that still exists.
    pub fn connect<E: Request>(
        &self,
        mut easy: E,
    ) -> impl Future<Output = Result<Connection, Error<E>>> + Send + use<E> {
        let curl = self.clone();
        async move {
            if let Err(error) = easy.connect_only() {
                return Err(Error::new(Cause::Transfer(error), Some(easy)));
            }
            let attempt = Attempt(curl.control());
            let key = attempt.0.key;
            let (sender, receiver) = channel();
            // If the future is gone, the connection comes back, and is dropped.
            let driver = curl.shared.driver.clone();
            let done = move |result: Result<_, _>| {
                let connected = result.map(|socket| Connection {
                    driver,
                    key,
                    socket,
                    process: std::process::id(),
                });
                drop(sender.send(connected));
            };
            curl.begin(easy, done, move |driver, easy, done| {
                driver.connect(key, easy, done);
            })?;
            let result = receiver.await;
            result.unwrap_or_else(|_| Err(Error::new(Cause::Closed, None)))
        }
    }

    fn start_as<E, F>(&self, key: usize, easy: E, done: F) -> Result<(), Error<E>>
    where
        E: Request,
        F: FnOnce(Result<E, Error<E>>) + Send + 'static,
    {
        self.begin(easy, done, move |driver, easy, done| {
            driver.start(key, easy, done);
        })
    }

    /// Calls `start` on the driving thread.
    fn begin<E, F>(
        &self,
        easy: E,
        done: F,
        start: impl FnOnce(&Driver, E, F) + Send + 'static,
    ) -> Result<(), Error<E>>
    where
        E: Request,
        F: Send + 'static,
    {
        let driver = &self.shared.driver;
        // Kept outside of the callback, so that it still exists if the loop refuses the callback.
        let parts = Arc::new(Mutex::new(Some((easy, done))));
        let (started, taken) = (driver.clone(), parts.clone());
        let begin = move || {
            let parts = lock(&taken).take();
            if let Some((easy, done)) = parts {
                start(&started, easy, done);
            }
        };
        if driver.post(begin) {
            return Ok(());
        }
        let parts = lock(&parts).take();
        Err(Error::new(Cause::Closed, parts.map(|(easy, _)| easy)))
    }
}

/// An attempt to connect, which ends if this is dropped. One that has ended is not affected.
struct Attempt(Control);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.cancel();
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
