//! hiredis on oneloop beside hiredis on libev and libevent, by the adapters that come with it. One
//! redis-server serves all.

use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oneloop::Reactor;
use oneloop_benches::{Bench, Peer};
use oneloop_c::{as_ptr, oneloop_t};
use oneloop_c_libraries::{HOSTS, free_port, redis as redis_server};

/// A workload.
struct Pipeline {
    /// Commands that are under way at the same time.
    depth: c_int,
    set: bool,
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = if self.set { "SET" } else { "PING" };
        write!(f, "{command}, {} at a time", self.depth)
    }
}

/// The C side's state of some work on a oneloop loop.
#[repr(C)]
struct Work {
    _opaque: [u8; 0],
}

/// Does the work and says whether all was answered.
type Run = unsafe extern "C" fn(*const c_char, c_int, c_int, bool) -> bool;

unsafe extern "C" {
    fn redis_bench_oneloop(
        r#loop: *mut oneloop_t,
        path: *const c_char,
        rounds: c_int,
        depth: c_int,
        set: bool,
    ) -> *mut Work;
    fn redis_bench_end(work: *mut Work) -> bool;
    fn redis_bench_libev(path: *const c_char, rounds: c_int, depth: c_int, set: bool) -> bool;
    fn redis_bench_libevent(path: *const c_char, rounds: c_int, depth: c_int, set: bool) -> bool;
}

fn main() -> ExitCode {
    let redis = redis_server(free_port());
    let path = redis.folder.path().join("redis.sock");
    while std::os::unix::net::UnixStream::connect(&path).is_err() {
        std::thread::yield_now();
    }
    let url = format!("redis+unix://{}", path.display());
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL in it");

    let pipeline = |depth, set| Pipeline { depth, set };
    let oneloop = |name, host| {
        let (_, drive) = HOSTS.into_iter().find(|(name, _)| *name == host).unwrap();
        let path = path.clone();
        Peer::new(name, move |work: &Pipeline, events| {
            measure(work, events, |rounds| {
                let reactor = Reactor::new()?;
                let (depth, set) = (work.depth, work.set);
                // SAFETY: the loop and the path are alive.
                let work = unsafe {
                    redis_bench_oneloop(as_ptr(&reactor), path.as_ptr(), rounds, depth, set)
                };
                drive(&reactor)?;
                // SAFETY: it is what was begun, and has come to its end.
                Ok(unsafe { redis_bench_end(work) })
            })
        })
    };
    let other = |name, run: Run| {
        let path = path.clone();
        Peer::new(name, move |work: &Pipeline, events| {
            measure(work, events, |rounds| {
                // SAFETY: the path is alive.
                Ok(unsafe { run(path.as_ptr(), rounds, work.depth, work.set) })
            })
        })
    };
    let bench = Bench {
        name: "redis",
        about: "\
hiredis sends a pipeline of commands to a redis-server, and the next when all are answered. An event
is one command. The yardstick is hiredis on libev. The crate `redis` shares no code with these.",
        workloads: vec![
            pipeline(1, false),
            pipeline(100, false),
            pipeline(1000, true),
        ],
        yardstick: other("libev", redis_bench_libev),
        peers: vec![
            other("libevent", redis_bench_libevent),
            oneloop("oneloop built-in", "built-in"),
            oneloop("oneloop on tokio", "tokio"),
            oneloop("oneloop on async-io", "async-io"),
            Peer::new(
                "the redis crate on tokio",
                move |work: &Pipeline, events| {
                    measure(work, events, |rounds| redis_crate(&url, rounds, work))
                },
            ),
        ],
    };
    bench.main()
}

/// Sends the pipelines by the crate `redis`.
fn redis_crate(url: &str, rounds: c_int, work: &Pipeline) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    let all = async {
        let client = redis::Client::open(url)?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let mut pipeline = redis::pipe();
        for n in 0..work.depth {
            if work.set {
                pipeline.cmd("SET").arg(format!("key:{n}")).arg("value")
            } else {
                pipeline.cmd("PING")
            };
        }
        for _ in 0..rounds {
            let answers: Vec<String> = pipeline.query_async(&mut redis).await?;
            if answers.len() != pipeline.len() {
                return Ok(false);
            }
        }
        Ok(true)
    };
    runtime
        .block_on(all)
        .map_err(|error: redis::RedisError| io::Error::other(error))
}

/// The time for whole rounds of pipelines, at least that many events.
fn measure(
    work: &Pipeline,
    events: u64,
    run: impl FnOnce(c_int) -> io::Result<bool>,
) -> io::Result<Duration> {
    let depth = u64::try_from(work.depth).expect("positive");
    let rounds = events.div_ceil(depth);
    let start = Instant::now();
    if !run(rounds.try_into().expect("not so many"))? {
        return Err(io::Error::other("not all was answered"));
    }
    let took = start.elapsed();
    Ok(took.mul_f64(events as f64 / (rounds * depth) as f64))
}
