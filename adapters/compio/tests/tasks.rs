//! Tasks of compio's on the thread of a reactor.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use compio_driver::DriverType;
use compio_io::{AsyncReadExt, AsyncWriteExt};
use compio_net::{TcpListener, TcpStream};
use compio_runtime::time::sleep;
use compio_runtime::{JoinError, Runtime};
use oneloop::{LocalReactor, Reactor};
use oneloop_compio::RuntimeGuest;
use oneloop_support::Watchdog;

fn new() -> (LocalReactor, RuntimeGuest, Watchdog) {
    let runtime = Runtime::new().expect("a kernel that allows io_uring_setup(2)");
    assert_eq!(runtime.driver_type(), DriverType::IoUring);
    let (reactor, compio) = (Reactor::new_local().unwrap(), RuntimeGuest::new(runtime));
    reactor.add_guest("compio", compio.clone()).unwrap();
    (reactor, compio, Watchdog::new("compio"))
}

#[test]
fn sockets_timers_and_callbacks_take_turns() {
    let (reactor, compio, _watchdog) = new();
    let echoed = Rc::new(Cell::new(0));
    let (count, here) = (echoed.clone(), reactor.clone());
    let client = compio.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = compio_runtime::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..2000 {
                let read = stream.read_exact([0; 64]).await;
                stream.write_all(read.1).await.0.unwrap();
            }
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        for n in 0..2000 {
            stream.write_all([n as u8; 64]).await.0.unwrap();
            let read = stream.read_exact([0; 64]).await;
            read.0.unwrap();
            assert_eq!(read.1, [n as u8; 64]);
            if n % 100 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let count = count.clone();
            here.call_soon(move || count.set(count.get() + 1)).unwrap();
        }
        server.await.unwrap();
    });
    reactor.run().unwrap();
    assert!(client.is_finished());
    assert_eq!(echoed.get(), 2000);
}

/// The guest has a reference of its own.
#[test]
fn the_handle_may_be_dropped_first() {
    let (reactor, compio, _watchdog) = new();
    let fired = Rc::new(Cell::new(false));
    let set = fired.clone();
    let task = async move {
        sleep(Duration::from_millis(1)).await;
        set.set(true);
    };
    compio.spawn(task).detach();
    drop(compio);
    reactor.run().unwrap();
    assert!(fired.get());
}

/// The task is gone, and its panic reaches whichever code awaits it.
#[test]
fn a_panic_ends_the_task_alone() {
    let (reactor, compio, _watchdog) = new();
    let fails = compio.spawn(async { panic!("in a task") });
    let sees = Rc::new(Cell::new(false));
    let seen = sees.clone();
    let waits = async move {
        let failed: Result<(), JoinError> = fails.await;
        seen.set(matches!(failed, Err(JoinError::Panicked(_))));
    };
    compio.spawn(waits).detach();
    reactor.run().unwrap();
    assert!(sees.get());
}

#[test]
fn tasks_go_with_the_last_handle() {
    let (reactor, compio, _watchdog) = new();
    let held = Rc::new(());
    let holds = held.clone();
    let task = async move {
        sleep(Duration::from_secs(1000)).await;
        drop(holds);
    };
    compio.spawn(task).detach();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    assert_eq!(Rc::strong_count(&held), 2);
    drop(compio);
    assert_eq!(Rc::strong_count(&held), 1);
}

/// Neither has told the runtime's waker.
#[test]
fn a_task_that_was_spawned_before_is_polled() {
    let _watchdog = Watchdog::new("compio");
    let (runtime, reactor) = (Runtime::new().unwrap(), Reactor::new_local().unwrap());
    let stopper = reactor.clone();
    runtime.spawn(async move { stopper.stop() }).detach();
    let guest = RuntimeGuest::new(runtime);
    reactor.add_guest("compio", guest).unwrap();
    reactor.run_forever().unwrap();
}
