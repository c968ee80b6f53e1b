//! Transfers on each host, with a server on the same loop and thread.
#![cfg(unix)]

use std::future::Future;
use std::mem;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use curl::easy::{Easy, Easy2, Handler, HttpVersion, InfoType, ReadError, WriteError};
use futures_channel::mpsc::{self, UnboundedSender};
use futures_lite::{AsyncWriteExt, FutureExt, StreamExt, future};
use oneloop::futures::{Async, Timer};
use oneloop::{Reactor, Remote};
use oneloop_c_tests::http::{Http, Version, Version::Http1, byte, spawn};
use oneloop_c_tests::{Drive, HOSTS, on_a_loop, on_poll};
use oneloop_curl::{Cause, Curl, Error, Options, Request, Transfer};

/// Runs a test as a task of the loop, on each host.
fn on_each_loop<F>(test: fn(Reactor, Curl, Http) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for (name, drive) in HOSTS.into_iter().chain([("poll(2)", on_poll as Drive)]) {
        println!("on {name}");
        let (sender, mut over) = mpsc::unbounded();
        on_a_loop(drive, |reactor| {
            let curl = Curl::new(reactor).unwrap();
            let http = Http::serve(reactor);
            let test = test(reactor.clone(), curl, http);
            let stopper = reactor.remote();
            spawn(&reactor.remote(), async move {
                test.await;
                sender.unbounded_send(()).unwrap();
                stopper.stop();
            });
        });
        over.try_recv().expect("the test has come to its end");
    }
}

/// Checks what it receives, and where it is called.
#[derive(Debug)]
struct Check {
    seed: usize,
    received: usize,
    right: bool,
    /// The first of it.
    text: Vec<u8>,
    /// To be sent.
    upload: usize,
    sent: usize,
    /// How many callbacks more before one pauses.
    pause_in: Option<usize>,
    pauses: usize,
    thread: thread::ThreadId,
}

impl Check {
    fn new(seed: usize) -> Check {
        Check {
            seed,
            received: 0,
            right: true,
            text: Vec::new(),
            upload: 0,
            sent: 0,
            pause_in: None,
            pauses: 0,
            thread: thread::current().id(),
        }
    }

    fn pauses(&mut self) -> bool {
        assert_eq!(
            thread::current().id(),
            self.thread,
            "all on the driving thread"
        );
        let Some(left) = &mut self.pause_in else {
            return false;
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        *left = 3;
        self.pauses += 1;
        true
    }
}

impl Handler for Check {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        if self.pauses() {
            return Err(WriteError::Pause);
        }
        let space = 20 - self.text.len();
        self.text.extend(data.iter().take(space));
        for &got in data {
            self.right &= got == byte(self.seed, self.received);
            self.received += 1;
        }
        Ok(data.len())
    }

    fn read(&mut self, data: &mut [u8]) -> Result<usize, ReadError> {
        if self.pauses() {
            return Err(ReadError::Pause);
        }
        let length = data.len().min(self.upload - self.sent);
        for place in &mut data[..length] {
            *place = byte(self.seed, self.sent);
            self.sent += 1;
        }
        Ok(length)
    }
}

fn get(http: &Http, version: Version, word: &str, number: usize) -> Easy2<Check> {
    let mut easy = Easy2::new(Check::new(number));
    easy.url(&http.url(version, word, number)).unwrap();
    match version {
        Version::Http1 => {}
        Version::Http2 => easy.http_version(HttpVersion::V2PriorKnowledge).unwrap(),
        Version::Tls => {
            easy.http_version(HttpVersion::V2TLS).unwrap();
            easy.ssl_cainfo_blob(http.certificate().as_bytes()).unwrap();
        }
    }
    if version != Http1 {
        // For another stream, rather than open another connection.
        easy.pipewait(true).unwrap();
    }
    easy
}

/// The abilities of this libcurl. Version 7.88 forgets, when it uses a connection again, that it knew of
/// HTTP/2 beforehand.
fn http2() -> Version {
    let version = curl::Version::get();
    match version.version_num() {
        ..0x08_00_00 => Version::Tls,
        _ => Version::Http2,
    }
}

fn is(error: &Error<Easy2<Check>>, test: fn(&curl::Error) -> bool) -> bool {
    matches!(error.cause(), Cause::Transfer(error) if test(error))
}

/// Awaits all at once.
async fn all<E: Request + Unpin>(mut transfers: Vec<Transfer<E>>) -> Vec<Result<E, Error<E>>> {
    let mut results: Vec<_> = transfers.iter().map(|_| None).collect();
    future::poll_fn(|cx| {
        for (transfer, result) in transfers.iter_mut().zip(&mut results) {
            if result.is_none() {
                if let Poll::Ready(ready) = transfer.poll(cx) {
                    *result = Some(ready);
                }
            }
        }
        if results.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

async fn two_hundred(curl: Curl, http: Http, version: Version) {
    // From nothing to more than what sockets and windows hold.
    let sizes = (0..200).map(|number| number * number * 8);
    let transfers = sizes
        .clone()
        .map(|size| curl.transfer(get(&http, version, "bytes", size)));
    let results = all(transfers.collect()).await;
    for (size, result) in sizes.zip(results) {
        let easy = result.unwrap();
        assert_eq!(easy.response_code().unwrap(), 200);
        assert_eq!(easy.get_ref().received, size);
        assert!(easy.get_ref().right, "{size}");
    }
    assert_eq!(http.requests(), 200);
}

#[test]
fn two_hundred_parallel_downloads_over_http_1() {
    on_each_loop(|_, curl, http| two_hundred(curl, http, Http1));
}

#[test]
fn two_hundred_parallel_downloads_over_http_2() {
    on_each_loop(|reactor, _, http| async move {
        // Of itself, libcurl takes a connection for each that finds no free stream.
        let options = Options::new().max_host_connections(2).unwrap();
        let curl = Curl::with_options(&reactor, options).unwrap();
        two_hundred(curl, http.clone(), http2()).await;
        assert!(http.connections() <= 2, "{}", http.connections());
    });
}

#[test]
fn sequential_transfers_share_a_connection() {
    on_each_loop(|_, curl, http| async move {
        for version in [Http1, http2()] {
            let mut easy = get(&http, version, "bytes", 100_000);
            for _ in 0..20 {
                *easy.get_mut() = Check::new(100_000);
                easy = curl.transfer(easy).await.unwrap();
                assert_eq!(easy.get_ref().received, 100_000);
            }
        }
        assert_eq!(http.connections(), 2);
        assert_eq!(http.requests(), 40);
    });
}

#[test]
fn a_slow_server_is_waited_for_while_others_go_on() {
    on_each_loop(|_, curl, http| async move {
        let over = Arc::new(Mutex::new(false));
        let slow = curl.transfer(get(&http, Http1, "slow", 300));
        let quick = async {
            for _ in 0..20 {
                let easy = get(&http, Http1, "bytes", 1000);
                curl.transfer(easy).await.unwrap();
                assert!(!*over.lock().unwrap());
            }
        };
        let slow = async {
            let easy = slow.await.unwrap();
            *over.lock().unwrap() = true;
            assert_eq!(easy.get_ref().received, 300);
            assert!(easy.get_ref().right);
        };
        future::zip(slow, quick).await;
    });
}

#[test]
fn a_server_that_dies_in_the_middle_is_an_error() {
    on_each_loop(|_, curl, http| async move {
        let dying = (0..20).map(|_| curl.transfer(get(&http, Http1, "dies", 50_000)));
        let living = (0..20).map(|_| curl.transfer(get(&http, Http1, "bytes", 50_000)));
        let (dead, living) = future::zip(all(dying.collect()), all(living.collect())).await;
        for result in dead {
            let error = result.err().unwrap();
            assert!(is(&error, curl::Error::is_partial_file), "{error}");
            assert!(error.into_easy().unwrap().get_ref().right);
        }
        for result in living {
            assert_eq!(result.unwrap().get_ref().received, 50_000);
        }
        let error = curl.transfer(get(&http, http2(), "dies", 50_000)).await;
        let error = error.unwrap_err();
        assert!(
            is(&error, |error| error.is_http2_error()
                || error.is_http2_stream_error()
                || error.is_partial_file()),
            "{error}"
        );
        // The connection may have gone with it; another one has not.
        curl.transfer(get(&http, http2(), "bytes", 1000))
            .await
            .unwrap();
    });
}

#[test]
fn a_time_out_is_an_error_and_not_early() {
    on_each_loop(|_, curl, http| async move {
        let limits = [20, 60, 40].map(Duration::from_millis);
        for limit in limits {
            let mut easy = get(&http, Http1, "never", 0);
            easy.timeout(limit).unwrap();
            let start = Instant::now();
            let error = curl.transfer(easy).await.err().unwrap();
            // libcurl counts in milliseconds, and cuts.
            assert!(start.elapsed() + Duration::from_millis(1) >= limit);
            assert!(is(&error, curl::Error::is_operation_timedout), "{error}");
        }
    });
}

#[test]
fn redirects_are_followed() {
    on_each_loop(|_, curl, http| async move {
        for version in [Http1, http2()] {
            let mut easy = get(&http, version, "redirect", 9);
            easy.get_mut().seed = 1000;
            easy.follow_location(true).unwrap();
            let easy = curl.transfer(easy).await.unwrap();
            assert_eq!(easy.redirect_count().unwrap(), 10);
            assert_eq!(easy.get_ref().received, 1000);
            assert!(easy.get_ref().right);
        }
    });
}

/// Unpauses a transfer from time to time, until it is over.
async fn with_pauses<E: Request>(reactor: &Reactor, transfer: Transfer<E>) -> Result<E, Error<E>> {
    let control = transfer.control();
    let unpause = async {
        loop {
            Timer::after(reactor, Duration::from_micros(500)).await;
            control.unpause();
        }
    };
    transfer.or(unpause).await
}

#[test]
fn an_upload_is_paused_and_goes_on() {
    on_each_loop(|reactor, curl, http| async move {
        for version in [Http1, http2()] {
            let mut easy = get(&http, version, "upload", 500_000);
            easy.upload(true).unwrap();
            easy.in_filesize(500_000).unwrap();
            let check = easy.get_mut();
            check.upload = 500_000;
            check.pause_in = Some(2);
            let easy = with_pauses(&reactor, curl.transfer(easy)).await.unwrap();
            assert_eq!(easy.response_code().unwrap(), 200);
            assert_eq!(easy.get_ref().text, b"500000 true");
            assert!(easy.get_ref().pauses > 1, "{}", easy.get_ref().pauses);
        }
    });
}

#[test]
fn a_download_is_paused_and_goes_on() {
    on_each_loop(|reactor, curl, http| async move {
        for version in [Http1, http2()] {
            let mut easy = get(&http, version, "bytes", 500_000);
            easy.get_mut().pause_in = Some(2);
            let easy = with_pauses(&reactor, curl.transfer(easy)).await.unwrap();
            assert_eq!(easy.get_ref().received, 500_000);
            assert!(easy.get_ref().right);
            assert!(easy.get_ref().pauses > 1);
        }
    });
}

/// Begins a transfer, and from its callback the next.
fn chain(curl: &Curl, http: &Http, left: usize, over: UnboundedSender<usize>) {
    let (again, server) = (curl.clone(), http.clone());
    let done = move |result: Result<Easy2<Check>, Error<Easy2<Check>>>| {
        assert_eq!(result.unwrap().get_ref().received, left);
        over.unbounded_send(left).unwrap();
        if left > 0 {
            chain(&again, &server, left - 1, over);
        }
    };
    curl.start(get(http, Http1, "bytes", left), done).unwrap();
}

#[test]
fn callbacks_begin_the_next_transfer() {
    on_each_loop(|_, curl, http| async move {
        let (sender, receiver) = mpsc::unbounded();
        for _ in 0..5 {
            chain(&curl, &http, 20, sender.clone());
        }
        drop(sender);
        assert_eq!(receiver.count().await, 105);
        assert_eq!(http.requests(), 105);
    });
}

#[test]
fn a_closure_handle_and_a_name_that_threads_look_up() {
    on_each_loop(|_, curl, http| async move {
        let mut easy = Easy::new();
        let url = http.url(Http1, "bytes", 3);
        easy.url(&url.replace("127.0.0.1", "localhost")).unwrap();
        let received = Arc::new(Mutex::new(Vec::<u8>::new()));
        let into = received.clone();
        let write = move |data: &[u8]| {
            into.lock().unwrap().extend(data);
            Ok(data.len())
        };
        easy.write_function(write).unwrap();
        let easy = curl.transfer(easy).await.unwrap();
        assert_eq!(easy.response_code().unwrap(), 200);
        assert_eq!(*received.lock().unwrap(), [0, 1, 2].map(|at| byte(3, at)));
    });
}

#[test]
fn a_port_without_a_server() {
    on_each_loop(|_, curl, http| async move {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let mut easy = Easy2::new(Check::new(0));
        easy.url(&format!("http://127.0.0.1:{port}/")).unwrap();
        let error = curl.transfer(easy).await.unwrap_err();
        assert!(is(&error, curl::Error::is_couldnt_connect), "{error}");
        // The error has libcurl's text beside the code.
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        curl.transfer(get(&http, Http1, "bytes", 10)).await.unwrap();
    });
}

#[test]
fn a_server_that_sends_rubbish() {
    on_each_loop(|reactor, curl, http| async move {
        let listener = Async::<TcpListener>::bind(&reactor, ([127, 0, 0, 1], 0)).unwrap();
        let address = listener.get_ref().local_addr().unwrap();
        spawn(&reactor.remote(), async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(&[0xff; 100_000]).await;
            }
        });
        for version in [Http1, http2()] {
            let mut easy = get(&http, version, "bytes", 10);
            easy.url(&format!("http://{address}/")).unwrap();
            let error = curl.transfer(easy).await.unwrap_err();
            assert!(matches!(error.cause(), Cause::Transfer(_)), "{error}");
        }
        curl.transfer(get(&http, Http1, "bytes", 10)).await.unwrap();
    });
}

#[test]
fn cancelled_it_gives_its_handle_back() {
    on_each_loop(|reactor, curl, http| async move {
        let transfer = curl.transfer(get(&http, Http1, "never", 0));
        let control = transfer.control();
        let later = async {
            while http.requests() == 0 {
                Timer::after(&reactor, Duration::from_micros(100)).await;
            }
            control.cancel();
        };
        let (result, ()) = future::zip(transfer, later).await;
        let error = result.unwrap_err();
        assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
        let mut easy = error.into_easy().unwrap();
        control.cancel();
        control.unpause();

        // As good as new.
        let url = http.url(Http1, "bytes", 10);
        easy.url(&url).unwrap();
        easy.get_mut().seed = 10;
        assert!(curl.transfer(easy).await.unwrap().get_ref().right);
    });
}

/// Tells when it is dropped.
struct Told(#[allow(dead_code)] UnboundedSender<usize>);

impl Handler for Told {}

#[test]
fn dropped_it_ends() {
    on_each_loop(|reactor, curl, http| async move {
        let (sender, receiver) = mpsc::unbounded();
        let mut easy = Easy2::new(Told(sender));
        let url = http.url(Http1, "never", 0);
        easy.url(&url).unwrap();
        let mut transfer = curl.transfer(easy);
        while http.requests() == 0 {
            assert!(future::poll_once(&mut transfer).await.is_none());
            Timer::after(&reactor, Duration::from_micros(100)).await;
        }
        drop(transfer);
        assert_eq!(receiver.count().await, 0);
    });
}

#[test]
fn with_the_last_handle_gone_transfers_come_to_their_end_and_nothing_is_left() {
    on_each_loop(|reactor, curl, http| async move {
        let before = reactor.stats();
        let transfers = (0..10).map(|_| Box::pin(curl.transfer(get(&http, Http1, "slow", 50))));
        let mut transfers: Vec<_> = transfers.collect();
        for transfer in &mut transfers {
            assert!(future::poll_once(transfer).await.is_none());
        }
        drop(curl);
        for transfer in transfers {
            assert_eq!(transfer.await.unwrap().get_ref().received, 50);
        }
        // The connections that were kept end, which the server sees a little later.
        while reactor.stats().handlers != before.handlers
            || reactor.stats().pending_timers >= before.pending_timers
        {
            Timer::after(&reactor, Duration::from_micros(100)).await;
        }
    });
}

/// In one of its callbacks; libcurl ignores what comes of `debug`.
struct Panics {
    in_debug: bool,
    over: bool,
}

impl Handler for Panics {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        assert!(self.in_debug, "as it should");
        Ok(data.len())
    }

    fn debug(&mut self, _: InfoType, _: &[u8]) {
        assert!(mem::replace(&mut self.over, true), "as it should");
    }
}

/// The panic reaches the driver once. Then all goes on, on the same thread.
fn a_panic(in_debug: bool) {
    let reactor = Reactor::new().unwrap();
    let http = Http::serve(&reactor);
    let curl = Curl::new(&reactor).unwrap();
    let mut easy = Easy2::new(Panics {
        in_debug,
        over: false,
    });
    easy.url(&http.url(Http1, "bytes", 10)).unwrap();
    easy.verbose(in_debug).unwrap();
    let mut transfer = curl.transfer(easy);
    let panic = catch_unwind(AssertUnwindSafe(|| reactor.block_on(&mut transfer)));
    assert_eq!(
        *panic.err().unwrap().downcast::<&str>().unwrap(),
        "as it should"
    );
    let result = reactor.block_on(transfer).unwrap();
    // The crate calls no callback after the panic until libcurl is left, which may have harmed it.
    assert!(result.is_err() || in_debug);

    let (sender, receiver) = mpsc::unbounded();
    for _ in 0..10 {
        chain(&curl, &http, 10, sender.clone());
    }
    drop(sender);
    assert_eq!(reactor.block_on(receiver.count()).unwrap(), 10 * 11);
}

#[test]
fn a_panic_in_a_callback_ends_its_transfer() {
    a_panic(false);
}

#[test]
fn a_panic_that_libcurl_does_not_see_is_seen() {
    a_panic(true);
}

#[test]
fn the_loop_ends_in_the_middle() {
    let reactor = Reactor::new().unwrap();
    let http = Http::serve(&reactor);
    let curl = Curl::new(&reactor).unwrap();
    let mut transfer = curl.transfer(get(&http, Http1, "never", 0));
    let (sender, receiver) = mpsc::unbounded();
    let mut easy = Easy2::new(Told(sender.clone()));
    easy.url(&http.url(Http1, "never", 0)).unwrap();
    let done = move |_: Result<Easy2<Told>, _>| sender.unbounded_send(0).unwrap();
    curl.start(easy, done).unwrap();
    let begin = async {
        while http.requests() < 2 {
            assert!(future::poll_once(&mut transfer).await.is_none());
            Timer::after(&reactor, Duration::from_micros(100)).await;
        }
    };
    reactor.block_on(begin).unwrap();

    reactor.close();
    // `done` was dropped without being called, and the easy handle with it.
    assert_eq!(future::block_on(receiver.count()), 0);
    let error = future::block_on(transfer).unwrap_err();
    assert!(matches!(error.cause(), Cause::Closed), "{error}");

    // A transfer that begins now comes back.
    let error = future::block_on(curl.transfer(get(&http, Http1, "bytes", 7))).unwrap_err();
    assert!(matches!(error.cause(), Cause::Closed), "{error}");
    assert_eq!(error.into_easy().unwrap().get_ref().seed, 7);
    let error = curl
        .start(get(&http, Http1, "bytes", 8), |_| ())
        .unwrap_err();
    assert_eq!(error.into_easy().unwrap().get_ref().seed, 8);
    assert!(Curl::new(&reactor).is_err());
}

/// A callback of the transfer itself closes the loop, inside libcurl.
#[test]
fn the_loop_is_closed_by_a_callback_of_the_transfer() {
    let reactor = Reactor::new().unwrap();
    let http = Http::serve(&reactor);
    let curl = Curl::new(&reactor).unwrap();
    let mut easy = Easy::new();
    easy.url(&http.url(Http1, "bytes", 10_000)).unwrap();
    let closer = reactor.downgrade();
    let write = move |data: &[u8]| {
        let reactor = closer.upgrade().unwrap();
        reactor.close();
        reactor.stop();
        Ok(data.len())
    };
    easy.write_function(write).unwrap();
    let (sender, receiver) = mpsc::unbounded::<usize>();
    curl.start(easy, move |_| drop(sender)).unwrap();
    let _ = reactor.run();
    assert_eq!(future::block_on(receiver.count()), 0);
}

#[test]
fn options_hold() {
    on_each_loop(|reactor, _, http| async move {
        let two = Options::new().max_total_connections(2).unwrap();
        let curl = Curl::with_options(&reactor, two).unwrap();
        let transfers = (0..20).map(|_| curl.transfer(get(&http, Http1, "bytes", 10_000)));
        for result in all(transfers.collect()).await {
            result.unwrap();
        }
        assert_eq!(http.connections(), 2);
    });
}

/// Awaited on other threads, by tokio's tasks and by a plain `block_on`.
#[test]
fn any_executor_awaits_them() {
    for (name, drive) in HOSTS {
        println!("driven by {name}");
        let mut awaiting = None;
        on_a_loop(drive, |reactor| {
            let http = Http::serve(reactor);
            let curl = Curl::new(reactor).unwrap();
            let here = thread::current().id();
            let remote = reactor.remote();
            awaiting = Some(thread::spawn(move || {
                let _stop = StopWhenDropped(remote);
                let get = || {
                    let mut easy = get(&http, Http1, "bytes", 20_000);
                    easy.get_mut().thread = here;
                    easy
                };
                let easy = future::block_on(curl.transfer(get())).unwrap();
                assert_eq!(easy.get_ref().received, 20_000);

                let runtime = tokio::runtime::Builder::new_multi_thread();
                let runtime = { runtime }.worker_threads(2).build().unwrap();
                let tasks: Vec<_> = (0..20)
                    .map(|_| runtime.spawn(curl.transfer(get())))
                    .collect();
                for task in tasks {
                    let easy = runtime.block_on(task).unwrap().unwrap();
                    assert!(easy.get_ref().right);
                }
            }));
        });
        awaiting.unwrap().join().unwrap();
    }
}

struct StopWhenDropped(Remote);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Its connections are the parent's. The child must not take leave of the servers in the parent's name.
#[cfg(unix)]
#[test]
fn a_forked_child_that_drops_the_loop_ends_no_transfer() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    struct TellFromChild(UnixStream, u32);

    impl Drop for TellFromChild {
        fn drop(&mut self) {
            if std::process::id() != self.1 {
                let _ = std::io::Write::write(&mut self.0, b"dropped");
            }
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (mut told, teller) = UnixStream::pair().unwrap();
    let teller = TellFromChild(teller, std::process::id());
    let reactor = Reactor::new().unwrap();
    let curl = Curl::new(&reactor).unwrap();
    let mut easy = Easy::new();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    easy.url(&url).unwrap();
    let done = move |_: Result<Easy, _>| drop(teller);
    curl.start(easy, done).unwrap();
    let _connection = loop {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        if let Ok((connection, _)) = listener.accept() {
            break connection;
        }
    };
    // SAFETY: the child drops what no other thread uses, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((curl, reactor));
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    drop((curl, reactor));
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}
