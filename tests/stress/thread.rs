use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneloop::{
    Action, HandlerId, HookId, Interest, Mode, Priority, Reactor, Ready, Remote, SetReadiness,
    Shared as SharedLoop, TimerId, VirtualSource, WeakReactor,
};

use crate::books::{Books, Timer, Witness};

/// How many handlers there may be, and timers.
const MANY: usize = 200;
/// How much there may be at a time.
const MUCH: usize = 2000;

/// The panic of a callback that is to panic.
pub struct Bang;

/// xorshift: the same numbers for the same seed.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn is_one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Takes one out.
    fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let many = from.len() as u64;
        (many > 0).then(|| from.swap_remove(self.below(many) as usize))
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let many = from.len() as u64;
        (many > 0).then(|| from[self.below(many) as usize].clone())
    }

    fn fork(&mut self) -> Random {
        Random::new(self.next())
    }
}

/// The data that all threads and callbacks share.
pub struct Shared {
    books: Arc<Books>,
    reactor: WeakReactor<SharedLoop>,
    remote: Remote,
    handlers: Mutex<Vec<Handler>>,
    timers: Mutex<Vec<AnyTimer>>,
    hooks: Mutex<Vec<HookId>>,
    over: AtomicBool,
}

#[derive(Clone)]
struct Handler {
    id: HandlerId,
    witness: Arc<Witness>,
    other_side: OtherSide,
}

#[derive(Clone)]
struct AnyTimer {
    id: TimerId,
    witness: Arc<Witness>,
    /// If it fires once.
    once: Option<Arc<Timer>>,
}

#[derive(Clone)]
enum OtherSide {
    Socket(Arc<UnixStream>),
    Virtual(SetReadiness),
}

impl Shared {
    pub fn new(reactor: &Reactor, books: &Arc<Books>) -> Shared {
        Shared {
            books: books.clone(),
            reactor: reactor.downgrade(),
            remote: reactor.remote(),
            handlers: Mutex::default(),
            timers: Mutex::default(),
            hooks: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    /// Removes all that would go on for ever. No other thread works any more.
    pub fn take_out_what_stays(&self, reactor: &Reactor) {
        for handler in self.handlers.lock().unwrap().drain(..) {
            if reactor.remove_handler(handler.id).is_ok() {
                self.books.removed(&handler.witness, false);
            }
        }
        for timer in self.timers.lock().unwrap().drain(..) {
            // The others come to their end by themselves.
            if timer.once.is_none() {
                let _ = reactor.cancel_timer(timer.id);
            }
        }
        for hook in self.hooks.lock().unwrap().drain(..) {
            reactor.remove_hook(hook).unwrap();
        }
    }

    /// Working threads and callbacks are to come to an end.
    pub fn end(&self) {
        self.over.store(true, SeqCst);
    }
}

/// One of the threads, or a callback, that does something at random.
pub struct Worker {
    shared: Arc<Shared>,
    random: Random,
    in_callback: bool,
}

impl Worker {
    pub fn new(shared: &Arc<Shared>, seed: u64) -> Worker {
        Worker {
            shared: shared.clone(),
            random: Random::new(seed),
            in_callback: false,
        }
    }

    fn callback(&mut self) -> Worker {
        Worker {
            shared: self.shared.clone(),
            random: self.random.fork(),
            in_callback: true,
        }
    }

    /// With a handle, while there is any, and with a remote.
    pub fn work_to_the_end(mut self) {
        while !self.shared.over.load(SeqCst) {
            self.post();
            if let Some(reactor) = self.shared.reactor.upgrade() {
                self.act(&reactor);
            }
        }
        self.post();
    }

    /// Something. Errors are part of it: others are at the same things.
    fn act(&mut self, reactor: &Reactor) {
        self.shared.books.progress();
        match self.random.below(20) {
            0 => self.add_socket(reactor),
            1 => self.add_virtual(reactor),
            2 | 3 => self.remove(reactor),
            4 | 5 => self.update(reactor),
            6..=9 => self.touch_other_side(),
            10..=13 => self.post(),
            14 => self.set_timer(reactor),
            15 => self.cancel(reactor),
            16 => self.reset(reactor),
            17 => self.hook(reactor),
            18 if self.random.is_one_in(100) => self.shared.remote.stop(),
            18 => self.shared.remote.wake(),
            _ if self.random.is_one_in(50) => drop(reactor.dump()),
            _ => drop(reactor.stats()),
        }
    }

    /// Does something inside a callback, and returns its result.
    fn act_inside(&mut self) -> Action {
        if self.random.is_one_in(500) {
            resume_unwind(Box::new(Bang));
        }
        // While it goes on: what is called must come to an end.
        if !self.shared.over.load(SeqCst) && self.random.is_one_in(3) {
            if let Some(reactor) = self.shared.reactor.upgrade() {
                self.act(&reactor);
            }
        }
        match self.random.below(100) {
            0..4 => Action::Again,
            4 => Action::Remove,
            _ => Action::Continue,
        }
    }

    fn interest_and_mode(&mut self) -> (Interest, Mode) {
        let interest = match self.random.below(10) {
            0 => Interest::NONE,
            1 => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::READABLE,
        };
        let mode = [Mode::Level, Mode::Edge, Mode::Oneshot][self.random.below(3) as usize];
        (interest, mode)
    }

    fn add_socket(&mut self, reactor: &Reactor) {
        let Ok((ours, theirs)) = UnixStream::pair() else {
            return;
        };
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let read = |stream: &mut UnixStream| drop(stream.read(&mut [0; 64]));
        self.add(reactor, ours, read, OtherSide::Socket(Arc::new(theirs)));
    }

    fn add_virtual(&mut self, reactor: &Reactor) {
        let (source, readiness) = VirtualSource::pair();
        let clear = {
            let readiness = readiness.clone();
            move |_: &mut VirtualSource| readiness.clear(Ready::READABLE)
        };
        self.add(reactor, source, clear, OtherSide::Virtual(readiness));
    }

    fn add<S: oneloop::Source + Send + 'static>(
        &mut self,
        reactor: &Reactor,
        source: S,
        mut read: impl FnMut(&mut S) + Send + 'static,
        other_side: OtherSide,
    ) {
        if self.shared.handlers.lock().unwrap().len() > MANY {
            return;
        }
        let (interest, mode) = self.interest_and_mode();
        let witness = Arc::new(Witness::default());
        let (mut inside, token) = (self.callback(), self.shared.books.token());
        let (seen, closure) = (witness.clone(), witness.closure());
        let handler = move |source: &mut S, _| {
            let _with = (&token, &closure);
            let books = inside.shared.books.clone();
            books.handle(&seen, || {
                read(source);
                inside.act_inside()
            })
        };
        if let Ok(id) = reactor.add_handler(source, interest, mode, handler) {
            let handler = Handler {
                id,
                witness,
                other_side,
            };
            self.shared.handlers.lock().unwrap().push(handler);
        }
    }

    fn remove(&mut self, reactor: &Reactor) {
        let handler = self.random.take(&mut self.shared.handlers.lock().unwrap());
        let Some(handler) = handler else {
            return;
        };
        let (books, witness) = (&self.shared.books, &handler.witness);
        let removed = books.use_id(witness, || reactor.remove_handler(handler.id));
        if removed.is_ok() {
            books.removed(witness, self.in_callback);
        }
    }

    fn update(&mut self, reactor: &Reactor) {
        let handler = self.random.pick(&self.shared.handlers.lock().unwrap());
        let (interest, _) = self.interest_and_mode();
        if let Some(handler) = handler {
            let rearm = self.random.is_one_in(5);
            let change = || {
                if rearm {
                    reactor.rearm_handler(handler.id)
                } else {
                    reactor.update_handler(handler.id, interest)
                }
            };
            let _ = self.shared.books.use_id(&handler.witness, change);
        }
    }

    fn touch_other_side(&mut self) {
        let handler = self.random.pick(&self.shared.handlers.lock().unwrap());
        match handler.map(|handler| handler.other_side) {
            Some(OtherSide::Socket(stream)) => {
                // Full, or hung up: so be it.
                let _ = (&*stream).write(b"!");
            }
            Some(OtherSide::Virtual(readiness)) => {
                if self.random.is_one_in(4) {
                    readiness.clear(Ready::READABLE)
                } else {
                    _ = readiness.set(Ready::READABLE)
                }
            }
            None => {}
        }
    }

    fn post(&mut self) {
        if self.shared.books.alive() > MUCH {
            // The loop cannot run as many as eight threads can post.
            return std::thread::yield_now();
        }
        let priorities = [Priority::Normal, Priority::High, Priority::Idle];
        let priority = priorities[self.random.below(3) as usize];
        let (mut inside, token) = (self.callback(), self.shared.books.token());
        let post = move || {
            let _with = token;
            inside.shared.books.ran();
            let _ = inside.act_inside();
        };
        let accepted = if self.random.is_one_in(2) {
            self.shared.remote.call_soon_with(priority, post).is_ok()
        } else {
            match self.shared.reactor.upgrade() {
                Some(reactor) => reactor.call_soon_with(priority, post).is_ok(),
                None => false,
            }
        };
        self.shared.books.accepted(accepted);
    }

    fn set_timer(&mut self, reactor: &Reactor) {
        if self.shared.timers.lock().unwrap().len() > MANY {
            return;
        }
        let time = Duration::from_micros(self.random.below(2000));
        let (mut inside, token) = (self.callback(), self.shared.books.token());
        let once = (!self.random.is_one_in(4)).then(|| self.shared.books.timer());
        let witness = Arc::new(Witness::default());
        let (fired, seen, closure) = (once.clone(), witness.clone(), witness.closure());
        let fire = move || {
            let _with = (&token, &closure);
            let books = inside.shared.books.clone();
            books.call(&seen, || {
                if let Some(timer) = &fired {
                    timer.fired.fetch_add(1, SeqCst);
                }
                let _ = inside.act_inside();
            });
        };
        let set = match &once {
            Some(_) => reactor.call_later(time, fire),
            None => reactor.call_every(time.max(Duration::from_micros(200)), fire),
        };
        match (set, once) {
            (Ok(id), once) => {
                let timer = AnyTimer { id, witness, once };
                self.shared.timers.lock().unwrap().push(timer);
            }
            // Refused: that counts as cancelled.
            (Err(_), Some(once)) => _ = once.cancelled.fetch_add(1, SeqCst),
            (Err(_), None) => {}
        }
    }

    fn cancel(&mut self, reactor: &Reactor) {
        let timer = self.random.take(&mut self.shared.timers.lock().unwrap());
        let Some(AnyTimer { id, witness, once }) = timer else {
            return;
        };
        let books = &self.shared.books;
        if books.use_id(&witness, || reactor.cancel_timer(id)).is_ok() {
            books.ended(&witness, self.in_callback);
            if let Some(once) = once {
                once.cancelled.fetch_add(1, SeqCst);
            }
        }
    }

    fn reset(&mut self, reactor: &Reactor) {
        let timer = self.random.pick(&self.shared.timers.lock().unwrap());
        if let Some(AnyTimer { id, witness, once }) = timer {
            if let Some(once) = once {
                once.was_reset.store(true, SeqCst);
            }
            let time = reactor.now() + Duration::from_micros(self.random.below(1000));
            let reset = || reactor.reset_timer(id, time);
            let _ = self.shared.books.use_id(&witness, reset);
        }
    }

    fn hook(&mut self, reactor: &Reactor) {
        let hook = self.random.take(&mut self.shared.hooks.lock().unwrap());
        if let Some(hook) = hook {
            return drop(reactor.remove_hook(hook));
        }
        let (token, other, mut random) = (
            self.shared.books.token(),
            self.shared.books.token(),
            self.random.fork(),
        );
        let prepare = move || {
            let _with = &token;
            let limit = Duration::from_micros(random.below(300));
            random.is_one_in(2).then_some(limit)
        };
        let check = move || {
            let _with = &other;
        };
        if let Ok(hook) = reactor.add_hook(prepare, check) {
            self.shared.hooks.lock().unwrap().push(hook);
        }
    }
}
