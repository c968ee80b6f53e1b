//! A web page of hyper's, about the loop that it shares with the rest.

use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, header, server::conn::http1};
use hyper_util::rt::TokioIo;
use oneloop::LocalReactor;
use oneloop::futures::{Async, Timer};
use oneloop_tokio::Io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use crate::args::Host;
use crate::figures::{Figures, grouped};

/// No descriptors left, mostly.
const PAUSE: Duration = Duration::from_millis(500);

/// Facts that the page tells.
#[derive(Clone)]
pub struct Page {
    pub host: Host,
    pub started: Instant,
    pub reactor: LocalReactor,
    pub figures: Rc<Figures>,
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, page: Page) {
    match page.host {
        Host::Tokio => serve_on_tokio(listener, page).await,
        Host::Builtin | Host::AsyncIo => serve_on_the_loop(listener, page).await,
    }
}

/// With tokio's sockets and tasks. Needs a `LocalSet`.
async fn serve_on_tokio(listener: TcpListener, page: Page) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(spawn_local(converse(stream, page.clone()))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// With sockets of the loop's own, which need no runtime.
async fn serve_on_the_loop(listener: TcpListener, page: Page) {
    let listener = Async::new(&page.reactor, listener).unwrap();
    let tasks = LocalExecutor::new();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => tasks
                    .spawn(converse(Io::new(stream), page.clone()))
                    .detach(),
                Err(_) => drop(Timer::after(&page.reactor, PAUSE).await),
            }
        }
    };
    tasks.run(accept).await
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, page: Page) {
    let answer = service_fn(|request| {
        let answer = answer(&request, &page);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // An error here is the browser's: it went away, or spoke something else.
    let _ = connection.await;
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let stats = page.reactor.stats();
    let (started, figures) = (page.started, &page.figures);
    let rows = [
        ("uptime, seconds", started.elapsed().as_secs()),
        ("connections", figures.connections.get()),
        ("lines received", figures.received.get()),
        ("lines sent", figures.sent.get()),
        ("lines of the async client", figures.returned.get()),
        ("turns of the loop", stats.turns),
        ("calls of handlers", stats.handler_calls),
        ("calls of timers", stats.timer_calls),
        ("calls of posts", stats.post_calls),
        ("handlers", stats.handlers as u64),
        ("pending timers", stats.pending_timers as u64),
    ];
    let (status, kind, body) = match request.uri().path() {
        "/" => (200, "text/html; charset=utf-8", html(page.host, &rows)),
        "/json" => (200, "application/json", json(&rows)),
        _ => (404, "text/plain", "There are / and /json here.\n".into()),
    };
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

fn html(host: Host, rows: &[(&str, u64)]) -> String {
    let row = |(name, value): &(&str, u64)| {
        format!("<tr><td>{name}</td><td>{}</td></tr>\n", grouped(*value))
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"1\">\n<title>one loop</title>\n\
         <style>body {{ font: 16px/1.6 system-ui; margin: 3em auto; width: 24em }} \
         table {{ width: 100%; border-collapse: collapse }} \
         td {{ border-bottom: 1px solid #ddd }} \
         td + td {{ text-align: right; font-variant-numeric: tabular-nums }}</style>\n\
         <h1>one loop</h1>\n<p>This page comes from hyper, on the host {}. The chat it tells of runs on \
         the same thread, in callbacks.</p>\n<table>\n{rows}</table>\n</html>\n",
        host.name()
    )
}

fn json(rows: &[(&str, u64)]) -> String {
    let field = |(name, value): &(&str, u64)| {
        let name = name.replace(", ", " ").replace(' ', "_");
        format!("  \"{name}\": {value}")
    };
    let fields: Vec<_> = rows.iter().map(field).collect();
    format!("{{\n{}\n}}\n", fields.join(",\n"))
}
