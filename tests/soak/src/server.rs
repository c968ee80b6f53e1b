//! Listeners, and servers that answer with the same message, in the same order.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use oneloop::{Action, Event, Interest, Mode, Reactor};

use crate::Soak;
use crate::books::Kind;
use crate::endpoint::{self, Result, Role};
use crate::line::{End, Line};
use crate::message::{DISMISS, LAST, Message};
use crate::sabotage::Harm;
use crate::stream::Stream;

/// Whom to accept in one go.
const MANY: usize = 16;

/// Listeners in all modes.
pub fn listen(
    soak: &Arc<Soak>,
    reactor: &Reactor,
    tcp: TcpListener,
    unix: [UnixListener; 2],
) -> io::Result<()> {
    let accept = soak.clone();
    reactor.add_handler(tcp, Interest::READABLE, Mode::Level, move |tcp, _| {
        accept_some(&accept, || Ok(Stream::Tcp(tcp.accept()?.0)));
    })?;
    let [edge, oneshot] = unix;
    let accept = soak.clone();
    reactor.add_handler(edge, Interest::READABLE, Mode::Edge, move |edge, _| {
        if accept_some(&accept, || Ok(Stream::Unix(edge.accept()?.0))) {
            Action::Again
        } else {
            Action::Continue
        }
    })?;
    let accept = soak.clone();
    let call = move |oneshot: &mut UnixListener, event: Event| {
        accept_some(&accept, || Ok(Stream::Unix(oneshot.accept()?.0)));
        if let Some(reactor) = accept.reactor() {
            if let Err(error) = reactor.update_handler(event.handler(), Interest::READABLE) {
                accept.books.fault(error.to_string());
            }
        }
    };
    reactor.add_handler(oneshot, Interest::READABLE, Mode::Oneshot, call)?;
    Ok(())
}

/// False when no client is left.
fn accept_some(soak: &Arc<Soak>, accept: impl Fn() -> io::Result<Stream>) -> bool {
    for _ in 0..MANY {
        let stream = accept().and_then(|stream| {
            stream.set_nonblocking(true)?;
            stream.set_prompt()?;
            if fastrand::bool() {
                stream.set_small_buffer()?;
            }
            Ok(stream)
        });
        match stream {
            Ok(stream) => {
                soak.books.open(Kind::Served);
                endpoint::start(soak, stream, Server::default(), false);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                soak.books.fault(format!("accept: {error}"));
                return false;
            }
        }
    }
    true
}

#[derive(Default)]
struct Server {
    heard: u32,
    /// There are to be no more.
    last: bool,
    dismissed: bool,
}

impl Role for Server {
    fn heard(&mut self, soak: &Arc<Soak>, message: Message, line: &mut Line) -> Result {
        if message.number != self.heard || self.last {
            return Err(format!(
                "a server got {message:?} where {} was due",
                self.heard
            ));
        }
        self.heard += 1;
        self.last = message.flags & LAST != 0;
        self.dismissed = message.flags & DISMISS != 0;
        // The client may not wait for what comes after the last.
        if self.last || !soak.sabotage.strikes(Harm::Message) {
            line.push(&message);
        }
        if !self.last && soak.sabotage.strikes(Harm::Order) {
            line.push(&message);
        }
        Ok(())
    }

    fn listens(&self, line: &Line) -> bool {
        !line.has_much_output() && !self.dismissed
    }

    fn is_done(&self, line: &Line) -> Result<bool> {
        Ok(match line.end() {
            Some(End::Gone) => true,
            Some(End::Orderly) => !line.has_output(),
            None => self.dismissed && !line.has_output(),
        })
    }

    fn ended(&mut self, soak: &Arc<Soak>, line: &Line) -> Result {
        soak.books.close(Kind::Served);
        if self.last && !line.has_rest() && !line.has_output() {
            Ok(())
        } else {
            Err(format!(
                "a server was left after {} messages, before the end: {}",
                self.heard,
                line.describe()
            ))
        }
    }
}
