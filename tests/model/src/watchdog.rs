//! Stops loops that hang, so that a hang is a failure as any other, and shrinks.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use oneloop::{Reactor, Remote};

use crate::play::Play;

/// No step takes that long.
const PATIENCE: Duration = Duration::from_secs(3);

struct Watched {
    play: Weak<Play>,
    remote: Remote,
    steps: u64,
    /// It was stopped, which may not help.
    stopped: bool,
}

static ALL: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Watches a program until the result is dropped.
pub(crate) fn watch(play: &Arc<Play>, reactor: &Reactor) -> Watch {
    static THREAD: Once = Once::new();
    THREAD.call_once(|| drop(thread::spawn(keep_watch)));
    let watched = Watched {
        play: Arc::downgrade(play),
        remote: reactor.remote(),
        steps: 0,
        stopped: false,
    };
    lock().push(watched);
    Watch(Arc::downgrade(play))
}

pub(crate) struct Watch(Weak<Play>);

impl Drop for Watch {
    fn drop(&mut self) {
        lock().retain(|one| !one.play.ptr_eq(&self.0));
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Watched>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep_watch() {
    loop {
        thread::sleep(PATIENCE);
        for one in lock().iter_mut() {
            let Some(play) = one.play.upgrade() else {
                continue;
            };
            let steps = play.steps.load(SeqCst).wrapping_add(1);
            if steps != one.steps {
                (one.steps, one.stopped) = (steps, false);
            } else if !one.stopped {
                one.stopped = true;
                play.hung.store(true, SeqCst);
                one.remote.stop();
            } else {
                eprintln!("a program hangs, and cannot be stopped");
                std::process::abort();
            }
        }
    }
}
