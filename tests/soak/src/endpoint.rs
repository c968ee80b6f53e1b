//! Shared by clients and servers: a line, and handlers of any kind on it.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, Weak};

use oneloop::{Action, Event, HandlerId, Interest, Mode, Reactor};

use crate::books::Count;
use crate::line::Line;
use crate::manner::{Manner, Part, Shape};
use crate::message::Message;
use crate::stream::Stream;
use crate::{Soak, lock};

/// The conversation on a line.
pub trait Role: Send + Sized + 'static {
    fn begun(&mut self, _: &Arc<Soak>, _: &Reactor, _: Weak<Mutex<Endpoint<Self>>>) -> Result {
        Ok(())
    }

    /// Something can be said.
    fn say(&mut self, _: &Soak, _: &mut Line) -> Result {
        Ok(())
    }

    fn heard(&mut self, soak: &Arc<Soak>, message: Message, line: &mut Line) -> Result;

    /// Whether it would hear more.
    fn listens(&self, line: &Line) -> bool;

    fn is_done(&self, line: &Line) -> Result<bool>;

    /// The line is about to be closed. Gives what was wrong with it.
    fn ended(&mut self, soak: &Arc<Soak>, line: &Line) -> Result;
}

/// Or what went wrong.
pub type Result<T = ()> = std::result::Result<T, String>;

pub struct Endpoint<R> {
    soak: Arc<Soak>,
    pub role: R,
    /// Until it is over.
    line: Option<Line>,
    connecting: bool,
    manner: Manner,
    handlers: Vec<Handler>,
}

struct Handler {
    id: HandlerId,
    mode: Mode,
    part: Part,
    asked: Interest,
}

/// Puts an endpoint on the loop.
pub fn start<R: Role>(soak: &Arc<Soak>, stream: Stream, role: R, connecting: bool) {
    let Some(reactor) = soak.reactor() else {
        return;
    };
    let stream = Arc::new(stream);
    let endpoint = Arc::new(Mutex::new(Endpoint {
        soak: soak.clone(),
        role,
        line: Some(Line::new(stream.clone())),
        connecting,
        manner: Manner::any(),
        handlers: Vec::new(),
    }));
    // The first call may come before all is told: it waits for us.
    let mut this = lock(&endpoint);
    let begun = this.register(&reactor, stream, &endpoint);
    let begun = begun.and_then(|()| this.role.begun(soak, &reactor, Arc::downgrade(&endpoint)));
    if let Err(error) = begun {
        this.end(&reactor, None, Err(error));
    }
}

impl<R: Role> Endpoint<R> {
    fn register(
        &mut self,
        reactor: &Reactor,
        stream: Arc<Stream>,
        this: &Arc<Mutex<Endpoint<R>>>,
    ) -> Result {
        match self.manner.shape {
            Shape::One(mode) => self.add(reactor, stream, mode, Part::Both, this),
            Shape::Two(reading, writing) => {
                self.add(reactor, stream.clone(), reading, Part::Reading, this)?;
                self.add(reactor, stream, writing, Part::Writing, this)
            }
            Shape::Raw(mode) => {
                let (fd, this) = (stream.as_fd().as_raw_fd(), this.clone());
                // Else it would not be closed when the endpoint closes it.
                drop(stream);
                let asked = self.wanted(Part::Both);
                let call = move |event| lock(&this).called(event);
                // SAFETY: the endpoint keeps the stream open, and removes the handler as soon as it
                // has closed that.
                let added = unsafe { reactor.add_raw_handler(fd, asked, mode, call) };
                let id = added.map_err(|error| error.to_string())?;
                self.handlers.push(Handler {
                    id,
                    mode,
                    part: Part::Both,
                    asked,
                });
                Ok(())
            }
        }
    }

    fn add(
        &mut self,
        reactor: &Reactor,
        stream: Arc<Stream>,
        mode: Mode,
        part: Part,
        this: &Arc<Mutex<Endpoint<R>>>,
    ) -> Result {
        let (this, asked) = (this.clone(), self.wanted(part));
        let call = move |_: &mut _, event| lock(&this).called(event);
        let added = reactor.add_handler(stream, asked, mode, call);
        let id = added.map_err(|error| error.to_string())?;
        self.handlers.push(Handler {
            id,
            mode,
            part,
            asked,
        });
        Ok(())
    }

    fn called(&mut self, event: Event) -> Action {
        let Some(reactor) = self.soak.reactor() else {
            return Action::Remove;
        };
        if self.line.is_none() {
            self.soak
                .books
                .fault("a handler was called after it was removed");
            return Action::Remove;
        }
        let called = Some(event.handler());
        let mut more = false;
        let talked = self.talk(event, &mut more);
        match talked {
            Ok(false) => {
                self.ask(&reactor, called);
                if more {
                    Action::Again
                } else {
                    Action::Continue
                }
            }
            Ok(true) => {
                self.end(&reactor, called, Ok(()));
                Action::Remove
            }
            Err(error) => {
                self.end(&reactor, called, Err(error));
                Action::Remove
            }
        }
    }

    /// Goes on after a pause.
    pub fn resume(&mut self, reactor: &Reactor) {
        if self.line.is_some() {
            self.ask(reactor, None)
        } else {
            self.soak
                .books
                .fault("a timer was called after it was cancelled")
        }
    }

    /// Does what can be done. True when all is done; `more` if there may be more to read, of which
    /// no event will tell.
    fn talk(&mut self, event: Event, more: &mut bool) -> Result<bool> {
        let Some(line) = &mut self.line else {
            return Ok(true);
        };
        let text = |error: std::io::Error| error.to_string();
        if event.is_writable() && std::mem::take(&mut self.connecting) {
            line.stream.connected().map_err(text)?;
        }
        if event.is_readable() {
            let mut buffer = [0; 4096];
            // Edge-triggered, one has to read on until there is nothing.
            let edge =
                |handler: &Handler| handler.id == event.handler() && handler.mode == Mode::Edge;
            let most = if self.handlers.iter().any(edge) { 8 } else { 1 };
            for _ in 0..most {
                if line.end().is_some() || !self.role.listens(line) {
                    break;
                }
                let size = fastrand::usize(1..=buffer.len());
                *more = line.read(&mut buffer[..size]).map_err(text)? && most > 1;
                while let Some(message) = line.next_message()? {
                    self.role.heard(&self.soak, message, line)?;
                }
                if !*more {
                    break;
                }
            }
        }
        while !self.connecting {
            self.role.say(&self.soak, line)?;
            let writes = event.is_writable() || !self.manner.toggles;
            // Edge-triggered, one has to write on until there is no room, or nothing to write.
            if !writes || !line.has_output() || !line.flush().map_err(text)? {
                break;
            }
        }
        self.role.is_done(line)
    }

    /// Returns the interest of one part of the line.
    fn wanted(&self, part: Part) -> Interest {
        let Some(line) = &self.line else {
            return Interest::NONE;
        };
        let reads = !self.connecting && line.end().is_none() && self.role.listens(line);
        let writes = self.connecting || line.has_output();
        let mut wanted = Interest::NONE;
        if reads && part != Part::Writing {
            wanted |= Interest::READABLE;
        }
        if writes && part != Part::Reading {
            wanted |= Interest::WRITABLE;
        }
        wanted
    }

    fn ask(&mut self, reactor: &Reactor, called: Option<HandlerId>) {
        for at in 0..self.handlers.len() {
            let wanted = self.wanted(self.handlers[at].part);
            let handler = &mut self.handlers[at];
            let disarmed = handler.mode == Mode::Oneshot && called == Some(handler.id);
            if wanted == handler.asked && !disarmed {
                continue;
            }
            handler.asked = wanted;
            if let Err(error) = reactor.update_handler(handler.id, wanted) {
                self.soak.books.fault(error.to_string());
            }
            self.soak.books.count(Count::Toggled);
        }
    }

    pub fn is_over(&self) -> bool {
        self.line.is_none()
    }

    /// Its state, to find out why nothing happens.
    pub fn describe(&self) -> String {
        let handler = |handler: &Handler| {
            let Handler {
                mode, part, asked, ..
            } = handler;
            format!("{mode:?} {part:?} {asked:?}")
        };
        let handlers: Vec<_> = self.handlers.iter().map(handler).collect();
        let line = self.line.as_ref().map(Line::describe);
        format!("{handlers:?}, {line:?}")
    }

    /// Closes the line. `called` is the handler that is being called, and removed by its answer.
    pub fn end(&mut self, reactor: &Reactor, called: Option<HandlerId>, result: Result) {
        let Some(line) = self.line.take() else {
            return;
        };
        let ended = self.role.ended(&self.soak, &line);
        if let Err(what) = result.and(ended) {
            self.soak.books.fault(what);
        }
        let raw = matches!(self.manner.shape, Shape::Raw(_));
        // With the line goes the last that holds a raw descriptor open.
        let late = (!raw).then_some(line);
        for handler in self.handlers.drain(..) {
            if called == Some(handler.id) {
                continue;
            }
            if let Err(error) = reactor.remove_handler(handler.id) {
                self.soak.books.fault(error.to_string());
            }
        }
        drop(late);
    }
}
