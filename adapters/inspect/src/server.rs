//! The server: its handlers on the loop, and their limits.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oneloop::{Action, HandlerId, Id, Interest, Reactor, Shared, Threading, TimerId, WeakReactor};

use crate::address::{Address, Listener, Stream};
use crate::connection::{Connection, Progress};
use crate::inspectable::Inspectable;
use crate::recorder::Recorder;
use crate::text::OWN;

/// Connections at a time. Another one closes that whose time ends first.
const CONNECTIONS: usize = 32;
/// Time from one request to the next.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are accepted in one turn.
const ACCEPTS: usize = 4;
/// The period at which limits are checked and recordings go on.
const TICK: Duration = Duration::from_millis(100);
/// Time that answers may take in each period.
const SHARE: Duration = Duration::from_millis(10);

/// Serves the page of a loop on the loop itself, until the loop is gone or closed.
///
/// Only programs of this machine may connect. [`Builder::allow_remote`] lifts that.
///
/// The server has a few handlers on the loop, whose names begin with `oneloop-inspect`. They do not keep
/// [`run`](Reactor::run) going. While no page is open, only the handler that listens is left, and nothing is timed.
///
/// # Errors
///
/// Returns an error of the kind [`PermissionDenied`](ErrorKind::PermissionDenied) for an address that others can
/// connect to. Returns the operating system's error if the address cannot be had, and the loop's if it is closed.
pub fn serve<M: Inspectable>(
    reactor: &Reactor<M>,
    address: impl Into<Address>,
) -> io::Result<Server<M>> {
    Builder::new().serve(reactor, address)
}

/// Configures a server, where [`serve`] does not fit.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = oneloop::Reactor::new()?;
/// let server = oneloop_inspect::Builder::new().allow_remote().serve(&reactor, ([0, 0, 0, 0], 0))?;
/// server.close();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default, Clone)]
#[must_use]
pub struct Builder {
    allows_remote: bool,
}

impl Builder {
    /// Makes a builder with the defaults.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Allows addresses that other machines can connect to.
    ///
    /// Every client that connects sees the names, addresses and source files of everything on the loop. There is
    /// no password and no encryption.
    pub fn allow_remote(mut self) -> Builder {
        self.allows_remote = true;
        self
    }

    /// Serves the page of a loop, like [`serve`].
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`serve`], but not for an address that others can connect to if
    /// [`allow_remote`](Self::allow_remote) was called.
    pub fn serve<M: Inspectable>(
        self,
        reactor: &Reactor<M>,
        address: impl Into<Address>,
    ) -> io::Result<Server<M>> {
        let address = address.into();
        if !self.allows_remote && !address.is_local() {
            let why = format!(
                "{address} is reachable from other machines, which would see all that is on the loop: use a \
                 loopback address or a Unix socket, or call `Builder::allow_remote`"
            );
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        let listener = Listener::bind(&address)?;
        let address = listener.address()?;
        let state = Arc::new(State {
            started: Instant::now(),
            loop_started: reactor.now(),
            // A Unix socket has no name that a stranger's page could be given.
            checks_host: matches!(address, Address::Tcp(_)) && !self.allows_remote,
            sockets: Mutex::default(),
            recorder: Mutex::default(),
        });
        let accepts = state.clone();
        let accept = move |listener: &mut Listener, _| {
            accepts.accept::<M>(listener);
            Action::Continue
        };
        let id = M::add_handler(reactor, listener, accept).map_err(oneloop::Error::from)?;
        state.sockets().listener = Some(id);
        adopt(reactor, id, "listener");
        Ok(Server {
            address,
            state,
            reactor: reactor.downgrade(),
        })
    }
}

/// A page that is served. Dropping it changes nothing: the loop owns the server.
pub struct Server<M: Threading = Shared> {
    address: Address,
    state: Arc<State>,
    reactor: WeakReactor<M>,
}

impl<M: Inspectable> Server<M> {
    /// Returns the address, with the port that the system has chosen for port 0.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Ends the server and closes its connections. This also happens when the loop is closed or dropped.
    ///
    /// Programs that call this from a thread other than the driving one may see one more answer being sent.
    pub fn close(&self) {
        if let Some(reactor) = self.reactor.upgrade() {
            self.state.close(&reactor);
        }
    }
}

impl<M: Threading> fmt::Debug for Server<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish()
    }
}

/// Data that the server's callbacks share. The loop owns them, and no handle of the loop is in here.
pub(crate) struct State {
    started: Instant,
    /// The start by the loop's clock, by which connections and recordings end.
    loop_started: Instant,
    /// Only requests for a name of this machine are answered, so that a stranger's page, whose name may mean this
    /// machine by now, reads nothing.
    pub(crate) checks_host: bool,
    sockets: Mutex<Sockets>,
    recorder: Mutex<Recorder>,
}

#[derive(Default)]
struct Sockets {
    listener: Option<HandlerId>,
    /// There are no descriptors left, mostly. The next tick listens again.
    is_deaf: bool,
    is_closed: bool,
    connections: HashMap<HandlerId, Arc<Progress>>,
    /// Time that answers have taken since the last tick.
    spent: Duration,
    tick: Option<TimerId>,
}

impl State {
    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the nanoseconds from the start to `time`.
    pub(crate) fn since_start(&self, time: Instant) -> u64 {
        nanoseconds(time.saturating_duration_since(self.started))
    }

    pub(crate) fn now(&self) -> u64 {
        self.since_start(Instant::now())
    }

    /// Returns the nanoseconds from the start to now, by the loop's clock.
    pub(crate) fn loop_now<M: Threading>(&self, reactor: &Reactor<M>) -> u64 {
        nanoseconds(reactor.now().saturating_duration_since(self.loop_started))
    }

    /// Returns true if answers have to wait for the next tick, so that the rest of the loop has its time.
    pub(crate) fn has_spent_its_share(&self) -> bool {
        self.sockets().spent > SHARE
    }

    fn accept<M: Inspectable>(self: &Arc<Self>, listener: &Listener) {
        let Ok(reactor) = M::current() else { return };
        for _ in 0..ACCEPTS {
            match listener.accept() {
                Ok(stream) => self.open(&reactor, stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    let mut sockets = self.sockets();
                    sockets.is_deaf = true;
                    let listener = sockets.listener;
                    drop(sockets);
                    if let Some(listener) = listener {
                        let _ = reactor.update_handler(listener, Interest::NONE);
                    }
                    self.start_ticking(&reactor);
                    return;
                }
            }
        }
    }

    fn open<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>, stream: Stream) {
        let mut sockets = self.sockets();
        if sockets.connections.len() >= CONNECTIONS {
            let next = |(_, progress): &(_, &Arc<Progress>)| progress.deadline();
            let next = sockets.connections.iter().min_by_key(next);
            let next = next.map(|(&id, _)| id);
            if let Some(id) = next {
                sockets.connections.remove(&id);
                drop(sockets);
                let _ = reactor.remove_handler(id);
            }
        } else {
            drop(sockets);
        }
        let stream = Arc::new(stream);
        let progress = Arc::<Progress>::default();
        progress.set_deadline(self.loop_now(reactor) + nanoseconds(PATIENCE));
        let connection = Connection::new::<M>(self.clone(), stream.clone(), progress.clone());
        let (state, mut connection) = (self.clone(), connection);
        let ready = move |_: &mut Arc<Stream>, event: oneloop::Event| {
            let id = event.handler();
            let began = Instant::now();
            let wanted = connection.proceed();
            let mut sockets = state.sockets();
            sockets.spent += began.elapsed();
            let Some(wanted) = wanted else {
                sockets.connections.remove(&id);
                return Action::Remove;
            };
            drop(sockets);
            // If nothing has changed, this costs no call of the kernel.
            if let Ok(reactor) = M::current() {
                let _ = reactor.update_handler(id, wanted);
            }
            Action::Continue
        };
        // An error is that of a closed loop, or there is no memory left.
        let Ok(id) = M::add_handler(reactor, stream, ready) else {
            return;
        };
        adopt(reactor, id, "connection");
        let mut sockets = self.sockets();
        // Another thread may have closed the server meanwhile.
        if sockets.is_closed {
            drop(sockets);
            let _ = reactor.remove_handler(id);
        } else {
            sockets.connections.insert(id, progress);
            drop(sockets);
            self.start_ticking(reactor);
        }
    }

    /// Returns false if the server is closed.
    pub(crate) fn start_ticking<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>) -> bool {
        let mut sockets = self.sockets();
        if sockets.tick.is_some() || sockets.is_closed {
            return !sockets.is_closed;
        }
        let state = self.clone();
        let tick = move || match M::current() {
            Ok(reactor) => state.tick(&reactor),
            Err(_) => Action::Remove,
        };
        if let Ok(id) = M::call_every(reactor, TICK, tick) {
            sockets.tick = Some(id);
            drop(sockets);
            adopt(reactor, id, "tick");
        }
        true
    }

    fn tick<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>) -> Action {
        let now = self.loop_now(reactor);
        let mut sockets = self.sockets();
        let mut over = Vec::new();
        let mut waiting = Vec::new();
        for (&id, progress) in &sockets.connections {
            if progress.deadline() <= now {
                over.push(id);
            } else if progress.waits_for_tick() {
                waiting.push(id);
            }
        }
        for id in &over {
            sockets.connections.remove(id);
        }
        let deaf = sockets.listener.filter(|_| sockets.is_deaf);
        sockets.is_deaf = false;
        sockets.spent = Duration::ZERO;
        let is_busy = !sockets.connections.is_empty() || deaf.is_some();
        drop(sockets);

        for id in over {
            let _ = reactor.remove_handler(id);
        }
        for id in waiting {
            let _ = reactor.update_handler(id, Interest::READABLE | Interest::WRITABLE);
        }
        if let Some(listener) = deaf {
            let _ = reactor.update_handler(listener, Interest::READABLE);
        }
        let is_watched = self.go_on_recording(reactor);
        if is_busy || is_watched {
            return Action::Continue;
        }
        self.sockets().tick = None;
        Action::Remove
    }

    fn close<M: Inspectable>(self: &Arc<Self>, reactor: &Reactor<M>) {
        let mut sockets = self.sockets();
        sockets.is_closed = true;
        let tick = sockets.tick.take();
        let mut ids: Vec<_> = sockets.connections.drain().map(|(id, _)| id).collect();
        ids.extend(sockets.listener.take());
        drop(sockets);
        for id in ids {
            let _ = reactor.remove_handler(id);
        }
        if let Some(tick) = tick {
            let _ = reactor.cancel_timer(tick);
        }
        self.stop_recording(reactor);
    }
}

/// Names something as the server's own, and keeps it from keeping `run` going.
pub(crate) fn adopt<M: Threading>(reactor: &Reactor<M>, id: impl Into<Id>, name: &str) {
    let id = id.into();
    // It may be gone already, if another thread drives the loop.
    let _ = reactor.set_referenced(id, false);
    let _ = reactor.set_name(id, format!("{OWN} {name}"));
}

/// Returns true if the next connection may fare better at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
