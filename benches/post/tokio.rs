//! tokio on one thread: a task that takes from its mpsc, or is woken by its `Notify`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{Message, Post, Work};

/// How many are taken at once.
const MOST: usize = 256;

pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

#[derive(Clone)]
struct Poster(UnboundedSender<Message>);

impl Post for Poster {
    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        let sent = self.0.send(Some(Box::new(callback)));
        assert!(sent.is_ok(), "the task is there");
    }

    fn end(&self) {
        assert!(self.0.send(None).is_ok(), "the task is there");
    }
}

pub fn mpsc(work: &Work) -> io::Result<()> {
    let (sender, mut receiver) = unbounded_channel();
    work.begin(Poster(sender));
    runtime()?.block_on(async {
        let mut messages = Vec::with_capacity(MOST);
        while receiver.recv_many(&mut messages, MOST).await > 0 {
            for message in messages.drain(..) {
                match message {
                    Some(callback) => callback(),
                    None => return,
                }
            }
        }
    });
    Ok(())
}

#[derive(Clone, Default)]
struct Notifier {
    notify: Arc<Notify>,
    over: Arc<AtomicBool>,
}

/// It carries nothing: its task knows what to call.
impl Post for Notifier {
    fn post(&self, _: impl FnOnce() + Send + 'static) {
        self.notify.notify_one();
    }

    fn end(&self) {
        self.over.store(true, SeqCst);
        self.notify.notify_one();
    }
}

pub fn notify(work: &Work) -> io::Result<()> {
    let Work::One(one) = work else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let notifier = Notifier::default();
    work.begin(notifier.clone());
    runtime()?.block_on(async {
        loop {
            notifier.notify.notified().await;
            if notifier.over.load(SeqCst) {
                return;
            }
            one.called();
        }
    });
    Ok(())
}
