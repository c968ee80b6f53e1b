//! hyper, server and client, on a reactor's sockets under each host.

use std::convert::Infallible;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use async_executor::LocalExecutor;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use oneloop::futures::Async;
use oneloop::{Reactor, Threading};
use oneloop_support::on_each_host;
use oneloop_tokio::Io;

/// Gives the body back, in capitals.
async fn capitals(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(body.to_ascii_uppercase().into()))
}

#[test]
fn hyper_serves_and_asks_on_each_host() {
    on_each_host(async |reactor| serve_and_ask(&reactor, 4).await);
}

#[test]
fn hyper_serves_and_asks_on_a_local_reactor_without_tokio() {
    let reactor = Reactor::new_local().unwrap();
    let all = async {
        assert!(tokio::runtime::Handle::try_current().is_err());
        serve_and_ask(&reactor, 20).await;
    };
    reactor.block_on(all).unwrap();
    assert_eq!(reactor.stats().handlers, 0);
}

async fn serve_and_ask<M: Threading>(reactor: &Reactor<M>, clients: usize) {
    const REQUESTS: usize = 10;

    let executor = Rc::new(LocalExecutor::new());
    let listener = Async::<TcpListener, _>::bind(reactor, ([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();

    let spawner = executor.clone();
    let server = executor.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(Io::new(stream)), service_fn(capitals));
            spawner.spawn(async { served.await.unwrap() }).detach();
        }
    });

    let spawner = executor.clone();
    let client = |client: usize| {
        let (reactor, spawner) = (reactor.clone(), spawner.clone());
        async move {
            let stream = Async::<TcpStream, _>::connect(&reactor, address)
                .await
                .unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(Io::new(stream)))
                    .await
                    .unwrap();
            let connection = spawner.spawn(connection);
            for request in 0..REQUESTS {
                // From a few bytes to more than a socket's buffers hold.
                let word = format!("client {client}, request {request}; ");
                let text = word.repeat(1 + request * request * 1000);
                let body = Full::<Bytes>::from(text.clone());
                let answer = sender.send_request(Request::new(body)).await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK);
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert!(body == text.to_ascii_uppercase().as_bytes());
            }
            drop(sender);
            connection.await.unwrap();
            Ok::<_, Infallible>(())
        }
    };
    let clients: Vec<_> = (0..clients)
        .map(|number| executor.spawn(client(number)))
        .collect();
    let all = async {
        for client in clients {
            client.await.unwrap();
        }
        server.cancel().await;
    };
    executor.run(all).await;
}
