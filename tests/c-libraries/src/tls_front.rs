use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use futures_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use futures_rustls::rustls::{ServerConfig, ServerConnection, Stream};

/// Begins to serve TLS on a port of 127.0.0.1 for a PostgreSQL that has none, as a pooler does. Each of the
/// server's answers is sent as a whole, in records of up to `record` bytes. Returns the port.
///
/// # Panics
///
/// If there is no port left.
pub fn tls_front(server: u16, record: usize) -> u16 {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key.into());
    let mut config = config.expect("a key that fits");
    // With the head of a record and what its encryption adds.
    config.max_fragment_size = Some(record + 5);
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || serve(client, server, config));
        }
    });
    port
}

/// Relays one connection. Each query is answered before the next one is sent, which suits the tests.
fn serve(mut client: TcpStream, server: u16, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut asked_for_tls = [0; 8];
    client.read_exact(&mut asked_for_tls)?;
    client.write_all(b"S")?;
    let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = Stream::new(&mut tls, &mut client).read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        server.write_all(&buffer[..length])?;
        let answer = answer(&mut server)?;
        let mut client = Stream::new(&mut tls, &mut client);
        client.write_all(&answer)?;
        client.flush()?;
    }
}

/// Reads up to a message that says the server is ready for a query.
fn answer(server: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    loop {
        let start = answer.len();
        answer.resize(start + 5, 0);
        server.read_exact(&mut answer[start..])?;
        let length = [1, 2, 3, 4].map(|byte| answer[start + byte]);
        let length = u32::from_be_bytes(length) as usize;
        answer.resize(start + 1 + length, 0);
        server.read_exact(&mut answer[start + 5..])?;
        if answer[start] == b'Z' {
            return Ok(answer);
        }
    }
}
