//! A file where the platform has no asynchronous ones: a pool of threads reads it.

use std::fs::File;
use std::io::{Read, Result};
use std::path::PathBuf;

use oneloop::{Source, SourceKind};

use crate::arrivals::{Arrivals, Delivery, arrivals};

pub struct PooledFile(Arrivals);

impl PooledFile {
    /// Opens and reads the file in the pool; also an error in opening is one of reading then.
    pub fn open(path: PathBuf) -> PooledFile {
        let (arrivals, delivery) = arrivals();
        let read = move || {
            let how = File::open(path).and_then(|file| deliver(file, &delivery));
            delivery.end(how);
        };
        blocking::unblock(read).detach();
        PooledFile(arrivals)
    }
}

fn deliver(mut file: File, delivery: &Delivery) -> Result<()> {
    let mut piece = [0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            n => delivery.bytes(&piece[..n]),
        }
    }
}

impl Read for PooledFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for PooledFile {
    fn kind(&self) -> SourceKind<'_> {
        self.0.kind()
    }
}
