//! The yardstick: epoll_ctl, and nothing else.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::batches::Batches;
use crate::{Place, Work, timed};

pub fn run(work: Work) -> io::Result<Duration> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let add = |socket: &UnixStream| {
        let data = EventData::new_u64(1);
        epoll::add(&set, socket, data, EventFlags::IN)
    };
    work.others.iter().try_for_each(add)?;
    let once = || {
        add(&work.one)?;
        Ok(epoll::delete(&set, &work.one)?)
    };
    if let Place::Outside = work.place {
        return timed(once);
    }
    add(&work.ready)?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut batches = Batches::default();
    loop {
        let (events, _) = epoll::wait(&set, &mut buffer[..], None)?;
        for _ in events {
            if !batches.call(once)? {
                return batches.took();
            }
        }
    }
}
