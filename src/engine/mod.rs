//! The loop itself: what a turn does, and in which order. The pollers below and the hosts above do not know.
//!
//! - `handlers`, `timers`, `hooks`, `inbox`, `kept`, `details`, `observe`: registrations;
//! - `state`, `turn_state`, `core`: all data of a loop, and its locks;
//! - `registration`, `retire`, `snapshot`, `handles`: calls that can be made at any time;
//! - `sleep`, `waking`: how a change reaches a loop that may sleep;
//! - `driver`, `gathering`, `calling`, `resting`, `turn`: the parts of a turn;
//! - `driving`, `claim`, `host`: the drivers.

mod calling;
mod claim;
mod core;
mod current;
mod deadline;
mod details;
mod driver;
mod driving;
mod gathering;
mod handlers;
mod handles;
mod hash;
mod hooks;
mod host;
mod inbox;
mod kept;
#[cfg(not(pollable))]
mod looking;
mod observe;
mod owned;
mod posts;
mod registration;
mod resting;
mod retire;
mod sleep;
mod snapshot;
mod stack;
mod state;
mod state_lock;
mod system;
mod target;
mod timers;
mod turn;
mod turn_state;
mod unclaimed;
mod waking;
mod when;

pub(crate) use self::core::Core;
pub(crate) use deadline::NEVER;
pub(crate) use handlers::Outcome;
pub(crate) use hooks::{Check, Prepare, pair, sleep_until};
pub(crate) use host::Next;
pub(crate) use inbox::Inbox;
pub(crate) use observe::ErrorReport;
pub(crate) use owned::boxed;
pub(crate) use target::Target;
pub(crate) use timers::{Fired, once, repeated};
pub(crate) use when::When;
