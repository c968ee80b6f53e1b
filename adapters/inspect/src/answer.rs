//! The bodies of answers. Long ones are made piece by piece.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use oneloop::{CallbackKind, Snapshot};

use crate::connection::Progress;
use crate::recorder::{Record, What};
use crate::server::{State, nanoseconds};
use crate::text::{
    Driver, Handler, Hook, Micros, Post, Stats, Timer, Times, TraceEvent, TraceName, json, program,
};

/// Entries in a piece of a snapshot, and events in a piece of a trace.
const PIECE: usize = 64;
const EVENTS: usize = 128;
/// Records in a piece of a timeline, where they are short.
const RECORDS: usize = 512;
/// Callbacks whose texts a trace keeps.
const SOURCES: usize = 4096;

/// The body of an answer.
pub(crate) enum Answer {
    Whole(Option<Bytes>),
    /// Made piece by piece, one in a turn and only as the client takes them, so that neither a large answer nor a
    /// slow client is a burden. All answers together have a share of the loop's time.
    InPieces {
        pieces: Box<dyn Pieces>,
        has_given: bool,
        state: Arc<State>,
        progress: Arc<Progress>,
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

    pub(crate) fn in_pieces(
        pieces: impl Pieces + 'static,
        state: &Arc<State>,
        progress: &Arc<Progress>,
    ) -> Answer {
        Answer::InPieces {
            pieces: Box::new(pieces),
            has_given: false,
            state: state.clone(),
            progress: progress.clone(),
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
            Answer::InPieces {
                pieces,
                has_given,
                state,
                progress,
            } => {
                if std::mem::take(has_given) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if state.has_spent_its_share() {
                    progress.wait_for_tick();
                    return Poll::Pending;
                }
                match pieces.next() {
                    Piece::Bytes(bytes) => {
                        *has_given = true;
                        frame(bytes.into())
                    }
                    Piece::NotYet => {
                        progress.wait_for_tick();
                        Poll::Pending
                    }
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
                let entry = |one| json(&Hook::new(one, now, state));
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

/// The calls that were recorded since a cursor.
pub(crate) struct TimelinePieces {
    state: Arc<State>,
    cursor: u64,
    /// The first record that is not wanted, or the end, if it was not asked for yet.
    end: Option<u64>,
    /// Records that were not kept for as long as the client took.
    lost: u64,
    sources: Sources,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Records,
    Tail,
    End,
}

/// Callbacks as JSON, each written once: an event of a trace, without its times.
#[derive(Default)]
struct Sources {
    places: HashMap<(CallbackKind, u64), usize>,
    texts: Vec<Vec<u8>>,
}

impl TimelinePieces {
    pub(crate) fn new(state: Arc<State>, cursor: u64) -> TimelinePieces {
        TimelinePieces {
            state,
            cursor,
            end: None,
            lost: 0,
            sources: Sources::default(),
            stage: Stage::Head,
        }
    }

    /// Writes some records, as numbers: when each began, how long it took, and then what it was. A callback has the
    /// place of its source, and a turn has -1, and the times before it in which the loop waited and its host worked.
    fn records(&mut self, text: &mut Vec<u8>) {
        let recorder = self.state.recorder();
        let end = *self.end.get_or_insert(recorder.cursor());
        let left = end.saturating_sub(self.cursor);
        let most = RECORDS.min(usize::try_from(left).unwrap_or(RECORDS));
        let (some, cursor, lost) = recorder.since(self.cursor, most);
        drop(recorder);
        (self.cursor, self.lost) = (cursor, self.lost + lost);
        for record in &some {
            // The first number of the list has no comma before it.
            let comma = if text.last() == Some(&b'[') { "" } else { "," };
            // Writing into memory does not fail.
            let _ = write!(
                text,
                "{comma}{},{},",
                Micros(record.began),
                Micros(record.took)
            );
            let _ = match record.what {
                What::Turn { waited, hosted } => {
                    write!(text, "-1,{},{}", Micros(waited), Micros(hosted))
                }
                What::Callback { .. } => write!(text, "{}", self.sources.place(record)),
            };
        }
        if cursor >= end {
            self.stage = Stage::Tail;
        }
    }
}

impl Sources {
    fn place(&mut self, record: &Record) -> usize {
        let Sources { places, texts } = self;
        let Some(source) = record.source() else {
            return texts.len();
        };
        *places.entry(source).or_insert_with(|| {
            texts.push(json(&TraceEvent::without_times(record)));
            texts.len() - 1
        })
    }

    /// Writes an event of a trace.
    fn write(&mut self, text: &mut Vec<u8>, record: &Record) {
        if let What::Turn { .. } = record.what {
            text.extend(json(&TraceEvent::from(record)));
            return;
        }
        // A long recording of many short connections.
        if self.texts.len() > SOURCES {
            *self = Sources::default();
        }
        let place = self.place(record);
        text.extend(&self.texts[place]);
        text.pop();
        let (ts, dur) = (Micros(record.began), Micros(record.took));
        // Writing into memory does not fail.
        let _ = write!(text, ",\"ts\":{ts},\"dur\":{dur}}}");
    }
}

impl Pieces for TimelinePieces {
    fn next(&mut self) -> Piece {
        let mut text = Vec::new();
        match self.stage {
            Stage::Head => {
                text.extend(b"{\"records\":[");
                self.stage = Stage::Records;
                self.records(&mut text);
            }
            Stage::Records => self.records(&mut text),
            Stage::Tail => {
                let sources = self.sources.texts.join(&b","[..]);
                text.extend(b"],\"sources\":[");
                text.extend(sources);
                let (cursor, lost, time) = (self.cursor, self.lost, Micros(self.state.now()));
                let _ = writeln!(
                    text,
                    "],\"cursor\":{cursor},\"lost\":{lost},\"time\":{time}}}"
                );
                self.stage = Stage::End;
            }
            Stage::End => return Piece::End,
        }
        Piece::Bytes(text)
    }
}

/// A recording in Chrome's trace event format.
pub(crate) struct TracePieces {
    state: Arc<State>,
    cursor: u64,
    end: u64,
    /// The first record after the end, once that has come.
    last: Option<u64>,
    /// Records that were not kept for as long as the client took.
    lost: u64,
    /// Asks for more to be recorded.
    go_on: Box<dyn FnMut() + Send>,
    sources: Sources,
    stage: Stage,
}

impl TracePieces {
    pub(crate) fn new(
        state: Arc<State>,
        time: Duration,
        go_on: impl FnMut() + Send + 'static,
    ) -> TracePieces {
        let cursor = state.recorder().cursor();
        let end = state.now() + nanoseconds(time);
        TracePieces {
            state,
            cursor,
            end,
            last: None,
            lost: 0,
            go_on: Box::new(go_on),
            sources: Sources::default(),
            stage: Stage::Head,
        }
    }

    fn some(&mut self) -> Vec<Record> {
        let recorder = self.state.recorder();
        if self.state.now() >= self.end {
            self.last.get_or_insert(recorder.cursor());
        }
        let left = self
            .last
            .map_or(u64::MAX, |last| last.saturating_sub(self.cursor));
        let most = EVENTS.min(usize::try_from(left).unwrap_or(EVENTS));
        let (some, cursor, lost) = recorder.since(self.cursor, most);
        (self.cursor, self.lost) = (cursor, self.lost + lost);
        if self.last.is_some_and(|last| last <= cursor) {
            self.stage = Stage::Tail;
        }
        some
    }
}

impl Pieces for TracePieces {
    fn next(&mut self) -> Piece {
        let mut text = Vec::new();
        match self.stage {
            Stage::Head => {
                let program = format!("{} (oneloop)", program());
                let process = TraceName::new("process_name", &program);
                let thread = TraceName::new("thread_name", "the loop");
                text.extend(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
                text.extend(json(&process));
                text.extend(b",\n");
                text.extend(json(&thread));
                self.stage = Stage::Records;
            }
            Stage::Records => {
                let some = self.some();
                if some.is_empty() && self.stage == Stage::Records {
                    (self.go_on)();
                    return Piece::NotYet;
                }
                for record in &some {
                    text.extend(b",\n");
                    self.sources.write(&mut text, record);
                }
            }
            Stage::Tail => {
                let lost = self.lost;
                let _ = writeln!(text, "\n],\"otherData\":{{\"lost\":{lost}}}}}");
                self.stage = Stage::End;
            }
            Stage::End => return Piece::End,
        }
        Piece::Bytes(text)
    }
}
