//! Python's three frameworks, tokio, hyper, libcurl and plain callbacks, on one thread inside tokio.
//!
//! libcurl fetches a page from each server, and all of them share a loop. At the end, the program prints the pages and the
//! threads that the kernel lists for the process. It needs Tornado and Twisted in `PYTHONPATH`.

use std::convert::Infallible;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use oneloop::{Action, Interest, Mode, Reactor};
use oneloop_curl::Curl;
use oneloop_python::attach;
use pyo3::prelude::*;
use tokio::task::{LocalSet, spawn_local};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = "\
Serves a page by asyncio, Tornado, Twisted, hyper and plain callbacks, on one thread inside tokio, and fetches each by
libcurl. Prints the pages, and the threads of the process.

Usage: cargo run --example all_on_one_thread --features tokio

  --help   this text";

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        println!("{HELP}");
        return Ok(());
    }
    Python::initialize();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(run()))
}

async fn run() -> Result<()> {
    let reactor = Reactor::new()?;
    let driving = spawn_local(oneloop_tokio::drive(&reactor));

    // Python's loop is a guest of the reactor, which tokio drives.
    let (guest, ports) = Python::attach(|py| {
        let guest = attach(py, &reactor)?;
        let code = c"servers.py";
        let servers = PyModule::from_code(py, SERVERS, code, c"servers")?;
        let ports = guest.into_future(servers.getattr("serve")?.call0()?)?;
        PyResult::Ok((guest, ports))
    })?;
    let ports = ports.await?;
    let (asyncio, tornado, twisted) = Python::attach(|py| ports.extract::<(u16, u16, u16)>(py))?;

    let servers = [
        ("asyncio", asyncio),
        ("Tornado", tornado),
        ("Twisted", twisted),
        ("hyper", serve_by_hyper().await?),
        ("callbacks", serve_by_callbacks(&reactor)?),
    ];
    let curl = Curl::new(&reactor)?;
    for (name, port) in servers {
        println!("{name}: {}", fetch(&curl, port).await?.trim());
    }
    println!("threads: {}", threads()?.join(", "));
    drop((curl, guest));
    reactor.stop();
    driving.await??;
    Ok(())
}

const SERVERS: &std::ffi::CStr =
    match std::ffi::CStr::from_bytes_with_nul(concat!(include_str!("servers.py"), "\0").as_bytes())
    {
        Ok(code) => code,
        Err(_) => panic!("a NUL in servers.py"),
    };

/// hyper on tokio's own sockets.
async fn serve_by_hyper() -> Result<u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let page = service_fn(|_: Request<_>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hyper\n"))))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            spawn_local(hyper::server::conn::http1::Builder::new().serve_connection(io, page));
        }
    });
    Ok(port)
}

/// Callbacks on descriptors. One request fits into one read.
fn serve_by_callbacks(reactor: &Reactor) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let accept = |listener: &mut TcpListener, _| -> Result<Action> {
        let (stream, _) = listener.accept()?;
        let answer = |stream: &mut std::net::TcpStream, _| -> std::io::Result<Action> {
            if stream.read(&mut [0; 4096])? > 0 {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\ncallbacks\n",
                )?;
            }
            Ok(Action::Remove)
        };
        Reactor::current()?.add_handler(stream, Interest::READABLE, Mode::Level, answer)?;
        Ok(Action::Continue)
    };
    reactor.add_handler(listener, Interest::READABLE, Mode::Level, accept)?;
    Ok(port)
}

async fn fetch(curl: &Curl, port: u16) -> Result<String> {
    let page = Arc::new(Mutex::new(Vec::new()));
    let mut easy = curl::easy::Easy::new();
    easy.url(&format!("http://127.0.0.1:{port}/"))?;
    let read = page.clone();
    easy.write_function(move |bytes| {
        read.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    })?;
    let status = curl.transfer(easy).await?.response_code()?;
    if status != 200 {
        return Err(format!("the page of port {port} has the status {status}").into());
    }
    let page = page.lock().unwrap().clone();
    Ok(String::from_utf8(page)?)
}

fn threads() -> std::io::Result<Vec<String>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let name = std::fs::read_to_string(task?.path().join("comm"))?;
        threads.push(name.trim().to_owned());
    }
    Ok(threads)
}
