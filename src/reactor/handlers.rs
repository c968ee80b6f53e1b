//! Handlers: callbacks that the loop calls when a source is ready.
use std::panic::Location;
use std::time::Duration;

use super::Reactor;
use crate::engine::{Outcome, Target, boxed};
use crate::os::RawFd;
use crate::{
    AddError, Event, HandlerId, Interest, IntoAction, MaybeSend, Mode, Priority, Ready, Result,
    Source, Threading,
};

/// # Handlers
impl<M: Threading> Reactor<M> {
    /// Calls `callback` when `source` has the readiness in `interest`. The handler is in force when this
    /// returns.
    ///
    /// The loop owns the source, which stays open while it is watched. The callback gets it as `&mut S`. If
    /// the callback replaces the source by another, such as a new connection, the loop watches the new one when
    /// the callback returns. If it replaces a descriptor by a [`VirtualSource`](crate::VirtualSource), the
    /// handler is not called any more.
    ///
    /// A [`Source`] is any value with a descriptor, or a virtual source. To share one, use an `Arc`, an `Rc` or
    /// a `BorrowedFd<'static>`.
    ///
    /// One descriptor can have any number of handlers, and each works as if it were alone. A handler whose
    /// callback returns `()` stays, and one whose callback returns an error is removed. [`IntoAction`] lists
    /// the other results. If a callback adds a handler, the loop first calls that in a later turn.
    ///
    /// The descriptor keeps its flags, including O_NONBLOCK. Regular files and directories are always ready.
    ///
    /// # Errors
    ///
    /// If the descriptor cannot be watched, returns the operating system's error with the descriptor's number
    /// and the source in it. Nothing is registered then. Returns
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the poller has no edge-triggered mode, or if the
    /// system does not report priority data (kqueue).
    #[doc(alias = "register")]
    #[track_caller]
    pub fn add_handler<S, F, A>(
        &self,
        source: S,
        interest: Interest,
        mode: Mode,
        callback: F,
    ) -> std::result::Result<HandlerId, AddError<S>>
    where
        S: Source + MaybeSend<M> + 'static,
        F: FnMut(&mut S, Event) -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        let target = Target::of(&source);
        let added = self.core.add_handler(
            "add_handler",
            target,
            (interest, mode),
            Location::caller(),
            (source, callback),
            |(source, callback), _| boxed(source, callback),
        );
        match added {
            Ok(key) => Ok(HandlerId(key)),
            Err((error, (source, _))) => Err(AddError::new(error, source)),
        }
    }

    /// Adds a handler like [`add_handler`](Self::add_handler), for a descriptor that other code owns, such as a
    /// C library.
    ///
    /// C libraries may close a descriptor before its handler is removed. The handler is not called any
    /// more then, and its number can be registered again at once. The loop corrects the kernel's complaints
    /// about this and does not report them. It is still better to remove the handler before closing.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::os::{fd::AsRawFd, unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (library, _peer) = UnixStream::pair()?;
    /// let (fd, interest) = (library.as_raw_fd(), Interest::WRITABLE);
    /// let ready = |event: oneloop::Event| assert!(event.is_writable());
    /// // SAFETY: the library closes it after the handler was removed.
    /// let id = unsafe { reactor.add_raw_handler(fd, interest, Mode::Level, ready)? };
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// reactor.remove_handler(id)?;
    /// drop(library);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    ///
    /// The descriptor must be open now. The handler must be removed before its owner closes it, or soon
    /// after. Otherwise the number may come to mean another file, and
    /// [`update_handler`](Self::update_handler) and [`rearm_handler`](Self::rearm_handler) would make the loop
    /// watch that file.
    ///
    /// A dup of the descriptor, in a child process for example, may keep the closed file open. The loop may then
    /// call the handler for it up to 256 more times until it notices. A callback that reads from the
    /// number then reads from whichever file has the number.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`add_handler`](Self::add_handler).
    #[track_caller]
    pub unsafe fn add_raw_handler<F, A>(
        &self,
        fd: RawFd,
        interest: Interest,
        mode: Mode,
        mut callback: F,
    ) -> Result<HandlerId>
    where
        F: FnMut(Event) -> A + MaybeSend<M> + 'static,
        A: IntoAction,
    {
        let make = |(), _| -> Box<dyn FnMut(Event) -> Outcome> {
            Box::new(move |event| callback(event).into_action().into())
        };
        let added = self.core.add_handler(
            "add_raw_handler",
            Target::Fd(fd),
            (interest, mode),
            Location::caller(),
            (),
            make,
        );
        match added {
            Ok(key) => Ok(HandlerId(key)),
            Err((error, ())) => Err(error),
        }
    }

    /// Replaces the interest of a handler. [`Interest::NONE`] pauses it.
    ///
    /// This also re-arms edge and one-shot handlers: the loop reports again what is ready now. Within
    /// a callback, the loop tells the kernel only before it waits again. A change that is undone within the
    /// callback therefore costs nothing.
    ///
    /// If the descriptor was closed and its number now means another file, the handler watches that file
    /// from here on. A change that is undone within one callback does not notice this.
    /// [`rearm_handler`](Self::rearm_handler) always does.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let id = reactor.add_handler(ours, Interest::WRITABLE, Mode::Level, |stream, event| {
    ///     stream.write_all(b"all there is").unwrap();
    ///     // The stream stays writable. Without a pause, every turn would call this handler.
    ///     Reactor::current().unwrap().update_handler(event.handler(), Interest::NONE).unwrap();
    /// })?;
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// assert_eq!(reactor.turn(Some(Duration::ZERO))?.called, 0);
    ///
    /// reactor.update_handler(id, Interest::WRITABLE)?; // there is more to write
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown, or if the owner has closed the descriptor. Within a callback, the
    /// loop may notice the closed descriptor only before the next wait. The handler is not called any more
    /// then. If the system cannot report the interest, returns the same error as
    /// [`add_handler`](Self::add_handler).
    #[doc(alias = "modify")]
    pub fn update_handler(&self, id: HandlerId, interest: Interest) -> Result<()> {
        self.core.update_handler(id.0, interest)
    }

    /// Registers the descriptor with the kernel again, even if nothing seems to have changed.
    ///
    /// Libraries such as libpq close a socket and open another under the same number inside one call. After
    /// such a call, this makes the handler watch the new socket. It also arms one-shot handlers.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`update_handler`](Self::update_handler).
    pub fn rearm_handler(&self, id: HandlerId) -> Result<()> {
        self.core.rearm_handler(id.0)
    }

    /// Removes a handler and drops its callback and source.
    ///
    /// The loop does not call the handler any more, even if it is ready in the current turn. If another thread
    /// is driving, one call may be running there. That thread drops the callback after the call.
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn remove_handler(&self, id: HandlerId) -> Result<()> {
        self.core.remove_handler(id.0)
    }

    /// Orders a handler among those that are ready in one turn: `High`, then `Normal`, then `Idle`.
    ///
    /// Every handler starts as `Normal`. A turn calls all handlers that are ready, so that none starves.
    /// Handlers of one priority keep their order. Within a callback, the change takes effect in the next turn.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Priority, Reactor, Ready, VirtualSource};
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (sender, called) = channel();
    /// for priority in [Priority::Idle, Priority::Normal, Priority::High] {
    ///     let (source, readiness) = VirtualSource::pair();
    ///     readiness.set(Ready::READABLE);
    ///     let sender = sender.clone();
    ///     let id = reactor.add_handler(source, Interest::READABLE, Mode::Level, move |_, _| {
    ///         let _ = &readiness;
    ///         sender.send(priority).unwrap();
    ///     })?;
    ///     reactor.set_priority(id, priority)?;
    /// }
    /// reactor.turn(Some(Duration::ZERO))?;
    /// let called: Vec<_> = called.try_iter().collect();
    /// assert_eq!(called, [Priority::High, Priority::Normal, Priority::Idle]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn set_priority(&self, id: HandlerId, priority: Priority) -> Result<()> {
        self.core.set_priority(id.0, priority)
    }

    /// Limits a handler to `calls` calls in each interval of `per`, by the loop's clock. If either is zero, this
    /// lifts the limit.
    ///
    /// The interval begins with a call. If the handler has used up its calls and is ready again, the loop
    /// stops watching it until the interval ends. It is called then if it is still ready. An edge that
    /// arrives meanwhile leads to a call then, and so does [`Action::Again`](crate::Action::Again).
    ///
    /// A handler that waits for its interval still counts for [`run`](Self::run). An update or a
    /// [`rearm_handler`](Self::rearm_handler) takes effect when the interval ends. A new limit replaces the old
    /// one and begins at once: the loop watches a waiting handler again.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor, Ready, TestClock, VirtualSource};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = TestClock::new();
    /// let reactor = Reactor::builder().clock(clock.clone()).build()?;
    /// let (source, readiness) = VirtualSource::pair();
    /// readiness.set(Ready::READABLE); // and it stays so
    /// let id = reactor.add_handler(source, Interest::READABLE, Mode::Level, |_, _| {})?;
    /// reactor.limit_rate(id, 2, Duration::from_secs(1))?;
    ///
    /// let turns = || -> oneloop::Result<usize> {
    ///     (0..9).map(|_| Ok(reactor.turn(Some(Duration::ZERO))?.called)).sum()
    /// };
    /// assert_eq!(turns()?, 2);
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(turns()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    #[doc(alias = "ratelimit")]
    pub fn limit_rate(&self, id: HandlerId, calls: u32, per: Duration) -> Result<()> {
        self.core.limit_rate(id.0, calls, per)
    }

    /// Returns the descriptor of a handler.
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown. Returns [`Unsupported`](crate::ErrorKind::Unsupported) if the
    /// handler is on a [`VirtualSource`](crate::VirtualSource).
    pub fn handler_fd(&self, id: HandlerId) -> Result<RawFd> {
        self.core.handler_fd(id.0)
    }

    /// Moves a handler of [`add_raw_handler`](Self::add_raw_handler) to another descriptor.
    ///
    /// C libraries that connect again, such as libmosquitto and MariaDB's, have a new descriptor then. The
    /// handler keeps its id, callback, interest, priority, limit and name. It is armed, and not called any more
    /// for what the old descriptor was ready for. The old descriptor may be closed already.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor};
    /// use std::{io::Write, os::fd::AsRawFd, os::unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (lost, _) = UnixStream::pair()?;
    /// // SAFETY: the handler leaves the descriptor right after it is closed.
    /// let id = unsafe {
    ///     let fd = lost.as_raw_fd();
    ///     reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| {})?
    /// };
    /// let (new, mut peer) = UnixStream::pair()?;
    /// drop(lost);
    /// // SAFETY: `new` is open until the loop ends.
    /// unsafe { reactor.move_handler(id, new.as_raw_fd())? };
    /// peer.write_all(b"x")?;
    /// assert_eq!(reactor.turn(None)?.called, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    ///
    /// The conditions of [`add_raw_handler`](Self::add_raw_handler) hold for `fd`, too.
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown, if the descriptor is not open, or if it is one of the loop's own.
    /// Nothing changes then. If the kernel refuses to watch it for another reason, the handler is not
    /// called any more until it is moved again or re-armed. Returns
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the handler is on a
    /// [`VirtualSource`](crate::VirtualSource).
    pub unsafe fn move_handler(&self, id: HandlerId, fd: RawFd) -> Result<()> {
        self.core.move_handler(id.0, fd)
    }

    /// Returns the readiness with which the loop calls a handler in this turn, or [`Ready::NONE`] if it does not.
    ///
    /// A `check` hook learns by this what the sleep has found. It is called before the handlers. While a
    /// handler is being called, this returns the readiness that it was called with.
    ///
    /// ```
    /// use oneloop::{Interest, Mode, Reactor, Ready};
    /// use std::{io::Write, os::unix::net::UnixStream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let id = reactor.add_handler(ours, Interest::READABLE, Mode::Level, |_, _| {})?;
    /// let check = move || {
    ///     let reactor = Reactor::current().unwrap();
    ///     println!("{:?} is there", reactor.handler_ready(id).unwrap());
    /// };
    /// reactor.add_hook(|| None, check)?;
    /// theirs.write_all(b"x")?;
    /// reactor.turn(None)?; // Ready(READABLE) is there
    /// assert_eq!(reactor.handler_ready(id)?, Ready::NONE);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn handler_ready(&self, id: HandlerId) -> Result<Ready> {
        self.core.handler_ready(id.0)
    }
}
