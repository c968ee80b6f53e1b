//! Three kinds of code that each want an event loop of their own, on one thread and one loop:
//!
//! - `chat.rs`: a chat server in the old style, a callback per descriptor and no async anywhere;
//! - `page.rs`: a web page of hyper's, on tokio's sockets or on those of the loop;
//! - `client.rs`: a client in async/await, as one writes it for async-io.
//!
//! With `--inspect`, the loop serves a page about itself, too.
//!
//! `--host` chooses who waits for them all, which is `drive` below. `load.rs` sends real traffic
//! from a second thread and checks every line that comes back.
//!
//! ```text
//! cargo run --release --example one_loop -- --help
//! ```

mod args;
mod chat;
mod client;
mod figures;
mod load;
mod page;
mod report;
mod threads;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use args::{Args, Host};
use figures::Figures;
use futures_lite::future;
use oneloop::{LocalReactor, Reactor};
use report::{LIMIT, fail, refuse};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const SECOND: Duration = Duration::from_secs(1);

fn main() {
    let args = args::parse(std::env::args().skip(1)).unwrap_or_else(|why| refuse(why));
    raise_descriptor_limit(&args);
    if let Err(error) = run(args) {
        fail(error);
    }
}

fn run(args: Args) -> io::Result<()> {
    let reactor = Reactor::new_local()?;
    let figures = Rc::new(Figures::default());

    let listener = listen(args.serve.unwrap_or(ANY));
    let chat = listener.local_addr()?;
    chat::open(&reactor, listener, figures.clone())?;

    let listener = listen(args.serve.map_or(ANY, |_| next_port(chat)));
    let page = listener.local_addr()?;
    let facts = page::Page {
        host: args.host,
        started: Instant::now(),
        reactor: reactor.clone(),
        figures: figures.clone(),
    };
    let serving = page::serve(listener, facts);

    if let Some(address) = args.inspect {
        let server = oneloop_inspect::serve(&reactor, address)?;
        let address = server.address();
        report::print(&format!("The loop's own page: http://{address}/\n"));
    }

    let client = |period| client::run(args.host, chat, period, &reactor, &figures);
    if args.serve.is_some() {
        report::print(&report::welcome(args.host, chat, page));
        return drive(args.host, &reactor, serving, client(SECOND));
    }

    let progress = Arc::new(report::Progress::new(args));
    let lateness = report::measure_lateness(&reactor, progress.clone())?;
    let (done, client_done) = (progress.clone(), figures.clone());
    let missing = move || {
        let (lines, back) = (done.sentence(), client_done.returned.get());
        format!("{lines}, {back} of the async client came back")
    };
    report::watchdog(&reactor, LIMIT + SECOND, missing)?;
    // tokio's channels need no runtime: they wake the waiting task under any host.
    let (sender, outcome) = tokio::sync::oneshot::channel();
    let its_progress = progress.clone();
    let run_load = move || drop(sender.send(load::run(args, chat, page, its_progress)));
    thread::Builder::new().name("load".into()).spawn(run_load)?;

    let load = async {
        let outcome = outcome.await;
        figures.ending.set(true);
        outcome.unwrap_or_else(|_| fail("the load thread died"))
    };
    let both = future::zip(load, client(Duration::from_millis(10)));
    let (outcome, ()) = drive(args.host, &reactor, serving, both)?;
    let outcome = outcome?;
    report::print(&report::outcome(
        &args,
        &outcome,
        &lateness.borrow(),
        &progress.threads,
        &figures,
        reactor.stats(),
    ));
    Ok(())
}

/// Runs `task`, and all that is registered with `reactor`, on this thread until `task` ends.
///
/// This is all that differs from host to host.
fn drive<T>(
    host: Host,
    reactor: &LocalReactor,
    page: impl Future<Output = ()> + 'static,
    task: impl Future<Output = T>,
) -> io::Result<T> {
    let task = async { Ok(task.await) };
    match host {
        Host::Builtin => reactor.block_on(future::or(task, without_end(page)))?,
        Host::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let tasks = tokio::task::LocalSet::new();
            tasks.spawn_local(page);
            let both = future::or(task, failure(oneloop_tokio::drive(reactor)));
            runtime.block_on(tasks.run_until(both))
        }
        Host::AsyncIo => {
            let both = future::or(task, failure(oneloop_async_io::drive(reactor)));
            async_io::block_on(future::or(both, without_end(page)))
        }
    }
}

async fn without_end<T>(serving: impl Future<Output = ()>) -> T {
    serving.await;
    future::pending().await
}

/// Driving ends only by a failure, since nothing here stops the loop.
async fn failure<T>(driving: impl Future<Output = io::Result<()>>) -> io::Result<T> {
    driving.await?;
    future::pending().await
}

/// A free port on the loopback.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn listen(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address);
    listener.unwrap_or_else(|error| refuse(format!("cannot listen on {address}: {error}")))
}

fn next_port(mut address: SocketAddr) -> SocketAddr {
    match address.port().checked_add(1) {
        Some(port) => address.set_port(port),
        None => refuse("the page goes to the next port, and 65535 has none"),
    }
    address
}

/// As far as it goes, and that has to be enough: both ends of every connection are in here.
fn raise_descriptor_limit(args: &Args) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let may = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let need = match args.serve {
        Some(_) => 32,
        None => 2 * args.connections as u64 + 32,
    };
    if let Some(may) = may.filter(|may| *may < need) {
        refuse(format!(
            "this needs {need} descriptors, and the process may have {may}: raise the limit \
             (ulimit -n) or ask for fewer --connections"
        ));
    }
}
