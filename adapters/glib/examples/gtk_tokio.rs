//! A window of GTK 4 with live charts of a hyper service, a download by libcurl, a chat of raw callbacks and a property
//! of D-Bus. All of it is on one thread.
//!
//! `--outer tokio` has tokio outside, and GTK's loop is a guest. `--outer glib` has GTK's loop outside, and tokio is a
//! guest. The rest of the program does not know which.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::f64::consts::TAU;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures_lite::{StreamExt, future};
use gtk4::prelude::*;
use gtk4::{cairo, gdk, glib};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use oneloop::{Action, Interest, LocalReactor, Mode, Reactor};
use oneloop_curl::Curl;
use oneloop_glib::ContextGuest;
use oneloop_tokio::TokioGuest;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::sleep;

const HELP: &str = "\
Usage: gtk_tokio [--outer tokio|glib]

Shows a window, until it is closed or the standard input ends.";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outer = match *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        [] | ["--outer", "tokio"] => inside_tokio,
        ["--outer", "glib"] => inside_glib,
        _ => {
            println!("{HELP}");
            return Ok(());
        }
    };
    gtk4::init()?;
    // Callbacks of this one are `Send`, as libcurl's and D-Bus' have to be. The other is for GTK or tokio.
    let (reactor, local) = (Reactor::new()?, Reactor::new_local()?);
    async_io::install(&reactor)?;
    let shown = Shown::new();
    show_window(&shown, &reactor);
    chat(&reactor, &shown)?;
    stop_at_end_of_input(&reactor)?;
    let curl = Curl::new(&reactor)?;
    let program = async move {
        if let Err(error) = run(curl, shown).await {
            eprintln!("{error}");
        }
    };
    outer(&reactor, &local, program)
}

/// tokio is the main loop. GTK is a guest of a reactor.
fn inside_tokio(
    reactor: &Reactor,
    local: &LocalReactor,
    program: impl Future<Output = ()> + 'static,
) -> Result<()> {
    // SAFETY: null is the default context, which is GTK's. Nothing else iterates it.
    let gtk = unsafe { ContextGuest::new(null_mut()) };
    local.add_guest("GTK", gtk.ok_or("another thread owns GTK's context")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(oneloop_tokio::before_park) // Tasks may use GTK.
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        spawn_local(program);
        tokio::select! {
            ended = oneloop_tokio::drive(reactor) => ended,
            ended = oneloop_tokio::drive(local) => ended,
        }
    })?;
    Ok(())
}

/// GTK's loop is the main loop. tokio is a guest of a reactor.
fn inside_glib(
    reactor: &Reactor,
    local: &LocalReactor,
    program: impl Future<Output = ()> + 'static,
) -> Result<()> {
    let tokio = TokioGuest::new(local)?;
    tokio.spawn_local(program);
    // SAFETY: null is the default context, which is GTK's. This thread alone iterates it.
    unsafe {
        let _attached = oneloop_glib::attach(local.host("GLib")?, null_mut(), |_| ());
        oneloop_glib::run(reactor.host("GLib")?, null_mut())?;
    }
    Ok(())
}

/// The figures that the window shows.
#[derive(Clone)]
struct Shown(Arc<Mutex<State>>);

struct State {
    /// Requests that hyper has answered in each tenth of a second.
    requests: Vec<u32>,
    /// Of all bytes.
    downloaded: f64,
    chat: Vec<String>,
    /// The property, and how often it has changed.
    level: f64,
    changes: u32,
    thread: ThreadId,
}

impl Shown {
    fn new() -> Shown {
        Shown(Arc::new(Mutex::new(State {
            requests: vec![0],
            downloaded: 0.0,
            chat: Vec::new(),
            level: 0.0,
            changes: 0,
            thread: thread::current().id(),
        })))
    }

    /// Everything is on one thread, so this never waits.
    fn get(&self) -> MutexGuard<'_, State> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(state.thread, thread::current().id());
        state
    }
}

/// The tasks, on tokio.
async fn run(curl: Curl, shown: Shown) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    spawn_local(serve(listener, shown.clone()));
    spawn_local(begin_columns(shown.clone()));
    let requests = async { request(address).await };
    let download = download(curl, address, shown.clone());
    let ((requested, downloaded), property) =
        future::zip(future::zip(requests, download), watch_property(shown)).await;
    requested.and(downloaded).and(property)
}

/// A service of hyper's.
async fn serve(listener: TcpListener, shown: Shown) {
    while let Ok((stream, _)) = listener.accept().await {
        let shown = shown.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            if let Some(last) = shown.get().requests.last_mut() {
                *last += 1;
            }
            let length = if request.uri().path() == "/download" {
                3_000_000
            } else {
                100
            };
            let body = Full::new(Bytes::from(vec![b'x'; length]));
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        spawn_local(connection);
    }
}

/// A client of hyper's, which is in a hurry now and then.
async fn request(address: SocketAddr) -> Result<()> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    spawn_local(connection);
    for n in 0.. {
        let request = Request::get("/").header("host", "localhost");
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        response.into_body().collect().await?;
        sleep(Duration::from_millis(1 + n / 50 % 5)).await;
    }
    Ok(())
}

async fn begin_columns(shown: Shown) {
    loop {
        sleep(Duration::from_millis(100)).await;
        shown.get().requests.push(0);
    }
}

/// libcurl, which calls back for progress.
async fn download(curl: Curl, address: SocketAddr, shown: Shown) -> Result<()> {
    let mut easy = curl::easy::Easy::new();
    easy.url(&format!("http://{address}/download"))?;
    easy.max_recv_speed(3_000_000)?;
    easy.write_function(|data| Ok(data.len()))?;
    easy.progress(true)?;
    easy.progress_function(move |total, now, _, _| {
        if total > 0.0 {
            shown.get().downloaded = now / total;
        }
        true
    })?;
    curl.transfer(easy).await?;
    Ok(())
}

/// Two who answer each other: raw callbacks on the two ends of a socket pair.
fn chat(reactor: &Reactor, shown: &Shown) -> Result<()> {
    let (mut ada, bob) = UnixStream::pair()?;
    ada.write_all(b"0")?;
    for (name, stream) in [("Ada", ada), ("Bob", bob)] {
        let shown = shown.clone();
        let reader = stream.try_clone()?;
        let answers = reactor.clone();
        let hear = move |stream: &mut UnixStream, _| -> io::Result<Action> {
            let mut bytes = [0; 16];
            let length = stream.read(&mut bytes)?;
            let heard: u64 = String::from_utf8_lossy(&bytes[..length])
                .parse()
                .unwrap_or(0);
            shown
                .get()
                .chat
                .push(format!("{name}: after {heard} comes {}", heard + 1));
            // The answer takes a moment's thought.
            let mut writer = reader.try_clone()?;
            let answer = move || writer.write_all((heard + 1).to_string().as_bytes());
            answers.call_later(Duration::from_millis(80), answer)?;
            Ok(Action::Continue)
        };
        reactor.add_handler(stream, Interest::READABLE, Mode::Level, hear)?;
    }
    Ok(())
}

/// An object on D-Bus.
struct Gauge(f64);

#[zbus::interface(name = "org.example.Gauge")]
impl Gauge {
    #[zbus(property)]
    fn level(&self) -> f64 {
        self.0
    }
}

/// The object, as others see it.
#[zbus::proxy(
    interface = "org.example.Gauge",
    default_path = "/gauge",
    default_service = "org.example.Gauge"
)]
trait Gauge {
    /// Its property.
    #[zbus(property)]
    fn level(&self) -> zbus::Result<f64>;
}

/// One end of a connection of D-Bus has the object, and changes its property. The other end is told.
async fn watch_property(shown: Shown) -> Result<()> {
    // Over TCP, because zbus asks for the peer of a Unix socket on a thread of its own.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let ours = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    let object = zbus::connection::Builder::tcp_stream(theirs)
        .server(zbus::Guid::generate())?
        .p2p()
        .serve_at("/gauge", Gauge(0.0))?
        .internal_executor(false)
        .build();
    let watcher = zbus::connection::Builder::tcp_stream(ours)
        .p2p()
        .internal_executor(false)
        .build();
    let (object, watcher) = future::zip(object, watcher).await;
    let (object, watcher) = (object?, watcher?);
    for connection in [object.clone(), watcher.clone()] {
        spawn_local(async move {
            loop {
                connection.executor().tick().await;
            }
        });
    }
    spawn_local(async move {
        if let Err(error) = change_property(object).await {
            eprintln!("{error}");
        }
    });
    let gauge = GaugeProxy::new(&watcher).await?;
    let mut changes = gauge.receive_level_changed().await;
    while let Some(change) = changes.next().await {
        let level = change.get().await?;
        let mut shown = shown.get();
        shown.level = level;
        shown.changes += 1;
    }
    Ok(())
}

async fn change_property(object: zbus::Connection) -> Result<()> {
    let gauge = object
        .object_server()
        .interface::<_, Gauge>("/gauge")
        .await?;
    for step in 0.. {
        sleep(Duration::from_millis(50)).await;
        gauge.get_mut().await.0 = 0.5 + 0.4 * (f64::from(step) / 20.0 * TAU).sin();
        gauge
            .get()
            .await
            .level_changed(gauge.signal_emitter())
            .await?;
    }
    Ok(())
}

/// The end of the program.
fn stop_at_end_of_input(reactor: &Reactor) -> Result<()> {
    let stopper = reactor.downgrade();
    let read = move |_| {
        if io::stdin()
            .read(&mut [0; 64])
            .is_ok_and(|length| length > 0)
        {
            return Action::Continue;
        }
        if let Some(reactor) = stopper.upgrade() {
            reactor.stop();
        }
        Action::Remove
    };
    // SAFETY: the standard input stays open.
    unsafe { reactor.add_raw_handler(0, Interest::READABLE, Mode::Level, read)? };
    Ok(())
}

const STYLE: &str = "
    window { background: #ffffff; color: #202020; font-size: 16px; }
    .chat { color: #4020f0; }
    progressbar trough, progressbar progress { min-height: 24px; margin: 0; border: none; border-radius: 0; }
    progressbar progress { background: #20c040; }
";

/// Each in a colour of its own.
fn show_window(shown: &Shown, reactor: &Reactor) {
    let style = gtk4::CssProvider::new();
    style.load_from_data(STYLE);
    if let Some(display) = gdk::Display::default() {
        gtk4::style_context_add_provider_for_display(&display, &style, 800);
    }
    let column = gtk4::Box::new(gtk4::Orientation::Vertical, 8);
    let add = |title: &str, widget: &gtk4::Widget| {
        let label = gtk4::Label::new(Some(title));
        label.set_xalign(0.0);
        column.append(&label);
        column.append(widget);
    };
    let chart = area(shown, 120, draw_requests);
    add("Requests that hyper answers", chart.upcast_ref());
    let progress = gtk4::ProgressBar::new();
    add("A download by libcurl", progress.upcast_ref());
    let chat = gtk4::Label::new(None);
    chat.add_css_class("chat");
    chat.set_xalign(0.0);
    chat.set_size_request(-1, 130);
    add("A chat of callbacks", chat.upcast_ref());
    let gauge = area(shown, 40, draw_level);
    add("A property of D-Bus", gauge.upcast_ref());

    let window = gtk4::Window::builder()
        .title("One thread")
        .default_width(480)
        .default_height(480)
        .child(&column)
        .build();
    let stopper = reactor.clone();
    window.connect_close_request(move |_| {
        stopper.stop();
        glib::Propagation::Proceed
    });
    window.present();

    let (shown, complete) = (shown.clone(), Rc::new(Cell::new(0)));
    glib::timeout_add_local(Duration::from_millis(30), move || {
        let state = shown.get();
        progress.set_fraction(state.downloaded);
        let last = &state.chat[state.chat.len().saturating_sub(5)..];
        chat.set_text(&last.join("\n"));
        chart.queue_draw();
        gauge.queue_draw();
        let all = state.requests.len() > 15 && state.downloaded == 1.0 && state.changes > 15;
        if all && state.chat.len() > 10 {
            complete.set(complete.get() + 1);
            // Some frames later.
            if complete.get() == 20 {
                println!("complete");
            }
        }
        glib::ControlFlow::Continue
    });
}

fn area(
    shown: &Shown,
    height: i32,
    draw: fn(&State, &cairo::Context, f64, f64) -> std::result::Result<(), cairo::Error>,
) -> gtk4::DrawingArea {
    let area = gtk4::DrawingArea::new();
    area.set_content_height(height);
    let shown = shown.clone();
    area.set_draw_func(move |_, context, width, height| {
        if let Err(error) = draw(&shown.get(), context, width.into(), height.into()) {
            eprintln!("{error}");
        }
    });
    area
}

fn draw_requests(
    state: &State,
    context: &cairo::Context,
    width: f64,
    height: f64,
) -> std::result::Result<(), cairo::Error> {
    context.set_source_rgb(224.0 / 255.0, 32.0 / 255.0, 48.0 / 255.0);
    let most = state.requests.iter().copied().max().unwrap_or(0).max(1);
    let columns = state.requests.iter().rev().take(48).rev();
    for (at, requests) in columns.enumerate() {
        let high = height * f64::from(*requests) / f64::from(most);
        context.rectangle(
            width / 48.0 * at as f64,
            height - high,
            width / 48.0 - 2.0,
            high,
        );
    }
    context.fill()
}

fn draw_level(
    state: &State,
    context: &cairo::Context,
    width: f64,
    height: f64,
) -> std::result::Result<(), cairo::Error> {
    context.set_source_rgb(1.0, 144.0 / 255.0, 0.0);
    context.rectangle(0.0, 0.0, width * state.level, height);
    context.fill()
}
