//! Downloads a list of URLs with libcurl inside a tokio program, with progress bars.

mod help;

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use curl::easy::{Easy2, Handler, WriteError};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use oneloop::Reactor;
use oneloop_curl::Curl;

/// Where the bytes of a download go.
struct Download {
    file: File,
    bar: ProgressBar,
}

impl Handler for Download {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        match self.file.write_all(data) {
            Ok(()) => Ok(data.len()),
            // Fewer than there are end the transfer.
            Err(_) => Ok(0),
        }
    }

    fn progress(&mut self, total: f64, now: f64, _: f64, _: f64) -> bool {
        self.bar.set_length(total as u64);
        self.bar.set_position(now as u64);
        true
    }
}

const HELP: &str = "\
Downloads with libcurl inside a tokio program, with progress bars. Each URL goes to a file in the
temporary folder, named after the end of the URL.

Usage: cargo run --release -p oneloop-curl --example curl_tokio -- [URL...]

  URL      what to download (default: some files of a server that the example has itself)
  --help   this text";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    help::print_if_asked(HELP);
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        urls = serve()?;
    }
    let bars = MultiProgress::new();
    let style = "{bar:30} {bytes:>10} of {total_bytes:10} {bytes_per_sec:>14}  {msg}";
    let style = ProgressStyle::with_template(style)?;

    let reactor = Reactor::new()?;
    let curl = Curl::new(&reactor)?;
    tokio::spawn(oneloop_tokio::drive(&reactor));

    let mut downloads = Vec::new();
    for url in urls {
        let path = path_of(&url);
        let bar = bars.add(ProgressBar::new(0).with_style(style.clone()));
        bar.set_message(path.display().to_string());
        let file = File::create(&path)?;
        let mut easy = Easy2::new(Download { file, bar });
        easy.url(&url)?;
        easy.progress(true)?;
        easy.follow_location(true)?;
        easy.fail_on_error(true)?;
        // Any task, on any thread; libcurl stays on the one that drives.
        downloads.push((url, tokio::spawn(curl.transfer(easy))));
    }
    let mut failed = 0;
    for (url, download) in downloads {
        match download.await? {
            Ok(easy) => {
                easy.get_ref().bar.finish();
                let size = easy.download_size()?;
                bars.suspend(|| println!("{url}: {size} bytes"));
            }
            Err(error) => {
                failed += 1;
                bars.suspend(|| eprintln!("{url}: {error}"));
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} of them failed").into()),
    }
}

fn path_of(url: &str) -> PathBuf {
    let name = url.trim_end_matches('/').rsplit('/').next();
    std::env::temp_dir().join(name.unwrap_or("download"))
}

/// A server on a thread of its own, and what it has.
fn serve() -> Result<Vec<String>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let root = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(|| answer(client));
        }
    });
    let megabytes = [1, 3, 10, 30];
    Ok(megabytes
        .map(|size| format!("{root}/oneloop-{size}"))
        .into())
}

fn answer(mut client: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let size = path.rsplit('-').next().and_then(|size| size.parse().ok());
    let size: usize = size.unwrap_or_default();
    write!(
        client,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        size * 1_000_000
    )?;
    for _ in 0..10 * size {
        client.write_all(&[b'.'; 100_000])?;
        // It could not be watched otherwise.
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
