//! Downloads on Windows. The other tests have C of Unix in them.
#![cfg(windows)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;

use curl::easy::{Easy2, Handler, WriteError};
use oneloop::Reactor;
use oneloop_curl::Curl;

struct Collect(Vec<u8>);

impl Handler for Collect {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.0.extend_from_slice(data);
        Ok(data.len())
    }
}

const LENGTH: usize = 1_000_000;

/// Serves `count` connections, each with one body.
fn serve(count: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for _ in 0..count {
            let (mut client, _) = listener.accept().unwrap();
            let request = BufReader::new(&client).lines();
            let head = request.map_while(Result::ok);
            assert!(head.take_while(|line| !line.is_empty()).count() > 0);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n");
            client.write_all(head.as_bytes()).unwrap();
            client.write_all(&[b'x'; LENGTH]).unwrap();
        }
    });
    address
}

#[test]
fn downloads_beside_each_other() {
    let reactor = Reactor::new().unwrap();
    let curl = Curl::new(&reactor).unwrap();
    let address = serve(5);
    let (sender, received) = channel();
    for _ in 0..5 {
        let mut easy = Easy2::new(Collect(Vec::new()));
        easy.url(&format!("http://{address}/")).unwrap();
        let sender = sender.clone();
        let done = move |result: Result<Easy2<Collect>, oneloop_curl::Error<Easy2<Collect>>>| {
            sender.send(result.unwrap().get_ref().0.len()).unwrap();
        };
        curl.start(easy, done).unwrap();
    }
    drop(curl);
    reactor.run().unwrap();
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [LENGTH; 5]);
}
