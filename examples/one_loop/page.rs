//! A web page of hyper's on tokio, about the loop that tokio shares with the rest.

use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, header, server::conn::http1};
use hyper_util::rt::TokioIo;
use oneloop::LocalReactor;
use tokio::task::spawn_local;

use crate::figures::{Figures, grouped};

/// Answers for ever. Needs a `LocalSet`.
pub async fn serve(listener: TcpListener, reactor: LocalReactor, figures: Rc<Figures>) {
    listener.set_nonblocking(true).unwrap();
    let started = Instant::now();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors left, mostly.
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        };
        let (reactor, figures) = (reactor.clone(), figures.clone());
        spawn_local(async move {
            let answer = service_fn(|request| {
                let answer = answer(&request, started, &reactor, &figures);
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // An error here is the browser's: it went away, or spoke something else.
            let _ = connection.await;
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    started: Instant,
    reactor: &LocalReactor,
    figures: &Figures,
) -> Response<Full<Bytes>> {
    let stats = reactor.stats();
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
        "/" => (200, "text/html; charset=utf-8", html(&rows)),
        "/json" => (200, "application/json", json(&rows)),
        _ => (404, "text/plain", "There are / and /json here.\n".into()),
    };
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

fn html(rows: &[(&str, u64)]) -> String {
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
         <h1>one loop</h1>\n<p>This page comes from hyper on tokio. The chat it tells of runs on \
         the same thread, in callbacks.</p>\n<table>\n{rows}</table>\n</html>\n"
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
