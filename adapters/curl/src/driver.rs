use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use curl::MultiError;
use curl::easy::Easy;
use curl::multi::{Message, Multi, Socket};
use curl_sys::CURL;
use oneloop::{Reactor, Shared, WeakReactor};

use crate::connection::active_socket;
use crate::easy::Request;
use crate::error::{Cause, Error};
use crate::watches::Watches;

/// The driver of a multi handle: it calls libcurl and returns the finished transfers.
///
/// Only callbacks of the loop call libcurl, and they run one at a time. The lock is therefore always free.
pub(crate) struct Driver {
    state: Mutex<State>,
    reactor: WeakReactor<Shared>,
    /// True if the loop has dropped its callbacks, so that nothing will happen any more.
    over: AtomicBool,
}

struct State {
    // The fields are dropped in this order. The easy handles come before the multi handle that they belong
    // to, and the receivers of libcurl's reports after it.
    running: HashMap<usize, Box<dyn Running>>,
    /// Those of connections, which their owners use.
    kept: HashMap<usize, Box<dyn Kept>>,
    multi: Multi,
    watches: Arc<Mutex<Watches>>,
    /// True while there are handles through which more transfers may come.
    open: bool,
    /// An easy handle without an address.
    nowhere: Easy,
}

// SAFETY: libcurl's handles may be used on any thread, by one thread at a time. All easy handles of the multi
// handle are in `running` and `kept`, and their contents are `Send` (`Request`). The mutex around this admits one thread
// at a time.
unsafe impl Send for State {}

/// A callback for a transfer that is over, which is called outside of libcurl.
type Done = Box<dyn FnOnce() + Send>;

/// A transfer that libcurl has.
trait Running {
    fn result(&self, message: &Message) -> Option<Result<(), curl::Error>>;
    fn raw(&self) -> *mut CURL;
    fn unpause(&self);
    /// Removes it from libcurl, or moves it to `kept` if it has become a connection.
    fn finish(
        self: Box<Self>,
        multi: &Multi,
        kept: &mut HashMap<usize, Box<dyn Kept>>,
        key: usize,
        result: Result<(), Cause>,
    ) -> Done;
}

/// A connection that libcurl has made, and that its owner uses.
trait Kept {
    fn raw(&self) -> *mut CURL;
    /// Removes it from libcurl, which closes it.
    fn remove(self: Box<Self>, multi: &Multi);
}

struct Transfer<E: Request, F> {
    attached: E::Attached,
    done: F,
}

impl<E: Request, F> Running for Transfer<E, F>
where
    F: FnOnce(Result<E, Error<E>>) + Send + 'static,
{
    fn result(&self, message: &Message) -> Option<Result<(), curl::Error>> {
        E::result(&self.attached, message)
    }

    fn raw(&self) -> *mut CURL {
        E::raw(&self.attached)
    }

    fn unpause(&self) {
        E::unpause(&self.attached);
    }

    fn finish(
        self: Box<Self>,
        multi: &Multi,
        _: &mut HashMap<usize, Box<dyn Kept>>,
        _: usize,
        result: Result<(), Cause>,
    ) -> Done {
        let Transfer { attached, done } = *self;
        let result = match (E::detach(multi, attached), result) {
            (Ok(easy), Ok(())) => Ok(easy),
            (Ok(easy), Err(cause)) => Err(Error::new(cause, Some(easy))),
            (Err(_), Err(cause)) => Err(Error::new(cause, None)),
            (Err(error), Ok(())) => Err(Error::new(Cause::Multi(error), None)),
        };
        Box::new(move || done(result))
    }
}

/// A connection that libcurl is making.
struct Connecting<E: Request, F> {
    attached: E::Attached,
    done: F,
}

impl<E: Request, F> Running for Connecting<E, F>
where
    F: FnOnce(Result<Socket, Error<E>>) + Send + 'static,
{
    fn result(&self, message: &Message) -> Option<Result<(), curl::Error>> {
        E::result(&self.attached, message)
    }

    fn raw(&self) -> *mut CURL {
        E::raw(&self.attached)
    }

    fn unpause(&self) {
        E::unpause(&self.attached);
    }

    fn finish(
        self: Box<Self>,
        multi: &Multi,
        kept: &mut HashMap<usize, Box<dyn Kept>>,
        key: usize,
        result: Result<(), Cause>,
    ) -> Done {
        let Connecting { attached, done } = *self;
        let connected = result.and_then(|()| {
            // SAFETY: the handle is alive, and the lock of its driver is held.
            unsafe { active_socket(E::raw(&attached)) }.map_err(Cause::Transfer)
        });
        match connected {
            Ok(socket) => {
                kept.insert(key, Box::new(Connected::<E>(attached)));
                Box::new(move || done(Ok(socket)))
            }
            Err(cause) => {
                let easy = E::detach(multi, attached).ok();
                Box::new(move || done(Err(Error::new(cause, easy))))
            }
        }
    }
}

struct Connected<E: Request>(E::Attached);

impl<E: Request> Kept for Connected<E> {
    fn raw(&self) -> *mut CURL {
        E::raw(&self.0)
    }

    fn remove(self: Box<Self>, multi: &Multi) {
        // Without its handle, a connection is closed, whatever libcurl says.
        let _ = E::detach(multi, self.0);
    }
}

impl Driver {
    /// Makes the driver of a multi handle. A timer on the loop owns it until [`closed`](Self::closed).
    pub(crate) fn new(reactor: &Reactor, multi: Multi) -> oneloop::Result<Arc<Driver>> {
        let driver = Arc::new_cyclic(|driver| {
            let watches = Watches::new(reactor.downgrade(), driver.clone());
            let watches = Arc::new(Mutex::new(watches));
            Watches::install(&watches, &multi);
            Driver {
                state: Mutex::new(State {
                    running: HashMap::new(),
                    kept: HashMap::new(),
                    multi,
                    watches,
                    open: true,
                    nowhere: Easy::new(),
                }),
                reactor: reactor.downgrade(),
                over: AtomicBool::new(false),
            }
        });
        let owner = Owner {
            driver: driver.clone(),
            process: std::process::id(),
        };
        let watches = lock(&driver.state).watches.clone();
        let fire = move || owner.driver.enter(|multi| multi.timeout().map(drop));
        lock(&watches).add_timer(fire)?;
        Ok(driver)
    }

    /// Adds a transfer to libcurl.
    pub(crate) fn start<E, F>(&self, key: usize, easy: E, done: F)
    where
        E: Request,
        F: FnOnce(Result<E, Error<E>>) + Send + 'static,
    {
        self.add(key, easy, done, |attached, done| {
            Box::new(Transfer::<E, F> { attached, done })
        });
    }

    /// Has libcurl make a connection, which stays with it.
    pub(crate) fn connect<E, F>(&self, key: usize, easy: E, done: F)
    where
        E: Request,
        F: FnOnce(Result<Socket, Error<E>>) + Send + 'static,
    {
        self.add(key, easy, done, |attached, done| {
            Box::new(Connecting::<E, F> { attached, done })
        });
    }

    fn add<E, F, T>(
        &self,
        key: usize,
        easy: E,
        done: F,
        make: impl FnOnce(E::Attached, F) -> Box<dyn Running>,
    ) where
        E: Request,
        F: FnOnce(Result<T, Error<E>>) + Send + 'static,
    {
        self.with(|state| match easy.attach(&state.multi, key) {
            Ok(attached) => {
                state.running.insert(key, make(attached, done));
            }
            Err(error) => {
                let error = Error::new(Cause::Multi(error), None);
                self.post(move || done(Err(error)));
            }
        });
    }

    /// Calls libcurl for a connection that it keeps.
    pub(crate) fn with_kept<T>(
        &self,
        key: usize,
        call: impl FnOnce(*mut CURL) -> T,
    ) -> io::Result<T> {
        if INSIDE.get() == ptr::from_ref(self) {
            let why = "a callback of libcurl cannot use a connection of the same instance";
            return Err(io::Error::new(io::ErrorKind::Deadlock, why));
        }
        let result = {
            let state = lock(&self.state);
            state.kept.get(&key).map(|kept| call(kept.raw()))
        };
        if self.over.load(SeqCst) {
            self.end();
        }
        result.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Closes a connection that libcurl keeps. It may be called on any thread once the loop has ended.
    pub(crate) fn remove(&self, key: usize) {
        self.with(|state| {
            if let Some(kept) = state.kept.remove(&key) {
                kept.remove(&state.multi);
            }
        });
    }

    /// Ends a transfer, if it is not over.
    pub(crate) fn cancel(&self, key: usize) {
        self.with(|state| self.finish(state, key, Err(Cause::Cancelled)));
    }

    /// Continues a transfer that is paused.
    pub(crate) fn unpause(&self, key: usize) {
        self.with(|state| {
            if let Some(transfer) = state.running.get(&key) {
                transfer.unpause();
            }
        });
    }

    /// Notes that the last handle is gone. Running transfers come to their end, and then the driver does.
    pub(crate) fn closed(&self) {
        self.with(|state| state.open = false);
    }

    /// Calls libcurl.
    pub(crate) fn enter(&self, call: impl FnOnce(&Multi) -> Result<(), MultiError>) {
        self.with(|state| {
            if let Err(error) = call(&state.multi) {
                // If it cannot be called, no transfer can continue.
                let keys: Vec<usize> = state.running.keys().copied().collect();
                for key in keys {
                    self.finish(state, key, Err(Cause::Multi(error.clone())));
                }
            }
        });
    }

    fn with(&self, call: impl FnOnce(&mut State)) {
        {
            let mut state = lock(&self.state);
            let _inside = Inside::enter(self);
            call(&mut state);
            self.settle(&mut state);
        }
        if self.over.load(SeqCst) {
            self.end();
        }
    }

    /// Returns the finished transfers to their owners.
    fn settle(&self, state: &mut State) {
        let mut over = Vec::new();
        state.multi.messages(|message| {
            if let Ok(key) = message.token() {
                let transfer = state.running.get(&key);
                if let Some(result) = transfer.and_then(|transfer| transfer.result(&message)) {
                    over.push((key, result.map_err(Cause::Transfer)));
                }
            }
        });
        let failed = lock(&state.watches).take_failed();
        for (easy, error) in failed {
            // libcurl's own internal transfers are not in the list.
            let found = state.running.iter().find(|(_, one)| one.raw() == easy);
            if let Some((&key, _)) = found {
                over.push((key, Err(Cause::Watch(error))));
            }
        }
        for (key, result) in over {
            self.finish(state, key, result);
        }
        if let Some(panic) = take_panic(&state.nowhere) {
            // Not done here, where a panic would cost the loop a handler that libcurl needs.
            self.post(move || resume_unwind(panic));
        }
        if !state.open && state.running.is_empty() && state.kept.is_empty() {
            lock(&state.watches).cancel_timer();
        }
    }

    fn finish(&self, state: &mut State, key: usize, result: Result<(), Cause>) {
        if let Some(transfer) = state.running.remove(&key) {
            self.post(transfer.finish(&state.multi, &mut state.kept, key, result));
        }
    }

    /// Calls `callback` in a post of its own, where a panic harms nothing else. Returns false if the loop has
    /// ended.
    pub(crate) fn post(&self, callback: impl FnOnce() + Send + 'static) -> bool {
        let reactor = self.reactor.upgrade();
        reactor.is_some_and(|reactor| reactor.call_soon(callback).is_ok())
    }

    /// Ends all transfers, because the loop has ended.
    fn end(&self) {
        self.over.store(true, SeqCst);
        // Otherwise the callback inside does this when it leaves.
        if let Ok(mut state) = self.state.try_lock() {
            let running = std::mem::take(&mut state.running);
            drop(running);
        }
    }
}

thread_local! {
    /// The driver whose libcurl is being called on this thread.
    static INSIDE: Cell<*const Driver> = const { Cell::new(ptr::null()) };
}

struct Inside {
    outer: *const Driver,
}

impl Inside {
    fn enter(driver: &Driver) -> Inside {
        let outer = INSIDE.replace(driver);
        Inside { outer }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.outer);
    }
}

/// A guard that tells a driver when the loop has dropped its callbacks.
struct Owner {
    driver: Arc<Driver>,
    process: u32,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // In a child process, the connections belong to the parent, and libcurl would say goodbye to the
        // servers. Another thread may also have been inside libcurl during the fork.
        if std::process::id() != self.process {
            return std::mem::forget(self.driver.clone());
        }
        self.driver.end();
    }
}

/// Takes the panic of a user's callback inside libcurl.
///
/// The crate `curl` keeps the panic for the thread and calls no callback there from then on. Only the end of
/// `Easy::perform` returns it. A call for a handle without an address takes half a microsecond.
fn take_panic(nowhere: &Easy) -> Option<Box<dyn Any + Send>> {
    let perform = AssertUnwindSafe(|| drop(nowhere.perform()));
    catch_unwind(perform).err()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
