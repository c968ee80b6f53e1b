use std::marker::PhantomData;

/// The marker of a loop whose handles can go to any thread: [`Reactor`](crate::Reactor).
#[derive(Debug, Clone, Copy)]
pub struct Shared(());

/// The marker of a loop that stays on its thread, and so do its futures: [`LocalReactor`](crate::LocalReactor).
#[derive(Debug, Clone, Copy)]
pub struct Local(PhantomData<*const LocalReactorNeedsSpawnLocal>);

/// A type that is not `Send`. The compiler names it if a task holds a [`LocalReactor`](crate::LocalReactor)
/// and is spawned where tasks move between threads.
#[derive(Debug, Clone, Copy)]
struct LocalReactorNeedsSpawnLocal;

/// [`Shared`] or [`Local`], which decide whether handles of a loop can go to other threads.
///
/// Code that is generic over `Reactor<M>` runs on both. It can drive the loop, and register closures that it
/// receives as `impl MaybeSend<M>`. To register closures of its own, it must name the kind of loop.
pub trait Threading: sealed::Sealed + Unpin + 'static {}

impl Threading for Shared {}
impl Threading for Local {}

/// A type that a `Reactor<M>` accepts: any `Send` type for [`Shared`], and any type for [`Local`].
///
/// Other crates cannot implement this trait:
///
/// ```compile_fail,E0277
/// struct NotSend(&'static dyn std::any::Any, std::rc::Rc<()>);
/// impl oneloop::MaybeSend<oneloop::Shared> for NotSend {}
/// ```
#[diagnostic::on_unimplemented(
    note = "callbacks and sources of a `Reactor` must be `Send`; a `LocalReactor` takes any others"
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

    // Unsafe code relies on this: `Core` is `Send` because its callbacks fulfil this bound. The compiler
    // shows the name to a caller that passes a `Reactor` something which is not `Send`.
    pub trait SendUnlessLocalReactor<M: Threading> {}
    impl<T: Send> SendUnlessLocalReactor<Shared> for T {}
    impl<T> SendUnlessLocalReactor<Local> for T {}
}
