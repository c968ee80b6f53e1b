//! One connection: hyper, polled by the handler of its socket.
//!
//! It does without `Async`, because what a loop calls must not hold a handle of the loop, and because its handlers
//! must not keep `run` going.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use oneloop::Interest;

use crate::address::Stream;
use crate::inspectable::Inspectable;
use crate::respond::respond;
use crate::server::State;

/// The most bytes of a request's head, and of an answer that are kept until the client takes them.
const BUFFER: usize = 16 * 1024;

pub(crate) struct Connection {
    http: Pin<Box<dyn Future<Output = ()> + Send>>,
    progress: Arc<Progress>,
}

/// Conditions for which a connection waits.
#[derive(Default)]
pub(crate) struct Progress {
    for_input: AtomicBool,
    for_room: AtomicBool,
    /// It goes on in the next turn.
    woken: AtomicBool,
    /// It goes on at the next tick.
    for_tick: AtomicBool,
    /// When it is closed, in nanoseconds since the start by the loop's clock.
    deadline: AtomicU64,
}

impl Connection {
    pub(crate) fn new<M: Inspectable>(
        state: Arc<State>,
        stream: Arc<Stream>,
        progress: Arc<Progress>,
    ) -> Connection {
        let io = Io {
            stream,
            progress: progress.clone(),
        };
        let of_requests = progress.clone();
        let answer = service_fn(move |request| {
            let answer = respond::<M>(&state, &of_requests, &request);
            ready(Ok::<_, Infallible>(answer))
        });
        let http = http1::Builder::new()
            .max_buf_size(BUFFER)
            .max_headers(64)
            .serve_connection(io, answer);
        Connection {
            // An error here is the client's: it went away, or spoke something else.
            http: Box::pin(async { drop(http.await) }),
            progress,
        }
    }

    /// Goes on. Returns the interest with which it waits, or `None` if the connection is over.
    pub(crate) fn proceed(&mut self) -> Option<Interest> {
        let progress = &self.progress;
        for flag in [
            &progress.for_input,
            &progress.for_room,
            &progress.woken,
            &progress.for_tick,
        ] {
            flag.store(false, Relaxed);
        }
        let waker = Waker::from(progress.clone());
        let polled = self.http.as_mut().poll(&mut Context::from_waker(&waker));
        polled.is_pending().then(|| progress.interest())
    }
}

impl Progress {
    fn interest(&self) -> Interest {
        let mut interest = Interest::NONE;
        if self.for_input.load(Relaxed) {
            interest |= Interest::READABLE;
        }
        // A socket is writable most of the time. If it is not, there is no hurry.
        if self.for_room.load(Relaxed) || self.woken.load(Relaxed) {
            interest |= Interest::WRITABLE;
        }
        interest
    }

    pub(crate) fn wait_for_tick(&self) {
        self.for_tick.store(true, Relaxed);
    }

    pub(crate) fn waits_for_tick(&self) -> bool {
        self.for_tick.load(Relaxed)
    }

    /// Sets when the connection is closed, in nanoseconds since the start by the loop's clock.
    pub(crate) fn set_deadline(&self, deadline: u64) {
        self.deadline.store(deadline, Relaxed);
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Relaxed);
    }
}

struct Io {
    stream: Arc<Stream>,
    progress: Arc<Progress>,
}

impl Io {
    fn attempt<T>(
        waits: &AtomicBool,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    waits.store(true, Relaxed);
                    return Poll::Pending;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 2048];
        let room = bytes.len().min(buffer.remaining());
        let read = || self.stream.read(&mut bytes[..room]);
        let read = Io::attempt(&self.progress.for_input, read);
        read.map_ok(|length| buffer.put_slice(&bytes[..length]))
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Io::attempt(&self.progress.for_room, || self.stream.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.end())
    }
}
