//! Bytes that arrive from anywhere, read as from a non-blocking socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Result};
use std::sync::{Arc, Mutex};

use oneloop::{Ready, SetReadiness, Source, SourceKind, VirtualSource};

/// Where they are read. Readable while there are any, and at the end.
pub struct Arrivals {
    source: VirtualSource,
    readiness: SetReadiness,
    state: Arc<Mutex<State>>,
}

/// Where they come in, on any thread.
#[derive(Clone)]
pub struct Delivery {
    readiness: SetReadiness,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// How it ended.
    end: Option<Result<()>>,
}

pub fn arrivals() -> (Arrivals, Delivery) {
    let (source, readiness) = VirtualSource::pair();
    let state = Arc::<Mutex<State>>::default();
    let delivery = Delivery {
        readiness: readiness.clone(),
        state: state.clone(),
    };
    let arrivals = Arrivals {
        source,
        readiness,
        state,
    };
    (arrivals, delivery)
}

impl Arrivals {
    /// Has the reader look once, though there is nothing yet: readiness is a hint.
    pub fn look(&self) {
        self.readiness.set(Ready::READABLE);
    }
}

impl Delivery {
    pub fn bytes(&self, bytes: &[u8]) {
        self.state.lock().unwrap().bytes.extend(bytes);
        self.readiness.set(Ready::READABLE);
    }

    pub fn end(self, how: Result<()>) {
        self.state.lock().unwrap().end = Some(how);
        self.readiness.set(Ready::READABLE);
    }
}

impl Read for Arrivals {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut state = self.state.lock().unwrap();
        if !state.bytes.is_empty() {
            return state.bytes.read(buffer);
        }
        match &mut state.end {
            Some(end) => std::mem::replace(end, Ok(())).map(|()| 0),
            None => {
                // Under the lock, so that a delivery comes either before or after it.
                self.readiness.clear(Ready::READABLE);
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Source for Arrivals {
    fn kind(&self) -> SourceKind<'_> {
        SourceKind::Virtual(&self.source)
    }
}
