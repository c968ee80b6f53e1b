//! Three kinds of code that each want an event loop of their own, on one thread and one loop:
//!
//! - `chat.rs`: a chat server in the old style, a callback per descriptor and no async anywhere;
//! - `page.rs`: a web page of hyper's, on tokio;
//! - `client.rs`: a client in async/await, as one would write it for async-io.
//!
//! `--host` chooses who waits for all of them; nothing in the three changes with it. `load.rs`
//! sends real traffic from a second thread and checks every line that comes back.
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
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use args::{Args, Host};
use figures::Figures;
use futures_lite::future;
use oneloop::LocalReactor;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why there is no result.
enum Failure {
    /// It could not begin: exit code 2.
    Refused(String),
    /// It went wrong: exit code 1.
    Failed(String),
}

type Result<T> = std::result::Result<T, Failure>;

fn main() -> ExitCode {
    let result = match args::parse(std::env::args().skip(1)) {
        Ok(None) => {
            report::print(args::HELP);
            Ok(())
        }
        Ok(Some(args)) => run(&args),
        Err(sentence) => Err(Failure::Refused(format!("{sentence}; see --help"))),
    };
    let (sentence, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(sentence)) => (sentence, 2),
        Err(Failure::Failed(sentence)) => (sentence, 1),
    };
    eprintln!("one_loop: {sentence}");
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<()> {
    enough_descriptors(args)?;
    let refused = |error: oneloop::Error| Failure::Refused(error.to_string());
    let reactor = LocalReactor::new().map_err(refused)?;
    let figures = Rc::new(Figures::new(args.host));

    let chat = bind(args.serve.unwrap_or(([127, 0, 0, 1], 0).into()))?;
    let chat_at = address(&chat);
    let page = match (args.host, args.serve) {
        (Host::Tokio, None) => Some(bind(([127, 0, 0, 1], 0).into())?),
        (Host::Tokio, Some(_)) => Some(bind(next_port(chat_at)?)?),
        _ => None,
    };
    let page_at = page.as_ref().map(address);

    chat::open(&reactor, chat, figures.clone()).map_err(refused)?;
    let page = page.map(|listener| page::serve(listener, reactor.clone(), figures.clone()));
    let client = |period| client::run(args.host, &reactor, chat_at, period, figures.clone());

    if args.serve.is_some() {
        report::print(&report::welcome(args.host, chat_at, page_at));
        let ended = host(args.host, &reactor, page, client(Duration::from_secs(1)))?;
        return Err(Failure::Failed(ended));
    }

    let plan = load::Plan::new(args, chat_at, page_at);
    let progress = Arc::new(report::Progress::new(&plan));
    let lateness = report::measure_lateness(&reactor, progress.clone()).map_err(refused)?;
    report::watchdog(&reactor, progress.clone()).map_err(refused)?;
    // tokio's channels need no runtime: they wake whoever waits, and so work under every host.
    let (sender, outcome) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("load".into());
    let on_thread = progress.clone();
    thread
        .spawn(move || sender.send(load::run(plan, on_thread)))
        .map_err(|error| Failure::Refused(format!("no thread for the load: {error}")))?;

    // The load's outcome, unless the client gives up before.
    let loaded = async { outcome.await.unwrap_or(Err("the load thread died".into())) };
    let client = async { Err(client(Duration::from_millis(10)).await) };
    let outcome = host(args.host, &reactor, page, future::or(loaded, client))?;
    let outcome = outcome.map_err(Failure::Failed)?;
    report::print(&report::report(
        &outcome,
        &lateness.borrow(),
        &progress.threads,
        &figures,
        reactor.stats(),
    ));
    Ok(())
}

/// Runs `task`, and all that is registered with `reactor`, on this thread until `task` ends.
/// This is all that differs from host to host.
fn host<T>(
    host: Host,
    reactor: &LocalReactor,
    page: Option<impl Future<Output = ()> + 'static>,
    task: impl Future<Output = T>,
) -> Result<T> {
    let done = match host {
        Host::Builtin => reactor.block_on(task).map_err(Into::into),
        Host::Tokio => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| {
                let local = tokio::task::LocalSet::new();
                page.map(|page| local.spawn_local(page));
                let driving = until_error(oneloop_tokio::drive(reactor));
                let both = future::or(async { Ok(task.await) }, driving);
                runtime.block_on(local.run_until(both))
            }),
        Host::AsyncIo => {
            let driving = until_error(oneloop_async_io::drive(reactor));
            async_io::block_on(future::or(async { Ok(task.await) }, driving))
        }
    };
    done.map_err(|error| Failure::Failed(format!("the loop failed: {error}")))
}

/// `drive` ends by itself only if somebody stops the loop, which nobody here does.
async fn until_error<T>(drive: impl Future<Output = std::io::Result<()>>) -> std::io::Result<T> {
    drive.await?;
    future::pending().await
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .map_err(|error| Failure::Refused(format!("cannot listen on {address}: {error}")))
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a bound socket has an address")
}

fn next_port(mut address: SocketAddr) -> Result<SocketAddr> {
    let next = address.port().checked_add(1);
    address.set_port(next.ok_or_else(|| {
        Failure::Refused("the page goes to the next port, and there is none after 65535".into())
    })?);
    Ok(address)
}

/// Raises the soft limit as far as it goes; both ends of every connection are in this process.
fn enough_descriptors(args: &Args) -> Result<()> {
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
    match may {
        Some(may) if may < need => Err(Failure::Refused(format!(
            "this needs {need} descriptors, and the process may have {may}: raise the limit \
             (ulimit -n) or choose fewer --connections"
        ))),
        _ => Ok(()),
    }
}
