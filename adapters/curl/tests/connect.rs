//! Connections that libcurl makes and the test uses, on each host.
#![cfg(unix)]

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::{self, Message};
use curl::easy::{Easy, Easy2, Handler};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use oneloop::Reactor;
use oneloop::futures::Async;
use oneloop_c_tests::http::{Http, Version, spawn};
use oneloop_c_tests::{HOSTS, on_a_loop};
use oneloop_curl::{Cause, Curl};

/// Runs a test as a task of the loop, on each host.
fn on_each_loop<F>(test: fn(Reactor, Curl) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for (name, drive) in HOSTS {
        println!("on {name}");
        let (sender, over) = mpsc::channel();
        on_a_loop(drive, |reactor| {
            let curl = Curl::new(reactor).unwrap();
            let test = test(reactor.clone(), curl);
            let stopper = reactor.remote();
            spawn(&reactor.remote(), async move {
                test.await;
                sender.send(()).unwrap();
                stopper.stop();
            });
        });
        over.try_recv().expect("the test has come to its end");
    }
}

/// Waits for what a thread does, while the loop goes on.
async fn beside<T: Send + 'static>(
    reactor: &Reactor,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, over) = futures_channel::oneshot::channel();
    thread::spawn(move || done.send(work()).is_ok());
    // Something that the loop waits for.
    let minute = reactor.call_later(Duration::from_secs(60), || panic!("nothing for a minute"));
    let result = over.await.unwrap();
    reactor.cancel_timer(minute.unwrap()).unwrap();
    result
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A server that sends back what its client says, until that closes the connection.
fn echo() -> (String, JoinHandle<usize>) {
    let (listener, address) = listen();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 100_000];
        let mut total = 0;
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            client.write_all(&buffer[..length]).unwrap();
            total += length;
        }
        total
    });
    (address, server)
}

fn easy(address: &str) -> Easy {
    let mut easy = Easy::new();
    easy.url(&format!("http://{address}/")).unwrap();
    easy
}

#[test]
fn websocket_messages_come_back() {
    on_each_loop(|reactor, curl| async move {
        let (listener, address) = listen();
        let server = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let mut socket = tungstenite::accept(client).unwrap();
            while let Ok(message) = socket.read() {
                if message.is_binary() {
                    socket.send(message).unwrap();
                }
            }
        });
        let connection = curl.connect(easy(&address)).await.unwrap();
        let connection = Async::new(&reactor, connection).unwrap();
        let url = format!("ws://{address}/");
        let (mut socket, _) = client_async(url, connection).await.unwrap();
        for length in [5, 70_000, 3_000_000] {
            let message = Message::binary(vec![length as u8; length]);
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        drop(socket);
        server.join().unwrap();
    });
}

struct Nothing;

impl Handler for Nothing {}

#[test]
fn a_connection_is_closed_when_it_is_dropped() {
    on_each_loop(|reactor, curl| async move {
        let (address, server) = echo();
        let mut easy = Easy2::new(Nothing);
        easy.url(&format!("http://{address}/")).unwrap();
        let connection = curl.connect(easy).await.unwrap();
        let mut connection = Async::new(&reactor, connection).unwrap();
        // More connections and transfers do not disturb it.
        let (other, other_server) = echo();
        drop(curl.connect(self::easy(&other)).await.unwrap());
        connection.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        drop(connection);
        // The loop must go on, to close them.
        let servers = move || (server.join().unwrap(), other_server.join().unwrap());
        assert_eq!(beside(&reactor, servers).await, (5, 0));
    });
}

#[test]
fn a_connection_that_is_refused_gives_the_handle_back() {
    on_each_loop(|_, curl| async move {
        let (listener, address) = listen();
        drop(listener);
        let error = curl.connect(easy(&address)).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Transfer(error) if error.is_couldnt_connect()));
        assert!(error.into_easy().is_some());
    });
}

#[test]
fn a_callback_of_libcurl_cannot_use_a_connection() {
    on_each_loop(|reactor, curl| async move {
        let http = Http::serve(&reactor);
        let (address, server) = echo();
        let connection = curl.connect(easy(&address)).await.unwrap();
        let mut easy = Easy::new();
        easy.url(&http.url(Version::Http1, "bytes", 10)).unwrap();
        let (sender, failed) = mpsc::channel();
        easy.write_function(move |data| {
            let failure = (&connection).write(b"x").unwrap_err();
            sender.send(failure.kind()).unwrap();
            Ok(data.len())
        })
        .unwrap();
        drop(curl.transfer(easy).await.unwrap());
        assert_eq!(failed.recv().unwrap(), ErrorKind::Deadlock);
        assert_eq!(beside(&reactor, || server.join().unwrap()).await, 0);
    });
}

/// Without the loop, its owner still has the connection, on any thread.
#[test]
fn a_connection_outlives_its_loop() {
    let (address, server) = echo();
    let reactor = Reactor::new().unwrap();
    let curl = Curl::new(&reactor).unwrap();
    let connection = reactor.block_on(curl.connect(easy(&address))).unwrap();
    let mut connection = connection.unwrap();
    drop(curl);
    reactor.turn(None).unwrap();
    reactor.close();
    drop(reactor);
    let client = thread::spawn(move || {
        connection.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        for place in &mut answer {
            while connection.read(std::slice::from_mut(place)).is_err() {}
        }
        answer
    });
    assert_eq!(&client.join().unwrap(), b"hello");
    assert_eq!(server.join().unwrap(), 5);
}

/// If the future is dropped, libcurl keeps nothing.
#[test]
fn an_attempt_that_is_given_up_is_closed() {
    on_each_loop(|reactor, curl| async move {
        let (address, server) = echo();
        let mut attempt = Box::pin(curl.connect(easy(&address)));
        assert!(
            futures_lite::future::poll_once(&mut attempt)
                .await
                .is_none()
        );
        drop(attempt);
        let joined = beside(&reactor, move || {
            // In case that it has not come to connect at all.
            let _ = std::net::TcpStream::connect(address);
            server.join().unwrap()
        });
        assert_eq!(joined.await, 0);
    });
}
