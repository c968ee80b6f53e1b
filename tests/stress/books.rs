use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// All that was made, and how it ended.
#[derive(Default)]
pub struct Books {
    made: AtomicUsize,
    dropped: AtomicUsize,
    posts: AtomicUsize,
    posts_run: AtomicUsize,
    calls: AtomicUsize,
    removed: AtomicUsize,
    progress: AtomicUsize,
    timers: Mutex<Vec<Arc<Timer>>>,
    complaints: Mutex<Vec<String>>,
}

/// Goes along with a closure, and is dropped with it: once.
pub struct Token(Arc<Books>);

impl Token {
    pub fn books(&self) -> &Books {
        &self.0
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

/// The end of a timer that fires once.
#[derive(Default)]
pub struct Timer {
    pub fired: AtomicUsize,
    pub cancelled: AtomicUsize,
    pub was_reset: AtomicBool,
}

/// The calls and the end of a handler or a timer.
#[derive(Default)]
pub struct Witness {
    /// `remove_handler` or `cancel_timer` has returned, on the thread that drives or on another.
    removed_here: AtomicBool,
    removed: AtomicBool,
    late: AtomicUsize,
    inside: AtomicBool,
    gone: AtomicBool,
}

impl Witness {
    /// Goes along with the closure, and tells when it is gone.
    pub fn closure(self: &Arc<Self>) -> Closure {
        Closure(self.clone())
    }

    /// Its closure is gone: from now on its id is unknown.
    pub fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }
}

/// See [`Witness::closure`].
pub struct Closure(Arc<Witness>);

impl Drop for Closure {
    fn drop(&mut self) {
        self.0.gone.store(true, SeqCst);
    }
}

impl Books {
    pub fn token(self: &Arc<Self>) -> Token {
        self.made.fetch_add(1, SeqCst);
        Token(self.clone())
    }

    /// How often handlers were called.
    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// How many closures there are.
    pub fn alive(&self) -> usize {
        let dropped = self.dropped.load(SeqCst);
        self.made.load(SeqCst) - dropped
    }

    /// For the watchdog.
    pub fn progress(&self) {
        self.progress.fetch_add(1, SeqCst);
    }

    pub fn progress_so_far(&self) -> usize {
        self.progress.load(SeqCst)
    }

    pub fn accepted(&self, accepted: bool) {
        self.posts.fetch_add(usize::from(accepted), SeqCst);
        self.progress();
    }

    pub fn ran(&self) {
        self.posts_run.fetch_add(1, SeqCst);
        self.progress();
    }

    pub fn timer(&self) -> Arc<Timer> {
        let timer = Arc::new(Timer::default());
        self.timers.lock().unwrap().push(timer.clone());
        timer
    }

    /// A callback that finds something wrong cannot panic: a host would have to tell that from a
    /// panic that is part of the test.
    pub fn complain(&self, what: impl Into<String>) {
        self.complaints.lock().unwrap().push(what.into());
    }

    /// A handler is called: `body` is what it does.
    pub fn handle<R>(&self, witness: &Witness, body: impl FnOnce() -> R) -> R {
        self.calls.fetch_add(1, SeqCst);
        self.call(witness, body)
    }

    /// A handler or a timer is called.
    pub fn call<R>(&self, witness: &Witness, body: impl FnOnce() -> R) -> R {
        self.progress();
        if witness.removed_here.load(SeqCst) {
            self.complain("called after it was removed on the thread that drives");
        }
        // One call may have been under way.
        if witness.removed.load(SeqCst) && witness.late.fetch_add(1, SeqCst) > 0 {
            self.complain("called twice after another thread has removed it");
        }
        if witness.inside.swap(true, SeqCst) {
            self.complain("called inside itself");
        }
        let result = body();
        witness.inside.store(false, SeqCst);
        result
    }

    /// A call that takes an id: if it was gone before, it is an error.
    pub fn use_id<E>(
        &self,
        witness: &Witness,
        call: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let was_gone = witness.is_gone();
        let result = call();
        if was_gone && result.is_ok() {
            self.complain("the id of one that was gone is another's");
        }
        result
    }

    pub fn removed(&self, witness: &Witness, in_callback: bool) {
        self.removed.fetch_add(1, SeqCst);
        self.ended(witness, in_callback);
    }

    /// It was removed or cancelled, and is not called any more.
    pub fn ended(&self, witness: &Witness, in_callback: bool) {
        if in_callback {
            witness.removed_here.store(true, SeqCst)
        } else {
            witness.removed.store(true, SeqCst)
        }
    }

    /// Once the loop has come to its end.
    pub fn check_posts_and_timers(&self) {
        self.check_complaints();
        assert_eq!(
            self.posts.load(SeqCst),
            self.posts_run.load(SeqCst),
            "posts"
        );
        for timer in self.timers.lock().unwrap().iter() {
            let [fired, cancelled] = [&timer.fired, &timer.cancelled].map(|n| n.load(SeqCst));
            assert!(fired + cancelled > 0, "a timer is lost");
            // It may be cancelled while it fires.
            assert!(cancelled <= 1 && (fired <= 1 || timer.was_reset.load(SeqCst)));
        }
    }

    /// Once everything is gone.
    pub fn check_drops(&self) {
        self.check_complaints();
        assert_eq!(self.made.load(SeqCst), self.dropped.load(SeqCst), "drops");
    }

    fn check_complaints(&self) {
        let complaints = self.complaints.lock().unwrap();
        assert!(complaints.is_empty(), "{:#?}", *complaints);
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [made, posts, calls, removed] =
            [&self.made, &self.posts, &self.calls, &self.removed].map(|n| n.load(SeqCst));
        let timers = self.timers.lock().unwrap().len();
        write!(
            f,
            "{made} closures, {posts} posts, {calls} calls of handlers, {removed} removed, \
             {timers} timers, all accounted for"
        )
    }
}
