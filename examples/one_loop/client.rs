//! A client of the chat in async/await, as one would write it for async-io: it says a line now and
//! then, and waits until the chat has sent it back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use async_io::Async;
use oneloop::{HandlerId, Interest, LocalReactor, Mode};
use tokio::sync::Notify;

use crate::args::Host;
use crate::figures::Figures;
use crate::report::fail;

/// Says a line each `period` until it is to end; ends the process if one comes back wrong.
pub async fn run(
    host: Host,
    chat: SocketAddr,
    period: Duration,
    reactor: &LocalReactor,
    figures: &Figures,
) {
    let talking = async {
        let stream = TcpStream::connect(chat)?;
        match host {
            Host::AsyncIo => talk(Async::new(stream)?, period, reactor, figures).await,
            // async-io would do under the other hosts as well, but starts a thread there that
            // waits beside ours. So the shared reactor carries the readiness.
            _ => talk(Watched::new(stream, reactor)?, period, reactor, figures).await,
        }
    };
    if let Err(error) = talking.await {
        fail(format!("the async client: {error}"));
    }
}

async fn talk(
    stream: impl SetReadiness,
    period: Duration,
    reactor: &LocalReactor,
    figures: &Figures,
) -> io::Result<()> {
    // From callbacks to async: a timer of the reactor's wakes the task that awaits the notification.
    let time = Rc::new(Notify::new());
    let timer = time.clone();
    reactor.call_every(period, move || timer.notify_one())?;

    let mut input = Vec::new();
    write_all(&stream, b"JOIN clock async\n").await?;
    while !figures.ending.get() {
        time.notified().await;
        let line = format!("tick {}", figures.returned.get() + 1);
        write_all(&stream, format!("{line}\n").as_bytes()).await?;
        // Others may speak in the room as well; what has our name has to be what we said.
        let back = loop {
            let line = read_line(&stream, &mut input).await?;
            if let Some(own) = line.strip_prefix("async: ") {
                break own.to_owned();
            }
        };
        if back != line {
            return Err(io::Error::other(format!("said {line:?}, got {back:?}")));
        }
        figures.returned.set(figures.returned.get() + 1);
    }
    Ok(())
}

async fn write_all(stream: &impl SetReadiness, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.get_ref().write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The next line; what was read of those after it stays in `input`.
async fn read_line(stream: &impl SetReadiness, input: &mut Vec<u8>) -> io::Result<String> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&input[..end]).into_owned();
            input.drain(..=end);
            return Ok(line);
        }
        match stream.get_ref().read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => input.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.readable().await?,
            Err(error) => return Err(error),
        }
    }
}

/// The part of `async_io::Async` that the client needs.
trait SetReadiness {
    fn get_ref(&self) -> &TcpStream;
    async fn readable(&self) -> io::Result<()>;
    async fn writable(&self) -> io::Result<()>;
}

impl SetReadiness for Async<TcpStream> {
    fn get_ref(&self) -> &TcpStream {
        Async::get_ref(self)
    }

    async fn readable(&self) -> io::Result<()> {
        Async::readable(self).await
    }

    async fn writable(&self) -> io::Result<()> {
        Async::writable(self).await
    }
}

/// A watch on the shared reactor: a one-shot handler, which is armed for each wait.
struct Watched {
    stream: Rc<TcpStream>,
    reactor: LocalReactor,
    handler: HandlerId,
    /// tokio's, but it needs no tokio: it wakes the task under any host.
    fired: Rc<Notify>,
}

impl Watched {
    fn new(stream: TcpStream, reactor: &LocalReactor) -> io::Result<Watched> {
        stream.set_nonblocking(true)?;
        let stream = Rc::new(stream);
        let fired = Rc::new(Notify::new());
        let wake = fired.clone();
        let handler = reactor.add_handler(
            stream.clone(),
            Interest::NONE,
            Mode::Oneshot,
            move |_, _| wake.notify_one(),
        )?;
        Ok(Watched {
            stream,
            reactor: reactor.clone(),
            handler,
            fired,
        })
    }

    async fn wait(&self, interest: Interest) -> io::Result<()> {
        self.reactor.update_handler(self.handler, interest)?;
        self.fired.notified().await;
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.reactor.remove_handler(self.handler);
    }
}

impl SetReadiness for Watched {
    fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    async fn readable(&self) -> io::Result<()> {
        self.wait(Interest::READABLE).await
    }

    async fn writable(&self) -> io::Result<()> {
        self.wait(Interest::WRITABLE).await
    }
}
