//! Libraries for four different loops, in one process, on one thread and on one loop.
//!
//! Each of them talks to itself or to another one over real sockets. At the end, the program prints what each did and
//! which threads the kernel lists for the process. Every line of `run` that is not about a library is about the loop:
//! the reactor is made, installed and run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use async_tungstenite::tungstenite::Message;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use oneloop::{Action, Interest, Mode, Reactor};
use oneloop_curl::Curl;
use zbus::connection::Builder;

const HELP: &str = "\
Usage: one_thread [ROUNDS]

Runs zbus, async-net, async-tungstenite, hyper, libcurl and plain callbacks on one loop and one thread. Each does
something ROUNDS times (20). Prints what each did, and the threads of the process.";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let rounds = match std::env::args().nth(1) {
        Some(argument) => match argument.parse() {
            Ok(rounds) => rounds,
            Err(_) => {
                println!("{HELP}");
                return Ok(());
            }
        },
        None => 20,
    };
    for (name, done) in run(rounds)? {
        println!("{name}: {done}");
    }
    println!("threads: {}", threads()?.join(", "));
    Ok(())
}

/// Runs everything, and returns what each library did.
fn run(rounds: usize) -> Result<BTreeMap<&'static str, String>> {
    let reactor = Reactor::new()?;
    async_io::install(&reactor)?;
    let executor = Rc::new(LocalExecutor::new());
    // Plain data that all tasks share.
    let ticks = Rc::new(Cell::new(0));

    let calls = callbacks(&reactor, rounds)?;
    let curl = Curl::new(&reactor)?;
    let work = async {
        let page = serve_page(&executor, ticks.clone()).await?;
        let ticking = executor.spawn(tick(ticks.clone()));
        let net = async_net_echo(&executor, rounds);
        let socket = web_socket(&executor, rounds);
        let bus = bus(&executor, rounds);
        let fetched = fetch(&curl, page, rounds);
        let ((net, socket), (bus, fetched)) =
            future::zip(future::zip(net, socket), future::zip(bus, fetched)).await;
        let done = [
            ("async-net", net?),
            ("async-tungstenite", socket?),
            ("zbus", bus?),
        ];
        let mut done = BTreeMap::from(done);
        let (bytes, pages) = fetched?;
        done.insert("libcurl", format!("fetched {pages} pages, {bytes} bytes"));
        done.insert("hyper", format!("served {pages} pages"));
        while calls.load(Relaxed) < rounds {
            Timer::after(Duration::from_millis(1)).await;
        }
        ticking.cancel().await;
        Result::Ok(done)
    };
    let mut done = reactor.block_on(executor.run(work))??;
    done.insert("callbacks", format!("called {} times", calls.load(Relaxed)));
    done.insert("async-io", format!("ticked {} times", ticks.get()));
    Ok(done)
}

/// Two callbacks that pass a byte to each other.
fn callbacks(reactor: &Reactor, rounds: usize) -> Result<Arc<AtomicUsize>> {
    let calls = Arc::new(AtomicUsize::new(0));
    let (mut one, other) = UnixStream::pair()?;
    one.write_all(b"x")?;
    for stream in [one, other] {
        let calls = calls.clone();
        let pass = move |stream: &mut UnixStream, _| -> std::io::Result<Action> {
            let read = stream.read(&mut [0])?;
            if read == 0 || calls.fetch_add(1, Relaxed) + 1 >= rounds {
                return Ok(Action::Remove); // The other one then reads the end.
            }
            stream.write_all(b"x")?;
            Ok(Action::Continue)
        };
        reactor.add_handler(stream, Interest::READABLE, Mode::Level, pass)?;
    }
    Ok(calls)
}

/// Counts what a task of the program's own does meanwhile.
async fn tick(ticks: Rc<Cell<usize>>) {
    let mut timer = Timer::interval(Duration::from_millis(1));
    while timer.next().await.is_some() {
        ticks.set(ticks.get() + 1);
    }
}

/// Serves a page by hyper, which shows the ticks.
async fn serve_page(
    executor: &Rc<LocalExecutor<'static>>,
    ticks: Rc<Cell<usize>>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let tasks = executor.clone();
    let serve = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let ticks = ticks.clone();
            let service = service_fn(move |_: Request<_>| {
                let page = format!("{} ticks\n", ticks.get());
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(page)))) }
            });
            let io = hyper_util::rt::TokioIo::new(oneloop_tokio::Io::new(stream));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tasks.spawn(connection).detach();
        }
    };
    executor.spawn(serve).detach();
    Ok(address)
}

/// Fetches the page by libcurl. Returns the number of bytes and of pages.
async fn fetch(curl: &Curl, page: SocketAddr, rounds: usize) -> Result<(usize, usize)> {
    let bytes = Arc::new(AtomicUsize::new(0));
    let mut pages = 0;
    for _ in 0..rounds {
        let mut easy = curl::easy::Easy::new();
        easy.url(&format!("http://{page}/"))?;
        let counted = bytes.clone();
        easy.write_function(move |data| {
            counted.fetch_add(data.len(), Relaxed);
            Ok(data.len())
        })?;
        let easy = curl.transfer(easy).await?;
        pages += usize::from(easy.response_code()? == 200);
    }
    Ok((bytes.load(Relaxed), pages))
}

/// Echoes by async-net.
async fn async_net_echo(executor: &LocalExecutor<'static>, rounds: usize) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = executor.spawn(async move {
        let (stream, _) = listener.accept().await?;
        futures_lite::io::copy(stream.clone(), stream).await
    });
    let mut stream = TcpStream::connect(address).await?;
    let mut answer = [0; 5];
    for _ in 0..rounds {
        stream.write_all(b"hello").await?;
        stream.read_exact(&mut answer).await?;
    }
    drop(stream);
    Ok(format!("echoed {} bytes", server.await?))
}

/// Sends messages over a web socket and back, by async-tungstenite.
async fn web_socket(executor: &LocalExecutor<'static>, rounds: usize) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = executor.spawn(async move {
        let (stream, _) = listener.accept().await.ok()?;
        let mut socket = async_tungstenite::accept_async(stream).await.ok()?;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.ok()?;
            }
        }
        Some(())
    });
    let stream = TcpStream::connect(address).await?;
    let url = format!("ws://{address}/");
    let (mut socket, _) = async_tungstenite::client_async(url, stream).await?;
    let mut answers = 0;
    for round in 0..rounds {
        let text = Message::text(format!("message {round}"));
        socket.send(text.clone()).await?;
        answers += usize::from(socket.next().await.transpose()? == Some(text));
    }
    socket.close(None).await?;
    server.await;
    Ok(format!("answered {answers} messages"))
}

/// An object on D-Bus.
struct Adder {
    sum: u64,
}

#[zbus::interface(name = "org.example.Adder")]
impl Adder {
    fn add(&mut self, number: u64) -> u64 {
        self.sum += number;
        self.sum
    }
}

/// Calls an object by zbus, over a connection without a bus.
async fn bus(executor: &LocalExecutor<'static>, rounds: usize) -> Result<String> {
    // Over TCP, because zbus asks for the peer of a Unix socket on a thread of the crate `blocking`.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let ours = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    let guid = zbus::Guid::generate();
    let server = Builder::tcp_stream(theirs)
        .server(guid)?
        .p2p()
        .serve_at("/adder", Adder { sum: 0 })?
        .internal_executor(false)
        .build();
    let client = Builder::tcp_stream(ours)
        .p2p()
        .internal_executor(false)
        .build();
    let (server, client) = future::zip(server, client).await;
    let (server, client) = (server?, client?);
    // zbus' own tasks run here instead of on a thread "zbus::Connection".
    for connection in [server.clone(), client.clone()] {
        let tick = async move {
            loop {
                connection.executor().tick().await;
            }
        };
        executor.spawn(tick).detach();
    }
    let interface = Some("org.example.Adder");
    let mut sum = 0;
    for number in 1..=rounds as u64 {
        let reply = client
            .call_method(None::<()>, "/adder", interface, "Add", &number)
            .await?;
        sum = reply.body().deserialize::<u64>()?;
    }
    Ok(format!("added up to {sum} in {rounds} calls"))
}

/// The names of this process's threads, by their number.
fn threads() -> Result<Vec<String>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        let name = std::fs::read_to_string(task.path().join("comm"))?;
        threads.push(format!(
            "{} {}",
            task.file_name().to_string_lossy(),
            name.trim()
        ));
    }
    Ok(threads)
}
