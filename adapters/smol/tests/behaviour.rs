//! Behaviour on which programs that are written for async-io rely.
#![cfg(target_os = "linux")]

use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use async_io::{Async, IoSafe, Timer, block_on};
use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};

const MS: Duration = Duration::from_millis(1);

/// Counts how often its waker was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn wakes() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

fn pair() -> (Async<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Async::new(ours).unwrap(), theirs)
}

/// Fails if the future takes long.
fn soon<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("it waits for ever");
    };
    block_on(future::or(future, late))
}

#[test]
fn a_task_that_another_replaces_is_woken() {
    let (stream, mut peer) = pair();
    let ((first, one), (last, two)) = (wakes(), wakes());
    for waker in [&one, &two] {
        let mut cx = Context::from_waker(waker);
        assert!(stream.poll_readable(&mut cx).is_pending());
    }
    assert_eq!((first.0.load(SeqCst), last.0.load(SeqCst)), (1, 0));
    peer.write_all(b"x").unwrap();
    soon(stream.readable()).unwrap();
    assert_eq!((first.0.load(SeqCst), last.0.load(SeqCst)), (1, 1));
}

#[test]
fn two_tasks_that_read_by_one_handle_both_end() {
    let (stream, mut peer) = pair();
    let read = || async {
        let mut bytes = [0];
        (&stream).read_exact(&mut bytes).await.unwrap();
        bytes[0]
    };
    let executor = async_executor::LocalExecutor::new();
    let (one, two) = (executor.spawn(read()), executor.spawn(read()));
    peer.write_all(b"xy").unwrap();
    let (one, two) = soon(executor.run(zip(one, two)));
    assert_eq!([one.min(two), one.max(two)], *b"xy");
}

#[test]
fn closing_flushes_and_does_not_shut_down() {
    let (mut stream, mut peer) = pair();
    soon(stream.close()).unwrap();
    soon((&stream).close()).unwrap();
    soon(stream.write_all(b"still open")).unwrap();
    let mut bytes = [0; 10];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still open");

    // By the handle's own `flush`, which may have to wait.
    let mut handle = Async::new(Flushes(stream.into_inner().unwrap(), 0)).unwrap();
    soon(handle.close()).unwrap();
    assert_eq!(handle.get_ref().1, 2);
}

/// A handle that counts calls of `flush`, of which the first would block.
struct Flushes(UnixStream, usize);

impl AsFd for Flushes {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Write for Flushes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.1 += 1;
        if self.1 == 1 {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    }
}

// SAFETY: the descriptor is never replaced.
unsafe impl IoSafe for Flushes {}

#[test]
fn into_inner_gives_a_handle_that_can_be_registered_again() {
    let (stream, mut peer) = pair();
    let number = stream.as_raw_fd();
    let handle = stream.into_inner().unwrap();
    assert_eq!(handle.as_raw_fd(), number);
    let flags = rustix::fs::fcntl_getfl(&handle).unwrap();
    assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    let stream = Async::new_nonblocking(handle).unwrap();
    peer.write_all(b"x").unwrap();
    soon(stream.readable()).unwrap();
}

#[test]
fn a_descriptor_is_registered_once() {
    let (stream, _peer) = pair();
    let refused = Async::new(stream.get_ref()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(refused.raw_os_error(), Some(libc::EEXIST));
    let duplicate = stream.get_ref().try_clone().unwrap();
    assert!(Async::new(duplicate).is_ok());
}

#[test]
fn a_number_is_free_after_its_handle_was_closed() {
    for _ in 0..100 {
        let (stream, _peer) = pair();
        drop(stream);
    }
    // Closed by another owner of the number, which is against the rules of `get_mut`.
    let (mut stream, _peer) = pair();
    // SAFETY: the old descriptor is replaced while it is registered, and the handle is not used any more.
    let inside = unsafe { stream.get_mut() };
    let (fresh, _other) = UnixStream::pair().unwrap();
    let number = inside.as_raw_fd();
    drop(std::mem::replace(inside, fresh));
    let (mut others, mut found) = (Vec::new(), false);
    while !found {
        let (one, other) = UnixStream::pair().unwrap();
        found = [&one, &other].iter().any(|s| s.as_raw_fd() == number);
        others.push((Async::new(one).unwrap(), Async::new(other).unwrap()));
    }
}

#[test]
fn a_closed_descriptor_is_refused_by_its_code() {
    struct Closed;
    impl AsFd for Closed {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            // SAFETY: the number is not open, and every call says so.
            unsafe { std::os::fd::BorrowedFd::borrow_raw(1_000_000) }
        }
    }
    let refused = Async::new(Closed).err().unwrap();
    assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
    let refused = Async::new_nonblocking(Closed).err().unwrap();
    assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_regular_file_is_refused_or_ready() {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let file = Async::new(file).unwrap();
    soon(file.readable()).unwrap();
}

#[test]
fn interrupted_calls_are_errors() {
    let (stream, _peer) = pair();
    let interrupted = || Err::<(), _>(Error::from(ErrorKind::Interrupted));
    let read = soon(stream.read_with(|_| interrupted()));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Interrupted);
    let written = soon(stream.write_with(|_| interrupted()));
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn read_with_tries_again_when_its_task_is_polled_for_another_reason() {
    let (stream, _peer) = pair();
    let mut attempts = 0;
    let read = stream.read_with(|_| {
        attempts += 1;
        if attempts < 3 {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(attempts)
        }
    });
    let mut read = pin!(read);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut cx).is_pending());
    assert!(read.as_mut().poll(&mut cx).is_pending());
    let Poll::Ready(read) = read.poll(&mut cx) else {
        panic!("it did not try again");
    };
    assert_eq!(read.unwrap(), 3);
}

#[test]
fn reading_and_writing_with_the_handle_for_changes() {
    let (mut stream, mut peer) = pair();
    // SAFETY: the closure replaces nothing.
    let sent = soon(unsafe { stream.write_with_mut(|stream| stream.write(b"ping")) });
    assert_eq!(sent.unwrap(), 4);
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    peer.write_all(b"pong").unwrap();
    // SAFETY: as above.
    let read = soon(unsafe { stream.read_with_mut(|stream| stream.read(&mut bytes)) });
    assert_eq!((read.unwrap(), &bytes), (4, b"pong"));
}

/// A handle that keeps bytes inside: a read of its descriptor would not show them.
struct Buffered(UnixStream, Vec<u8>);

impl AsFd for Buffered {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.1.is_empty() {
            let mut bytes = [0; 64];
            let read = self.0.read(&mut bytes)?;
            self.1.extend(&bytes[..read]);
        }
        let count = buffer.len().min(self.1.len()).min(1);
        buffer[..count].copy_from_slice(&self.1[..count]);
        self.1.drain(..count);
        Ok(count)
    }
}

// SAFETY: the descriptor is never replaced.
unsafe impl IoSafe for Buffered {}

#[test]
fn a_handle_may_keep_bytes_inside() {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let mut handle = Async::new(Buffered(ours, Vec::new())).unwrap();
    let mut bytes = [0; 8];
    for _ in 0..3 {
        peer.write_all(b"a letter").unwrap();
        soon(handle.read_exact(&mut bytes)).unwrap();
        assert_eq!(&bytes, b"a letter");
    }
}

#[test]
fn owned_futures_keep_their_handle() {
    fn is_static<T: Send + Unpin + 'static>(future: T) -> T {
        future
    }
    let (stream, mut peer) = pair();
    let stream = Arc::new(stream);
    soon(is_static(stream.clone().writable_owned())).unwrap();
    let mut readable = is_static(stream.clone().readable_owned());
    drop(stream);
    let polled = readable_once(&mut readable);
    assert!(polled.is_pending());
    peer.write_all(b"x").unwrap();
    soon(readable).unwrap();
    assert_eq!(peer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

fn readable_once(future: &mut (impl Future + Unpin)) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(future).poll(&mut cx).map(|_| ())
}

#[test]
fn conversions() {
    let (stream, peer) = pair();
    let fd: OwnedFd = stream.try_into().unwrap();
    let stream: Async<UnixStream> = fd.try_into().unwrap();
    let peer: Async<UnixStream> = peer.try_into().unwrap();
    let _: &UnixStream = stream.as_ref();
    assert_eq!(stream.as_fd().as_raw_fd(), stream.as_raw_fd());
    assert!(format!("{stream:?} {:?} {:?}", peer.readable(), Timer::never()).contains("Readable"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener: Async<TcpListener> = listener.try_into().unwrap();
    let client: Async<TcpStream> = TcpStream::connect(address).unwrap().try_into().unwrap();
    let mut incoming = pin!(listener.incoming());
    let server = soon(incoming.next()).unwrap().unwrap();
    let (a, b) = (server.get_ref(), client.get_ref());
    assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket: Async<UdpSocket> = socket.try_into().unwrap();
    let (one, other) = UnixDatagram::pair().unwrap();
    let one: Async<UnixDatagram> = one.try_into().unwrap();
    soon(one.send(b"x")).unwrap();
    assert_eq!(other.recv(&mut [0; 2]).unwrap(), 1);
    let path = format!("\0oneloop-smol-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&path[1..]).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let listener: Async<UnixListener> = listener.try_into().unwrap();
    soon(Async::<UnixStream>::connect(path)).unwrap();
    soon(listener.accept()).unwrap();
    // All of them are non-blocking then.
    let handles = [
        stream.as_fd(),
        peer.as_fd(),
        listener.as_fd(),
        socket.as_fd(),
        one.as_fd(),
    ];
    for handle in handles {
        let flags = rustix::fs::fcntl_getfl(handle).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }
}

#[test]
fn a_refused_connection_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = soon(Async::<TcpStream>::connect(address)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(soon(Async::<UnixStream>::connect("/no/such/path")).is_err());
    assert!(soon(Async::<UnixStream>::connect("a\0b")).is_err());
}

#[test]
fn missed_ticks_are_yielded_one_by_one() {
    let start = Instant::now() - 10 * MS;
    let mut ticks = Timer::interval_at(start, 3 * MS);
    for n in 0..5 {
        assert_eq!(soon(ticks.next()), Some(start + n * 3 * MS));
    }
    assert!(Instant::now() >= start + 12 * MS);
}

#[test]
fn a_timer_without_a_period_is_a_stream_that_stays_pending() {
    let mut timer = Timer::after(MS);
    assert!(timer.will_fire());
    assert!(soon(timer.next()).is_some());
    assert!(!timer.will_fire());
    assert!(soon(future::poll_once(timer.next())).is_none());
    assert!(soon(future::poll_once(&mut timer)).is_none());
    timer.set_after(MS);
    assert!(timer.will_fire());
    assert!(soon(timer.next()).is_some());
}

#[test]
fn a_timer_that_never_fires_can_be_set() {
    let mut timer = Timer::never();
    assert!(!timer.will_fire());
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
    timer.set_after(MS);
    soon(async {
        while woken.0.load(SeqCst) == 0 {
            Timer::after(MS).await;
        }
    });
    assert!(Pin::new(&mut timer).poll(&mut cx).is_ready());
    assert!(!Timer::after(Duration::MAX).will_fire());
    assert!(!Timer::interval(Duration::MAX).will_fire());
}

#[test]
fn a_timer_that_is_cleared_does_not_wake() {
    let mut timer = Timer::after(5 * MS);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
    timer.clear();
    assert!(!timer.will_fire());
    soon(Timer::after(20 * MS));
    assert_eq!(woken.0.load(SeqCst), 0);
    assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
}

#[test]
fn a_period_can_be_set() {
    let mut timer = Timer::never();
    timer.set_interval(2 * MS);
    let first = soon(timer.next()).unwrap();
    assert_eq!(soon(timer.next()), Some(first + 2 * MS));
    let start = Instant::now();
    timer.set_interval_at(start, MS);
    assert_eq!(soon(timer.next()), Some(start));
    assert_eq!(soon(timer.next()), Some(start + MS));
    // The time moves, and the period stays.
    let later = Instant::now() + MS;
    timer.set_at(later);
    assert_eq!(soon(timer.next()), Some(later));
    assert_eq!(soon(timer.next()), Some(later + MS));
    timer.set_interval(Duration::MAX);
    assert!(!timer.will_fire());
}

#[test]
fn a_timer_goes_from_task_to_task() {
    let mut timer = Timer::after(5 * MS);
    let (first, one) = wakes();
    let mut cx = Context::from_waker(&one);
    assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
    soon(&mut timer);
    assert_eq!(first.0.load(SeqCst), 0);
}

#[test]
fn the_loops_descriptor_shows_a_due_timer() {
    let fd = async_io::os::unix::reactor_fd().unwrap();
    let mut timer = Timer::after(MS);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
    while woken.0.load(SeqCst) == 0 {
        // The helper thread, or another test, may be faster.
        let mut watched = [rustix::event::PollFd::new(
            &fd,
            rustix::event::PollFlags::IN,
        )];
        let limit = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        rustix::event::poll(&mut watched, Some(&limit)).unwrap();
        block_on(future::yield_now());
    }
}

#[test]
fn waits_are_as_send_as_their_handle() {
    fn is_send<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    is_send::<Async<UnixStream>>();
    is_send::<async_io::Readable<'static, UnixStream>>();
    is_send::<async_io::Writable<'static, UnixStream>>();
    is_send::<async_io::ReadableOwned<UnixStream>>();
    is_send::<async_io::WritableOwned<UnixStream>>();
    is_send::<Timer>();
}

#[test]
fn a_wait_allocates_nothing() {
    let (stream, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    let stream = Arc::new(stream);
    let wait = || {
        block_on(async {
            let mut readable = stream.readable();
            // The loop has to report it first.
            assert!(future::poll_once(&mut readable).await.is_none());
            readable.await.unwrap();
            stream.clone().readable_owned().await.unwrap();
            stream.writable().await.unwrap();
            stream.clone().writable_owned().await.unwrap();
        });
    };
    wait();
    let before = allocations();
    for _ in 0..100 {
        wait();
    }
    assert_eq!(allocations() - before, 0);
    drop(Box::new(before));
    assert_eq!(allocations() - before, 1);
}

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn allocations() -> usize {
    ALLOCATIONS.get()
}

// SAFETY: the system's allocator does all of it.
unsafe impl std::alloc::GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the rules of this method.
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: as above.
        unsafe { std::alloc::System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_future_that_wakes_itself_lets_the_loop_go_on() {
    let timer = Timer::after(5 * MS);
    let mut timer = pin!(timer);
    let mut polls = 0_u32;
    // It wakes itself at each poll, and the timer is seen all the same.
    block_on(poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        timer.as_mut().poll(cx).map(|_| ())
    }));
    assert!(polls > 0);
}
