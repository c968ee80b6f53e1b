use std::io::{Write, stderr};
use std::process::exit;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use crate::books::Books;

/// Reports if for a long time nothing goes on, and ends the process, whose threads cannot be ended
/// otherwise; until it is dropped.
pub struct Watchdog {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub fn new(name: &'static str, books: &Arc<Books>) -> Watchdog {
        let (over, wait) = channel();
        let books = books.clone();
        let watch = move || {
            let mut before = usize::MAX;
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(Duration::from_secs(60)) {
                let now = books.progress_so_far();
                if now == before {
                    // Not by a macro, whose output the test harness would keep to itself.
                    let _ = writeln!(
                        stderr(),
                        "{name}: nothing has gone on for a minute; {books}"
                    );
                    exit(9);
                }
                before = now;
            }
        };
        Watchdog {
            over: Some(over),
            thread: Some(spawn(watch)),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
