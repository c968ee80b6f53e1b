//! tokio in a program whose main loop is GLib's or libuv's.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use oneloop::Reactor;
use oneloop_conformance::Watchdog;
use oneloop_guests_tests::ForeignLoop;
use oneloop_guests_tests::glib::Glib;
use oneloop_guests_tests::uv::Uv;
use oneloop_tokio::TokioGuest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

fn tokio_is_a_guest_of<L: ForeignLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let (outer, reactor) = (L::new(), Reactor::new_local().unwrap());
    let tokio = TokioGuest::new(&reactor).unwrap();
    let ended = Rc::new(Cell::new(false));
    let end = ended.clone();
    let on_end = move |how: oneloop::adapter::End| {
        how.unwrap().unwrap();
        end.set(true);
    };
    let attached = outer.attach(reactor.host(L::NAME).unwrap(), on_end);
    let ticked = Rc::new(Cell::new(false));
    let tick = ticked.clone();
    outer.after(Duration::from_millis(1), move || tick.set(true));
    let stopper = reactor.clone();
    let task = tokio.spawn_local(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        for n in 0..100 {
            stream.write_all(&[n]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), n);
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        stopper.stop();
    });
    while !ended.get() {
        outer.iterate(true);
    }
    assert!(task.is_finished() && ticked.get());
    drop(attached);
}

#[test]
fn tokio_is_a_guest_of_glib() {
    tokio_is_a_guest_of::<Glib>();
}

#[test]
fn tokio_is_a_guest_of_libuv() {
    tokio_is_a_guest_of::<Uv>();
}
