//! WebSocket over a connection that libcurl makes, inside a tokio program.

mod help;

use std::error::Error;
use std::net::TcpListener;
use std::thread;

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::{Message, accept};
use curl::easy::Easy;
use futures_lite::StreamExt;
use oneloop::Reactor;
use oneloop::futures::Async;
use oneloop_curl::Curl;

const HELP: &str = "\
Sends lines to a server that speaks WebSocket, and prints its answers. libcurl makes the connection,
so that it goes through the proxies that the environment names.

Usage: curl_websocket [HOST:PORT]

Without an address, a server on a thread of its own sends back what it gets.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    help::print_if_asked(HELP);
    let address = match std::env::args().nth(1) {
        Some(address) => address,
        None => serve()?,
    };
    let reactor = Reactor::new()?;
    let curl = Curl::new(&reactor)?;
    tokio::select! {
        result = talk(&reactor, &curl, &address) => result,
        driven = oneloop_tokio::drive(&reactor) => driven.map_err(Into::into),
    }
}

async fn talk(reactor: &Reactor, curl: &Curl, address: &str) -> Result<(), Box<dyn Error>> {
    let mut easy = Easy::new();
    easy.url(&format!("http://{address}/"))?;
    let connection = Async::new(reactor, curl.connect(easy).await?)?;
    let (mut socket, _) = client_async(format!("ws://{address}/"), connection).await?;
    for line in ["hello", "and good bye"] {
        socket.send(Message::text(line)).await?;
        match socket.next().await.transpose()? {
            Some(answer) => println!("{answer}"),
            None => return Err("the server has closed the connection".into()),
        }
    }
    socket.close(None).await?;
    Ok(())
}

/// A server for one client, and its address.
fn serve() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let mut socket = accept(client).expect("a handshake");
        while let Ok(message) = socket.read() {
            if message.is_text() && socket.send(message).is_err() {
                break;
            }
        }
    });
    Ok(address)
}
