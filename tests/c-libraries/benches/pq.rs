//! libpq on oneloop beside tokio-postgres: parameterised queries, 10,000 at a time. One PostgreSQL serves all.

use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use oneloop::Reactor;
use oneloop_benches::{Bench, Peer};
use oneloop_c::{as_ptr, oneloop_t};
use oneloop_c_libraries::{Database, HOSTS, free_port};
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Row};

/// Queries that are under way at the same time.
const DEPTH: u16 = 10_000;

/// A workload.
struct Queries {
    prepared: bool,
}

impl fmt::Display for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.prepared {
            "prepared"
        } else {
            "parsed each time"
        };
        write!(f, "{DEPTH} queries, {kind}")
    }
}

/// The C side's state.
#[repr(C)]
struct Work {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn pq_bench_begin(
        r#loop: *mut oneloop_t,
        conninfo: *const c_char,
        rounds: c_int,
        depth: c_int,
        prepared: bool,
    ) -> *mut Work;
    fn pq_bench_end(work: *mut Work) -> bool;
}

fn main() -> ExitCode {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    database.wait(port);
    let conninfo = database.conninfo(port);
    let c_conninfo = CString::new(conninfo.clone()).expect("no NUL in it");

    let oneloop = |name, host| {
        let (_, drive) = HOSTS.into_iter().find(|(name, _)| *name == host).unwrap();
        let conninfo = c_conninfo.clone();
        Peer::new(name, move |queries: &Queries, events| {
            measure(events, |rounds| {
                let reactor = Reactor::new()?;
                let (r#loop, conninfo) = (as_ptr(&reactor), conninfo.as_ptr());
                // SAFETY: the loop and the text are alive.
                let work = unsafe {
                    pq_bench_begin(r#loop, conninfo, rounds, DEPTH.into(), queries.prepared)
                };
                drive(&reactor)?;
                // SAFETY: it is what was begun, and has come to its end.
                Ok(unsafe { pq_bench_end(work) })
            })
        })
    };
    let bench = Bench {
        name: "pq",
        about: "\
A pipeline of parameterised queries goes to a PostgreSQL, and the next when all are answered. An event is one query.
The yardstick is tokio-postgres on tokio, on one thread.",
        workloads: vec![Queries { prepared: false }, Queries { prepared: true }],
        yardstick: Peer::new("tokio-postgres on tokio", move |queries: &Queries, events| {
            measure(events, |rounds| tokio_postgres(&conninfo, rounds, queries))
        }),
        peers: vec![
            oneloop("libpq, oneloop on tokio", "tokio"),
            oneloop("libpq, oneloop built-in", "built-in"),
        ],
    };
    bench.main()
}

/// Makes the queries by tokio-postgres.
fn tokio_postgres(conninfo: &str, rounds: c_int, queries: &Queries) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    let all = async {
        let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await?;
        let connection = tokio::spawn(connection);
        let statement = client.prepare("SELECT $1::int4").await?;
        let mut is_right = true;
        for _ in 0..rounds {
            let numbers = 0..i32::from(DEPTH);
            let is_answered = |(number, rows): (i32, Vec<Row>)| rows[0].get::<_, i32>(0) == number;
            let answers = if queries.prepared {
                let one = async |number: i32| client.query(&statement, &[&number]).await;
                try_join_all(numbers.map(one)).await?
            } else {
                let one = async |number: i32| {
                    let parameters = [(&number as _, Type::INT4)];
                    client.query_typed("SELECT $1::int4", &parameters).await
                };
                try_join_all(numbers.map(one)).await?
            };
            is_right &= (0..).zip(answers).all(is_answered);
        }
        drop(client);
        connection
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        Ok(is_right)
    };
    let all = runtime.block_on(all);
    all.map_err(|error: Box<dyn std::error::Error + Send + Sync>| io::Error::other(error))
}

/// The time for whole rounds of pipelines, at least that many events.
fn measure(events: u64, run: impl FnOnce(c_int) -> io::Result<bool>) -> io::Result<Duration> {
    let depth = u64::from(DEPTH);
    let rounds = events.div_ceil(depth);
    let start = Instant::now();
    if !run(rounds.try_into().expect("not so many"))? {
        return Err(io::Error::other("not all was answered"));
    }
    let took = start.elapsed();
    Ok(took.mul_f64(events as f64 / (rounds * depth) as f64))
}
