//! tokio in a program whose main loop is GLib's or libuv's, and either of them in a program on tokio.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use oneloop::Reactor;
use oneloop_conformance::Watchdog;
use oneloop_guests_tests::glib::Glib;
use oneloop_guests_tests::uv::Uv;
use oneloop_guests_tests::{AdaptedLoop, ForeignLoop};
use oneloop_tokio::{TokioGuest, before_park};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::spawn_local;

fn tokio_is_a_guest_of<L: ForeignLoop + AdaptedLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let (outer, reactor) = (L::new(), Reactor::new_local().unwrap());
    let tokio = TokioGuest::new(&reactor).unwrap();
    let ended = Rc::new(Cell::new(false));
    let end = ended.clone();
    let on_end = move |how: oneloop::adapter::End| {
        how.unwrap().unwrap();
        end.set(true);
    };
    let host = reactor.host(L::NAME).unwrap();
    let attached = outer.attach_host(host, on_end).unwrap();
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

/// A task of tokio's uses the loop while the reactor sleeps.
fn work_of_a_task_is_seen_before_the_thread_sleeps<L: ForeignLoop>() {
    let _watchdog = Watchdog::new(L::NAME);
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_all().on_thread_park(before_park);
    let (inner, reactor) = (Rc::new(L::new()), Reactor::new_local().unwrap());
    let guest = reactor.add_guest(L::NAME, inner.guest()).unwrap();
    let task = async {
        for _ in 0..20 {
            // The reactor has taken its turns by then.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (sender, fired) = tokio::sync::oneshot::channel();
            inner.after(Duration::from_millis(1), move || sender.send(()).unwrap());
            fired.await.unwrap();
        }
        reactor.stop();
    };
    let both = futures_lite::future::zip(oneloop_tokio::drive(&reactor), task);
    let (driven, ()) = builder.build().unwrap().block_on(both);
    driven.unwrap();
    reactor.remove_guest(guest).unwrap();
}

#[test]
fn work_that_a_task_gives_glib_is_seen_before_the_thread_sleeps() {
    work_of_a_task_is_seen_before_the_thread_sleeps::<Glib>();
}

#[test]
fn work_that_a_task_gives_libuv_is_seen_before_the_thread_sleeps() {
    work_of_a_task_is_seen_before_the_thread_sleeps::<Uv>();
}
