//! Hooks, and work that tasks leave where no descriptor shows it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneloop::Reactor;
use oneloop_tokio::{before_park, drive, is_asked_before_park};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::yield_now;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// The work of a library.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<Vec<usize>>>);

impl Queue {
    fn fill(&self, n: usize) {
        self.0.lock().unwrap().push(n);
    }

    /// A hook that is asked for it, and hands on what it finds.
    fn hook(&self, reactor: &Reactor) -> UnboundedReceiver<usize> {
        let (sender, received) = unbounded_channel();
        let (asked, emptied) = (self.clone(), self.clone());
        let prepare = move || {
            let is_empty = asked.0.lock().unwrap().is_empty();
            (!is_empty).then_some(Duration::ZERO)
        };
        let check = move || {
            for n in emptied.0.lock().unwrap().drain(..) {
                let _ = sender.send(n);
            }
        };
        reactor.add_hook(prepare, check).unwrap();
        received
    }
}

fn runtime(mut builder: Builder) -> Runtime {
    let builder = builder.enable_all().on_thread_park(before_park);
    builder.build().unwrap()
}

fn current_thread() -> Runtime {
    runtime(Builder::new_current_thread())
}

/// Waits until each reactor has a host that waits for events.
async fn until_hosts_wait(reactors: &[Reactor]) {
    let waits = |reactor: &Reactor| {
        let driver = reactor.snapshot().unwrap().driver;
        driver.is_some_and(|driver| driver.is_host && !driver.is_driving)
    };
    while !reactors.iter().all(waits) {
        yield_now().await;
    }
}

async fn events_that_a_task_leaves_are_seen(reactor: Reactor) {
    let queue = Queue::default();
    let mut received = queue.hook(&reactor);
    let driving = tokio::spawn(drive(&reactor));
    for n in 0..100 {
        yield_now().await;
        queue.fill(n);
        let got = timeout(LONG, received.recv()).await;
        assert_eq!(got.expect("it is slept over"), Some(n));
        assert!(is_asked_before_park());
    }
    reactor.stop();
    driving.await.unwrap().unwrap();
}

#[test]
fn events_that_a_task_leaves_are_seen_before_the_thread_parks() {
    let reactor = Reactor::new().unwrap();
    current_thread().block_on(events_that_a_task_leaves_are_seen(reactor));
}

#[test]
fn events_that_a_task_leaves_on_the_drives_worker_are_seen() {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1);
    let runtime = runtime(builder);
    let reactor = Reactor::new().unwrap();
    let tasks = runtime.spawn(events_that_a_task_leaves_are_seen(reactor));
    runtime.block_on(tasks).unwrap();
}

/// The drive wanders, and so may the task: it wakes the loop.
#[test]
fn events_that_a_task_leaves_on_any_worker_are_seen_after_a_wake() {
    let runtime = runtime(Builder::new_multi_thread());
    let reactor = Reactor::new().unwrap();
    let queue = Queue::default();
    let mut received = queue.hook(&reactor);
    runtime.block_on(async {
        let driving = tokio::spawn(drive(&reactor));
        for n in 0..100 {
            let (queue, reactor) = (queue.clone(), reactor.clone());
            tokio::spawn(async move {
                queue.fill(n);
                reactor.wake();
            });
            let got = timeout(LONG, received.recv()).await;
            assert_eq!(got.expect("it is slept over"), Some(n));
        }
        reactor.stop();
        driving.await.unwrap().unwrap();
    });
}

/// Each with its own hooks, and some of them gone.
#[test]
fn several_reactors_on_one_thread_are_all_asked() {
    current_thread().block_on(async {
        let reactors: Vec<_> = (0..20).map(|_| Reactor::new().unwrap()).collect();
        let queues: Vec<_> = reactors.iter().map(|_| Queue::default()).collect();
        let pairs = queues.iter().zip(&reactors);
        let mut received: Vec<_> = pairs.map(|(queue, reactor)| queue.hook(reactor)).collect();
        let drives: Vec<_> = reactors
            .iter()
            .map(|reactor| tokio::spawn(drive(reactor)))
            .collect();
        until_hosts_wait(&reactors).await;
        for (n, driving) in drives.into_iter().enumerate() {
            if n % 2 == 0 {
                driving.abort();
                let _ = driving.await;
            }
        }
        for (n, queue) in queues.iter().enumerate() {
            queue.fill(n);
        }
        for (n, received) in received.iter_mut().enumerate().skip(1).step_by(2) {
            let got = timeout(LONG, received.recv()).await;
            assert_eq!(got.expect("it is slept over"), Some(n));
        }
        assert!(received[0].try_recv().is_err(), "no driver runs");
    });
}

/// Counts how often a hook is asked.
fn counted() -> (Arc<AtomicUsize>, impl FnMut() -> Option<Duration> + Send) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let prepare = move || {
        count.fetch_add(1, SeqCst);
        None
    };
    (asked, prepare)
}

#[test]
fn hooks_of_a_loop_that_is_driven_no_more_are_not_asked() {
    current_thread().block_on(async {
        let reactor = Reactor::new().unwrap();
        let (asked, prepare) = counted();
        reactor.add_hook(prepare, || {}).unwrap();
        let driving = tokio::spawn(drive(&reactor));
        until_hosts_wait(std::slice::from_ref(&reactor)).await;
        driving.abort();
        let _ = driving.await;
        let before = asked.load(SeqCst);
        // The thread parks.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.load(SeqCst), before);
    });
}

#[test]
fn a_loop_with_hooks_may_be_closed_by_a_task() {
    current_thread().block_on(async {
        let reactor = Reactor::new().unwrap();
        reactor.add_hook(|| None, || {}).unwrap();
        let driving = tokio::spawn(drive(&reactor));
        until_hosts_wait(std::slice::from_ref(&reactor)).await;
        reactor.close();
        let ended = driving.await.unwrap().unwrap_err();
        assert!(ended.to_string().contains("closed"), "{ended}");
    });
}

/// Nothing is asked for without an end.
#[test]
fn a_loop_with_hooks_stays_asleep() {
    current_thread().block_on(async {
        let reactor = Reactor::new_local().unwrap();
        let (asked, prepare) = counted();
        reactor.add_hook(prepare, || {}).unwrap();
        let stopper = reactor.remote();
        let stop = move || stopper.stop();
        reactor.call_later(Duration::from_millis(50), stop).unwrap();
        drive(&reactor).await.unwrap();
        assert!(asked.load(SeqCst) < 20, "{asked:?}");
        assert!(reactor.stats().turns < 20);
    });
}

/// A limit that a hook sets before the thread parks counts, though the alarm was set to another before.
#[test]
fn a_limit_that_a_hook_sets_before_the_thread_parks_ends_the_sleep() {
    current_thread().block_on(async {
        let reactor = Reactor::new().unwrap();
        let wish = Arc::new(Mutex::new(None));
        let (asked, (sender, mut checked)) = (wish.clone(), unbounded_channel());
        let prepare = move || *asked.lock().unwrap();
        let check = move || _ = sender.send(());
        reactor.add_hook(prepare, check).unwrap();
        let driving = tokio::spawn(drive(&reactor));
        until_hosts_wait(std::slice::from_ref(&reactor)).await;
        while checked.try_recv().is_ok() {}
        *wish.lock().unwrap() = Some(Duration::from_millis(3));
        let got = timeout(LONG, checked.recv()).await;
        assert_eq!(got.expect("it sleeps on"), Some(()));
        reactor.stop();
        driving.await.unwrap().unwrap();
    });
}

/// The panic is the drive's, not the worker's.
#[test]
fn a_hook_that_panics_before_the_thread_parks_panics_in_the_drive() {
    current_thread().block_on(async {
        let reactor = Reactor::new().unwrap();
        let armed = Arc::new(AtomicUsize::new(0));
        let count = armed.clone();
        let prepare = move || match count.load(SeqCst) {
            0 => None,
            _ => panic!("on purpose"),
        };
        let hook = reactor.add_hook(prepare, || {}).unwrap();
        let driving = tokio::spawn(drive(&reactor));
        until_hosts_wait(std::slice::from_ref(&reactor)).await;
        armed.store(1, SeqCst);
        let error = timeout(LONG, driving)
            .await
            .expect("it is told")
            .unwrap_err();
        assert!(error.is_panic());
        assert!(reactor.remove_hook(hook).is_err(), "it is gone");
        reactor.stop();
        drive(&reactor).await.unwrap();
    });
}

/// Without `before_park` a task has to wake the loop. Between the two halves of a hook tasks run: what the
/// first holds, they must not wait for.
#[tokio::test]
async fn tasks_run_between_the_halves_of_a_hook() {
    let reactor = Reactor::new().unwrap();
    let held = Arc::new(AtomicUsize::new(0));
    let (take, give) = (held.clone(), held.clone());
    let prepare = move || {
        take.store(1, SeqCst);
        None
    };
    let check = move || give.store(0, SeqCst);
    reactor.add_hook(prepare, check).unwrap();
    let driving = tokio::spawn(drive(&reactor));
    for _ in 0..20 {
        yield_now().await;
        assert_eq!(held.load(SeqCst), 1, "a step of a task");
    }
    assert!(!is_asked_before_park());
    reactor.stop();
    driving.await.unwrap().unwrap();
}
