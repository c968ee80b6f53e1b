//! A socket that is none: what is written into it makes up the request of one remote procedure call,
//! which is sent when reading begins.

use std::io::{Read, Result, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::{mem, thread};

use oneloop::{Source, SourceKind};

use crate::arrivals::{Arrivals, Delivery, arrivals};

pub struct RpcSocket {
    calls: Sender<Call>,
    request: Vec<u8>,
    /// Where the answer goes, until the call is made.
    delivery: Option<Delivery>,
    answer: Arrivals,
}

impl RpcSocket {
    pub fn new(service: &Service) -> RpcSocket {
        let (answer, delivery) = arrivals();
        // The task that waits for the answer has to read once, which makes the call.
        answer.look();
        RpcSocket {
            calls: service.calls.clone(),
            request: Vec::new(),
            delivery: Some(delivery),
            answer,
        }
    }
}

impl Write for RpcSocket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.request.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Read for RpcSocket {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(delivery) = self.delivery.take() {
            let request = String::from_utf8_lossy(&mem::take(&mut self.request)).into_owned();
            self.calls.send(Call { request, delivery }).unwrap();
        }
        self.answer.read(buffer)
    }
}

impl Source for RpcSocket {
    fn kind(&self) -> SourceKind<'_> {
        self.answer.kind()
    }
}

struct Call {
    request: String,
    delivery: Delivery,
}

/// The server that answers the calls.
pub struct Service {
    calls: Sender<Call>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub fn start(answer: String) -> Service {
        let (calls, incoming) = channel::<Call>();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = requests.clone();
        thread::spawn(move || {
            for Call { request, delivery } in incoming {
                log.lock().unwrap().push(request);
                for piece in answer.as_bytes().chunks(10_000) {
                    delivery.bytes(piece);
                }
                delivery.end(Ok(()));
            }
        });
        Service { calls, requests }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}
