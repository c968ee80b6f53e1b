//! An HTTP server on the loop that is tested, and so on the thread of what it serves.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, Stream, StreamExt, stream};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use oneloop::futures::{Async, Timer};
use oneloop::{Reactor, Remote};
use oneloop_tokio::Io;

/// Runs a future on a loop, each poll as a callback of its own.
pub fn spawn(remote: &Remote, future: impl Future<Output = ()> + Send + 'static) {
    let remote = remote.clone();
    let schedule = move |task: async_task::Runnable| {
        // A closed loop drops it.
        let _ = remote.call_soon(|| {
            task.run();
        });
    };
    let (task, handle) = async_task::spawn(future, schedule);
    task.schedule();
    handle.detach();
}

/// A byte of the content that a number stands for.
pub fn byte(seed: usize, position: usize) -> u8 {
    (seed.wrapping_mul(31) ^ position.wrapping_mul(7) ^ (position >> 8)) as u8
}

/// How a client talks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, of which the client knows beforehand.
    Http2,
    /// HTTP/2 over TLS.
    Tls,
}

/// A server for each [`Version`], on a port of its own. A path is `/WORD/NUMBER`:
///
/// - `bytes`: that many, of the content of that number.
/// - `slow`: that many, one by one, with pauses.
/// - `dies`: twice as many are promised as come.
/// - `never`: no answer.
/// - `redirect`: to the number below, and at 0 to `/bytes/1000`.
/// - `upload`: answers with how many bytes came and whether they were those of the number.
#[derive(Debug, Clone, Default)]
pub struct Http {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    ports: [AtomicUsize; 3],
    connections: AtomicUsize,
    requests: AtomicUsize,
    certificate: OnceLock<String>,
}

impl Http {
    /// Serves on the loop, until that is closed.
    ///
    /// # Panics
    ///
    /// If there are no ports.
    pub fn serve(reactor: &Reactor) -> Http {
        let http = Http::default();
        let tls = http.tls();
        for version in [Version::Http1, Version::Http2, Version::Tls] {
            let listener =
                Async::<TcpListener>::bind(reactor, ([127, 0, 0, 1], 0)).expect("a port");
            let address = listener.get_ref().local_addr().expect("bound");
            http.state.ports[version as usize].store(address.port().into(), Relaxed);
            let served = http.clone().accept(listener, version, tls.clone());
            spawn(&reactor.remote(), served);
        }
        http
    }

    /// A certificate of its own for 127.0.0.1.
    fn tls(&self) -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
        let _ = self.state.certificate.set(made.cert.pem());
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let certificates = vec![made.cert.der().clone()];
        let config = config.with_single_cert(certificates, key.into());
        let mut config = config.expect("a key that fits");
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Whom a client has to trust, in PEM.
    pub fn certificate(&self) -> &str {
        self.state.certificate.get().expect("served")
    }

    /// Where something is.
    pub fn url(&self, version: Version, word: &str, number: usize) -> String {
        format!("{}/{word}/{number}", self.root(version))
    }

    /// Where all is.
    pub fn root(&self, version: Version) -> String {
        let port = self.state.ports[version as usize].load(Relaxed);
        let scheme = if version == Version::Tls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Relaxed)
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Relaxed)
    }

    async fn accept(self, listener: Async<TcpListener>, version: Version, tls: TlsAcceptor) {
        let thread = thread::current().id();
        let reactor = listener.reactor().downgrade();
        while let Ok((stream, _)) = listener.accept().await {
            assert_eq!(thread::current().id(), thread, "all on one thread");
            self.state.connections.fetch_add(1, Relaxed);
            let Some(reactor) = reactor.upgrade() else {
                return;
            };
            let remote = reactor.remote();
            let (http, tls, sent) = (self.clone(), tls.clone(), Arc::default());
            let stream = Counted(stream, Arc::clone(&sent));
            spawn(&remote, async move {
                if version != Version::Tls {
                    http.serve_connection(&reactor, stream, version, sent).await;
                } else if let Ok(stream) = tls.accept(stream).await {
                    http.serve_connection(&reactor, stream, version, sent).await;
                }
            });
        }
    }

    async fn serve_connection(
        self,
        reactor: &Reactor,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        version: Version,
        sent: Arc<AtomicUsize>,
    ) {
        let stream = TokioIo::new(Io::new(stream));
        let answer = |request| self.clone().answer(reactor.clone(), request, sent.clone());
        let service = service_fn(answer);
        // Clients go away as they like, so an error is none.
        if version == Version::Http1 {
            let http1 = hyper::server::conn::http1::Builder::new();
            let _ = http1.serve_connection(stream, service).await;
        } else {
            let http2 = hyper::server::conn::http2::Builder::new(OnLoop(reactor.remote()));
            let _ = http2.serve_connection(stream, service).await;
        }
    }

    async fn answer(
        self,
        reactor: Reactor,
        request: Request<Incoming>,
        sent: Arc<AtomicUsize>,
    ) -> Result<Response<BoxBody<Bytes, io::Error>>, Infallible> {
        self.state.requests.fetch_add(1, Relaxed);
        let path = request.uri().path().to_owned();
        let (word, number) = path[1..].split_once('/').unwrap_or_default();
        let number: usize = number.parse().unwrap_or_default();
        let response = Response::builder();
        let response = match word {
            "bytes" => response
                .header("content-length", number)
                .body(body(content(number, number))),
            "slow" => {
                let pauses = content_by(1, number, number).then(move |piece| {
                    let pause = Timer::after(&reactor, Duration::from_millis(1));
                    async {
                        pause.await;
                        piece
                    }
                });
                response.body(body(pauses))
            }
            "dies" => {
                let before = sent.load(Relaxed);
                let end = stream::once_future(async move {
                    // Not before what comes before has gone out.
                    while sent.load(Relaxed) < before + number {
                        Timer::after(&reactor, Duration::from_millis(1)).await;
                    }
                    Err(io::Error::other("as it should"))
                });
                response
                    .header("content-length", 2 * number)
                    .body(body(content(number, number).chain(end)))
            }
            "redirect" => {
                let to = match number {
                    0 => "/bytes/1000".to_owned(),
                    number => format!("/redirect/{}", number - 1),
                };
                let response = response.status(StatusCode::FOUND).header("location", to);
                response.body(body(stream::empty()))
            }
            "upload" => {
                let (length, right) = received(request.into_body(), number).await;
                let answer = Bytes::from(format!("{length} {right}"));
                response.body(body(stream::once(Ok(answer))))
            }
            "never" => std::future::pending().await,
            _ => response.status(404).body(body(stream::empty())),
        };
        Ok(response.expect("right"))
    }
}

fn body(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
) -> BoxBody<Bytes, io::Error> {
    BodyExt::boxed(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))))
}

fn content(seed: usize, length: usize) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    content_by(10_000, seed, length)
}

/// Content in pieces of a size.
fn content_by(
    size: usize,
    seed: usize,
    length: usize,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    stream::iter((0..length).step_by(size)).map(move |start| {
        let end = length.min(start + size);
        Ok((start..end).map(|position| byte(seed, position)).collect())
    })
}

async fn received(mut body: Incoming, seed: usize) -> (usize, bool) {
    let (mut length, mut right) = (0, true);
    while let Some(Ok(frame)) = body.frame().await {
        for got in frame.into_data().unwrap_or_default() {
            right &= got == byte(seed, length);
            length += 1;
        }
    }
    (length, right)
}

/// A connection that counts the bytes that have gone out.
struct Counted(Async<TcpStream>, Arc<AtomicUsize>);

impl Counted {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = written {
            self.1.fetch_add(length, Relaxed);
        }
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Where hyper's HTTP/2 runs its own tasks.
#[derive(Clone)]
struct OnLoop(Remote);

impl<F> hyper::rt::Executor<F> for OnLoop
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        spawn(&self.0, async {
            future.await;
        });
    }
}
