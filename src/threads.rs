use std::marker::PhantomData;

/// Marks the loop whose handles go to any thread: [`Reactor`](crate::Reactor).
#[derive(Debug, Clone, Copy)]
pub struct Shared(());

/// Marks the loop that stays on its thread: [`LocalReactor`](crate::LocalReactor).
#[derive(Debug, Clone, Copy)]
pub struct Local(PhantomData<*const ()>);

/// [`Shared`] or [`Local`]: who may hold handles of a loop.
///
/// Code that is written for any `Loop<K>` runs on both. It can drive the loop, and register what it
/// is given as `impl Fits<K>`; to register closures of its own it has to say which loop it means.
pub trait Threads: sealed::Sealed + Unpin + 'static {}

impl Threads for Shared {}
impl Threads for Local {}

/// What may be given to a `Loop<K>`: for [`Shared`] whatever is `Send`, for [`Local`] anything.
///
/// Nobody else can say of a type that it fits:
///
/// ```compile_fail,E0277
/// struct NotSend(&'static dyn std::any::Any, std::rc::Rc<()>);
/// impl oneloop::Fits<oneloop::Shared> for NotSend {}
/// ```
#[diagnostic::on_unimplemented(
    note = "what a `Reactor` calls has to be `Send`; for anything else there is `LocalReactor`"
)]
pub trait Fits<K: Threads>: sealed::Fits<K> {}

impl<K: Threads, T: sealed::Fits<K>> Fits<K> for T {}

mod sealed {
    use super::{Local, Shared, Threads};

    pub trait Sealed {}
    impl Sealed for Shared {}
    impl Sealed for Local {}

    // Unsafe code relies on this: `Core` is Send because what is in it fits.
    pub trait Fits<K: Threads> {}
    impl<T: Send> Fits<Shared> for T {}
    impl<T> Fits<Local> for T {}
}
