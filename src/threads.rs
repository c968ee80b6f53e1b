use std::marker::PhantomData;

/// Marks the loop whose handles go to any thread: [`Reactor`](crate::Reactor).
#[derive(Debug, Clone, Copy)]
pub struct Shared(());

/// Marks the loop that stays on its thread: [`LocalReactor`](crate::LocalReactor).
#[derive(Debug, Clone, Copy)]
pub struct Local(PhantomData<*const LocalReactorNeedsSpawnLocal>);

/// What the compiler says is not `Send` if a task holds a [`LocalReactor`](crate::LocalReactor), and is spawned where
/// tasks go from thread to thread.
#[derive(Debug, Clone, Copy)]
struct LocalReactorNeedsSpawnLocal;

/// [`Shared`] or [`Local`]: who may hold handles of a loop.
///
/// Code that is written for any `Reactor<M>` runs on both. It can drive the loop, and register what it
/// is given as `impl MaybeSend<M>`; to register closures of its own it has to say which loop it means.
pub trait Threading: sealed::Sealed + Unpin + 'static {}

impl Threading for Shared {}
impl Threading for Local {}

/// What may be given to a `Reactor<M>`: for [`Shared`] whatever is `Send`, for [`Local`] anything.
///
/// Nobody else can say of a type that it fits:
///
/// ```compile_fail,E0277
/// struct NotSend(&'static dyn std::any::Any, std::rc::Rc<()>);
/// impl oneloop::MaybeSend<oneloop::Shared> for NotSend {}
/// ```
#[diagnostic::on_unimplemented(
    note = "what a `Reactor` calls has to be `Send`; for anything else there is `LocalReactor`"
)]
pub trait MaybeSend<M: Threading>: sealed::SendUnlessLocalReactor<M> {}

impl<M: Threading, T: sealed::SendUnlessLocalReactor<M>> MaybeSend<M> for T {}

pub(crate) mod sealed {
    use super::{Local, Shared, Threading};

    pub trait Sealed {
        const IS_LOCAL: bool;
    }
    impl Sealed for Shared {
        const IS_LOCAL: bool = false;
    }
    impl Sealed for Local {
        const IS_LOCAL: bool = true;
    }

    // Unsafe code relies on this: `Core` is Send because what is in it fits.
    // The compiler shows the name to a caller that gives a `Reactor` what is not `Send`.
    pub trait SendUnlessLocalReactor<M: Threading> {}
    impl<T: Send> SendUnlessLocalReactor<Shared> for T {}
    impl<T> SendUnlessLocalReactor<Local> for T {}
}
