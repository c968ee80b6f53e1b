//! A stack of posts that threads push onto without a lock, and take as a whole.

use std::panic::Location;
use std::ptr::{self, NonNull};

use crate::outcome::Failure;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::{IntoResult, PostId};

/// A posted callback. If it is dropped, it is not called.
pub(crate) trait Run {
    fn run(self: Box<Self>) -> Result<(), Failure>;
}

/// A post that was taken.
pub(super) struct Entry {
    pub(super) id: PostId,
    pub(super) location: &'static Location<'static>,
    /// `None` if the post was cancelled.
    pub(super) callback: Option<Box<dyn Run>>,
}

/// Posts as a linked list, with the last one on top.
pub(super) struct Stack {
    /// The post that was pushed last, null, or `CLOSED`.
    head: AtomicPtr<Link>,
}

/// Marks a closed stack. No post has this address.
const CLOSED: *mut Link = ptr::without_provenance_mut(1);

/// The part of a post that does not depend on the type of the callback.
struct Link {
    /// The post that was pushed before, or null.
    below: *mut Link,
    id: PostId,
    location: &'static Location<'static>,
    /// The node that begins with this link.
    node: NonNull<dyn Run>,
}

/// A post on a stack: one allocation.
#[repr(C)]
struct Node<F> {
    link: Link,
    callback: F,
}

impl<F, R> Run for Node<F>
where
    F: FnOnce() -> R,
    R: IntoResult,
{
    fn run(self: Box<Self>) -> Result<(), Failure> {
        let Node { callback, .. } = *self;
        callback().into_result()
    }
}

impl Stack {
    pub(super) fn new() -> Stack {
        Stack {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Pushes a post. Returns true if the stack was empty. Gives the callback back if the stack is closed.
    #[inline]
    pub(super) fn push<F, R>(
        &self,
        id: PostId,
        location: &'static Location<'static>,
        callback: F,
    ) -> Result<bool, F>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        let node: *mut Node<F> = Box::into_raw(Box::new(Node {
            link: Link {
                below: ptr::null_mut(),
                id,
                location,
                node: NonNull::<Node<F>>::dangling(),
            },
            callback,
        }));
        let link = node.cast::<Link>();
        let mut head = self.head.load(Relaxed);
        // SAFETY: the box is not dropped, so the pointer is of a node, which begins with its link. No other thread
        // knows of it.
        unsafe { (*link).node = NonNull::new_unchecked(node as *mut dyn Run) };
        loop {
            if head == CLOSED {
                // SAFETY: the node was made above, and did not get onto the stack.
                let node = unsafe { Box::from_raw(node) };
                return Err(node.callback);
            }
            // SAFETY: as above: it is not on the stack yet.
            unsafe { (*link).below = head };
            // `Release`, so that a thread that takes the post sees all of it.
            match self
                .head
                .compare_exchange_weak(head, link, Release, Relaxed)
            {
                Ok(_) => return Ok(head.is_null()),
                Err(now) => head = now,
            }
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.load(Relaxed).is_null()
    }

    /// Takes all posts.
    pub(super) fn take(&self) -> Chain {
        self.replace(ptr::null_mut())
    }

    /// Takes all posts, and refuses others from now on.
    pub(super) fn close(&self) -> Chain {
        self.replace(CLOSED)
    }

    /// Takes all posts and leaves `new` in their place. A closed stack stays closed.
    fn replace(&self, new: *mut Link) -> Chain {
        let mut head = self.head.load(Relaxed);
        while head != CLOSED {
            match self.head.compare_exchange_weak(head, new, Acquire, Relaxed) {
                Ok(_) => return Chain { first: head },
                Err(now) => head = now,
            }
        }
        Chain {
            first: ptr::null_mut(),
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Posts that were taken from a stack, youngest first.
pub(super) struct Chain {
    first: *mut Link,
}

impl Iterator for Chain {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: a node that was pushed, whole, as the `Acquire` of the take saw it. Each node is on one stack once,
        // and was taken by this chain alone, which goes on to the next before the node is given away.
        unsafe {
            let Link {
                below,
                id,
                location,
                node,
            } = ptr::read(self.first);
            self.first = below;
            Some(Entry {
                id,
                location,
                callback: Some(Box::from_raw(node.as_ptr())),
            })
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
