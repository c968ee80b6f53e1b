//! Operations of sockets.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use oneloop::Reactor;
use oneloop::futures::{Async, Timer};

use crate::{LOCALHOST, MS, on_each_host, pair};

#[test]
fn big_data_with_a_slow_reader_and_half_close() {
    const BYTES: usize = 5_000_000;
    let reactor = Reactor::new().unwrap();
    let (mut a, mut b) = Async::<UnixStream>::pair(&reactor).unwrap();
    let data: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let talk = zip(
        async {
            a.write_all(&data).await.unwrap();
            a.close().await.unwrap();
            // The other direction goes on.
            let mut answer = String::new();
            a.read_to_string(&mut answer).await.unwrap();
            answer
        },
        async {
            let mut got = Vec::new();
            let mut bytes = vec![0; 3000];
            loop {
                match b.read(&mut bytes).await.unwrap() {
                    0 => break,
                    n => got.extend_from_slice(&bytes[..n]),
                }
                if got.len() % 7 == 0 {
                    future::yield_now().await;
                }
            }
            assert!(got == data);
            b.write_all(b"all of it").await.unwrap();
            drop(b);
        },
    );
    assert_eq!(reactor.block_on(talk).unwrap().0, "all of it");
}

#[test]
fn a_conversation_costs_no_kernel_changes() {
    let reactor = Reactor::new().unwrap();
    let (mut a, mut b) = Async::<UnixStream>::pair(&reactor).unwrap();
    let mut byte = [0];
    let talk = zip(
        async {
            for _ in 0..1000 {
                a.write_all(b"?").await.unwrap();
                a.read_exact(&mut byte).await.unwrap();
            }
        },
        async {
            let mut byte = [0];
            for _ in 0..1000 {
                b.read_exact(&mut byte).await.unwrap();
                b.write_all(b"!").await.unwrap();
            }
        },
    );
    reactor.block_on(talk).unwrap();
    let changes = reactor.stats().kernel_changes;
    assert!(changes < 10, "{changes}");
}

#[test]
fn a_connection_that_is_refused() {
    let reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connect = Async::<TcpStream>::connect(&reactor, address);
    let error = reactor.block_on(connect).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let connect = Async::<UnixStream>::connect(&reactor, "/nowhere/at/all");
    let error = reactor.block_on(connect).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(reactor.stats().handlers, 0);
}

#[test]
fn datagrams() {
    let reactor = Reactor::new().unwrap();
    let [a, b] = [(); 2].map(|()| Async::<UdpSocket>::bind(&reactor, LOCALHOST).unwrap());
    let [to_a, to_b] = [&a, &b].map(|socket| socket.get_ref().local_addr().unwrap());
    let mut bytes = [0; 10];
    reactor
        .block_on(async {
            // The answer is awaited before it is there.
            let (sent, received) = zip(
                async {
                    Timer::after(&reactor, MS).await;
                    a.send_to(b"ping", to_b).await
                },
                b.recv_from(&mut bytes),
            )
            .await;
            assert_eq!((sent.unwrap(), received.unwrap()), (4, (4, to_a)));
            a.get_ref().connect(to_b).unwrap();
            b.get_ref().connect(to_a).unwrap();
            b.send(b"pong!").await.unwrap();
            assert_eq!(a.peek_from(&mut bytes).await.unwrap(), (5, to_b));
            assert_eq!(a.peek(&mut bytes).await.unwrap(), 5);
            assert_eq!(a.recv(&mut bytes).await.unwrap(), 5);

            let (c, d) = Async::<UnixDatagram>::pair(&reactor).unwrap();
            let (received, sent) = zip(c.recv(&mut bytes), d.send(b"unix")).await;
            assert_eq!((received.unwrap(), sent.unwrap()), (4, 4));
        })
        .unwrap();
}

#[test]
fn unix_datagrams_with_and_without_a_name() {
    let reactor = Reactor::new().unwrap();
    let path = std::env::temp_dir().join(format!("oneloop-datagram-{}", std::process::id()));
    let named = Async::<UnixDatagram>::bind(&reactor, &path).unwrap();
    let nameless = Async::<UnixDatagram>::unbound(&reactor).unwrap();
    let mut bytes = [0; 10];
    let talk = zip(
        named.recv_from(&mut bytes),
        nameless.send_to(b"hello", &path),
    );
    let (received, sent) = reactor.block_on(talk).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (length, from) = received.unwrap();
    assert_eq!((length, sent.unwrap()), (5, 5));
    assert!(from.is_unnamed());
}

#[test]
fn tcp_by_ipv6_and_a_look_at_what_is_to_be_read() {
    let reactor = Reactor::new().unwrap();
    let localhost = (std::net::Ipv6Addr::LOCALHOST, 0);
    let listener = Async::<TcpListener>::bind(&reactor, localhost).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    let mut bytes = [0; 10];
    let talk = async {
        let connect = Async::<TcpStream>::connect(&reactor, address);
        let (accepted, connected) = zip(listener.accept(), connect).await;
        let ((mut server, peer), client) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(peer, client.get_ref().local_addr().unwrap());
        let (seen, sent) = zip(client.peek(&mut bytes), server.write_all(b"hello")).await;
        sent.unwrap();
        assert_eq!(seen.unwrap(), 5);
        assert_eq!((&client).read(&mut bytes).await.unwrap(), 5);
    };
    reactor.block_on(talk).unwrap();
}

#[test]
fn unix_listeners() {
    let reactor = Reactor::new().unwrap();
    let path = std::env::temp_dir().join(format!("oneloop-test-{}", std::process::id()));
    let listener = Async::<UnixListener>::bind(&reactor, &path).unwrap();
    let talk = async {
        let accepted = async {
            let (mut one, _) = listener.accept().await.unwrap();
            one.write_all(b"1").await.unwrap();
            drop(one);
            let mut two = listener.incoming().next().await.unwrap().unwrap();
            two.write_all(b"2").await.unwrap();
        };
        let connected = async {
            let mut texts = [String::new(), String::new()];
            for text in &mut texts {
                let stream = Async::<UnixStream>::connect(&reactor, &path).await;
                stream.unwrap().read_to_string(text).await.unwrap();
            }
            texts.concat()
        };
        zip(accepted, connected).await.1
    };
    let texts = reactor.block_on(talk);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(texts.unwrap(), "12");
}

#[test]
#[cfg(target_os = "linux")]
fn unix_sockets_with_abstract_names() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let reactor = Reactor::new().unwrap();
    let name = |what: &str| format!("oneloop-{what}-{}", std::process::id());
    let path = |what: &str| format!("\0{}", name(what));
    let address = |what: &str| SocketAddr::from_abstract_name(name(what)).unwrap();
    reactor
        .block_on(async {
            // A path and an address mean the same.
            let by_path = Async::<UnixListener>::bind(&reactor, path("stream")).unwrap();
            let to_it = Async::<UnixStream>::connect_addr(&reactor, &address("stream")).await;
            let mut to_it = to_it.unwrap();
            let (mut from_it, _) = by_path.accept().await.unwrap();
            to_it.write_all(b"x").await.unwrap();
            from_it.read_exact(&mut [0]).await.unwrap();
            drop(by_path);
            let by_address =
                Async::<UnixListener>::bind_addr(&reactor, &address("stream")).unwrap();
            Async::<UnixStream>::connect(&reactor, path("stream"))
                .await
                .unwrap();
            by_address.accept().await.unwrap();

            let one = Async::<UnixDatagram>::bind(&reactor, path("one")).unwrap();
            let two = Async::<UnixDatagram>::bind_addr(&reactor, &address("two")).unwrap();
            one.send_to(b"to two", path("two")).await.unwrap();
            two.send_to_addr(b"to one", &address("one")).await.unwrap();
            let mut bytes = [0; 9];
            let (length, from) = one.recv_from(&mut bytes).await.unwrap();
            assert_eq!(&bytes[..length], b"to one");
            assert_eq!(from.as_abstract_name(), Some(name("two").as_bytes()));
            let (length, from) = two.recv_from(&mut bytes).await.unwrap();
            assert_eq!(&bytes[..length], b"to two");
            assert_eq!(from.as_abstract_name(), Some(name("one").as_bytes()));

            let nobody = Async::<UnixStream>::connect(&reactor, path("nobody")).await;
            let refused = nobody.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let unnamed = UnixDatagram::unbound().unwrap().local_addr().unwrap();
            let to_it = Async::<UnixStream>::connect_addr(&reactor, &unnamed).await;
            assert_eq!(to_it.unwrap_err().kind(), ErrorKind::InvalidInput);
        })
        .unwrap();
}

#[test]
fn unix_sockets_by_the_address_of_a_path() {
    use std::os::unix::net::SocketAddr;

    let reactor = Reactor::new().unwrap();
    let path = std::env::temp_dir().join(format!("oneloop-address-{}", std::process::id()));
    let address = SocketAddr::from_pathname(&path).unwrap();
    let listener = Async::<UnixListener>::bind_addr(&reactor, &address).unwrap();
    let connect = Async::<UnixStream>::connect_addr(&reactor, &address);
    let (connected, accepted) = reactor.block_on(zip(connect, listener.accept())).unwrap();
    std::fs::remove_file(&path).unwrap();
    connected.unwrap();
    accepted.unwrap();
    let no_name = Async::<UnixStream>::connect(&reactor, "with a \0 inside");
    let error = reactor.block_on(no_name).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn flushing_and_closing_do_not_wait() {
    let reactor = Reactor::new().unwrap();
    let (mut stream, mut peer) = pair(&reactor);
    let talk = async {
        // As much as there is room for, and a wait that is given up.
        while future::poll_once(stream.write(&[7; 65536])).await.is_some() {}
        stream.flush().await.unwrap();
        stream.close().await.unwrap();
    };
    reactor.block_on(talk).unwrap();
    while peer.read(&mut [0; 65536]).unwrap() > 0 {}
}

/// The kernel refuses a sender that does not block, and does not report when there is room. (Except on Linux, it
/// refuses every sender.)
#[cfg(target_os = "linux")]
#[test]
fn a_connect_waits_while_the_queue_of_a_unix_listener_is_full() {
    use rustix::io::Errno;
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    on_each_host(async |reactor| {
        let path = std::env::temp_dir().join(format!("oneloop-queue-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 1).unwrap(); // shorter
        let address = SocketAddrUnix::new(&path).unwrap();
        let mut connected = Vec::new();
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            match connect(&socket, &address) {
                Ok(()) => connected.push(socket),
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!connected.is_empty());
        let mut late = Box::pin(Async::<UnixStream>::connect(&reactor, &path));
        let waits = async {
            Timer::after(&reactor, 20 * MS).await;
            None
        };
        let early = future::or(async { Some(late.as_mut().await) }, waits).await;
        assert!(early.is_none(), "{early:?}");
        listener.accept().unwrap();
        late.await.unwrap();
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn sockets_are_closed_in_other_programs() {
    let reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connecting = Async::<TcpStream>::connect(&reactor, listener.local_addr().unwrap());
    let stream = reactor.block_on(connecting).unwrap().unwrap();
    let flags = rustix::io::fcntl_getfd(&stream).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}
