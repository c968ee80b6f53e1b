//! A client connects, says some messages, waits for their echoes, and leaves.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use oneloop::{Priority, Reactor, TimerId};

use crate::books::{Count, Kind};
use crate::endpoint::{self, Endpoint, Result, Role};
use crate::line::Line;
use crate::message::{DISMISS, LAST, Message};
use crate::stream::Stream;
use crate::{Soak, lock};

/// The next action of a client.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub connection: u64,
    pub messages: u32,
    /// How many may be without an answer.
    pub window: u32,
    pub ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closes the connection when it has all echoes.
    Abrupt,
    /// Says that there will be no more, and waits for the same.
    Orderly,
    /// Lets the server close it.
    Dismissed,
}

impl Plan {
    pub fn any(soak: &Soak, stream: &Stream) -> Plan {
        // A TCP connection that was ended in order stays with the kernel for a minute.
        let abrupt = stream.is_tcp() && !(soak.crowd.may_linger() && fastrand::u8(0..16) == 0);
        Plan {
            connection: soak.crowd.next(),
            messages: fastrand::u32(1..=30),
            window: fastrand::u32(1..=8),
            ending: match fastrand::u8(0..3) {
                _ if abrupt => Ending::Abrupt,
                0 => Ending::Abrupt,
                1 => Ending::Orderly,
                _ => Ending::Dismissed,
            },
        }
    }

    pub fn message(&self, number: u32) -> Message {
        let length = match fastrand::u8(0..32) {
            0 => fastrand::u32(0..40_000),
            _ => fastrand::u32(0..300),
        };
        let flags = match (number + 1 == self.messages, self.ending) {
            (false, _) => 0,
            (true, Ending::Dismissed) => LAST | DISMISS,
            (true, _) => LAST,
        };
        Message {
            connection: self.connection,
            number,
            flags,
            length,
        }
    }

    /// Whether an echo is the one that is due.
    pub fn check(&self, number: u32, echo: &Message) -> Result {
        if echo.connection == self.connection && echo.number == number {
            Ok(())
        } else {
            Err(format!(
                "connection {} got {echo:?} where {number} was due",
                self.connection
            ))
        }
    }
}

pub struct Client {
    plan: Plan,
    said: u32,
    heard: u32,
    ended_output: bool,
    /// Fires if nothing comes for long: pushed back with each message.
    guard: Option<TimerId>,
    /// Reads nothing, until this fires.
    pause: Option<TimerId>,
    endpoint: Weak<Mutex<Endpoint<Client>>>,
}

/// Connects, or tries again soon.
pub fn open(soak: &Arc<Soak>) {
    let stream = Stream::connect(soak.crowd.address()).and_then(|stream| {
        stream.forget_when_closed()?;
        stream.set_prompt()?;
        if fastrand::bool() {
            stream.set_small_buffer()?;
        }
        Ok(stream)
    });
    let stream = match stream {
        Ok(stream) => stream,
        // The crowd sees that a client is missing.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return soak.crowd.left(),
        Err(error) => {
            soak.books.fault(format!("connect: {error}"));
            return soak.crowd.left();
        }
    };
    soak.books.open(Kind::Connection);
    let plan = Plan::any(soak, &stream);
    let client = Client {
        plan,
        said: 0,
        heard: 0,
        ended_output: false,
        guard: None,
        pause: None,
        endpoint: Weak::new(),
    };
    endpoint::start(soak, stream, client, true);
}

impl Role for Client {
    fn begun(
        &mut self,
        soak: &Arc<Soak>,
        reactor: &Reactor,
        endpoint: Weak<Mutex<Endpoint<Client>>>,
    ) -> Result {
        self.endpoint = endpoint;
        self.watch(soak, reactor)
    }

    fn say(&mut self, soak: &Soak, line: &mut Line) -> Result {
        while self.said < self.plan.messages
            && self.said - self.heard < self.plan.window
            && !line.has_much_output()
        {
            line.push(&self.plan.message(self.said));
            self.said += 1;
            soak.books.open(Kind::Message);
        }
        let all = self.said == self.plan.messages && !line.has_output();
        if all && self.plan.ending == Ending::Orderly && !self.ended_output {
            self.ended_output = true;
            let ended = line.stream.end_output();
            ended.map_err(|error| format!("shutdown: {error}"))?;
        }
        Ok(())
    }

    fn heard(&mut self, soak: &Arc<Soak>, echo: Message, _: &mut Line) -> Result {
        self.plan.check(self.heard, &echo)?;
        self.heard += 1;
        soak.books.close(Kind::Message);
        let Some(reactor) = soak.reactor() else {
            return Ok(());
        };
        if let Some(guard) = self.guard {
            let reset = reactor.reset_timer(guard, reactor.now() + soak.patience);
            reset.map_err(|error| error.to_string())?;
            soak.books.count(Count::Reset);
        }
        if self.heard < self.plan.messages && fastrand::u8(0..16) == 0 && self.pause.is_none() {
            self.pause(soak, &reactor)?;
        }
        Ok(())
    }

    fn listens(&self, _: &Line) -> bool {
        self.pause.is_none()
    }

    fn is_done(&self, line: &Line) -> Result<bool> {
        let all = self.heard == self.plan.messages;
        match (all, line.end()) {
            (true, _) if self.plan.ending == Ending::Abrupt => Ok(true),
            (true, end) => Ok(end.is_some()),
            (false, None) => Ok(false),
            (false, Some(end)) => Err(format!(
                "{:?} got the end ({end:?}) after {} messages",
                self.plan, self.heard
            )),
        }
    }

    fn ended(&mut self, soak: &Arc<Soak>, line: &Line) -> Result {
        soak.books.close(Kind::Connection);
        if self.pause.is_some() {
            soak.books.close(Kind::Timer);
        }
        let reactor = soak.reactor();
        for timer in [self.guard.take(), self.pause.take()].into_iter().flatten() {
            if let Some(Err(error)) = reactor.as_ref().map(|it| it.cancel_timer(timer)) {
                soak.books.fault(error.to_string());
            }
        }
        soak.crowd.left();
        soak.crowd.replace(soak);
        if line.has_rest() {
            Err(format!("{:?} got more than it asked for", self.plan))
        } else {
            Ok(())
        }
    }
}

impl Client {
    /// Sets the guard.
    fn watch(&mut self, soak: &Arc<Soak>, reactor: &Reactor) -> Result {
        let (endpoint, around) = (self.endpoint.clone(), soak.clone());
        let set = reactor.call_later(soak.patience, move || suspect(&around, &endpoint));
        self.guard = Some(set.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn pause(&mut self, soak: &Arc<Soak>, reactor: &Reactor) -> Result {
        let (endpoint, around) = (self.endpoint.clone(), soak.clone());
        let delay = Duration::from_micros(fastrand::u64(0..20_000));
        let set = reactor.call_later(delay, move || {
            around.books.close(Kind::Timer);
            if let (Some(endpoint), Some(reactor)) = (endpoint.upgrade(), around.reactor()) {
                let mut endpoint = lock(&endpoint);
                endpoint.role.pause = None;
                endpoint.resume(&reactor);
            }
        });
        self.pause = Some(set.map_err(|error| error.to_string())?);
        soak.books.open(Kind::Timer);
        Ok(())
    }
}

/// Nothing has come for long. If that is still so when the loop has nothing else to do, it is lost.
fn suspect(soak: &Arc<Soak>, client: &Weak<Mutex<Endpoint<Client>>>) {
    let (Some(client), Some(reactor)) = (client.upgrade(), soak.reactor()) else {
        return;
    };
    let mut endpoint = lock(&client);
    endpoint.role.guard = None;
    let heard = endpoint.role.heard;
    drop(endpoint);
    let around = soak.clone();
    let look = move || {
        let mut endpoint = lock(&client);
        let client = &endpoint.role;
        let Some(reactor) = around.reactor().filter(|_| !endpoint.is_over()) else {
            return;
        };
        let result = if client.heard == heard && client.pause.is_none() {
            Err(format!(
                "{:?} heard nothing for {:?} after {heard} messages: {}",
                client.plan,
                around.patience,
                endpoint.describe()
            ))
        } else {
            endpoint.role.watch(&around, &reactor)
        };
        if result.is_err() {
            endpoint.end(&reactor, None, result);
        }
    };
    if reactor.call_soon_with(Priority::Idle, look).is_err() {
        soak.books.fault("a post was refused");
    }
}
