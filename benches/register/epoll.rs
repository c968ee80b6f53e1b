//! The yardstick: epoll_ctl, and nothing else; and the same behind a function for each call, as any
//! library has it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::batches::Batches;
use crate::{Place, Work, timed};

pub fn run(work: Work) -> io::Result<Duration> {
    run_with(work, |set, socket| {
        add_inline(set, socket)?;
        Ok(epoll::delete(set, socket)?)
    })
}

pub fn run_behind_functions(work: Work) -> io::Result<Duration> {
    #[inline(never)]
    fn add(set: &OwnedFd, socket: &UnixStream) -> io::Result<()> {
        add_inline(set, socket)
    }
    #[inline(never)]
    fn delete(set: &OwnedFd, socket: &UnixStream) -> io::Result<()> {
        Ok(epoll::delete(set, socket)?)
    }
    run_with(work, |set, socket| {
        add(set, socket)?;
        delete(set, socket)
    })
}

#[inline(always)]
fn add_inline(set: &OwnedFd, socket: &UnixStream) -> io::Result<()> {
    let data = EventData::new_u64(1);
    Ok(epoll::add(set, socket, data, EventFlags::IN)?)
}

fn run_with(
    work: Work,
    add_and_delete: impl Fn(&OwnedFd, &UnixStream) -> io::Result<()>,
) -> io::Result<Duration> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let add = |socket: &UnixStream| add_inline(&set, socket);
    work.others.iter().try_for_each(add)?;
    let once = || add_and_delete(&set, &work.one);
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
