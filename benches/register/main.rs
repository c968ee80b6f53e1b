//! Adding a descriptor and removing it again: outside of callbacks, where each is in force when the call
//! returns.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oneloop::{Interest, LocalReactor, Mode};
use oneloop_benches::{Bench, Peer};
use rustix::event::epoll;

/// How many others are registered meanwhile.
struct Others(usize);

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add and remove, beside {}", self.0)
    }
}

fn main() -> ExitCode {
    let bench = Bench {
        name: "register",
        about: "\
A descriptor is added and removed again, beside others that stay. The yardstick is epoll_ctl alone,
twice for each event.",
        workloads: vec![Others(10), Others(1000)],
        yardstick: peer("bare epoll", bare),
        peers: vec![
            peer("oneloop", oneloop),
            peer("calloop", calloop),
            peer("mio", mio),
            peer("polling", polling),
            peer("tokio AsyncFd", tokio),
            peer("async-io Async", async_io),
        ],
    };
    bench.main()
}

/// Registers the first ones for good, and the last again and again.
type Run = fn(Vec<UnixStream>, u64) -> io::Result<Duration>;

fn peer(name: &'static str, run: Run) -> Peer<Others> {
    Peer::new(name, move |others: &Others, events| {
        let pairs: io::Result<Vec<_>> = (0..=others.0 / 2).map(|_| UnixStream::pair()).collect();
        let sockets = pairs?.into_iter().flat_map(|(a, b)| [a, b]);
        let sockets: Vec<_> = sockets.take(others.0 + 1).collect();
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        run(sockets, events)
    })
}

/// Does it once outside of the time.
fn timed(events: u64, mut once: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    once()?;
    let start = Instant::now();
    for _ in 0..events {
        once()?;
    }
    Ok(start.elapsed())
}

fn bare(sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let add = |socket: &UnixStream| {
        let data = epoll::EventData::new_u64(1);
        epoll::add(&set, socket, data, epoll::EventFlags::IN)
    };
    let (last, others) = sockets.split_last().expect("one at least");
    others.iter().try_for_each(add)?;
    timed(events, || {
        add(last)?;
        Ok(epoll::delete(&set, last)?)
    })
}

fn oneloop(mut sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    let reactor = LocalReactor::new()?;
    let last = sockets.pop().expect("one at least");
    for socket in sockets {
        reactor.add_handler(socket, Interest::READABLE, Mode::Level, |_, _| {})?;
    }
    timed(events, || {
        // SAFETY: it is open for as long as this runs, and removed at once.
        let id = unsafe {
            reactor.add_raw_handler(last.as_raw_fd(), Interest::READABLE, Mode::Level, |_| {})
        };
        Ok(reactor.remove_handler(id?)?)
    })
}

fn calloop(mut sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    use calloop::generic::Generic;
    use calloop::{EventLoop, Interest, Mode, PostAction};

    let own = EventLoop::<()>::try_new()?;
    let handle = own.handle();
    let last = sockets.pop().expect("one at least");
    for socket in sockets {
        let source = Generic::new(socket, Interest::READ, Mode::Level);
        let added = handle.insert_source(source, |_, _, ()| Ok(PostAction::Continue));
        added.map_err(|refused| refused.error)?;
    }
    timed(events, || {
        // SAFETY: it is open for as long as this runs.
        let fd = unsafe { BorrowedFd::borrow_raw(last.as_raw_fd()) };
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let added = handle.insert_source(source, |_, _, ()| Ok(PostAction::Continue));
        handle.remove(added.map_err(|refused| refused.error)?);
        Ok(())
    })
}

fn mio(sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    use mio::unix::SourceFd;
    use mio::{Interest, Poll, Token};

    let poll = Poll::new()?;
    let (last, others) = sockets.split_last().expect("one at least");
    for (number, socket) in others.iter().enumerate() {
        let mut source = SourceFd(&socket.as_raw_fd());
        poll.registry()
            .register(&mut source, Token(number), Interest::READABLE)?;
    }
    let fd = last.as_raw_fd();
    timed(events, || {
        poll.registry()
            .register(&mut SourceFd(&fd), Token(0), Interest::READABLE)?;
        poll.registry().deregister(&mut SourceFd(&fd))
    })
}

fn polling(sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    use polling::{Event, PollMode, Poller};

    let poller = Poller::new()?;
    let (last, others) = sockets.split_last().expect("one at least");
    for socket in others {
        // SAFETY: the poller goes first.
        unsafe { poller.add_with_mode(socket, Event::readable(1), PollMode::Level)? };
    }
    let timed = timed(events, || {
        // SAFETY: it is removed at once.
        unsafe { poller.add_with_mode(last, Event::readable(1), PollMode::Level)? };
        poller.delete(last.as_fd())
    });
    drop(poller);
    timed
}

fn tokio(sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().build()?;
    // Where it takes out what was removed is a turn of the runtime.
    runtime.block_on(async {
        let register = |one| {
            // SAFETY: the sockets outlive what is registered, and their numbers mean nothing else.
            let registered = unsafe { AsyncFd::register_with_interest(one, Interest::READABLE) };
            registered.map_err(|refused| io::Error::other(refused.to_string()))
        };
        let (last, others) = sockets.split_last().expect("one at least");
        let others = others.iter().map(|one| register(one.as_fd()));
        let _others = others.collect::<io::Result<Vec<_>>>()?;
        drop(register(last.as_fd())?);
        let start = Instant::now();
        for event in 0..events {
            drop(register(last.as_fd())?);
            if event % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
        Ok(start.elapsed())
    })
}

fn async_io(mut sockets: Vec<UnixStream>, events: u64) -> io::Result<Duration> {
    use async_io::Async;

    let last = sockets.pop().expect("one at least");
    let others = sockets.into_iter().map(Async::new_nonblocking);
    let _others = others.collect::<io::Result<Vec<_>>>()?;
    async_io::block_on(poll_fn(|_| {
        // SAFETY: it is open for as long as this runs.
        let fd = || unsafe { BorrowedFd::borrow_raw(last.as_raw_fd()) };
        std::task::Poll::Ready(timed(events, || Async::new_nonblocking(fd()).map(drop)))
    }))
}
