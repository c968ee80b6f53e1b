//! The bodies of answers. Long ones are made piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use oneloop::Snapshot;

use crate::recorder::Record;
use crate::server::{State, nanoseconds};
use crate::text::{
    Driver, Handler, Hook, Post, Stats, Timer, Times, TraceEvent, TraceName, json, program,
};

/// Entries in a piece of an answer.
const PIECE: usize = 64;
/// The most events in an answer of `/timeline`.
const EVENTS: usize = 2000;

/// The body of an answer.
pub(crate) enum Answer {
    Whole(Option<Bytes>),
    /// Made piece by piece, one in a turn and only as the client takes them, so that neither a large answer nor a
    /// slow client is a burden.
    InPieces {
        pieces: Box<dyn Pieces>,
        has_given: bool,
    },
}

pub(crate) trait Pieces: Send {
    fn next(&mut self) -> Piece;
}

pub(crate) enum Piece {
    Bytes(Vec<u8>),
    /// Nothing until the next tick.
    NotYet,
    End,
}

impl Answer {
    pub(crate) fn whole(bytes: Vec<u8>) -> Answer {
        Answer::Whole(Some(bytes.into()))
    }

    pub(crate) fn in_pieces(pieces: impl Pieces + 'static) -> Answer {
        Answer::InPieces {
            pieces: Box::new(pieces),
            has_given: false,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match &mut *self {
            Answer::Whole(bytes) => bytes.take().map_or(Poll::Ready(None), frame),
            Answer::InPieces { pieces, has_given } => {
                if std::mem::take(has_given) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match pieces.next() {
                    Piece::Bytes(bytes) => {
                        *has_given = true;
                        frame(bytes.into())
                    }
                    Piece::NotYet => Poll::Pending,
                    Piece::End => Poll::Ready(None),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Answer::InPieces { .. } => SizeHint::default(),
        }
    }
}

pub(crate) struct SnapshotPieces {
    state: Arc<State>,
    snapshot: Snapshot,
    list: List,
    /// Entries of the list that are written.
    written: usize,
}

#[derive(Clone, Copy)]
enum List {
    Head,
    Handlers,
    Timers,
    Hooks,
    Posts,
    End,
}

impl SnapshotPieces {
    pub(crate) fn new(state: Arc<State>, snapshot: Snapshot) -> SnapshotPieces {
        SnapshotPieces {
            state,
            snapshot,
            list: List::Head,
            written: 0,
        }
    }

    /// Writes what is not a list, and leaves the object open.
    fn head(&self) -> Vec<u8> {
        let snapshot = &self.snapshot;
        let now = self.state.now();
        let mut recorder = self.state.recorder();
        recorder.count(now);
        let longest: Vec<_> = recorder.longest().iter().map(TraceEvent::from).collect();
        let stats = &snapshot.stats;
        let head = serde_json::json!({
            "program": program(),
            "pid": std::process::id(),
            "time": now as f64 / 1000.0,
            "driver": snapshot.driver.map(|driver| Driver {
                name: driver.name,
                is_host: driver.is_host,
            }),
            "is_alive": snapshot.is_alive,
            "is_recording": recorder.is_on(),
            "stats": Stats {
                turns: stats.turns,
                handler_calls: stats.handler_calls,
                timer_calls: stats.timer_calls,
                post_calls: stats.post_calls,
                kernel_changes: stats.kernel_changes,
                kernel_changes_saved: stats.kernel_changes_saved,
            },
            "times": Times::from(recorder.totals),
            "longest": longest,
        });
        let mut text = json(&head);
        text.pop();
        text
    }
}

impl Pieces for SnapshotPieces {
    fn next(&mut self) -> Piece {
        let SnapshotPieces {
            state,
            snapshot,
            list,
            written,
        } = self;
        let now = snapshot.taken;
        let mut text = match list {
            List::Head => self.head(),
            List::Handlers => {
                let entry = |one| json(&Handler::new(one, now, state));
                entries("handlers", &snapshot.handlers, *written, entry)
            }
            List::Timers => {
                let entry = |one| json(&Timer::new(one, now, state));
                entries("timers", &snapshot.timers, *written, entry)
            }
            List::Hooks => {
                let entry = |one| json(&Hook::new(one, state));
                entries("hooks", &snapshot.hooks, *written, entry)
            }
            List::Posts => {
                let entry = |one| json(&Post::from(one));
                entries("posts", &snapshot.posts, *written, entry)
            }
            List::End => return Piece::End,
        };
        let (length, next) = match self.list {
            List::Head => (0, List::Handlers),
            List::Handlers => (self.snapshot.handlers.len(), List::Timers),
            List::Timers => (self.snapshot.timers.len(), List::Hooks),
            List::Hooks => (self.snapshot.hooks.len(), List::Posts),
            List::Posts | List::End => (self.snapshot.posts.len(), List::End),
        };
        self.written += PIECE;
        if self.written >= length {
            self.written = 0;
            self.list = next;
        }
        if let List::End = self.list {
            text.extend(b"}\n");
        }
        Piece::Bytes(text)
    }
}

/// Writes some entries of a list, with the brackets around the list.
fn entries<'a, T>(
    name: &str,
    all: &'a [T],
    from: usize,
    entry: impl Fn(&'a T) -> Vec<u8>,
) -> Vec<u8> {
    let mut text = Vec::new();
    if from == 0 {
        text.extend(format!(",\"{name}\":[").as_bytes());
    }
    for (at, one) in all.iter().enumerate().skip(from).take(PIECE) {
        if at > 0 {
            text.push(b',');
        }
        text.extend(entry(one));
    }
    if from + PIECE >= all.len() {
        text.push(b']');
    }
    text
}

/// Events in Chrome's trace event format.
pub(crate) struct TracePieces {
    state: Arc<State>,
    events: Events,
    cursor: u64,
    /// Events that were not kept for as long as the client took.
    lost: u64,
    has_begun: bool,
    is_over: bool,
}

enum Events {
    /// Recorded before.
    Recent(std::vec::IntoIter<Record>),
    /// Recorded until `end`. `go_on` asks for more.
    ToCome {
        end: u64,
        go_on: Box<dyn FnMut() + Send>,
    },
}

impl TracePieces {
    /// Events that were recorded since `cursor`, the newest of them if they are many.
    pub(crate) fn recent(state: Arc<State>, cursor: u64) -> TracePieces {
        let (records, cursor, lost) = state.recorder().since(cursor, EVENTS, true);
        TracePieces {
            state,
            events: Events::Recent(records.into_iter()),
            cursor,
            lost,
            has_begun: false,
            is_over: false,
        }
    }

    /// Events that will be recorded during `time`.
    pub(crate) fn to_come(
        state: Arc<State>,
        time: Duration,
        go_on: impl FnMut() + Send + 'static,
    ) -> TracePieces {
        let (_, cursor, _) = state.recorder().since(0, 0, true);
        let end = state.now() + nanoseconds(time);
        TracePieces {
            state,
            events: Events::ToCome {
                end,
                go_on: Box::new(go_on),
            },
            cursor,
            lost: 0,
            has_begun: false,
            is_over: false,
        }
    }

    /// Returns some events, and whether they are the last.
    fn some(&mut self) -> (Vec<Record>, bool) {
        match &mut self.events {
            Events::Recent(records) => {
                let some: Vec<_> = records.by_ref().take(PIECE).collect();
                (some, records.len() == 0)
            }
            Events::ToCome { end, go_on } => {
                let recorder = self.state.recorder();
                let (some, cursor, lost) = recorder.since(self.cursor, PIECE, false);
                drop(recorder);
                self.cursor = cursor;
                self.lost += lost;
                let is_last = some.len() < PIECE && self.state.now() >= *end;
                if some.is_empty() && !is_last {
                    go_on();
                }
                (some, is_last)
            }
        }
    }
}

impl Pieces for TracePieces {
    fn next(&mut self) -> Piece {
        if self.is_over {
            return Piece::End;
        }
        let mut text = Vec::new();
        if !self.has_begun {
            self.has_begun = true;
            let program = format!("{} (oneloop)", program());
            let process = TraceName::new("process_name", &program);
            let thread = TraceName::new("thread_name", "the loop");
            text.extend(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
            text.extend(json(&process));
            text.extend(b",\n");
            text.extend(json(&thread));
            if let Events::ToCome { .. } = self.events {
                return Piece::Bytes(text);
            }
        }
        let (some, is_last) = self.some();
        if some.is_empty() && !is_last {
            return Piece::NotYet;
        }
        for record in &some {
            text.extend(b",\n");
            text.extend(json(&TraceEvent::from(record)));
        }
        if is_last {
            self.is_over = true;
            let (cursor, lost, now) = (self.cursor, self.lost, self.state.now() as f64 / 1000.0);
            let end = format!(
                "],\n\"otherData\":{{\"cursor\":{cursor},\"lost\":{lost},\"time\":{now}}}}}\n"
            );
            text.extend(end.as_bytes());
        }
        Piece::Bytes(text)
    }
}
